"""Processors of the user's in our chain: whatever they do, the entry has its message, its fields and its traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from metaexpert.logger import MetaLogger, get_logger

Read = Callable[..., list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("logging_as_before")


def make(**options: Any) -> Any:
    """Return a quiet logger."""
    return MetaLogger(**{"log_to_console": False, **options})


def rename(_: Any, __: str, event: Any) -> Any:
    """Rename the message, as programs for other collectors do."""
    event["message"] = event.pop("event")
    return event


def fail(_: Any, __: str, event: Any) -> Any:
    """Look for what a program's own chain would have put there."""
    return event["level"]


#: Processors with whether the event is written as they leave it.
PROCESSORS: dict[str, tuple[Any, bool]] = {
    "add_log_level": (structlog.stdlib.add_log_level, True),
    "add_log_level of processors": (structlog.processors.add_log_level, True),
    "add_log_level_number": (structlog.stdlib.add_log_level_number, True),
    "add_logger_name": (structlog.stdlib.add_logger_name, True),
    "TimeStamper": (structlog.processors.TimeStamper(fmt="iso"), True),
    "TimeStamper, local": (structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False), True),
    "TimeStamper, seconds": (structlog.processors.TimeStamper(), True),
    "TimeStamper, another key": (structlog.processors.TimeStamper(fmt="iso", key="ts"), True),
    "MaybeTimeStamper": (structlog.processors.MaybeTimeStamper(fmt="iso"), True),
    "CallsiteParameterAdder": (structlog.processors.CallsiteParameterAdder(), True),
    "EventRenamer": (structlog.processors.EventRenamer("msg"), True),
    "a function that renames": (rename, True),
    "format_exc_info": (structlog.processors.format_exc_info, True),
    "dict_tracebacks": (structlog.processors.dict_tracebacks, True),
    "ExceptionRenderer": (structlog.processors.ExceptionRenderer(), True),
    "StackInfoRenderer": (structlog.processors.StackInfoRenderer(), True),
    "set_exc_info": (structlog.dev.set_exc_info, True),
    "UnicodeDecoder": (structlog.processors.UnicodeDecoder(), True),
    "ExtraAdder": (structlog.stdlib.ExtraAdder(), True),
    "PositionalArgumentsFormatter": (structlog.stdlib.PositionalArgumentsFormatter(), True),
    "merge_contextvars": (structlog.contextvars.merge_contextvars, True),
    "filter_by_level": (structlog.stdlib.filter_by_level, True),
    "JSONRenderer": (structlog.processors.JSONRenderer(), False),
    "KeyValueRenderer": (structlog.processors.KeyValueRenderer(), False),
    "LogfmtRenderer": (structlog.processors.LogfmtRenderer(), False),
    "ConsoleRenderer": (structlog.dev.ConsoleRenderer(), False),
    "wrap_for_formatter": (structlog.stdlib.ProcessorFormatter.wrap_for_formatter, False),
    "one that returns None": (lambda *_: None, False),
    "one that raises": (fail, False),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_nothing_is_lost_or_told_twice(name: str, read_log: Read) -> None:
    """Message, field, traceback and stack arrive by each way, and nothing of the header comes a second time."""
    processor, works = PROCESSORS[name]
    logger = make(processors=[processor])
    for log in (logger, get_logger("g"), structlog.get_logger("s"), logging.getLogger("std")):
        more: Any = {"extra": {"size": 1}} if isinstance(log, logging.Logger) else {"size": 1}
        try:
            raise ValueError("no funds")
        except ValueError:
            log.exception("m", stack_info=True, **more)
    logger.flush(5)
    entries = read_log("logs/expert.log")
    assert [(e["message"], e["level"], e.get("logger"), e["size"]) for e in entries] == [
        ("m", "error", name, 1) for name in (None, "g", "s", "std")
    ]
    for entry in entries:
        assert (entry["exception"]["type"], entry["exception"]["value"]) == ("ValueError", "no funds")
        assert "test_nothing_is_lost_or_told_twice" in entry["stack"]
        assert not [key for key in entry if key.startswith(("field_", "_"))]
    assert logger.stats()["failed"] == (0 if works else 4)


def test_an_event_that_is_dropped(read_log: Read) -> None:
    """DropEvent drops the entry, whichever way it comes, and is no failure."""

    def drop(_: Any, __: str, event: Any) -> Any:
        if "secret plan" in event["event"]:
            raise structlog.DropEvent
        return event

    logger = make(processors=[drop])
    for message in ("secret plan", "other"):
        logger.info(message)
        logging.getLogger("a").error(message)
    logger.flush(5)
    assert [e["message"] for e in read_log("logs/expert.log")] == ["other", "other"]
    assert logger.stats()["failed"] == 0


def test_a_field_that_is_called_message(read_log: Read) -> None:
    """A caller's own field of that name stays one while the message is where it was."""
    logger = make(processors=[structlog.stdlib.add_log_level])
    logger.info("m", message="own", msg="too")
    logger.flush(5)
    entry = read_log("logs/expert.log")[0]
    assert (entry["message"], entry["field_message"], entry["msg"]) == ("m", "own", "too")
