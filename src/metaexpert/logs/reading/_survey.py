"""The first look at all files: which stretches may hold a wanted record, and when.

Several files are read at a time, each by one thread: reading, inflating and `select` release the interpreter lock. A
stretch needs to know the entry before it only for a line that is no entry; the first such lines of a file wait until
all files were looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Final

from metaexpert.logs.entry import Key, Record, glance
from metaexpert.logs.reading._blocks import FORWARD_BLOCK
from metaexpert.logs.reading._selection import Selection
from metaexpert.logs.reading.files import Counts, LogFile, Piece
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.search import Before, found_in, last_key
from metaexpert.logs.reading.tally import Tally

#: Bytes that a record takes in memory besides its line.
RECORD: Final = 400
#: The stretches that are open at the same time have about so many bytes together.
_OPEN: Final = 16 << 20
_SMALLEST: Final = 1 << 16
#: Files of fewer bytes together are not worth a thread.
_SMALL: Final = 8 << 20
_MOST_THREADS: Final = 8
#: A compressed byte takes so many times as long as a plain one.
_INFLATING: Final = 20
#: Seconds between two reports of progress.
_REPORT: Final = 0.1

#: Called with the bytes done so far, from 0 to the size of all files.
Progress = Callable[[int], None]
#: Is given the whole lines of each piece that is read, and their counts, in no order and by several threads.
See = Callable[[bytes, Tally], None]


@dataclass(frozen=True, slots=True)
class Log:
    """A chain of files, the oldest first, and its number among all chains."""

    number: int
    files: Sequence[LogFile]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a file that may hold wanted records.

    Attributes:
        log: Number of the log.
        file: The file.
        offset: Where the stretch begins.
        length: Its bytes.
        low: Earliest time of a line that may be wanted.
        high: Latest time.
        before: How to find the entry before it.
        kept: The lines that may be wanted, or the wanted records, in order of time; None when they were not kept.
        part: Only its records from *low* to *high* are asked for: the others were read before.
    """

    log: int
    file: LogFile
    offset: int
    length: int
    low: bytes
    high: bytes
    before: Before
    kept: bytes | list[Record] | None = None
    part: bool = False

    def records(self, criteria: Criteria, counts: Counts) -> list[Record]:
        """Return the wanted records, in order of time."""
        if self.part:
            criteria = criteria.between(self.low, self.high)
        if isinstance(self.kept, list):
            return [record for record in self.kept if not self.part or criteria.in_time(record.key[0])]
        data = self.kept if self.kept is not None else self.file.piece(self.offset, self.length, counts)
        return found_in(data, self.file, self.log, criteria, self.before)


class _UnplacedError(Exception):
    """The entry before the first one of a file is asked for, and not known yet."""


@dataclass(slots=True)
class _Start:
    """The entry before a file; unknown until all files were looked at."""

    before: Before | None = None

    def __call__(self) -> Key | None:
        if self.before is None:
            raise _UnplacedError
        return self.before()


@dataclass(slots=True)
class _Looked:
    """What the first look at a file found.

    Attributes:
        start: The entry before the file.
        stretches: Its stretches; None for one that waits for `start`.
        waiting: Where those are: number in `stretches`, offset, length.
        last: How to find the last entry of the file; None when it has none.
    """

    start: _Start = field(default_factory=_Start)
    stretches: list[Stretch | None] = field(default_factory=list)
    waiting: list[tuple[int, int, int]] = field(default_factory=list)
    last: Before | None = None


def survey(
    logs: Sequence[Log], criteria: Criteria, counts: Counts, progress: Progress, keep: int = 0, see: See | None = None
) -> list[Stretch]:
    """Return the stretches of all files that may hold a wanted record.

    Args:
        logs: The logs.
        criteria: What is wanted.
        counts: Files that cannot be read are noted there.
        progress: This is half the work.
        keep: Most bytes of lines that are kept.
        see: Is given all lines of the stretches that may hold something of the wanted time.
    """
    look = _Survey(logs, criteria, counts, keep, see)
    jobs = [(log, file) for log in logs for file in log.files]
    found = iter(look.all(jobs, progress))
    stretches: list[Stretch] = []
    for log in logs:
        before: Before = partial(_given, None)
        for file in log.files:
            looked = next(found)
            looked.start.before = before
            for at, offset, length in looked.waiting:
                piece = Piece(offset, length, file.piece(offset, length, counts))
                looked.stretches[at] = look.stretch(log, file, piece, looked.start)
            if looked.waiting:
                file.rest()
            before = looked.last or before
            stretches += [stretch for stretch in looked.stretches if stretch is not None]
    return stretches


class _Survey:
    def __init__(
        self, logs: Sequence[Log], criteria: Criteria, counts: Counts, keep: int, see: See | None = None
    ) -> None:
        self._see = see
        self._criteria = criteria
        self._counts = counts
        self._room = keep
        self._everything = criteria == Criteria() and not keep
        self._block = block_size(len(logs))
        self._done = 0
        self._stopped = False

    def all(self, jobs: Sequence[tuple[Log, LogFile]], progress: Progress) -> list[_Looked]:
        """Look at all files, in threads where that is worth it; in the order of *jobs*."""
        threads = min(_processors(), _MOST_THREADS, len(jobs))
        if threads < 2 or sum(map(_cost, jobs)) < _SMALL:
            return [self._reported(log, file, progress) for log, file in jobs]
        found: list[_Looked | BaseException | None] = [None] * len(jobs)
        waiting = _dearest_first(jobs)  # an iterator over a list: several threads may ask it

        def work() -> None:
            for at in waiting:
                try:
                    found[at] = self._look(*jobs[at])
                except BaseException as error:
                    found[at], self._stopped = error, True

        workers = [Thread(target=work, name=f"metaexpert-reader-{number}") for number in range(threads)]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(_REPORT)
                    progress(self._done // 2)
        finally:
            self._stopped = True
        for error in (one for one in found if isinstance(one, BaseException)):
            raise error
        return [one for one in found if isinstance(one, _Looked)]

    def _reported(self, log: Log, file: LogFile, progress: Progress) -> _Looked:
        looked = self._look(log, file)
        progress(self._done // 2)
        return looked

    def _look(self, log: Log, file: LogFile) -> _Looked:
        looked = _Looked()
        if file.spans:
            self._look_by_spans(looked, log, file)
            looked.last = self._before_span(looked, log, file, len(file.spans))
        else:
            self._look_through(looked, log, file)
        self._done += file.size
        return looked

    def _look_through(self, looked: _Looked, log: Log, file: LogFile) -> None:
        before: Before = looked.start
        for piece in file.pieces(self._counts, self._block):
            if self._stopped:
                break
            self._place(looked, log, file, piece, before)
            key = last_key(piece.data, log.number)
            if key is not None:
                looked.last = before = partial(_given, key)

    def _place(self, looked: _Looked, log: Log, file: LogFile, piece: Piece, before: Before) -> None:
        selection = None
        if self._see is not None:
            counts = self._criteria.count(piece.data)
            self._see(piece.data, counts)
            selection = self._criteria.told(piece.data, counts)
        try:
            stretch = self.stretch(log, file, piece, before, selection)
        except _UnplacedError:
            looked.waiting.append((len(looked.stretches), piece.offset, piece.length))
            looked.stretches.append(None)
        else:
            looked.stretches += [stretch] if stretch is not None else []

    def _look_by_spans(self, looked: _Looked, log: Log, file: LogFile) -> None:
        """Look only at what may hold something wanted, by the index."""
        for at, span in enumerate(file.spans):
            if self._stopped or not self._criteria.may_be_in(span.low, span.high, span.level):
                continue
            before = self._before_span(looked, log, file, at)
            if span.regular and not self._criteria.by_text and span.length <= self._block:
                stretch = Stretch(log.number, file, span.offset, span.length, span.low, span.high, before)
                looked.stretches.append(stretch)  # it is read when its time has come
                continue
            pieces: Iterable[Piece] = file.within(span.offset, span.length, self._counts, self._block)
            if not span.regular:  # its lines have the place of an entry that stands before them
                pieces = list(pieces)
            for piece in pieces:
                self._place(looked, log, file, piece, before)
                if (key := last_key(piece.data, log.number)) is not None:
                    before = partial(_given, key)
        file.rest()

    def _before_span(self, looked: _Looked, log: Log, file: LogFile, at: int) -> Before:
        def before() -> Key | None:
            for span in reversed(file.spans[:at]):
                if (key := last_key(file.piece(span.offset, span.length, self._counts), log.number)) is not None:
                    return key
            return looked.start()

        return before

    def stretch(
        self, log: Log, file: LogFile, piece: Piece, before: Before, selection: Selection | None = None
    ) -> Stretch | None:
        """Return the stretch of a piece; None when nothing in it may be wanted.

        Raises:
            _UnplacedError: *before* is not known yet, and is needed.
        """
        selection = selection or self._criteria.select(piece.data)
        if not selection.bounds:
            return None
        low, high = selection.low, selection.high
        if not selection.regular and self._everything and selection.bounds[1] > 0:
            # Each line that is no entry has the place of one before it in this piece.
            entries = [glance(line, "") for line in selection.odd_lines(piece.data)]
            times = [low, high, *(entry.key[0] for entry in entries if entry is not None)]
            low, high = min(times), max(times)
        elif not selection.regular:
            records = found_in(piece.data, file, log.number, self._criteria, before)
            if not records:
                return None
            low, high = records[0].key[0], records[-1].key[0]
            kept = records if self._has_room(sum(len(record.line) + RECORD for record in records)) else None
            return Stretch(log.number, file, piece.offset, piece.length, low, high, before, kept)
        lines = b"\n".join(selection.lines(piece.data)) if self._room > 0 else b""
        kept_lines = lines if lines and self._has_room(len(lines)) else None
        return Stretch(log.number, file, piece.offset, piece.length, low, high, before, kept_lines)

    def _has_room(self, size: int) -> bool:
        if self._room < size:
            return False
        self._room -= size  # threads may lose a change of each other: the limit is not exact
        return True


def block_size(logs: int) -> int:
    """Return the bytes of a stretch where so many *logs* are read together."""
    return max(_SMALLEST, min(FORWARD_BLOCK, _OPEN // max(1, logs)))


def _given(key: Key | None) -> Key | None:
    return key


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cost(job: tuple[Log, LogFile]) -> int:
    file = job[1]
    return file.size * _INFLATING if file.name.compressed else file.size


def _dearest_first(jobs: Sequence[tuple[Log, LogFile]]) -> Iterator[int]:
    return iter(sorted(range(len(jobs)), key=lambda at: _cost(jobs[at]), reverse=True))
