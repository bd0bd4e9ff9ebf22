"""Statistics: counts by level, expert and minute, top messages and errors, percentiles, gaps.

Counting needs no order, and most counts need only the header, which our writer writes in one form. So one regular
expression takes apart the headers of a megabyte of lines, and only odd lines are decoded. Each entry counts once:
a copy of a trade or an error is recognised by its time, number and process.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logs._distribution import Distribution
from metaexpert.logs._gaps import SeenNumbers
from metaexpert.logs.entry import Entry, Unparsed, checked, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading import merge
from metaexpert.logs.reading.dedup import Recent
from metaexpert.logs.reading.filters import Criteria, is_regular
from metaexpert.logs.reading.merge import Stretch
from metaexpert.logs.reading.search import found_in

_HEADER: Final = re.compile(
    rb'\{"timestamp":"(?P<minute>[^"\n]{16})(?P<rest>[^"\n]{10})Z","level":"(?P<level>[a-z]+)",'
    rb'(?P<process>"severity":\d,"facility":\d+,"version":1,"hostname":"[^"]*","appname":"[^"]*","procid":"[^"]*",'
    rb'"msgid":"[^"]*"),"sequence_id":(?P<number>\d+),"message":"(?P<message>[^"\\\n]*(?:\\.[^"\\\n]*)*)"'
)
_APPNAME: Final = re.compile(rb'"appname":"([^"]*)"')
_ERRORS: Final = frozenset({b"error", b"critical"})
#: Minute, rest of the time, level, process, number, message: what `_HEADER` finds.
_Header = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
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
    collector = _Collector(stats, logs.criteria)
    with logs.opened() as chains:
        stretches = merge.survey(chains, logs.criteria, logs.counts, logs.progress)
        stretches.sort(key=operator.attrgetter("low"))
        for stretch in merge.with_progress(stretches, chains, logs.progress):
            data = stretch.file.piece(stretch.offset, stretch.length, logs.counts)
            collector.take(data, stretch)
    collector.finish()
    logs.counts.entries, logs.counts.unparsed = stats.entries, stats.unparsed
    return stats


class _Collector:
    """Counts the lines of one stretch after another."""

    def __init__(self, stats: Stats, criteria: Criteria) -> None:
        self.stats = stats
        self._criteria = criteria
        self._recent = Recent(_WINDOW)
        self._raw_messages: Counter[bytes] = Counter()
        self._raw_levels: Counter[tuple[bytes, bytes]] = Counter()
        self._minutes: Counter[bytes] = Counter()
        self._processes: dict[bytes, tuple[SeenNumbers, bool]] = {}
        self._plain = criteria == Criteria() and not stats.fields
        self._first = b"~"
        self._last = b""

    def take(self, data: bytes, stretch: Stretch) -> None:
        """Count the lines of *data*."""
        if self._plain and is_regular(data):
            found = _HEADER.findall(data)
            # Fewer: some header is of another form. As many: each line had one, and at its beginning.
            if len(found) == data.count(b"\n"):
                self._first, self._last = min(self._first, stretch.low), max(self._last, stretch.high)
                self._count(found, data)
                return
        for record in found_in(data, stretch.file, stretch.log, self._criteria, stretch.before):
            entry = checked(record)
            if isinstance(entry, Unparsed):
                self.stats.unparsed += 1
            else:
                self._take_entry(entry)

    def _count(self, found: list[_Header], data: bytes) -> None:
        # Column by column, in C code: several times as fast as line by line.
        for process in {header[3] for header in found} - self._processes.keys():
            self._process(process)
        found = self._without_copies(found)
        if not found:
            return
        self._number(found)
        found = self._counted_errors(found, data)
        if not found:
            return
        minutes, _, levels, processes, _, messages = zip(*found, strict=True)
        self._minutes.update(minutes)
        self._raw_levels.update(zip(levels, processes, strict=True))
        self._raw_messages.update(messages)
        if len(self._raw_messages) > _MOST_MESSAGES:
            self._fold_messages()

    def _without_copies(self, found: list[_Header]) -> list[_Header]:
        trades = {process for process, (_, is_trade) in self._processes.items() if is_trade}
        keys = [(h[0] + h[1], h[4], h[3]) for h in found if h[3] in trades or h[2] in _ERRORS]
        if self._recent.add_new(keys):
            return found
        seen = self._recent.seen
        return [h for h in found if not ((h[3] in trades or h[2] in _ERRORS) and seen((h[0] + h[1], h[4], h[3])))]

    def _counted_errors(self, found: list[_Header], data: bytes) -> list[_Header]:
        """Count the errors among *found*, decoded for their exceptions, and return the others."""
        errors = [header for header in found if header[2] in _ERRORS]
        if not errors:
            return found
        at = 0
        for header in errors:
            minute, _, level, process, *_ = header
            self._minutes[minute] += 1
            self._raw_levels[level, process] += 1
            at = data.find(b'{"timestamp":"%b%bZ","level":"%b",%b,"sequence_id":%b,' % header[:5], at)
            line = data[at : data.find(b"\n", at)]
            if (entry := parse(line, "")) is not None:
                self.stats.errors[_error_text(entry)] += 1
        return [header for header in found if header[2] not in _ERRORS]

    def _number(self, found: list[_Header]) -> None:
        whose = {id(one): one for one in (self._processes[process][0] for process in {h[3] for h in found})}
        for numbers in whose.values():
            own = {process for process, (other, _) in self._processes.items() if other is numbers}
            mine = [h for h in found if h[3] in own] if len(whose) > 1 else found
            ordinary = [not self._processes[h[3]][1] and h[2] not in _ERRORS for h in mine]
            numbers.add_all([int(h[4]) for h in mine], ordinary)

    def _process(self, process: bytes) -> tuple[SeenNumbers, bool]:
        header = orjson.loads(b"{" + process + b"}")
        numbers = self.stats.numbers.setdefault((header["hostname"], header["procid"]), SeenNumbers())
        self._processes[process] = (numbers, header["msgid"] == schema.MSGID_TRADE)
        return self._processes[process]

    def _take_entry(self, entry: Entry) -> None:
        level = entry.level
        if entry.identity is not None:
            copy = (entry.key[0], b"%d" % entry.key[1], _process_bytes(entry))
            if entry.has_copies and self._recent.seen(copy):
                return
            numbers = self.stats.numbers.setdefault(entry.process, SeenNumbers())
            numbers.add(entry.sequence_id, ordinary=not entry.has_copies)
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
        for name, distribution in stats.fields.items():
            value = _numeric(entry.get(name))
            if value is not None:
                distribution.add(value)

    def _fold_messages(self) -> None:
        for raw, count in self._raw_messages.items():
            _bounded(self.stats.messages, fingerprint(orjson.loads(b'"' + raw + b'"')), count)
        self._raw_messages.clear()

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


def _process_bytes(entry: Entry) -> bytes:
    """Return the group ``process`` of `_HEADER` for a decoded entry."""
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
