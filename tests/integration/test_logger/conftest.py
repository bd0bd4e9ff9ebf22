"""Programs with a watchdog, and disks that can be filled and broken."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from log_files import Logs
from waiting import eventually

#: Ends all writing to an ext4 or xfs at once, without what is not on the device yet: as if the power had gone.
SHUTDOWN = 0x8004587D
NO_FLUSH = 2


class Program:
    """Runs programs; one that hangs is ended, and the test fails with the place of each of its threads."""

    def __init__(self, directory: Path, python: str) -> None:
        self._directory = directory
        self._python = python
        self.running: list[subprocess.Popen[str]] = []

    def start(self, code: str, *args: object, shell: str = "PROGRAM", **options: Any) -> subprocess.Popen[str]:
        """Start a program in a shell command with `PROGRAM` in it."""
        path = self._directory / f"program{len(self.running)}.py"
        path.write_text(textwrap.dedent(code), "utf-8")
        words = [self._python, "-X", "faulthandler", "-W", "error", str(path), *map(str, args)]
        command = words if shell == "PROGRAM" else ["sh", "-c", shell.replace("PROGRAM", "exec " + " ".join(words))]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        self.running.append(subprocess.Popen(command, start_new_session=True, **options))
        return self.running[-1]

    def finish(self, process: subprocess.Popen[str], returncode: int = 0, patience: float = 40) -> tuple[str, str]:
        """Wait for its end and return what it printed."""
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            pytest.fail(f"it hung:\n{process.communicate()[1]}")
        assert process.returncode == returncode, f"exit code {process.returncode}:\n{err}"
        return out, err

    def __call__(self, code: str, *args: object, returncode: int = 0, patience: float = 40, **options: Any) -> str:
        """Run a program to its end and return what it printed on standard error."""
        return self.finish(self.start(code, *args, **options), returncode, patience)[1]

    def kill_all(self) -> None:
        """Leave none behind."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def program(tmp_path: Path, python: str) -> Iterator[Program]:
    """Runs programs in the test's directory."""
    made = Program(tmp_path, python)
    yield made
    made.kill_all()


@pytest.fixture
def run(program: Program) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs a program, warnings being errors, and returns what came of it; a hang fails."""

    def call(code: str, *args: object, returncode: int = 0) -> subprocess.CompletedProcess[str]:
        process = program.start(code, *args)
        out, err = program.finish(process, returncode)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return call


@pytest.fixture
def logs() -> Callable[..., Logs]:
    """A function that returns what a log directory holds, `logs` if none is named."""
    return Logs


class Disk:
    """A file system of the test's own.

    Args:
        path: Where it is mounted.
        image: The file that holds it; None for one in memory.
    """

    def __init__(self, path: Path, image: Path | None = None) -> None:
        self.path = path
        self._image = image
        self._mounted = False

    def mount(self, *options: str) -> None:
        """Mount it; a test is skipped where that cannot be."""
        what = ["-t", "tmpfs", *options, "none"] if self._image is None else ["-o", "loop", *options, str(self._image)]
        done = subprocess.run(["mount", *what, str(self.path)], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        self._mounted = True

    def unmount(self) -> None:
        """Take it away."""
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True)
            self._mounted = False

    def remount(self, option: str) -> None:
        """Mount it anew with another option."""
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)

    def fill(self) -> None:
        """Fill it to its last byte."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            for size in (1024 * 1024, 65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def free(self) -> None:
        """Take out again what fills it."""
        (self.path / "ballast").unlink()

    def die(self) -> None:
        """End it as a power failure does: nothing more is read from or written to the device, cached or not."""
        import fcntl

        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(fd)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """A function that makes and mounts a disk: in memory, or of a kind (ext4, btrfs) behind a loop device."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux")
    made: list[Disk] = []

    def make(size: str, kind: str = "tmpfs") -> Disk:
        place, image = tmp_path / f"disk{len(made)}", None
        place.mkdir()
        if kind != "tmpfs":
            if not shutil.which(f"mkfs.{kind}"):
                pytest.skip(f"needs mkfs.{kind}")
            image = tmp_path / f"image{len(made)}"
            with image.open("wb") as file:
                file.truncate(int(size.removesuffix("M")) * 1024 * 1024)
            subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
        disk = Disk(place, image)
        disk.mount(*([] if image else ["-o", f"size={size}"]))
        made.append(disk)
        return disk

    yield make
    for disk in made:
        disk.unmount()


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    """A function that waits until something holds, and fails after a while."""
    return eventually
