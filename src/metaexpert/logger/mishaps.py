"""Entries that could not be logged as they were meant: counted, and told as soon as there is room on the stack.

Threads: everything may be called by any thread.
"""

from __future__ import annotations

import contextlib
from collections import deque

from metaexpert.logger.counts import Counts
from metaexpert.logger.files.diagnostics import Diagnostics


class Mishaps:
    """The mishaps of one logger.

    Args:
        counts: Where they are counted.
        diagnostics: Where they are told.
    """

    def __init__(self, counts: Counts, diagnostics: Diagnostics) -> None:
        self._counts = counts
        self._diagnostics = diagnostics
        #: Errors that log calls could do nothing with, not even count them: they had no room on the stack.
        self.errors: deque[Exception] = deque()
        self._untold: deque[tuple[str, BaseException]] = deque()

    def failed(self, message: str, error: BaseException) -> None:
        """Count and tell an entry that could not be logged as it was meant."""
        self._counts.failed += 1
        self.tell(message, error)

    def tell(self, message: str, error: BaseException) -> None:
        """Tell, now or soon, what happened to an entry that was counted already."""
        try:
            self._diagnostics.report(f"entry {type(error).__name__}", message, error=error)
        except Exception:  # no room on the stack, perhaps; the writing thread has some
            self._untold.append((message, error.with_traceback(None)))

    def catch_up(self) -> None:
        """Count and tell what log calls could not."""
        with contextlib.suppress(IndexError):  # another thread is at it too
            while self.errors:
                self.failed("a log call met an error, and its entry may be missing", self.errors.popleft())
            while self._untold:
                self.tell(*self._untold.popleft())
