"""Gaps in the sequence ids of a process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class SeenNumbers:
    """The sequence ids that were seen of a process, as ranges. A restarted process begins a new run of numbers."""

    def __init__(self) -> None:
        self._runs: list[_Run] = [_Run()]

    def add(self, number: int, *, ordinary: bool) -> None:
        """Add a number, and whether its entry is *ordinary*: neither a trade nor an error."""
        run = self._runs[-1]
        if not run.add(number):  # seen before, on another entry: the process was restarted
            run = _Run()
            run.add(number)
            self._runs.append(run)
        if ordinary and (run.floor is None or number < run.floor):
            run.floor = number

    def add_all(self, numbers: list[int], ordinary: list[bool]) -> None:
        """Add many numbers; fast when they are consecutive."""
        run, first, last = self._runs[-1], numbers[0], numbers[-1]
        if last - first + 1 == len(numbers) and run.extend(first, last) and numbers == list(range(first, last + 1)):
            if run.floor is None and True in ordinary:
                run.floor = numbers[ordinary.index(True)]
            return
        for number, plain in zip(numbers, ordinary, strict=True):
            self.add(number, ordinary=plain)

    def gaps(self) -> Iterable[tuple[int, int]]:
        """Yield the first and last number of each gap.

        There are none below the lowest ordinary number: trades and errors have files of their own, which reach further
        back than the file of all entries.
        """
        for run in self._runs:
            for (_, end), (start, _) in zip(run.ranges, run.ranges[1:], strict=False):
                if run.floor is None or start > run.floor:
                    yield max(end, (run.floor or 0) - 1) + 1, start - 1


class _Run:
    __slots__ = ("floor", "ranges")

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.floor: int | None = None

    def extend(self, first: int, last: int) -> bool:
        """Add numbers if they directly follow all others; return whether they do."""
        if self.ranges and self.ranges[-1][1] + 1 == first:
            self.ranges[-1] = (self.ranges[-1][0], last)
            return True
        return False

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        if self.extend(number, number):
            return True
        ranges = self.ranges
        at = bisect_right(ranges, number, key=lambda pair: pair[0])
        before, after = (ranges[at - 1] if at else None), (ranges[at] if at < len(ranges) else None)
        if before and number <= before[1]:
            return False
        low = before[0] if before and before[1] + 1 == number else number
        high = after[1] if after and after[0] - 1 == number else number
        ranges[at - (low != number) : at + (high != number)] = [(low, high)]
        return True
