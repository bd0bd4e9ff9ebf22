"""`MetaLogger` and `get_logger`: what puts a configuration, a pipeline and a bound logger together."""

from __future__ import annotations

from typing import Any

from metaexpert.logger import children, lazy
from metaexpert.logger.bound import CONTEXT_OPTIONS, BoundLogger
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.logger_classes import bound_logger
from metaexpert.logger.stdlib import Capture
from metaexpert.logger.uncaught import Uncaught


def MetaLogger(  # noqa: N802 - the factory's public name
    config: LoggerConfig | None = None, /, *, install: bool | None = None, **options: Any
) -> BoundLogger:
    """Build a pipeline (files, console) and return a bound logger on it.

    Args:
        config: A configuration; without one it is resolved from all sources.
        install: Whether `get_logger`, `structlog.get_logger`, `logging` and `warnings` of this process use it.
            By default the first logger that is open is installed.
        **options: Fields of `LoggerConfig`, which win over *config* and over every source but the command line;
            and ``symbol``, ``strategy_id``, ``account_id``, ``trade_id``, ``order_id``, ``category``, which are
            bound as context.

    Returns:
        The logger; a context manager that closes it. Closed at interpreter exit in any case.

    Raises:
        TypeError: *config* is no `LoggerConfig`.
        ConfigurationError: An option or a source is wrong; nothing was created. The state of the file system
            never raises: see `BoundLogger.health`.
    """
    if not isinstance(config, LoggerConfig | None):
        given = f"the class {config.__name__}" if isinstance(config, type) else repr(config)
        raise TypeError(f"MetaLogger takes a LoggerConfig, or keywords such as expert_name=..., not {given:.100}")
    if "config" in options:
        raise TypeError("MetaLogger takes the LoggerConfig as the first argument: MetaLogger(config, ...)")
    context = {name: options.pop(name) for name in [*options] if name in CONTEXT_OPTIONS}
    if config is None:
        config = LoggerConfig(**options)
    elif options:
        config = config.replace(**options)
    logger = bound_logger(Pipeline(config), context)
    present = lazy.installed()
    free = present is None or present.health == "closed" or present._logger.classes.inherited
    if install or (install is None and free):
        take_over(logger)
    return logger


def take_over(logger: BoundLogger) -> None:
    """Make *logger* the one that `get_logger`, structlog, `logging` and `warnings` of this process use."""
    children.settle()
    previous = lazy.installed()
    if previous is not None:
        previous._logger.pipeline.on_close()
    lazy.install(logger)
    pipeline = logger._logger.pipeline
    uncaught = Uncaught(logger) if logger.config.capture_uncaught else None
    capture = Capture(logger, logger.config, uncaught)

    def release() -> None:
        capture.release()
        if uncaught is not None:
            uncaught.release()

    def serve() -> None:
        capture.check()
        if uncaught is not None:
            uncaught.check()

    pipeline.on_close, pipeline.on_serve = release, serve
    pipeline.directory.listeners.ask(pipeline)
    pipeline.control.on_level, pipeline.control.on_override = capture.set_level, capture.override


def get_logger(name: str | None = None, **context: Any) -> Any:
    """Return a logger on the installed `MetaLogger`.

    Args:
        name: Name of the logger, usually ``__name__``; written as ``logger``.
        **context: Fields to bind.

    Returns:
        A bound logger; before any `MetaLogger` exists, one that looks for it at each call and prints to standard
        error, as structlog would, as long as there is none.
    """
    return lazy.LazyLogger(name, context)
