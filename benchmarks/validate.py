"""Reading back what a subject wrote: how many entries are there, and was the same work done?

Independent of every logger: bytes, one regular expression and the standard library's JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.entry import BOUND, LEVEL, LOGGER, MESSAGE, WARM_UP_FROM, event_fields

#: The number of an entry: ``"n": 17`` in JSON, ``n=17`` in the text of those that know no fields.
_NUMBER: Final = re.compile(rb'\bn(?:=|": ?)(\d+)')
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{6,9})(?:Z|\+00:00)$")
#: Longest time between the call and the check; a clock in another zone is off by an hour at least.
_CLOCK_TOLERANCE: Final = timedelta(minutes=20)


class Tally(NamedTuple):
    """What became of the entries that were expected."""

    found: int
    lost: int
    doubled: int


def complete_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of *path* that end as they should. NUL bytes, the unused rest of a map, are no text."""
    *lines, _torn = path.read_bytes().replace(b"\0", b"").split(b"\n")
    yield from lines


def numbers(paths: Iterable[Path]) -> Counter[int]:
    """Return how often each entry, by its number, stands in *paths*; entries of the warm-up are left out."""
    found: Counter[int] = Counter()
    for path in paths:
        whole = path.read_bytes().rpartition(b"\n")[0]
        found.update(number for text in _NUMBER.findall(whole) if (number := int(text)) < WARM_UP_FROM)
    return found


def tally(paths: Iterable[Path], expected: Iterable[int]) -> Tally:
    """Compare the entries in *paths* with the numbers that are *expected* there."""
    found = numbers(paths)
    return Tally(
        found=len(found),
        lost=sum(1 for number in expected if number not in found),
        doubled=sum(count - 1 for count in found.values()),
    )


def missing(paths: Iterable[Path], normalize: Callable[[bytes], Mapping[str, Any]], now: datetime) -> list[str]:
    """Return what the entries in *paths* lack of the common job; nothing when they hold all of it.

    Args:
        paths: Files of a run that took place in a time zone other than UTC.
        normalize: Turns a line into a mapping with ``message``, ``timestamp``, ``level``, ``logger`` and the fields.
        now: Present time, aware.
    """
    found: dict[str, None] = {}
    stamps: list[str] = []
    for path in paths:
        for line in complete_lines(path):
            try:
                entry = normalize(line)
            except (ValueError, KeyError, TypeError) as error:
                found[f"a line could not be read ({type(error).__name__})"] = None
                continue
            if entry.get("n", WARM_UP_FROM) >= WARM_UP_FROM:
                continue
            found.update(dict.fromkeys(_faults(entry)))
            stamps.append(str(entry.get("timestamp")))
    if not stamps:
        return ["no entry at all"]
    found.update(dict.fromkeys(_clock_faults(stamps, now)))
    return list(found)


def _faults(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry.get("message") != MESSAGE:
        yield "message"
    for name, value in {**BOUND, **event_fields(entry["n"])}.items():
        if entry.get(name) != value:
            yield f"field {name}"
    if str(entry.get("level")).lower() != LEVEL:
        yield "level"
    if entry.get("logger") != LOGGER:
        yield "logger name"


def _clock_faults(stamps: list[str], now: datetime) -> Iterator[str]:
    times = [_time(stamp) for stamp in stamps]
    if None in times:
        yield "UTC timestamp"
        return
    real = [time for time in times if time is not None]
    if all(time.microsecond % 1000 == 0 for time in real):
        yield "microseconds"
    if any(abs(time - now) > _CLOCK_TOLERANCE for time in real):
        yield "UTC (local time)"


def _time(stamp: str) -> datetime | None:
    """Return the time that *stamp* says, an RFC 3339 text in UTC or seconds since the epoch."""
    match = _ISO.match(stamp)
    try:
        if match:
            return datetime.fromisoformat(f"{stamp[:19]}.{match[1][:6]}+00:00")
        return datetime.fromtimestamp(float(stamp), tz=datetime.now().astimezone().tzinfo)
    except ValueError:
        return None
