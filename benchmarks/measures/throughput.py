"""Entries per second, and processor time, from the first call until everything is in the files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, MESSAGE, ORDER_IDS, warm_up
from benchmarks.host import CaseError, Order
from benchmarks.measures.base import NANOSECONDS, Measure, Settings, ready
from benchmarks.subjects.base import Subject

#: The clock is read, and the time limit looked at, once in so many calls.
_BLOCK: Final = 250
_WAIT: Final = 20.0


class Throughput(Measure):
    """No clock around the calls. Processor time is that of all threads of the process."""

    name = "throughput"
    about = "Entries per second until all is in the files, and processor time of all threads for it."
    quick: ClassVar[Settings] = {"rounds": 2, "calls": 30_000, "seconds": 0.7}
    full: ClassVar[Settings] = {"rounds": 5, "calls": 40_000, "seconds": 15}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        began, cpu_began = time.perf_counter_ns(), time.process_time_ns()
        calls = log_entries(subject, int(order.settings["calls"]), order.settings["seconds"])
        subject.close()
        cpu = time.process_time_ns() - cpu_began
        ended = time.perf_counter_ns()
        if subject.writes and _in_files(subject, order) < calls:
            ended = _wait_for(calls, subject, order)
            cpu = time.process_time_ns() - cpu_began
        return {
            "entries_per_s": calls * NANOSECONDS / (ended - began),
            "cpu_s_per_100k": cpu / NANOSECONDS / calls * 100_000,
            "calls": calls,
        }


def log_entries(subject: Subject, count: int, seconds: float) -> int:
    """Log *count* entries, or as many as go into *seconds*. Returns how many."""
    entry, ids = subject.entry, ORDER_IDS
    deadline = time.monotonic() + seconds
    for first in range(0, count, _BLOCK):
        for number in range(first, first + _BLOCK):
            entry(number, ids[number & ID_MASK])
        if time.monotonic() > deadline:
            return first + _BLOCK
    return count


def _in_files(subject: Subject, order: Order) -> int:
    """Return how many entries the files hold: a quick count, the exact one is made outside."""
    text = MESSAGE.encode()
    return sum(path.read_bytes().count(text) for path in subject.files(Path(order.directory)))


def _wait_for(calls: int, subject: Subject, order: Order) -> int:
    """Return when the files held all *calls*, for a library that goes on writing after it was closed."""
    limit = time.monotonic() + _WAIT
    while time.monotonic() < limit:
        time.sleep(0.002)
        if _in_files(subject, order) >= calls:
            return time.perf_counter_ns()
    raise CaseError(f"not all of {calls} entries are in the files {_WAIT:.0f} s after close")
