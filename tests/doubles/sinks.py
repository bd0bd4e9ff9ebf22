"""A clock that moves when told, and sinks that keep, fail or hang."""

from __future__ import annotations

import errno
import threading
from typing import Final

from metaexpert.logger.journal.sink import Note, ignore

_SECOND: Final = 1_000_000_000


class FakeClock:
    """A clock that moves when told.

    Args:
        seconds: Where it starts, in seconds since the epoch.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._ns = int(seconds * _SECOND)

    def advance(self, seconds: float) -> None:
        """Move by *seconds*; a negative number steps back."""
        self._ns += int(seconds * _SECOND)

    def ns(self) -> int:
        """Return nanoseconds since the epoch, like `time.time_ns`."""
        return self._ns

    def __call__(self) -> float:
        """Return seconds since the epoch, like `time.time` and `time.monotonic`."""
        return self._ns / _SECOND


class MemorySink:
    """A sink that keeps what it takes, at most *room* bytes a time when given."""

    def __init__(self, room: int | None = None) -> None:
        self.data = bytearray()
        self.closed = 0
        self.flushed = 0
        self._room = room

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Take whole lines, as many as fit the room, but at least one."""
        data = bytes(batch)
        note(0, 0, len(self.data), len(data))
        end = len(data) if self._room is None else (data.rfind(b"\n", 0, self._room) + 1 or data.find(b"\n") + 1)
        self.data += data[:end]
        return end

    def flush(self) -> None:
        """Count the call."""
        self.flushed += 1

    def close(self) -> None:
        """Count the call."""
        self.closed += 1


class FailingSink(MemorySink):
    """A sink that raises *error* while `broken` is true."""

    def __init__(self, error: OSError | None = None) -> None:
        super().__init__()
        self.error = error or OSError(errno.ENOSPC, "No space left on device")
        self.broken = True
        self.attempts = 0

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Raise, or take the batch when mended."""
        self.attempts += 1
        if self.broken:
            raise self.error
        return super().write(batch, note)


class BlockedSink(MemorySink):
    """A sink whose `write` waits until `release` is set; `entered` tells that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Wait, then take the batch."""
        self.entered.set()
        self.release.wait()
        return super().write(batch, note)
