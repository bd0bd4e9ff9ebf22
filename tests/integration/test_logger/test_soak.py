"""Eight processes with fifty experts in one directory, while faults come and go: every entry is accounted for.

METAEXPERT_SOAK_SECONDS says how long (see CONTRIBUTING.md). Where mounts are allowed, the directory lies on a file
system of its own that is filled and hidden; elsewhere the other faults have to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="needs POSIX signals and forks"),
]

NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
SECONDS = float(os.environ.get("METAEXPERT_SOAK_SECONDS", 600 if NIGHTLY else 20))
PROCESSES = 8
EXPERTS = 50
#: Entries in all: what fits a disk in memory. A long soak is slower, not larger.
MOST_ENTRIES = 2_000_000
#: After such a fault what was kept in memory has to be on disk before a process may be killed, in seconds: the longest
#: pause between two tries of a file, and some more.
CALM = 8.0
WORKER = Path(__file__).with_name("soak_worker.py")
TOOL = Path(__file__).parents[3] / "tools" / "account.py"


class Soak:
    """Starts the processes, and does to them and to their files what happens in the world."""

    def __init__(self, python: str, place: Path, disk: Any) -> None:
        self._python = python
        self._place = place
        self._disk = disk
        self._dice = random.Random(os.environ.get("METAEXPERT_SOAK_SEED", "1"))
        self._rate = min(10_000.0, MOST_ENTRIES / SECONDS)
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._runs: Counter[int] = Counter()
        self._pids: dict[int, str] = {}
        self._hidden = self._full = False
        self._calm_since = 0.0
        self.logs = (disk.path if disk else place) / "logs"
        self.truths, self.kept = place / "truths", self.logs / "kept"
        self.truths.mkdir()
        self.kept.mkdir(parents=True)
        self.done: Counter[str] = Counter()

    def start(self, index: int) -> None:
        """Start process *index* anew."""
        self._runs[index] += 1
        run = f"{index}.{self._runs[index]}"
        # A killed process may not have dropped anything, since nobody could know; the last two are never killed.
        lossy = index >= PROCESSES - 2
        logger: dict[str, Any] = {
            "log_dir": str(self.logs),
            "log_level": "DEBUG",
            "log_to_console": index == 0,
            "console_level": "CRITICAL",
            "max_file_size": 1_000_000,
            "backup_count": 9_999,
            "compress_backups": index % 2 == 0,
            "overflow": "drop_low" if lossy else "block",
            "overflow_timeout": 120,
            "journal_size": 65_536 if lossy else 1_048_576,
        }
        options = {
            "run": run,
            "experts": [f"e{number}" for number in range(index, EXPERTS, PROCESSES)],
            "truths": str(self.truths),
            "stop": str(self._place / "stop"),
            "pause": EXPERTS / self._rate / 2,
            "forks": index % 3 == 0,
            "logger": logger,
        }
        command = [self._python, "-X", "faulthandler", str(WORKER), json.dumps(options)]
        errors = (self._place / f"stderr.{run}").open("w")
        with errors:
            self._running[index] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        # Until it has brought in what a killed one left, no file may be taken away: a batch that was written, but not
        # noted, is looked for in the log directory only.
        self._pids[index] = self._running[index].stdout.readline().strip()  # type: ignore[union-attr]

    def rage(self, seconds: float) -> None:
        """Do something bad every now and then, for so long."""
        faults = [self.kill, self.kill, self.stop, self.move, self.move]
        if self._disk:
            faults += [self.fill, self.hide]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault = self._dice.choice(faults)
            fault()
            self.done[fault.__name__] += 1
            time.sleep(self._dice.uniform(0.1, 0.5))
            for process in self._running.values():
                assert process.poll() is None, f"a process died by itself: {process.returncode}"

    def kill(self) -> None:
        """SIGKILL one of them, and start another in its place."""
        if time.monotonic() < self._calm_since + CALM:
            return
        index = self._dice.randrange(PROCESSES - 2)
        process = self._running[index]
        process.kill()
        process.communicate()
        self._note_killed(index, self._pids[index])
        self.start(index)

    def _note_killed(self, index: int, procid: str) -> None:
        run = f"{index}.{self._runs[index]}"
        for path in self.truths.glob(f"*.{run}.count"):
            expert = path.name.partition(".")[0]
            (calls,) = struct.unpack("<Q", path.read_bytes())
            truth = {"expert": expert, "run": run, "procid": procid, "calls": calls, "killed": True, "lossless": True}
            path.with_suffix(".json").write_text(json.dumps(truth))

    def stop(self) -> None:
        """Stop one of them for a while, whatever it holds."""
        process = self._running[self._dice.randrange(PROCESSES)]
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.05, 0.4))
        process.send_signal(signal.SIGCONT)

    def move(self) -> None:
        """Take a log file away, as logrotate does."""
        name = self._dice.choice(["expert.log", "trades.log", "errors.log"])
        with contextlib.suppress(FileNotFoundError):
            (self.logs / name).rename(self.kept / f"{name}.{sum(self.done.values())}")

    def fill(self) -> None:
        """Fill the disk to its last byte for a while."""
        self._disk.fill()
        time.sleep(self._dice.uniform(0.2, 1.5))
        self._disk.free()
        self._calm_since = time.monotonic()

    def hide(self) -> None:
        """Have the path lead to a read-only file system for a while."""
        command = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(self.logs)]
        subprocess.run(command, check=True)
        time.sleep(self._dice.uniform(0.1, 0.8))
        subprocess.run(["umount", "-l", str(self.logs)], check=True)
        self._calm_since = time.monotonic()

    def end(self) -> None:
        """Have all of them end well."""
        (self._place / "stop").touch()
        for index, process in self._running.items():
            try:
                process.communicate(timeout=100)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                process.wait()
                pytest.fail(f"process {index} hung:\n{self._errors(index)}")
            assert process.returncode == 0, self._errors(index)

    def _errors(self, index: int) -> str:
        return (self._place / f"stderr.{index}.{self._runs[index]}").read_text()[-5_000:]

    def kill_all(self) -> None:
        """Leave none behind."""
        for process in self._running.values():
            process.kill()
            process.communicate()


@pytest.mark.timeout(SECONDS * 2 + 240)
def test_faults_under_load(tmp_path: Path, python: str, request: pytest.FixtureRequest) -> None:
    """No entry is lost that should not be, none doubled or torn, and what was dropped is counted exactly."""
    disks: Callable[..., Any] | None = request.getfixturevalue("disks") if os.geteuid() == 0 else None
    soak = Soak(python, tmp_path, disks("1500M") if disks else None)
    try:
        for index in range(PROCESSES):
            soak.start(index)
        soak.rage(SECONDS)
        soak.end()
    finally:
        soak.kill_all()
    last = "from metaexpert.logger import MetaLogger; import sys; MetaLogger(log_dir=sys.argv[1]).close()"
    subprocess.run([python, "-c", last, str(soak.logs)], check=True, capture_output=True)
    checked = subprocess.run(
        [python, "-I", str(TOOL), str(soak.truths), str(soak.logs)], check=False, capture_output=True, text=True
    )
    print(f"{SECONDS:.0f} s, {dict(soak.done)}: {checked.stdout}")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert soak.done["kill"] > 0
    left = [
        path.name for path in (soak.logs / ".metaexpert").iterdir() if path.name not in ("lock", "archive", "index")
    ]
    assert left == []
