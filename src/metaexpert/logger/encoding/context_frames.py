"""Context that follows the call: one `ContextVar` of immutable frames.

A frame holds everything that its enclosing frames hold, so that reading the context is one lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from metaexpert.logger.system.lazy_structlog import contextvars


class ContextFrame:
    """One entered block: its own fields over its parent's."""

    __slots__ = ("encoded", "fields", "lifts", "parent")

    def __init__(self, parent: ContextFrame | None, fields: Mapping[str, Any], *, lifts: bool) -> None:
        self.parent = parent
        self.fields: Mapping[str, Any] = {**parent.fields, **fields} if parent else fields
        #: Whether entries of every level are accepted (inside a trade context).
        self.lifts: bool = lifts or (parent is not None and parent.lifts)
        #: The fields encoded, by the `BoundContext` of the logger that they belong to (see `Encoder.context_in`).
        self.encoded: dict[Any, Any] = {}


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
current_frame: Final[ContextVar[ContextFrame | None]] = ContextVar("metaexpert_context", default=None)


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
