"""The lanes of a journal: the segments of one file, and what a line meets on its way into them.

Threads: any thread may call `JournalLane.write`, without a lock; `append` and `make_room` take the lane's re-entrant
lock when they need another segment, so that a signal handler may log in the middle of it. The writing side (`pending`,
`recycle`, `prepare`) is for one thread at a time and takes no lock: the holder of a lock may have been interrupted by a
handler that waits for the writing thread. Callers add at the end of a lane, the writing thread removes at its
beginning, each in one step.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from metaexpert.logger.journal.segment import HEADER_SIZE, Pending, Segment
from metaexpert.logger.system.forks import catch_up
from metaexpert.logger.system.interrupts import undisturbed
from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import Lock, RLock, sleep

if TYPE_CHECKING:
    from pathlib import Path

    from metaexpert.logger.journal.journal import Journal

#: Emptied segments that a lane keeps; more are given back.
MAX_SPARE: Final = 2
#: How often others may be faster in taking the room that was made, before a line is refused: a segment that takes no
#: line, as in the child of a fork whose preparations failed, must not hold up a call for ever.
_MOST_TRIES: Final = 1000
#: Seconds that a caller leaves to the writing thread after it has filled a segment while others wait: as long as it
#: takes a thread to wake up and take the interpreter lock, for which it would otherwise wait a hundred times as long.
_YIELD: Final = 0.00005


#: Where the core was compiled, calls find `write` there without asking Python.
_Base: Any = object if core is None else core.Lane


class JournalLane(_Base):  # type: ignore[misc]
    """The segments of one file. `write` is replaced whenever a new segment becomes the active one."""

    #: With more segments than this it is filled faster than drained.
    _most_waiting: ClassVar = 1

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self._name = name
        self._lock = RLock()
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
        for _ in range(_MOST_TRIES):
            try:
                self.write(line)
            except ValueError:
                if not self.make_room(len(line), reserve=reserve):
                    return False
            else:
                return True
        return False

    def has_room(self, length: int) -> bool:
        """Return whether `write` takes a line of *length* bytes now."""
        tail = getattr(self.write, "__self__", None)
        segment = next((segment for segment in list(self._segments)[::-1] if segment.tail is tail), None)
        try:
            return segment is not None and bool(segment.size - segment.tail.tell() >= length)
        except ValueError:  # given back meanwhile
            return False

    def make_room(self, length: int, *, reserve: bool = True) -> bool:
        """Go on to another segment if need be. Returns whether `write` takes a line of *length* bytes next.

        Another thread may be faster, and take the room.
        """
        catch_up()  # a segment of a parent takes nothing
        write = self.write
        if self.has_room(length):
            return True
        # An exception in the middle of it would seem to be the disk's.
        return undisturbed(self._next_segment, write, length, reserve=reserve)

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
            # In this order: whatever interrupts between two steps finds a lane that works. An open segment takes lines
            # from threads that slept since an earlier epoch of it, and no later line may come into one before it.
            waiting = list(self._segments)
            for old in waiting:
                old.seal()
            if self.write is not full:  # a signal handler or __del__ logged in the middle of this
                self._spare.append(segment)
                return True
            segment.open(next(self._epochs))
            self._segments.append(segment)
            self.write = _writer(segment.tail)
            if len(waiting) > self._most_waiting:  # larger pieces are drained in fewer turns
                self._size = min(self._size * 2, self._journal.largest_segment)
        self._grown()
        if len(waiting) > self._most_waiting:
            sleep(_YIELD)
        return True

    def _grown(self) -> None:
        self._journal.on_growth()

    def _take(self, length: int, *, reserve: bool) -> Segment | None:
        if (spare := self._fitting_spare(length)) is not None:
            return spare
        return self._new_segment(max(self._size, length + HEADER_SIZE), reserve=reserve)

    def _new_segment(self, size: int, *, reserve: bool) -> Segment | None:
        return self._journal.new_segment(self._name, size, reserve=reserve)

    def _fitting_spare(self, length: int) -> Segment | None:
        for segment in list(self._spare):
            if segment.size - HEADER_SIZE >= length and self._journal.keeps(segment):
                with contextlib.suppress(ValueError):  # a signal handler or __del__ took it in the middle of this
                    self._spare.remove(segment)
                    return segment
        return None

    def prepare(self) -> None:
        """Have a spare segment ready, so that no caller has to make one. For the writing thread."""
        if self._segments and not self._spare:
            segment = self._new_segment(self._size, reserve=False)
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
            segment.lost = segment.lost or _is_gone(segment.path)
        if active is None or self._journal.keeps(active):
            return
        if not any(map(self._journal.keeps, self._spare)):
            fresh = self._new_segment(self._size, reserve=True)
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
                self._discard([spare for spare in self._spare if not self._journal.keeps(spare)])
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

    def give_back(self) -> None:
        """Discard the segments to spare: another lane, or a longer line, needs their room."""
        self._discard(list(self._spare))

    def _discard(self, spares: list[Segment]) -> None:
        for segment in spares:
            with contextlib.suppress(ValueError):  # taken meanwhile
                self._spare.remove(segment)
                segment.discard()

    def segments(self) -> list[Segment]:
        """Return its segments, those to spare too."""
        return [*self._segments, *self._spare]

    @property
    def in_use(self) -> bool:
        """Whether it has segments that hold lines, or may."""
        return bool(self._segments)

    @property
    def only(self) -> Segment | None:
        """The one segment that holds lines; None when there are several, or none."""
        segments = list(self._segments)
        return segments[0] if len(segments) == 1 else None

    @property
    def allocated(self) -> int:
        """Bytes of its segments, but for those that hold nothing: they are used again, or given back."""
        waiting = sum(segment.size for segment in list(self._segments) if segment.waiting)
        return waiting + sum(segment.size for segment in list(self._spare))

    @property
    def waiting(self) -> int:
        """Bytes that no file has."""
        return sum([segment.waiting for segment in list(self._segments)])

    @property
    def open_room(self) -> int:
        """Bytes that may still come before `Journal.on_growth` is told."""
        active = list(self._segments)[-1:]
        return sum([segment.size - segment.drained - segment.waiting for segment in active])

    @property
    def empty(self) -> bool:
        """Whether every line has been drained."""
        return not sum([segment.waiting for segment in list(self._segments)])  # a list needs no frame of its own

    def shut(self) -> None:
        """Refuse every further line; what is there can still be drained."""
        with self._lock:
            self._shut, self.write = True, _full
            for segment in list(self._segments):
                segment.seal()

    def close(self) -> None:
        """Give everything back. Lines that have not been drained stay on disk, if the journal is there."""
        with self._lock:
            self.write = _full
            for segment in list(self._segments):
                segment.seal()
                segment.leave()
            self._segments.clear()
            self.give_back()

    def forget(self) -> None:
        """Leave, in a forked child, the parent's segments to the parent."""
        self._lock, self._shut = RLock(), False  # another thread may have been closing it
        self._size = self._journal.segment_size
        self.write = _full
        for segment in [*self._segments, *self._spare]:
            segment.release()
        self._segments.clear()
        self._spare.clear()


def _is_gone(path: Path | None) -> bool:
    try:
        return path is not None and not path.exists()
    except OSError:  # no right to look, or a disk that fails: it may well be there
        return False


def _full(_: bytes) -> None:
    raise ValueError("no segment is open")


def _at_rest(_: bytes) -> None:
    raise ValueError("the writing thread is to be told first")


def _writer(tail: Any) -> Callable[[bytes], Any]:
    write: Callable[[bytes], Any] = tail.write
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return write
    lock = Lock()  # without the interpreter lock two writes could take the same position

    def locked(line: bytes) -> None:
        with lock:
            write(line)

    locked.__self__ = tail  # type: ignore[attr-defined]  # as any method has
    return locked
