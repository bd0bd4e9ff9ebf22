"""Context that follows the call: one `ContextVar` of immutable frames, and the blocks of generators apart from it.

A frame holds everything that its enclosing frames hold, so that reading the context is one lookup. A generator shares
its consumer's context variables, so its blocks lie in `own_blocks` instead, and apply while it is on the stack. Calls
look for them only while there are any.

Threads: `own_blocks` is read and changed by single operations; only its generator changes what belongs to it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from types import FrameType, MappingProxyType
from typing import Any, Final

from metaexpert.logger.system.lazy_structlog import contextvars
from metaexpert.logger.system.native import core


class ContextFrame:
    """One entered block. Where the core was compiled, it is a type of the core.

    Attributes:
        parent: The block around it.
        fields: Its own fields over its parent's.
        lifts: Whether entries of every level are accepted (inside a trade context).
        encoded: For the fast call: the fields encoded, by the context of the logger that they belong to.
        source: The `log_context` that was entered.
        inside: The own blocks of a generator that are among the fields; not set without.
        over: Of a generator's own blocks: the last frame that they were laid over, as the parent of both together.
    """

    parent: ContextFrame | None
    fields: Mapping[str, Any]
    lifts: bool
    encoded: dict[Any, Any]
    source: Any
    inside: ContextFrame | None
    over: ContextFrame

    def __init__(
        self, parent: ContextFrame | None, fields: Mapping[str, Any], lifts: bool, encoded: dict[Any, Any], source: Any
    ) -> None:
        self.parent, self.fields, self.lifts, self.encoded, self.source = parent, fields, lifts, encoded, source


if core is not None:
    ContextFrame = core.ContextFrame  # type: ignore[misc]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
current_frame: Final[ContextVar[ContextFrame | None]] = ContextVar("metaexpert_context", default=None)

#: By the frame of each generator inside blocks of its own: the innermost of them.
own_blocks: Final[dict[FrameType, ContextFrame]] = {}


def active_frame() -> ContextFrame | None:
    """Return what applies to the code that runs here."""
    frame = current_frame.get()
    return active_in(frame) if own_blocks else frame


def active_in(frame: ContextFrame | None) -> ContextFrame | None:
    """Return *frame* with the blocks of the generators over it that run here."""
    for own in reversed(running_over(frame)):
        frame = own if frame is None else _laid_over(frame, own)
    return frame


def running_over(frame: ContextFrame | None) -> list[ContextFrame]:
    """Return the own blocks of the generators that run here, the innermost first, unless *frame* has them."""
    known, found = getattr(frame, "inside", None), []
    at: FrameType | None = sys._getframe(1)
    while at is not None:
        own = own_blocks.get(at)
        if own is not None:
            if own is known:
                break
            found.append(own)
        at = at.f_back
    return found


def _laid_over(frame: ContextFrame, own: ContextFrame) -> ContextFrame:
    both: ContextFrame | None = getattr(own, "over", None)
    if both is None or both.parent is not frame:  # kept, so that its fields are encoded once
        fields, lifts = {**frame.fields, **own.fields}, own.lifts or frame.lifts
        both = own.over = ContextFrame(frame, fields, lifts, {}, None)
    return both


def current_fields() -> Mapping[str, Any]:
    """Return the context fields of this moment: structlog's own contextvars, and over them `log_context`'s."""
    frame = active_frame()
    ours = frame.fields if frame is not None else _NOTHING
    theirs = contextvars.get_contextvars()
    return {**theirs, **ours} if theirs else ours


def lifts_gate() -> bool:
    """Return whether a trade context is active here, in which no level is filtered."""
    frame = active_frame()
    return frame is not None and frame.lifts


if core is not None:
    core.on_generators(own_blocks, active_in)
