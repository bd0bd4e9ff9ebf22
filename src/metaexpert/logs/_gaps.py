"""Gaps in the sequence ids of a process.

A process is known by host name and process id. In containers each run is process 1, after a kill as after
``os.execv``, and on a shared volume two may run at once under one name. Three things tell runs apart: each has a number
once, its numbers follow one another in the order of writing, and they have their time from the first to the last.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from math import nan
from typing import Final

from metaexpert.logs.entry import TIME_BEGIN, TIME_END

#: Seconds by which times may go back while numbers go on: threads may swap, and a clock is set.
SLACK: Final = 2.0
#: No number follows this one.
_NONE: Final = -2

#: Returns the time of a number's entry, as it stands there.
TimeOf = Callable[[int], bytes]


class SeenNumbers:
    """The sequence ids that were seen under one host name and process id, sorted into the runs that they belong to.

    Trades and errors that do not follow another number, as in files of their own, come last, when the others have
    shown which runs there are.
    """

    def __init__(self) -> None:
        self._runs: list[Run] = [Run()]
        #: Where the last number went, that number, and how to find the time of the last ordinary one.
        self._latest, self._number = self._runs[0], _NONE
        self._end: tuple[TimeOf, int] | None = None
        self._special_times, self._special_numbers = array("d"), array("q")

    def add(self, number: int, *, ordinary: bool, time: bytes = b"") -> None:
        """Add a number.

        Args:
            number: The number.
            ordinary: Whether its entry is neither a trade nor an error.
            time: The time of the entry, as it stands there.
        """
        if ordinary:
            self.add_run(number, number, lambda _: time)
        elif number == self._number + 1 and self._latest.put(number, number):
            self._number = number
        else:
            self._number = _NONE
            self._special_times.append(seconds(time))
            self._special_numbers.append(number)

    def add_run(self, first: int, last: int, time_of: TimeOf = lambda _: b"") -> None:
        """Add the numbers from *first* to *last*, of ordinary entries that follow one another, as `add` one by one."""
        if first != self._number + 1 or not self._latest.put(first, last):
            self._finish()  # before the next time is asked for: those are found in the order of the lines
            self._begin(first, seconds(time_of(first)))
            if first < last and not self._latest.put(first + 1, last):
                for number in range(first + 1, last + 1):
                    self.add_run(number, number, time_of)
                return
        self._number, self._end = last, (time_of, last)
        self._latest.floor = first if self._latest.floor is None else min(self._latest.floor, first)

    def continue_run(self, first: int, last: int, ordinary: Sequence[int], time_of: TimeOf) -> bool:
        """Add new numbers from *first* to *last* at once, if they follow the last one; return whether they do.

        Args:
            first: The first.
            last: The last.
            ordinary: First and last of each range of those that are ordinary, at least one.
            time_of: Returns the time of an ordinary one.
        """
        if first != self._number + 1 or not self._latest.put(first, last):
            return False
        self._number, self._end = last, (time_of, ordinary[-1])
        self._latest.floor = ordinary[0] if self._latest.floor is None else min(self._latest.floor, ordinary[0])
        return True

    def skip(self, number: int) -> None:
        """Note the number of a copy, which is added where it stands first."""
        self._number = number if number == self._number + 1 else _NONE

    def gaps(self) -> Iterable[tuple[int, int]]:
        """Yield the first and last number of each gap.

        There are none below the lowest ordinary number: trades and errors have files of their own, which reach further
        back than the file of all entries.
        """
        self._add_specials()
        for run in self._runs:
            for end, start in run.holes():
                if run.floor is not None and start > run.floor:
                    yield max(end, run.floor - 1) + 1, start - 1

    def _begin(self, number: int, moment: float) -> None:
        """Put an ordinary number that follows no other."""
        self._latest = self._best(number, moment, ordered=True)
        self._latest.put(number, number)
        self._latest.note(number, moment)
        self._number = number
        self._latest.floor = number if self._latest.floor is None else min(self._latest.floor, number)

    def _finish(self) -> None:
        if self._end is not None:
            (time_of, number), self._end = self._end, None
            self._latest.note(number, seconds(time_of(number)))

    def _add_specials(self) -> None:
        self._finish()
        for moment, number in sorted(zip(self._special_times, self._special_numbers, strict=True)):
            self._latest = self._best(number, moment, ordered=False)
            self._latest.fill(number, moment)
        self._number = _NONE
        self._special_times, self._special_numbers = array("d"), array("q")

    def _best(self, number: int, moment: float, *, ordered: bool) -> Run:
        """Return the run of a number; *ordered* says whether numbers come in the order of writing."""
        if self._latest.agrees(number, moment) and self._latest.continues(number):
            return self._latest
        free = [run for run in self._runs if run.lacks(number)]
        agreeing = [run for run in free if run.agrees(number, moment)]
        if found := next((run for run in agreeing if run.continues(number)), None):
            return found
        if ordered and number > self._latest.highest and self._latest in free:  # although the clock may be set back
            return self._latest
        if agreeing:
            return max(agreeing, key=lambda run: run.below(number))
        if not ordered:  # of two at a time, a run may have taken in a part of the other
            beside = [run for run in free if run.continues(number) or len(self._runs) == 1]
            if beside:
                return beside[0]
        self._runs.append(Run())  # the process was restarted, or there is another one
        return self._runs[-1]


class Times:
    """The times of ordinary entries in whole lines of our writer's, asked for in the order of the lines."""

    def __init__(self, data: bytes, pid: bytes) -> None:
        self._data = data
        self._head = b'"procid":"' + pid + b'","msgid":"log","sequence_id":'
        self._at = 0

    def __call__(self, number: int) -> bytes:
        """Return the time of the entry *number*."""
        text = b"%s%d," % (self._head, number)
        at = self._data.find(text, self._at)
        self._at = at if at >= 0 else max(self._data.find(text), 0)
        start = self._data.rfind(b"\n", 0, self._at) + 1
        return self._data[start + TIME_BEGIN : start + TIME_END]


@lru_cache(64)
def _of_second(time: bytes) -> float:
    try:
        return datetime.fromisoformat(f"{time.decode()}+00:00").timestamp()
    except ValueError:  # a foreign line, whose time is no date
        return nan


def seconds(time: bytes) -> float:
    """Return a timestamp in whole seconds since the epoch; NaN, which no comparison finds different, for none."""
    return _of_second(time[:19]) if time else nan


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

    def __contains__(self, number: int) -> bool:
        """Return whether *number* is one of them."""
        ranges = self.ranges
        at = len(ranges) if ranges and ranges[-1][0] <= number else bisect_right(ranges, (number, sys.maxsize))
        return at > 0 and ranges[at - 1][1] >= number

    def fits(self, runs: Iterable[tuple[int, int]]) -> bool:
        """Return whether all numbers of *runs* are new, and none is in two of them."""
        end = 0
        for first, last in sorted(runs):
            at = bisect_right(self.ranges, (last, sys.maxsize))
            if first <= end or (at and self.ranges[at - 1][1] >= first):
                return False
            end = last
        return True

    def add_all(self, runs: Sequence[tuple[int, int]]) -> bool:
        """Add the numbers of *runs* if all of them are new; return whether they are."""
        return self.add(*runs[0]) if len(runs) == 1 else self.fits(runs) and all(self.add(*one) for one in runs)

    def add(self, first: int, last: int) -> bool:
        """Add numbers if all of them are new; return whether they are."""
        ranges = self.ranges
        if ranges and ranges[-1][1] + 1 == first:  # the usual case
            ranges[-1] = (ranges[-1][0], last)
            return True
        if not ranges or ranges[-1][1] < first:
            ranges.append((first, last))
            return True
        at = bisect_right(ranges, (first, sys.maxsize))
        before, after = (ranges[at - 1] if at else None), (ranges[at] if at < len(ranges) else None)
        if (before and first <= before[1]) or (after and last >= after[0]):
            return False
        low = before[0] if before and before[1] + 1 == first else first
        high = after[1] if after and after[0] - 1 == last else last
        ranges[at - (low != first) : at + (high != last)] = [(low, high)]
        return True


class Run(NumberRanges):
    """The numbers of one run of a process, and the bounds of their times.

    Attributes:
        lowest: The lowest number; 0 for none.
        highest: The highest.
    """

    __slots__ = ("_begin", "_end", "_first", "_last", "_special", "highest", "lowest")

    def __init__(self) -> None:
        super().__init__()
        self.lowest = self.highest = 0
        #: The time of the lowest number, of the highest, the earliest and the latest.
        self._begin = self._end = self._first = self._last = nan
        self._special: set[int] = set()

    def put(self, first: int, last: int) -> bool:
        """Add numbers if all of them are new; return whether they are."""
        if not self.add(first, last):
            return False
        self.lowest, self.highest = min(self.lowest or first, first), max(self.highest, last)
        return True

    def fill(self, number: int, moment: float) -> None:
        """Add a number that is new, and may be anywhere. Only where there are no ordinary ones it sets bounds."""
        self._special.add(number)
        if self.floor is None:
            self.lowest, self.highest = min(self.lowest or number, number), max(self.highest, number)
            self.note(number, moment)

    def note(self, number: int, moment: float) -> None:
        """Note the time of a number that was added."""
        if number == self.lowest:
            self._begin = moment
        if number == self.highest:
            self._end = moment
        if not self._first <= moment:  # also when there is none yet
            self._first = moment
        if not self._last >= moment:
            self._last = moment

    def agrees(self, number: int, moment: float) -> bool:
        """Return whether no lower number is later, and no higher one earlier."""
        if number < self.lowest:
            return not moment > self._begin + SLACK
        if number > self.highest:
            return not moment < self._end - SLACK
        return not (moment < self._first - SLACK or moment > self._last + SLACK)

    def lacks(self, number: int) -> bool:
        """Return whether a number is new."""
        end = self.ranges[at - 1][1] if (at := self._at(number)) else 0
        return end < number and number not in self._special

    def continues(self, number: int) -> bool:
        """Return whether a number is new, and one beside it is there."""
        return self.lacks(number) and not (self.lacks(number - 1) and self.lacks(number + 1))

    def below(self, number: int) -> int:
        """Return the next lower ordinary number; 0 for none."""
        return self.ranges[at - 1][1] if (at := self._at(number)) else 0

    def holes(self) -> Iterator[tuple[int, int]]:
        """Yield, for each hole, the number before it and the one after it."""
        before = None
        for first, last in sorted([*self.ranges, *((number, number) for number in self._special)]):
            if before is not None and first > before + 1:
                yield before, first
            before = last

    def _at(self, number: int) -> int:
        return bisect_right(self.ranges, (number, sys.maxsize))
