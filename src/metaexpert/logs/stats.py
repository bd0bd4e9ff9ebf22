"""Figures of many entries: how much by level, expert and minute, which messages and errors, percentiles, gaps.

Counts need no order, and most of what is counted stands in the header, which our writer writes in one form. So the
header of a megabyte of lines is taken apart by one regular expression, and only odd lines are decoded. Each entry
counts once: a trade or an error that is met again is known by its time, number and process.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logs import search
from metaexpert.logs.entry import Entry, Unparsed, checked, glance
from metaexpert.logs.files import LogFile
from metaexpert.logs.filters import Criteria, is_regular
from metaexpert.logs.library import Logs
from metaexpert.logs.search import Stretch

_HEADER: Final = re.compile(
    rb'\{"timestamp":"(?P<minute>[^"\n]{16})(?P<rest>[^"\n]{10})Z","level":"(?P<level>[a-z]+)",'
    rb'(?P<process>"severity":\d,"facility":\d+,"version":1,"hostname":"[^"]*","appname":"[^"]*","procid":"[^"]*",'
    rb'"msgid":"[^"]*"),"sequence_id":(?P<number>\d+),"message":"(?P<message>[^"\\\n]*(?:\\.[^"\\\n]*)*)"'
)
_APPNAME: Final = re.compile(rb'"appname":"([^"]*)"')
_TRADE: Final = b'"msgid":"trade"'
#: Different messages that are told apart; what comes later goes to one heap.
_MOST_MESSAGES: Final = 50_000
#: Trades and errors remembered to know their copies. Stretches of all files are read by time, so copies are near.
_WINDOW: Final = 200_000
#: Values kept exactly for percentiles; beyond that a value stands for those within half a percent.
_EXACT: Final = 100_000
_VARIABLE: Final = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-fA-F]{16,}\b|\d+(?:[.,:]\d+)*"
)
_QUOTED: Final = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"")


def fingerprint(text: str) -> str:
    """Return *text* with its numbers, ids and quoted parts replaced, so that alike messages are equal."""
    return _VARIABLE.sub("#", _QUOTED.sub("'…'", text))[:300]


@dataclass(slots=True)
class Runs:
    """Which numbers of a process's entries were seen, as ranges. A restarted process begins a new run."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    closed: list[list[tuple[int, int]]] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Take note of a number."""
        ranges = self.ranges
        if ranges and ranges[-1][1] + 1 == number:
            ranges[-1] = (ranges[-1][0], number)
            return
        at = bisect_right(ranges, (number, number)) if ranges else 0
        before, after = (ranges[at - 1] if at else None), (ranges[at] if at < len(ranges) else None)
        if (before and before[0] <= number <= before[1]) or (after and after[0] == number):
            # Counted already, and by another entry: the process began again.
            self.closed.append(ranges)
            self.ranges = [(number, number)]
            return
        low = before[0] if before and before[1] + 1 == number else number
        high = after[1] if after and after[0] - 1 == number else number
        ranges[at - (low != number) : at + (high != number)] = [(low, high)]

    def gaps(self) -> Iterable[tuple[int, int]]:
        """Yield the first and last number of each gap."""
        for ranges in (*self.closed, self.ranges):
            for (_, end), (start, _) in zip(ranges, ranges[1:], strict=False):
                yield end + 1, start - 1


class Distribution:
    """Percentiles of many numbers in bounded memory: exact up to 100,000 values, then to half a percent."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = float("inf")
        self.most = float("-inf")
        self._values: Counter[float] = Counter()
        self._rounded = False

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)
        self._values[float(f"{value:.3g}") if self._rounded else value] += 1
        if not self._rounded and len(self._values) > _EXACT:
            self._rounded = True
            exact, self._values = self._values, Counter()
            for old, count in exact.items():
                self._values[float(f"{old:.3g}")] += count

    def percentile(self, part: float) -> float:
        """Return the value below or at which the *part* (0 to 1) of all values is."""
        wanted, seen = part * self.count, 0
        for value in sorted(self._values):
            seen += self._values[value]
            if seen >= wanted:
                return min(max(value, self.least), self.most)
        return self.most

    def as_dict(self) -> dict[str, float | int]:
        """Return the usual figures."""
        if not self.count:
            return {"count": 0}
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
        return {
            "count": self.count,
            "min": self.least,
            "mean": self.total / self.count,
            **{name: self.percentile(part) for name, part in shares.items()},
            "max": self.most,
        }


@dataclass(slots=True)
class Stats:
    """The figures.

    Attributes:
        entries: Entries, each once.
        unparsed: Lines that are no entries.
        levels: Entries by level.
        experts: By expert (the header's ``appname``).
        minutes: By minute, ``2026-11-22T10:31``, UTC.
        messages: Below ERROR, by the `fingerprint` of the message.
        errors: ERROR and CRITICAL, by exception and fingerprint of the message.
        fields: Distributions of the numeric fields that were asked for.
        first: Time of the earliest entry.
        last: Time of the latest.
    """

    entries: int = 0
    unparsed: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    experts: Counter[str] = field(default_factory=Counter)
    minutes: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Distribution] = field(default_factory=dict)
    runs: dict[tuple[str, str], Runs] = field(default_factory=dict)
    first: str = ""
    last: str = ""

    @property
    def seconds(self) -> float:
        """Seconds from the first entry to the last."""
        from datetime import datetime  # noqa: PLC0415

        if not self.first:
            return 0.0
        return (datetime.fromisoformat(self.last) - datetime.fromisoformat(self.first)).total_seconds()

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """Numbers that no entry bears, in the middle of a run of a process: host, process, first and last number."""
        return [
            {"hostname": host, "procid": process, "from": low, "to": high, "missing": high - low + 1}
            for (host, process), runs in self.runs.items()
            for low, high in runs.gaps()
        ]

    def as_dict(self, top: int) -> dict[str, Any]:
        """Return all as JSON types, of messages and errors the *top* ones."""
        gaps = self.gaps
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
            "missing": sum(gap["missing"] for gap in gaps),
        }


def collect_stats(logs: Logs, fields: Iterable[str] = ()) -> Stats:
    """Return the figures of what passes the filters of *logs*.

    Args:
        logs: The logs.
        fields: Names of numeric fields whose percentiles are wanted.
    """
    logs.counts.reset()
    collector = _Collector(Stats(fields={name: Distribution() for name in fields}), logs.criteria)
    with logs.opened() as chains:
        stretches = search.survey(chains, logs.criteria, logs.counts, logs.progress)
        stretches.sort(key=operator.attrgetter("low"))
        for stretch in stretches:
            data = stretch.file.piece(stretch.offset, stretch.length, logs.counts)
            collector.take(data, stretch)
    collector.finish()
    stats = collector.stats
    logs.counts.entries, logs.counts.unparsed = stats.entries, stats.unparsed
    return stats


class _Collector:
    """Counts the lines of one stretch after another."""

    def __init__(self, stats: Stats, criteria: Criteria) -> None:
        self.stats = stats
        self._criteria = criteria
        self._seen: dict[tuple[bytes, bytes, bytes], None] = {}
        self._raw_messages: Counter[bytes] = Counter()
        self._raw_levels: Counter[tuple[bytes, bytes]] = Counter()
        self._minutes: Counter[bytes] = Counter()
        self._processes: dict[bytes, tuple[Runs, bool]] = {}
        self._plain = criteria == Criteria() and not stats.fields
        self._first = b"~"
        self._last = b""

    def take(self, data: bytes, stretch: Stretch) -> None:
        """Count the lines of *data*."""
        if self._plain and is_regular(data):
            found = _HEADER.findall(data)
            # Fewer: some header is of another form. As many: each line had one, and at its beginning.
            if len(found) == data.count(b"\n"):
                self._count(found, data)
                return
        self._take_lines(data, stretch.file, stretch)

    def _count(self, found: list[tuple[bytes, bytes, bytes, bytes, bytes, bytes]], data: bytes) -> None:
        errors = []
        messages, levels, minutes, processes = self._raw_messages, self._raw_levels, self._minutes, self._processes
        for at, (minute, rest, level, process, number, message) in enumerate(found):
            runs, is_trade = processes.get(process) or self._process(process)
            if is_trade or level in _ERRORS:
                key = (minute + rest, number, process)
                if self._is_copy(key):
                    continue
                if level in _ERRORS:
                    errors.append(at)
            minutes[minute] += 1
            levels[level, process] += 1
            runs.add(int(number))
            if level not in _ERRORS:
                messages[message] += 1
        times = [minute + rest for minute, rest, *_ in (found[0], found[-1])]
        self._first, self._last = min(self._first, *times), max(self._last, *times)
        if len(messages) > _MOST_MESSAGES:
            self._fold_messages()
        if errors:
            lines = data.split(b"\n")
            for at in errors:
                record = glance(lines[at], "", 0)
                if record is not None:
                    self.stats.errors[_error_text(record)] += 1

    def _is_copy(self, key: tuple[bytes, bytes, bytes]) -> bool:
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _WINDOW:
            del self._seen[next(iter(self._seen))]
        return False

    def _process(self, process: bytes) -> tuple[Runs, bool]:
        header = orjson.loads(b"{" + process + b"}")
        runs = self.stats.runs.setdefault((header["hostname"], header["procid"]), Runs())
        self._processes[process] = (runs, header["msgid"] == schema.MSGID_TRADE)
        return self._processes[process]

    def _take_lines(self, data: bytes, file: LogFile, stretch: Stretch) -> None:
        for record in search.found_in(data, file, stretch.log, self._criteria, lambda: stretch.before):
            entry = checked(record) if isinstance(record, Entry) else record
            if isinstance(entry, Unparsed):
                self.stats.unparsed += 1
            else:
                self._take_entry(entry)

    def _take_entry(self, entry: Entry) -> None:
        data, level = entry.data, entry.level
        identity = entry.identity
        if identity is not None:
            if data.get("msgid") == schema.MSGID_TRADE or schema.LEVEL_NUMBERS[level] >= schema.ERROR:
                process = _process_bytes(entry)
                if self._is_copy((entry.key[0], b"%d" % entry.key[1], process)):
                    return
            self._run_of(entry).add(entry.sequence_id)
        stats = self.stats
        stats.entries += 1
        stats.levels[level] += 1
        stats.experts[str(data.get("appname") or entry.expert)] += 1
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

    def _run_of(self, entry: Entry) -> Runs:
        data = entry.data
        key = (str(data.get("hostname", "")), str(data.get("procid", "")))
        if key not in self.stats.runs:
            self.stats.runs[key] = Runs()
        return self.stats.runs[key]

    def _fold_messages(self) -> None:
        for raw, count in self._raw_messages.items():
            _bounded(self.stats.messages, fingerprint(orjson.loads(b'"' + raw + b'"')), count)
        self._raw_messages.clear()

    def finish(self) -> None:
        """Bring what was counted as bytes into the figures."""
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


_ERRORS: Final = frozenset({b"error", b"critical"})


def _process_bytes(entry: Entry) -> bytes:
    """What the regular expression calls the process, of an entry that was decoded."""
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
