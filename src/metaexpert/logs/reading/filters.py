"""The filters of the reader, and how most lines are dropped before they are decoded.

`Criteria.accept` judges one record exactly. `Criteria.chosen` looks at the bytes of many lines at once and returns the
lines that may pass: a wanted value is in its line as text, so a line without that text cannot pass. A line with an
escape sequence, which could stand for any character, always may. A property test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, TypedDict

import orjson

from metaexpert.logger import schema
from metaexpert.logs.entry import START, TIME_BEGIN, TIME_END, Entry, Record, time_key
from metaexpert.logs.reading.times import parse_time

#: Escape sequences that can stand for any character.
_ESCAPES: Final = re.compile(rb"\\[u/]")
#: More texts than this are not searched for in the bytes.
_MOST_NEEDLES: Final = 4
_TIMES: Final = re.compile(rb'\n(?:\{"timestamp":"([^"\n]{26})Z")?')
#: Fields with a filter, the rarest first: the first one given is searched for in the bytes.
FIELDS: Final = ("order_id", "trade_id", "symbol", "expert")

Wanted = str | Iterable[str] | None


class Filters(TypedDict, total=False):
    """The filters of `metaexpert.logs.open_logs` and of `Logs.filter`; None, or left out, lets everything pass.

    Attributes:
        level: Lowest level, by name or number.
        expert: ``expert_name`` (the header's ``appname`` where an entry has none): one, or several of which one
            must match. The same goes for *symbol*, *order* and *trade_id*.
        symbol: ``symbol``.
        order: ``order_id``.
        trade_id: ``trade_id``.
        since: Earliest time, included: a datetime, or text that `metaexpert.logs.parse_time` reads, such as ``15m``
            (ago) or ``yesterday 14:00``.
        until: Latest time, included.
        grep: Text or compiled expression that must be found in the line, or in one of its texts.
        tz: Time zone of times that name none; UTC when left out.
    """

    level: str | int | None
    expert: Wanted
    symbol: Wanted
    order: Wanted
    trade_id: Wanted
    since: str | datetime | None
    until: str | datetime | None
    grep: str | re.Pattern[str] | None
    tz: tzinfo


def level_number(level: str | int) -> int:
    """Return the number of a level given by name, in any case, or by number.

    Raises:
        ValueError: There is no such level.
    """
    if isinstance(level, int):
        return level
    number = schema.level_named(level)
    if number is None:
        raise ValueError(f"{level!r} is no level; it should be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return number


@dataclass(frozen=True, slots=True)
class Criteria:
    """The conditions that a record must meet; the default accepts all.

    Attributes:
        level: Lowest level, as a number. A line that is not an entry has no level and passes.
        fields: Names of fields, each with values (as text) of which the entry must have one. A line that is not an
            entry passes when it contains such a value anywhere.
        since: Earliest time, as the first part of a `Key`; empty for none.
        until: Latest time; empty for none.
        patterns: Texts and expressions that must all be found, see `greps`.
    """

    level: int = 0
    fields: tuple[tuple[str, frozenset[str]], ...] = ()
    since: bytes = b""
    until: bytes = b""
    patterns: tuple[str | re.Pattern[str], ...] = ()

    def narrowed(
        self,
        *,
        level: str | int | None = None,
        expert: Wanted = None,
        symbol: Wanted = None,
        order: Wanted = None,
        trade_id: Wanted = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        grep: str | re.Pattern[str] | None = None,
        tz: tzinfo = UTC,
    ) -> Criteria:
        """Return these criteria and the given ones together; see `Filters`."""
        given = {"order_id": order, "trade_id": trade_id, "symbol": symbol, "expert": expert}
        fields = tuple((name, _texts(wanted)) for name, wanted in given.items() if wanted is not None)
        earliest = time_key(parse_time(since, tz=tz)) if since is not None else b""
        latest = time_key(parse_time(until, tz=tz)) if until is not None else b""
        return replace(
            self,
            level=self.level if level is None else max(self.level, level_number(level)),
            fields=tuple(sorted(self.fields + fields, key=lambda field: FIELDS.index(field[0]))),
            since=max(self.since, earliest),
            until=min(filter(None, (self.until, latest)), default=b""),
            patterns=self.patterns + ((grep,) if grep else ()),
        )

    @property
    def by_content(self) -> bool:
        """Whether an entry must be decoded to be judged; otherwise its time decides."""
        return bool(self.level > schema.DEBUG or self.fields or self.patterns)

    def in_time(self, time: bytes) -> bool:
        """Return whether the first part of a `Key` is within the wanted time."""
        return self.since <= time and (not self.until or time <= self.until)

    @property
    def selective(self) -> bool:
        """Whether `may_be_in` can rule out a stretch."""
        return bool(self.since or self.until or self.level > schema.INFO)

    def may_be_in(self, low: bytes, high: bytes, level: int = schema.CRITICAL) -> bool:
        """Return whether a stretch from *low* to *high*, with no entry above *level*, may hold a wanted record."""
        if self.level > max(level, schema.INFO):  # up to INFO, lines of any form are searched, see `needles`
            return False
        return high >= self.since and (not self.until or low <= self.until)

    def accept(self, record: Record) -> bool:
        """Return whether *record*, checked (see `metaexpert.logs.entry.checked`), meets the conditions."""
        if not self.in_time(record.key[0]) or not all(greps(pattern, record) for pattern in self.patterns):
            return False
        if not isinstance(record, Entry):
            return all(any(value in record.text for value in values) for _, values in self.fields)
        if self.level and schema.LEVEL_NUMBERS[record.level] < self.level:
            return False
        return all(_has(record, name, values) for name, values in self.fields)

    @property
    def needles(self) -> tuple[bytes, ...]:
        """Texts of which a wanted line without `_ESCAPES` holds at least one; empty when there are no such texts."""
        for _, values in self.fields:
            if len(values) <= _MOST_NEEDLES and all(values):
                return tuple(_as_json(value) for value in sorted(values))
        for pattern in self.patterns:
            if isinstance(pattern, str):
                return tuple(dict.fromkeys((_as_json(pattern), pattern.encode("utf-8", "surrogatepass"))))
        if self.level > schema.INFO:
            words = (word for word, number in schema.LEVEL_NUMBERS.items() if number >= self.level)
            return tuple(b'"%b"' % word.encode() for word in words)
        return ()

    @property
    def needs_odd_lines(self) -> bool:
        """Whether lines that are not entries may pass without any of the `needles`: they have no level."""
        return not self.fields and not any(isinstance(pattern, str) for pattern in self.patterns)

    def chosen(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield offset and text of each line that may pass, out of whole lines, in their order."""
        needles = self.needles
        if (self.since or self.until) and not needles and not self._may_hold(data):
            return iter(())
        if needles and (not self.needs_odd_lines or is_regular(data)):
            return _hits(data, needles)
        return _lines(data)

    def _may_hold(self, data: bytes) -> bool:
        times = line_times(data)
        low, high = min(times, default=b""), max(times, default=b"")
        # An odd line has an empty time: its place in time is not known here.
        return not low or self.may_be_in(low, high)


def greps(pattern: str | re.Pattern[str], record: Record) -> bool:
    """Return whether *pattern* is found in *record*.

    It is searched for in the line as it is in the file, and in each text of the entry (keys, message, values,
    traceback) without the escape sequences of JSON.
    """

    def found(text: str) -> bool:
        return pattern in text if isinstance(pattern, str) else pattern.search(text) is not None

    if found(record.line.decode("utf-8", "backslashreplace")):
        return True
    return isinstance(record, Entry) and b"\\" in record.line and any(map(found, _strings(record.data)))


def is_regular(data: bytes) -> bool:
    """Return whether each of these whole lines begins and ends like an entry of our writer."""
    between = data.count(b"}\n" + START)
    return data.startswith(START) and data.endswith(b"}\n") and between == data.count(b"\n") - 1


def line_times(data: bytes) -> list[bytes]:
    """Return the time of each of these whole lines as the first part of a `Key`; an odd line has an empty one."""
    first = data[TIME_BEGIN:TIME_END] if data.startswith(START) and data.startswith(b'Z"', TIME_END) else b""
    end = len(data) - 1 if data.endswith(b"\n") else len(data)
    return [first, *_TIMES.findall(data, 0, end)]


def _texts(wanted: Wanted) -> frozenset[str]:
    return frozenset([wanted] if isinstance(wanted, str) else map(str, wanted or ()))


def _has(entry: Entry, name: str, values: frozenset[str]) -> bool:
    if name == "expert":
        return entry.expert in values
    value = entry.get(name)
    return value is not None and str(value) in values


def _as_json(text: str) -> bytes:
    return orjson.dumps(text.encode("utf-8", "replace").decode())[1:-1]


def _hits(data: bytes, needles: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    starts: dict[int, int] = {}
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            starts[data.rfind(b"\n", 0, at) + 1] = end
            at = data.find(needle, end)
    # As an expression, since its search is for the first byte alone, and a backslash is rare.
    for escape in _ESCAPES.finditer(data):
        start = data.rfind(b"\n", 0, escape.start()) + 1
        if start not in starts:
            end = data.find(b"\n", escape.end())
            starts[start] = len(data) if end < 0 else end
    for start in sorted(starts):
        yield start, data[start : starts[start]]


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    for line in data.split(b"\n"):
        if line:
            yield start, line
        start += len(line) + 1


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]  # no recursion: a foreign line may be nested deeper than Python goes
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
