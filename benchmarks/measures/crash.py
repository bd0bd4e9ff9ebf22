"""Two processes of ours in one directory, all three files, rotations: killed at random, recovered, counted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import MESSAGE, PRICE, SIDE, SIZE
from benchmarks.host import Order, Running, run, scratch
from benchmarks.measures.base import NANOSECONDS, PATIENCE, Measure, Settings, ready
from benchmarks.measures.kill import kill_at_random
from benchmarks.shared_counter import SharedCounter, make
from benchmarks.subjects.base import Subject
from benchmarks.validate import Tally, tally

#: Numbers of the second writer begin here.
_APART: Final = 100_000_000
_TRADE_EVERY, _ERROR_EVERY = 5, 7
_WRITERS: Final = ("burst", "paced")
#: Small files, none of which is deleted.
_FILES: Final = {"max_bytes": 500_000, "backups": 500}
_RATE: Final = 10_000


class Crash(Measure):
    """One writer in a burst, one at a steady rate; every fifth entry is a trade, every seventh an error."""

    name = "crash"
    about = (
        "Ours only: two processes in one directory (one in a burst, one at 10,000/s), all three files with rotations, "
        "both killed at random, then one recovery."
    )
    quick: ClassVar[Settings] = {
        **_FILES,
        "rounds": 2,
        "least": 2_000,
        "most": 10_000,
        "seconds": 2.0,
        "max_bytes": 500_000,
        "backups": 500,
    }
    full: ClassVar[Settings] = {
        **_FILES,
        "rounds": 25,
        "least": 2_000,
        "most": 40_000,
        "seconds": 6.0,
        "max_bytes": 500_000,
        "backups": 500,
    }

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind == "ours"

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        with scratch() as place:
            logs = place / "logs"
            logs.mkdir()
            returned = self._kill_both(subject, settings, place, logs)
            before = _losses(logs, returned)
            run(Order(self.name, subject.name, str(logs), settings, role="recover"), PATIENCE)
            after = _losses(logs, returned)
        return {
            "returned": sum(returned),
            "lost_before_recovery": sum(found.lost for found in before.values()),
            "lost": sum(found.lost for found in after.values()),
            "doubled": sum(found.doubled for found in after.values()),
            **{f"lost_{name}": found.lost for name, found in after.items()},
        }

    def _kill_both(self, subject: type[Subject], settings: Settings, place: Path, logs: Path) -> list[int]:
        """Start two writers, kill them at moments of their own, and return how many calls of each had returned."""
        counters: list[SharedCounter] = []
        with ExitStack() as stack:
            children: list[Running] = []
            for index, role in enumerate(_WRITERS):
                path = place / f"counter-{index}"
                make(path)
                counters.append(SharedCounter(path))
                extra = {"counter": str(path), "first": index * _APART}
                order = Order(self.name, subject.name, str(logs), settings, role=role, extra=extra)
                children.append(stack.enter_context(Running(order)))
            for child, counter in zip(children, counters, strict=True):
                kill_at_random(child, counter, settings)
        returned = [counter.value for counter in counters]
        for counter in counters:
            counter.close()
        return returned

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        if order.role == "recover":
            subject.close()
            return {}
        log = getattr(subject, "log")  # noqa: B009 - ours has one; the common interface does not
        trade, clock = log.bind(category="trade"), time.perf_counter_ns
        cell = SharedCounter(Path(order.extra["counter"])).cell
        first = order.extra["first"]
        step = NANOSECONDS // _RATE if order.role == "paced" else 0
        due = clock()
        for number in range(first, first + _APART):
            while clock() < due:
                pass
            method = (trade if is_trade(number) else log).error if is_error(number) else None
            method = method or (trade if is_trade(number) else log).info
            method(MESSAGE, order_id="ord-1", side=SIDE, size=SIZE, price=PRICE, n=number)
            cell[0] = number - first + 1
            due += step
        return {}


def is_trade(number: int) -> bool:
    """Return whether entry *number* is logged as a trade."""
    return number % _TRADE_EVERY == 0


def is_error(number: int) -> bool:
    """Return whether entry *number* is logged as an error."""
    return number % _ERROR_EVERY == 0


def _losses(logs: Path, returned: list[int]) -> dict[str, Tally]:
    """Return what is lost and doubled in each of the three files."""

    def expected() -> Iterable[int]:
        for index, count in enumerate(returned):
            yield from range(index * _APART, index * _APART + count)

    return {
        "expert": tally(sorted(logs.glob("expert.log*")), expected()),
        "trades": tally(sorted(logs.glob("trades.log*")), filter(is_trade, expected())),
        "errors": tally(sorted(logs.glob("errors.log*")), filter(is_error, expected())),
    }
