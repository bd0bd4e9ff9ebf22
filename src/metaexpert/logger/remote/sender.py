"""What sends entries to one remote place: what alerts (`delivery`) and exports (`forward`) have in common.

A sender is the job of a worker's thread (see `metaexpert.logger.remote.worker`). What the place has not taken is kept
in a spool, from where a later process takes it over.

Threads: all methods but `idle` and `stuck` are called by one thread at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from metaexpert.logger.remote.spool import Spool
from metaexpert.logger.remote.worker import Job

#: Seconds between two looks for what dead processes left.
ADOPTION_INTERVAL: Final = 30.0

Report = Callable[[str, str], None]


class Remote(Protocol):
    """A remote place, and the way there. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """A word for people."""
        ...

    @property
    def endpoint(self) -> str:
        """Whom the entries go to, hashed."""
        ...

    def after_fork(self) -> None:
        """Start anew in a child, without touching what the parent has open."""
        ...


class Backoff:
    """Pauses between tries: doubling, with jitter so that many processes do not come at once.

    Args:
        longest: The longest pause in seconds.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(self, longest: float, jitter: Callable[[], float] = random.random) -> None:
        self._longest = longest
        self._jitter = jitter
        self.tries = 0

    def next(self) -> float:
        """Return the next pause in seconds: between half of and the whole of 1, 2, 4, 8 and so on."""
        pause = min(2.0 ** min(self.tries, 30), self._longest)
        self.tries += 1
        return pause * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        """Begin anew."""
        self.tries = 0


@dataclass
class Counts:
    """What a sender has done.

    Attributes:
        dropped: Entries for which the spool had no room.
    """

    dropped: int = 0


class Sender(Job):
    """Sends to one remote place. What it sends and how is the matter of its subclasses.

    Args:
        remote: The place.
        spool: Keeps what it has not taken.
        report: Told of troubles: what repeats of it are recognised by, and a sentence.
        clock: Seconds that never step back.
        backoff: The pauses between tries.
        counts: Where everything is zero.
    """

    counts: Counts

    def __init__(
        self,
        remote: Remote,
        spool: Spool,
        report: Report,
        clock: Callable[[], float],
        backoff: Backoff,
        counts: Counts,
    ) -> None:
        self.name = remote.name
        self._remote = remote
        self._spool = spool
        self._report = report
        self._clock = clock
        self._backoff = backoff
        self._paused_until = 0.0
        self._next_adoption = 0.0
        self._idle = False
        self.counts = counts
        #: Why the last try failed; empty when it did not.
        self.trouble = ""

    def _adopt(self, now: float) -> bool:
        """Take over what dead processes left, when it is time for that. Returns whether it was."""
        if now < self._next_adoption:
            return False
        self._next_adoption = now + ADOPTION_INTERVAL
        self._spool.take_over()
        return True

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._idle

    @property
    def stuck(self) -> bool:
        """Whether the last try failed."""
        return bool(self.trouble)

    def stats(self) -> dict[str, Any]:
        """Return what was done."""
        return {**asdict(self.counts), "trouble": self.trouble}

    # -- fork -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the spool: SQLite must not be carried across."""
        self._spool.close()

    def after_fork(self) -> None:
        """Start anew in a child: what waits, and what is open, is the parent's."""
        self._spool.after_fork()
        self._remote.after_fork()
        self._idle = True
        self.counts = type(self.counts)()
