"""`open_logs`: the entries of a directory, filtered, in order of time, at rest or while they are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Record, Unparsed
from metaexpert.logs.files import Counts, Snapshot
from metaexpert.logs.follow import Follower
from metaexpert.logs.merge import Once, chain_records, merged

#: Seconds between two looks at the files while following.
POLL_INTERVAL: Final = 0.025
_LEVEL_ALIASES: Final = {"warn": "warning", "fatal": "critical"}


def level_number(level: str | int) -> int:
    """Return the number of a level given by name, in any case, or by number.

    Raises:
        ValueError: When there is no such level.
    """
    if isinstance(level, int):
        return level
    word = level.strip().lower()
    number = schema.LEVEL_NUMBERS.get(_LEVEL_ALIASES.get(word, word))
    if number is None:
        raise ValueError(f"{level!r} is no level; it should be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return number


def open_logs(
    path: str | Path, *, level: str | int | None = None, limit: int | None = None, diagnostics: bool = False
) -> Logs:
    """Return the logs of a directory. Opens no file yet.

    Args:
        path: Directory of the files, such as ``logs``.
        level: Lowest level wanted; None for all.
        limit: Iterate over the last so many records only; None for all.
        diagnostics: Whether the logger's own troubles (``logging_errors.log``) are wanted too.

    Raises:
        FileNotFoundError: When there is no such directory.
        NotADirectoryError: When *path* is a file.
        ValueError: When *level* is none.
    """
    directory = Path(path)
    if not directory.is_dir():
        error = NotADirectoryError if directory.exists() else FileNotFoundError
        raise error(f"{directory} is not a directory" if directory.exists() else f"there is no directory {directory}")
    return Logs(directory, level_number(level) if level is not None else 0, limit, diagnostics)


@dataclass(frozen=True)
class Logs:
    """The entries of a directory; made by `open_logs`.

    Each iteration reads the files anew, as they are at its start. Memory is bounded by the number of files.
    Lines that are no entries have no level and pass every level filter. One thread at a time.

    Attributes:
        directory: Where the files are.
        level: Lowest level wanted, as a number.
        limit: How many of the last records are wanted; None for all.
        diagnostics: Whether ``logging_errors.log`` is read too.
        counts: What the current or last iteration met.
    """

    directory: Path
    level: int = 0
    limit: int | None = None
    diagnostics: bool = False
    counts: Counts = field(default_factory=Counts, compare=False)

    def filter(self, *, level: str | int | None = None) -> Logs:
        """Return the same logs, narrowed: entries below *level* are left out."""
        lowest = self.level if level is None else max(self.level, level_number(level))
        return replace(self, level=lowest, counts=Counts())

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records, the oldest first."""
        if self.limit is not None:
            yield from self.last(self.limit)
            return
        self.counts.reset()
        with self._snapshot() as snapshot:
            streams = [chain_records(files, self.counts) for files in snapshot.chains.values()]
            yield from self._wanted(merged(streams), Once())

    def last(self, limit: int) -> list[Record]:
        """Return the last *limit* records, the oldest first. Reads no more of the files than that takes."""
        self.counts.reset()
        with self._snapshot() as snapshot:
            return self._last(snapshot, limit, Once())

    def follow(
        self, *, last: int = 0, interval: float = POLL_INTERVAL, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Record]:
        """Yield the last records and then each new one as it is written, until the caller stops. Never ends.

        Follows through rotation, truncation, and files that appear. Within a file nothing is missed, doubled or
        reordered; between files, what is read at one look is merged by time.

        Args:
            last: How many records that are there already to begin with.
            interval: Seconds between two looks.
            sleep: Waits; a test passes one of its own.
        """
        for batch in self.batches(last=last, interval=interval, sleep=sleep):
            yield from batch

    def batches(
        self, *, last: int = 0, interval: float = POLL_INTERVAL, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[list[Record]]:
        """Yield what `follow` yields, all that was there at one look as one list (for output in one write)."""
        self.counts.reset()
        once = Once(everything=True)
        with self._snapshot() as snapshot:
            for files in snapshot.chains.values():
                if files[-1].name.number == 0:
                    files[-1].trim()
            follower = Follower(self.directory, snapshot.chains, diagnostics=self.diagnostics, counts=self.counts)
            first = self._last(snapshot, last, once) if last else []
        if first:
            yield first
        try:
            while True:
                if batch := list(self._wanted(follower.poll(), once)):
                    yield batch
                else:
                    sleep(interval)
        finally:
            follower.close()

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.directory, diagnostics=self.diagnostics)

    def _last(self, snapshot: Snapshot, limit: int, once: Once) -> list[Record]:
        chains = snapshot.chains.values()
        streams = [chain_records(files[::-1], self.counts, backward=True) for files in chains]
        return list(islice(self._wanted(merged(streams, backward=True), once), limit))[::-1]

    def _wanted(self, stream: Iterable[Record], once: Once) -> Iterator[Record]:
        counts, lowest = self.counts, self.level
        for record in stream:
            if isinstance(record, Unparsed):
                counts.unparsed += 1
                yield record
            elif not once.is_copy(record):
                counts.entries += 1
                if schema.LEVEL_NUMBERS[record.level] >= lowest:
                    yield record
