"""A log's account of itself: whether it works, and its own entries about what was lost, dropped and recovered.

Threads: everything may be called by any thread. A thread that finds another one in `serve` leaves the work to it.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from metaexpert.logger.counts import Counts
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.interrupts import let_pass

_NO_THREAD: Final = "no writing thread, each call writes by itself"
_NO_MEMORY: Final = "no memory for the journal"
_HANGS: Final = "a write does not return"


class Health:
    """The health of one logger; as text ``ok``, or ``degraded: <reason> since <when>``.

    Args:
        counts: The logger's counts.
        clock: Returns the time as text.
        directory: Where it logs.
        announce: Logs an entry of the logger's own: level, message, and fields as keywords.
    """

    def __init__(
        self, counts: Counts, clock: Callable[[], str], directory: LogDirectory, announce: Callable[..., bool]
    ) -> None:
        self._counts = counts
        self._clock = clock
        self._directory = directory
        self._announce = announce
        self._reason: str | None = None
        self._since = ""
        self._began = 0.0
        self._before = 0, 0
        self._unsent: Counter[str] = Counter()
        self._uncaptured: str | None = None
        self._uncaptured_since = ""
        self._uncaptured_told: str | None = None
        #: Returns what outputs could not be started, and why; empty when all were.
        self.outputs_lack: Callable[[], str] = str
        #: Errors of log calls that had no room on the stack even to count them; with a text, only to report them.
        self.errors: deque[BaseException | tuple[str, BaseException]] = deque()

    def __str__(self) -> str:
        if self._reason is not None:
            return f"degraded: {self._current_reason() or self._reason} since {self._since}"
        if lack := self.outputs_lack():  # not announced yet
            return f"degraded: {lack} since {self._clock()}"
        missing = self._uncaptured
        return "ok" if missing is None else f"degraded: not captured: {missing} since {self._uncaptured_since}"

    def lacks(self, what: str | None) -> None:
        """Note that *what* is captured no longer, as the program wants it; None when everything is."""
        if what != self._uncaptured:
            self._uncaptured, self._uncaptured_since = what, self._clock()

    # -- entries that could not be logged as they were meant -----------------------------------------------------

    def failed(self, message: str, error: BaseException) -> None:
        """Count and report an entry that could not be logged as it was meant."""
        self._counts.failed += 1
        self.report(message, error)

    def report(self, message: str, error: BaseException) -> None:
        """Report, now or soon, a fault of an entry that is counted already."""
        try:
            self._directory.diagnostics.report(f"entry {type(error).__name__}", message, error=error)
        except Exception as failure:  # no room on the stack, perhaps; the writing thread has some
            let_pass(failure)
            self.errors.append((message, error.with_traceback(None)))

    def catch_up(self) -> None:
        """Count and report what log calls could not."""
        with contextlib.suppress(IndexError):  # another thread is doing the same
            for _ in range(len(self.errors)):  # one that cannot be reported comes back
                error = self.errors.popleft()
                if isinstance(error, tuple):
                    self.report(*error)
                else:
                    self.failed("a log call met an error, and its entry may be missing", error)

    # -- entries of the logger's own -----------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Return whether `serve` would find nothing, unless the directory's state or recovery is a new one."""
        told = self._uncaptured == self._uncaptured_told and not self._unsent and not self._counts.has_dropped
        return told and self._reason is None

    def serve(self, unsent: Mapping[str, int]) -> bool:
        """Announce what is new.

        Args:
            unsent: By channel or collector, how many entries were dropped on the way there, since last asked.

        Returns:
            Whether that was possible; if not, another thread is about to.
        """
        self.catch_up()
        self._unsent.update(unsent)
        if not self._has_news():
            return True
        # Never wait for this lock: its holder may have been interrupted by a caller that waits for us.
        if self._counts.lock.acquire(blocking=False):
            try:
                self._announce_change()
                self._announce_capture()
                self._announce_recovery()
                self._announce_dropped()
                self._announce_unsent()
            finally:
                self._counts.lock.release()
            return True
        return False

    def _has_news(self) -> bool:
        """Return whether there may be something to announce."""
        changed = self._current_reason() != self._reason
        changed = changed or self._uncaptured != self._uncaptured_told
        return changed or bool(self._unsent) or self._directory.recovery is not None or self._counts.has_dropped

    def _current_reason(self) -> str | None:
        """Return why the logger does not work as it should; None when it does."""
        error = self._directory.error
        reasons = [] if error is None else [error.strerror or type(error).__name__]
        if self._directory.journal.starved:
            reasons.append(_NO_MEMORY)
        if writing_thread.lost:
            reasons.append(_NO_THREAD)
        elif error is None and writing_thread.hangs_in(self._directory):
            reasons.append(_HANGS)
        if lack := self.outputs_lack():
            reasons.append(lack)
        return "; ".join(reasons) or None

    def _announce_change(self) -> None:
        reason = self._current_reason()
        if (reason is None) == (self._reason is None):
            self._reason = reason  # another one than before: only the end of all is worth an entry
            return
        before, self._reason = self._reason, reason
        counts = self._counts
        if reason is not None:
            self._since, self._began = self._clock(), monotonic()
            self._before = counts.written, counts.dropped
            self._announce("error", "log.degraded", reason=reason)
            return
        written, dropped = self._before
        fields: dict[str, Any] = {
            "reason": before,
            "since": self._since,
            "duration": round(monotonic() - self._began, 3),
            "delayed": counts.accepted - written,  # those that still wait came meanwhile, too
            "dropped": counts.dropped - dropped,
        }
        self._announce("warning", "log.healed", **fields)

    def _announce_capture(self) -> None:
        told, self._uncaptured_told = self._uncaptured_told, self._uncaptured
        if self._uncaptured is not None and told != self._uncaptured:
            self._announce("warning", "log.uncaptured", missing=self._uncaptured)
        elif told is not None and self._uncaptured is None:
            self._announce("info", "log.captured", missing=told)

    def _announce_dropped(self) -> None:
        dropped = self._counts.announcement()
        if dropped and self._announce("warning", "log.dropped", dropped=sum(dropped.values()), by_level=dropped):
            self._counts.announced(dropped)

    def _announce_unsent(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, Counter()
            self._announce("warning", "log.unsent", unsent=sum(unsent.values()), by_channel=dict(unsent))

    def _announce_recovery(self) -> None:
        found = self._directory.recovery
        if found is None:
            return
        self._directory.recovery = None
        if found.damaged or found.set_aside:
            text = f"{found.damaged} bytes of a dead process's journal are damaged and were set aside"
            self._directory.diagnostics.report("recovery", f"{text}: {', '.join(found.set_aside)}")
        self._counts.recovered += found.entries
        for level, message, fields in found.announcements():
            self._announce(level, message, **fields)
