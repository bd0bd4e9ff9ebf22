"""Which entries go where: a pure decision of level and kind.

Threads: levels are replaced in one step, while calls run.
"""

from __future__ import annotations

import copy
from typing import Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.schema import LEVEL_NUMBERS

EXPERT, TRADES, ERRORS, CONSOLE, ALERTS, EXPORT, RECORDER = 1, 2, 4, 8, 16, 32, 64
FILES: Final = EXPERT | TRADES | ERRORS
#: What leaves the machine, by threads of its own.
REMOTE: Final = ALERTS | EXPORT
ROUTE_NAMES: Final = ((EXPERT, "expert"), (TRADES, "trades"), (ERRORS, "errors"))


class Routing:
    """Where the entries of one logger go, at the levels of this moment."""

    def __init__(self, config: LoggerConfig) -> None:
        self._to_file = config.log_to_file
        self._to_console = config.log_to_console
        self._console_follows = config.is_default("console_level")
        #: Lowest level number that the files get.
        self.log_level = LEVEL_NUMBERS[config.log_level.lower()]
        self._console_level = LEVEL_NUMBERS[config.console_level.lower()]
        #: Lowest level that is an alert; None while there is no channel for one.
        self.alert_level: int | None = None
        #: Whether there is a collector, which gets what the files get.
        self.exports = False
        #: Whether there is a flight recorder, which gets what the files do not.
        self.records = False

    def at(self, number: int) -> Routing:
        """Return the like for loggers with a level of their own."""
        other = copy.copy(self)
        other.set_level(number)
        return other

    def set_level(self, number: int) -> None:
        """Set the files' level; the console follows unless it has a level of its own."""
        self.log_level = number
        if self._console_follows:
            self._console_level = number

    def gate(self) -> int:
        """Return the lowest level number that goes anywhere."""
        if self.records:
            return schema.DEBUG
        levels = [self.log_level] if self._to_file or self.exports else []
        levels += [self._console_level] if self._to_console else []
        return min([*levels, self.alert_level] if self.alert_level is not None else levels)

    def destinations(self, number: int, *, trade: bool) -> int:
        """Return where an entry of level *number* goes: a sum of `EXPERT`, `TRADES`, `ERRORS`, `CONSOLE` and so on."""
        to = (CONSOLE if self.shows(number) else 0) | self._remote(number, trade)
        if self._to_file and (trade or number >= self.log_level):
            to |= EXPERT if number >= self.log_level else 0
            to |= TRADES if trade else 0
            to |= ERRORS if number >= schema.ERROR else 0
        elif self.records:
            to |= RECORDER
        return to

    def own_destinations(self, number: int, *, alert: bool) -> int:
        """Return where an entry of the logger's own goes, past the gate of the files; as an *alert* at any level."""
        files = (EXPERT | (ERRORS if number >= schema.ERROR else 0)) if self._to_file else 0
        to = files | (CONSOLE if self.shows(number) else 0) | self._remote(number, trade=True)
        return to | (ALERTS if alert and self.alert_level is not None else 0)

    def _remote(self, number: int, trade: bool) -> int:
        to = ALERTS if self.alert_level is not None and number >= self.alert_level else 0
        return to | (EXPORT if self.exports and (trade or number >= self.log_level) else 0)

    def shows(self, number: int) -> bool:
        """Return whether the console shows an entry of level *number*."""
        return self._to_console and number >= self._console_level
