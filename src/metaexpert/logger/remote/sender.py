"""The base of everything that sends entries to one endpoint: `alerts._delivery` and `exports._forwarder`.

A sender is the job of a worker (see `metaexpert.logger.remote.worker`). Entries that the endpoint has not taken stay in
a spool, from which a later process takes them over.

Threads: one thread at a time calls the methods; any thread reads `idle` and `stuck`.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from metaexpert.logger.remote.spool import Spool
from metaexpert.logger.remote.worker import Job

#: Seconds between two searches for what dead processes have left.
ADOPTION_INTERVAL: Final = 30.0

#: Called with each trouble: its kind, by which repeats are recognised, and a sentence.
Report = Callable[[str, str], None]


def digest(*parts: str) -> str:
    """Return a name for *parts* that does not reveal them."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


_silent: Final = threading.local()


def _wanted(_: logging.LogRecord) -> bool:
    """Return whether this thread's records are wanted, as a filter of `logging`."""
    return not getattr(_silent, "now", False)


@contextmanager
def silenced(names: Iterable[str]) -> Iterator[None]:
    """Drop the records of the loggers *names* on this thread inside the block."""
    for name in names:
        logging.getLogger(name).addFilter(_wanted)
    _silent.now = True
    try:
        yield
    finally:
        _silent.now = False


class Remote(Protocol):
    """The way to an endpoint: a channel of alerts or a transport of exports. Used by one thread at a time."""

    #: Its name for people.
    name: str
    #: Id of the endpoint: a `digest` of its address.
    endpoint: str

    def after_fork(self) -> None:
        """Start anew in a child, without touching what the parent has open."""


class Backoff:
    """Pauses between attempts: doubling, with jitter so that many processes do not come at once.

    Args:
        longest: The longest pause in seconds.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(self, longest: float, jitter: Callable[[], float] = random.random) -> None:
        self._longest = longest
        self._jitter = jitter
        self._attempts = 0

    def next(self) -> float:
        """Return the next pause in seconds: between a half and the whole of 1, 2, 4, 8 and so on."""
        pause = min(2.0 ** min(self._attempts, 30), self._longest)
        self._attempts += 1
        return pause * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._attempts = 0


@dataclass
class Counts:
    """Counts of a sender.

    Attributes:
        dropped: Entries for which the spool had no room.
    """

    dropped: int = 0


class Sender(Job):
    """Sends entries to one endpoint; its subclasses say how.

    Args:
        remote: The way to the endpoint.
        spool: Keeps the entries that the endpoint has not taken.
        report: Called with each trouble.
        clock: Seconds that never step back.
        backoff: The pauses between attempts.
    """

    #: Counts, which begin at zero.
    counts: Counts

    def __init__(
        self, remote: Remote, spool: Spool, report: Report, clock: Callable[[], float], backoff: Backoff
    ) -> None:
        self.name = remote.name
        #: Why the last attempt failed; empty after a success.
        self.trouble = ""
        self._remote = remote
        self._spool = spool
        self._report = report
        self._clock = clock
        self._backoff = backoff
        self._paused_until = 0.0
        self._next_adoption = 0.0
        self.idle = False

    def _adopt(self, now: float) -> bool:
        """Take over what dead processes left, if it is time for that. Returns whether it was."""
        if now < self._next_adoption:
            return False
        self._next_adoption = now + ADOPTION_INTERVAL
        self._spool.take_over()
        return True

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def stuck(self) -> bool:
        """Whether the last attempt failed."""
        return bool(self.trouble)

    def stats(self) -> dict[str, Any]:
        """Return the counts and the trouble."""
        return {**asdict(self.counts), "trouble": self.trouble}

    # -- fork -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the spool: a connection to SQLite must not be used by two processes."""
        self._spool.close()

    def after_fork(self) -> None:
        """Start anew in a child: all that waits or is open belongs to the parent."""
        self._spool.after_fork()
        self._remote.after_fork()
        self.idle = True
        self.counts = type(self.counts)()
