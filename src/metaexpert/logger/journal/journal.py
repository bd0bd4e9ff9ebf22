"""The crash-safe buffer: memory-mapped segments that outlive the process.

A call appends its line with one `write`: one C call, atomic under the interpreter lock, no system call. The line is
then in the page cache and survives ``kill -9``. `docs/journal.md` describes the bytes.

Bound: at most `limit` bytes of segments per journal, and as much again for what may not be refused; beyond that
`JournalLane.append` returns False. An append wakes no thread; the writing thread looks by itself.

Threads: those of its lanes (`metaexpert.logger.journal.lane`).
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.owner import CRASH_SUFFIX, REPLACED_KEY, description
from metaexpert.logger.journal.segment import LOCK_SUFFIX, SEGMENT_SUFFIX, Segment
from metaexpert.logger.system.calls import NETWORK_FILE_SYSTEMS, file_system_of, paths_in
from metaexpert.logger.system.descriptors import make_private_directory
from metaexpert.logger.system.ends import on_exec
from metaexpert.logger.system.interrupts import is_injected, let_pass
from metaexpert.logger.system.locks import FileLock

#: A segment is a share of the journal, but neither so small that calls keep changing it nor so large that it idles.
USUAL_SEGMENT: Final = 512 * 1024
LARGEST_SEGMENT: Final = 1024 * 1024
SMALLEST_SEGMENT: Final = 4 * 1024
SHARE: Final = 16
#: Tries for an owner lock of one's own.
_CLAIMS: Final = 10
#: Seconds between two tries to get the journal on disk.
_CLAIM_PAUSE: Final = 5.0
#: Seconds after which it asks again for memory that it did not get: no call should pay for trying.
_NO_MEMORY_PAUSE: Final = 0.1
_NOT_DURABLE: Final = "the journal cannot be kept on disk; what waits would not survive a crash"


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
        #: Whether the last segment that was wanted got neither a file nor memory.
        self.starved = False
        self._described = self._forked = self._unclaimed = False
        #: The exception that ends the process, as text, once it is known.
        self._error = ""
        self._replaced = False
        if directory is not None:
            on_exec(self)
        self._claim()

    @property
    def ids(self) -> frozenset[str]:
        """The ids of this journal and of those that it was before."""
        return frozenset([self.id, *self._former])

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
        return sum([lane.waiting for lane in list(self.lanes.values())])

    def new_segment(self, name: str, size: int, *, reserve: bool) -> Segment | None:
        """Return a new segment of *size* bytes, or None when the journal is full."""
        if self._is_full(size, reserve=reserve):
            for lane in list(self.lanes.values()):
                lane.give_back()
            if self._is_full(size, reserve=reserve):
                return None
        return self.make_segment(name, size)

    def make_segment(self, name: str, size: int, suffix: str = SEGMENT_SUFFIX) -> Segment | None:
        """Return a new segment of *size* bytes, however full the journal is; None when there is no memory."""
        if time.monotonic() < self._refused_until:
            return None
        if self._unclaimed:
            self._claim()
        path = self._path(f".{next(self._numbers)}{suffix}")
        try:
            self._describe()
            segment = Segment(size, name, path)
        except OSError as error:
            if is_injected(error):
                if path is not None:
                    path.unlink(missing_ok=True)
                raise
            self._on_trouble(_NOT_DURABLE, error)
        else:
            self.starved = False
            return segment
        try:
            segment = Segment(size, name, None)
        except (OSError, MemoryError) as error:
            let_pass(error)
            self.starved = True
            self._refused_until = time.monotonic() + _NO_MEMORY_PAUSE
            self._on_trouble("the journal gets no memory", error if isinstance(error, OSError) else None)
            return None
        self.starved = False
        return segment

    def _is_full(self, size: int, *, reserve: bool) -> bool:
        """Whether *size* bytes more are too many. While nothing waits, an entry may be larger than the journal."""
        allocated = sum(lane.allocated for lane in list(self.lanes.values()))
        return bool(allocated) and allocated + size > self.limit * (2 if reserve else 1)

    def close(self) -> None:
        """Close all lanes and give up the ownership."""
        for lane in self.lanes.values():
            lane.close()
        self._clear_away()
        if self._owner is not None:
            self._owner.release(delete=not self._error and not self._leftovers(self.id))
            self._owner = None
        self._release_former()

    def _clear_away(self) -> None:
        """Delete segments that no lane knows and that hold nothing: an injected exception came when one was made."""
        for path in self._leftovers(self.id) if self._owner is not None else ():
            with contextlib.suppress(OSError, ValueError):  # an empty file has no map; then the next start does it
                Segment.attach(path).leave()

    def after_fork(self) -> None:
        """Start a journal of one's own in a forked child, with its first segment; the parent's keeps its lock."""
        for lane in self.lanes.values():
            lane.forget()
        for owner in [*self._former.values(), *([self._owner] if self._owner else [])]:
            owner.abandon()
        self._former.clear()
        self._forked, self._error, self._replaced = True, "", False
        self.id, self._owner, self._described, self._unclaimed = "", None, False, True

    def ends(self, error: str) -> None:
        """Note that an uncaught exception ends the process. Raises OSError."""
        self._error, self._described = error, False
        self._describe()

    def on_exec(self, *, failed: bool) -> None:
        """Note that another program takes the place of this one, or after all does not."""
        self._replaced = not failed
        if self._described:
            self._described = False
            with contextlib.suppress(OSError):  # then it is known for as long as the other program lives
                self._describe()

    @property
    def crash_file(self) -> Path | None:
        """Where `faulthandler` may write, for the next start to read."""
        return self._path(CRASH_SUFFIX)

    def _describe(self) -> None:
        if self._owner is not None and not self._described:
            self._described = True
            facts = {"error": self._error} if self._error else {REPLACED_KEY: True} if self._replaced else {}
            self._owner.write(description(forked=self._forked, **facts))

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
            if time.monotonic() >= self._next_claim and not self._unclaimed:
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
        # All at once: a call that needs a segment meanwhile has it under the lock before, and not in memory.
        self.id, self._owner = self._claimed(wish) or ("", None)
        self._described = self._unclaimed = False

    def _claimed(self, wish: str) -> tuple[str, FileLock] | None:
        """Return the id of a journal and its lock, which is held; None if there is to be, or can be, none."""
        if self._directory is None:
            return None
        self._next_claim = time.monotonic() + _CLAIM_PAUSE
        try:
            make_private_directory(self._directory)
            if file_system_of(self._directory) in NETWORK_FILE_SYSTEMS:
                self._on_trouble("the log directory is on a network: what waits would not survive a crash", None)
                return None
            for _ in range(_CLAIMS):  # one who recovers may be faster, and take a lock just made for a dead one's
                name, wish = wish or uuid.uuid4().hex, ""
                owner = FileLock(self._directory / (name + LOCK_SUFFIX))
                if owner.acquire():
                    return name, owner
            self._on_trouble(_NOT_DURABLE, None)
        except OSError as error:
            self._on_trouble(_NOT_DURABLE, error)
        return None

    def _path(self, ending: str) -> Path | None:
        if self._directory is None or self._owner is None:
            return None
        return self._directory / f"{self.id}{ending}"

    def _leftovers(self, journal: str) -> list[Path]:
        return [] if self._directory is None else paths_in(self._directory, f"{journal}.", SEGMENT_SUFFIX)
