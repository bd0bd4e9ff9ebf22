"""Alerts or exports of one logger, made as soon as that is possible.

Their libraries are large. A process without descriptors or memory left cannot load them: then the logger works without,
its health says so, and each of its services tries again after a pause.

Bound: `MOST_HELD` bytes of entries wait until then. Further entries are dropped and counted.

Threads: any thread and any signal handler may call `put`. The writing thread, or what stands in for it, calls
`ensure`, and the thread that makes or closes the logger may do so at the same time.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.threads import Lock

if TYPE_CHECKING:
    from metaexpert.logger.remote.endpoints import Endpoints

#: Bytes of entries that wait.
MOST_HELD: Final = 4 * 1024 * 1024
#: Bytes of memory that must be there: more than the libraries need.
_MEMORY: Final = 64 * 1024 * 1024
#: First and longest pause between two tries, in seconds: each of them costs the writing thread time.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
#: Longest wait of `close` for another thread that is making it, in seconds.
_PATIENCE: Final = 5.0


class RemotePart[E: Endpoints[Any]]:
    """The alerts or the exports of one logger.

    Args:
        name: What it is, for people.
        make: Makes them. It may raise anything.
        report: Called with each trouble: its kind and a sentence.
    """

    def __init__(self, name: str, make: Callable[[], E], report: Callable[[str, str], None]) -> None:
        self.name = name
        self._make = make
        self._report = report
        #: What sends the entries; None until it could be made.
        self.made: E | None = None
        #: Why it could not be made, in a few words.
        self.trouble = ""
        self._held: deque[bytes] = deque()
        self._bytes = self._dropped = 0
        self._pause, self._next = _FIRST_PAUSE, float("inf")
        self._closed = False
        self._making = Lock()

    def put(self, line: bytes) -> None:
        """Send the entry *line*, or hold it until that is possible. Never waits."""
        if self.made is not None:
            self.made.put(line)
        elif self._bytes + len(line) > MOST_HELD or self._closed:
            self._dropped += 1
        else:
            self._bytes += len(line)
            self._held.append(line)

    def start(self) -> None:
        """Have it made for the first time. Call this once."""
        self._next = 0.0
        self.ensure()

    def ensure(self, patience: float = 0.0) -> None:
        """Have it made, its threads run again after a fork, and what was held sent.

        Args:
            patience: Longest wait, in seconds, for another thread that is making it.
        """
        if self.made is not None:
            self.made.ensure()
        elif monotonic() >= self._next and not self._closed and self._making.acquire(timeout=patience):
            try:
                if self.made is None:
                    self._try_to_make()
            finally:
                self._making.release()
        if self.made is not None:
            self._send_held(self.made)  # also what came while it was being made

    def _send_held(self, made: E) -> None:
        while True:
            try:
                line = self._held.popleft()
            except IndexError:  # all are sent, perhaps by another thread that does the same
                return
            made.put(line)

    def _try_to_make(self) -> None:
        try:
            # Python may crash when its memory ends in the midst of an import: see first that there is enough.
            mmap.mmap(-1, _MEMORY).close()
            made = self._make()
            made.start()
        except Exception as error:  # without memory, an import fails in any way
            let_pass(error)
            self.trouble = getattr(error, "strerror", None) or type(error).__name__
            self._report(f"remote {self.name}", f"no {self.name} can be sent yet: {self.trouble}; tried again")
            self._next, self._pause = monotonic() + self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self.made, self.trouble = made, ""

    def dropped(self) -> dict[str, int]:
        """Return, by channel or collector, how many entries were dropped since this was last asked."""
        count, self._dropped = self._dropped, 0
        own = {self.name: count} if count else {}
        return own if self.made is None else own | self.made.dropped()

    def stats(self) -> dict[str, Any]:
        """Return counts by channel or collector."""
        return {} if self.made is None else self.made.stats()

    def close(self, timeout: float | None) -> None:
        """Send what can be sent in time, and keep the rest for the next process. Idempotent."""
        if self._closed:
            return
        self._next = 0.0
        self.ensure(_PATIENCE)
        self._closed = True
        if self.made is not None:
            self.made.close(timeout)
        elif self._held:
            self._report(f"remote lost {self.name}", f"{len(self._held)} {self.name} were not sent: {self.trouble}")

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's."""
        self._making = Lock()
        self._held.clear()
        self._bytes = 0
        if self.made is not None:
            self.made.after_fork()
