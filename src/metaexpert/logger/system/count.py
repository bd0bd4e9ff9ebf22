"""A count without a lock, for what a log call counts."""

from __future__ import annotations

import itertools
from typing import Self

from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import RLock


class Count:
    """A count that several threads raise without a lock, by `next`. Where the core was compiled, it is a type of it.

    Args:
        start: The first number.
    """

    __slots__ = ("_count", "lock")

    def __init__(self, start: int = 0) -> None:
        self._count = itertools.count(start)
        #: For who reads it, raises it, and does something in between.
        self.lock = RLock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        return next(self._count)

    def give_back(self, number: int) -> None:
        """Let *number* be the next one again, if it was the last."""
        if self.value == number + 1:
            self._count = itertools.count(number)

    @property
    def value(self) -> int:
        """The next number."""
        return int(repr(self._count)[6:-1])  # "count(5)": the one way to read it that does not raise it


if core is not None:
    Count = core.Count  # type: ignore[misc]
