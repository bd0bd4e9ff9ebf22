"""The filters of the reader, and how most lines are dropped before they are decoded.

`Criteria.accept` judges one record exactly. `Criteria.select` looks at the bytes of many lines at once and returns the
lines that may pass: a wanted value is in its line as text, so a line without that text cannot pass. A property test
compares the two.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, TypedDict

import orjson

from metaexpert.logger import schema
from metaexpert.logs.entry import HEADER_END, START, TIME_BEGIN, TIME_END, Entry, Record, time_key
from metaexpert.logs.reading._literals import all_required, ignores_case
from metaexpert.logs.reading._selection import MOST_GROUPS, MOST_TEXTS, Group, Selection, select
from metaexpert.logs.reading.tally import RawProcess, Tally, tally
from metaexpert.logs.reading.times import parse_time
from metaexpert.logs.runs.names import orders_in

#: More values of a field than this are not searched for in the bytes.
_MOST_VALUES: Final = 8
#: What asks in an expression for the beginning or end of a text or word, or for what stands beside it.
_PLACES: Final = re.compile(r"[$^]|\\[AZbB]|\(\?<?[=!]")
#: Fields with a filter, the rarest first: their texts are searched for in this order.
FIELDS: Final = ("order_id", "trade_id", "symbol", "expert")

Wanted = str | Iterable[str] | None


class Filters(TypedDict, total=False):
    """The filters of `metaexpert.logs.open_logs` and of `Logs.filter`; None, or left out, lets everything pass.

    Attributes:
        level: Lowest level, by name or number.
        expert: ``expert_name`` (the header's ``appname`` where an entry has none): one, or several of which one
            must match. The same goes for *symbol*, *order* and *trade_id*.
        symbol: ``symbol``.
        order: The id of an order under any of its names, see `metaexpert.logs.runs.names`.
        trade_id: ``trade_id``.
        since: Earliest time, included: a datetime, or text that `metaexpert.logs.parse_time` reads, such as ``15m``
            (ago) or ``yesterday 14:00``.
        until: Latest time, included; where clocks are set back, the second of two that they show.
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
        keys: Ends of keys, in lower case: lines that have none of them, and say nothing either of trades, errors and
            the logger itself, are left out (see `metaexpert.logs.reading.tally.Tally.telling`); empty for none.
        process: With *keys*, of other processes only the lines about the logger itself are told; None for all.
    """

    level: int = 0
    fields: tuple[tuple[str, frozenset[str]], ...] = ()
    since: bytes = b""
    until: bytes = b""
    patterns: tuple[str | re.Pattern[str], ...] = ()
    keys: tuple[bytes, ...] = ()
    process: RawProcess | None = None

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
        latest = time_key(parse_time(until, tz=tz, last=True)) if until is not None else b""
        return replace(
            self,
            level=self.level if level is None else max(self.level, level_number(level)),
            fields=tuple(sorted(self.fields + fields, key=lambda field: FIELDS.index(field[0]))),
            since=max(self.since, earliest),
            until=min(filter(None, (self.until, latest)), default=b""),
            patterns=self.patterns + ((grep,) if grep else ()),
        )

    def between(self, since: bytes, until: bytes) -> Criteria:
        """Return these criteria within a time, given as the first part of a `Key`."""
        return replace(self, since=max(self.since, since), until=min(until, self.until or until))

    @property
    def by_content(self) -> bool:
        """Whether an entry must be decoded to be judged; otherwise its time decides."""
        return bool(self.level > schema.DEBUG or self.fields or self.patterns)

    @property
    def sure_text(self) -> bytes:
        """Text by which a line passes the filters on content, whatever else is in it; empty for none."""
        alone = len(self.patterns) == 1 and not self.fields and self.level <= schema.DEBUG
        return _raw(self.patterns[0]) if alone and isinstance(self.patterns[0], str) else b""

    @property
    def by_text(self) -> bool:
        """Whether `select` looks for texts, not for times alone."""
        return bool(self.groups or self.keys)

    def in_time(self, time: bytes) -> bool:
        """Return whether the first part of a `Key` is within the wanted time."""
        return self.since <= time and (not self.until or time <= self.until)

    @property
    def selective(self) -> bool:
        """Whether `may_be_in` can rule out a stretch."""
        return bool(self.since or self.until or self.level > schema.INFO)

    def may_be_in(self, low: bytes, high: bytes, level: int = schema.CRITICAL) -> bool:
        """Return whether a stretch from *low* to *high*, with no entry above *level*, may hold a wanted record."""
        if self.level > max(level, schema.INFO):  # up to INFO, lines of any form are searched, see `groups`
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
    def groups(self) -> tuple[Group, ...]:
        """Groups of texts that each wanted line has, by the filters on content."""
        return _groups(self)

    def select(self, data: bytes) -> Selection:
        """Return which of these whole lines may pass: all but those that certainly do not."""
        if self.keys:
            return self.told(data, self.count(data))
        return select(data, self.since, self.until, _groups(self))

    def count(self, data: bytes) -> Tally:
        """Return the counts of whole lines, and where those with `keys` are."""
        return tally(data, keys=self.keys, process=self.process)

    def told(self, data: bytes, found: Tally) -> Selection:
        """Return the lines with `keys` that were found in *data*, those of the wanted time."""
        if not (self.since or self.until or found.odd) and min(found.telling[2::3], default=-1) >= 0:
            return Selection(found.telling, found.low, found.high, regular=True)
        bounds, times = array("q"), []
        for start, end, number in zip(found.telling[::3], found.telling[1::3], found.telling[2::3], strict=True):
            time = data[start + TIME_BEGIN : start + TIME_END] if number >= 0 else self.since
            if self.in_time(time) or number < 0:
                bounds.extend((start, end, number))
                times += [time] if number >= 0 else []
        return Selection(bounds, min(times, default=b""), max(times, default=b""), 3 * len(times) == len(bounds))

    def glance(self, line: bytes) -> bool | None:
        """Return whether *line* passes the filters on content, by its bytes; None when that is open.

        A pattern that is found in the line itself is found in it whether it is an entry or not.
        """
        missing = [pattern for pattern in self.patterns if not _is_in_line(pattern, line)]
        if missing:
            return None if b"\\" in line or any(map(_looks_around, missing)) else False
        if self.fields:
            return None
        return self.level <= schema.DEBUG or _has_level(line, self.level) or None


def _has_level(line: bytes, level: int) -> bool:
    """Return whether *line* certainly has that level or a higher one, if it is an entry."""
    if not line.startswith(_levels(level), HEADER_END) or not line.startswith(START):
        return False
    return line.count(b'"level"') == 1 and b"\\u" not in line  # the last of several keys would count


@lru_cache(maxsize=8)
def _levels(level: int) -> tuple[bytes, ...]:
    return tuple(b'"level":"%b",' % word.encode() for word, number in schema.LEVEL_NUMBERS.items() if number >= level)


def _is_in_line(pattern: str | re.Pattern[str], line: bytes) -> bool:
    if isinstance(pattern, str) and _raw(pattern) in line:
        return True
    return _is_in(pattern, line.decode("utf-8", "backslashreplace"))


@lru_cache(maxsize=64)
def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=64)
def _groups(criteria: Criteria) -> tuple[Group, ...]:
    found = []
    for _, values in criteria.fields:
        if len(values) <= _MOST_VALUES and all(values):
            found.append(_spelled(sorted(values)))
    for pattern in criteria.patterns:
        if isinstance(pattern, str):
            found.append(_spelled([pattern]))
        else:
            found += [Group(texts, fold=ignores_case(pattern), odd=False) for texts in all_required(pattern)]
    if criteria.level > schema.INFO:  # lines of lower levels are too many to gain anything
        words = [word for word, number in schema.LEVEL_NUMBERS.items() if number >= criteria.level]
        found.append(Group(tuple(b'"%b"' % word.encode() for word in words), fold=False, odd=True))
    while sum(len(group.texts) for group in found) > MOST_TEXTS:
        found.pop()
    return tuple(found[:MOST_GROUPS])


def _spelled(texts: Iterable[str]) -> Group:
    """Return the group of *texts* as they are in an entry, and in a line that is none."""
    spellings = [spelling for text in texts for spelling in (_as_json(text), _raw(text))]
    return Group(tuple(dict.fromkeys(spellings)), fold=False, odd=False)


def greps(pattern: str | re.Pattern[str], record: Record) -> bool:
    """Return whether *pattern* is found in *record*.

    It is searched for in the line as it is in the file, and in each text of the entry (keys, message, values,
    traceback) without the escape sequences of JSON.
    """
    if _is_in(pattern, record.line.decode("utf-8", "backslashreplace")):
        return True
    if not isinstance(record, Entry) or not (b"\\" in record.line or _looks_around(pattern)):
        return False
    return any(_is_in(pattern, text) for text in _strings(record.data))


def _looks_around(pattern: str | re.Pattern[str]) -> bool:
    """Return whether *pattern* may ask where a text begins or ends, which in the line is somewhere else."""
    return not isinstance(pattern, str) and _PLACES.search(pattern.pattern) is not None


def _is_in(pattern: str | re.Pattern[str], text: str) -> bool:
    return pattern in text if isinstance(pattern, str) else pattern.search(text) is not None


def _texts(wanted: Wanted) -> frozenset[str]:
    return frozenset([wanted] if isinstance(wanted, str) else map(str, wanted or ()))


def _has(entry: Entry, name: str, values: frozenset[str]) -> bool:
    if name == "expert":
        return entry.expert in values
    value = entry.get(name)
    if value is not None and str(value) in values:
        return True
    if value is None and entry.foreign and any(text in entry.text for text in values):  # as a line that is no entry
        return True
    return name == "order_id" and any(not values.isdisjoint(order.texts) for order in orders_in(entry.flat))


def _as_json(text: str) -> bytes:
    return orjson.dumps(text.encode("utf-8", "replace").decode())[1:-1]


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
