"""A rotating file: whole lines, appended under the directory's lock, although others may move or delete the file.

Bound: it holds nothing back; each `write` ends in the file or raises. A part of a batch that could be written
before an error is taken back, so that the batch may be offered again.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger.files.rotation import PERIODS, Move, RotationPolicy, shift
from metaexpert.logger.journal.segment import U64, Intent, Segment
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.schema import backup_number
from metaexpert.logger.system.calls import PATIENT, Calls, Status, files_in, names_in
from metaexpert.logger.system.descriptors import Descriptor, open_file, read_file
from metaexpert.logger.system.locks import DirectoryLock

if TYPE_CHECKING:
    from metaexpert.logger.seal.sealer import Sealer

#: Windows cannot rename a file that somebody holds open the ordinary way, so it is held for one batch only.
HOLD_OPEN: Final = os.name != "nt"
#: What an entry of ours begins with.
LINE_START: Final = b'{"timestamp":"'
#: Half a line may be a whole batch's longest line.
_LONGEST_FRAGMENT: Final = 1024 * 1024
#: Seconds until a rotation that failed (a locked backup on Windows) is tried again.
ROTATION_RETRY: Final = 5.0
#: Characters of an entry's time; and seconds that an entry may be late in its file, as one of midnight is.
_STAMP: Final = len("2026-01-05T00:00:00.000000Z")
_LATEST: Final = 10.0
#: More bytes than a file can have.
_NO_LIMIT: Final = 2**62


class RotatingFile:
    """The sink of one log file.

    Args:
        path: The file. Its directory is made when missing.
        policy: When to rotate.
        lock: The lock of the directory, shared with its other files.
        now: Seconds since the epoch; a test passes a clock of its own.
        hold_open: Whether the file stays open between batches.
        calls: The system's calls, as they suit the file system.
        on_rotated: Called with the file's path after each rotation, under the lock.
        on_trouble: Called with the error of each rotation that fails; writing goes on in the current file.
    """

    def __init__(
        self,
        path: Path,
        policy: RotationPolicy,
        lock: DirectoryLock,
        *,
        now: Callable[[], float] = time.time,
        hold_open: bool = HOLD_OPEN,
        calls: Calls = PATIENT,
        on_rotated: Callable[[Path], None] = lambda _: None,
        on_trouble: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.policy = policy
        #: Takes all lines in before the file is rotated (`metaexpert.logger.seal.sealer.Sealer`).
        self.sealer: Sealer | None = None
        #: Whether what was written is forced to the device before the file is rotated.
        self.durable = False
        self._lock = lock
        self._now = now
        self._hold_open = hold_open
        self._calls = calls
        self._on_rotated = on_rotated
        self._on_trouble = on_trouble
        self._fd = -1
        self._file: Descriptor | None = None
        self._end = -1
        # Whether the time of modification is known to be that of the last write.
        self._timed = False
        #: Appends to the file in the regular way (`DirectoryLock.appender`), from one irregular `write` to the next.
        self.appender: Any = None
        self._retry_rotation_at = 0.0

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Append as many whole lines of *batch* as the file takes before its next rotation (see `Sink`)."""
        with self._lock:
            try:
                self._open()
                written = self._write(batch, note) if len(batch) else 0
                self._arm()
                return written
            finally:
                if not self._hold_open:
                    self.close()

    def append(self, lock: threading.RLock, segment: Segment, epoch: int, *, rotates: bool) -> bool:
        """Append what waits in *segment* in the regular way, without Python. Returns whether all of it is written.

        Args:
            lock: Held by whoever drains.
            segment: If it still is of that *epoch*.
            epoch: Its number in the lane.
            rotates: Whether the caller drains, and may rotate the file.
        """
        while (appender := self.appender) is not None:
            done: bool = appender.append(lock, segment.tail, segment.numbers, epoch, rotates and self.rotates_alone)
            followed = rotates and self._follow(appender.take())
            if done or not followed:
                return done
        return False

    @property
    def rotates_alone(self) -> bool:
        """Whether nothing but names is to be changed when the file is rotated."""
        return not (self.durable or self.sealer is not None or self._retry_rotation_at)

    def follow(self) -> None:
        """Hold the file that rotations by the core have made meanwhile, if there were any."""
        if self.appender is not None:
            self._follow(self.appender.take())

    def _follow(self, made: tuple[int, int, int] | None) -> bool:
        """Hold the file that a rotation has made, if there was one. Returns whether there was."""
        if made is None or self._file is None:
            return False
        self._fd, self._end = made[0], -1
        self._file.go_on_with(*made)
        self._on_rotated(self.path)
        return True

    def already(self, intent: Intent, data: Any) -> int:
        """Return how many bytes of a batch that failed are in the file nevertheless, in whole lines."""
        with self._lock:
            self._open()
            self._end = -1
            self._mend(self._calls.status(self._fd).size)  # half a line is cut off, or else it is whole by now
            return written_already(self.path.parent, self.path.name, intent, data)

    def flush(self) -> None:
        """Force what was written to the device (fsync). Raises OSError."""
        self.follow()
        if not self._hold_open:
            with self._lock:
                self._open()
                os.fsync(self._fd)
                self.close()
        elif self._file is not None and self._file.ours:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; the next `write` opens it again. Idempotent."""
        file, self._file, self._fd, self.appender = self._file, None, -1, None
        if file is not None:
            file.close()

    def _arm(self) -> None:
        timed = self._timed or not self.policy.when
        if self._file is not None and self._hold_open and self._now is time.time and timed:
            largest = self.policy.max_size if self.policy.backups else _NO_LIMIT
            backups = self.policy.backups if self._calls.rotate is not None else 0
            period = PERIODS.get(self.policy.when or "", 0)
            self.appender = self._lock.appender(self._file, self.path, largest, period, backups)

    def _write(self, batch: memoryview, note: Note) -> int:
        status = self._calls.status(self._fd)
        size, first, now = status.size, _line_end(batch), self._now()
        waiting = 0 < self._retry_rotation_at - now <= ROTATION_RETRY
        if not waiting and self.policy.due(size, first, self._last_write(status), now):
            waiting = not self._rotate(now)
            self._open()
            status = self._calls.status(self._fd)
            size = status.size
        room = len(batch) if waiting else self.policy.room(size)
        end = len(batch) if len(batch) <= room else max(_last_line_end(batch, room), first)
        size = self._mend(size)
        self._append(batch[:end], size, note, status)
        self._timed = True
        if size == 0 and self.policy.when is not None:
            # The kernel's clock for modification times runs some milliseconds late: without this the first lines
            # after midnight would seem to be of the day before, and be rotated away once more.
            with contextlib.suppress(OSError):  # then so be it: the entries are written
                os.utime(self.path, (now, now))
        return end

    def _last_write(self, status: Status) -> float:
        """Return when the file was last written: it may have been touched, copied or restored before we opened it."""
        if self._timed or not self.policy.when or not status.size:
            return status.modified
        last = self._read(max(status.size - _LONGEST_FRAGMENT, 0)).rstrip(b"\n").rpartition(b"\n")[2]
        with contextlib.suppress(ValueError):  # no entry of ours, or half of one
            stamp = last.removeprefix(LINE_START)[:_STAMP].decode("ascii")
            return min(status.modified, datetime.fromisoformat(stamp).timestamp() + _LATEST)
        return status.modified

    def _mend(self, size: int) -> int:
        """Mend half a line at the end: a process or the machine died while it wrote. Returns the new size.

        Half an entry of ours is cut off, since it cannot be read; any other line is ended.
        """
        if size in (0, self._end) or self._read(size - 1) == b"\n":
            return size
        begin = max(size - _LONGEST_FRAGMENT, 0)
        fragment = self._read(begin)
        newline = fragment.rfind(b"\n")
        start = fragment[newline + 1 :]
        if (newline >= 0 or begin == 0) and start.startswith(LINE_START[: len(start)]):
            with contextlib.suppress(OSError):  # a file that can only grow: its reader drops the half
                os.ftruncate(self._fd, size - len(start))
                return size - len(start)
        return size + self._append(memoryview(b"\n"), size)

    def _read(self, offset: int) -> bytes:
        assert self._file is not None  # noqa: S101 - for the type checker
        return self._file.read_at(offset, _LONGEST_FRAGMENT)

    def _append(self, data: memoryview, size: int, note: Note = ignore, status: Status | None = None) -> int:
        written = 0
        before = status or self._calls.status(self._fd)
        note(before.device, before.inode, size, len(data))
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
            assert self._file is not None  # noqa: S101 - for the type checker
            status = self._file.check()
        except BaseException:  # an interrupt too: it may come when the write is done, but not yet counted
            self._take_back(data, size, before)
            raise
        self._end = status.size
        if status.links == 0:
            # Deleted while we wrote: what went into it is gone for everybody, so it is written again.
            self._open()
            self._append(data, self._calls.status(self._fd).size, note)
        return written

    def _take_back(self, data: memoryview, size: int, before: Status) -> None:
        """Cut off what was written of *data*, so that it may be offered again."""
        if self._file is not None and self._file.ours:
            if self._calls.status(self._fd).size > size:
                os.ftruncate(self._fd, size)
            return
        # The descriptor was closed under our hands, and maybe the lock's too: so others may have written meanwhile.
        with Descriptor.at(self.path, os.O_RDWR) as file:
            if _same(self._calls.status(file.fd), before):
                added = file.read_at(size, len(data) + 1)
                if added and data[: len(added)] == added:
                    os.ftruncate(file.fd, size)

    def _open(self) -> None:
        """Hold the file that bears our name now: another process may have rotated it, somebody deleted it."""
        self.follow()
        if self._fd >= 0 and not self._calls.is_open_at(self._fd, self.path):
            self._settle()
            self.close()
        if self._fd < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._file = Descriptor.at(self.path, flags)
            self._fd, self._end, self._timed = self._file.fd, -1, False

    def _settle(self) -> None:
        # A later `flush` reaches the new file only.
        if self.durable and self._file is not None and self._file.ours:
            os.fsync(self._fd)

    def _rotate(self, now: float) -> bool:
        self._settle()
        if self.sealer is not None:
            self.sealer.before_rotation()
        self.close()
        try:
            self._move()
        except OSError as error:
            self._on_trouble(error)
            self._retry_rotation_at = now + ROTATION_RETRY
            return False
        self._retry_rotation_at = 0.0
        self._on_rotated(self.path)
        return True

    def _move(self) -> None:
        directory, name, keep = self.path.parent, self.path.name, self.policy.backups
        if self._calls.rotate is not None and self._hold_open:
            self._calls.rotate(directory, name, keep)
            return
        for move in shift(names_in(directory), name, keep):
            _do(directory, move)


def written_already(directory: Path, name: str, intent: Intent, data: Any) -> int:
    """Return how many bytes of the batch of *intent*, in whole lines, its file has.

    It is looked for by device and inode, then by content: the file may have been compressed, or restored from a copy,
    and its inode be another's by now. When it is gone nothing is known to be written, and writing again is better
    than losing. Under the directory's lock, so that no name moves meanwhile.
    """
    batch = bytes(data[intent.start : intent.end])

    def distance(path: Path) -> tuple[bool, bool]:
        status = path.stat()
        same = (status.st_dev & U64, status.st_ino & U64) == (intent.device, intent.inode)
        return not same, path.suffix == ".gz"

    # Whoever opens a pipe waits for its other end.
    ours = [found for found in files_in(directory) if found == name or backup_number(found, name)]
    for path in sorted(map(directory.joinpath, ours), key=distance):
        count = _common(batch, _piece(path, intent.offset, len(batch)))
        if count:
            return count
    return 0


def _common(batch: bytes, found: bytes) -> int:
    """Return the length of the whole lines that both begin with."""
    if batch == found:
        return len(batch)
    length = 0
    while (end := batch.find(b"\n", length) + 1) and batch[length:end] == found[length:end]:
        length = end
    return length


def _piece(path: Path, offset: int, length: int) -> bytes:
    import gzip  # noqa: PLC0415 - after a crash alone
    import zlib  # noqa: PLC0415

    try:
        if path.suffix != ".gz":
            return read_file(path, length, offset, opener=open_file)
        with gzip.open(io.BytesIO(read_file(path, opener=open_file))) as file:
            file.seek(offset)
            return file.read(length)
    except (gzip.BadGzipFile, EOFError, zlib.error):  # damaged: nothing can be said of it
        return b""


def _same(one: Status, other: Status) -> bool:
    """Whether both are of one file."""
    return (one.device, one.inode) == (other.device, other.inode)


def _do(directory: Path, move: Move) -> None:
    source = directory / move.source
    if move.target is None:
        source.unlink(missing_ok=True)
    else:
        source.rename(directory / move.target)


def _line_end(batch: memoryview) -> int:
    """Return the offset just behind the first newline."""
    step = 4096
    for begin in range(0, len(batch), step):
        found = bytes(batch[begin : begin + step]).find(b"\n")
        if found >= 0:
            return begin + found + 1
    return len(batch)


def _last_line_end(batch: memoryview, limit: int) -> int:
    """Return the offset just behind the last newline before *limit*, or 0."""
    step = 4096
    end = max(min(limit, len(batch)), 0)
    while end > 0:
        begin = max(end - step, 0)
        found = bytes(batch[begin:end]).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
