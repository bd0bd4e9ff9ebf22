"""Cost per call, one call after the other as fast as they go."""

from __future__ import annotations

import time
from typing import Any, ClassVar, override

from benchmarks.entry import ID_MASK, ORDER_IDS, warm_up
from benchmarks.figures import latency
from benchmarks.host import Order
from benchmarks.measures.base import NANOSECONDS, Measure, Settings, ready, samples, timer_ns
from benchmarks.subjects.base import Subject


class Burst(Measure):
    """Each call timed with ``perf_counter_ns`` around it, nothing subtracted."""

    name = "burst"
    about = "Cost per call in a burst: calls one after the other, each timed, nothing subtracted."
    quick: ClassVar[Settings] = {"rounds": 3, "calls": 12_000, "seconds": 0.8}
    full: ClassVar[Settings] = {"rounds": 5, "calls": 40_000, "seconds": 10}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        room = samples(int(order.settings["calls"]))
        entry, clock, ids = subject.entry, time.perf_counter_ns, ORDER_IDS
        deadline = clock() + int(order.settings["seconds"] * NANOSECONDS)
        calls = 0
        for number in range(len(room)):
            order_id = ids[number & ID_MASK]
            before = clock()
            entry(number, order_id)
            after = clock()
            room[number] = after - before
            calls += 1
            if after > deadline:
                break
        subject.close()
        return {**latency(room[:calls]), "calls": calls, "timer_ns": timer_ns()}
