"""The levels of one pipeline: `log_level`, and those of loggers that have one of their own by their name.

Each level has its own routes, chosen when a logger is made. A call costs the same with and without them. A level that
is set for a while at run time (`override`) is looked up by each call meanwhile, since it may concern any logger.

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
        self._make = make
        self._own: dict[int, LevelRoutes] = {}
        self._by_name: Final = {name: self._at(LEVEL_NUMBERS[level.lower()]) for name, level in levels.items()}
        #: The routes that hold for a while, by name; replaced, never changed.
        self.overrides: Mapping[str, LevelRoutes] = {}

    @property
    def all(self) -> tuple[LevelRoutes, ...]:
        """The routes of every level that a logger has, or has had for a while."""
        return (self.base, *self._own.values())

    def prepare(self, levels: Mapping[str, int]) -> None:
        """Make the routes of these levels, to be refreshed before an `override`."""
        for number in levels.values():
            self._at(number)

    def override(self, levels: Mapping[str, int]) -> None:
        """Have the loggers of these names, and those below them, log at these levels for as long as no others do."""
        self.overrides = {name: self._at(number) for name, number in levels.items()}

    def of(self, name: str | None) -> LevelRoutes:
        """Return the routes of the logger called *name*: of the longest name with a level that it begins with.

        An override comes first.
        """
        return _found(name, self.overrides) or self.lasting(name)

    def lasting(self, name: str | None) -> LevelRoutes:
        """Return the routes of the logger called *name* without a look at overrides."""
        return _found(name, self._by_name) or self.base

    def _at(self, number: int) -> LevelRoutes:
        if number not in self._own:
            self._own = {**self._own, number: self._make(self.base.routing.at(number))}
        return self._own[number]


def _found(name: str | None, routes: Mapping[str, LevelRoutes]) -> LevelRoutes | None:
    while name and routes:
        if name in routes:
            return routes[name]
        name = name.rpartition(".")[0]
    return None
