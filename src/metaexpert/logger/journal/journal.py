"""The crash-safe buffer: memory-mapped segments that outlive the process.

A call appends its line with one `write`: one C call, atomic under the interpreter lock, no system call. The line is
then in the page cache and survives ``kill -9``. `docs/journal.md` describes the bytes.

Bound: at most `limit` bytes of segments per journal, and as much again for what may not be refused; beyond that
`JournalLane.append` returns False. An append wakes no thread; the writing thread looks by itself.

Threads: `JournalLane.write` by any thread, without a lock; `append` takes the lane's re-entrant lock when it needs
another segment, so that a signal handler may log in the middle of it. The writing side (`pending`, `recycle`,
`prepare`) is for one thread at a time and takes no lock: the holder of a lock may have been interrupted by a handler
that waits for the writing thread. Callers add at the end of a lane, the writing thread removes at its beginning, each
in one step.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.journal.owner import CRASH_SUFFIX, description
from metaexpert.logger.journal.segment import HEADER_SIZE, LOCK_SUFFIX, SEGMENT_SUFFIX, Pending, Segment
from metaexpert.logger.system.calls import NETWORK_FILE_SYSTEMS, file_system_of
from metaexpert.logger.system.descriptors import make_private_directory
from metaexpert.logger.system.interrupts import is_injected, let_pass, put_back, put_off
from metaexpert.logger.system.locks import FileLock

#: A segment is a share of the journal, but neither so small that calls keep changing it nor so large that it idles.
USUAL_SEGMENT: Final = 512 * 1024
LARGEST_SEGMENT: Final = 1024 * 1024
SMALLEST_SEGMENT: Final = 4 * 1024
SHARE: Final = 16
#: Emptied segments that a lane keeps; more are given back.
MAX_SPARE: Final = 2
#: Seconds that a caller leaves to the writing thread after it has filled a segment while others wait: as long as it
#: takes a thread to wake up and take the interpreter lock, for which it would otherwise wait a hundred times as long.
_YIELD: Final = 0.00005
#: Tries for an owner lock of one's own.
_CLAIMS: Final = 10
#: Seconds between two tries to get the journal on disk.
_CLAIM_PAUSE: Final = 5.0
#: Seconds after which it asks again for memory that it did not get: no call should pay for trying.
_NO_MEMORY_PAUSE: Final = 0.1
_NOT_DURABLE: Final = "the journal cannot be kept on disk; what waits would not survive a crash"


class JournalLane:
    """The segments of one file. `write` is replaced whenever a new segment becomes the active one."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self._name = name
        self._lock = threading.RLock()
        self._segments: deque[Segment] = deque()
        self._spare: list[Segment] = []
        self._epochs = count(1)
        self._size = journal.segment_size
        self._shut = False
        #: Appends one line; raises ValueError when it does not fit.
        self.write: Callable[[bytes], Any] = _full

    def append(self, line: bytes, *, reserve: bool = False) -> bool:
        """Append *line*, on a new segment if need be. Returns False when the journal is full.

        Args:
            line: The line with its newline.
            reserve: Whether the reserve may be used.
        """
        while True:
            write = self.write
            try:
                write(line)
            except ValueError:
                before = put_off()  # an exception in the middle of it would seem to be the disk's
                try:
                    found = self._next_segment(write, len(line), reserve=reserve)
                finally:
                    if before is not None:
                        put_back(before)
                if not found:
                    return False
            else:
                return True

    def _next_segment(self, full: Callable[[bytes], Any], length: int, *, reserve: bool) -> bool:
        with self._lock:
            if self.write is not full:  # another thread was faster
                return True
            if self._shut:
                return False
            if full is _at_rest:
                self.write = _writer(self._segments[-1].tail)
                self._journal.on_stir()
                return True
            segment = self._take(length, reserve=reserve)
            if segment is None:
                return False
            if self.write is not full:  # a signal handler or __del__ logged in the middle of this
                self._spare.append(segment)
                return True
            segment.open(next(self._epochs))
            # From here on in this order: whatever interrupts between two steps finds a lane that works.
            self._segments.append(segment)
            self.write = _writer(segment.tail)
            waiting = list(self._segments)[:-1]
            for old in waiting:
                old.seal()
            if len(waiting) > 1:  # filled faster than drained: larger pieces are drained in fewer turns
                self._size = min(self._size * 2, self._journal.largest_segment)
        self._journal.on_growth()
        if len(waiting) > 1:
            time.sleep(_YIELD)
        return True

    def _take(self, length: int, *, reserve: bool) -> Segment | None:
        for segment in list(self._spare):
            if segment.size - HEADER_SIZE >= length and self._journal.keeps(segment):
                with contextlib.suppress(ValueError):  # a signal handler or __del__ took it in the middle of this
                    self._spare.remove(segment)
                    return segment
        return self._journal.new_segment(self._name, max(self._size, length + HEADER_SIZE), reserve=reserve)

    def prepare(self) -> None:
        """Have a spare segment ready, so that no caller has to make one. For the writing thread."""
        if self._segments and not self._spare:
            segment = self._journal.new_segment(self._name, self._size, reserve=False)
            if segment is not None:
                segment.warm()
                self._spare.append(segment)

    def rest(self) -> None:
        """Have the next line tell `Journal.on_stir`: until it comes nobody looks. For the writing thread."""
        # Never wait: the holder of the lock may have been interrupted by a caller that waits for us.
        if self._segments and self._lock.acquire(blocking=False):
            try:
                if not self._shut:
                    self.write = _at_rest
            finally:
                self._lock.release()

    def renew(self) -> None:
        """Replace an active segment that would not outlive the process, if a better one can be had.

        It is memory, from a time when the disk took nothing, or its file was deleted. For the writing thread.
        """
        active = self._segments[-1] if self._segments else None
        for segment in [*self._spare, *([active] if active else [])]:
            if segment.path is not None and not segment.path.exists():
                segment.lost = True
        if active is None or self._journal.keeps(active):
            return
        if not any(map(self._journal.keeps, self._spare)):
            fresh = self._journal.new_segment(self._name, self._size, reserve=True)
            if fresh is None:
                return
            if not self._journal.keeps(fresh):
                fresh.discard()
                return
            self._spare.append(fresh)
        active.seal()
        # Never wait: the holder of the lock may have been interrupted by a caller that waits for us.
        if self._lock.acquire(blocking=False):
            try:
                for spare in [spare for spare in self._spare if not self._journal.keeps(spare)]:
                    self._spare.remove(spare)
                    spare.discard()
            finally:
                self._lock.release()

    def pending(self) -> Iterator[Pending]:
        """Yield what waits, oldest first. An active segment may grow meanwhile; the next look finds the rest."""
        segments = list(self._segments)
        for segment in segments[:-1]:  # the call that adds a segment seals the others, but may not have come to it yet
            segment.seal()
        for segment in segments:
            yield Pending(segment, segment.drained, segment.end(), segment is not segments[-1])

    def recycle(self, segment: Segment) -> None:
        """Take back a sealed segment whose lines have all been drained."""
        if segment not in self._segments or segment is self._segments[-1]:
            return
        self._segments.remove(segment)
        if self._journal.keeps(segment) and len(self._spare) < MAX_SPARE and segment.size >= self._size:
            segment.clear(segment.end())
            self._spare.append(segment)
        else:
            segment.discard()

    def segments(self) -> list[Segment]:
        """Return its segments, those to spare too."""
        return [*self._segments, *self._spare]

    @property
    def only(self) -> Segment | None:
        """The one segment that holds lines; None when there are several, or none."""
        segments = list(self._segments)
        return segments[0] if len(segments) == 1 else None

    @property
    def allocated(self) -> int:
        """Bytes of its segments, whatever is in them."""
        return sum(segment.size for segment in self.segments())

    @property
    def waiting(self) -> int:
        """Bytes that no file has."""
        return sum(segment.waiting for segment in list(self._segments))

    @property
    def open_room(self) -> int:
        """Bytes that may still come before `Journal.on_growth` is told."""
        active = list(self._segments)[-1:]
        return sum(segment.size - segment.drained - segment.waiting for segment in active)

    @property
    def empty(self) -> bool:
        """Whether every line has been drained."""
        return not any(segment.waiting for segment in list(self._segments))

    def shut(self) -> None:
        """Refuse every further line; what is there can still be drained."""
        with self._lock:
            self._shut, self.write = True, _full
            for segment in self._segments:
                segment.seal()

    def close(self) -> None:
        """Give everything back. Lines that have not been drained stay on disk, if the journal is there."""
        with self._lock:
            self.write = _full
            for segment in self._segments:
                segment.seal()
                if segment.end() > segment.drained and segment.path is not None:
                    segment.release()
                else:
                    segment.discard()
            for segment in self._spare:
                segment.discard()
            self._segments.clear()
            self._spare.clear()

    def forget(self) -> None:
        """Leave, in a forked child, the parent's segments to the parent."""
        self._lock = threading.RLock()
        self._size = self._journal.segment_size
        self.write = _full
        for segment in [*self._segments, *self._spare]:
            segment.release()
        self._segments.clear()
        self._spare.clear()


def _full(_: bytes) -> None:
    raise ValueError("no segment is open")


def _at_rest(_: bytes) -> None:
    raise ValueError("the writing thread is to be told first")


def _writer(tail: Any) -> Callable[[bytes], Any]:
    write: Callable[[bytes], Any] = tail.write
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return write
    lock = threading.Lock()  # without the interpreter lock two writes could take the same position

    def locked(line: bytes) -> None:
        with lock:
            write(line)

    return locked


class Journal:
    """The segments of one log directory in this process, and the lock that says whose they are.

    Args:
        directory: Where its files lie; None keeps everything in memory.
        limit: Bytes of segments for ordinary entries; the reserve is as large again.
        on_trouble: Called with a sentence and the error when it has to fall back to memory.
    """

    def __init__(
        self, directory: Path | None, limit: int, on_trouble: Callable[[str, OSError | None], None] = lambda *_: None
    ) -> None:
        self._directory = directory
        self._on_trouble = on_trouble
        self.limit = limit
        self.segment_size = max(SMALLEST_SEGMENT, min(limit // SHARE, USUAL_SEGMENT))
        self.largest_segment = max(self.segment_size, min(limit // SHARE * 2, LARGEST_SEGMENT))
        #: Called whenever a lane has gone on to another segment.
        self.on_growth: Callable[[], None] = lambda: None
        #: Called when a line comes into a lane at rest.
        self.on_stir: Callable[[], None] = lambda: None
        self.lanes: dict[str, JournalLane] = {}
        self._numbers = count(1)
        self._owner: FileLock | None = None
        #: Locks of journals that have been moved or hidden, by their ids, for as long as something waits there.
        self._former: dict[str, FileLock] = {}
        self._next_claim = self._refused_until = 0.0
        self._described = self._forked = False
        #: The exception that ends the process, as text, once it is known.
        self._error = ""
        self._claim()

    def lane(self, name: str) -> JournalLane:
        """Return the lane of the file *name*."""
        if name not in self.lanes:
            self.lanes[name] = JournalLane(self, name)
        return self.lanes[name]

    @property
    def durable(self) -> bool:
        """Whether segments outlive the process."""
        return self._owner is not None

    def used(self) -> int:
        """Return the bytes that wait in all lanes."""
        return sum(lane.waiting for lane in list(self.lanes.values()))

    def new_segment(self, name: str, size: int, *, reserve: bool) -> Segment | None:
        """Return a new segment of *size* bytes, or None when the journal is full."""
        if time.monotonic() < self._refused_until:
            return None
        allocated = sum(lane.allocated for lane in list(self.lanes.values()))
        if allocated and allocated + size > self.limit * (2 if reserve else 1):
            return None
        path = self._path(f".{next(self._numbers)}{SEGMENT_SUFFIX}")
        try:
            self._describe()
            return Segment(size, name, path)
        except OSError as error:
            if is_injected(error):
                if path is not None:
                    path.unlink(missing_ok=True)
                raise
            self._on_trouble(_NOT_DURABLE, error)
        try:
            return Segment(size, name, None)
        except OSError as error:
            let_pass(error)
            self._on_trouble("the journal gets no memory", error)
            self._refused_until = time.monotonic() + _NO_MEMORY_PAUSE
            return None

    def close(self) -> None:
        """Close all lanes and give up the ownership."""
        for lane in self.lanes.values():
            lane.close()
        if self._owner is not None:
            self._owner.release(delete=not self._error and not self._leftovers(self.id))
            self._owner = None
        self._release_former()

    def after_fork(self) -> None:
        """Start a journal of one's own in a forked child; the parent's keeps its lock."""
        for lane in self.lanes.values():
            lane.forget()
        for owner in [*self._former.values(), *([self._owner] if self._owner else [])]:
            owner.abandon()
        self._former.clear()
        self._forked, self._error = True, ""
        self._claim()

    def ends(self, error: str) -> None:
        """Note that an uncaught exception ends the process. Raises OSError."""
        self._error, self._described = error, False
        self._describe()

    @property
    def crash_file(self) -> Path | None:
        """Where `faulthandler` may write, for the next start to read."""
        return self._path(CRASH_SUFFIX)

    def _describe(self) -> None:
        if self._owner is not None and not self._described:
            self._described = True
            self._owner.write(description(forked=self._forked, **({"error": self._error} if self._error else {})))

    def keeps(self, segment: Segment) -> bool:
        """Return whether *segment* is used again: memory was a makeshift if there is a disk to be had."""
        return self._owner is None or (segment.journal == self.id and not segment.lost)

    def check(self) -> None:
        """Make sure that the journal is on disk, and that its lock is held. For the writing thread, now and then.

        The disk may have taken nothing for a while; the directory may have been deleted, or our descriptors closed.
        """
        if self._directory is None:
            return
        if self._owner is None:
            if time.monotonic() >= self._next_claim:
                self._claim()
        elif not self._owner.held:
            self._on_trouble("the journal was deleted, moved, or its lock was closed; it is made anew", None)
            if self._owner.effective:  # else somebody takes it for a dead one's, as soon as it is seen again
                self._former[self.id] = self._owner
                self._claim()
            else:
                self._owner.release(delete=False)
                self._claim(self.id)
        elif self._described:
            with contextlib.suppress(OSError):  # no right, or a disk that takes nothing: it seems to have ended earlier
                self._owner.touch()
        for lane in list(self.lanes.values()):
            lane.renew()
        self._release_former()

    def _release_former(self) -> None:
        used = {segment.journal for lane in list(self.lanes.values()) for segment in lane.segments()}
        for former in set(self._former) - used:
            # A segment that was given back while it was hidden is still there: a recovery sees to it.
            self._former.pop(former).release(delete=not self._leftovers(former))

    def _claim(self, wish: str = "") -> None:
        self.id, self._owner, self._described = "", None, False
        if self._directory is None:
            return
        self._next_claim = time.monotonic() + _CLAIM_PAUSE
        try:
            make_private_directory(self._directory)
            if file_system_of(self._directory) in NETWORK_FILE_SYSTEMS:
                self._on_trouble("the log directory is on a network: what waits would not survive a crash", None)
                return
            for _ in range(_CLAIMS):  # one who recovers may be faster, and take a lock just made for a dead one's
                self.id, wish = wish or uuid.uuid4().hex, ""
                owner = FileLock(self._directory / (self.id + LOCK_SUFFIX))
                if owner.acquire():
                    self._owner = owner
                    return
            self._on_trouble(_NOT_DURABLE, None)
        except OSError as error:
            self._on_trouble(_NOT_DURABLE, error)

    def _path(self, ending: str) -> Path | None:
        if self._directory is None or self._owner is None:
            return None
        return self._directory / f"{self.id}{ending}"

    def _leftovers(self, journal: str) -> bool:
        return self._directory is not None and any(self._directory.glob(f"{journal}.*{SEGMENT_SUFFIX}"))
