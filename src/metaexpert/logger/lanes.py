"""A log directory of this process: its files, each with a queue, and one sequence over all of them.

Bound: what waits is counted against the pipeline that it came from (`journal_size`); nothing is refused here. A
batch that a file does not take stays at the head of its queue and is offered again, after a growing pause.

Threads: any thread may `put`; the writing thread drains, and any other only when there is none.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from metaexpert.logger import schema
from metaexpert.logger.diagnostics import Diagnostics
from metaexpert.logger.formatters import Header
from metaexpert.logger.handlers.archive import Archivist
from metaexpert.logger.handlers.base import Sink
from metaexpert.logger.handlers.file import RotatingFile
from metaexpert.logger.handlers.locking import DirectoryLock, make_directory
from metaexpert.logger.handlers.rotation import RotationPolicy

#: Bytes handed to a file at once: large enough that the system call is cheap, small enough to stay polite.
BATCH: Final = 256 * 1024
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
#: Seconds between two looks at whether somebody has deleted or moved a file that nothing is written to.
_LOOK: Final = 0.5
#: Longest wait for another thread that drains, in seconds.
_PATIENCE: Final = 1.0


class Owner(Protocol):
    """Who waits for a line to be written: a pipeline."""

    def written(self, levels: Iterable[str], size: int) -> None:
        """Note that *size* bytes are in their file; *levels* are those of the entries that came first there.

        Called by one thread at a time, which must not be made to wait: a caller may be waiting for it.
        """
        ...

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Show on standard error what of *lines*, which no file takes, must not go unseen."""
        ...


class Waiting(NamedTuple):
    """A line on its way. *level* is the entry's, but empty in all but the first of the files that it goes to."""

    line: bytes
    owner: Owner
    level: str


class Lane:
    """The queue of one file. `put` may be called by any thread, `drain` by one at a time.

    Args:
        sink: Where the lines go.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(self, sink: Sink, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.sink = sink
        self._monotonic = monotonic
        self._queue: deque[Waiting] = deque()
        self._head: list[Waiting] = []
        self._batch = b""
        self._done = 0
        self._pause = 0.0
        self._next_try = 0.0
        #: The error of the last try, while the file takes nothing.
        self.error: OSError | None = None
        #: How many tries have failed.
        self.failures = 0
        self.needs_sync = False

    def put(self, line: bytes, owner: Owner, level: str) -> None:
        """Queue *line* (see `Waiting`)."""
        self._queue.append(Waiting(line, owner, level))

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queue and not self._head

    def drain(self, *, insist: bool = False) -> bool:
        """Write all that waits now; if nothing does, look. Returns whether the file took it.

        What comes meanwhile is left to the next call: a storm of entries must not keep the other files waiting.

        Args:
            insist: Try also while the pause after an error lasts.
        """
        if self.error is not None and not insist and self._monotonic() < self._next_try:
            return False
        if self.empty:
            self.look()
            return self.error is None
        left = len(self._queue)
        try:
            while self._head or left > 0:
                if not self._head:
                    left -= self._take()
                self._done += self.sink.write(memoryview(self._batch)[self._done :])
                self.error, self._pause, self.needs_sync = None, 0.0, True
                if self._done >= len(self._batch):
                    head, self._head, self._done = self._head, [], 0
                    _tell_owners(head)
        except OSError as error:
            self.fail(error)
            return False
        return True

    def look(self) -> None:
        """Make sure that the file is there, although nothing is to be written."""
        try:
            self.sink.write(memoryview(b""))
        except OSError as error:
            self.fail(error)
        else:
            self.error, self._pause = None, 0.0

    def fail(self, error: OSError) -> None:
        """Note that the file takes nothing: try again after a pause, and show what must not go unseen meanwhile."""
        first, self.error = self.error is None, error
        self.failures += 1
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._next_try = self._monotonic() + self._pause
        if first:  # entries that come from now on see the error, and are shown by their owner
            for owner, lines in itertools.groupby([*self._head, *self._queue.copy()], key=lambda w: w.owner):
                owner.stranded([waiting.line for waiting in lines if waiting.level])

    def sync(self) -> None:
        """Force what was written to the device. Raises OSError."""
        if self.needs_sync:
            self.sink.flush()
            self.needs_sync = False

    def forget(self) -> None:
        """Drop what waits: in a forked child it is the parent's."""
        self._queue.clear()
        self._head, self._batch, self._done = [], b"", 0

    def _take(self) -> int:
        size = 0
        while self._queue and size < BATCH:
            waiting = self._queue.popleft()
            self._head.append(waiting)
            size += len(waiting.line)
        self._batch = b"".join(waiting.line for waiting in self._head)
        return len(self._head)


def _tell_owners(head: Iterable[Waiting]) -> None:
    for owner, lines in itertools.groupby(head, key=lambda waiting: waiting.owner):
        mine = list(lines)
        owner.written([waiting.level for waiting in mine if waiting.level], sum(len(w.line) for w in mine))


class LogDirectory:
    """Everything that the loggers of one directory share. Made by `open_directory`, released by `leave_directory`.

    Args:
        path: The directory.
        header: Header fields of the reports about it.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(self, path: Path, header: Header, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._monotonic = monotonic
        self._private = path / schema.PRIVATE_DIRECTORY
        self.diagnostics = Diagnostics(path, header)
        self.lock = DirectoryLock(self._private / "lock", on_unsupported=self._lock_trouble)
        self.archivist = Archivist(path, self._private, self.lock, self._archive_trouble)
        self.lanes: dict[str, Lane] = {}
        self._files: dict[str, RotatingFile] = {}
        self.users = 0
        self._guard = threading.RLock()
        self._draining = self._again = False
        self._insist = self._wants_sync = self._wants_archive = False
        self._next_look = 0.0
        # Numbers go on when the last logger of a directory closes and another opens: they never repeat in a process.
        self.sequence = _sequences.setdefault(str(path), itertools.count(1))

    def prepare(self) -> None:
        """Make the directory and tidy up. What fails is told and tried again by the first write."""
        try:
            make_directory(self._private)
            if self.archivist.has_leftovers():
                self.archivist.poke(always=True)
        except OSError as error:
            self.diagnostics.report(f"prepare {self.path}", f"{self.path} cannot be prepared", error=error)

    def lane(self, name: str, policy: RotationPolicy) -> Lane:
        """Return the lane of the file *name*, made with *policy* when it is new; the first policy stays in force."""
        if name not in self.lanes:
            sink = RotatingFile(
                self.path / name,
                policy,
                self.lock,
                on_rotated=lambda _: self.archivist.poke(),
                on_trouble=lambda error: self._rotation_trouble(name, error),
            )
            self._files[name] = sink
            self._add(name, Lane(sink), policy.compress)
        elif self._files[name].policy != policy:
            text = f"{name} is open already with other rotation settings, which stay in force for all its loggers"
            self.diagnostics.report(f"settings {name}", text, level="warning")
        return self.lanes[name]

    def request(self, *, insist: bool = False, sync: bool = False, archive: bool = False) -> None:
        """Ask the next `drain` to try also files that pause after an error, to force all to the device, or to tidy."""
        self._insist = self._insist or insist
        self._wants_sync = self._wants_sync or sync
        self._wants_archive = self._wants_archive or archive

    def drain(self) -> None:
        """Write what waits in all lanes. What fails is told, and stays in its lane (see `Lane.error`)."""
        self._again = True
        # Who holds this may have been interrupted by one who waits for us: he goes on with it when he is back.
        if not self._guard.acquire(timeout=_PATIENCE):
            return
        try:
            # A signal handler or __del__ that comes here while its thread is inside leaves its entry to the outer call.
            while self._again and not self._draining:
                self._again = False
                self._draining = True
                try:
                    self._drain_lanes()
                finally:
                    self._draining = False
        finally:
            self._guard.release()

    def keep_durable(self) -> None:
        """Force files to the device before they are rotated away."""
        for file in self._files.values():
            file.durable = True

    @property
    def error(self) -> OSError | None:
        """Why a file takes nothing at the moment, or None."""
        return next((lane.error for lane in self.lanes.values() if lane.error is not None), None)

    def release(self, patience: float = 0.0) -> None:
        """Close files and lock, and tell what is left to tell. A write that takes longer than *patience* keeps them."""
        if self._guard.acquire(timeout=patience):
            try:
                for lane in self.lanes.values():
                    lane.sink.close()
                self.lock.close()
            finally:
                self._guard.release()
        self.diagnostics.summarise(final=True)

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's to write, and so are its locks and descriptors."""
        self._guard = threading.RLock()
        self._draining = False
        self.lock.after_fork()
        self.archivist.after_fork()
        self.diagnostics.after_fork()
        self.sequence = _sequences[str(self.path)] = itertools.count(1)
        for lane in self.lanes.values():
            lane.forget()
            lane.sink.close()

    def _drain_lanes(self) -> None:
        insist, self._insist = self._insist, False
        sync, self._wants_sync = self._wants_sync, False
        look = self._monotonic() >= self._next_look
        if look:
            self._next_look = self._monotonic() + _LOOK
        for lane in self.lanes.values():
            failures = lane.failures
            if not lane.empty or lane.error is not None:
                lane.drain(insist=insist)
            elif look:
                lane.look()
            if lane.failures > failures:
                self.diagnostics.report(f"write {self.path}", "log files cannot be written", error=lane.error)
        if sync:
            self._sync()
        if self._wants_archive:
            self._wants_archive = False
            self.archivist.poke()
        self.diagnostics.summarise()

    def _sync(self) -> None:
        try:
            for lane in self.lanes.values():
                lane.sync()
        except OSError as error:
            self.diagnostics.report(f"fsync {self.path}", "log files cannot be forced to the device", error=error)

    def _add(self, name: str, lane: Lane, compress: bool) -> None:
        self.archivist.bases.add(name)
        if compress:
            self.archivist.compressed.add(name)
        self.lanes = {**self.lanes, name: lane}  # the writing thread may be walking over them
        self._next_look = 0.0  # so that it makes the file at once: a new directory shows its three files

    def _rotation_trouble(self, name: str, error: OSError) -> None:
        if self.archivist.busy:  # on Windows our own reading may stand in the way; then the next try will do
            return
        text = f"{name} cannot be rotated and goes on growing; tried again every few seconds"
        self.diagnostics.report(f"rotate {name}", text, level="warning", error=error)

    def _archive_trouble(self, what: str, error: OSError) -> None:
        self.diagnostics.report(f"archive {self.path}", what, level="warning", error=error)

    def _lock_trouble(self, error: OSError) -> None:
        text = f"{self.path} knows no file locks; only one process should log there"
        self.diagnostics.report(f"lock {self.path}", text, level="warning", error=error)


_directories: dict[str, LogDirectory] = {}
_sequences: dict[str, itertools.count[int]] = {}
_guard = threading.RLock()


def open_directory(path: Path, header: Header) -> LogDirectory:
    """Return the directory of *path*, shared with the process's other loggers there; count one more user."""
    key = os.path.realpath(path)
    with _guard:
        if key not in _directories:
            _directories[key] = LogDirectory(Path(key), header)
            _directories[key].prepare()
        _directories[key].users += 1
        return _directories[key]


def leave_directory(directory: LogDirectory, patience: float = 0.0) -> None:
    """Count one user less; the last one releases the directory (see `LogDirectory.release`)."""
    with _guard:
        directory.users -= 1
        if directory.users == 0:
            directory.release(patience)
            if _directories.get(str(directory.path)) is directory:
                del _directories[str(directory.path)]


def after_fork() -> None:
    """Start anew in a child: another thread of the parent may have held the lock."""
    global _guard  # noqa: PLW0603
    _guard = threading.RLock()
    for directory in _directories.values():
        directory.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
