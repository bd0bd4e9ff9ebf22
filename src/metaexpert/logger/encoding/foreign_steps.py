"""Processors of structlog's own in a chain of ours, or in another chain whose events come to us.

Level, time, name of the logger, exception and stack are ours to write: what structlog's processors say of them must not
come a second time, as ``field_level``, and its call site must be the program's, not ours.

Nothing here keeps state, so any thread may use it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from types import FunctionType
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.system.lazy_structlog import EventDict, Processor, WrappedLogger

#: structlog's own key for the message, and where a caller's field of that name waits meanwhile.
EVENT: Final = "event"
CALLER_EVENT: Final = "field_event"
EXC_INFO: Final = "exc_info"
STACK_INFO: Final = "stack_info"
#: Functions of structlog whose fields repeat the header, and the names of these fields.
_REPEATS: Final = {"add_log_level": "level", "add_logger_name": schema.LOGGER_KEY}


class ExceptionText(str):
    """A traceback that came as text, in place of ``exc_info``: of another process, or rendered by another library."""


def prepared(own: Iterable[Processor]) -> list[Processor]:
    """Return the user's processors *own* as they may stand in our chain."""
    own = list(own)
    steps = [_keeping(step) if _is_a(step, "ExceptionRenderer") else _looking_past_us(step) for step in own]
    return [*steps, Tidier(own)] if steps else []


class Tidier:
    """The step after others: takes away what they have added of level, time, name and traceback.

    A message that they have renamed has its name again. The traceback is handed on as ``exc_info``, the stack as
    ``stack_info``.

    Args:
        steps: The others.
    """

    def __init__(self, steps: Iterable[Any]) -> None:
        steps = list(steps)
        self._repeats = _names_of_repeats(steps)
        self._exceptions = any(_is_a(step, "ExceptionRenderer") for step in steps)
        self._stacks = any(_is_a(step, "StackInfoRenderer") for step in steps)
        self._messages = [step.to for step in steps if _is_a(step, "EventRenamer")]

    def __call__(self, _: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        """Return the event without repeats."""
        tidy = {name: value for name, value in event_dict.items() if name not in self._repeats}
        if self._exceptions and schema.EXCEPTION_KEY in tidy:
            error = tidy.get(EXC_INFO)
            error = _rendered_from(tidy[schema.EXCEPTION_KEY]) if error is None else error
            if error is not None:
                del tidy[schema.EXCEPTION_KEY]
                tidy[EXC_INFO] = error
        if self._stacks and schema.STACK_KEY in tidy:
            tidy[STACK_INFO] = tidy.pop(schema.STACK_KEY)
        for name in self._messages if EVENT in tidy else (*self._messages, "message", "msg"):
            if name in tidy:
                if EVENT in tidy:
                    tidy[CALLER_EVENT] = tidy.pop(EVENT)
                tidy[EVENT] = tidy.pop(name)
                break
        return tidy


def _is_a(step: object, *names: str) -> bool:
    """Return whether *step* is of one of these classes of structlog's, which may not have been loaded."""
    return any(base.__name__ in names and base.__module__.startswith("structlog.") for base in type(step).__mro__)


def _names_of_repeats(steps: Iterable[Any]) -> set[str]:
    names = set()
    for step in steps:
        stamper = step.stamper if _is_a(step, "MaybeTimeStamper") else step
        if _is_a(stamper, "TimeStamper") and stamper.key == schema.HEADER_KEYS[0]:
            names.add(stamper.key)
        elif str(getattr(step, "__module__", "")).startswith("structlog.") and step.__class__ is FunctionType:
            names |= {_REPEATS[step.__name__]} if step.__name__ in _REPEATS else set()
    return names


def _rendered_from(rendered: object) -> object:
    """Return the exception that *rendered* shows, if it is the one that is handled now; else its text, else None."""
    error = sys.exception()
    if error is not None and type(error).__name__ in str(rendered):
        return error
    text = _text_of_dicts(rendered) if isinstance(rendered, list) else rendered
    return ExceptionText(text) if isinstance(text, str) and "Traceback (most" in text else None


def _text_of_dicts(rendered: list[Any]) -> str | None:
    """Return what `structlog.processors.dict_tracebacks` has made of an exception as Python prints it, without locals.

    The exception that was raised last comes first there, and last in a traceback.
    """
    parts = []
    try:
        for error in reversed(rendered):
            frames = (f'  File "{f["filename"]}", line {f["lineno"]}, in {f["name"]}\n' for f in error["frames"])
            end = f"{error['exc_type']}: {error['exc_value']}".removesuffix(": ")
            parts.append("Traceback (most recent call last):\n" + "".join(frames) + end)
    except (KeyError, TypeError):  # somebody else's list
        return None
    return "\n\n".join(parts)


def _keeping(step: Processor) -> Processor:
    """Return *step*, which makes a text of the exception, so that the exception stays too."""

    def render(logger: WrappedLogger, method: str, event_dict: EventDict) -> Any:
        exc_info = event_dict.get(EXC_INFO)
        result = step(logger, method, event_dict)
        if isinstance(exc_info, BaseException | tuple) and isinstance(result, dict):
            result[EXC_INFO] = exc_info
        return result

    render.__wrapped__ = step  # type: ignore[attr-defined]
    return render


def _looking_past_us(step: Processor) -> Processor:
    """Return a copy of *step* that takes no frame of ours for the caller's."""
    if not _is_a(step, "CallsiteParameterAdder", "StackInfoRenderer"):
        return step
    seeker: Any = copy.copy(step)
    seeker._additional_ignores = [*(getattr(step, "_additional_ignores", None) or ()), "metaexpert.logger"]
    return seeker  # type: ignore[no-any-return]
