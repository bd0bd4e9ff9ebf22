"""Several processes that log into one directory at the same time."""

from __future__ import annotations

import time
from array import array
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, warm_up
from benchmarks.figures import latency
from benchmarks.host import CaseError, Order, Running, scratch
from benchmarks.measures.base import NANOSECONDS, PATIENCE, Measure, Settings, ready, samples
from benchmarks.shared_counter import SharedCounter, make
from benchmarks.subjects.base import Subject
from benchmarks.validate import Tally, tally

_COMPARED: Final = ("ours-async", "concurrent-log-handler", "floor-noop")
#: Numbers of each process begin at a multiple of this.
_APART: Final = 10_000_000
#: So many backups that none is deleted in a minute.
_SCENE: Final = {"processes": 8, "rate": 2_500, "backups": 400}
#: Cells of the memory that a child shares with the benchmark.
_READY, _BEGIN = 0, 1


class Processes(Measure):
    """All begin at one time and really sleep between calls; the no-op floor shows what the scheduler alone costs."""

    name = "processes"
    about = "8 processes in one directory, 2,500 entries/s each; against one process alone."
    quick: ClassVar[Settings] = {
        **_SCENE,
        "rounds": 1,
        "processes": 8,
        "rate": 2_500,
        "seconds": 1.5,
        "alone_seconds": 1.0,
        "backups": 400,
    }
    full: ClassVar[Settings] = {
        **_SCENE,
        "rounds": 1,
        "processes": 8,
        "rate": 2_500,
        "seconds": 60.0,
        "alone_seconds": 20.0,
        "backups": 400,
    }

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.name in _COMPARED

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        many, calls, found = self._scene(subject, settings, int(settings["processes"]))
        alone, _, _ = self._scene(subject, {**settings, "seconds": settings["alone_seconds"]}, 1)
        return {
            **many,
            **{f"one_{name}": value for name, value in alone.items()},
            "p99_ratio": many["p99_us"] / alone["p99_us"],
            "calls": calls,
            **({"lost": found.lost, "doubled": found.doubled} if subject.writes else {}),
        }

    def _scene(self, subject: type[Subject], settings: Settings, count: int) -> tuple[dict[str, float], int, Tally]:
        """Return latency over all calls of *count* processes, how many calls, and what became of the entries."""
        with scratch() as place, ExitStack() as stack:
            logs = place / "logs"
            logs.mkdir()
            children, gates = [], []
            for index in range(count):
                gate = place / f"gate-{index}"
                make(gate)
                gates.append(stack.enter_context(closing(SharedCounter(gate))))
                extra = {"gate": str(gate), "first": index * _APART, "samples": str(place / f"samples-{index}")}
                order = Order(self.name, subject.name, str(logs), settings, extra=extra)
                children.append(stack.enter_context(Running(order)))
            _begin_together(children, gates)
            reports = [child.result(settings["seconds"] * 3 + PATIENCE) for child in children]
            costs: array[int] = array("q")
            for index in range(count):
                costs.frombytes((place / f"samples-{index}").read_bytes())
            expected = [
                number
                for index, report in enumerate(reports)
                for number in range(index * _APART, index * _APART + report["calls"])
            ]
            return latency(costs), len(costs), tally(subject().files(logs), expected)

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        warm_up(subject.entry, 50)
        rate, seconds, first = order.settings["rate"], order.settings["seconds"], order.extra["first"]
        step, room = int(NANOSECONDS / rate), samples(int(rate * seconds))
        entry, clock, sleep, ids = subject.entry, time.perf_counter_ns, time.sleep, ORDER_IDS
        _wait_at(SharedCounter(Path(order.extra["gate"])))
        start, calls = clock(), 0
        deadline = start + int(2 * seconds * NANOSECONDS)
        for number in range(len(room)):
            order_id = ids[number & ID_MASK]
            if (early := start + number * step - clock()) > 0:
                sleep(early / NANOSECONDS)
            before = clock()
            entry(first + number, order_id)
            after = clock()
            room[number] = after - before
            calls += 1
            if after > deadline:
                break
        subject.close()
        Path(order.extra["samples"]).write_bytes(room[:calls].tobytes())
        return {"calls": calls}


def _begin_together(children: list[Running], gates: list[SharedCounter]) -> None:
    """Wait until every child is set up, then tell all of them when to begin."""
    limit = time.monotonic() + PATIENCE
    while not all(gate.cell[_READY] for gate in gates):
        if time.monotonic() > limit or any(child.process.poll() is not None for child in children):
            complaints = [child.complaint() for child in children]
            raise CaseError(next((text for text in complaints if text), "a process was not ready in time"))
        time.sleep(0.01)
    begin = time.time_ns() + NANOSECONDS // 4
    for gate in gates:
        gate.cell[_BEGIN] = begin


def _wait_at(gate: SharedCounter) -> None:
    """Say that this child is set up, and return when all are to begin."""
    gate.cell[_READY] = 1
    while not gate.cell[_BEGIN]:
        time.sleep(0.005)
    time.sleep(max(gate.cell[_BEGIN] - time.time_ns(), 0) / NANOSECONDS)
