"""One log file of a directory: its lines wait in the journal until the file has them.

A batch that the file does not take stays in the journal and is offered again, after a growing pause.

Threads: any thread may `put`. The writing thread drains, and any other only when there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.segment import Intent, Segment, write_out
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.threads import Mutex

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class LogFile:
    """The lines of one file. `drain`, `look` and `sync` are for one thread at a time.

    Args:
        sink: Takes the lines.
        lane: Keeps them until then.
        on_stranded: Called with the lines that wait when the file begins to take nothing.
        monotonic: Seconds; a test passes a clock of its own.
        lock: Held by whoever calls `drain`.
        already: Returns how many bytes of a batch that failed are in the file, given its intent and the segment's map.
    """

    def __init__(
        self,
        sink: Sink,
        lane: JournalLane,
        on_stranded: Callable[[list[bytes]], None] = lambda _: None,
        monotonic: Callable[[], float] = monotonic,
        lock: threading.RLock | None = None,
        already: Callable[[Intent, Any], int] = lambda *_: 0,
    ) -> None:
        self.sink = sink
        self.lane = lane
        #: Held while lines leave the journal.
        self.lock = lock or Mutex()
        self._on_stranded = on_stranded
        self._already = already
        self._monotonic = monotonic
        self._pause = 0.0
        self._next_try = 0.0
        #: The error of the last try, while the file takes nothing.
        self.error: OSError | None = None
        #: How many tries have failed.
        self.failures = 0
        self.needs_sync = False

    def put(self, line: bytes) -> bool:
        """Append *line* to the journal. Returns whether it took it."""
        return self.lane.append(line, reserve=True)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self.lane.empty

    def lines(self, *, durable: bool = False) -> list[bytes]:
        """Return the lines that wait, without their newlines; only those on disk if *durable*."""
        waits = [(pending, pending.segment) for pending in self.lane.pending()]
        found = [
            pending for pending, segment in waits if not durable or (segment.path is not None and not segment.lost)
        ]
        return [line for pending in found for line in pending.lines()]

    def drain(self, *, insist: bool = False, full: bool = False) -> bool:
        """Write all that waits now; if nothing waits, look. Returns whether the file took it.

        Lines that come meanwhile are left to the next call: a storm of entries must not keep the other files waiting.

        Args:
            insist: Try also while the pause after an error lasts.
            full: Leave what stands in a segment that is not full to the next call.
        """
        if self.error is not None and not insist and self._monotonic() < self._next_try:
            return False
        if self.lane.empty:
            self.look()
            return self.error is None
        try:
            for segment, start, end, sealed in self.lane.pending():
                if full and not sealed:
                    break
                if end > start:
                    self._settle(segment)
                    if not self._append(segment, segment.epoch, rotates=True):
                        self._settle(segment)  # it may have failed behind its write
                        write_out(segment, segment.drained, end, self.sink)
                    writing_thread.writes += 1
                    self.error, self._pause, self.needs_sync = None, 0.0, True
                if sealed:
                    self.lane.recycle(segment)
        except OSError as error:
            self.fail(error)
            return False
        self.lane.prepare()
        return True

    def _settle(self, segment: Segment) -> None:
        """Take account of a batch that failed and could not be taken back: a part of it may be in the file."""
        if segment.has_intent:
            segment.commit(segment.drained + self._already(segment.state.intent, segment.map))

    def write_past_journal(self, line: bytes) -> bool:
        """Write *line* at once, after what waits. Returns whether the file took it."""
        if not self.drain():
            return False
        try:
            self.sink.write(memoryview(line))
        except OSError as error:
            self.fail(error)
            return False
        self.needs_sync = True
        return True

    def write_now(self) -> bool:
        """Write all that waits, by any thread, if it can be done in the regular way. Returns whether it is done."""
        single = self._single()
        if single is None:
            return False
        self.needs_sync = True
        return self._append(*single, rotates=False)

    def regular(self, *, rotates: bool) -> tuple[Any, ...] | None:
        """Return what the core needs to append what comes; nothing if nobody logs here, None where it is not regular.

        That is: appender, lock, tail, numbers and epoch of the segment, and whether it *rotates* the file when it is
        full and nothing but names is to be changed.
        """
        if not self.lane.in_use:
            return ()
        single, appender = self._single(), getattr(self.sink, "appender", None)
        if single is None or appender is None:
            return None
        segment, epoch = single
        self.needs_sync = True
        rotates = rotates and getattr(self.sink, "rotates_alone", False)
        return appender, self.lock, segment.tail, segment.numbers, epoch, rotates

    def _single(self) -> tuple[Segment, int] | None:
        """Return the one segment that holds lines, and its epoch; None if there is none alone, or the file fails."""
        segment = self.lane.only
        if segment is None or self.error is not None:
            return None
        epoch = segment.epoch
        # Another epoch of it may stand behind what still waits.
        return (segment, epoch) if self.lane.only is segment else None

    def _append(self, segment: Segment, epoch: int, *, rotates: bool) -> bool:
        append = getattr(self.sink, "append", None)  # only a rotating file has it
        return append is not None and append(self.lock, segment, epoch, rotates=rotates)

    def look(self) -> None:
        """Make sure that the file is there, although nothing is to be written."""
        try:
            self.sink.write(memoryview(b""))
        except OSError as error:
            self.fail(error)
        else:
            self.error, self._pause = None, 0.0

    def fail(self, error: OSError) -> None:
        """Note that the file takes nothing: try again after a pause, and show the lines that wait meanwhile."""
        first, self.error = self.error is None, error
        self.failures += 1
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._next_try = self._monotonic() + self._pause
        if first:  # entries that come from now on see the error, and are shown by their logger
            self._on_stranded(self.lines())

    def sync(self) -> None:
        """Force what was written to the device. Raises OSError."""
        if self.needs_sync:
            self.sink.flush()
            self.needs_sync = False
