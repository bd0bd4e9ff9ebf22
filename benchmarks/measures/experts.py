"""Many experts in one process: does a call cost more than a single expert's?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, Entry, warm_up
from benchmarks.figures import latency
from benchmarks.host import Order, run, scratch
from benchmarks.measures.base import NANOSECONDS, PATIENCE, Measure, Settings, missing_entries, samples
from benchmarks.subjects.base import Subject

_COMPARED: Final = ("ours-async", "structlog-native", "stdlib-json", "floor-noop")


class Experts(Measure):
    """Each expert has a logger and files of its own; one main thread calls them in turn, computing in between.

    A single expert is measured twice: at its own rate, and at the rate of all together.
    """

    name = "experts"
    about = "50 experts in one process, each with files of its own, 400 entries/s each; against one expert alone."
    quick: ClassVar[Settings] = {"rounds": 1, "experts": 50, "rate": 400, "seconds": 1.0, "alone_seconds": 1.0}
    full: ClassVar[Settings] = {"rounds": 1, "experts": 50, "rate": 400, "seconds": 60.0, "alone_seconds": 20.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.name in _COMPARED

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        count, rate = settings["experts"], settings["rate"]
        many, missing = self._scene(subject, settings, count, rate * count)
        alone, _ = self._scene(subject, {**settings, "seconds": settings["alone_seconds"]}, 1, rate)
        same_rate, _ = self._scene(subject, {**settings, "seconds": settings["alone_seconds"] / 2}, 1, rate * count)
        return {
            **many,
            **missing,
            **{f"one_{name}": value for name, value in alone.items()},
            **{f"one_same_rate_{name}": value for name, value in same_rate.items()},
            "p99_ratio": many["p99_us"] / alone["p99_us"],
            "p99_ratio_same_rate": many["p99_us"] / same_rate["p99_us"],
        }

    def _scene(
        self, subject: type[Subject], settings: Settings, count: float, rate: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the latency of *count* experts that make *rate* calls/s together, and what is missing."""
        with scratch() as directory:
            told = {**settings, "experts": count, "rate": rate}
            order = Order(self.name, subject.name, str(directory), told)
            report = run(order, settings["seconds"] * 3 + PATIENCE)
            missing = missing_entries(subject, directory, report)
        report.pop("calls")
        return report, missing

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        entries = subject.experts(Path(order.directory), int(order.settings["experts"]))
        for entry in entries:
            warm_up(entry, 40)
        costs = _round_robin(entries, order.settings["rate"], order.settings["seconds"])
        subject.close()
        return {**latency(costs), "calls": len(costs)}


def _round_robin(entries: Sequence[Entry], rate: float, seconds: float) -> list[int]:
    clock, ids, step = time.perf_counter_ns, ORDER_IDS, int(NANOSECONDS / rate)
    costs, count, calls = samples(int(rate * seconds)), len(entries), 0
    start = clock() + 2_000_000
    deadline = start + int(1.5 * seconds * NANOSECONDS)
    for number in range(len(costs)):
        due = start + number * step
        entry, order_id = entries[number % count], ids[number & ID_MASK]
        while clock() < due:
            pass
        before = clock()
        entry(number, order_id)
        after = clock()
        costs[number] = after - before
        calls += 1
        if after > deadline:
            break
    return list(costs[:calls])
