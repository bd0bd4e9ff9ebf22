"""The installed logger: what `get_logger` and `structlog.get_logger` find, whenever they look.

One per process, replaced by `install`. Reading and replacing it is one assignment, safe from any thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from metaexpert.logger import children, schema
from metaexpert.logger.bound import BoundLogger, interpolated, level_number, named
from metaexpert.logger.capture.chains import Door, adopted, tap
from metaexpert.logger.console import stderr
from metaexpert.logger.encoding.foreign_steps import EXC_INFO
from metaexpert.logger.encoding.line import Clock
from metaexpert.logger.encoding.processors import aside
from metaexpert.logger.entry.values import Cleaner
from metaexpert.logger.masking.rules import Masker, mask_text
from metaexpert.logger.schema import CATEGORY, TRADE
from metaexpert.logger.system.lazy_structlog import configure, loaded_config, structlog

if TYPE_CHECKING:
    from metaexpert.logger.decision import Decision
    from metaexpert.logger.inheritance import Origin

#: Of an entry that goes to standard error because structlog fails: characters of a value, and values.
_MOST: Final = 1000, 100
_MAX_TEXT = 64 * 1024
_installed: BoundLogger | None = None
#: Our parts of structlog's configuration.
_ours: Final[dict[str, Any]] = {}


def installed() -> BoundLogger | None:
    """Return the logger that `get_logger` and `structlog.get_logger` use, or None."""
    return _installed


def current() -> BoundLogger | None:
    """Return the installed logger; in a child process, make it at the first use like that of the parent."""
    if _installed is None:
        children.make()
    return _installed


def _open() -> BoundLogger | None:
    """Return the installed logger, unless it has closed."""
    logger = _installed
    return None if logger is None or logger._logger.pipeline.closed else logger


def install(logger: BoundLogger) -> None:
    """Make *logger*'s pipeline the one that `get_logger` and `structlog.get_logger` use."""
    global _installed  # noqa: PLW0603
    _installed = logger
    if (config := loaded_config()) is not None:  # otherwise nobody holds a chain yet
        _tap(config.get_config()["processors"])
    _configure(logger)


def _configure(logger: BoundLogger) -> None:
    output = logger._logger

    def wrapper(wrapped: Any, processors: Any, context: Any) -> BoundLogger:
        own = wrapped.output if type(wrapped) is Door else Door(None, output, _open).output
        return own.classes.gated(own, adopted(own, processors), {})._with(dict(context))

    def factory(*args: Any) -> Door:
        return Door(str(args[0]) if args else None, output, _open)

    _ours.update(wrapper_class=wrapper, logger_factory=factory)
    configure(
        processors=output.pipeline.processors,
        wrapper_class=wrapper,
        context_class=dict,
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def _tap(processors: Any) -> None:
    # For good: without an installed logger it does nothing, and loggers bound at import time are there for all runs.
    tap(processors, _open, meant=structlog.is_configured())


def check(logger: BoundLogger, wanted: int) -> str | None:
    """Hold structlog's events, whatever was configured since *logger* was installed. For the writing thread.

    Returns:
        Which events from level *wanted* up the program keeps from us; None when they all come.
    """
    if _installed is not logger or logger._logger.pipeline.closed or loaded_config() is None:
        return None
    config = structlog.get_config()
    processors = config["processors"]
    if not structlog.is_configured():  # reset to its defaults: loggers that were bound meanwhile hold their list
        _tap(processors)
        _configure(logger)
    elif processors is logger._logger.pipeline.processors:
        if (
            config["wrapper_class"] is _ours["wrapper_class"]
            and config["logger_factory"] is not _ours["logger_factory"]
        ):
            structlog.configure(logger_factory=_ours["logger_factory"])
    elif type(processors) is list:
        _tap(processors)
    elif not isinstance(processors, list):  # a tuple, perhaps, which cannot be tapped
        structlog.configure(processors=[*processors])
    level = _level_of(config["wrapper_class"])
    return None if level <= wanted else f"events of structlog below {schema.level_word(level).upper()} (wrapper_class)"


def _level_of(wrapper: Any) -> int:
    """Return the level of one of structlog's filtering classes."""
    level: Any = getattr(wrapper, "get_effective_level", None)
    return int(level(None)) if getattr(level, "__module__", None) == "structlog._native" else 0


def uninstall() -> None:
    """Forget the installed logger; structlog's own configuration is left as it is."""
    global _installed  # noqa: PLW0603
    _installed = None
    children.settle()


class _MaskedStderr(io.TextIOBase):
    """The standard error of the moment, without secrets. One object: structlog keeps a lock for each that it meets."""

    def write(self, text: str, /) -> int:
        if sys.stderr is not None:
            sys.stderr.write(mask_text(text))
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


_stream = _MaskedStderr()


def _mask(_: Any, __: str, event: Any) -> Any:
    """Mask fields with secret names, and containers, which another library's renderer would print as they are."""
    masker = Masker()
    for name, value in event.items():
        if (isinstance(value, Mapping | list | tuple | set) and name != "exc_info") or masker.kind("", str(name)):
            cleaner = Cleaner(_MAX_TEXT, _MAX_TEXT, masker)
            event[name] = cleaner.clean({name: value})[str(name)]
    return event


class LazyLogger:
    """A logger that finds the installed one when it is used; without one it prints to standard error.

    Args:
        name: The logger's name, written as ``logger``.
        context: Fields to bind.
        origin: Of a pickled one: where it comes from; its pipeline is preferred to the installed one.
    """

    def __init__(
        self, name: str | None = None, context: Mapping[str, Any] | None = None, origin: Origin | None = None
    ) -> None:
        self._name = name
        self._origin = origin
        self._initial = dict(context or {})
        self._found: tuple[BoundLogger, BoundLogger] | None = None

    def _target(self) -> BoundLogger | None:
        if self._origin is None:
            return current()
        from metaexpert.logger import inheritance  # noqa: PLC0415 - few loggers were pickled

        return inheritance.home(self._origin)

    def _resolve(self) -> Any:
        target = self._target()
        if target is None:
            steps = [_mask, *structlog.get_config()["processors"]]
            return structlog.wrap_logger(structlog.PrintLogger(cast(TextIO, _stream)), processors=steps).bind(
                **self._shown()
            )
        if self._found is None or self._found[0] is not target:
            self._found = (target, named(target, self._name, self._initial, follows=True))
        return self._found[1]

    def _shown(self) -> dict[str, Any]:
        return {**({} if self._name is None else {schema.LOGGER_KEY: self._name}), **self._initial}

    def bind(self, /, **new_values: Any) -> Any:
        """Return a logger with *new_values* bound: the installed one's, or a lazy one."""
        if self._target() is not None:
            return self._resolve().bind(**new_values)
        return LazyLogger(self._name, {**self._initial, **new_values}, self._origin)

    def unbind(self, /, *keys: str) -> Any:
        """Return a logger without *keys*. Raises KeyError for a key that is not there."""
        missing = [key for key in keys if key not in self._initial]
        if missing:
            raise KeyError(missing[0])
        return self.try_unbind(*keys)

    def try_unbind(self, /, *keys: str) -> Any:
        """Return a logger without *keys*, ignoring those that are not there."""
        kept = {key: value for key, value in self._initial.items() if key not in keys}
        return LazyLogger(self._name, kept, self._origin)

    def new(self, /, **new_values: Any) -> Any:
        """Return a logger whose context is *new_values* alone."""
        return LazyLogger(self._name, new_values, self._origin)

    @property
    def trade(self) -> Any:
        """The same logger with ``category="trade"``."""
        return self.bind(**{CATEGORY: TRADE})

    def decision(self, what: object, /, **fields: Any) -> Decision:
        """Log a decision, see `BoundLogger.decision`."""
        from metaexpert.logger.decision import Decision  # noqa: PLC0415 - a program without decisions does not wait

        return Decision(self.info, what, fields)

    def flush(self, timeout: float | None = None) -> bool:
        """Flush the installed logger; without one there is nothing to write."""
        return True if _installed is None else _installed.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Close the installed logger; without one there is nothing to close."""
        return True if _installed is None else _installed.close(timeout)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._target() is None:
            return self._uninstalled(name)
        return getattr(self._resolve(), name)

    def _uninstalled(self, name: str) -> Any:
        if name == "log" or name in schema.WORDS:
            return partial(self._print, name)
        if name == "alog" or (name[:1] == "a" and name[1:] in schema.WORDS):
            return partial(self._aprint, name[1:])
        if hasattr(BoundLogger, name) and not hasattr(found := self._resolve(), name):
            raise AttributeError(f"there is no MetaLogger yet, and {name!r} is on loggers of one only: {found!r}")
        return getattr(self._resolve(), name)

    async def _aprint(self, method: str, /, *args: Any, **fields: Any) -> None:
        self._print(method, *args, **fields)

    def _print(self, method: str, /, *args: Any, **fields: Any) -> None:
        """Print an entry as structlog would. Like every log call it raises nothing, whatever it is given."""
        level, args = (args[0], args[1:]) if method == "log" and args else (schema.INFO, args)
        word = schema.WORDS.get(method) or schema.level_word(level_number(level))
        if method == "exception":
            fields.setdefault(EXC_INFO, True)
        fields = aside(fields)
        message = interpolated(args[0] if args else None, args[1:], fields)
        try:
            getattr(self._resolve(), word)(message, **fields)
        except Exception as error:  # of a chain that somebody has configured, or of a stream: others may still read
            shown = Cleaner(*_MOST).clean({**self._shown(), **fields, "structlog_failed": error})
            stderr.print_entry({**shown, "timestamp": Clock()(), "level": word, "message": message})

    def __repr__(self) -> str:
        return f"<LazyLogger {self._name!r}: {', '.join(self._initial)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyLogger, (self._name, self._initial, self._origin)


BoundLogger._revive = LazyLogger
BoundLogger._installed = staticmethod(_open)
