"""Following a directory while it is written: what `tail -F` does, over all its files at once.

Each ``NAME.log`` has a `_Chain`, whose newest file is read as it grows. When the name leads to another file, the chain
is walked from its newest file back to a known one, to find files that came and went between two looks. The old file
is read to its end before the new one, and is watched for a while after, since after an external rename its writer
goes on there until it notices.
"""

from __future__ import annotations

import errno
import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from metaexpert.logs.entry import Entry, Key, Record, Unparsed, by_time, glance, regular_number, time_key
from metaexpert.logs.foreign.dialect import HEAD, Dialect, recognise
from metaexpert.logs.foreign.files import ForeignFile, appname_of, log_file
from metaexpert.logs.reading.files import BEGINNING, Counts, LogFile, LogName, find_logs, identity

#: Seconds for which a rotated file is still watched.
GRACE: Final = 10.0
#: Looks at which the list of files is put off: it has a gap in its numbers, or a rotation came while they were opened.
_MOST_GAPS: Final = 5
#: Most bytes read from one file at one look.
_MOST: Final = 4 << 20


class _Tail:
    """One plain file, read from *offset* on as it grows.

    Args:
        file: The file.
        offset: Where to begin.
        hold: Keep it open. Otherwise it is opened for each look: on Windows an open file cannot be renamed, and the
            reader would keep the writer from rotating it.
    """

    def __init__(self, file: LogFile, offset: int, *, hold: bool) -> None:
        self.identity = file.identity
        self.name = file.name.path.name
        self.deadline: float | None = None
        self._file = file
        self._offset = offset
        self._partial = b""
        self._dialect: Dialect | None = file.dialect if isinstance(file, ForeignFile) else None
        self._held: BinaryIO | None = file.take() if hold else None
        try:
            self._start = _start(self._held or file.open())
        finally:
            file.close()

    def read(self) -> tuple[list[bytes], bool]:
        """Return the lines completed since the last look, and whether there are more to read at once."""
        handle = self._held or self._file.open()
        try:
            size = os.fstat(handle.fileno()).st_size
            if size == self._offset:
                return [], False
            cut = self._truncated(_start(handle), size)
            handle.seek(self._offset)
            block = handle.read(min(_MOST, size - self._offset))
        finally:
            self._file.close()
        self._offset += len(block)
        *complete, self._partial = (self._partial + block).split(b"\n")
        return cut + self._translated(list(filter(None, complete))), self._offset < size

    def _translated(self, lines: list[bytes]) -> list[bytes]:
        """Return new lines as lines of ours, if another logger writes the file; it may have been empty before."""
        if self._dialect is None and lines and self._offset <= HEAD and not regular_number(lines[0]):
            with suppress(OSError):
                self._dialect = recognise(self._file.head(HEAD))
            self._file.close()
        if self._dialect is None or not lines:
            return lines
        return self._dialect.translate(b"\n".join(lines), appname_of(self._file.name)).split(b"\n")

    def _truncated(self, start: bytes, size: int) -> list[bytes]:
        """Go back if the file was truncated; return the part of a line that will never be completed.

        If the file still begins as before, its writer cut it back after writing only a part of a batch, and will write
        the batch again. Otherwise the file was emptied and is read from its start.
        """
        common = min(len(start), len(self._start))
        same = start[:common] == self._start[:common]
        self._start = start
        if same and size > self._offset:
            return []
        self._offset = size if same else 0
        partial, self._partial = self._partial, b""
        return [partial] if partial else []

    def beginning(self) -> bytes:
        """Return its first line, by which it is known even when it was compressed; empty when it has none."""
        with suppress(OSError):
            if self._held is None:
                return self._file.beginning()
            return _start(self._held).partition(b"\n")[0]
        return b""

    def close(self) -> list[bytes]:
        """Release the file; return the line that was never completed, if any."""
        if self._held is not None:
            self._held.close()
        self._file.close()
        partial, self._partial = self._partial, b""
        return [partial] if partial else []


def _start(handle: BinaryIO) -> bytes:
    handle.seek(0)
    return handle.read(BEGINNING)


class _Inflated(_Tail):
    """A file that was made, rotated away and compressed between two looks: read once, whole."""

    def __init__(self, file: LogFile, counts: Counts) -> None:
        # First, while it is open: once closed it may not be found again, since its writer may rename it.
        self._lines: list[bytes] = list(file.lines(counts))
        super().__init__(file, 0, hold=False)

    def read(self) -> tuple[list[bytes], bool]:
        lines, self._lines = self._lines, []
        return lines, False


class _Chain:
    """A log and its backups; the tails are the files that are being read, the oldest first."""

    def __init__(self, counts: Counts, *, hold: bool, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._hold = hold
        self._clock = clock
        self._tails: list[_Tail] = []
        self._known: set[bytes] = set()
        self._gaps = 0

    def begin(self, files: Sequence[LogFile]) -> None:
        """Go on after what a snapshot holds (oldest first)."""
        for file in files:
            with suppress(OSError):
                self._known.add(file.beginning())
        with suppress(OSError):  # a file that cannot be opened now is tried again at each look
            if files[-1].name.number == 0:
                self._tails.append(_Tail(files[-1], files[-1].size, hold=self._hold))
        self._known.discard(b"")

    def advance(self, names: Sequence[LogName]) -> None:
        """Add the files that appeared since the last look; *names* are those of the chain, newest first."""
        try:
            if self._tails and identity(names[0].path) == self._tails[-1].identity:
                return
            for file in reversed(self._fresh(names)):
                self._tails.append(self._tail(file))
            self._gaps = 0
        except FileNotFoundError:
            return  # a rotation is going on; the next look finds the files
        except OSError as error:
            self._counts.unreadable[names[0].path.name] = error.strerror or str(error)
        for tail in self._tails[:-1]:
            tail.deadline = tail.deadline or self._clock() + GRACE

    def _fresh(self, names: Sequence[LogName]) -> list[LogFile]:
        """Return the files that are newer than every known one, the newest first, each open."""
        found: list[LogFile] = []
        looked_at: list[LogFile] = []
        try:
            complete = self._walk(names, looked_at, found)
            # Rotated meanwhile, a name leads to a newer file than the name before it did.
            if found and identity(names[0].path) != found[0].identity:
                self._put_off("a file was rotated while the files were opened")
        except OSError:
            found.clear()
            raise
        finally:
            for file in looked_at:
                if file not in found:
                    file.close()
        if not complete and (self._known or self._tails) and any(file.name.number for file in found):
            self._counts.overrun += 1
        return found

    def _walk(self, names: Sequence[LogName], looked_at: list[LogFile], found: list[LogFile]) -> bool:
        """Fill the two lists; return whether a known file was reached.

        Raises:
            FileNotFoundError: A file has just been renamed, or is missing from *names* because it was.
        """
        number = names[0].number
        for name in names:
            if name.number > number + 1:
                self._put_off("a file was renamed while the directory was listed")
                self._counts.overrun += bool(self._known or self._tails)
            number = name.number
            file = log_file(name)
            looked_at.append(file)
            beginning = file.beginning()
            if self._is_known(file, beginning):
                return True
            # A rotation meanwhile shows a file again under its next name, and compression shows it beside its copy.
            if not any(o.identity == file.identity or beginning == o.beginning() != b"" for o in found):
                found.append(file)
        return False

    def _put_off(self, why: str) -> None:
        """Leave the files to the next look, a few times at most. Raises FileNotFoundError."""
        if self._gaps < _MOST_GAPS:
            self._gaps += 1
            raise FileNotFoundError(errno.ENOENT, why)

    def _is_known(self, file: LogFile, beginning: bytes) -> bool:
        if any(tail.identity == file.identity for tail in self._tails):
            return True
        # The current file is never recognised by its first line: a log that was copied over itself is a new one.
        known = self._known.union(tail.beginning() for tail in self._tails) - {b""}
        return file.name.number > 0 and beginning in known

    def _tail(self, file: LogFile) -> _Tail:
        return _Inflated(file, self._counts) if file.name.compressed else _Tail(file, 0, hold=self._hold)

    def read(self) -> Iterator[Record]:
        """Yield the new records: those of an old file to its end, then those of the next."""
        now = time_key(datetime.now(UTC))
        for tail in list(self._tails):
            try:
                lines, more = tail.read()
            except OSError as error:
                self._counts.unreadable[tail.name] = error.strerror or str(error)
                lines, more = [], False
            if tail.deadline is not None and not lines and self._clock() > tail.deadline:
                lines = self._dropped(tail)
            for line in lines:
                yield glance(line, tail.name) or Unparsed(line, tail.name, (now, 0, 0))
            if more:
                return

    def _dropped(self, tail: _Tail) -> list[bytes]:
        self._known |= {tail.beginning()} - {b""}
        self._tails.remove(tail)
        return tail.close()

    def close(self) -> None:
        for tail in self._tails:
            tail.close()


def _placed(stream: Iterable[Record]) -> Iterator[Record]:
    """Give each unparsed line the place in time of the entry before it; the first ones keep theirs."""
    last: Key | None = None
    for record in stream:
        if isinstance(record, Entry):
            last = record.key
        elif last is not None:
            record.key = last
        yield record


def merged(streams: Iterable[Iterable[Record]]) -> Iterator[Record]:
    """Merge *streams* by time; each keeps its own order."""
    return heapq.merge(*streams, key=by_time)


class Follower:
    """Reads the lines that are added to the logs of a directory after a snapshot.

    Args:
        directory: Where the logs are.
        chains: The files of a `Snapshot`; reading goes on after the size of each.
        diagnostics: Whether ``logging_errors.log`` is followed too.
        recorder: Whether what the flight recorder dumps is followed too.
        counts: Problems are noted there.
        foreign: Whether files of other loggers are followed too.
        hold: Keep the files open; not on Windows, see `_Tail`.
        clock: Seconds of a clock that never steps back.
    """

    def __init__(
        self,
        directory: Path,
        chains: Mapping[str, Sequence[LogFile]],
        *,
        diagnostics: bool,
        recorder: bool = False,
        counts: Counts,
        foreign: bool = True,
        hold: bool = os.name != "nt",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find: Callable[[], dict[str, list[LogName]]] = lambda: find_logs(
            directory, diagnostics=diagnostics, recorder=recorder
        )
        self._make: Callable[[], _Chain] = lambda: _Chain(counts, hold=hold, clock=clock)
        self._foreign = foreign
        self._no_logs: dict[str, tuple[int, int]] = {}
        self._chains: dict[str, _Chain] = {}
        for base, files in chains.items():
            self._chains[base] = self._make()
            self._chains[base].begin(files)

    def poll(self) -> Iterator[Record]:
        """Yield the records that were added since the last call, merged by time; none is decoded yet."""
        for base, names in self._find().items():
            if base not in self._chains:
                if not (names[0].usual or self._is_foreign_log(names[0])):
                    continue
                self._chains[base] = self._make()
            self._chains[base].advance(names)
        return merged([_placed(list(chain.read())) for chain in self._chains.values()])

    def _is_foreign_log(self, name: LogName) -> bool:
        """Return whether a file of another name is a log for certain; asks again when it has changed."""
        if not self._foreign:
            return False
        try:
            status = name.path.stat()
            seen = (status.st_size, status.st_mtime_ns)
            if self._no_logs.get(name.base) == seen:
                return False
            file = log_file(name)
            file.close()
        except OSError:
            return False
        self._no_logs[name.base] = seen
        return isinstance(file, ForeignFile) and file.is_wanted

    def close(self) -> None:
        """Release all files."""
        for chain in self._chains.values():
            chain.close()
