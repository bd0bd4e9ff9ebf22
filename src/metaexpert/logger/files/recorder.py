"""The flight recorder of a log directory: its ring, and when it is dumped.

An ERROR wants a dump (`Recorder.want`), `Recorder.dump` makes one at once, and a recovery makes one of what a dead
process has left. A dump brings the lines before it that none has brought yet, in their order, into a file of its own.

Bound: while errors follow each other, the pauses between two dumps double, up to `_LONGEST_PAUSE`. No line is lost by
a pause alone: the next dump brings what the ring still has. For the files see `metaexpert.logger.files._dead_journal`.

Threads: any thread may call `want` and `dump`; the rest is the writing thread's, as of any `LogFile`.
"""

from __future__ import annotations

from typing import Any, Final

from metaexpert.logger.files._dead_journal import delete_oldest, dump_file, dump_name
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.recovery import Recovery
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.ring import RING_NAME, Ring, count_lines, last_time
from metaexpert.logger.journal.segment import write_out
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.threads import sleep

#: Seconds between two dumps that errors want: at first, and at most.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0
#: Longest wait for another thread that drains, in seconds.
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.001


class _NoSink:
    """The sink between two dumps."""

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Take nothing."""
        return 0

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Recorder(LogFile):
    """A log file that is written when a dump is due. Made by `recorder_of`.

    Args:
        directory: Where its files are.
        ring: Has the lines.
    """

    def __init__(self, directory: LogDirectory, ring: Ring) -> None:
        lock = next(file.lock for file in directory.files.values())  # that of the directory's drain
        super().__init__(_NoSink(), ring, lock=lock)
        self.ring = ring
        self._directory = directory
        self._next_dump = self._dump_pause = 0.0

    def want(self) -> None:
        """Have the lines that were recorded until now dumped soon, by the writing thread."""
        self.ring.wanted = self.ring.numbers.value
        writing_thread.wake(self._directory)

    def dump(self) -> int:
        """Dump the lines that were recorded until now, by the calling thread. Returns how many.

        A failure is reported, and the lines stay.
        """
        try:
            return self._dump_now()
        except OSError as error:
            self._directory.diagnostics.report("dump", "the flight recorder cannot be dumped", error=error)
            return 0

    def _dump_now(self) -> int:
        deadline = monotonic() + _PATIENCE
        if self.lock.acquire(timeout=_PATIENCE):
            try:
                while monotonic() < deadline:
                    if self.ring.hold():
                        return self._dump(self.ring.numbers.value)
                    sleep(_PAUSE)
            finally:
                self.lock.release()
        raise TimeoutError("other threads write, or record, without a pause")

    def stats(self) -> dict[str, int]:
        """Return the counts of the ring, and as ``recorded`` how many lines it took."""
        names = "overwritten", "dumps", "dumped", "deleted"
        own = {"recorded": self.ring.numbers.value - 1, "refused": self.ring.refused.value}
        return own | {name: self.ring.counts[name] for name in names}

    # -- as a log file ------------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do: no dump is due, and the next segment is ready."""
        return not self._is_due and not self.ring.thirsty

    @property
    def _is_due(self) -> bool:
        return self.ring.wanted is not None and (self._monotonic() >= self._next_dump or self.ring.ended)

    def lines(self, *, durable: bool = False) -> list[bytes]:
        """Return none: no file waits for what is recorded."""
        return []

    def write_past_journal(self, line: bytes) -> bool:
        """Return False: without memory nothing is recorded."""
        return False

    def write_now(self) -> bool:
        """Return True: nothing waits."""
        return True

    def regular(self, *, rotates: bool) -> tuple[Any, ...] | None:
        """Return nothing to append, or None when there is something to do."""
        return () if self.empty else None

    def look(self) -> None:
        """Do nothing: there is a file when something was dumped."""
        self.error = None

    def drain(self, *, insist: bool = False, full: bool = False) -> bool:
        """Prepare the next segment, and dump if it is due. Returns False when the file cannot be written."""
        self.ring.prepare()
        if not self._is_due:
            self.look()
            return True
        if self.error is not None and not insist and self._monotonic() < self._next_try:
            return False
        if not self.ring.hold():  # a caller is at the segments; the next pass tries again
            return True
        wanted, self.ring.wanted = self.ring.wanted, None
        try:
            self._dump(wanted or 0)
        except OSError as error:
            self.ring.wanted = self.ring.wanted or wanted
            self.fail(error)
            return False
        now = self._monotonic()
        quiet = now - self._next_dump > max(self._dump_pause, _FIRST_PAUSE)
        self._dump_pause = _FIRST_PAUSE if quiet else min(self._dump_pause * 2, _LONGEST_PAUSE)
        self._next_dump = now + self._dump_pause
        return True

    def _dump(self, before: int) -> int:
        """Dump the lines with numbers below *before* from the ring, which is held. Returns how many."""
        count, name = 0, ""
        try:
            if pieces := self.ring.pieces(before):
                name = dump_name(last_time(pieces[-1][0], pieces[-1][2]))
                self.sink = dump_file(self._directory.root, name, self._directory.lock)
                for segment, start, end in pieces:
                    lines = count_lines(segment, start, end)
                    write_out(segment, start, end, self.sink)
                    count += lines
        finally:
            self.sink.close()
            self.sink = _NoSink()
            self.ring.release()
            if count:
                self._tell(name, count)
        self.error, self._pause = None, 0.0
        return count

    def _tell(self, name: str, count: int) -> None:
        """Count a dump, have it announced by a logger of the directory, and delete files that are too many."""
        self.ring.counts["dumps"] += 1
        self.ring.counts["dumped"] += count
        found = Recovery(recorded={name: count})
        if (waiting := self._directory.recovery) is not None:
            found.add(waiting)
        self._directory.recovery = found
        try:
            self.ring.counts["deleted"] += delete_oldest(self._directory.root, self.ring.limit)
        except OSError as error:
            text = "old files of the flight recorder cannot be deleted"
            self._directory.diagnostics.report(f"recorder {self._directory.path}", text, level="warning", error=error)


def recorder_of(directory: LogDirectory, size: int) -> Recorder:
    """Return the flight recorder of *directory*, made when there is none, with at least *size* bytes."""
    found = directory.files.get(RING_NAME)
    if not isinstance(found, Recorder):
        lanes: dict[str, JournalLane] = directory.journal.lanes
        ring = lanes[RING_NAME] = Ring(directory.journal, size)
        found = Recorder(directory, ring)
        directory.files = {**directory.files, RING_NAME: found}
    found.ring.limit = max(found.ring.limit, size)
    return found
