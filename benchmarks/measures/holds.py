"""How long the interpreter lock is kept from a thread that wants nothing but to go on."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, warm_up
from benchmarks.figures import latency
from benchmarks.host import Order
from benchmarks.measures.base import NANOSECONDS, Measure, Settings, ready
from benchmarks.subjects.base import Subject

#: Two readings of the clock are less than this apart while nobody takes the lock; in nanoseconds.
_SHORTEST: Final = 5_000


class Holds(Measure):
    """A main thread reads the clock without a pause, logs at a steady rate, and notes each time that it stood still.

    It stands still while another thread holds the interpreter lock, and while the system runs something else: what the
    no-op floor shows is the system's part. Files are small, so that they rotate all the time.
    """

    name = "holds"
    about = "How long a main thread that never waits stands still while it logs 10,000 entries/s into files of 256 KiB."
    quick: ClassVar[Settings] = {"rounds": 1, "rate": 10_000, "seconds": 1.0, "max_bytes": 262_144, "backups": 300}
    full: ClassVar[Settings] = {"rounds": 5, "rate": 10_000, "seconds": 8.0, "max_bytes": 262_144, "backups": 300}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        step = int(NANOSECONDS / order.settings["rate"])
        entry, clock, ids = subject.entry, time.perf_counter_ns, ORDER_IDS
        gaps: list[int] = []
        start = before = clock()
        end, due, calls = start + int(order.settings["seconds"] * NANOSECONDS), start, 0
        while before < end:
            now = clock()
            if now - before > _SHORTEST:
                gaps.append(now - before)
            before = now
            if now >= due:
                entry(calls, ids[calls & ID_MASK])
                calls += 1
                due += step
                before = clock()  # the call itself is measured elsewhere
        subject.close()
        still = sum(gaps) / (end - start)
        return {**latency(gaps, "hold_"), "hold_share": still, "calls": calls}
