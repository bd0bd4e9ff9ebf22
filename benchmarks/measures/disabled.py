"""Cost of a call that is off."""

from __future__ import annotations

import time
from itertools import repeat
from statistics import median
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ORDER_IDS
from benchmarks.host import Order
from benchmarks.measures.base import Measure, Settings, ready
from benchmarks.subjects.base import Subject

_BLOCK: Final = 1000


class Disabled(Measure):
    """A call is shorter than two readings of the clock, so that blocks of calls are timed."""

    name = "disabled"
    about = "One DEBUG call at level INFO, from blocks of 1,000 calls; making the keywords is part of it."
    quick: ClassVar[Settings] = {"rounds": 1, "blocks": 100, "seconds": 1.0}
    full: ClassVar[Settings] = {"rounds": 5, "blocks": 500, "seconds": 5.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind != "floor" or not subject.writes

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        disabled, clock, order_id = subject.disabled, time.perf_counter_ns, ORDER_IDS[0]
        found: list[float] = []
        for _ in range(int(order.settings["blocks"])):
            before = clock()
            for number in repeat(7, _BLOCK):
                disabled(number, order_id)
            found.append((clock() - before) / _BLOCK)
        subject.close()
        return {"call_ns": median(found)}
