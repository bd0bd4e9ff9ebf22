"""Many loggers on one directory: what they cost while nothing is logged, and what one more costs."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Final, override

from benchmarks.entry import Entry, warm_up
from benchmarks.host import Order
from benchmarks.measures.base import Measure, Settings
from benchmarks.subjects.base import Subject

#: Seconds until loggers that have just come are at rest.
_SETTLED: Final = 1.5
#: Loggers whose making is timed, with few beside them and with all.
_TIMED: Final = 10


class Crowd(Measure):
    """The first logger alone, then all: processor time of an idle process, and the time to make a logger."""

    name = "crowd"
    about = "200 loggers on one directory: processor time while nothing is logged, time to make one more; against one."
    quick: ClassVar[Settings] = {"rounds": 1, "loggers": 200, "seconds": 1.5}
    full: ClassVar[Settings] = {"rounds": 3, "loggers": 200, "seconds": 20.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind == "ours"

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        directory, count, seconds = Path(order.directory), int(order.settings["loggers"]), order.settings["seconds"]
        entries: list[Entry] = []

        def more() -> float:
            began = time.perf_counter()
            entries.append(subject.expert(directory, len(entries)))
            return time.perf_counter() - began

        more()
        one = _idle(entries[0], seconds)
        first = [more() for _ in range(_TIMED)]
        for _ in range(count - len(entries)):
            more()
        last = [more() for _ in range(_TIMED)]
        all_of_them = _idle(entries[-1], seconds)
        subject.close()
        return {
            "idle_one_ms_per_s": one,
            "idle_all_ms_per_s": all_of_them,
            "idle_ratio": all_of_them / one,
            "make_first_ms": median(first) * 1000,
            "make_last_ms": median(last) * 1000,
            "make_ratio": median(last) / median(first),
        }


def _idle(entry: Entry, seconds: float) -> float:
    """Return the milliseconds of processor time that a second without an entry costs."""
    warm_up(entry, 10)
    time.sleep(_SETTLED)
    began, cpu_began = time.monotonic(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - cpu_began) * 1000 / (time.monotonic() - began)
