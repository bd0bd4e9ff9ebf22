"""The care of backups: gzip, the directory's budget, and the time index that spares readers most bytes.

It runs on a thread that lives only while there is work, never on the calling and never on the writing path. Of the
processes that share a directory one at a time does this work, under a lock of its own. The lock that writers need is
held for renames and deletions only. A backup may move up while it is compressed, so it is found again by its inode. A
copy lies in the private directory until it is complete; the next work removes unfinished and doubled copies.

Where a watcher keeps house, the work is left to it (`metaexpert.logger.journal.watched`).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.entry.time_index import stamp_of
from metaexpert.logger.files._indexer import PIECE, Index, Indexer, key_of, spans_of
from metaexpert.logger.files.rotation import FileFact, over_budget
from metaexpert.logger.journal.segment import U64
from metaexpert.logger.journal.watched import Job, leave_to_watcher
from metaexpert.logger.schema import backup_number
from metaexpert.logger.system.calls import Calls, files_in, getpid, monotonic, paths_in, try_lock
from metaexpert.logger.system.descriptors import Descriptor, open_private
from metaexpert.logger.system.forks import ForkSafeThread
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.system.native import core

_SUFFIX: Final = ".gz"
_UNFINISHED: Final = ".compressing"
_LEVEL: Final = 6
#: Bytes compressed, and indexed, between two looks at whether to stop: half a millisecond.
_PIECE: Final = PIECE
#: Longest wait for that look, in seconds; a device that hangs must not hold up a fork for ever.
_LONGEST_PIECE: Final = 5.0
#: Longest wait for another process that does the same work, and the pause between two tries, in seconds.
_PATIENCE: Final = 600.0
_PAUSE: Final = 0.02
#: Seconds between two pieces that are only indexed. Reading releases the interpreter for some microseconds, too few
#: for a thread that waits for it to wake up: it was kept out for as long as a whole backup took.
_COURTESY: Final = 0.0002
#: How long the end of a program waits for the index of its backups; the next start goes on with it.
_INDEX_PATIENCE: Final = 2.0


class _Stopped(Exception):  # noqa: N818 - a signal, not an error
    """The work is to end now; it will be begun anew."""


class _Hurried(Exception):  # noqa: N818 - likewise
    """There is something better to do than what is only a convenience: a rotation came, or the program ends."""


class Archivist:
    """Compresses, deletes and indexes backups of one directory.

    Args:
        directory: The log directory.
        private: Where unfinished copies lie.
        lock: The lock of the directory, held for renames and deletions only.
        on_trouble: Called with what could not be done and why.
        leaves: Whether to leave the work to a watcher, where one keeps house.
    """

    def __init__(
        self,
        directory: Path,
        private: Path,
        lock: DirectoryLock,
        on_trouble: Callable[[str, OSError], None],
        *,
        leaves: bool = True,
    ) -> None:
        self._leaves = leaves
        self._directory = directory
        self._private = private
        self._lock = lock
        self._on_trouble = on_trouble
        self._one_process = DirectoryLock(private / "archive", _PATIENCE, _PAUSE, calls=Calls(try_lock=self._try_lock))
        self._one_process.close()  # opened for each work and closed behind it
        self._thread = ForkSafeThread(
            "metaexpert-archive", self._run, more=lambda: self._again and not self._stop, patience=_LONGEST_PIECE
        )
        self._again = False
        #: Whether a file was rotated since the last `poke`.
        self.waits = False
        self._index_until = math.inf
        # Bytes of what was compressed, before and after.
        self._plain = self._packed = 0
        #: Base names whose backups are compressed; names of all current files; bytes for all of them. Replaced, never
        #: changed: the thread walks over them while another file is opened.
        self.compressed: frozenset[str] = frozenset()
        self.bases: frozenset[str] = frozenset()
        self.budget: int | None = None

    @property
    def busy(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.running

    @property
    def _stop(self) -> bool:
        return self._thread.forking

    @property
    def _has_more(self) -> bool:
        """Whether there is work behind the one under way."""
        return self._again or self.waits

    def note(self, _: Path) -> None:
        """Note that a file was rotated: there may be work, at once if there is a budget, else for the next `poke`."""
        self.waits = True
        if self.budget is not None:
            self.poke()

    def poke(self, *, always: bool = False) -> None:
        """Start the work if there may be some, or *always*. Returns at once."""
        self.waits = False
        if not (always or self.compressed or self.budget is not None or self._has_backups()):
            return
        self._again = True
        # No more threads, or the interpreter is ending: `wait` does the work.
        with contextlib.suppress(RuntimeError):
            self._thread.start(wait=True)

    def wait(self, timeout: float | None) -> bool:
        """Wait until the work is done, at most *timeout* seconds. Returns whether it is.

        Work that found no thread is done here, now. After some seconds, the index and all that waits for another
        process are left to the next start.
        """
        self._index_until = monotonic() + _INDEX_PATIENCE
        if self.waits:
            self.poke()
        if self._thread.running:
            self._thread.join(timeout)
        if self._again and not self._thread.running and not self._stop:
            self._again = False
            self.work()
        self._index_until = math.inf
        return not self._thread.running

    def after_fork_in_child(self) -> None:
        """Forget, in the child, what the parent's thread was doing."""
        self._one_process.after_fork()
        self._again = False

    def has_leftovers(self) -> bool:
        """Return whether an earlier process left copies half done."""
        return bool(paths_in(self._private, end=_UNFINISHED))

    def work(self) -> None:
        """Compress what should be, meet the budget, then see to the index. Errors are told, never raised."""
        job = Job(sorted(self.bases), sorted(self.compressed), self.budget)
        if self._leaves and leave_to_watcher(self._private, job):
            return
        index = Index(self._private)
        try:
            with self._one_process:
                backups = self._tidy()
                self._try("the time index could not be read", index.load)
                for name in backups:
                    if not name.endswith(_SUFFIX) and self._is_compressed(name):
                        self._try("backups could not be compressed", partial(self._compress, name, index))
                if self.budget is not None:
                    self._try("old backups could not be deleted", self._meet_budget)
                self._index(index)
        except _Stopped:
            self._again = True
        except _Hurried:
            pass  # the next start goes on with it
        except OSError as error:
            self._on_trouble("backups could not be compressed or deleted", error)

    def _try(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except FileNotFoundError:
            pass  # moved or deleted meanwhile; a moved one is found under its new name by the next work
        except OSError as error:
            self._on_trouble(what, error)

    def _run(self) -> None:
        while self._again and not self._stop:
            self._again = False
            self.work()

    def _check(self) -> None:
        """Raise `_Stopped` if a fork waits. Called in each loop that asks the system something in each round."""
        if self._stop:
            raise _Stopped

    def _try_lock(self, fd: int) -> None:
        self._check()
        if monotonic() > self._index_until:  # the program ends, and the other process may be stopped
            raise _Hurried
        try_lock(fd)

    def _compress(self, name: str, index: Index) -> None:
        copy = self._private / f"{name}-{getpid()}{_SUFFIX}{_UNFINISHED}"
        indexer = Indexer()
        try:
            status = self._copy(self._directory / name, copy, indexer)
            with Descriptor.at(copy, os.O_RDONLY) as packed:
                index.note(key_of(packed), indexer.spans())
                self._plain, self._packed = self._plain + status.st_size, self._packed + os.fstat(packed.fd).st_size
            with self._lock:
                self._replace(copy, name, status)
        finally:
            copy.unlink(missing_ok=True)

    def _copy(self, source: Path, copy: Path, indexer: Indexer) -> os.stat_result:
        """Compress *source* into *copy*, with its time, and index it. Returns the status of what was compressed."""
        with (
            self._opened(source) as plain,
            Descriptor.at(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, opener=open_private) as target,
        ):
            status = os.fstat(plain.fd)
            with (
                io.BufferedWriter(_Raw(target)) as raw,
                gzip.GzipFile("", "wb", _LEVEL, raw, mtime=status.st_mtime) as packed,
            ):
                for piece in plain.pieces(size=_PIECE):
                    self._check()
                    packed.write(piece)
                    indexer.add(piece)
        os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        return status

    def _opened(self, path: Path) -> Descriptor:
        with self._lock:  # else a rotation may move it while it is opened, which looks as if it were taken from us
            return Descriptor.at(path, os.O_RDONLY)

    def _replace(self, copy: Path, name: str, status: os.stat_result) -> None:
        base = next(base for base in self.compressed if backup_number(name, base))
        # In one call: hundreds of looks, each with a wait for the interpreter, would keep the lock from the writers.
        known = status.st_dev & U64, status.st_ino & U64, status.st_size
        if hasattr(core, "replace") and core.replace(self._directory, base, copy, *known):
            return
        for path in paths_in(self._directory, base):
            self._check()
            if backup_number(path.name, base) and _same(path.stat(), status):
                packed = copy.replace(path.with_name(path.name + _SUFFIX))
                try:
                    path.unlink()
                except OSError:  # Windows, while somebody reads it: better none compressed than both there
                    packed.unlink()
                    raise
                return

    def _meet_budget(self) -> None:
        with self._lock:
            found = [(name, self._status(name)) for name in files_in(self._directory)]
            files = [(name, status) for name, status in found if stat.S_ISREG(status.st_mode)]
            facts = [FileFact(name, self._size(name, status), status.st_mtime) for name, status in files]
            for name in over_budget(facts, self.bases, self.budget or 0):
                (self._directory / name).unlink(missing_ok=True)

    def _status(self, name: str) -> os.stat_result:
        self._check()
        return (self._directory / name).lstat()

    def _size(self, name: str, status: os.stat_result) -> int:
        """Return the size of a file; of a backup that the next work will compress, what is to be expected then."""
        size = status.st_size
        waits = self._has_more and not name.endswith(_SUFFIX) and self._is_compressed(name)
        return int(size * self._packed / self._plain) if waits and self._plain else size

    def _is_compressed(self, name: str) -> bool:
        return any(backup_number(name, base) for base in self.compressed)

    def _has_backups(self) -> bool:
        try:
            return any(map(self._is_backup, files_in(self._directory)))
        except OSError:  # the work meets it again, and tells it
            return True

    def _look_at_backups(self) -> list[tuple[str, int, int]]:
        """Return name, size and time of modification, in nanoseconds, of each backup.

        No pipe of that name: it would hold up whoever opens it, and all writers with him.
        """
        if hasattr(core, "backups"):  # hundreds of looks: in Python, each waits for the interpreter
            looked: list[tuple[str, int, int]] = core.backups(self._directory, tuple(self.bases))
            return looked
        found = []
        for name in filter(self._is_backup, files_in(self._directory)):
            self._check()
            with contextlib.suppress(FileNotFoundError):
                status = (self._directory / name).stat()
                found.append((name, status.st_size, status.st_mtime_ns))
        return found

    def _is_backup(self, name: str) -> bool:
        return any(backup_number(name, base) for base in self.bases)

    def _index(self, index: Index) -> None:
        """Take in backups that are not there, drop those that are gone."""
        with self._lock:  # so that none moves from a name not yet looked at to one that was
            stamps = {name: stamp_of(size, modified) for name, size, modified in sorted(self._look_at_backups())}
        index.keep(set(stamps.values()))
        known = index.stamps
        try:
            for name, stamp in stamps.items():
                if stamp not in known:  # to open hundreds of them after each rotation would take too long
                    self._try("a backup could not be indexed", partial(self._index_backup, name, index))
        except _Hurried:
            pass
        finally:
            self._try("the time index could not be written", index.save)

    def _index_backup(self, name: str, index: Index) -> None:
        with self._opened(self._directory / name) as file:
            key = key_of(file)
            if key in index:  # by its former name
                return
            spans = spans_of(file, self._look, compressed=name.endswith(_SUFFIX))
            if key_of(file) == key:  # else somebody writes to it: the next work looks again
                index.note(key, spans)

    def _look(self) -> None:
        self._check()
        more = self._has_more and (self.compressed or self.budget is not None)
        if more or monotonic() > self._index_until:
            raise _Hurried
        if self._index_until == math.inf:
            time.sleep(_COURTESY)

    def _tidy(self) -> list[str]:
        """Delete what an earlier process left half done: copies, and backups that are there in both forms.

        Returns:
            The names of the backups.
        """
        for path in paths_in(self._private, end=_UNFINISHED):
            path.unlink(missing_ok=True)
        with self._lock:
            times = {name: modified for name, _, modified in self._look_at_backups()}
            for name, modified in times.items():
                # Last written at the same moment, as a compressed file and its source are.
                if times.get(name + _SUFFIX) == modified:
                    (self._directory / name).unlink()
        return sorted(times)


class _Raw(io.RawIOBase):
    """What writes into a descriptor for as long as it is ours; it does not close it."""

    def __init__(self, file: Descriptor) -> None:
        self._file, self._end = file, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = self._file.write_at(self._end, data)
        self._end += written
        return written


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether it is still the file that was compressed, with nothing added since."""
    return os.path.samestat(one, other) and one.st_size == other.st_size
