"""Trace and span ids of OpenTelemetry on entries, while a span is active.

Unless OpenTelemetry is in use, this costs a call nothing. Otherwise each call looks for an active span (some hundred
nanoseconds), and a call inside a span goes the plain way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.system.lazy_structlog import EventDict, Processor, WrappedLogger

TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"


class Tracing:
    """Looks at the active span.

    Args:
        config: Says whether to; if it does not, the ids are added when OpenTelemetry is in use.
    """

    def __init__(self, config: LoggerConfig) -> None:
        #: Adds the ids to an entry; nothing when tracing is off.
        self.first: tuple[Processor, ...] = ()
        #: Returns whether a span is active; None when tracing is off.
        self.active: Callable[[], bool] | None = None
        used = config.otlp_endpoint is not None or "opentelemetry.trace" in sys.modules
        if not (used if config.trace_ids is None else config.trace_ids):
            return
        try:
            from opentelemetry import trace  # noqa: PLC0415 - for those who use it
        except (ImportError, OSError, MemoryError):  # neither descriptors nor memory left, perhaps: no ids then
            return
        nothing = trace.INVALID_SPAN
        current = trace.get_current_span

        def active() -> bool:
            return current() is not nothing

        def add_ids(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
            """Add the ids of the active span, unless the call has fields of these names."""
            span = current().get_span_context()
            if span.is_valid and TRACE_ID not in event_dict and SPAN_ID not in event_dict:
                event_dict[TRACE_ID] = trace.format_trace_id(span.trace_id)
                event_dict[SPAN_ID] = trace.format_span_id(span.span_id)
            return event_dict

        self.first, self.active = (add_ids,), active

    def check(self, check: Callable[[], bool] | None) -> Callable[[], bool] | None:
        """Return *check* of a route (see `Route`), which also keeps entries inside a span from the fast way."""
        active = self.active
        if active is None:
            return check
        if check is None:
            return lambda: not active()
        return lambda: not active() and check()
