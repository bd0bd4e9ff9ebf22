"""The ring of the flight recorder: a lane whose oldest lines make room for new ones.

Bound: its segments take `limit` bytes, and one more that is being prepared; twice as much while a dump is written, for
whose time nothing is overwritten. A line that finds no room even then is counted as ``refused``.

Threads: those of a lane. The writing thread writes a dump between `hold` and `release`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from metaexpert.logger.journal.journal import SHARE, SMALLEST_SEGMENT, USUAL_SEGMENT, Journal
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.segment import HEADER_SIZE, RING_SUFFIX, Segment
from metaexpert.logger.system.count import Count

#: The lane's name, which no file can have.
RING_NAME: Final = ":recorder"
_NUMBER: Final = re.compile(rb'"sequence_id":(\d+)')
#: Where the time stands in a line, and its length.
_TIME_AT: Final = len('{"timestamp":"')
_TIME: Final = len("2026-11-28T20:44:21.123456Z")


class Ring(JournalLane):
    """The lane of what is recorded and goes to no file. Its lines have numbers of their own.

    Args:
        journal: Where its segments lie.
        limit: Their bytes.

    Attributes:
        limit: The same.
        numbers: Counts its lines, from 1.
        wanted: A dump is to bring the lines before this number; None while none is wanted.
        refused: Counts lines that found no room.
        counts: What became of the others: ``overwritten``, ``dumped``; and the ``dumps`` and the files that were
            ``deleted``.
    """

    _most_waiting = 2**31

    def __init__(self, journal: Journal, limit: int) -> None:
        super().__init__(journal, RING_NAME)
        self.limit = limit
        self._size = max(SMALLEST_SEGMENT, min(limit // SHARE, USUAL_SEGMENT))
        self._begin()

    def _begin(self) -> None:
        self.numbers, self.refused = Count(1), Count()
        self.wanted: int | None = None
        self.counts: Counter[str] = Counter()
        self._held = False

    # -- room -------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of all of its segments."""
        return sum(segment.size for segment in self.segments())

    @property
    def thirsty(self) -> bool:
        """Whether the next segment is yet to be prepared."""
        return bool(self._segments) and not self._spare and not self._shut

    @property
    def ended(self) -> bool:
        """Whether it takes no more lines."""
        return self._shut

    def _take(self, length: int, *, reserve: bool) -> Segment | None:
        if (spare := self._fitting_spare(length)) is not None:
            return spare
        wanted, limit = max(self._size, length + HEADER_SIZE), self.limit * (2 if self._held else 1)
        while self.size + wanted > limit:
            oldest = self._oldest()
            if oldest is None:
                return None
            if oldest.size >= wanted and self._journal.keeps(oldest) and self.size + oldest.size <= limit:
                return self._emptied(oldest)
            oldest.discard()
        return self._new_segment(wanted, reserve=reserve)

    def _new_segment(self, size: int, *, reserve: bool) -> Segment | None:
        return self._journal.make_segment(self._name, size, RING_SUFFIX)

    def _oldest(self) -> Segment | None:
        """Take the oldest segment out, whose lines are lost with it. Under the lane's lock."""
        if self._held or len(self._segments) < 2:  # the last one takes lines
            return None
        oldest = self._segments.popleft()
        start, end = oldest.drained, oldest.end()
        if end > start:
            self.counts["overwritten"] += _number(oldest, _last_line(oldest, end)) - _number(oldest, start) + 1
        return oldest

    def _emptied(self, segment: Segment) -> Segment:
        end = segment.end()
        segment.commit(end)  # first: a death in the middle must leave nothing that looks like a torn line
        segment.clear(end)
        return segment

    def prepare(self) -> None:
        """Have the next segment ready, so that no caller has to empty or make one. For the writing thread."""
        if not self.thirsty:
            return
        segment = None
        if self.size + self._size <= self.limit:
            segment = self._new_segment(self._size, reserve=False)
            if segment is not None:
                segment.warm()
        elif self._lock.acquire(blocking=False):  # never wait: its holder may have been interrupted
            try:
                segment = self._oldest()
            finally:
                self._lock.release()
            if segment is not None:
                self._emptied(segment)
        if segment is not None:
            self._spare.append(segment)

    # -- a dump -----------------------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Overwrite nothing until `release`. Returns False, for another try, while a caller is at the segments."""
        if not self._lock.acquire(blocking=False):
            return False
        self._held = True
        self._lock.release()
        return True

    def release(self) -> None:
        """Overwrite the oldest lines again."""
        self._held = False

    def pieces(self, before: int) -> list[tuple[Segment, int, int]]:
        """Return segment, start and end of the lines that were not dumped, with numbers below *before*; oldest first.

        Between `hold` and `release`.
        """
        found = [(piece.segment, piece.start, _cut(*piece[:3], before)) for piece in self.pending()]
        return [(segment, start, end) for segment, start, end in found if end > start]

    # -- what a lane of a file tells ----------------------------------------------------------------------------

    @property
    def allocated(self) -> int:
        """0: it is no part of what the journal may take."""
        return 0

    @property
    def waiting(self) -> int:
        """0: no file waits for its lines."""
        return 0

    @property
    def open_room(self) -> int:
        """0, likewise."""
        return 0

    def rest(self) -> None:
        """Do nothing: the thread is told of new segments, not of lines."""

    def _grown(self) -> None:
        self._journal.on_stir()

    def close(self) -> None:
        """Give everything back: at a good end nobody wants what was recorded."""
        self.shut()
        for segment in list(self._segments):
            segment.commit(segment.end())
        super().close()

    def forget(self) -> None:
        """Leave the parent's segments to the parent, and begin anew."""
        super().forget()
        self._size = max(SMALLEST_SEGMENT, min(self.limit // SHARE, USUAL_SEGMENT))
        self._begin()


def last_time(segment: Segment, end: int) -> str:
    """Return the time of the last line before *end*, as it stands there: ``2026-11-28T20:44:21.123456Z``."""
    start = _last_line(segment, end) + _TIME_AT
    return segment.map[start : start + _TIME].decode("ascii", "replace")


def count_lines(segment: Segment, start: int, end: int) -> int:
    """Return how many lines stand between *start* and *end*. Their numbers follow each other."""
    return _number(segment, _last_line(segment, end)) - _number(segment, start) + 1


def _last_line(segment: Segment, end: int) -> int:
    return max(segment.map.rfind(b"\n", HEADER_SIZE, end - 1) + 1, HEADER_SIZE)


def _number(segment: Segment, at: int) -> int:
    match: Any = _NUMBER.search(segment.map, at)
    return int(match[1])


def _cut(segment: Segment, start: int, end: int, before: int) -> int:
    """Return where, in a range of whole lines, the first one stands whose number is not below *before*."""
    while start < end:
        middle = segment.map.rfind(b"\n", start, (start + end) // 2) + 1 or start
        if _number(segment, middle) < before:
            start = segment.map.find(b"\n", middle, end) + 1
        else:
            end = middle
    return start
