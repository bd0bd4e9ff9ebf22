"""Checks log files: schema, gaps, duplicates, torn lines, order.

These are problems, reported with file and line:

* ``torn``: a line that is not a JSON object, or the end of a file without a line end;
* ``schema``: an entry that does not conform to the schema of its layout;
* ``gap``: sequence ids of a process that no entry of the directory has, between others that are there. There are none
  below the oldest entry that is neither a trade nor an error: older files of all entries were rotated away, while
  those of trades and errors reach further back;
* ``duplicate``: an entry that is in one log and its backups twice;
* ``order``: an entry whose number is far below one that its process wrote earlier in the same log (threads may swap
  neighbours);
* ``unreadable``: a file that cannot be read, or not to its end.

A clock that stepped back is not a problem of the log, and is reported as a remark; so is a log that is a copy of
another one, or of its beginning. Its lines are checked, but its entries are those of the other: they count once, and
their numbers are no second run of the process.

Most pieces of a file are checked by the compiled core without decoding their lines (`_Directory._check_soundly`). That
takes a piece in which times and numbers go on as they should, and leaves any other to the line-by-line way, which is
the reference of a property test.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs._gaps import SLACK, NumberRanges, SeenNumbers, Times, seconds
from metaexpert.logs.entry import START, TIME_BEGIN, TIME_END, Entry, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.dedup import Recent, copied
from metaexpert.logs.reading.files import Counts, Identity, LogFile, Piece
from metaexpert.logs.reading.merge import Log
from metaexpert.logs.reading.tally import HEADER, Tally, lines_at, strict_tally

#: Entries by which two threads, or two batches, may be out of order.
_SWAPPED: Final = 10_000
#: Problems of each kind that are listed; the rest is only counted.
MOST_LISTED: Final = 20
_COPIES: Final = 200_000
#: The types of JSON Schema, as a decoder makes them.
_TYPES: Final = {"string": str, "integer": int, "boolean": bool, "null": type(None)}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its kind, file and line (0 for the file as a whole), and a description."""

    kind: str
    file: str
    line: int
    text: str


@dataclass(slots=True)
class Report:
    """The result of `verify`.

    Attributes:
        files: Files checked.
        lines: Lines in them.
        entries: Entries, each once.
        counts: Problems by kind.
        problems: The first `MOST_LISTED` of each kind.
        remarks: Observations that are not problems.
    """

    files: int = 0
    lines: int = 0
    entries: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.counts

    def add(self, kind: str, file: str, line: int, text: str, count: int = 1) -> None:
        """Add a problem."""
        if self.counts[kind] < MOST_LISTED:
            self.problems.append(Problem(kind, file, line, text))
        self.counts[kind] += count

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        problems = [{"kind": p.kind, "file": p.file, "line": p.line, "problem": p.text} for p in self.problems]
        return {
            "ok": self.ok,
            "files": self.files,
            "lines": self.lines,
            "entries": self.entries,
            "counts": dict(self.counts),
            "problems": problems,
            "remarks": self.remarks,
        }


def verify(logs: Logs) -> Report:
    """Check each line of all files of *logs*, regardless of its filters. Writes and locks nothing."""
    report = Report()
    for directory in logs.directories:
        _Directory(report, logs, directory).check()
    return report


class _Directory:
    """One directory: its files share one sequence; copies are expected between logs, not within one."""

    def __init__(self, report: Report, logs: Logs, directory: Path) -> None:
        self._report = report
        self._logs = Logs((directory,), diagnostics=True, foreign=False, progress=logs.progress)
        self._alone = len(logs.directories) == 1
        self._numbers: dict[tuple[str, str], SeenNumbers] = {}
        self._copies = Recent(_COPIES)

    def check(self) -> None:
        """Check all files."""
        done = 0
        with self._logs.opened() as chains:
            copies = self._copies_in(chains)
            for log in chains:
                chain = _Chain(self._report)
                for file in log.files:
                    self._check_file(file, chain, counted=file.identity not in copies)
                    done += file.size
                    self._logs.progress(done)
        for name, why in self._logs.counts.unreadable.items():
            self._report.add("unreadable", name, 0, why)
        self._report_gaps()

    def _copies_in(self, chains: Sequence[Log]) -> set[Identity]:
        """Return the files that are copies of one in another log; within one log its entries stand there again."""
        log_of = {file.identity: log.number for log in chains for file in log.files}
        pairs = copied([file for log in chains for file in log.files])
        pairs = [(copy, other) for copy, other in pairs if log_of[copy.identity] != log_of[other.identity]]
        for copy, other in pairs:
            text = f"{self._name(copy)} is a copy of {self._name(other)}: its entries count once"
            self._report.remarks.append(text)
        return {copy.identity for copy, _ in pairs}

    def _name(self, file: LogFile) -> str:
        return file.label if self._alone else str(file.name.path)

    def _check_file(self, file: LogFile, chain: _Chain, *, counted: bool) -> None:
        report, number = self._report, 0
        name = self._name(file)
        report.files += 1
        ended = True
        for piece in file.pieces(self._logs.counts):
            if self._check_soundly(piece.data, name, number, chain, counted=counted):
                count = piece.data.count(b"\n")
                chain.skipped(file, piece, count)
                number += count
                continue
            chain.recall(self._logs.counts)
            lines = piece.data.split(b"\n")
            ended = not lines[-1]
            for line in lines[:-1] if ended else lines:
                number += 1
                if (entry := parse(line, name)) is not None:
                    self._check_entry(entry, name, number, chain, counted=counted)
                    chain.check(entry, name, number)
                else:
                    report.add("torn", name, number, _torn_text(line))
        report.lines += number
        if not ended:
            report.add("torn", name, number, "the last line has no end")

    def _check_soundly(self, data: bytes, name: str, number: int, chain: _Chain, *, counted: bool) -> bool:
        """Check whole lines without decoding them. Returns whether that was possible; if not, nothing was done.

        Args:
            data: The lines.
            name: The file.
            number: Lines of the file before them.
            chain: The log.
            counted: Whether the entries count: they are no copies.
        """
        if name.startswith(schema.DIAGNOSTICS_FILE) or not data.endswith(b"\n") or not data.startswith(START):
            return False
        found = strict_tally(data) if b"\n\n" not in data else None
        if found is None or found.back or (found.odd and found.odd[0] == 0):
            return False
        problems = _problems(data, found)
        specials = [_identity(line) for line in lines_at(data, found.specials)]
        if problems is None or not chain.goes_on(found, data[TIME_BEGIN:TIME_END]):
            return False
        for offset, kind, text in sorted(problems):
            self._report.add(kind, name, number + 1 + data.count(b"\n", 0, offset), text)
        if counted:
            self._count(data, found, specials)
        return True

    def _count(self, data: bytes, found: Tally, specials: Sequence[tuple[Any, ...]]) -> None:
        """Count the entries in *data*, and take in their numbers; *specials* are its trades and errors."""
        copies = [self._copies.seen(identity) for identity in specials]
        times: dict[str, Times] = {}
        for host, pid, first, last, place in _runs(found):
            numbers = self._numbers.setdefault((host, pid), SeenNumbers())
            if place < 0:
                numbers.add_run(first, last, times.setdefault(pid, Times(data, pid.encode())))
            elif copies[place]:
                numbers.skip(first)
            else:
                numbers.add(first, ordinary=False, time=specials[place][0])
        self._report.entries += sum(count for *_, count in found.kinds) + copies.count(False)

    def _check_entry(self, entry: Entry, name: str, number: int, chain: _Chain, *, counted: bool) -> None:
        wrong = schema_problem(entry.data)
        if wrong:
            self._report.add("schema", name, number, wrong)
        identity = entry.identity
        if identity is not None and not name.startswith(schema.DIAGNOSTICS_FILE):
            if chain.copies.seen(identity):
                self._report.add("duplicate", name, number, f"sequence_id {entry.sequence_id} stands here again")
                return
            if not counted:
                return
            numbers = self._numbers.setdefault(entry.process, SeenNumbers())
            if entry.has_copies and self._copies.seen(identity):
                numbers.skip(entry.sequence_id)
                return
            numbers.add(entry.sequence_id, ordinary=not entry.has_copies, time=entry.key[0])
        self._report.entries += counted

    def _report_gaps(self) -> None:
        for (host, process), numbers in self._numbers.items():
            for low, high in numbers.gaps():
                count = high - low + 1
                text = f"process {process} on {host}: sequence_id {low} to {high} is missing ({count})"
                self._report.add("gap", str(self._logs.directories[0]), 0, text, count)


@dataclass(slots=True)
class _Known:
    """The numbers of a process since it began to count anew, and the time before which it had others."""

    numbers: NumberRanges = field(default_factory=NumberRanges)
    since: bytes = b""

    def note(self, number: int, latest: bytes) -> None:
        """Take in a number; one that is known begins a new count after the time *latest*."""
        if not self.numbers.add(number, number):
            self.numbers, self.since = NumberRanges(), max(self.since, latest)
            self.numbers.add(number, number)


class _Chain:
    """A log with its backups, in the order of writing."""

    def __init__(self, report: Report) -> None:
        self.copies = Recent(_COPIES)
        self._report = report
        self._highest: dict[tuple[str, str], int] = {}
        self._latest = b""
        self._known: dict[tuple[str, str], _Known] = {}
        self._skipped: deque[tuple[LogFile, Piece, int]] = deque()

    def goes_on(self, found: Tally, first: bytes) -> bool:
        """Return whether lines go on in time and number, so that none is out of order and none was seen before.

        Then they count as checked. A number that the process had before may be a duplicate, or that of a restarted
        process: the line-by-line way finds out.

        Args:
            found: The lines.
            first: Time of the first one.
        """
        ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for host, pid, low, high, _ in _runs(found):
            ranges.setdefault((host, pid), []).append((low, high))
        if first[:19] < self._latest[:19] or not all(self._is_new(*item, first) for item in ranges.items()):
            return False
        for process, runs in ranges.items():
            self._highest[process] = max(self._highest.get(process, 0), *(high for _, high in runs))
            for low, high in runs:
                self._known[process].numbers.add(low, high)
        self._latest = found.latest
        return True

    def _is_new(self, process: tuple[str, str], runs: Sequence[tuple[int, int]], first: bytes) -> bool:
        highest = self._highest.get(process, 0)
        for low, high in runs:
            if low < highest - _SWAPPED or (low == 1 and highest):
                return False
            highest = max(highest, high)
        known = self._known.setdefault(process, _Known())
        return first[:19] > known.since[:19] and known.numbers.fits(runs)

    def skipped(self, file: LogFile, piece: Piece, count: int) -> None:
        """Remember *count* lines that were checked without decoding, for `recall`."""
        self._skipped.append((file, Piece(piece.offset, piece.length, b""), count))
        while sum(count for *_, count in self._skipped) - self._skipped[0][2] > _COPIES:
            self._skipped.popleft()

    def recall(self, counts: Counts) -> None:
        """Read again what was skipped, as far as duplicates are looked for."""
        while self._skipped:
            file, piece, _ = self._skipped.popleft()
            for line in file.piece(piece.offset, piece.length, counts).split(b"\n"):
                if (entry := parse(line, "")) is not None and (identity := entry.identity) is not None:
                    self.copies.seen(identity)

    def check(self, entry: Entry, name: str, number: int) -> None:
        """Compare an entry with those before it."""
        self._known.setdefault(entry.process, _Known()).note(entry.sequence_id, self._latest)
        highest = self._highest.get(entry.process, 0)
        # Of two processes with one name, the batches that are written in turn overlap in time.
        behind = 1 < entry.sequence_id < highest - _SWAPPED and entry.key[0] < self._latest
        if behind and seconds(entry.key[0]) < seconds(self._latest) - SLACK:
            self._report.add("order", name, number, f"sequence_id {entry.sequence_id} stands behind {highest}")
        self._highest[entry.process] = entry.sequence_id if entry.sequence_id == 1 else max(highest, entry.sequence_id)
        if entry.key[0][:19] < self._latest[:19]:
            text = f"{name}:{number}: the time goes back from {self._latest.decode()} to {entry.key[0].decode()}"
            if len(self._report.remarks) < MOST_LISTED:
                self._report.remarks.append(text)
        self._latest = entry.key[0]


def _runs(found: Tally) -> Iterator[tuple[str, str, int, int, int]]:
    """Yield host, process id, first and last number of each run, and the place of a trade or an error, else -1."""
    for host, pid, runs, *_ in found.runs:
        names = host.decode(), pid.decode()
        for first, last, place in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
            yield (*names, first, last if place < 0 else first, place)


def _identity(line: bytes) -> tuple[Any, ...]:
    """Return `Entry.identity` of a line that is counted by its header."""
    header = HEADER.match(line)
    assert header is not None, "it was counted"  # noqa: S101 - the core and the expression agree
    return header["time"], int(header["number"]), header["host"].decode(), header["pid"].decode()


def _problems(data: bytes, found: Tally) -> list[tuple[int, str, str]] | None:
    """Return offset, kind and text of the problems of single lines; None if one is not what its header says."""
    problems = []
    for start, line in zip(found.odd[::2], lines_at(data, found.odd), strict=True):
        if parse(line, "") is not None:
            return None
        problems.append((start, "torn", _torn_text(line)))
    for start, line in zip(found.unsure[::2], lines_at(data, found.unsure), strict=True):
        entry, header = parse(line, ""), HEADER.match(line)
        if entry is None or header is None or not _agrees(entry, header):
            return None
        if wrong := schema_problem(entry.data):
            problems.append((start, "schema", wrong))
    return problems


def _agrees(entry: Entry, header: re.Match[bytes]) -> bool:
    """Return whether the last of each name says what the first one says; a foreign line may have one twice."""
    names = (("level", "level"), ("hostname", "host"), ("procid", "pid"), ("msgid", "msgid"))
    return all(entry.data.get(name) == header[group].decode("utf-8", "replace") for name, group in names)


def _torn_text(line: bytes) -> str:
    if not line:
        return "it is empty"
    if parse(line.replace(b"\0", b""), "") is not None:
        return "it has NUL bytes"
    start = line[:60].decode("utf-8", "backslashreplace")
    return f"it is no entry: {start}{'…' if len(line) > 60 else ''}"


def schema_problem(data: Mapping[str, Any]) -> str:
    """Return how a decoded entry violates the schema of its layout; empty when it does not."""
    check = _rfc5424_problem if schema.STRUCTURED_DATA_KEY in data else _flat_problem
    problem = check(data).removeprefix(".")
    if not problem and data["severity"] != schema.SEVERITIES[data["level"]]:
        problem = f"severity{_wrong(data['severity'])}"
    return problem


#: Takes a value, and returns how it violates a rule, as text that follows its name; empty when it does not.
_Check = Callable[[Any], str]


def _check(rule: Mapping[str, Any]) -> _Check:
    """Return *rule*, of as much of JSON Schema as `metaexpert.logger.schema` uses, as a function."""
    if "$ref" in rule:
        return lambda value: _exception_problem(value)  # noqa: PLW0108 - it is made last
    if "type" not in rule:
        known = rule.get("enum", [rule.get("const")])
        return lambda value: "" if type(value) is not bool and value in known else _wrong(value)  # True equals 1
    if rule["type"] == "object":
        return _object_check(rule)
    if rule["type"] == "array":
        item = _check(rule["items"])
        return lambda v: next(filter(None, map(item, v)), "") if type(v) is list else _wrong(v)
    if "pattern" in rule:
        matches = re.compile(rule["pattern"]).fullmatch
        return lambda value: "" if type(value) is str and matches(value) else _wrong(value)
    if rule["type"] == "integer":
        low, high = rule["minimum"], rule.get("maximum", math.inf)
        return lambda value: "" if type(value) is int and low <= value <= high else _wrong(value)
    names = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    types = {_TYPES[name] for name in names}
    return lambda value: "" if type(value) in types else _wrong(value)


def _object_check(rule: Mapping[str, Any]) -> _Check:
    required, others_may_be = rule.get("required", ()), rule.get("additionalProperties", True)
    named = {name: _check(inner) for name, inner in rule.get("properties", {}).items() if inner}
    patterns = [(re.compile(text), _check(inner)) for text, inner in rule.get("patternProperties", {}).items()]

    def check(value: Any) -> str:
        if type(value) is not dict:
            return _wrong(value)
        for key in required:
            if key not in value:
                return f".{key} is missing"
        for key, item in value.items():
            inner = named.get(key) or next((inner for pattern, inner in patterns if pattern.fullmatch(key)), None)
            if inner is None and not others_may_be:
                return f".{key[:60]} does not belong there"
            if inner is not None and (problem := inner(item)):
                return f".{key}{problem}"
        return ""

    return check


def _wrong(value: Any) -> str:
    return f" is {str(value)[:60]!r}"


_exception_problem, _flat_problem, _rfc5424_problem = map(
    _check, (schema.FLAT_SCHEMA["$defs"]["exception"], schema.FLAT_SCHEMA, schema.RFC5424_SCHEMA)
)
