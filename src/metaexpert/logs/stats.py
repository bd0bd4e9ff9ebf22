"""Statistics: counts by level, expert and minute, top messages and errors, percentiles, gaps.

Counting needs no order, and most counts need only the header, which our writer writes in one form. So most lines are
counted without decoding them (`metaexpert.logs.reading.tally`). Each entry counts once: a copy of a trade or an error
is recognised by its time, number and process.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logs._distribution import Distribution
from metaexpert.logs._gaps import SeenNumbers, Times
from metaexpert.logs.entry import TIME_BEGIN, TIME_END, Entry, Unparsed, checked, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading import merge
from metaexpert.logs.reading.ahead import ahead
from metaexpert.logs.reading.dedup import Recent
from metaexpert.logs.reading.files import Counts, LogFile
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.merge import Stretch
from metaexpert.logs.reading.search import found_in
from metaexpert.logs.reading.selection import Group, select
from metaexpert.logs.reading.tally import HEADER, Tally, lines_at, tally

_APPNAME: Final = re.compile(rb'"appname":"([^"]*)"')
_ERRORS: Final = frozenset({b"error", b"critical"})
#: Distinct messages that are counted; later ones are counted together.
_MOST_MESSAGES: Final = 50_000
#: Trades and errors remembered to recognise copies. Stretches of all files are read by time, so copies are near.
_WINDOW: Final = 200_000
_VARIABLE: Final = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-fA-F]{16,}\b|\d+(?:[.,:]\d+)*"
)
_QUOTED: Final = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"")


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
        experts: By expert (the header's ``appname``).
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
    with logs.opened() as chains:
        stretches = merge.survey(chains, logs.criteria, logs.counts, logs.progress)
        stretches.sort(key=operator.attrgetter("low"))
        for stretch, (data, found) in ahead(merge.with_progress(stretches, chains, logs.progress), collector.read):
            collector.take(data, stretch, found)
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
        self._raw_levels: Counter[tuple[bytes, bytes]] = Counter()
        self._minutes: Counter[bytes] = Counter()
        self._plain = criteria == Criteria()
        names = (Group(tuple(orjson.dumps(name) for name in stats.fields), fold=False, odd=False),)
        self._with_fields = names if stats.fields else ()
        self._first = b"~"
        self._last = b""

    def read(self, stretch: Stretch) -> tuple[bytes, Tally | None]:
        """Return the lines of a stretch, and what can be counted at once. Runs beside the other methods."""
        data = stretch.file.piece(stretch.offset, stretch.length, self._counts)
        return data, tally(data) if self._plain else None

    def take(self, data: bytes, stretch: Stretch, found: Tally | None) -> None:
        """Count the lines of *data*."""
        others = [parse(line, "") for line in lines_at(data, found.odd)] if found is not None else []
        # The number of an entry of another form has its place among the others.
        if found is None or any(entry is not None and entry.identity for entry in others):
            self._take_lines(data, stretch.file, stretch)
            return
        self._first, self._last = min(self._first, stretch.low), max(self._last, stretch.high)
        specials = self._count(found, data)
        if self._with_fields:
            copies = [line for line, counted in specials if not counted]
            self._take_fields(data, Counter(copies + lines_at(data, found.odd)))
        for entry in others:
            if entry is not None:
                self._take_entry(entry)
        self.stats.unparsed += others.count(None)

    def _count(self, found: Tally, data: bytes) -> list[tuple[bytes, bool]]:
        specials = [self._special(line) for line in lines_at(data, found.specials)]
        self._number(found, specials, data)
        for level, head, count in found.kinds:
            self._raw_levels[level, head] += count
        for minute, count in found.minutes:
            self._minutes[minute] += count
        for shape, message, count in found.messages:
            self._raw_messages[shape] += count
            self._samples.setdefault(shape, message)
        if len(self._raw_messages) > _MOST_MESSAGES:
            self._fold_messages()
        return specials

    def _special(self, line: bytes) -> tuple[bytes, bool]:
        """Count a trade or an error, unless it is a copy; return the line, and whether it was counted."""
        header = HEADER.match(line)
        if header is None or self._recent.seen((header["time"], header["number"], header["head"])):
            return line, False
        self._minutes[header["minute"]] += 1
        self._raw_levels[header["level"], header["head"]] += 1
        if header["level"] not in _ERRORS:
            self._raw_messages[header["message"]] += 1
            self._samples.setdefault(header["message"], header["message"])
        elif (entry := parse(line, "")) is not None:
            self.stats.errors[_error_text(entry)] += 1
        return line, True

    def _number(self, found: Tally, specials: list[tuple[bytes, bool]], data: bytes) -> None:
        for host, pid, runs in found.runs:
            numbers = self.stats.numbers.setdefault((_text(host), _text(pid)), SeenNumbers())
            times = Times(data, pid)
            for first, last, place in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
                if place < 0:
                    numbers.add_run(first, last, times)
                elif not specials[place][1]:
                    numbers.skip(first)
                else:
                    numbers.add(first, ordinary=False, time=specials[place][0][TIME_BEGIN:TIME_END])

    def _take_fields(self, data: bytes, others: Counter[bytes]) -> None:
        """Take the values of the fields from all lines but *others*."""
        for line in select(data, b"", b"", self._with_fields).lines(data):
            if others[line]:
                others[line] -= 1
            elif (entry := parse(line, "")) is not None:
                self._take_values(entry)

    def _take_lines(self, data: bytes, file: LogFile, stretch: Stretch) -> None:
        for record in found_in(data, file, stretch.log, self._criteria, stretch.before):
            entry = checked(record)
            if isinstance(entry, Unparsed):
                self.stats.unparsed += 1
            else:
                self._take_entry(entry)

    def _take_entry(self, entry: Entry) -> None:
        level = entry.level
        if entry.identity is not None:
            copy = (entry.key[0], b"%d" % entry.key[1], _process_bytes(entry))
            numbers = self.stats.numbers.setdefault(entry.process, SeenNumbers())
            if entry.has_copies and self._recent.seen(copy):
                numbers.skip(entry.sequence_id)
                return
            numbers.add(entry.sequence_id, ordinary=not entry.has_copies, time=entry.key[0])
        stats = self.stats
        stats.entries += 1
        stats.levels[level] += 1
        stats.experts[str(entry.data.get("appname") or entry.expert)] += 1
        stats.minutes[entry.key[0][:16].decode()] += 1
        if schema.LEVEL_NUMBERS[level] >= schema.ERROR:
            stats.errors[_error_text(entry)] += 1
        else:
            _bounded(stats.messages, fingerprint(entry.text), 1)
        self._first, self._last = min(self._first, entry.key[0]), max(self._last, entry.key[0])
        self._take_values(entry)

    def _take_values(self, entry: Entry) -> None:
        for name, distribution in self.stats.fields.items():
            value = _numeric(entry.get(name))
            if value is not None:
                distribution.add(value)

    def _fold_messages(self) -> None:
        for shape, count in self._raw_messages.items():
            _bounded(self.stats.messages, fingerprint(_text(self._samples[shape])), count)
        self._raw_messages.clear()
        self._samples.clear()

    def finish(self) -> None:
        """Add the counts of raw bytes to the figures."""
        self._fold_messages()
        stats = self.stats
        for (level, process), count in self._raw_levels.items():
            name = _APPNAME.search(process)
            stats.levels[level.decode()] += count
            stats.experts[name[1].decode() if name else ""] += count
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


def _process_bytes(entry: Entry) -> bytes:
    """Return the group ``head`` of `HEADER` for a decoded entry."""
    header = entry.data
    keys = ("severity", "facility", "version", "hostname", "appname", "procid", "msgid")
    return orjson.dumps({key: header.get(key) for key in keys})[1:-1]


def _error_text(entry: Entry) -> str:
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
