"""Gaps in the sequence ids of a process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class SeenNumbers:
    """The sequence ids that were seen of a process, as ranges. A restarted process begins a new run of numbers."""

    def __init__(self) -> None:
        self._runs: list[NumberRanges] = [NumberRanges()]

    def add(self, number: int, *, ordinary: bool) -> None:
        """Add a number, and whether its entry is *ordinary*: neither a trade nor an error."""
        run = self._runs[-1]
        if not run.add(number, number):  # seen before, on another entry: the process was restarted
            run = NumberRanges()
            run.add(number, number)
            self._runs.append(run)
        if ordinary and (run.floor is None or number < run.floor):
            run.floor = number

    def add_run(self, first: int, last: int) -> None:
        """Add the numbers from *first* to *last*, of ordinary entries, as `add` would one by one."""
        run = self._runs[-1]
        if run.add(first, last):
            run.floor = first if run.floor is None else min(run.floor, first)
            return
        for number in range(first, last + 1):
            self.add(number, ordinary=True)

    def gaps(self) -> Iterable[tuple[int, int]]:
        """Yield the first and last number of each gap.

        There are none below the lowest ordinary number: trades and errors have files of their own, which reach further
        back than the file of all entries.
        """
        for run in self._runs:
            for (_, end), (start, _) in zip(run.ranges, run.ranges[1:], strict=False):
                if run.floor is None or start > run.floor:
                    yield max(end, (run.floor or 0) - 1) + 1, start - 1


class NumberRanges:
    """Numbers of one run of a process, as ranges.

    Attributes:
        ranges: First and last number of each, in order.
        floor: The lowest number of an ordinary entry; None for none.
    """

    __slots__ = ("floor", "ranges")

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.floor: int | None = None

    def fits(self, runs: Iterable[tuple[int, int]]) -> bool:
        """Return whether all numbers of *runs* are new, and none is in two of them."""
        end = 0
        for first, last in sorted(runs):
            at = bisect_right(self.ranges, last, key=lambda pair: pair[0])
            if first <= end or (at and self.ranges[at - 1][1] >= first):
                return False
            end = last
        return True

    def add(self, first: int, last: int) -> bool:
        """Add numbers if all of them are new; return whether they are."""
        ranges = self.ranges
        if ranges and ranges[-1][1] + 1 == first:  # the usual case
            ranges[-1] = (ranges[-1][0], last)
            return True
        at = bisect_right(ranges, first, key=lambda pair: pair[0])
        before, after = (ranges[at - 1] if at else None), (ranges[at] if at < len(ranges) else None)
        if (before and first <= before[1]) or (after and last >= after[0]):
            return False
        low = before[0] if before and before[1] + 1 == first else first
        high = after[1] if after and after[0] - 1 == last else last
        ranges[at - (low != first) : at + (high != last)] = [(low, high)]
        return True
