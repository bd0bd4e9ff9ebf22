"""Processors of structlog's own in a chain of ours, or in another chain whose events come to us.

Level, time, name of the logger, exception and stack are ours to write: what structlog's processors say of them must not
come a second time, as ``field_level``, and its call site must be the program's, not ours.

Nothing here keeps state, so any thread may use it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from typing import Any, Final

from structlog import processors as known
from structlog import stdlib
from structlog.typing import EventDict, Processor, WrappedLogger

from metaexpert.logger import schema

#: structlog's own key for the message, and where a caller's field of that name waits meanwhile.
EVENT: Final = "event"
CALLER_EVENT: Final = "field_event"
EXC_INFO: Final = "exc_info"
STACK_INFO: Final = "stack_info"
#: Processors that look for the frame of the caller.
_SEEKERS: Final = (known.CallsiteParameterAdder, known.StackInfoRenderer)
#: Processors whose fields repeat the header, and the names of these fields.
_REPEATS: Final[tuple[tuple[Processor, str], ...]] = (
    (stdlib.add_log_level, "level"),
    (stdlib.add_logger_name, schema.LOGGER_KEY),
)


class ExceptionText(str):
    """A traceback that came as text, in place of ``exc_info``: of another process, or rendered by another library."""


def prepared(own: Iterable[Processor]) -> list[Processor]:
    """Return the user's processors *own* as they may stand in our chain."""
    steps = [_keeping(step) if isinstance(step, known.ExceptionRenderer) else _looking_past_us(step) for step in own]
    return [*steps, _Tidy(steps)] if steps else []


def tidied(event_dict: EventDict, steps: Iterable[Any]) -> EventDict:
    """Return an event that *steps* have worked on without what they have added of level, time, name and traceback.

    The traceback is handed on as ``exc_info``, the stack as ``stack_info``.
    """
    steps = list(steps)
    repeats = _names_of_repeats(steps)
    tidy = {name: value for name, value in event_dict.items() if name not in repeats}
    if any(isinstance(step, known.ExceptionRenderer) for step in steps) and schema.EXCEPTION_KEY in tidy:
        rendered = tidy[schema.EXCEPTION_KEY]
        error = tidy.get(EXC_INFO)
        error = _rendered_from(rendered) if error is None else error
        if error is not None:
            del tidy[schema.EXCEPTION_KEY]
            tidy[EXC_INFO] = error
    if any(isinstance(step, known.StackInfoRenderer) for step in steps) and schema.STACK_KEY in tidy:
        tidy[STACK_INFO] = tidy.pop(schema.STACK_KEY)
    for step in steps:
        if isinstance(step, known.EventRenamer) and step.to in tidy:
            if EVENT in tidy:
                tidy[CALLER_EVENT] = tidy.pop(EVENT)
            tidy[EVENT] = tidy.pop(step.to)
    return tidy


class _Tidy:
    """The step after the user's own."""

    def __init__(self, steps: list[Processor]) -> None:
        self._steps = [getattr(step, "__wrapped__", step) for step in steps]

    def __call__(self, _: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        return tidied(event_dict, self._steps)


def _names_of_repeats(steps: Iterable[Any]) -> set[str]:
    names = {name for step in steps for repeating, name in _REPEATS if step is repeating}
    for step in steps:
        stamper = step.stamper if isinstance(step, known.MaybeTimeStamper) else step
        if isinstance(stamper, known.TimeStamper) and stamper.key == schema.HEADER_KEYS[0]:
            names.add(stamper.key)
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
    if not isinstance(step, _SEEKERS):
        return step
    seeker: Any = copy.copy(step)
    seeker._additional_ignores = [*(getattr(step, "_additional_ignores", None) or ()), "metaexpert.logger"]
    return seeker  # type: ignore[no-any-return]
