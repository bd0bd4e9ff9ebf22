"""What every measure is to the runner, and the pieces that several of them share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Final

from benchmarks.entry import Rotation
from benchmarks.host import Order, run, scratch
from benchmarks.subjects.base import Subject
from benchmarks.validate import tally

#: Numbers by name; every measure has ``rounds`` and ``seconds``, the others are its own.
Settings = Mapping[str, float]

NANOSECONDS: Final = 1_000_000_000
#: Added to what a measure takes by itself: start of the interpreter, imports, the drain of a slow queue.
PATIENCE: Final = 45.0


class Measure(ABC):
    """One measure. `outside` runs in the benchmark's process, `inside` in the subject's own."""

    name: ClassVar[str]
    #: What it does, in one sentence for the reader of the tables.
    about: ClassVar[str]
    #: Settings of the two modes. ``rounds`` says in how many rounds it takes part.
    quick: ClassVar[Settings]
    full: ClassVar[Settings]

    def applies(self, subject: type[Subject]) -> bool:
        """Return whether the measure makes sense for *subject*."""
        return True

    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        """Return the figures of one run. Raises CaseError."""
        with scratch() as directory:
            order = Order(self.name, subject.name, str(directory), settings)
            report = run(order, settings["seconds"] * 3 + PATIENCE)
            return {**report, **missing_entries(subject, directory, report)}

    @abstractmethod
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        """Do the work in the subject's process and return its figures."""


def missing_entries(subject: type[Subject], directory: Path, report: Mapping[str, Any]) -> dict[str, float]:
    """Return how many of the ``calls`` that a child reports are not in its files."""
    if "calls" not in report or not subject.writes:
        return {}
    return {"missing": tally(subject().files(directory), range(int(report["calls"]))).lost}


def ready(subject: Subject, order: Order) -> None:
    """Set *subject* up to log into the order's directory; the files rotate as the settings or the job say."""
    usual = Rotation()
    settings = order.settings
    rotation = Rotation(int(settings.get("max_bytes", usual.max_bytes)), int(settings.get("backups", usual.backups)))
    subject.setup(Path(order.directory), rotation)


def samples(count: int) -> array[int]:
    """Return room for *count* samples, made beforehand so that no measured call pays for it."""
    return array("q", bytes(8 * count))


def timer_ns(calls: int = 5000) -> float:
    """Return what two readings of the clock, one after the other, are apart in this process: in every sample."""
    clock = time.perf_counter_ns
    room = samples(calls)
    for index in range(calls):
        before = clock()
        room[index] = clock() - before
    return median(room)
