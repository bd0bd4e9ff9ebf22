"""Records of several files in order of time, in bounded memory.

Files are mostly in order, but not quite: several processes append batches alternately, recovery appends the entries
of a dead process, a clock steps back. There are two ways:

* `streamed`, exact: all files are surveyed once, several at a time. For each stretch of a file (about a megabyte) that
  may hold a wanted record, its earliest and latest time are noted, and the lines that may be wanted are kept while
  there is room for them. Then each stretch is decoded when its time has come, so that two that overlap are merged
  wherever they stand. One whose lines were not kept is read again.
* `newest`: the last records, without a look at the whole. Each log is read from its end; disorder within two
  stretches is sorted, a record further away from its place in time comes where it was written.

The writer may have noted which times and levels the stretches of a backup hold (`LogFile.spans`). Those that can hold
nothing wanted are skipped.
"""

from __future__ import annotations

import heapq
import operator
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from metaexpert.logs.entry import Key, Record, by_time
from metaexpert.logs.reading._survey import RECORD, Log, Progress, Stretch, survey
from metaexpert.logs.reading.files import Counts, LogFile
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.search import found_in, last_key

__all__ = ["Log", "Progress", "Stretch", "ignore", "newest", "streamed", "survey", "with_progress"]

#: Most bytes of records that wait in memory for sorting.
MEMORY_LIMIT: Final = 48 << 20
#: Most bytes of lines that are kept between the two looks at a file.
KEPT_LIMIT: Final = 48 << 20


def ignore(done: int) -> None:
    """Ignore the progress."""


def streamed(
    logs: Sequence[Log], criteria: Criteria, counts: Counts, progress: Progress, *, backward: bool
) -> Iterator[Record]:
    """Yield the wanted records in order of time, the last first when *backward*."""
    stretches = survey(logs, criteria, counts, progress, KEPT_LIMIT if criteria != Criteria() else 0)
    stretches.sort(key=operator.attrgetter("high" if backward else "low"), reverse=backward)
    left = Counter(id(stretch.file) for stretch in stretches)
    waiting = _Waiting(counts, backward=backward)
    for stretch in with_progress(stretches, logs, progress):
        yield from waiting.due(stretch.high if backward else stretch.low)
        waiting.add(stretch.records(criteria, counts))
        left[id(stretch.file)] -= 1
        if not left[id(stretch.file)]:
            stretch.file.rest()
        while waiting.too_many:
            yield from waiting.half()
    yield from waiting.rest()


class _Waiting:
    """Records that wait until no record that is still unread can come before them."""

    def __init__(self, counts: Counts, *, backward: bool) -> None:
        self._counts = counts
        self._backward = backward
        self._runs: list[list[Record]] = []
        self._size = 0
        self._last: Key | None = None

    @property
    def too_many(self) -> bool:
        """Whether they exceed the memory limit: the files are too disordered to be sorted within it."""
        return self._size > MEMORY_LIMIT

    def add(self, run: list[Record]) -> None:
        """Take in the records of one stretch, sorted."""
        if run:
            self._runs.append(run)
            self._size += sum(len(record.line) + RECORD for record in run)

    def due(self, horizon: bytes) -> Iterator[Record]:
        """Yield the records before *horizon* (after it, when going backward)."""
        batch: list[Record] = []
        bisect = bisect_right if self._backward else bisect_left
        for run in self._runs:
            cut = bisect(run, horizon, key=lambda record: record.key[0])
            due = slice(cut, None) if self._backward else slice(cut)
            batch += run[due]
            del run[due]
        self._runs = [run for run in self._runs if run]
        return self._released(batch)

    def half(self) -> Iterator[Record]:
        """Yield the first half of all, although an unread record may belong before it."""
        times = sorted(run[len(run) // 2].key[0] for run in self._runs)
        middle = times[len(times) // 2]
        # Just beyond the middle, so that some are released even when all have the same time.
        return self.due(middle[:-1] if self._backward else middle + b"~")

    def rest(self) -> Iterator[Record]:
        """Yield the remaining records."""
        batch, self._runs = [record for run in self._runs for record in run], []
        return self._released(batch)

    def _released(self, batch: list[Record]) -> Iterator[Record]:
        batch.sort(key=by_time)
        self._size -= sum(len(record.line) + RECORD for record in batch)
        for record in reversed(batch) if self._backward else batch:
            if self._last is not None and (record.key > self._last if self._backward else record.key < self._last):
                self._counts.unordered += 1
            else:
                self._last = record.key
            yield record


def with_progress(stretches: Sequence[Stretch], logs: Sequence[Log], progress: Progress) -> Iterator[Stretch]:
    """Yield *stretches* to be read, and report the progress through this second half of the work."""
    total = sum(file.size for log in logs for file in log.files)
    left = length = sum(stretch.length for stretch in stretches)
    for stretch in stretches:
        yield stretch
        left -= stretch.length
        progress(total - total * left // (2 * length))
    progress(total)


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
