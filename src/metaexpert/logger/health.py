"""What a log tells about itself: changes of health, what was dropped, what was recovered.

Threads: `tell` may be called by any thread; one that finds another at it leaves it to that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from metaexpert.logger.counts import Counts, Health
from metaexpert.logger.files.writing_thread import drainer
from metaexpert.logger.logger_files import Files

_NO_THREAD: Final = "no writing thread, each call writes by itself"
_HANGS: Final = "a write does not return"


class News:
    """The announcements of one logger.

    Args:
        counts: Its counts.
        clock: Returns the time as text.
        files: Where it logs.
        announce: Logs an entry of the logger's own: level, message, and fields as keywords.
    """

    def __init__(
        self,
        counts: Counts,
        clock: Callable[[], str],
        files: Files,
        announce: Callable[..., None],
    ) -> None:
        self._counts = counts
        self._clock = clock
        self._files = files
        self._announce = announce
        self._health = Health()
        self._unsent: Counter[str] = Counter()

    @property
    def health(self) -> str:
        """``ok``, or ``degraded: <reason> since <when>``."""
        return str(self._health)

    def tell(self, unsent: Mapping[str, int]) -> bool:
        """Announce what is new. Returns whether there was something.

        Args:
            unsent: By channel or collector, how many entries were dropped on the way there, since last told.
        """
        for name, count in unsent.items():
            self._unsent[name] += count
        # Never wait for this lock: who holds it may have been interrupted by one who waits for us.
        if not self._counts.lock.acquire(blocking=False):
            return False
        try:
            news = [self._tell_health(), self._tell_recovery(), self._tell_dropped(), self._tell_unsent()]
            return any(news)
        finally:
            self._counts.lock.release()

    def _reason(self) -> str | None:
        """Return why the logger does not work as it should; None when it does."""
        error = self._files.error
        if error is not None:
            return error.strerror or type(error).__name__
        if drainer.lost:
            return _NO_THREAD
        return _HANGS if drainer.hangs else None

    def _tell_health(self) -> bool:
        change = self._health.change(self._reason(), self._clock, self._counts)
        if change is not None:
            self._announce(change.level, change.message, **change.fields)
        return change is not None

    def _tell_dropped(self) -> bool:
        dropped = self._counts.announcement()
        if dropped:
            self._announce("warning", "log.dropped", dropped=sum(dropped.values()), by_level=dropped)
        return bool(dropped)

    def _tell_unsent(self) -> bool:
        unsent, self._unsent = self._unsent, Counter()
        if unsent:
            self._announce("warning", "log.unsent", unsent=sum(unsent.values()), by_channel=dict(unsent))
        return bool(unsent)

    def _tell_recovery(self) -> bool:
        found = self._files.take_recovery()
        if found is None:
            return False
        if found.damaged or found.set_aside:
            text = f"{found.damaged} bytes of a dead process's journal are damaged and were set aside"
            self._files.diagnostics.report("recovery", f"{text}: {', '.join(found.set_aside)}")
        if not found.entries and not found.torn:
            return False
        self._counts.recovered += found.entries
        torn = {"torn": found.torn} if found.torn else {}
        self._announce("warning", "log.recovered", recovered=found.entries, lines=found.lines, **torn)
        return True
