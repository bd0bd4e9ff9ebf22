"""Statistics: counts by level, expert and minute, top messages and errors, percentiles, gaps.

Counting needs no order, and most counts need only the header, which our writer writes in one form. So most lines are
counted without decoding them (`metaexpert.logs.reading.tally`). Each entry counts once: a copy of a trade or an error
is recognised by its time, number and process.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logs._distribution import Distribution
from metaexpert.logs._gaps import SeenNumbers, Times
from metaexpert.logs.entry import TIME_BEGIN, TIME_END, Entry, Unparsed, checked, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading import merge
from metaexpert.logs.reading.ahead import ahead
from metaexpert.logs.reading.dedup import Recent, header_of
from metaexpert.logs.reading.files import Counts, LogFile
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.merge import Stretch
from metaexpert.logs.reading.search import Before, found_in
from metaexpert.logs.reading.tally import MOST_FIELDS, Tally, lines_at, tally

_APPNAME: Final = re.compile(rb'"appname":"([^"]*)"')
#: Distinct messages that are counted; later ones are counted together.
_MOST_MESSAGES: Final = 50_000
#: Distinct values of a field that are counted as they are in the lines.
_MOST_VALUES: Final = 50_000
#: Trades and errors remembered to recognise copies. All files are read by time, so copies are near.
_WINDOW: Final = 200_000
_VARIABLE: Final = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-fA-F]{16,}\b|\d+(?:[.,:]\d+)*"
)
_QUOTED: Final = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"")


@lru_cache(maxsize=4096)  # messages repeat
def fingerprint(text: str) -> str:
    """Return *text* with numbers, ids and quoted parts replaced, so that similar messages become equal."""
    return _VARIABLE.sub("#", _QUOTED.sub("'…'", text))[:300]


@dataclass(slots=True)
class Stats:
    """The figures of a set of entries.

    Attributes:
        entries: Entries, each once.
        unparsed: Lines that are not entries.
        levels: Entries by level.
        experts: By expert, as ``--expert`` names it: ``expert_name``, else the header's ``appname``.
        minutes: By minute, ``2026-11-22T10:31``, UTC.
        messages: Below ERROR, by the `fingerprint` of the message.
        errors: ERROR and CRITICAL, by exception and fingerprint of the message.
        fields: Distributions of the requested numeric fields.
        first: Time of the earliest entry.
        last: Time of the latest.
        partial: Whether a filter on content left entries out.
    """

    entries: int = 0
    unparsed: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    experts: Counter[str] = field(default_factory=Counter)
    minutes: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Distribution] = field(default_factory=dict)
    numbers: dict[tuple[str, str], SeenNumbers] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    partial: bool = False

    @property
    def seconds(self) -> float:
        """Seconds from the first entry to the last."""
        from datetime import datetime  # noqa: PLC0415

        if not self.first:
            return 0.0
        return (datetime.fromisoformat(self.last) - datetime.fromisoformat(self.first)).total_seconds()

    @property
    def gaps(self) -> list[dict[str, Any]] | None:
        """Missing sequence ids within a run of a process: host, process, first and last number.

        None when not all entries were counted.
        """
        if self.partial:
            return None
        return [
            {"hostname": host, "procid": process, "from": low, "to": high, "missing": high - low + 1}
            for (host, process), numbers in self.numbers.items()
            for low, high in numbers.gaps()
        ]

    def as_dict(self, top: int) -> dict[str, Any]:
        """Return all figures as JSON types, with the *top* messages and errors."""
        gaps = self.gaps or []
        return {
            "entries": self.entries,
            "unparsed": self.unparsed,
            "first": self.first or None,
            "last": self.last or None,
            "per_second": self.entries / self.seconds if self.seconds else None,
            "levels": {word: self.levels[word] for word in schema.LEVEL_NUMBERS if self.levels[word]},
            "experts": dict(self.experts.most_common()),
            "minutes": dict(sorted(self.minutes.items())),
            "messages": [{"message": text, "count": count} for text, count in self.messages.most_common(top)],
            "errors": [{"error": text, "count": count} for text, count in self.errors.most_common(top)],
            "fields": {name: found.as_dict() for name, found in self.fields.items()},
            "gaps": gaps[:1000],
            "missing": None if self.gaps is None else sum(gap["missing"] for gap in gaps),
        }


def collect_stats(logs: Logs, fields: Iterable[str] = ()) -> Stats:
    """Return the figures of what passes the filters of *logs*.

    Args:
        logs: The logs.
        fields: Names of numeric fields for percentiles.
    """
    logs.counts.reset()
    stats = Stats(fields={name: Distribution() for name in fields}, partial=logs.criteria.by_content)
    collector = _Collector(stats, logs.criteria, logs.counts)
    decoded = len(stats.fields) > MOST_FIELDS or not schema.RESERVED_KEYS.isdisjoint(stats.fields)
    with replace(logs, copies=False).opened() as chains:
        if logs.filtered or decoded:
            stretches = merge.survey(chains, logs.criteria, logs.counts, logs.progress)
            for stretch in merge.with_progress(stretches, chains, logs.progress):
                collector.take_stretch(stretch)
        else:
            pieces = merge.once_through(chains, logs.counts, logs.progress)
            for (file, data), found in ahead(pieces, collector.count):
                collector.take(data, file, found)
    for entry in logs.stored():
        collector.take_entry(entry)
    collector.finish()
    logs.counts.entries, logs.counts.unparsed = stats.entries, stats.unparsed
    return stats


class _Collector:
    """Counts the lines of one stretch after another."""

    def __init__(self, stats: Stats, criteria: Criteria, counts: Counts) -> None:
        self.stats = stats
        self._counts = counts
        self._criteria = criteria
        self._recent = Recent(_WINDOW)
        self._raw_messages: Counter[bytes] = Counter()
        self._samples: dict[bytes, bytes] = {}
        self._raw_levels: Counter[tuple[bytes, bytes, bytes]] = Counter()
        self._minutes: Counter[bytes] = Counter()
        self._names = tuple(orjson.dumps(name) for name in stats.fields)
        self._raw_values: list[Counter[bytes]] = [Counter() for _ in self._names]
        self._first = b"~"
        self._last = b""

    def count(self, piece: tuple[LogFile, bytes]) -> Tally:
        """Return what can be counted at once in a piece of a file. Runs beside the other methods."""
        return tally(piece[1], self._names)

    def take(self, data: bytes, file: LogFile, found: Tally) -> None:
        """Count the lines of *data*."""
        others = [parse(line, "") for line in lines_at(data, found.odd)]
        # The number of an entry of another form has its place among the others.
        if any(entry is not None and entry.identity for entry in others):
            self._take_lines(data, file, 0, lambda: None)
            return
        if found.high:
            self._first, self._last = min(self._first, found.low), max(self._last, found.high)
        self._count(found, data)
        for entry in others:
            if entry is not None:
                self.take_entry(entry)
        self.stats.unparsed += others.count(None)

    def take_stretch(self, stretch: Stretch) -> None:
        """Count what passes the filters in a stretch."""
        data = stretch.file.piece(stretch.offset, stretch.length, self._counts)
        self._take_lines(data, stretch.file, stretch.log, stretch.before)

    def _count(self, found: Tally, data: bytes) -> None:
        new = self._new(found, data)
        self._number(found, new, data)
        for level, head, expert, count in found.kinds:
            self._raw_levels[level, head, expert] += count
        for minute, count in found.minutes:
            self._minutes[minute] += count
        for shape, message, count in found.messages:
            self._raw_messages[shape] += count
            self._samples.setdefault(shape, message)
        self._take_specials(found, new, data)
        for line in lines_at(data, found.unsure):
            self._take_values(parse(line, ""))
        for raw, values in zip(self._raw_values, found.values, strict=True):
            raw.update(values)
        if len(self._raw_messages) > _MOST_MESSAGES:
            self._fold_messages()
        if any(len(raw) > _MOST_VALUES for raw in self._raw_values):
            self._fold_values()

    def _new(self, found: Tally, data: bytes) -> Sequence[int]:
        """Return which of the trades and errors are no copies."""
        bounds = zip(found.specials[::2], found.marks[::4], strict=True)
        seen = list(map(self._recent.seen, [data[start + TIME_BEGIN : end] for start, end in bounds]))
        return [place for place, copy in enumerate(seen) if not copy] if any(seen) else range(len(seen))

    def _take_specials(self, found: Tally, new: Sequence[int], data: bytes) -> None:
        """Count trades and errors; the kinds, minutes and messages of all are known by now."""
        marks = found.marks
        for kind, count in Counter(marks[4 * place + 1] for place in new).items():
            self._raw_levels[found.kinds[kind][:3]] += count
        for minute, count in Counter(marks[4 * place + 2] for place in new).items():
            self._minutes[found.minutes[minute][0]] += count
        for message, count in Counter(marks[4 * place + 3] for place in new).items():
            if message >= 0:
                self._raw_messages[found.messages[message][0]] += count
        for place in new:
            is_error = marks[4 * place + 3] < 0
            if is_error or self._names:
                self._take_special(data[slice(*found.specials[2 * place : 2 * place + 2])], is_error=is_error)

    def _take_special(self, line: bytes, *, is_error: bool) -> None:
        if is_error and (entry := parse(line, "")) is not None:
            self.stats.errors[error_text(entry)] += 1
        if any(name in line for name in self._names) or (self._names and b"\\" in line):
            self._take_values(parse(line, ""))

    def _number(self, found: Tally, new: Sequence[int], data: bytes) -> None:
        fresh = None if isinstance(new, range) else set(new)
        for host, pid, runs, ordinary, every in found.runs:
            numbers = self.stats.numbers.setdefault((_text(host), _text(pid)), SeenNumbers())
            times = Times(data, pid)
            # Mostly all in a piece are new and follow one another.
            if (
                fresh is None
                and ordinary
                and len(every) == 2
                and numbers.continue_run(every[0], every[1], ordinary, times)
            ):
                continue
            for first, last, place in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
                if place < 0:
                    numbers.add_run(first, last, times)
                elif fresh is None or place in fresh:
                    start = found.specials[2 * place]
                    numbers.add(first, ordinary=False, time=data[start + TIME_BEGIN : start + TIME_END])
                else:
                    numbers.skip(first)

    def _take_lines(self, data: bytes, file: LogFile, log: int, before: Before) -> None:
        for record in found_in(data, file, log, self._criteria, before):
            entry = checked(record)
            if isinstance(entry, Unparsed):
                self.stats.unparsed += 1
            else:
                self.take_entry(entry)

    def take_entry(self, entry: Entry) -> None:
        """Count an entry."""
        level = entry.level
        if entry.identity is not None:
            numbers = self.stats.numbers.setdefault(entry.process, SeenNumbers())
            if entry.has_copies and self._recent.seen(header_of(entry)):
                numbers.skip(entry.sequence_id)
                return
            numbers.add(entry.sequence_id, ordinary=not entry.has_copies, time=entry.key[0])
        stats = self.stats
        stats.entries += 1
        stats.levels[level] += 1
        stats.experts[entry.expert] += 1
        stats.minutes[entry.key[0][:16].decode()] += 1
        if schema.LEVEL_NUMBERS[level] >= schema.ERROR:
            stats.errors[error_text(entry)] += 1
        else:
            _bounded(stats.messages, fingerprint(entry.text), 1)
        self._first, self._last = min(self._first, entry.key[0]), max(self._last, entry.key[0])
        self._take_values(entry)

    def _take_values(self, entry: Entry | None) -> None:
        if entry is None:
            return
        for name, distribution in self.stats.fields.items():
            value = _numeric(entry.get(name))
            if value is not None:
                distribution.add(value)

    def _fold_values(self) -> None:
        for raw, distribution in zip(self._raw_values, self.stats.fields.values(), strict=True):
            for text, count in raw.items():
                if (value := _numeric(orjson.loads(text))) is not None:
                    distribution.add(value, count)
            raw.clear()

    def _fold_messages(self) -> None:
        for shape, count in self._raw_messages.items():
            _bounded(self.stats.messages, fingerprint(_text(self._samples[shape])), count)
        self._raw_messages.clear()
        self._samples.clear()

    def finish(self) -> None:
        """Add the counts of raw bytes to the figures."""
        self._fold_messages()
        self._fold_values()
        stats = self.stats
        for (level, process, expert), count in self._raw_levels.items():
            name = _APPNAME.search(process)
            stats.levels[level.decode()] += count
            stats.experts[_text(expert) or (name[1].decode() if name else "")] += count
            stats.entries += count
        for minute, count in self._minutes.items():
            stats.minutes[minute.decode()] += count
        if self._last:
            stats.first, stats.last = self._first.decode() + "Z", self._last.decode() + "Z"


def _text(raw: bytes) -> str:
    """Return a text of a line, its escape sequences undone. One that is no JSON is shown as it is."""
    try:
        return str(orjson.loads(b'"' + raw + b'"'))
    except ValueError:
        return raw.decode("utf-8", "backslashreplace")


def error_text(entry: Entry) -> str:
    """Return by what an error is grouped: its exception, and the `fingerprint` of its message."""
    exception = entry.get(schema.EXCEPTION_KEY)
    kind = f"{exception.get('type', '')}: " if isinstance(exception, dict) else ""
    return kind + fingerprint(entry.text)


def _numeric(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) != float("inf") and found == found else None  # noqa: PLR0124 - NaN


def _bounded(counter: Counter[str], text: str, count: int) -> None:
    counter[text if text in counter or len(counter) < _MOST_MESSAGES else "(other messages)"] += count
