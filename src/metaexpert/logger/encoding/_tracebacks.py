"""An exception as data: type, value, text, frames, causes, groups and notes; never local variables.

Rendered on the calling thread, because frames change. Built on `traceback.TracebackException`, which survives
exceptions whose ``__str__`` raises. It looks at every frame, cause, and member of a group, however many there are; so
`_Summary` gives it one exception at a time, and of each the frames that will be shown.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any, Final

from metaexpert.logger.entry.values import Cleaner, marked
from metaexpert.logger.entry.work import Work
from metaexpert.logger.masking.rules import Masker
from metaexpert.logger.system.interrupts import let_pass

#: A recursion error has a thousand frames; the outermost and innermost of this many tell the story.
MAX_FRAMES: Final = 50
MAX_CAUSES: Final = 10
MAX_GROUP: Final = 15
MAX_DEPTH: Final = 5
#: Exceptions and frames of one entry, over its causes and groups.
MAX_EXCEPTIONS: Final = 30
MAX_ALL_FRAMES: Final = 100
MAX_TEXT: Final = 32 * 1024
MAX_VALUE: Final = 4 * 1024
#: Work (see `Work`) of the text, of everything else, and of a note.
_WORK: Final = 4_000
_NOTE_WORK: Final = 200
#: Frames that are walked over to find the innermost.
_MOST_WALKED: Final = 100_000
#: Characters of a text beyond its limit that are searched for secrets too.
_LONGEST: Final = MAX_TEXT + 8 * 1024


def exception_of(exc_info: object) -> BaseException | None:
    """Return the exception that *exc_info* means: an exception, a ``sys.exc_info()`` tuple, or True for "now"."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((part for part in exc_info if isinstance(part, BaseException)), None)
    return sys.exception() if is_wanted(exc_info) else None


def is_wanted(value: object) -> bool:
    """Return whether *value* asks for something, as True does. One that cannot be judged (a data frame) does."""
    try:
        return bool(value)
    except Exception as error:  # NumPy and pandas refuse, and a hostile class may raise anything
        let_pass(error)
        return True


def describe(error: BaseException, masker: Masker) -> dict[str, Any]:
    """Return *error* as the ``exception`` object of an entry. Bounded; never raises an `Exception`.

    Args:
        error: The exception.
        masker: Masks the secrets in its texts, before they are cut.
    """
    try:
        summary = _Summary()
        trace = summary.chain(error)
        return _Description(masker, summary.cut).whole(trace)
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
    text = text if len(text) <= _LONGEST else f"{text[:MAX_TEXT]}…{text[-MAX_VALUE:]}"
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
    work = Work(_WORK)
    return {
        "type": marked(*masker.text(kind, MAX_VALUE, work)),
        "value": marked(*masker.text(value, MAX_VALUE, work)),
        "text": marked(*masker.text(text, MAX_TEXT, Work(_WORK))),
    }


class _StandIn(Exception):  # noqa: N818 - no error, but in its place
    """Stands for an exception with a long text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class _Summary:
    """Makes the bounded `TracebackException` of an exception, its causes and members.

    Attributes:
        cut: Identities of those that are shown in part.
    """

    def __init__(self) -> None:
        self.cut: set[int] = set()
        self._exceptions = MAX_EXCEPTIONS
        self._frames = MAX_ALL_FRAMES
        self._seen: set[int] = set()

    def chain(self, error: BaseException, depth: int = 0) -> traceback.TracebackException:
        """Return *error* with what led to it, as ``raise … from …`` or "During handling" tell it."""
        first = link = self._one(error, depth)
        before, left = _led_to(error), MAX_CAUSES
        while before is not None and id(before) not in self._seen:
            if not left or self._exceptions <= 0:
                self.cut.add(id(first))
                break
            following = self._one(before, depth)
            if before is error.__cause__:
                link.__cause__ = following
            else:
                link.__context__ = following
            error, link, left = before, following, left - 1
            before = _led_to(error)
        return first

    def _one(self, error: BaseException, depth: int) -> traceback.TracebackException:
        self._seen.add(id(error))
        self._exceptions -= 1
        frames, whole = _shortened(error.__traceback__, max(min(MAX_FRAMES, self._frames), 2))
        trace = _alone(error, error, frames)
        if len(text := str(trace)) > _LONGEST:
            trace = _alone(error, _StandIn(text[:_LONGEST]), frames)
        self._frames -= len(trace.stack)
        trace.__suppress_context__ = error.__suppress_context__
        trace.__notes__ = _notes(error)
        if not whole:
            self.cut.add(id(trace))
        if isinstance(error, BaseExceptionGroup) and depth < MAX_DEPTH:
            self._add_members(trace, error.exceptions, depth + 1)
        return trace

    def _add_members(self, trace: traceback.TracebackException, members: Any, depth: int) -> None:
        taken = []
        for member in members[:MAX_GROUP]:
            if self._exceptions <= 0:
                break
            taken.append(self.chain(member, depth))
        if len(taken) < len(members):
            self.cut.add(id(trace))
        if len(taken) == MAX_GROUP:  # those that are not shown are counted in the text
            taken += taken[-1:] * (len(members) - MAX_GROUP)
        trace.exceptions = taken or None


def _led_to[T: (BaseException, traceback.TracebackException)](error: T) -> T | None:
    """Return the exception that led to *error*, as Python shows it."""
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _alone(error: BaseException, shown: BaseException, frames: TracebackType | None) -> traceback.TracebackException:
    """Return *error* without causes and members."""
    # A call with `_seen` is one for a cause or member: its caller adds what belongs to it.
    apart = {id(error.__cause__), id(error.__context__)}
    trace = traceback.TracebackException(
        type(error), shown, frames, max_group_width=MAX_GROUP, max_group_depth=MAX_DEPTH, _seen=apart
    )
    trace.__cause__ = trace.__context__ = trace.exceptions = None
    return trace


def _shortened(trace: TracebackType | None, most: int) -> tuple[TracebackType | None, bool]:
    """Return the outermost and innermost frames of *trace*, *most* of them, and whether these are all."""
    frames: list[TracebackType] = []
    link = trace
    while link is not None and len(frames) < _MOST_WALKED:
        frames.append(link)
        link = link.tb_next
    if len(frames) <= most:
        return trace, True
    half, short = most // 2, None
    for frame in reversed((*frames[:half], *frames[-half:])):
        short = TracebackType(short, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return short, False


def _notes(error: BaseException) -> list[Any] | None:
    """Return the notes of *error* that are shown, cut where no more of them can be shown."""
    notes = getattr(error, "__notes__", None)
    if not notes:
        return None
    texts = notes if isinstance(notes, list | tuple) else [notes]
    shown = [text[:_LONGEST] if isinstance(text, str) else text for text in texts[:MAX_GROUP]]
    return shown + ([f"…[cut {len(texts) - MAX_GROUP}]"] if len(texts) > MAX_GROUP else [])


class _Description:
    """Makes JSON types of a summary.

    Args:
        masker: Masks the secrets in its texts.
        cut: Identities of the exceptions that are shown in part.
    """

    def __init__(self, masker: Masker, cut: set[int]) -> None:
        self._masker = masker
        self._cut = cut
        self._work = Work(_WORK)

    def whole(self, trace: traceback.TracebackException) -> dict[str, Any]:
        """Return the exception with its text, and the chain that led to it, nearest first."""
        text = marked(*self._masker.text("".join(trace.format()), MAX_TEXT, Work(_WORK)))
        causes: list[dict[str, Any]] = []
        link = _led_to(trace)
        result = {**self._one(trace), "text": text}
        while link is not None:
            causes.append(self._one(link))
            link = _led_to(link)
        return {**result, "causes": causes} if causes else result

    def _one(self, trace: traceback.TracebackException) -> dict[str, Any]:
        result: dict[str, Any] = {"type": self._text(_type(trace)), "value": self._text(str(trace))}
        if frames := [self._frame(frame) for frame in trace.stack]:
            result["frames"] = frames
        if id(trace) in self._cut:
            result["truncated"] = True
        if notes := getattr(trace, "__notes__", None):
            result["notes"] = [Cleaner(MAX_VALUE, _NOTE_WORK, self._masker).key(note) for note in notes]
        if trace.exceptions:
            result["groups"] = [self._one(inner) for inner in trace.exceptions[:MAX_GROUP]]
        return result

    def _frame(self, frame: traceback.FrameSummary) -> dict[str, Any]:
        described: dict[str, Any] = {
            "file": self._text(frame.filename),
            "line": frame.lineno,
            "function": self._text(frame.name),
        }
        if frame.line:
            described["code"] = marked(*self._masker.source(frame.line, MAX_VALUE, self._work))
        return described

    def _text(self, text: str) -> str:
        return marked(*self._masker.text(text, MAX_VALUE, self._work))


def _type(trace: traceback.TracebackException) -> str:
    # Python 3.13 keeps the name and deprecates the class, which 3.12 has alone.
    name = getattr(trace, "exc_type_str", None) or trace.exc_type.__name__
    return str(name).rpartition(".")[2]
