"""Counts of whole lines by their headers: in the compiled core, or here.

Counted are lines whose header is exactly our writer's, without decoding them. Trades and errors, which may be copies of
one another, and lines of any other form are handed back. The values of fields are handed back as bytes, and the lines
with certain keys by their places. A property test compares the core with the plain function.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import MutableSequence, Sequence
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.system.native import core
from metaexpert.logs.entry import regular_number
from metaexpert.logs.reading._selection import Group, has_texts

#: The whole header of our writer, in which only the message may have escape sequences.
HEADER: Final = re.compile(
    rb'\{"timestamp":"(?P<time>(?P<minute>\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d\.\d{6})Z",'
    rb'"level":"(?P<level>debug|info|warning|error|critical)",'
    rb'(?P<head>"severity":\d,"facility":\d{1,2},"version":1,"hostname":"(?P<host>[^"\\]*)",'
    rb'"appname":"[^"\\]*","procid":"(?P<pid>[^"\\]*)","msgid":"(?P<msgid>[^"\\]*)"),'
    rb'"sequence_id":(?P<number>0*[1-9]\d*+),"message":"(?P<message>(?:[^"\\]|\\.)*+)"(?:,|\}\Z)'
)
_LOGGER: Final = re.compile(rb'"logger":"[^"\\]*",')
_EXPERT: Final = re.compile(rb'"expert_name":"([^"\\]+)"')
_ERRORS: Final = frozenset({b"error", b"critical"})
_TRADE: Final = schema.MSGID_TRADE.encode()
#: Most fields whose values are taken; the same in `system/core/tally.c`.
MOST_FIELDS: Final = 8
#: Host and process id, as they are in a line.
RawProcess = tuple[bytes, bytes]
#: More digits do not fit into 64 bits.
_MOST_DIGITS: Final = 18


class Numbers(NamedTuple):
    """The numbers of the lines of one process, in the order of the lines.

    Attributes:
        host: The host.
        pid: The process id.
        runs: Three of this list for each run: first number, last number, -1; or for a trade or an error: number, 0,
            and its place in `Tally.specials`.
        ordinary: First and last of those that follow one another, of the lines that are neither trades nor errors.
        every: The same of all lines.
    """

    host: bytes
    pid: bytes
    runs: Sequence[int]
    ordinary: Sequence[int]
    every: Sequence[int]


class Tally(NamedTuple):
    """The counts of some whole lines.

    Attributes:
        kinds: Level, the header from severity to msgid, the name of the expert (empty for none), and how many lines
            that are neither trades nor errors.
        runs: The numbers of each process.
        minutes: Minute, and how many lines that are neither trades nor errors.
        messages: For each shape of a message the shape, one such message and how many there are. Messages of one
            shape have one `metaexpert.logs.stats.fingerprint`.
        specials: Begin and end of each trade and each error.
        marks: For each of those where its header ends, its places in *kinds* and *minutes*, and that in *messages*
            (-1 for an error). From its time to that end, copies are equal.
        odd: Begin and end of each line of another form.
        unsure: Of `strict_tally`, begin and end of each line that is counted or a trade or an error, and not certainly
            sound; of `tally`, those of the counted lines in which only decoding finds the wanted fields.
        values: For each wanted field its values in counted lines, as they are there.
        low: The earliest time of all these lines but the odd ones; empty when there is none.
        high: The latest time.
        latest: Only where it is compiled: the time of the last such line.
        back: Likewise: whether the time of such a line is before that of the one before it, by seconds.
        telling: Begin, end and number of each line that may have one of the wanted keys, each trade and error, each
            entry of the logger about itself, and each line of another form; the end is negative for a line that is
            not regular (see `metaexpert.logs.entry.regular_number`).
    """

    kinds: Sequence[tuple[bytes, bytes, bytes, int]]
    runs: Sequence[Numbers]
    minutes: Sequence[tuple[bytes, int]]
    messages: Sequence[tuple[bytes, bytes, int]]
    specials: Sequence[int]
    marks: Sequence[int]
    odd: Sequence[int]
    unsure: Sequence[int]
    values: Sequence[Sequence[bytes]]
    low: bytes
    high: bytes
    latest: bytes = b""
    back: bool = False
    telling: Sequence[int] = ()


def tally(
    data: bytes, names: tuple[bytes, ...] = (), keys: tuple[bytes, ...] = (), process: RawProcess | None = None
) -> Tally:
    """Return the counts of the whole lines in *data*, and the values of the fields with these *names*.

    At most `MOST_FIELDS` names, in quotes as they are in a line; none of the header (`schema.HEADER_KEYS`). With
    *keys*, ends of keys in lower case such as ``order_id":``, the lines with one of them are told, and messages and
    minutes need not be counted. With a *process*, those of the others are told only if they are about the logger
    itself, or of another form.
    """
    if core is None:
        return plain_tally(data, names, keys, process)
    return _compiled(data, names, keys, *(process or ()), strict=False)


def strict_tally(data: bytes) -> Tally | None:
    """Return the same with a closer look at each line; None where nothing is compiled.

    A line that is counted and not in `Tally.unsure` is JSON and conforms to the schema.
    """
    return None if core is None else _compiled(data, (), (), strict=True)


def _compiled(data: bytes, names: tuple[bytes, ...], keys: tuple[bytes, ...], *process: bytes, strict: bool) -> Tally:
    found = core.tally(data, strict, names, keys, *process)
    kinds, runs, minutes, messages, specials, marks, odd, unsure, values, low, high, latest, back, telling = found
    numbers = [Numbers(host, pid, *map(_numbers, each)) for host, pid, *each in runs]
    return Tally(
        kinds, numbers, minutes, messages, _numbers(specials), _numbers(marks), _numbers(odd), _numbers(unsure),
        values, low, high, latest, back, _numbers(telling),
    )  # fmt: skip


def lines_at(data: bytes, bounds: Sequence[int]) -> list[bytes]:
    """Return the lines of *data* that begin and end there."""
    return [data[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]


def plain_tally(
    data: bytes, names: tuple[bytes, ...] = (), keys: tuple[bytes, ...] = (), process: RawProcess | None = None
) -> Tally:
    """Do what the core does; each message is a shape of its own, and the fields are looked for in decoded lines."""
    kinds: Counter[tuple[bytes, bytes, bytes]] = Counter()
    minutes: Counter[bytes] = Counter()
    messages: Counter[bytes] = Counter()
    runs: dict[tuple[bytes, bytes], _Runs] = {}
    specials, marks, odd, unsure, times = array("q"), list[tuple[int, Any, bytes, Any]](), array("q"), array("q"), []
    start, telling = 0, array("q")
    for line in data.split(b"\n"):
        bounds = (start, start + len(line))
        start = bounds[1] + 1
        found = HEADER.match(line) if line.endswith(b"}") else None
        expert = expert_in(line, found.end()) if found is not None else None
        if found is None or expert is None or len(found["number"]) > _MOST_DIGITS:
            odd.extend(bounds if line else ())
            telling.extend(_place(bounds, line) if line and keys else ())
            continue
        numbers = runs.setdefault((found["host"], found["pid"]), _Runs())
        level, special = found["level"], found["level"] in _ERRORS or found["msgid"] == _TRADE
        times.append(found["time"])
        wanted = process in (None, (found["host"], found["pid"]))
        if keys and _tells(line, found.start("message"), keys, special=special, wanted=wanted):
            telling.extend(_place(bounds, line))
        kinds[level, found["head"], expert] += not special
        minutes[found["minute"]] += not special
        message = None if level in _ERRORS else found["message"]
        if message is not None:
            messages[message] += not special
        if special:
            numbers.special(int(found["number"]), len(specials) // 2)
            specials.extend(bounds)
            marks.append((bounds[0] + found.end("number"), (level, found["head"], expert), found["minute"], message))
            continue
        numbers.ordinary(int(found["number"]))
        if any(name in line for name in names) or (names and b"\\" in line):
            unsure.extend(bounds)
    places = [{key: at for at, key in enumerate(keys)} for keys in (kinds, minutes, messages)]
    return Tally(
        [(*kind, count) for kind, count in kinds.items()],
        [Numbers(*process, numbers.found, numbers.ranges, numbers.every) for process, numbers in runs.items()],
        list(minutes.items()),
        [(message, message, count) for message, count in messages.items()],
        specials,
        [
            number
            for end, kind, minute, text in marks
            for number in (end, places[0][kind], places[1][minute], -1 if text is None else places[2][text])
        ],
        odd,
        unsure,
        [()] * len(names),
        min(times, default=b""),
        max(times, default=b""),
        telling=telling,
    )


def _tells(line: bytes, message: int, keys: tuple[bytes, ...], *, special: bool, wanted: bool) -> bool:
    if line.startswith(b"log.", message) or not wanted:
        return line.startswith(b"log.", message)
    return special or has_texts(line[message:], (Group(keys, fold=True, odd=False),), regular=True)


def _place(bounds: tuple[int, int], line: bytes) -> tuple[int, int, int]:
    number = regular_number(line)
    return (*bounds, int(number)) if number else (bounds[0], -bounds[1], -1)


def expert_in(line: bytes, fields: int) -> bytes | None:
    """Return the name of the expert in a line whose *fields* begin there: empty for none, None if only decoding tells.

    It is the first field, behind a ``logger``; or anywhere in ``structured_data``, where no other field stands.
    """
    named = _LOGGER.match(line, fields)
    inside = named is None and line.startswith(b'"structured_data":{', fields)
    found = (_EXPERT.search if inside else _EXPERT.match)(line, named.end() if named else fields)
    at = line.find(b'"expert_name":', fields)
    if inside and found is not None and found.start() != at:
        return None
    return found[1] if found is not None else b"" if at < 0 else None


class _Runs:
    def __init__(self) -> None:
        self.found, self.ranges, self.every = array("q"), array("q"), array("q")
        self._open = False

    def ordinary(self, number: int) -> None:
        add_range(self.ranges, number, number)
        add_range(self.every, number, number)
        if self._open and self.found[-2] + 1 == number:
            self.found[-2] = number
        else:
            self.found.extend((number, number, -1))
        self._open = True

    def special(self, number: int, place: int) -> None:
        add_range(self.every, number, number)
        self.found.extend((number, 0, place))
        self._open = False


def add_range(ranges: MutableSequence[int], first: int, last: int) -> None:
    """Add a range to *ranges*, first and last of each; to the last one if it follows that."""
    if ranges and ranges[-1] == first - 1:
        ranges[-1] = last
    else:
        ranges.extend((first, last))


def _numbers(data: bytes) -> Sequence[int]:
    return memoryview(data).cast("q")
