"""The last step of a call: what takes an entry, and what is told of it.

Threads: the pipeline replaces the attributes of a route by single operations, while calls run.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from metaexpert.logger.encoding.line import SEQUENCE_ID
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.interrupts import is_injected
from metaexpert.logger.system.native import core


class Route(SimpleNamespace):
    """The route of one level's entries of a pipeline. Where the core was compiled, it is a type of the core.

    Attributes:
        trade: Whether they are trades.
        lanes: Journal lanes that take them.
        count: Counts the entries that were taken, if they are to be counted.
        after: Does what is left to do with an entry that was taken (console, waking, waiting), if anything.
        lost: Told of an entry, and how many lanes took it, when a lane did not.
        failed: Told of an error that nothing else could be done with; needs no room on the stack.
        check: For the fast call: None while every entry is taken; otherwise returns whether this one may go that way.
        head: For the fast call: the line from behind the microseconds to the number.
        numbers: For the fast call: counts the sequence numbers.
    """

    trade: bool
    lanes: tuple[Any, ...]
    count: Count | None
    after: Callable[[bytes], None] | None
    lost: Callable[[bytes, int], None]
    failed: Callable[[Exception], object]
    check: Callable[[], bool] | None
    head: bytes
    numbers: Count


if core is not None:
    Route = core.Route  # type: ignore[misc]


def never() -> bool:
    """Stand in for `Route.check` where every entry goes the plain way."""
    return False


def give_back(numbers: Count, line: bytes) -> None:
    """Let the next entry have the number of *line*, which nobody has taken, if no other has come since."""
    if (found := SEQUENCE_ID.search(line)) is not None:
        numbers.give_back(int(found[1]))


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
        if route.count is not None and (taken or not route.lanes):
            next(route.count)
        if route.after is not None:
            route.after(line)
    except Exception as error:  # no memory, or no room on the stack: another try would log it twice
        if is_injected(error):
            if not taken:
                give_back(route.numbers, line)
            raise
        route.failed(error.with_traceback(None))
