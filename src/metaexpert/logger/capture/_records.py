"""A record of `logging` as an entry: its message, its fields, and its own time.

Nothing here keeps state, so any thread may use it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.bound import level_number
from metaexpert.logger.encoding.foreign_steps import EVENT, EXC_INFO, STACK_INFO, ExceptionText
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.values import safe_str
from metaexpert.logger.masking.rules import HiddenArguments, Rules
from metaexpert.logger.system.interrupts import let_pass

#: What each record has by itself; all else came by ``extra``.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
#: Attributes by which structlog's `ProcessorFormatter` finds its way back, in a record and in its event.
_STRUCTLOG: Final = frozenset({"_logger", "_name", "_record", "_from_structlog"})
#: Names of fields that may only repeat what the entry says, or hold others.
_SUSPECTS: Final = _STRUCTLOG | {"level", "timestamp", schema.LOGGER_KEY, "color_message", "extra"}
#: How a traceback begins below a message, and a stack below both.
_TRACE: Final = lazy_pattern(r"\n(?=(?:  \+ Exception Group )?Traceback \(most recent call last\):\n)")
_STACK: Final = "\nStack (most recent call last):\n"
#: What `logging` makes of ``exc_info=True`` where there is no exception.
_NO_TRACE: Final = ("", "NoneType: None")
#: Seconds. The time of a younger record is the time of the call, which the fast way takes by itself.
_FRESH: Final = 0.001
#: Seconds between the time of a record and a time stamp that another library has put on the same event.
_SAME_TIME: Final = 5.0


class RenderedEvent(str):
    """A text that a chain of structlog has rendered, with the event that it was rendered from."""

    fields: dict[str, Any]


def message_of(record: logging.LogRecord, rules: Rules) -> tuple[Any, dict[str, Any]]:
    """Return the message of *record*, and fields for what else is in it, or for arguments that do not fit.

    Arguments that are secret by their names, according to *rules*, are masked.
    """
    if type(record.msg) is not str and (event := _event_of(record)) is not None:
        return event.get(EVENT), {}
    try:
        if record.args is None and "message" in vars(record):
            return _split(record.getMessage())
        plain = type(record).getMessage is logging.LogRecord.getMessage and "%(" in (text := safe_str(record.msg))
        if plain and isinstance(record.args, Mapping) and record.args:
            return text % HiddenArguments(record.args, rules), {}
        return record.getMessage(), {}
    except Exception as error:  # arguments that do not fit: the template and they are kept
        let_pass(error)
        trouble = {"positional_args": record.args, "format_error": f"{type(error).__name__}: {safe_str(error)}"}
        return safe_str(record.msg), trouble


def _split(message: str) -> tuple[str, dict[str, Any]]:
    """Return a message without the traceback and the stack that a `QueueHandler` has put into it, and these."""
    found: dict[str, Any] = {}
    message, mark, stack = message.partition(_STACK)
    if mark:
        found[STACK_INFO] = mark[1:] + stack
    if (trace := _TRACE.search(message)) is not None:
        found[EXC_INFO] = ExceptionText(message[trace.end() :])
        message = message[: trace.start()]
    return message, found


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what *record* has besides its message, level, name and time, as fields of an entry."""
    own = vars(record)
    event = None if type(record.msg) is str else _event_of(record)
    if event is not None or not own.keys() <= _OWN:
        fields = {name: value for name, value in own.items() if name not in _OWN}
        if event is not None:
            fields |= {name: value for name, value in event.items() if name != EVENT}
        if not fields.keys().isdisjoint(_SUSPECTS):
            fields = _without_repeats(fields, record)
    else:
        fields = {}
    if not (record.exc_info is None and record.exc_text is None and record.stack_info is None):
        fields |= _traces(record, fields)
    _add_origin(record, fields)
    return fields


def level_of(record: logging.LogRecord) -> int:
    """Return the number of the level of *record*; one that came as JSON may have its name alone."""
    level: object = record.levelno
    return int(level) if isinstance(level, int | float) else level_number(record.levelname)


def time_of(record: logging.LogRecord) -> int | None:
    """Return when *record* was made, in nanoseconds since the epoch; None if that was just now."""
    try:
        created = record.created
        return None if -_FRESH < time.time() - created < _FRESH else round(created * 1_000_000) * 1000
    except (TypeError, ValueError, OverflowError) as error:  # a record that somebody has filled with something else
        let_pass(error)
        return None


def _event_of(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the event of structlog that *record* carries, if it does."""
    if type(record.msg) is RenderedEvent:
        return record.msg.fields
    if isinstance(record.msg, dict) and "_logger" in vars(record):  # ProcessorFormatter.wrap_for_formatter
        return record.msg
    return None


def _without_repeats(fields: dict[str, Any], record: logging.LogRecord) -> dict[str, Any]:
    """Return *fields* without those that say once more what the entry says, or how a terminal may show it."""
    for name in _STRUCTLOG & fields.keys():
        del fields[name]
    drop_stamps(fields, schema.level_word(record.levelno), record.created)
    if fields.get(schema.LOGGER_KEY) == record.name:  # its add_logger_name
        del fields[schema.LOGGER_KEY]
    if record.name.startswith("uvicorn"):
        fields.pop("color_message", None)  # the message again, with escape codes
    extra = fields.get("extra")
    if isinstance(extra, dict) and all(isinstance(name, str) for name in extra):  # loguru's bound values
        del fields["extra"]
        rest = {name: extra[name] for name in extra.keys() & fields.keys()}
        fields = {**extra, **fields, **({"extra": rest} if rest else {})}
    return fields


def drop_stamps(fields: dict[str, Any], word: str, created: float) -> None:
    """Remove level and time from *fields* when they were put there together with the entry, not by the caller."""
    if fields.get("level") == word:  # structlog's add_log_level
        del fields["level"]
    if "timestamp" in fields and _is_near(fields["timestamp"], created):  # its TimeStamper
        del fields["timestamp"]


def _is_near(value: object, created: float) -> bool:
    try:
        if isinstance(value, float):
            return abs(value - created) < _SAME_TIME
        if not isinstance(value, str):
            return False
        moment = datetime.fromisoformat(value)
        moments = (moment, moment.replace(tzinfo=UTC)) if moment.tzinfo is None else (moment,)  # local time, or UTC
        return any(abs(m.timestamp() - created) < _SAME_TIME for m in moments)
    except (TypeError, ValueError, OverflowError, OSError) as error:  # another text, or a time that no clock shows
        let_pass(error)
        return False


def _traces(record: logging.LogRecord, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return exception and stack of *record*; a traceback that came as text from another process counts too."""
    found: dict[str, Any] = {}
    error = _error(record.exc_info)
    if error is None:
        error = _error(record.exc_text)
    if error is not None:
        found[EXC_INFO] = error
    if record.stack_info is not None and STACK_INFO not in fields:
        found[STACK_INFO] = record.stack_info
    return found


def _error(given: object) -> object:
    """Return what *given* tells of an exception, as ``exc_info`` may be; None if that is nothing."""
    if isinstance(given, str):
        return ExceptionText(given) if given.strip() not in _NO_TRACE else None
    if isinstance(given, tuple):
        return given if any(isinstance(part, BaseException) for part in given) else None
    return given if isinstance(given, BaseException) or given is True else None


def _add_origin(record: logging.LogRecord, fields: dict[str, Any]) -> None:
    """Add process and thread of a record that was made elsewhere."""
    if record.process != os.getpid() and record.process is not None:
        fields["process"] = record.process
    if record.processName != _process_name() and record.processName is not None:
        fields["process_name"] = record.processName
    if record.threadName != threading.current_thread().name and record.threadName is not None:
        fields["thread_name"] = record.threadName


def _process_name() -> str:
    multiprocessing = sys.modules.get("multiprocessing")  # as logging does: where it is not loaded, there is one only
    return multiprocessing.current_process().name if multiprocessing is not None else "MainProcess"
