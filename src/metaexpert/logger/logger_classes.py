"""The two classes that the bound loggers of a pipeline have, for each level of `levels` and for `log_level`.

In the *gated* one a method below the level is a no-op; `set_level` swaps those methods, for all loggers of the class at
once and at no cost per call. In the *lifted* one, used while ``category="trade"`` is bound, no method is gated.
While a logger has another level for a time, its methods and those of all others look for the level by the name.

Threads: any thread may make loggers and change levels.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Final

from metaexpert.logger import children, schema
from metaexpert.logger.bound import BoundLogger, Output
from metaexpert.logger.encoding.context_frames import current_frame, lifts_gate
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.schema import LEVEL_NUMBERS
from metaexpert.logger.system.native import core

#: The first logger of each pipeline that is open in this process, by the key of the pipeline.
open_loggers: Final[dict[str, BoundLogger]] = {}


class LoggerClasses:
    """The classes of a pipeline's loggers with one level, gated and lifted.

    Args:
        pipeline: Theirs.
        routes: The routes of the level.
        family: The classes of all levels of the pipeline, by their routes.
        key: The pipeline's key in `open_loggers`, also for child processes.
        inherited: Whether it continues that of a parent process.
    """

    def __init__(
        self, pipeline: Pipeline, routes: Any, family: dict[Any, LoggerClasses], key: str, *, inherited: bool
    ) -> None:
        self.inherited = inherited
        self.key = key
        self.routes = routes
        self._levels = pipeline.levels
        self._family = family
        self._working = self._methods(pipeline, trade=False)
        self._open = self._working
        self._trades = self._methods(pipeline, trade=True)
        self.gated: type[BoundLogger] = type("BoundLogger", (BoundLogger,), {})
        self.lifted: type[BoundLogger] = type("TradeLogger", (self.gated,), {"_gate": 0})
        self.set_gate()

    def of(self, name: str | None) -> LoggerClasses:
        """Return the classes of the logger called *name* on the same pipeline."""
        return self._family[self._levels.lasting(name)]

    def _methods(self, pipeline: Pipeline, *, trade: bool) -> dict[str, Callable[..., None]]:
        methods: dict[str, Callable[..., None]] = {}
        for word, names in schema.METHODS.items():
            route, other = self.routes.by_kind[word, trade], self.routes.by_kind[word, not trade]
            for name in names:
                methods[name] = _plain(name, word)
                if core is not None and name != "exception":
                    methods[name] = _named_like(name, pipeline.encoder.method(methods[name], route, other))
        if (metrics := pipeline.outputs.metrics) is not None:
            expert = pipeline.config.expert_name
            methods = {name: _named_like(name, metrics.timed(method, expert)) for name, method in methods.items()}
        return methods

    def set_gate(self, number: int | None = None) -> None:
        """Make the methods below level *number*, by default that of the routes, no-ops and the others work."""
        gate = self.gate = self.routes.routing.gate() if number is None else number
        words = {name: word for word, names in schema.METHODS.items() for name in names}
        self._open = {
            name: self._disabled(name, words[name], method) if LEVEL_NUMBERS[words[name]] < gate else method
            for name, method in self._working.items()
        }
        by_name = bool(self._levels.overrides)
        self.gated._gate = property(lambda logger: self._now(logger).gate) if by_name else gate  # type: ignore[assignment]
        for name in words:
            setattr(self.gated, name, self._finding(name, "_open") if by_name else self._open[name])
            setattr(self.lifted, name, self._finding(name, "_trades") if by_name else self._trades[name])

    def renew(self, pipeline: Pipeline) -> None:
        """Have the classes of all levels of *pipeline* follow the levels as they are now."""
        for routes in pipeline.levels.all:
            if routes not in self._family:
                self._family[routes] = LoggerClasses(pipeline, routes, self._family, self.key, inherited=self.inherited)
        for classes in self._family.values():
            classes.set_gate()

    def _now(self, logger: BoundLogger) -> LoggerClasses:
        return self._family[self._levels.of(logger._logger.name)]

    def _finding(self, name: str, which: str) -> Callable[..., None]:
        """Return a method that finds by the logger's name the one that it stands for at the moment."""

        def found(logger: BoundLogger, event: object = None, /, *args: Any, **fields: Any) -> None:
            try:
                getattr(self._now(logger), which)[name](logger, event, *args, **fields)
            except RecursionError as error:  # no room on the stack even to call it
                logger._logger.pipeline.health.errors.append(error.with_traceback(None))

        return _named_like(name, found)

    def closed(self) -> None:
        """Let every call through, which says where it goes when the pipeline has closed."""
        open_loggers.pop(self.key, None)
        for classes in self._family.values():
            classes.set_gate(schema.DEBUG)

    def _disabled(self, name: str, word: str, working: Callable[..., None]) -> Callable[..., None]:
        """Return a method that does nothing, except for alerts and inside a trade context, where all counts."""
        if core is not None:
            return _named_like(name, core.Method(working, current_frame, self.routes.by_kind[word, False]))

        def disabled(self: BoundLogger, event: object = None, /, *args: Any, **fields: Any) -> None:
            if lifts_gate() or schema.ALERT in fields:
                working(self, event, *args, **fields)

        return _named_like(name, disabled)


def _plain(name: str, word: str) -> Callable[..., None]:
    """Return the method *name* that goes the plain way."""
    if name == "exception":
        return BoundLogger.exception

    def plain(self: BoundLogger, event: object = None, /, *args: Any, **fields: Any) -> None:
        try:
            self._emit(word, event, args, fields)
        except RecursionError as error:  # no room on the stack even to call it
            self._logger.pipeline.health.errors.append(error.with_traceback(None))

    return _named_like(name, plain)


def _named_like(name: str, method: Callable[..., None]) -> Callable[..., None]:
    method.__name__, method.__doc__ = name, BoundLogger.__dict__[name].__doc__
    method.__qualname__ = f"BoundLogger.{name}"
    return method


def bound_logger(pipeline: Pipeline, context: dict[str, Any], inherited: str = "") -> BoundLogger:
    """Return the first logger of *pipeline*, with *context* bound.

    Args:
        pipeline: The pipeline.
        context: What to bind.
        inherited: The key of the parent's pipeline that it continues in a child process.
    """
    key, family = inherited or os.urandom(8).hex(), dict[Any, LoggerClasses]()
    for routes in pipeline.levels.all:
        family[routes] = LoggerClasses(pipeline, routes, family, key, inherited=bool(inherited))
    classes = family[pipeline.levels.base]
    logger = classes.gated(Output(pipeline, classes), pipeline.processors, {})._with(context)
    open_loggers[classes.key] = logger
    pipeline.on_closed = classes.closed
    pipeline.control.on_change = functools.partial(classes.renew, pipeline)
    children.begin()
    return logger
