"""Records of `logging` and warnings of `warnings`, brought into a pipeline with their extra fields.

Only the installed logger captures, so that a record is written once. The former handlers are put back when it
closes. Libraries whose DEBUG and INFO lines carry credentials start at WARNING; a level that the
user set for them is respected, and one of `levels` counts before it.

The capture holds against a program that configures `logging` again (`basicConfig(force=True)`, dictConfig, fileConfig,
cleared handlers): `Capture.check`, which the writing thread calls about once a second, puts our handler back. Records
come in meanwhile all the same, because `metaexpert.logger.capture.handlers.watch` sees each of them. A level that the
program raised, or `logging.disable`, is its wish: the health says what is not captured.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, TextIO

from metaexpert.logger import lazy, schema
from metaexpert.logger.bound import BoundLogger, named
from metaexpert.logger.capture.echoes import Echoes
from metaexpert.logger.capture.handlers import StdlibHandler, watch
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.entry.values import safe_str
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.uncaught import Uncaught

#: Their DEBUG and INFO lines hold URLs with tokens, headers and signed bodies.
TALKATIVE: Final = ("httpx", "httpcore", "urllib3", "websockets", "aiohttp", "ccxt")
WARNINGS_LOGGER: Final = "py.warnings"
#: Servers whose loggers hand nothing on to the root logger. Their tracebacks are wanted even if they write files.
_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "daphne", "granian", "_granian"})
#: Loggers whose way is kept until the next check.
_MOST_WAYS: Final = 1000


class Capture:
    """What was put into `logging` and `warnings` for one logger, and how to take it out again."""

    def __init__(self, logger: BoundLogger, config: LoggerConfig, uncaught: Uncaught | None = None) -> None:
        self._logger = logger
        self._pipeline = logger._logger.pipeline
        self._uncaught = uncaught
        self._handler: StdlibHandler | None = None
        self._echo = Echoes(self._pipeline)
        #: Loggers with a level that we have set, and the one before.
        self._levelled: list[tuple[logging.Logger, int, int]] = []
        self._levels = {name: schema.LEVEL_NUMBERS[level.lower()] for name, level in config.levels.items()}
        #: Levels from outside that hold for a while, and what stands in their place: the level that we set, and before.
        self._overrides: Mapping[str, int] = {}
        self._overridden: dict[str, tuple[int, int]] = {}
        self._level_before = self._level_set = logging.NOTSET
        self._wanted = schema.LEVEL_NUMBERS[config.log_level.lower()]
        #: By logger, whether its records are to come in although they do not reach our handler.
        self._ways: dict[logging.Logger, bool] = {}
        #: Loggers that were disabled when somebody began to configure `logging`; None while nobody has.
        self._disabled: set[str] | None = None
        if config.capture_stdlib:
            self._take_logging()
        #: Whether warnings are to come in.
        self._shows = config.capture_warnings
        if config.capture_warnings:
            self._warnings = named(logger, WARNINGS_LOGGER, logger._context)
            self._show_before = warnings.showwarning
            warnings.showwarning = self._show

    def set_level(self, number: int) -> None:
        """Take records from level *number* up, unless somebody else has set the root logger's level since."""
        root = logging.getLogger()
        self._wanted = number
        if self._handler is not None and root.level == self._level_set:
            root.setLevel(number)
            self._level_set = number

    def override(self, number: int, own: Mapping[str, int]) -> None:
        """Take records from level *number* up, and those of single loggers from other ones, from the next check on."""
        self._wanted, self._overrides = number, own

    def _hold_levels(self, own: Mapping[str, int]) -> None:
        """Set the levels that hold for now, unless somebody else has set others since. Under the lock of `logging`."""
        root = logging.getLogger()
        if self._level_set != self._wanted and root.level == self._level_set:
            root.setLevel(self._wanted)
            self._level_set = self._wanted
        if {name: level for name, (level, _) in self._overridden.items()} == own:
            return
        for name, (level, before) in self._overridden.items():
            if (logger := logging.getLogger(name)).level == level:
                logger.setLevel(before)
        self._overridden = {name: (level, logging.getLogger(name).level) for name, level in own.items()}
        for name, level in own.items():
            logging.getLogger(name).setLevel(level)

    def release(self) -> None:
        """Put back what was there, unless somebody else has replaced it since."""
        root = logging.getLogger()
        with _logging_lock():  # so that no check puts it back
            handler, self._handler = self._handler, None
            if handler is not None:
                root.removeHandler(handler)
        if handler is not None:
            watch.end(self)
            if watch.before == self._way_of:
                watch.before = None
            self._hold_levels({})
            if root.level == self._level_set:
                root.setLevel(self._level_before)
            for logger, level, before in self._levelled:
                if logger.level == level:
                    logger.setLevel(before)
            self._echo.release()
            self._levelled = []
        self._shows = False
        if warnings.showwarning == self._show:
            warnings.showwarning = self._show_before

    def _take_logging(self) -> None:
        root = logging.getLogger()
        self._level_before = root.level
        self._level_set = self._wanted
        root.setLevel(self._level_set)
        self._handler = StdlibHandler(self._logger, self._reconfigured)
        if self._uncaught is not None:
            self._handler.addFilter(self._uncaught)
        self._echo.hush([*root.handlers, logging.lastResort])
        root.addHandler(self._handler)
        watch.before = self._way_of
        watch.begin(self)
        for name, level in starting_levels(self._levels).items():
            logger = logging.getLogger(name)
            if logger.level == logging.NOTSET or name in self._levels:
                self._levelled.append((logger, level, logger.level))
                logger.setLevel(level)

    # -- holding on -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Put back what somebody has taken out, and note what the program no longer wants. For the writing thread."""
        try:
            if self._handler is not None and not self._hold(self._handler):
                return
            self._hold_warnings()
            missing = [*self._lacking(), lazy.check(self._logger, self._wanted)]
            self._pipeline.health.lacks(", ".join(filter(None, missing)) or None)
        except Exception as error:  # a handler or logger of a class that raises
            let_pass(error)
            self._pipeline.health.report("the capture of logging could not be checked", error)

    def _reconfigured(self) -> None:
        """Note, within the call that configures `logging` anew, what it has not touched yet; look soon."""
        if self._disabled is None:
            self._disabled = {name for name, logger in _loggers() if logger.disabled}
        self._pipeline.directory.listeners.ask(self._pipeline)

    def _hold(self, handler: StdlibHandler) -> bool:
        """Have records of `logging` come in. Returns whether that was possible."""
        lock = _logging_lock()
        if not lock.acquire(blocking=False):  # waiting could be for ever: its holder may wait for this thread
            self._pipeline.directory.listeners.ask(self._pipeline)
            return False
        try:
            root = logging.getLogger()
            if self._handler is not handler:  # released meanwhile
                return False
            if self._disabled is not None:
                self._enable()
            if handler not in root.handlers:  # a new one: logging forgets those that it has closed, and tells no more
                self._handler = StdlibHandler(self._logger, self._reconfigured)
                self._handler.filters = handler.filters
                root.addHandler(self._handler)
            self._hold_levels(self._overrides)
            self._echo.hush([*root.handlers, logging.lastResort])
            self._ways = {}
        finally:
            lock.release()
        return True

    def _enable(self) -> None:
        """Enable the loggers that a configuration has disabled only because it does not name them, its default."""
        before, self._disabled = self._disabled or set(), None
        for name, logger in _loggers():
            if logger.disabled and name not in before:
                logger.disabled = False

    def _lacking(self) -> Iterator[str]:
        """Yield which records the program keeps from us."""
        if self._handler is None:
            return
        wanted, disabled, level = self._wanted, logging.root.manager.disable, logging.getLogger().level
        if disabled >= wanted:
            yield f"records of logging up to {logging.getLevelName(disabled)} (logging.disable)"
        elif level > wanted:
            yield f"records of logging below {logging.getLevelName(level)} (level of the root logger)"

    # -- loggers whose records do not reach the root logger ------------------------------------------------------

    def _way_of(self, logger: logging.Logger) -> Callable[[logging.LogRecord], object] | None:
        """Return what takes the records of *logger* after its handlers, if they may not reach our handler."""
        wanted = self._ways.get(logger)
        if wanted is None:
            if len(self._ways) >= _MOST_WAYS:
                self._ways = {}
            wanted = self._ways[logger] = self._look_at(logger)
        return self._take if wanted else None

    def _look_at(self, logger: logging.Logger) -> bool:
        """Return whether we want the records of *logger*, unless they are silenced or kept in a file of their own."""
        current: logging.Logger | None = logger
        handlers: list[logging.Handler] = []
        while current is not None:
            handlers += current.handlers
            if not current.propagate and current.parent is not None:
                break
            current = current.parent
        if current is not None:
            heard = [handler for handler in handlers if not isinstance(handler, logging.NullHandler)]
            server = current.name.partition(".")[0] in _SERVERS
            if not (heard if server else [h for h in heard if not isinstance(h, logging.FileHandler)]):
                return False
        self._echo.hush(handlers)
        return True

    def _take(self, record: logging.LogRecord) -> None:
        handler = self._handler
        if handler is not None and not handler.has(record):
            handler.handle(record)

    # -- warnings -----------------------------------------------------------------------------------------------

    def _hold_warnings(self) -> None:
        """Have warnings come in again after a ``catch_warnings`` that began before us; one that records goes on."""
        plain = warnings.showwarning is getattr(warnings, "_showwarning_orig", None)
        if self._shows and plain and isinstance(getattr(warnings, "_showwarnmsg_impl", None), FunctionType):
            warnings.showwarning = self._show

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Log a warning; takes the place of `warnings.showwarning`."""
        if file is not None or not self._shows:  # somebody wants it in a file of theirs, or has put us back too late
            self._show_before(message, category, filename, lineno, file, line)
            return
        kind = getattr(category, "__name__", str(category))
        self._warnings.warning(safe_str(message), warning_category=kind, warning_file=filename, warning_line=lineno)


def starting_levels(own: Mapping[str, int]) -> dict[str, int]:
    """Return the levels at which loggers of `logging` start, by name, with those that the configuration sets."""
    return {**dict.fromkeys(TALKATIVE, logging.WARNING), **own}


def _logging_lock() -> Any:
    """Return the lock of `logging`, which is held for as long as a configuration takes."""
    return logging._lock  # type: ignore[attr-defined]


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = list(logging.root.manager.loggerDict.items())
    return [(name, logger) for name, logger in known if isinstance(logger, logging.Logger)]
