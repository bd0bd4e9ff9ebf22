"""Entries that are lost when the process is killed: of those whose call had returned."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import ID_MASK, ORDER_IDS, warm_up
from benchmarks.host import CaseError, Order, Running, run, scratch
from benchmarks.measures.base import NANOSECONDS, PATIENCE, Measure, Settings, ready
from benchmarks.shared_counter import SharedCounter, make
from benchmarks.subjects.base import Subject
from benchmarks.validate import tally

_POLL: Final = 0.0005
#: Small files, none of which is deleted.
_FILES: Final = {"max_bytes": 1_000_000, "backups": 200}
#: More entries than any run makes before it is killed.
_ENDLESS: Final = 100_000_000


class _Kill(Measure):
    """The child counts returned calls in shared memory; the parent kills it and counts what is in the files.

    The files are smaller than elsewhere, so that rotations take place, and none is deleted.
    """

    rate: float = 0.0

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.writes

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        with scratch() as place:
            logs, counter_path = place / "logs", place / "counter"
            logs.mkdir()
            make(counter_path)
            order = Order(self.name, subject.name, str(logs), settings, extra={"counter": str(counter_path)})
            counter = SharedCounter(counter_path)
            with Running(order) as child:
                kill_at_random(child, counter, settings)
            returned = counter.value
            counter.close()
            return {"returned": returned, **count_losses(subject, order, returned)}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        if order.role == "recover":
            # The set-up above is a start on the same directory, and that is what recovers.
            subject.close()
            return {}
        warm_up(subject.entry)
        cell = SharedCounter(Path(order.extra["counter"])).cell
        entry, ids, clock = subject.entry, ORDER_IDS, time.perf_counter_ns
        step = int(NANOSECONDS / self.rate) if self.rate else 0
        due = clock()
        for number in range(_ENDLESS):
            while clock() < due:
                pass
            entry(number, ids[number & ID_MASK])
            cell[0] = number + 1
            due += step
        return {}


def kill_at_random(child: Running, counter: SharedCounter, settings: Settings) -> None:
    """Kill *child* at a random moment after a random number of calls, or when the time is over."""
    target = random.randint(int(settings["least"]), int(settings["most"]))  # noqa: S311
    limit = time.monotonic() + PATIENCE
    started = 0.0
    while counter.value < target and child.process.poll() is None and time.monotonic() < limit:
        if not started and counter.value:
            started = time.monotonic()
            limit = started + settings["seconds"]
        time.sleep(_POLL)
    time.sleep(random.random() * 0.003)  # noqa: S311
    if child.process.poll() is not None or not counter.value:
        raise CaseError(child.complaint() or "no call returned before the process was to be killed")
    child.kill()


def count_losses(subject: type[Subject], order: Order, returned: int) -> dict[str, float]:
    """Return what is lost and doubled of *returned* entries: as the dead process left it, and after recovery."""
    logs = Path(order.directory)
    found = tally(subject().files(logs), range(returned))
    if not subject.recovers:
        return {"lost": found.lost, "doubled": found.doubled}
    run(Order(order.measure, order.subject, order.directory, order.settings, role="recover"), PATIENCE)
    after = tally(subject().files(logs), range(returned))
    return {"lost": after.lost, "doubled": after.doubled, "lost_before_recovery": found.lost}


class KillBurst(_Kill):
    """Killed in a burst."""

    name = "kill-burst"
    about = "Lost and doubled entries when the process is killed (SIGKILL) at a random moment of a burst."
    quick: ClassVar[Settings] = {
        **_FILES,
        "rounds": 1,
        "least": 5_000,
        "most": 25_000,
        "seconds": 2.0,
        "max_bytes": 2_000_000,
        "backups": 100,
    }
    full: ClassVar[Settings] = {
        **_FILES,
        "rounds": 4,
        "least": 10_000,
        "most": 60_000,
        "seconds": 6.0,
        "max_bytes": 2_000_000,
        "backups": 100,
    }


class KillPaced(_Kill):
    """Killed at a steady 10,000 entries/s."""

    name = "kill-paced"
    about = "The same at a steady 10,000 entries/s."
    rate = 10_000.0
    quick: ClassVar[Settings] = {
        **_FILES,
        "rounds": 1,
        "least": 2_000,
        "most": 8_000,
        "seconds": 2.0,
        "max_bytes": 1_000_000,
        "backups": 100,
    }
    full: ClassVar[Settings] = {
        **_FILES,
        "rounds": 4,
        "least": 5_000,
        "most": 30_000,
        "seconds": 6.0,
        "max_bytes": 1_000_000,
        "backups": 100,
    }
