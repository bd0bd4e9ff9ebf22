"""The levels of one pipeline: `log_level`, and those of loggers that have one of their own by their name.

Each level has its own routes, chosen when a logger is made. A call costs the same with and without them.

Threads: everything may be called by any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from metaexpert.logger.encoding.route import Route
from metaexpert.logger.hub._routing import Routing
from metaexpert.logger.schema import LEVEL_NUMBERS
from metaexpert.logger.system.count import Count


class LevelRoutes:
    """The routes of the loggers with one level.

    Args:
        routing: Says where their entries go.
        accepted: Counts, by level word, the entries that were taken.
        lost: Told of these routes, an entry, and how many lanes took it, when there was no room in all of them.
        failed: See `Route.failed`.
    """

    def __init__(
        self,
        routing: Routing,
        accepted: Mapping[str, Count],
        lost: Callable[[LevelRoutes, bytes, int], None],
        failed: Callable[[Exception], object],
    ) -> None:
        self.routing: Final = routing
        self.by_kind: Final = {
            (word, trade): Route(trade=trade, count=count, lost=partial(lost, self), failed=failed)
            for word, count in accepted.items()
            for trade in (False, True)
        }
        self.destinations: Final = dict.fromkeys(self.by_kind, 0)


class Levels:
    """Finds the routes of a logger by its name.

    Args:
        routing: That of `log_level`.
        levels: Names of loggers with their levels, which hold for the names below them too.
        make: Makes the routes of a routing.
    """

    def __init__(self, routing: Routing, levels: Mapping[str, str], make: Callable[[Routing], LevelRoutes]) -> None:
        self.base: Final = make(routing)
        numbers = {name: LEVEL_NUMBERS[level.lower()] for name, level in levels.items()}
        own = {number: make(routing.at(number)) for number in {*numbers.values()}}
        self._by_name: Final = {name: own[number] for name, number in numbers.items()}
        self.all: Final = (self.base, *own.values())

    def of(self, name: str | None) -> LevelRoutes:
        """Return the routes of the logger called *name*: of the longest name with a level that it begins with."""
        while name and self._by_name:
            if name in self._by_name:
                return self._by_name[name]
            name = name.rpartition(".")[0]
        return self.base
