"""Handlers of `logging`: the one that the installed logger puts on the root logger, and `MetaHandler` for a dictConfig.

A record that reaches several of them is written once per set of files. Where a logger does not hand its records on to
the root logger, or somebody has taken our handler away, the `watch` of `logging.Logger.callHandlers` brings them in.

Threads: any thread may log. Loggers are shared between handlers under a lock that no log call takes.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.bound import CONTEXT_OPTIONS, BoundLogger, named
from metaexpert.logger.capture._records import fields_of, level_of, message_of, time_of
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.encoding.line import MADE_AT
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.logger_classes import bound_logger
from metaexpert.logger.system.forks import ForkAware, on_fork
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.threads import Lock

#: Loggers that are kept by their names: programs that make up names must not fill the memory.
_MOST_NAMES: Final = 1000
#: Longest wait of `MetaHandler.flush`, in seconds: `logging.shutdown` calls it, and must come to an end.
_FLUSH_PATIENCE: Final = 5.0


#: Records whose way is kept while there are queues, twice as many at most: a `QueueListener` may come late.
_MOST_PASSED: Final = 5000
#: Handlers and sets of files that have had a record; of two that come at once, the first one counts.
_Taken = dict[object, object]


class _Chain(threading.local):
    """The record that this thread hands through its handlers, with those of ours that have had it."""

    record: logging.LogRecord | None = None
    taken: _Taken | None = None


_chain: Final = _Chain()


class StdlibHandler(logging.Handler):
    """Hands records on to a bound logger. Never raises, whatever a record holds.

    Args:
        logger: Where the records go.
        on_close: Called when `logging` closes its handlers: somebody configures it anew.

    Raises:
        TypeError: *logger* is none of ours.
    """

    def __init__(self, logger: BoundLogger, on_close: Callable[[], None] = lambda: None) -> None:
        if not isinstance(logger, BoundLogger):
            raise TypeError(f"a logger of MetaLogger is needed, not {type(logger).__name__}")
        super().__init__()
        self._logger = logger
        self._on_close = on_close
        self._named: dict[str, BoundLogger] = {}
        config = logger.config
        self._console = logger._logger.pipeline.outputs.console
        path = logger._logger.pipeline.directory.path
        self._files = (str(path), config.log_file) if config.log_to_file else object()

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record* under its own name, level, message, time and extra fields."""
        try:
            number = level_of(record)
            logger = self._named.get(record.name) or self._add_name(record.name)
            if logger.is_enabled_for(number) or schema.ALERT in vars(record):
                message, trouble = message_of(record, logger._logger.pipeline.rules)
                if self._console.printing is not None and self._console.echoes(str(message)):
                    return  # standard error is redirected into logging: these are our own lines
                fields, made_at, word = fields_of(record), time_of(record), schema.level_word(number)
                if trouble:
                    fields |= trouble
                if made_at is None:
                    getattr(logger, word)(message, **fields)
                else:
                    _log_at(made_at, logger, word, message, fields)
        except Exception as error:  # a record of a class whose attributes raise
            let_pass(error)
            self._logger._logger.pipeline.health.failed("a record of logging could not be taken", error)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit as `logging.Handler` does, but without its lock, which a signal handler might wait for."""
        taken = _chain.taken if _chain.record is record else watch.taken(record)
        mine = object()
        if taken is not None and taken.setdefault(self, mine) is not mine:
            return True
        kept = self.filter(record)
        if kept and (taken is None or taken.setdefault(self._files, mine) is mine):
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def has(self, record: logging.LogRecord) -> bool:
        """Return whether *record*, which the calling thread hands through its handlers, has been here already."""
        return _chain.record is record and _chain.taken is not None and self in _chain.taken

    def createLock(self) -> None:  # noqa: N802 - overrides logging's
        """No lock: a log call needs none, and one less can be held at a fork."""
        self.lock = None

    def close(self) -> None:
        """Tell that `logging` is configured anew; records are taken as before."""
        super().close()
        self._on_close()

    def _add_name(self, name: str) -> BoundLogger:
        if len(self._named) >= _MOST_NAMES:
            self._named.clear()
        logger = self._named[name] = named(self._logger, name, self._logger._context)
        return logger


def _log_at(made_at: int, logger: BoundLogger, word: str, message: object, fields: dict[str, Any]) -> None:
    token = MADE_AT.set(made_at)
    try:
        logger._emit(word, message, (), fields)
    finally:
        MADE_AT.reset(token)


class MetaHandler(StdlibHandler):
    """A handler of `logging` that writes the files of a `MetaLogger`, for dictConfig and its relatives.

    A formatter has no effect: entries are JSON lines. Handlers with equal settings share one logger, and those with one
    directory its files, where a record is written once. Unless ``log_to_console`` is set, nothing is printed: the
    console is another handler's there.

    Args:
        level: Lowest level of `logging` that is taken; ``log_level`` of the settings comes after it.
        **options: As for `MetaLogger`: fields of `LoggerConfig`, and context such as ``symbol``.

    Raises:
        ConfigurationError: An option or a source is wrong; nothing was created.
    """

    def __init__(self, level: int | str = logging.NOTSET, **options: Any) -> None:
        self._options = dict(options)
        logging._checkLevel(level)  # type: ignore[attr-defined]  # before anything is created
        context = {name: options.pop(name) for name in [*options] if name in CONTEXT_OPTIONS}
        config = LoggerConfig(**options)
        if config.log_to_file and config.sources()["log_to_console"].source == "default":
            config = config.replace(log_to_console=False)
        self._shared: _Shared | None = shared_loggers.join(config, context)
        super().__init__(self._shared.logger)
        self.setLevel(level)
        watch.begin(self)

    def flush(self) -> None:
        """Write what was logged so far, for some seconds at most."""
        if self._shared is not None:
            self._logger.flush(_FLUSH_PATIENCE)

    def close(self) -> None:
        """Flush, and close the logger with its last handler. Idempotent."""
        shared, self._shared = self._shared, None
        watch.end(self)
        if shared is not None:
            shared_loggers.leave(shared)
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the settings: the copy, perhaps in another process, shares files and has its own place."""
        return _rebuilt, (type(self), self.level, self._options, self.get_name(), list(self.filters))


def _rebuilt(
    cls: type[MetaHandler], level: int, options: dict[str, Any], name: str | None, filters: list[Any]
) -> MetaHandler:
    handler = cls(level, **options)
    if name is not None and logging._handlers.get(name) is None:  # type: ignore[attr-defined]
        handler.set_name(name)
    for wanted in filters:
        handler.addFilter(wanted)
    return handler


class _Shared:
    """A logger with the number of its handlers."""

    def __init__(self, config: LoggerConfig, context: dict[str, Any]) -> None:
        self.key = config, context
        self.users = 0
        self.logger = bound_logger(Pipeline(config), context)


class _SharedLoggers(ForkAware):
    """The loggers of all `MetaHandler`."""

    def __init__(self) -> None:
        self.all: list[_Shared] = []
        self._lock = Lock()
        on_fork(self)

    def join(self, config: LoggerConfig, context: dict[str, Any]) -> _Shared:
        """Return the open logger of these settings, made when there is none, with one more user."""
        with self._lock:
            open_ones = (s for s in self.all if s.key == (config, context) and s.logger.health != "closed")
            shared = next(open_ones, None)
            if shared is None:
                shared = _Shared(config, context)
                self.all.append(shared)
            shared.users += 1
            return shared

    def leave(self, shared: _Shared) -> None:
        """Close the logger if this was its last handler."""
        with self._lock:
            shared.users -= 1
            last = shared.users == 0
            if last:
                self.all.remove(shared)
        if last:
            shared.logger.close(_FLUSH_PATIENCE)

    def after_fork_in_child(self) -> None:
        """Another thread may have held the lock."""
        self._lock = Lock()


shared_loggers: Final = _SharedLoggers()


class RecordWatch:
    """Stands before `logging.Logger.callHandlers` while somebody needs it, so that no record is missed or doubled.

    Attributes:
        before: Called with a logger before its handlers are; returns what is to be called with a record that its
            handlers have had, or None.
    """

    def __init__(self) -> None:
        self._users: list[object] = []
        self._original = logging.Logger.callHandlers
        self._stands = False
        self.before: Callable[[logging.Logger], Callable[[logging.LogRecord], object] | None] | None = None
        #: By what tells a record and its copies, those of ours that have had it; None if two records are told so.
        self._passed: dict[tuple[object, ...], _Taken | None] = {}
        self._passed_before: dict[tuple[object, ...], _Taken | None] = {}
        #: Whether there is a queue among the handlers of `logging`, whose number and last one were these.
        self._queues = False
        self._seen: tuple[int, object] = 0, None

        @functools.wraps(self._original)
        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            outer = _chain.record, _chain.taken
            before = self.before
            after = None if before is None else before(logger)
            _chain.record, _chain.taken = record, {}
            if self._has_queues():
                self._keep(record, _chain.taken)
            try:
                try:
                    self._original(logger, record)
                finally:  # a handler of somebody's may raise, into the program
                    if after is not None:
                        after(record)
            finally:
                _chain.record, _chain.taken = outer

        self._ours: Final = call_handlers

    def begin(self, user: object) -> None:
        """Watch for *user*."""
        self._users.append(user)
        if not self._stands:
            self._stands = True
            self._original = logging.Logger.callHandlers
            logging.Logger.callHandlers = self._ours  # type: ignore[method-assign, assignment]

    def end(self, user: object) -> None:
        """Watch no longer, once nobody needs it. If somebody else stands before us by now, we stay and look on."""
        self._users = [other for other in self._users if other is not user]
        if not self._users:
            self._passed = self._passed_before = {}
        if not self._users and logging.Logger.callHandlers is self._ours:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign]
            self._stands = False

    def taken(self, record: logging.LogRecord) -> _Taken | None:
        """Return who has had *record*, which comes from a queue; None if it is not known."""
        key = _told(record)
        return next((passed[key] for passed in (self._passed, self._passed_before) if key in passed), None)

    def _keep(self, record: logging.LogRecord, taken: _Taken) -> None:
        if len(self._passed) >= _MOST_PASSED:
            self._passed_before, self._passed = self._passed, {}
        key = _told(record)
        self._passed[key] = None if key in self._passed else taken

    def _has_queues(self) -> bool:
        """Return whether there is a `QueueHandler`, by which a record may come a second time."""
        known: list[Any] = logging._handlerList  # type: ignore[attr-defined]
        if len(known) != self._seen[0] or (known and known[-1] is not self._seen[1]):
            self._seen = len(known), known[-1] if known else None
            self._queues = any("queue" in vars(handler) for ref in [*known] if (handler := ref()) is not None)
        return self._queues


def _told(record: logging.LogRecord) -> tuple[object, ...]:
    """Return what a record and its copies have in common; a `QueueHandler` changes the message."""
    own = vars(record)
    return own.get("created"), own.get("thread"), own.get("process"), own.get("name"), own.get("lineno")


#: The watch of this process.
watch: Final = RecordWatch()
