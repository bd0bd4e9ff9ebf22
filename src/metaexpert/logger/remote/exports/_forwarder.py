"""The forwarding of every entry to a collector: queue, reconnection, a window that is sent again, a spool on disk.

Entries wait in memory while the collector takes them. While it does not, they go to a spool on disk, and follow in
order when it is back, also after a restart of the program.

A collector that acknowledges nothing (syslog over TCP or TLS) may lose the contents of buffers when a connection
breaks. So the last entries that were sent over it, at most `WINDOW_BYTES` and not older than `WINDOW_SECONDS`, are sent
again over the next one. The receiver can drop repeats by sequence number.

Threads: one thread at a time calls the methods; any thread reads `idle` and `stuck` (see
`metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.exports._backlog import Backlog
from metaexpert.logger.remote.sender import Backoff, Counts, Remote, Report, Sender
from metaexpert.logger.system.calls import monotonic

#: More than Linux lets a receiving socket buffer by default (tcp_rmem, 6 MiB), and our own sending buffer.
WINDOW_BYTES: Final = 8 * 1024 * 1024
WINDOW_SECONDS: Final = 60.0
#: Bytes of entries in memory beyond which they go to disk.
SPILL: Final = 4 * 1024 * 1024
#: Entries sent at once.
_BATCH: Final = 100
#: Entries decoded before other threads get the interpreter.
_POLITE: Final = 8
#: Seconds between two checks of an idle connection.
_LOOK: Final = 1.0
#: Longest pause between two attempts, in seconds.
LONGEST_BACKOFF: Final = 30.0


class TransportError(Exception):
    """The collector did not take a batch; says why, without secrets. The batch may be offered again."""


def decode_politely(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the entries of *lines*, and let other threads have the interpreter in between."""
    for number, line in enumerate(lines):
        if number % _POLITE == 0:
            time.sleep(0)
        yield decode_line(line)


class Transport(Remote, Protocol):
    """Sends entries to a collector. Used by one thread at a time."""

    #: Whether a batch that was sent has certainly arrived.
    acknowledged: bool

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known; checks whether the other side has closed it."""

    def connect(self) -> None:
        """Connect. Raises TransportError."""

    def send(self, lines: Sequence[bytes]) -> None:
        """Send entries as they stand in the files. Raises TransportError; then some may have arrived."""

    def finish(self) -> bool:
        """Close in order. Returns whether the other side has confirmed that it read everything."""

    def abort(self) -> None:
        """Close at once. Idempotent."""


@dataclass
class ForwarderCounts(Counts):
    """Counts of the forwarding to one collector.

    Attributes:
        sent: Entries that were sent; those sent again count again.
        resent: Entries that were sent again after a reconnection.
        connections: How often it has connected.
        unconfirmed: Entries without a confirmation at the end.
    """

    sent: int = 0
    resent: int = 0
    connections: int = 0
    unconfirmed: int = 0


class Forwarder(Sender):
    """Forwards entries over one transport.

    Args:
        transport: Sends the entries.
        backlog: The spool.
        report: Called with each trouble.
        clock: Seconds that never step back.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self,
        transport: Transport,
        backlog: Backlog,
        report: Report,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(transport, backlog, report, clock, Backoff(LONGEST_BACKOFF, jitter))
        self.counts: ForwarderCounts = ForwarderCounts()
        self._transport = transport
        self._backlog = backlog
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._window: deque[tuple[float, bytes]] = deque()
        self._window_bytes = 0

    # -- in ---------------------------------------------------------------------------------------------------

    def take(self, lines: list[bytes]) -> None:
        """Queue *lines*: in memory while the collector takes them, otherwise behind those on disk."""
        self.idle = False
        if self._backlog.count or self._bytes > SPILL:
            self._keep(lines)
        else:
            self._queue.extend(lines)
            self._bytes += sum(map(len, lines))

    def _keep(self, lines: Sequence[bytes]) -> None:
        try:
            taken = self._backlog.add(lines)
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            taken = self._backlog.add(lines)
        if taken < len(lines):
            self.counts.dropped += len(lines) - taken
            text = f"the spool for {self.name} is full; {len(lines) - taken} entries were dropped"
            self._report(f"export full {self.name}", text)

    def _lose_disk(self, error: Exception) -> None:
        text = f"entries for {self.name} are kept in memory only: {type(error).__name__}"
        self._report(f"export spool {self.name}", text)
        self._backlog.forget_disk()
        self._backlog.measure()

    # -- out --------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Send one batch. Returns for how long there is nothing more to do, in seconds."""
        try:
            return self._step()
        except TransportError as error:
            return self._broken(str(error))
        except sqlite3.Error as error:
            self._lose_disk(error)
            return 0.0

    def _step(self) -> float:
        now = self._clock()
        try:
            self._backlog.open()
        except OSError as error:
            self._lose_disk(error)
        self._adopt(now)
        self.idle = not self._queue and not self._backlog.count
        if now < self._paused_until:
            return self._paused_until - now
        if not self._transport.connected:
            if self.idle and not self._window:
                return _LOOK
            self._connect()
        if self._queue:
            self._send_queue()
        elif self._backlog.count:
            self._send_backlog()
        else:
            self._trim(now)
            return _LOOK
        return 0.0

    def _connect(self) -> None:
        self._transport.abort()
        self._transport.connect()
        self.counts.connections += 1
        self.trouble = ""
        self._trim(self._clock())
        if self._window:
            self.idle = False
            self.counts.resent += len(self._window)
            self._queue.extendleft(line for _, line in reversed(self._window))
            self._bytes += self._window_bytes
            self._window.clear()
            self._window_bytes = 0

    def _send_queue(self) -> None:
        batch = list(islice(self._queue, _BATCH))
        self._transport.send(batch)
        for _ in batch:
            self._bytes -= len(self._queue.popleft())
        self._sent(batch)

    def _send_backlog(self) -> None:
        number, batch = self._backlog.first(_BATCH)
        if batch:
            self._transport.send(batch)
            self._backlog.remove(number)
            self._sent(batch)
        else:
            self._backlog.measure()

    def _sent(self, batch: Sequence[bytes]) -> None:
        self.trouble = ""
        self._backoff.reset()
        self.counts.sent += len(batch)
        if self._transport.acknowledged:
            return
        now = self._clock()
        self._window.extend((now, line) for line in batch)
        self._window_bytes += sum(map(len, batch))
        self._trim(now)

    def _trim(self, now: float) -> None:
        window = self._window
        while window and (window[0][0] < now - WINDOW_SECONDS or self._window_bytes > WINDOW_BYTES):
            self._window_bytes -= len(window.popleft()[1])

    def _broken(self, reason: str) -> float:
        self._transport.abort()
        self.trouble = reason
        pause = self._backoff.next()
        self._paused_until = self._clock() + pause
        text = f"{self.name} takes nothing: {reason}; entries are kept and tried again"
        self._report(f"export {self.name}", text)
        return pause

    # -- state ------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return the counts and the trouble, and how many entries wait."""
        counts = {**super().stats(), "waiting": len(self._queue) + self._backlog.count}
        del counts["unconfirmed"]  # only known at the end
        more = {name: getattr(self._transport, name, 0) for name in ("truncated", "refused")}
        return counts | {name: count for name, count in more.items() if count}

    def failed(self, error: Exception) -> None:
        """Report an unexpected error, by its type alone."""
        self._broken(type(error).__name__)

    def close(self) -> None:
        """Close the connection, and keep on disk what the collector did not get."""
        self._backlog.open()
        confirmed = not self._window or (self._transport.connected and self._transport.finish())
        if not confirmed:  # the next process sends it again
            self.counts.unconfirmed = len(self._window)
        rest = ([] if confirmed else [line for _, line in self._window]) + list(self._queue)
        self._transport.abort()
        if rest:  # behind what is on disk already: the receiver sorts by sequence number
            self._keep(rest)
        self._queue.clear()
        self._window.clear()
        self._backlog.leave()

    def after_fork(self) -> None:
        """Start anew in a child: what waits, and the connection, belong to the parent."""
        super().after_fork()
        self._queue.clear()
        self._window.clear()
        self._bytes = self._window_bytes = 0
