"""Context that follows the call: one `ContextVar` of immutable frames.

A frame holds everything that its enclosing frames hold, so that reading the context is one lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

from metaexpert.logger.system.lazy_structlog import contextvars
from metaexpert.logger.system.native import core


class ContextFrame(SimpleNamespace):
    """One entered block. Where the core was compiled, it is a type of the core.

    Attributes:
        parent: The block around it.
        fields: Its own fields over its parent's.
        lifts: Whether entries of every level are accepted (inside a trade context).
        encoded: For the fast call: the fields encoded, by the context of the logger that they belong to.
    """

    parent: ContextFrame | None
    fields: Mapping[str, Any]
    lifts: bool
    encoded: dict[Any, Any]


if core is not None:
    ContextFrame = core.ContextFrame  # type: ignore[misc]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
current_frame: Final[ContextVar[ContextFrame | None]] = ContextVar("metaexpert_context", default=None)


def enter_frame(fields: Mapping[str, Any], *, lifts: bool) -> None:
    """Enter a block with *fields*."""
    parent = current_frame.get()
    if parent is not None:
        fields, lifts = {**parent.fields, **fields}, lifts or parent.lifts
    current_frame.set(ContextFrame(parent=parent, fields=fields, lifts=lifts, encoded={}))


def current_fields() -> Mapping[str, Any]:
    """Return the context fields of this moment: structlog's own contextvars, and over them `log_context`'s."""
    frame = current_frame.get()
    ours = frame.fields if frame is not None else _NOTHING
    theirs = contextvars.get_contextvars()
    return {**theirs, **ours} if theirs else ours


def lifts_gate() -> bool:
    """Return whether a trade context is active here, in which no level is filtered."""
    frame = current_frame.get()
    return frame is not None and frame.lifts
