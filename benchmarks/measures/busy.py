"""Forks, and holds of the interpreter lock, while everything goes on at once: the worst hour of a trading program.

Hundreds of backups are compressed, small files rotate, threads compute. Two measures share the scene.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sysconfig
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, Entry, Rotation
from benchmarks.figures import latency
from benchmarks.host import CaseError, Order, run, scratch
from benchmarks.measures.base import PATIENCE, Measure, Settings
from benchmarks.subjects.base import Subject

_SCENE: Final = {"backups": 300, "max_bytes": 65_536, "threads": 3, "rate": 3_000}
#: Lines of a backup.
_LINES: Final = 400
_SHIM: Final = Path(__file__).with_name("lock_holds.c")


class Forks(Measure):
    """How long `os.fork` takes in the parent. The no-op floor shows what it takes beside threads that compute."""

    name = "forks"
    about = "A fork while 300 backups are compressed, files of 64 KiB rotate, and three threads compute."
    quick: ClassVar[Settings] = {**_SCENE, "rounds": 1, "forks": 8, "seconds": 2.0}
    full: ClassVar[Settings] = {**_SCENE, "rounds": 5, "forks": 40, "seconds": 10.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return hasattr(os, "fork") and (subject.kind == "ours" or subject.name == "floor-noop")

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads that compute
        forks, took = int(order.settings["forks"]), []
        with _scene(subject, order):
            for turn in range(forks):
                _log(subject.entry, order, order.settings["seconds"] / forks, turn)
                began = time.perf_counter_ns()
                child = os.fork()
                if not child:
                    os._exit(0)
                took.append(time.perf_counter_ns() - began)
                os.waitpid(child, 0)
        return {name.replace("_us", "_ms"): value / 1000 for name, value in latency(took, "fork_").items()}


class Locks(Measure):
    """A preloaded library notes each hold of the interpreter lock, by the clock and by the thread's processor time.

    Those of the thread that logs and of those that compute are left out.
    """

    name = "locks"
    about = "How long threads of the library hold the interpreter lock, rotating and compressing as for the forks."
    quick: ClassVar[Settings] = {**_SCENE, "rounds": 1, "seconds": 2.0}
    full: ClassVar[Settings] = {**_SCENE, "rounds": 5, "seconds": 10.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind == "ours"

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        with scratch() as directory:
            order = Order(self.name, subject.name, str(directory), settings, environment={"LD_PRELOAD": _shim()})
            return run(order, settings["seconds"] * 3 + PATIENCE)

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        library = ctypes.CDLL(None)
        library.noted_holds.restype = ctypes.POINTER(ctypes.c_int64)
        with _scene(subject, order) as foreign:
            library.note_holds(1)
            _log(subject.entry, order, order.settings["seconds"])
            library.note_holds(0)
            names = {thread.native_id: thread.name for thread in threading.enumerate()}
        count = ctypes.c_long()
        flat = library.noted_holds(ctypes.byref(count))
        holds = [flat[3 * number : 3 * number + 3] for number in range(count.value)]
        ours = [hold for hold in holds if hold[0] not in foreign]
        writing = [hold for hold in ours if names.get(hold[0]) == "metaexpert-log"]
        return {
            **latency([wall for _, wall, _ in writing], "lock_"),
            **latency([processor for _, _, processor in writing], "lock_cpu_"),
            **latency([processor for _, _, processor in ours], "lock_all_cpu_"),
            "holds": len(writing),
        }


@contextmanager
def _scene(subject: Subject, order: Order) -> Iterator[set[int]]:
    """Have *subject* ready and everything going on; give the identifiers of the threads that are not the library's."""
    settings, directory = order.settings, Path(order.directory)
    _make_backups(directory, int(settings["backups"]))
    rotation = Rotation(int(settings["max_bytes"]), 3 * int(settings["backups"]), compress=True)
    subject.setup(directory, rotation)
    going_on, foreign = threading.Event(), {threading.get_native_id()}

    def compute() -> None:
        foreign.add(threading.get_native_id())
        work = 1
        while not going_on.is_set():
            for _ in range(1000):
                work = work * 31 & 0xFFFF | 1

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(int(settings["threads"]))]
    for thread in threads:
        thread.start()
    try:
        yield foreign
    finally:
        going_on.set()
        for thread in threads:
            thread.join()
        for path in directory.glob("expert.log.*"):  # compressing the rest would take longer than all that is measured
            path.unlink(missing_ok=True)


def _make_backups(directory: Path, count: int) -> None:
    """Make backups of an earlier run, all yet to be compressed."""
    line = (
        '{{"timestamp":"2026-11-22T10:31:00.{:06d}Z","level":"info","severity":6,"facility":16,"version":1,'
        '"hostname":"host","appname":"metaexpert","procid":"1","msgid":"log","sequence_id":{},"message":"m"}}\n'
    )
    for number in range(1, count + 1):
        first = (count - number) * _LINES + 1
        text = "".join(line.format(index, first + index) for index in range(_LINES))
        (directory / f"expert.log.{number}").write_text(text, "ascii")


def _log(entry: Entry, order: Order, seconds: float, turn: int = 0) -> None:
    """Log for some *seconds* at the rate of the settings, or as fast as it goes; let other threads in meanwhile."""
    rate, calls, began = order.settings["rate"], 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        if calls < passed * rate:
            entry(turn * 1_000_000 + calls, ORDER_IDS[calls & ID_MASK])
            calls += 1
        else:
            time.sleep(0.001)


def _shim() -> str:
    """Return the path of the library that notes holds, compiled once for each text. Raises CaseError."""
    target = Path(tempfile.gettempdir()) / f"{_SHIM.stem}-{os.getuid()}-{zlib.crc32(_SHIM.read_bytes()):08x}.so"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
        try:
            command = [*compiler, "-O2", "-shared", "-fPIC", str(_SHIM), "-o", str(part), "-ldl"]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - as floors.py does
        except (OSError, subprocess.CalledProcessError) as error:
            raise CaseError(f"needs Linux and a C compiler: {error}") from None
        part.replace(target)
    return str(target)
