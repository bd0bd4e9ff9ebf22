"""`open_logs`: the entries of log directories and stores, filtered, in order of time; follows them as they come."""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Final, Unpack

from metaexpert.logs.entry import Entry, Record, by_time, parse
from metaexpert.logs.reading import merge
from metaexpert.logs.reading.dedup import Once, copied
from metaexpert.logs.reading.files import Counts, Identity, is_log
from metaexpert.logs.reading.filters import Criteria, Filters
from metaexpert.logs.reading.merge import Log, Progress
from metaexpert.logs.reading.snapshot import Snapshot
from metaexpert.logs.reading.tally import RawProcess
from metaexpert.logs.store.store import Store, StoreFollower, is_store

#: The last records are searched for no further than through so many lines that are no entries.
_MOST_UNPARSED: Final = 20_000
#: Bytes at the ends of a file from which `Logs.present` tells what there is.
_SAMPLE: Final = 1 << 18
#: Entries at each end of a store, likewise.
_SAMPLED: Final = 500
#: Seconds between two looks at the files while following.
POLL_INTERVAL: Final = 0.025


def open_logs(
    path: str | Path,
    *more: str | Path,
    limit: int | None = None,
    reverse: bool = False,
    diagnostics: bool = False,
    recorder: bool = False,
    **filters: Unpack[Filters],
) -> Logs:
    """Return the logs of one directory or store, or of several together. Opens no file yet, and asks no store.

    Args:
        path: Directory of the files, such as ``logs``; a file; or the address of a VictoriaLogs that experts feed:
            ``vlogs://HOST:9428`` or ``vlogs+https://HOST``, with the token in ``METAEXPERT_VLOGS_TOKEN``.
        more: Further ones.
        limit: Iterate over the last so many records only; None for all. With *level*, lines that are no entries do
            not count, but no more than *limit* of them are kept.
        reverse: Iterate from the last record to the first.
        diagnostics: Include the logger's own problems (``logging_errors.log``).
        recorder: Include what the flight recorder has dumped (``recorder-*.log``).
        filters: ``level``, ``expert``, ``symbol``, ``order``, ``trade_id``, ``since``, ``until``, ``grep`` and ``tz``,
            as `metaexpert.logs.reading.filters.Filters` describes them.

    Raises:
        FileNotFoundError: There is no such directory.
        NotADirectoryError: A path is an empty file, or no regular one.
        ValueError: *level* is not a level, a time cannot be read, or an address of a store is wrong.
    """
    directories = tuple(Path(part) for part in (path, *more) if not is_store(part))
    stores = tuple(Store.at(str(part)) for part in (path, *more) if is_store(part))
    for directory in directories:
        if not directory.exists():
            raise FileNotFoundError(f"there is no directory {directory}")
        if not (directory.is_dir() or is_log(directory)):
            raise NotADirectoryError(f"{directory} is not a directory")
    logs = Logs(directories, limit=limit, reverse=reverse, diagnostics=diagnostics, recorder=recorder, stores=stores)
    return logs.filter(**filters)


@dataclass(slots=True)
class Present:
    """What there is in logs.

    Attributes:
        experts: Names of experts, each with the number of entries that were looked at.
        symbols: Symbols, likewise, as they are spelled.
        first: Time of the earliest entry; None when there is none.
        last: Time of the latest.
    """

    experts: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, entry: Entry) -> None:
        """Note what an entry tells."""
        self.experts[entry.expert] += 1
        if (symbol := entry.get("symbol")) is not None:
            self.symbols[str(symbol)] += 1
        self.first = min(self.first or entry.time, entry.time)
        self.last = max(self.last or entry.time, entry.time)


@dataclass(frozen=True)
class Logs:
    """The entries of one or more directories and stores; made by `open_logs`.

    Each iteration reads the files as they are at its start. Memory is bounded for files of any size. Nothing is
    written or locked. Lines that are not entries have no level and pass every level filter; they pass another filter
    when they contain its text. When a store gives no whole answer, ConnectionError says why. Use it from one thread
    at a time.

    Attributes:
        directories: Where the files are; may be files.
        criteria: The filters.
        limit: Only the last so many records, see `open_logs`; None for all.
        reverse: Newest record first.
        diagnostics: Read ``logging_errors.log`` too.
        recorder: Read ``recorder-*.log`` too.
        foreign: Read the files of other loggers too, as far as they are recognised.
        compressed: Only the compressed files, or only the others; None for all.
        stores: The stores that are asked beside the directories.
        copies: Read files too that are copies of another one, or of its beginning; otherwise they are only noted.
        without: Files that are not read.
        progress: Called with the bytes done so far, from 0 to `size`.
        counts: Counts of the current or last iteration.
    """

    directories: tuple[Path, ...]
    criteria: Criteria = field(default_factory=Criteria)
    limit: int | None = None
    reverse: bool = False
    diagnostics: bool = False
    recorder: bool = False
    foreign: bool = True
    compressed: bool | None = None
    stores: tuple[Store, ...] = ()
    copies: bool = True
    without: frozenset[Identity] = frozenset()
    progress: Progress = merge.ignore
    counts: Counts = field(default_factory=Counts, compare=False)

    def filter(self, **filters: Unpack[Filters]) -> Logs:
        """Return the same logs, narrowed to records that pass these *filters* too.

        Raises:
            ValueError: *level* is not a level, or a time cannot be read.
        """
        return replace(self, criteria=self.criteria.narrowed(**filters), counts=Counts())

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records, the oldest first (the newest, with `reverse`)."""
        if self.limit is not None:
            records = self.last(self.limit)
            yield from reversed(records) if self.reverse else records
            return
        self.counts.reset()
        with self.opened() as logs:
            read = sum(file.size for log in logs for file in log.files) if self.stores else 0
            found: Iterator[Record] = merge.streamed(
                logs, self.criteria, self.counts, self.progress, backward=self.reverse
            )
            if self.stores:
                found = self._merged(found, lambda done: self.progress(read + done))
            yield from self._once(found, self._once_each())

    def stored(self) -> Iterator[Entry]:
        """Iterate over the entries of the stores, in order of time; those that senders repeat come once."""
        found = self._once(self._merged(iter(()), self.progress), self._once_each())
        return (record for record in found if isinstance(record, Entry))

    def _merged(self, found: Iterator[Record], progress: Progress, *, page: int | None = None) -> Iterator[Record]:
        """Merge *found*, which comes from the files, with the entries of the stores."""
        if self.compressed:  # the part of the files that is read last; a store was asked with the first
            return found
        done: Counter[Store] = Counter()

        def report(store: Store, count: int) -> None:
            done[store] = count
            progress(done.total())

        streams = (
            store.records(self.criteria, self.counts, partial(report, store), backward=self.reverse, page=page)
            for store in self.stores
        )
        return heapq.merge(found, *streams, key=by_time, reverse=self.reverse)

    def _once_each(self) -> Once:
        return Once(everything=bool(self.stores))

    def with_keys(self, keys: tuple[bytes, ...], see: merge.See, process: RawProcess | None = None) -> Iterator[Record]:
        """Iterate over the records that `metaexpert.logs.reading.tally.tally` tells by these *keys*; the oldest first.

        Before the first of them, *see* is given all whole lines that may be of the wanted time and their counts, piece
        by piece, in no order and by several threads. With a *process*, the records of others are left out, except
        those about the logger itself.
        """
        self.counts.reset()
        with self.opened() as logs:
            criteria = replace(self.criteria, keys=keys, process=process)
            yield from self._once(merge.streamed(logs, criteria, self.counts, self.progress, see=see), Once())

    def last(self, limit: int) -> list[Record]:
        """Return the last *limit* records, the oldest first. Reads only as much of the files as that takes.

        With a filter by level, lines that are no entries come besides, at most *limit*. The last records are those at
        the ends of the files. An entry that was written late (recovered, or logged after the clock stepped
        back) counts where it was written, unless that is near its place in time.
        """
        self.counts.reset()
        with self.opened() as logs:
            return self._last(logs, limit, self._once_each())

    def follow(
        self, *, last: int = 0, interval: float = POLL_INTERVAL, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Record]:
        """Yield the last records and then each new one as it is written, until the caller stops. Never ends.

        Follows through rotation, truncation and new files. Within a file no record is lost, repeated or reordered;
        between files, the records of one look are merged by time.

        Args:
            last: How many existing records to begin with.
            interval: Seconds between two looks.
            sleep: Waits so many seconds.
        """
        for batch in self.batches(last=last, interval=interval, sleep=sleep):
            yield from batch

    def batches(
        self, *, last: int = 0, interval: float = POLL_INTERVAL, sleep: Callable[[float], None] = time.sleep
    ) -> Generator[list[Record]]:
        """Yield the records of `follow`, those of one look as one list (for output in one write)."""
        from metaexpert.logs.reading.follow import Follower, merged  # noqa: PLC0415 - for this only

        self.counts.reset()
        once = Once(everything=True)
        followers: list[Follower] = []
        stores = [StoreFollower(store, self.criteria, self.counts) for store in self.stores]
        before = [entry for store in stores for entry in store.poll()]  # of the last seconds, not to be shown again
        with ExitStack() as stack:
            snapshots = [stack.enter_context(self._snapshot(directory)) for directory in self.directories]
            for directory, snapshot in zip(self.directories, snapshots, strict=True):
                snapshot.trim()
                follower = Follower(
                    directory,
                    snapshot.chains,
                    diagnostics=self.diagnostics,
                    recorder=self.recorder,
                    foreign=self.foreign,
                    counts=self.counts,
                )
                followers.append(follower)
            first = self._last(self._logs(snapshots), last, once if not stores else self._once_each()) if last else []
        try:
            if stores:
                for _ in self._once([*before, *first], once):
                    pass
                self.counts.entries = len(first)
            if first:
                yield first
            while True:
                new = merged([*(one.poll() for one in followers), *(one.poll() for one in stores)])
                if batch := [record for record in self._once(new, once) if self.criteria.accept(record)]:
                    yield batch
                else:
                    sleep(interval)
        finally:
            for follower in followers:
                follower.close()

    @property
    def filtered(self) -> bool:
        """Whether there are filters."""
        return self.criteria != Criteria()

    @property
    def size(self) -> int:
        """Bytes of all files at this moment, and about those of the stores, the end of `progress`."""
        with self.opened() as logs:
            stored = sum(store.size(self.criteria) for store in self.stores)
            return stored + sum(file.size for log in logs for file in log.files)

    @property
    def places(self) -> tuple[Path | Store, ...]:
        """The directories and stores."""
        return (*self.directories, *self.stores)

    def at(self, place: Path | Store) -> Logs:
        """Return the logs of one of the `places` alone."""
        if isinstance(place, Store):
            return replace(self, directories=(), stores=(place,))
        return replace(self, directories=(place,), stores=())

    @contextmanager
    def opened(self) -> Iterator[list[Log]]:
        """Open all files as one set that rotation cannot change; close them at the end."""
        with ExitStack() as stack:
            yield self._logs([stack.enter_context(self._snapshot(directory)) for directory in self.directories])

    def _snapshot(self, directory: Path) -> Snapshot:
        return Snapshot(
            directory,
            diagnostics=self.diagnostics,
            recorder=self.recorder,
            shared_by=len(self.directories),
            foreign=self.foreign,
        )

    def _logs(self, snapshots: list[Snapshot]) -> list[Log]:
        alone = len(self.directories) == 1
        seen = set(self.without)
        logs: list[Log] = []
        for directory, snapshot in zip(self.directories, snapshots, strict=True):
            refused = {name if alone else str(directory / name): why for name, why in sorted(snapshot.refused.items())}
            self.counts.unreadable.update(refused)
            for chain in snapshot.chains.values():
                wanted = [file for file in chain if self.compressed in (None, file.name.compressed)]
                files = [file for file in wanted if file.identity not in seen]  # a link to one of the others
                seen |= {file.identity for file in files}
                for file in files:
                    file.label = file.label if alone else str(file.name.path)
                logs += [Log(len(logs), files)] if files else []
        return logs if self.copies else self._without_copies(logs)

    def _without_copies(self, logs: list[Log]) -> list[Log]:
        copies = {id(copy): other for copy, other in copied([file for log in logs for file in log.files])}
        left: list[Log] = []
        for log in logs:
            files = [file for file in log.files if id(file) not in copies]
            self.counts.copies |= {file.label: copies[id(file)].label for file in log.files if id(file) in copies}
            left += [Log(len(left), files)] if files else []
        return left

    def _last(self, logs: list[Log], limit: int, once: Once) -> list[Record]:
        newest: list[Record] = []
        entries = unparsed = 0
        found: Iterator[Record] = merge.newest(logs, self.criteria, self.counts)
        if self.stores:
            found = replace(self, reverse=True)._merged(found, merge.ignore, page=limit + 1)
        for record in self._once(found, once) if limit else ():
            # Lines without a level pass a filter by level; they must not crowd out what was asked for.
            if isinstance(record, Entry) or not self.criteria.level:
                entries += 1
            else:
                unparsed += 1
                if unparsed > limit:
                    self.counts.unparsed -= 1
                    if unparsed > max(limit, _MOST_UNPARSED):
                        break
                    continue
            newest.append(record)
            if entries == limit:
                break
        newest.reverse()
        return sorted(newest, key=by_time)

    def with_context(self, before: int, after: int, limit: int | None = None) -> Iterator[Record | None]:
        """Yield the records that pass the filters, each with so many records *before* and *after* it.

        None stands where records between two of them are left out. With *limit*, only the last so many that pass.
        Filters on time bound what passes, not what stands around it.
        """
        if limit is not None:
            found = list(self._around(after, before, limit, backward=True))
            yield from reversed(found)
        else:
            yield from self._around(before, after, sys.maxsize, backward=False)

    def _around(self, before: int, after: int, limit: int, *, backward: bool) -> Iterator[Record | None]:
        held: deque[Record] = deque(maxlen=before)
        left = passed = skipped = 0
        for record in replace(self, criteria=Criteria(), limit=None, reverse=backward):
            if passed < limit and self.criteria.accept(record):
                if passed and skipped > len(held):
                    yield None
                yield from held
                yield record
                held.clear()
                left, skipped, passed = after, 0, passed + 1
            elif left:
                left -= 1
                yield record
            elif passed == limit:
                return
            else:
                skipped += 1
                held.append(record)

    def present(self) -> Present:
        """Return what there is, whatever the filters, by a look at the ends of the files and stores."""
        found = Present()
        with self.opened() as logs:
            for file in (file for log in logs for file in log.files):
                ends = [file.piece(0, _SAMPLE, Counts())]
                ends += [] if file.name.compressed else islice(file.backward(Counts()), 1)
                for line in (line for data in ends for line in data.split(b"\n")):
                    if (entry := parse(line, "")) is not None:
                        found.add(entry)
        for store, newest in product(self.stores, (True, False)):
            for entry in islice(store.records(Criteria(), Counts(), backward=newest, page=_SAMPLED), _SAMPLED):
                found.add(entry)
        return found

    def _once(self, stream: Iterable[Record], once: Once) -> Iterator[Record]:
        counts = self.counts
        for item in stream:
            if (record := once.take(item)) is None:
                continue
            if isinstance(record, Entry):
                counts.entries += 1
            else:
                counts.unparsed += 1
            yield record
