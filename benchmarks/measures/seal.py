"""A sealed trade log beside one that is not: what a call costs, and what each trade costs behind it."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, Entry, warm_up
from benchmarks.figures import percentile
from benchmarks.host import Order
from benchmarks.measures.base import Measure, Settings, samples
from benchmarks.subjects.base import Subject

#: Calls between two changes of the logger, so that whatever else runs disturbs both alike.
_BLOCK: Final = 100
#: Pairs of runs whose processor time is compared.
_PAIRS: Final = 3


class Seal(Measure):
    """Both loggers take turns in one process; processor time is that from the first trade until all is sealed."""

    name = "seal"
    about = "Ours with seal=true against without: p50 of a call and of a trade, processor time and bytes per trade."
    quick: ClassVar[Settings] = {"rounds": 2, "calls": 2_000, "seconds": 5}
    full: ClassVar[Settings] = {"rounds": 5, "calls": 20_000, "seconds": 20}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind == "ours" and find_spec("cryptography") is not None

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        directory, count = Path(order.directory), int(order.settings["calls"])
        figures: dict[str, float] = {}
        for name, trade in (("call", False), ("trade", True)):
            plain, sealed = _turns(
                [subject.sealed(directory / f"{name}-{seal}", seal=seal, trade=trade) for seal in (False, True)], count
            )
            figures |= {f"{name}_us": plain, f"{name}_sealed_us": sealed, f"{name}_ratio": sealed / plain}
        subject.close()
        extra = []
        for pair in range(_PAIRS):
            paths = {seal: directory / f"work-{pair}-{seal}" for seal in (False, True)}
            cost = {seal: _processor_time(subject, path, count, seal=seal) for seal, path in paths.items()}
            extra.append(cost[True] - cost[False])
        kept = sum(path.stat().st_size for path in (paths[True] / ".metaexpert" / "seal").rglob("*") if path.is_file())
        return {**figures, "seal_cpu_us_per_trade": median(extra), "seal_bytes_per_trade": kept / count}


def _turns(entries: list[Entry], count: int) -> list[float]:
    """Return for each of *entries* the p50 of *count* calls, in microseconds."""
    clock, times = time.perf_counter_ns, [samples(count) for _ in entries]
    for entry in entries:
        warm_up(entry)
    for first in range(0, count, _BLOCK):
        for entry, room in zip(entries, times, strict=True):
            for number in range(first, first + _BLOCK):
                before = clock()
                entry(number, ORDER_IDS[number & ID_MASK])
                room[number] = clock() - before
    return [percentile(sorted(room), 50) / 1000 for room in times]


def _processor_time(subject: Subject, directory: Path, count: int, *, seal: bool) -> float:
    """Return the microseconds of processor time for each of *count* trades until the log is closed."""
    entry = subject.sealed(directory, seal=seal, trade=True)
    began = time.process_time_ns()
    for number in range(count):
        entry(number, ORDER_IDS[number & ID_MASK])
    subject.close()
    return (time.process_time_ns() - began) / 1000 / count
