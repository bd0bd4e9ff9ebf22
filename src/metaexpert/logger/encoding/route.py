"""Where the entries of one level go: what a log call needs of its pipeline, in attributes that the core reads too.

Threads: a call may run on any thread while the pipeline replaces the attributes; each replacement is one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Route:
    """The route of one level's entries. The core reads its slots, so their names stand in `system/core/module.c` too.

    Attributes:
        word: The level as it stands in the line.
        trade: Whether they are trades.
        head: The line from behind the microseconds to the number.
        number: Returns the next sequence number.
        lanes: Journal lanes that take them.
        count: Counts an entry that was taken.
        check: None while every entry is taken; otherwise returns whether this one may go the fast way.
        after: Does what is left to do with an entry that was taken (console, waking, waiting), if anything.
        lost: Told of an entry, and how many lanes took it, when a lane did not.
        failed: Told of an error that nothing else could be done with; needs no room on the stack.
    """

    __slots__ = ("after", "check", "count", "failed", "head", "lanes", "lost", "number", "trade", "word")

    def __init__(
        self,
        word: str,
        *,
        trade: bool,
        count: Callable[[], int],
        lost: Callable[[bytes, int], None],
        failed: Callable[[Exception], object],
    ) -> None:
        self.word = word
        self.trade = trade
        self.count = count
        self.lost = lost
        self.failed = failed
        self.head = b""
        self.number: Callable[[], int] = lambda: 0
        self.lanes: tuple[Any, ...] = ()
        self.check: Callable[[], bool] | None = never
        self.after: Callable[[bytes], None] | None = None


def never() -> bool:
    """Stand in for `Route.check` where every entry goes the plain way."""
    return False


def deliver(route: Route, line: bytes) -> None:
    """Append *line* to the journal of each of its files, count it, and do what is due. Raises no `Exception`."""
    taken = 0
    try:
        for lane in route.lanes:
            try:
                lane.write(line)
            except ValueError:  # the segment is full: on to the next one
                if not lane.append(line, reserve=True):
                    continue
            taken += 1
        if taken < len(route.lanes):
            route.lost(line, taken)
        if taken or not route.lanes:
            route.count()
        if route.after is not None:
            route.after(line)
    except Exception as error:  # no memory, or no room on the stack: another try would log it twice
        route.failed(error.with_traceback(None))
