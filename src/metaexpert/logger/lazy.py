"""The installed logger: what `get_logger` and `structlog.get_logger` find, whenever they look.

One per process, replaced by `install`. Reading and replacing it is one assignment, safe from any thread.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import structlog

from metaexpert.logger import schema
from metaexpert.logger.bound import BoundLogger, Output, named
from metaexpert.logger.schema import CATEGORY, TRADE

_installed: BoundLogger | None = None


def installed() -> BoundLogger | None:
    """Return the logger that `get_logger` and `structlog.get_logger` use, or None."""
    return _installed


def install(logger: BoundLogger) -> None:
    """Make *logger*'s pipeline the one that `get_logger` and `structlog.get_logger` use."""
    global _installed  # noqa: PLW0603
    _installed = logger
    output = logger._logger

    def wrapper(wrapped: Output, processors: Any, context: Any) -> BoundLogger:
        return wrapped.classes.gated(wrapped, processors, {})._with(dict(context))

    structlog.configure(
        processors=output.pipeline.processors,
        wrapper_class=wrapper,  # type: ignore[arg-type]
        context_class=dict,
        logger_factory=lambda *args: Output(output.pipeline, output.classes, str(args[0]) if args else None),
        cache_logger_on_first_use=False,
    )


def uninstall() -> None:
    """Forget the installed logger; structlog's own configuration is left as it is."""
    global _installed  # noqa: PLW0603
    _installed = None


class LazyLogger:
    """A logger that finds the installed one when it is used; without one it prints to standard error.

    Args:
        name: The logger's name, written as ``logger``.
        context: Fields to bind.
    """

    def __init__(self, name: str | None = None, context: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._initial = dict(context or {})
        self._found: tuple[BoundLogger, BoundLogger] | None = None

    def _resolve(self) -> Any:
        current = _installed
        if current is None:
            return structlog.wrap_logger(structlog.PrintLogger(sys.stderr)).bind(**self._shown())
        if self._found is None or self._found[0] is not current:
            self._found = (current, named(current, self._name, self._initial))
        return self._found[1]

    def _shown(self) -> dict[str, Any]:
        return {**({} if self._name is None else {schema.LOGGER_KEY: self._name}), **self._initial}

    def bind(self, /, **new_values: Any) -> Any:
        """Return a logger with *new_values* bound: the installed one's, or a lazy one."""
        if _installed is not None:
            return self._resolve().bind(**new_values)
        return LazyLogger(self._name, {**self._initial, **new_values})

    def unbind(self, /, *keys: str) -> Any:
        """Return a logger without *keys*. Raises KeyError for a key that is not there."""
        missing = [key for key in keys if key not in self._initial]
        if missing:
            raise KeyError(missing[0])
        return self.try_unbind(*keys)

    def try_unbind(self, /, *keys: str) -> Any:
        """Return a logger without *keys*, ignoring those that are not there."""
        return LazyLogger(self._name, {key: value for key, value in self._initial.items() if key not in keys})

    def new(self, /, **new_values: Any) -> Any:
        """Return a logger whose context is *new_values* alone."""
        return LazyLogger(self._name, new_values)

    @property
    def trade(self) -> Any:
        """The same logger with ``category="trade"``."""
        return self.bind(**{CATEGORY: TRADE})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __repr__(self) -> str:
        return f"<LazyLogger {self._name!r}: {', '.join(self._initial)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyLogger, (self._name, self._initial)


BoundLogger._revive = LazyLogger
