"""Does a subject work here, and does it do the same work as the others?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, override

from benchmarks.entry import ID_MASK, ORDER_IDS, WARM_UP_FROM
from benchmarks.host import CaseError, Order, run, scratch
from benchmarks.measures.base import PATIENCE, Measure, Settings, ready
from benchmarks.subjects.base import Subject
from benchmarks.validate import missing, tally

_CALLS = 300
#: Far from UTC, so that a clock that is local shows.
_ZONE = "Asia/Tokyo"


class Check(Measure):
    """Not a measure of time: runs once per subject, before the rounds."""

    name = "check"
    about = "A few entries are read back and compared with what was logged."
    quick: ClassVar[Settings] = {"rounds": 1, "seconds": 5.0}
    full = quick

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        ready(subject, order)
        for number in range(_CALLS):
            subject.entry(number, ORDER_IDS[number & ID_MASK])
        subject.disabled(WARM_UP_FROM, ORDER_IDS[0])
        subject.close()
        return {"calls": _CALLS}


def check(subject: type[Subject]) -> list[str]:
    """Return what the entries of *subject* lack of the common job. Raises CaseError when it does not work here."""
    with scratch() as directory:
        run(Order(Check.name, subject.name, str(directory), Check.quick), PATIENCE, timezone=_ZONE)
        if not subject.writes:
            return []
        reader = subject()
        found = tally(reader.files(directory), range(_CALLS))
        if found.lost or found.doubled:
            raise CaseError(f"{found.lost} of {_CALLS} entries missing, {found.doubled} doubled after close")
        return missing(reader.files(directory), reader.normalize, datetime.now(UTC))
