"""Counts of whole lines by their headers: in the compiled core, or here.

Counted are lines whose header is exactly our writer's, without decoding them. Trades and errors, which may be copies of
one another, and lines of any other form are handed back. A property test compares the core with the plain function.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.system.native import core

#: The whole header of our writer, in which only the message may have escape sequences.
HEADER: Final = re.compile(
    rb'\{"timestamp":"(?P<time>(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d\.\d{6})Z",'
    rb'"level":"(?P<level>debug|info|warning|error|critical)",'
    rb'(?P<head>"severity":\d,"facility":\d{1,2},"version":1,"hostname":"(?P<host>[^"\\]*)",'
    rb'"appname":"[^"\\]*","procid":"(?P<pid>[^"\\]*)","msgid":"(?P<msgid>[^"\\]*)"),'
    rb'"sequence_id":(?P<number>0*[1-9]\d*+),"message":"(?P<message>(?:[^"\\]|\\.)*+)"(?:,|\}\Z)'
)
_ERRORS: Final = frozenset({b"error", b"critical"})
_TRADE: Final = schema.MSGID_TRADE.encode()
#: More digits do not fit into 64 bits.
_MOST_DIGITS: Final = 18


class Tally(NamedTuple):
    """The counts of some whole lines.

    Attributes:
        kinds: Level, the header from severity to msgid, and how many lines that are neither trades nor errors.
        runs: Host and process id, and the numbers of its lines, three of this list for each run: first number, last
            number, -1; or for a trade or an error: number, 0, and its place in *specials*.
        minutes: Minute, and how many lines that are neither trades nor errors.
        messages: For each shape of a message the shape, one such message and how many there are. Messages of one
            shape have one `metaexpert.logs.stats.fingerprint`.
        specials: Begin and end of each trade and each error.
        odd: Begin and end of each line of another form.
        unsure: Only of `strict_tally`: begin and end of each counted line that is not certainly sound.
        latest: Likewise: the time of the last counted line.
        back: Likewise: whether the time of a counted line is before that of the one before it, by seconds.
    """

    kinds: Sequence[tuple[bytes, bytes, int]]
    runs: Sequence[tuple[bytes, bytes, Sequence[int]]]
    minutes: Sequence[tuple[bytes, int]]
    messages: Sequence[tuple[bytes, bytes, int]]
    specials: Sequence[int]
    odd: Sequence[int]
    unsure: Sequence[int] = ()
    latest: bytes = b""
    back: bool = False


def tally(data: bytes) -> Tally:
    """Return the counts of the whole lines in *data*."""
    return plain_tally(data) if core is None else _compiled(data, strict=False)


def strict_tally(data: bytes) -> Tally | None:
    """Return the same with a closer look at each line; None where nothing is compiled.

    A line that is counted and not in `Tally.unsure` is JSON and conforms to the schema.
    """
    return None if core is None else _compiled(data, strict=True)


def _compiled(data: bytes, *, strict: bool) -> Tally:
    kinds, runs, minutes, messages, specials, odd, unsure, latest, back = core.tally(data, strict)
    return Tally(
        kinds,
        [(host, pid, _numbers(numbers)) for host, pid, numbers in runs],
        minutes,
        messages,
        _numbers(specials),
        _numbers(odd),
        _numbers(unsure),
        latest,
        back,
    )


def lines_at(data: bytes, bounds: Sequence[int]) -> list[bytes]:
    """Return the lines of *data* that begin and end there."""
    return [data[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]


def plain_tally(data: bytes) -> Tally:
    """Do what the core does; each message is a shape of its own."""
    kinds: Counter[tuple[bytes, bytes]] = Counter()
    minutes: Counter[bytes] = Counter()
    messages: Counter[bytes] = Counter()
    runs: dict[tuple[bytes, bytes], _Runs] = {}
    specials, odd, start = array("q"), array("q"), 0
    for line in data.split(b"\n"):
        bounds = (start, start + len(line))
        start = bounds[1] + 1
        found = HEADER.match(line) if line.endswith(b"}") else None
        if found is None or len(found["number"]) > _MOST_DIGITS:
            odd.extend(bounds if line else ())
            continue
        numbers = runs.setdefault((found["host"], found["pid"]), _Runs())
        level, special = found["level"], found["level"] in _ERRORS or found["msgid"] == _TRADE
        kinds[level, found["head"]] += not special
        if special:
            numbers.special(int(found["number"]), len(specials) // 2)
            specials.extend(bounds)
            continue
        numbers.ordinary(int(found["number"]))
        minutes[found["minute"]] += 1
        messages[found["message"]] += 1
    return Tally(
        [(*kind, count) for kind, count in kinds.items()],
        [(host, pid, numbers.found) for (host, pid), numbers in runs.items()],
        list(minutes.items()),
        [(message, message, count) for message, count in messages.items()],
        specials,
        odd,
    )


class _Runs:
    def __init__(self) -> None:
        self.found = array("q")
        self._open = False

    def ordinary(self, number: int) -> None:
        if self._open and self.found[-2] + 1 == number:
            self.found[-2] = number
        else:
            self.found.extend((number, number, -1))
        self._open = True

    def special(self, number: int, place: int) -> None:
        self.found.extend((number, 0, place))
        self._open = False


def _numbers(data: bytes) -> Sequence[int]:
    return memoryview(data).cast("q")
