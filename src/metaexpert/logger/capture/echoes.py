"""No doubled console lines: handlers of the program's that print where our console prints are quiet meanwhile.

Threads: any thread may log; `Echoes` is for whoever holds the lock of `logging`, or has just made a logger.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Iterable

from metaexpert.logger.capture.handlers import StdlibHandler
from metaexpert.logger.hub.pipeline import Pipeline


class Echoes:
    """Keeps handlers that print where our console prints from printing once more what it shows."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._hushed: weakref.WeakKeyDictionary[logging.Handler, _Echo] = weakref.WeakKeyDictionary()

    def hush(self, handlers: Iterable[logging.Handler | None]) -> None:
        """Put a filter on those of *handlers* that print where our console does."""
        if not self._pipeline.routing.shows(sys.maxsize):
            return
        for handler in handlers:
            echo = None if handler is None else self._hushed.get(handler)
            if handler is not None and (echo is None or echo not in handler.filters):
                echo = _Echo(handler, self._pipeline)
                if echo.same_place():
                    self._hushed[handler] = echo
                    handler.addFilter(echo)

    def release(self) -> None:
        """Let all handlers print again."""
        for handler, echo in [*self._hushed.items()]:
            handler.removeFilter(echo)
        self._hushed.clear()


class _Echo(logging.Filter):
    """Says of a handler whether it should print a record itself."""

    def __init__(self, handler: logging.Handler, pipeline: Pipeline) -> None:
        super().__init__()
        self._handler = weakref.ref(handler)
        self._console = pipeline.outputs.console
        self._levels = pipeline.levels
        self._seen: tuple[object, object] | None = None
        self._same = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the handler should print *record* itself."""
        shown = self._levels.of(record.name).routing.shows(record.levelno)
        return not (shown and self._console.works and self.same_place())

    def same_place(self) -> bool:
        """Return whether handler and console print at one place now: Celery redirects standard error later on."""
        handler = self._handler()
        if handler is None or isinstance(handler, logging.FileHandler | StdlibHandler):
            return False
        console = getattr(handler, "console", None) or getattr(handler, "_console", None)  # rich's, freqtrade's
        stream = getattr(handler, "stream", None) or getattr(console, "file", None)
        seen = stream, sys.stderr
        if self._seen is None or self._seen[0] is not stream or self._seen[1] is not seen[1]:
            self._seen, self._same = seen, stream is not None and self._console.prints_on(stream)
        return self._same
