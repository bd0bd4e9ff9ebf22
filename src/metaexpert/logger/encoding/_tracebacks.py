"""An exception as data: type, value, text, frames, causes, groups and notes; never local variables.

Rendered on the calling thread, because frames change. Built on `traceback.TracebackException`, which survives
cycles of causes and exceptions whose ``__str__`` raises; structlog's own transformer follows a cyclic
``__cause__`` for ever.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any, Final

from metaexpert.logger.entry.values import Cleaner, marked, no_surrogates
from metaexpert.logger.masking.rules import Masker
from metaexpert.logger.system.interrupts import let_pass

#: A recursion error has a thousand frames; the outermost and innermost of this many tell the story.
MAX_FRAMES: Final = 50
MAX_CAUSES: Final = 10
MAX_GROUP: Final = 15
MAX_TEXT: Final = 32 * 1024
MAX_VALUE: Final = 4 * 1024


def exception_of(exc_info: object) -> BaseException | None:
    """Return the exception that *exc_info* means: an exception, a ``sys.exc_info()`` tuple, or True for "now"."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((part for part in exc_info if isinstance(part, BaseException)), None)
    return sys.exception() if exc_info else None


def describe(error: BaseException, masker: Masker) -> dict[str, Any]:
    """Return *error* as the ``exception`` object of an entry. Bounded; never raises an `Exception`.

    Args:
        error: The exception.
        masker: Masks the secrets in its texts, before they are cut.
    """
    try:
        trace = traceback.TracebackException(
            type(error), error, error.__traceback__, limit=None, max_group_width=MAX_GROUP, max_group_depth=5
        )
        return {**_described(trace, masker), **_text(trace, masker), **_causes(trace, masker)}
    except Exception as failure:  # hostile exception classes may raise from any attribute
        let_pass(failure)
        what = f"<not describable: {type(failure).__name__}>"
        return {"type": masker.text(type(error).__name__, MAX_VALUE)[0], "value": masker.text(what, MAX_VALUE)[0]}


def describe_text(text: str, masker: Masker) -> dict[str, Any]:
    """Return the traceback *text* of another process as the ``exception`` object of an entry, without frames.

    Args:
        text: As `traceback.format_exception` gives it: type and value stand below the last frame.
        masker: Masks the secrets in it, before it is cut.
    """
    own, group, _ = text.partition("\n  +-+")  # below it stand the exceptions of a group
    if group:
        own = "\n".join(line[len("  | ") :] for line in own.splitlines())
    _, frame, last = own.rpartition('  File "')
    lines = last.splitlines()
    below = lines[1:] if frame or lines[0].startswith("Traceback (most recent") else lines
    at = next((number for number, line in enumerate(below) if line.strip() and not line[0].isspace()), len(below))
    end = "\n".join(below[at:]).rstrip()
    name, _, value = end.partition(": ")
    if not all(part.isidentifier() for part in name.split(".")):
        name, value = "Exception", end
    kind = name.rpartition(".")[2]
    return {
        "type": marked(*masker.text(kind, MAX_VALUE)),
        "value": marked(*masker.text(value, MAX_VALUE)),
        "text": marked(*masker.text(text, MAX_TEXT)),
    }


def _described(trace: traceback.TracebackException, masker: Masker) -> dict[str, Any]:
    result: dict[str, Any] = {
        "type": masker.text(_type(trace), MAX_VALUE)[0],
        "value": marked(*masker.text(str(trace), MAX_VALUE)),
    }
    if frames := [_frame(frame, masker) for frame in _bounded(trace.stack)]:
        result["frames"] = frames
    if len(trace.stack) > MAX_FRAMES:
        result["truncated"] = True
    if notes := getattr(trace, "__notes__", None):
        texts = notes if isinstance(notes, list | tuple) else [notes]
        result["notes"] = [Cleaner(MAX_VALUE, MAX_GROUP, masker).key(note) for note in texts[:MAX_GROUP]]
    if trace.exceptions:
        result["groups"] = [_described(inner, masker) for inner in trace.exceptions[:MAX_GROUP]]
    return result


def _type(trace: traceback.TracebackException) -> str:
    # Python 3.13 keeps the name and deprecates the class, which 3.12 has alone.
    name = getattr(trace, "exc_type_str", None) or trace.exc_type.__name__
    return str(name).rpartition(".")[2]


def _bounded(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    half = MAX_FRAMES // 2
    return list(stack) if len(stack) <= MAX_FRAMES else [*stack[:half], *stack[-half:]]


def _frame(frame: traceback.FrameSummary, masker: Masker) -> dict[str, Any]:
    described = {"file": frame.filename, "line": frame.lineno, "function": frame.name}
    cleaned: dict[str, Any] = Cleaner(MAX_VALUE, sys.maxsize, masker).clean(described)
    if frame.line:
        cleaned["code"] = marked(*masker.source(no_surrogates(frame.line), MAX_VALUE))
    return cleaned


def _text(trace: traceback.TracebackException, masker: Masker) -> dict[str, Any]:
    link: traceback.TracebackException | None = trace
    depth = 0
    while link is not None and depth < MAX_CAUSES:
        link.stack[:] = _bounded(link.stack)
        link, depth = _next(link), depth + 1
    return {"text": marked(*masker.text("".join(trace.format()), MAX_TEXT))}


def _causes(trace: traceback.TracebackException, masker: Masker) -> dict[str, Any]:
    """The chain that led here, nearest first: ``raise … from …``, or what was being handled."""
    causes: list[dict[str, Any]] = []
    link = _next(trace)
    while link is not None and len(causes) < MAX_CAUSES:
        causes.append(_described(link, masker))
        link = _next(link)
    return {"causes": causes} if causes else {}


def _next(trace: traceback.TracebackException) -> traceback.TracebackException | None:
    if trace.__cause__ is not None:
        return trace.__cause__
    return None if trace.__suppress_context__ else trace.__context__
