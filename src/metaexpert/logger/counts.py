"""How much of a logger's entries waits, what became of the others, and whether there is room for one more.

Bound: at most `journal_size` bytes wait. DEBUG is refused above half of that, INFO above three quarters, WARNING above
nine tenths, trades and errors above twice.

Threads: what was accepted is counted without a lock, by one C call; what was refused under `lock`. The writing thread
never waits for it, because a caller may be interrupted while it holds the lock by a signal handler that waits for the
writing thread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from metaexpert.logger.schema import LEVEL_NUMBERS
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.threads import RLock

#: Shares of the buffer up to which an entry of a level is accepted; trades and errors have a reserve of the same size.
SHARES: Final = {"debug": 0.50, "info": 0.75, "warning": 0.90, "error": 2.0, "critical": 2.0}
TRADE_SHARE: Final = 2.0
ALL_SHARES: Final = frozenset({*SHARES.values(), TRADE_SHARE})
#: Ways that an entry can be refused: the files it would have gone to, or a logger that was closed.
CLOSED: Final = "closed"
ROUTES: Final = ("expert", "trades", "errors", CLOSED)


def share_of(level: str, *, trade: bool) -> float:
    """Return up to which share of the buffer an entry of *level* is accepted."""
    return TRADE_SHARE if trade else SHARES[level]


#: Level, expert and number of an entry, as they stand in a line of either layout.
_IDENTITY: Final = rb'"level":"(\w+)".*?"appname":"((?:[^"\\]|\\.)*)".*?"sequence_id":(\d+)'


def by_level(lines: Iterable[bytes], appname: bytes) -> Counter[str]:
    """Return how many entries of *appname* (as JSON, without quotes) *lines* hold, by level.

    An entry of several files, and so of several lines, counts once.
    """
    found = map(re.compile(_IDENTITY).search, lines)
    return Counter(level for _, level in {(m[3], m[1].decode()) for m in found if m is not None and m[2] == appname})


class Counts:
    """The counts of one logger.

    Args:
        size: Bytes that may wait.
        used: Returns the bytes that wait.
        pending: Returns how many of the logger's entries wait, by level.
    """

    def __init__(
        self,
        size: int,
        used: Callable[[], int] = lambda: 0,
        pending: Callable[[], Counter[str]] = Counter,
    ) -> None:
        self._size = size
        self._used = used
        self._pending = pending
        self.lock = RLock()
        #: Entries on their way to the files, or in them, by level.
        self.accepted_counts = {level: Count() for level in LEVEL_NUMBERS}
        self._start()

    def _start(self) -> None:
        self._dropped = dict.fromkeys(LEVEL_NUMBERS, 0)
        self._unannounced = dict.fromkeys(LEVEL_NUMBERS, 0)
        self._by_route = dict.fromkeys(ROUTES, 0)
        self.failed = self.recovered = 0
        self._before = {level: count.value for level, count in self.accepted_counts.items()}

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written, by all loggers of the directory."""
        return self._used()

    def accepted_by_level(self) -> dict[str, int]:
        """Return how many entries were accepted."""
        return {level: count.value - self._before[level] for level, count in self.accepted_counts.items()}

    def written_by_level(self) -> dict[str, int]:
        """Return how many entries are in all their files."""
        pending = self._pending()
        return {level: max(count - pending[level], 0) for level, count in self.accepted_by_level().items()}

    def settle(self) -> int:
        """Take what waits now for what no file of this process ever took. Returns how many entries that is."""
        left = self._pending()
        self._pending = lambda: left
        return sum(left.values())

    @property
    def accepted(self) -> int:
        """Entries that were accepted."""
        return sum(self.accepted_by_level().values())

    @property
    def written(self) -> int:
        """Entries that are in all their files."""
        return sum(self.written_by_level().values())

    @property
    def dropped(self) -> int:
        """Entries that were refused."""
        return sum(self._dropped.values())

    def calm(self, filled: int) -> frozenset[float]:
        """Return the shares of the buffer that are not reached as long as at most *filled* bytes wait."""
        return frozenset([share for share in ALL_SHARES if filled < self._size * share])

    def has_room(self, level: str, *, trade: bool) -> bool:
        """Return whether an entry of *level* is accepted now."""
        return self.waiting < self._size * share_of(level, trade=trade)

    def drop(self, level: str, routes: Collection[str]) -> None:
        """Count an entry that was refused, and the ways that it would have gone, or `CLOSED`."""
        with self.lock:
            self._dropped[level] += 1
            if CLOSED not in routes:
                self._unannounced[level] += 1
            for route in routes:
                self._by_route[route] += 1

    @property
    def has_dropped(self) -> bool:
        """Whether entries were dropped that no announcement has told of."""
        return any(self._unannounced.values())

    def announcement(self) -> dict[str, int]:
        """Return what was dropped and not `announced`, by level; nothing while there is little room. Under `lock`."""
        if not self.has_dropped or not self.has_room("debug", trade=False):
            return {}
        return {level: count for level, count in self._unannounced.items() if count}

    def announced(self, dropped: dict[str, int]) -> None:
        """Take note that an entry has told of what was *dropped*. Under `lock`."""
        for level, count in dropped.items():
            self._unannounced[level] -= count

    def after_fork(self) -> None:
        """Start anew in a child: what came before is the parent's."""
        self.lock = RLock()
        self._start()  # the accepted_counts stay: log calls hold them

    def report(self) -> dict[str, Any]:
        """Return the counts as `BoundLogger.stats` gives them."""
        written = self.written_by_level()
        with self.lock:
            return {
                "written": sum(written.values()),
                "written_by_level": {level: count for level, count in written.items() if count},
                "dropped": self.dropped,
                "dropped_by_level": {level: count for level, count in self._dropped.items() if count},
                "dropped_by_route": {route: count for route, count in self._by_route.items() if count},
                "failed": self.failed,
                "recovered": self.recovered,
                "queue_bytes": self.waiting,
            }
