"""Cost per call at a steady rate: with a busy main thread, and with one that sleeps between calls."""

from __future__ import annotations

import time
from typing import Any, ClassVar, override

from benchmarks.entry import ID_MASK, ORDER_IDS, warm_up
from benchmarks.figures import latency
from benchmarks.host import Order
from benchmarks.measures.base import NANOSECONDS, Measure, Settings, ready, samples
from benchmarks.subjects.base import Subject


class Paced(Measure):
    """A main thread that computes until the next call is due: what else runs in the process makes it late."""

    name = "paced"
    about = "10,000 calls/s from a main thread that computes in between; how late it gets against its schedule."
    quick: ClassVar[Settings] = {"rounds": 3, "rate": 10_000, "seconds": 0.6}
    full: ClassVar[Settings] = {"rounds": 5, "rate": 10_000, "seconds": 5.0}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        rate, seconds = order.settings["rate"], order.settings["seconds"]
        step = int(NANOSECONDS / rate)
        costs, delays = samples(int(rate * seconds)), samples(int(rate * seconds))
        entry, clock, ids = subject.entry, time.perf_counter_ns, ORDER_IDS
        start = clock() + 2_000_000
        deadline = start + int(2 * seconds * NANOSECONDS)
        calls, work = 0, 1
        for number in range(len(costs)):
            due = start + number * step
            order_id = ids[number & ID_MASK]
            while (now := clock()) < due:
                work = work * 31 & 0xFFFF | 1
            before = clock()
            entry(number, order_id)
            after = clock()
            costs[number] = after - before
            delays[number] = now - due
            calls += 1
            if after > deadline:
                break
        subject.close()
        return {**latency(costs[:calls]), **latency(delays[:calls], "late_"), "calls": calls}


class Idle(Measure):
    """A main thread that really sleeps, so that caches and branch predictors have gone cold."""

    name = "idle"
    about = "1,000 calls/s with a real sleep before each."
    quick: ClassVar[Settings] = {"rounds": 1, "rate": 1_000, "seconds": 0.6}
    full: ClassVar[Settings] = {"rounds": 5, "rate": 1_000, "seconds": 3.0}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        rate, seconds = order.settings["rate"], order.settings["seconds"]
        step = int(NANOSECONDS / rate)
        room = samples(int(rate * seconds))
        entry, clock, sleep, ids = subject.entry, time.perf_counter_ns, time.sleep, ORDER_IDS
        start = clock()
        for number in range(len(room)):
            order_id = ids[number & ID_MASK]
            sleep(max(start + number * step - clock(), 100_000) / NANOSECONDS)
            before = clock()
            entry(number, order_id)
            room[number] = clock() - before
        subject.close()
        return {**latency(room), "calls": len(room)}
