"""Records of `logging` and warnings of `warnings`, brought into a pipeline with their extra fields.

Only the installed logger captures, so that a record is written once. The former handlers are put back when it
closes. Libraries whose DEBUG and INFO lines carry credentials start at WARNING; a level that the
user set for them is respected.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any, Final, TextIO

from metaexpert.logger import schema
from metaexpert.logger.bound import BoundLogger, named
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.entry.values import safe_str
from metaexpert.logger.masking.rules import HiddenArguments, Rules
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.uncaught import Uncaught

#: Their DEBUG and INFO lines hold URLs with tokens, headers and signed bodies.
TALKATIVE: Final = ("httpx", "httpcore", "urllib3", "websockets", "aiohttp", "ccxt")
WARNINGS_LOGGER: Final = "py.warnings"
#: What each record has by itself; all else came by ``extra``.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class StdlibHandler(logging.Handler):
    """Hands records on to the bound logger. Never raises, whatever a record holds."""

    def __init__(self, logger: BoundLogger) -> None:
        super().__init__()
        self._logger = logger
        self._named: dict[str, BoundLogger] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record* under its own name, level, message and extra fields."""
        try:
            logger = self._named.get(record.name)
            if logger is None:
                logger = self._named[record.name] = named(self._logger, record.name, self._logger._context)
            message, trouble = _message(record, self._logger._logger.pipeline.rules)
            logger.log(record.levelno, message, **_fields(record), **trouble)
        except Exception as error:  # a record of a class whose attributes raise
            let_pass(error)
            self._logger._logger.pipeline.health.failed("a record of logging could not be taken", error)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit as `logging.Handler` does, but without its lock, which a signal handler might wait for."""
        kept = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def createLock(self) -> None:  # noqa: N802 - overrides logging's
        """No lock: a log call needs none, and one less can be held at a fork."""
        self.lock = None


def _message(record: logging.LogRecord, rules: Rules) -> tuple[str, dict[str, Any]]:
    try:
        plain = type(record) is logging.LogRecord and "%(" in (text := safe_str(record.msg))
        if plain and isinstance(record.args, Mapping) and record.args:
            return text % HiddenArguments(record.args, rules), {}
        return record.getMessage(), {}
    except Exception as error:  # arguments that do not fit: the template and they are kept
        let_pass(error)
        trouble = {"positional_args": record.args, "format_error": f"{type(error).__name__}: {safe_str(error)}"}
        return safe_str(record.msg), trouble


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {name: value for name, value in vars(record).items() if name not in _OWN}
    if record.exc_info is not None:
        fields["exc_info"] = record.exc_info
    if record.stack_info is not None:
        fields["stack_info"] = record.stack_info
    return fields


class Capture:
    """What was put into `logging` and `warnings` for one logger, and how to take it out again."""

    def __init__(self, logger: BoundLogger, config: LoggerConfig, uncaught: Uncaught | None = None) -> None:
        self._logger = logger
        self._uncaught = uncaught
        self._handler: StdlibHandler | None = None
        self._quietened: list[logging.Logger] = []
        self._level_before = self._level_set = logging.NOTSET
        if config.capture_stdlib:
            self._take_logging(config)
        if config.capture_warnings:
            self._warnings = named(logger, WARNINGS_LOGGER, logger._context)
            self._show_before = warnings.showwarning
            warnings.showwarning = self._show

    def set_level(self, number: int) -> None:
        """Take records from level *number* up, unless somebody else has set the root logger's level since."""
        root = logging.getLogger()
        if self._handler is not None and root.level == self._level_set:
            root.setLevel(number)
            self._level_set = number

    def release(self) -> None:
        """Put back what was there, unless somebody else has replaced it since."""
        root = logging.getLogger()
        if self._handler is not None:
            root.removeHandler(self._handler)
            if root.level == self._level_set:
                root.setLevel(self._level_before)
            for logger in self._quietened:
                if logger.level == logging.WARNING:
                    logger.setLevel(logging.NOTSET)
            self._handler, self._quietened = None, []
        if warnings.showwarning == self._show:
            warnings.showwarning = self._show_before

    def _take_logging(self, config: LoggerConfig) -> None:
        root = logging.getLogger()
        self._level_before = root.level
        self._level_set = schema.LEVEL_NUMBERS[config.log_level.lower()]
        root.setLevel(self._level_set)
        self._handler = StdlibHandler(self._logger)
        if self._uncaught is not None:
            self._handler.addFilter(self._uncaught)
        root.addHandler(self._handler)
        for name in TALKATIVE:
            logger = logging.getLogger(name)
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.WARNING)
                self._quietened.append(logger)

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
        if file is not None:  # somebody wants it in a file of theirs
            self._show_before(message, category, filename, lineno, file, line)
            return
        kind = getattr(category, "__name__", str(category))
        self._warnings.warning(safe_str(message), warning_category=kind, warning_file=filename, warning_line=lineno)
