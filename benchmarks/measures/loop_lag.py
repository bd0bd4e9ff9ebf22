"""How late other coroutines get while one logs."""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Any, ClassVar, override

from benchmarks.entry import ID_MASK, ORDER_IDS, Entry, warm_up
from benchmarks.figures import latency
from benchmarks.host import Order
from benchmarks.measures.base import NANOSECONDS, Measure, Settings, ready
from benchmarks.subjects.base import Subject

_TICK: float = 0.001


class LoopLag(Measure):
    """One coroutine logs what is due and sleeps a millisecond; another only sleeps, and notes how much too long."""

    name = "loop-lag"
    about = "Lag of a coroutine that sleeps 1 ms at a time while another one logs 10,000 entries/s."
    quick: ClassVar[Settings] = {"rounds": 1, "rate": 10_000, "seconds": 0.6}
    full: ClassVar[Settings] = {"rounds": 5, "rate": 10_000, "seconds": 4.0}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry)
        calls, lags = asyncio.run(_scene(subject.entry, order.settings["rate"], order.settings["seconds"]))
        subject.close()
        return {**latency(lags, "lag_"), "calls": calls}


async def _scene(entry: Entry, rate: float, seconds: float) -> tuple[int, array[int]]:
    lags: array[int] = array("q")
    watcher = asyncio.create_task(_watch(lags))
    calls = await _produce(entry, rate, seconds)
    watcher.cancel()
    return calls, lags


async def _watch(lags: array[int]) -> None:
    clock = time.perf_counter_ns
    while True:
        due = clock() + int(_TICK * NANOSECONDS)
        await asyncio.sleep(_TICK)
        lags.append(max(clock() - due, 0))


async def _produce(entry: Entry, rate: float, seconds: float) -> int:
    count, number = int(rate * seconds), 0
    start = time.perf_counter()
    while number < count and (passed := time.perf_counter() - start) < 2 * seconds:
        for _ in range(min(int(passed * rate) + 1, count) - number):
            entry(number, ORDER_IDS[number & ID_MASK])
            number += 1
        await asyncio.sleep(_TICK)
    return number
