"""Records of several files in order of time, in bounded memory.

Files are mostly in order, but not quite: several processes append batches alternately, recovery appends the entries
of a dead process, a clock steps back. There are two ways:

* `streamed`, exact: all files are surveyed once, several at a time. For each stretch of a file (about a megabyte) that
  may hold a wanted record, its earliest and latest time are noted, and the lines that may be wanted are kept while
  there is room for them. Then each stretch is decoded when its time has come, so that two that overlap are merged
  wherever they stand. One whose lines were not kept is read again. When too many records wait, because stretches reach
  over much of the same time, the later ones are dropped and read again when their time has come.
* `newest`: the last records, without a look at the whole. Each log is read from its end; disorder within two
  stretches is sorted, a record further away from its place in time comes where it was written.

The writer may have noted which times and levels the stretches of a backup hold (`LogFile.spans`). Those that can hold
nothing wanted are skipped.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final

from metaexpert.logs.entry import Key, Record, by_time
from metaexpert.logs.reading._survey import RECORD, Log, Progress, See, Stretch, block_size, survey
from metaexpert.logs.reading.files import Counts, LogFile
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.search import found_in, last_key

__all__ = ["Log", "Progress", "See", "Stretch", "ignore", "newest", "streamed", "survey", "with_progress"]

#: Most bytes of records that wait in memory for sorting.
MEMORY_LIMIT: Final = 48 << 20
#: Most bytes of lines that are kept between the two looks at a file.
KEPT_LIMIT: Final = 96 << 20


def ignore(done: int) -> None:
    """Ignore the progress."""


def streamed(
    logs: Sequence[Log],
    criteria: Criteria,
    counts: Counts,
    progress: Progress,
    *,
    backward: bool = False,
    see: See | None = None,
) -> Iterator[Record]:
    """Yield the wanted records in order of time, the last first when *backward*.

    Before the first of them, *see* is given all lines.
    """
    stretches = survey(logs, criteria, counts, progress, KEPT_LIMIT if criteria != Criteria() else 0, see)
    waiting = _Waiting(counts, backward=backward)
    due = waiting.sorted(list(enumerate(stretches)))
    left = Counter(id(stretch.file) for stretch in stretches)
    done = _Progress(stretches, logs, progress)
    while due:
        number, stretch = due.pop()
        yield from waiting.due(stretch.high if backward else stretch.low)
        waiting.add(number, stretch, stretch.records(criteria, counts))
        while waiting.too_many:
            if again := waiting.drop_half():
                due = waiting.sorted(due + again)
                left.update(id(part.file) for _, part in again)
            else:  # all are of one microsecond
                yield from waiting.rest()
        left[id(stretch.file)] -= 1
        if not left[id(stretch.file)]:
            stretch.file.rest()
        done.add(stretch)
    yield from waiting.rest()
    progress(done.total)


#: A stretch, and its number among all in the order of logs and files: records of the same key come in that order.
_Numbered = tuple[int, Stretch]


class _Waiting:
    """Records that wait until no record that is still unread can come before them."""

    def __init__(self, counts: Counts, *, backward: bool) -> None:
        self._counts = counts
        self._backward = backward
        self._runs: list[tuple[int, Stretch, list[Record]]] = []
        self._size = 0
        self._last: Key | None = None

    @property
    def too_many(self) -> bool:
        """Whether they exceed the memory limit."""
        return self._size > MEMORY_LIMIT

    def sorted(self, stretches: Iterable[_Numbered]) -> list[_Numbered]:
        """Return *stretches* in the order in which they are due, the next one last."""
        if self._backward:
            return sorted(stretches, key=lambda pair: (pair[1].high, pair[0]))
        return sorted(stretches, key=lambda pair: (pair[1].low, pair[0]), reverse=True)

    def add(self, number: int, stretch: Stretch, run: list[Record]) -> None:
        """Take in the records of one stretch, sorted."""
        if run:
            insort(self._runs, (number, stretch, run), key=_number_of)
            self._size += _size(run)

    def due(self, horizon: bytes) -> Iterator[Record]:
        """Yield the records before *horizon* (after it, when going backward)."""
        batch: list[Record] = []
        bisect = bisect_right if self._backward else bisect_left
        for _, _, run in self._runs:
            cut = bisect(run, horizon, key=_time_of)
            due = slice(cut, None) if self._backward else slice(cut)
            batch += run[due]
            del run[due]
        self._runs = [held for held in self._runs if held[2]]
        return self._released(batch)

    def drop_half(self) -> list[_Numbered]:
        """Drop the records beyond the middle, and return where to find them; empty when all have the same time."""
        middles = sorted(run[len(run) // 2].key[0] for _, _, run in self._runs)
        again = self._drop(middles[len(middles) // 2])
        ends = [run[-1 if self._backward else 0].key[0] for _, _, run in self._runs]
        return again or self._drop(max(ends) if self._backward else min(ends))

    def _drop(self, middle: bytes) -> list[_Numbered]:
        again = []
        bisect = bisect_left if self._backward else bisect_right
        for number, stretch, run in self._runs:
            cut = bisect(run, middle, key=_time_of)
            beyond = slice(cut) if self._backward else slice(cut, None)
            if dropped := run[beyond]:
                del run[beyond]
                self._size -= _size(dropped)
                part = replace(stretch, part=True, low=dropped[0].key[0], high=dropped[-1].key[0])
                again.append((number, part))
        self._runs = [held for held in self._runs if held[2]]
        return again

    def rest(self) -> Iterator[Record]:
        """Yield the remaining records."""
        batch, self._runs = [record for _, _, run in self._runs for record in run], []
        return self._released(batch)

    def _released(self, batch: list[Record]) -> Iterator[Record]:
        batch.sort(key=by_time)
        self._size -= _size(batch)
        for record in reversed(batch) if self._backward else batch:
            if self._last is not None and (record.key > self._last if self._backward else record.key < self._last):
                self._counts.unordered += 1
            else:
                self._last = record.key
            yield record


def _number_of(held: tuple[int, Stretch, list[Record]]) -> int:
    return held[0]


def _size(records: Sequence[Record]) -> int:
    return sum(len(record.line) for record in records) + RECORD * len(records)


def _time_of(record: Record) -> bytes:
    return record.key[0]


class _Progress:
    """The second half of the work: *stretches* that are read one after the other."""

    def __init__(self, stretches: Sequence[Stretch], logs: Sequence[Log], progress: Progress) -> None:
        self.total = sum(file.size for log in logs for file in log.files)
        self._left = self._length = sum(stretch.length for stretch in stretches)
        self._progress = progress

    def add(self, stretch: Stretch) -> None:
        """Report that one more was read; a part of one that was read before does not count."""
        if not stretch.part:
            self._left -= stretch.length
            self._progress(self.total - self.total * self._left // (2 * self._length))


def with_progress(stretches: Sequence[Stretch], logs: Sequence[Log], progress: Progress) -> Iterator[Stretch]:
    """Yield *stretches* to be read, and report the progress through this second half of the work."""
    done = _Progress(stretches, logs, progress)
    for stretch in stretches:
        yield stretch
        done.add(stretch)
    progress(done.total)


def once_through(logs: Sequence[Log], counts: Counts, progress: Progress) -> Iterator[tuple[LogFile, bytes]]:
    """Yield all lines in pieces, so that what was written at the same time comes close together. Reads each file once.

    A line has the place in time of the entry at the end of its piece. Disorder within a log stays.
    """
    streams = [_forward(log, block_size(len(logs)), counts) for log in logs]
    waiting = [(b"", number) for number in range(len(streams))]
    held: dict[int, tuple[LogFile, bytes]] = {}
    done, total = 0, sum(file.size for log in logs for file in log.files)
    while waiting:
        time, number = heapq.heappop(waiting)
        if number in held:
            file, data = held.pop(number)
            yield file, data
            done += len(data) if not file.name.compressed else 0
            progress(min(done, total))
        if (piece := next(streams[number], None)) is not None:
            key = last_key(piece[1], number)
            held[number] = piece
            heapq.heappush(waiting, (key[0] if key is not None else time, number))
    progress(total)


def _forward(log: Log, block: int, counts: Counts) -> Iterator[tuple[LogFile, bytes]]:
    for file in log.files:
        for piece in file.pieces(counts, block):
            yield file, piece.data


def newest(logs: Sequence[Log], criteria: Criteria, counts: Counts) -> Iterator[Record]:
    """Yield the wanted records of all logs from their ends, the last first."""
    return heapq.merge(*(_newest(log, criteria, counts) for log in logs), key=by_time, reverse=True)


def _newest(log: Log, criteria: Criteria, counts: Counts) -> Iterator[Record]:
    pieces = _Ahead(part for file in reversed(log.files) for part in _backward(file, criteria, counts))
    held: list[Record] = []
    after: Key | None = None

    def before() -> Key | None:
        older = pieces.peek()
        return last_key(older.read(), log.number) if older is not None else None

    for part in pieces:
        new = found_in(part.read(), part.file, log.number, criteria, before, after) if part.wanted else []
        after = new[0].key if new else after
        both = sorted(new + held, key=by_time)
        held = both[: len(new)]
        yield from reversed(both[len(new) :])
    yield from reversed(held)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file, whether it may hold a wanted record, and how to read it."""

    file: LogFile
    wanted: bool
    read: Callable[[], bytes]


def _backward(file: LogFile, criteria: Criteria, counts: Counts) -> Iterator[_Part]:
    # When no stretch can be skipped, smaller pieces than those of the index are cheaper at the end of a file.
    if not (criteria.selective and file.spans):
        for data in file.backward(counts):
            yield _Part(file, wanted=True, read=partial(_given, data))
        return
    for span in reversed(file.spans):
        wanted = criteria.may_be_in(span.low, span.high, span.level)
        yield _Part(file, wanted, partial(file.piece, span.offset, span.length, counts))
    file.rest()


def _given(data: bytes) -> bytes:
    return data


class _Ahead[T]:
    """An iterator with a look at its next item."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._next: list[T] = []

    def __iter__(self) -> Iterator[T]:
        while self.peek() is not None:
            yield self._next.pop()

    def peek(self) -> T | None:
        """Return the next item without taking it, or None when there is none."""
        if not self._next:
            self._next = list(islice(self._items, 1))
        return self._next[0] if self._next else None
