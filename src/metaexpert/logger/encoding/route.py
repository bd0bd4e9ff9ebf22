"""The last step of a call: what takes an entry, and what is told of it.

Threads: the pipeline replaces the attributes of a route by single operations, while calls run.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from metaexpert.logger.encoding.line import renumbered
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.interrupts import is_injected
from metaexpert.logger.system.native import core

#: Times that other threads may take the room that was made; then each lane takes the line for itself.
_MOST_TRIES: Final = 100


class Route(SimpleNamespace):
    """The route of one level's entries of a pipeline. Where the core was compiled, it is a type of the core.

    Attributes:
        trade: Whether they are trades.
        lanes: Journal lanes that take them.
        count: Counts the entries that were taken, if they are to be counted.
        after: Does what is left to do with an entry that was taken (console, waking, waiting), if anything.
        lost: Told of an entry, and how many lanes took it, when there was no room in all of them.
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


def deliver(route: Route, line: bytes) -> None:
    """Append *line* to the journal of each of its files, count it, and do what is due. Raises no `Exception`.

    Args:
        route: Where the entry goes.
        line: The entry with the number that was next when it was made; it gets the one that is next now.
    """
    try:
        if not keep(route, line):
            route.lost(line, 0)
    except Exception as error:  # no memory, or no room on the stack: another try would log it twice
        if is_injected(error):
            raise
        route.failed(error.with_traceback(None))


def keep(route: Route, line: bytes) -> bool:
    """Do as `deliver`, but return False, with nothing done, when the journal has no room for all of the files."""
    line, taken = _place(route, line) if route.lanes else (line, 0)
    if route.lanes and not taken:
        return False
    complete(route, line, taken)
    return True


def complete(route: Route, line: bytes, taken: int) -> None:
    """Do what is left to do with an entry that *taken* of its files, or of their lanes, have got."""
    if taken < len(route.lanes):
        route.lost(line, taken)
    if route.count is not None:
        next(route.count)
    if route.after is not None:
        route.after(line)


def _place(route: Route, line: bytes) -> tuple[bytes, int]:
    """Append *line* to all lanes or to none. Returns it as it was appended, and how many took it."""
    for _ in range(_MOST_TRIES):
        line, taken = _take(route, line)
        if taken is not None:
            return line, taken
        if not all(lane.make_room(len(line)) for lane in route.lanes):
            return line, 0
    return _append_each(route, line)


def _take(route: Route, line: bytes) -> tuple[bytes, int | None]:
    """Append *line* to all lanes if there is room now. Returns None, and nothing is done, if there is not."""
    if core is not None:  # in one step; who reads the number first may find that another entry has it
        number = route.numbers.value
        line = renumbered(line, number)
        return line, len(route.lanes) if core.take(route.lanes, route.numbers, line, number) else None
    with route.numbers.lock:
        line = renumbered(line, route.numbers.value)
        return _append_each(route, line) if all(lane.has_room(len(line)) for lane in route.lanes) else (line, None)


def _append_each(route: Route, line: bytes) -> tuple[bytes, int]:
    """Append *line*, with the next number, to each lane that takes it."""
    number, taken = next(route.numbers), 0
    try:
        line = renumbered(line, number)
        for lane in route.lanes:
            taken += _append(lane, line)
    finally:
        if not taken:
            route.numbers.give_back(number)
    return line, taken


def _append(lane: Any, line: bytes) -> bool:
    try:
        lane.write(line)
    except ValueError:  # a `__del__` that logs has taken the room
        return bool(lane.append(line, reserve=True))
    return True
