"""The bound logger that people hold: structlog's, with levels that cost nothing when they are off.

`bind` chooses between the two classes of its pipeline (see `metaexpert.logger.logger_classes`).

A log call never raises an `Exception` and never waits, apart from what `overflow="block"` and `fsync="trades"`
ask for. Every method may be called from any thread, from a signal handler and from ``__del__``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.encoding.context_frames import lifts_gate
from metaexpert.logger.encoding.foreign_steps import EVENT, EXC_INFO
from metaexpert.logger.encoding.processors import aside
from metaexpert.logger.encoding.route import deliver
from metaexpert.logger.entry.values import Cleaner, safe_str
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.masking.rules import RULES, HiddenArguments, Rules
from metaexpert.logger.schema import CATEGORY, DOMAIN_FIELDS, LEVEL_NUMBERS, TRADE
from metaexpert.logger.system.interrupts import let_pass, undisturbed
from metaexpert.logger.system.lazy_structlog import BoundLoggerBase, DropEvent

if TYPE_CHECKING:
    from metaexpert.logger.decision import Decision
    from metaexpert.logger.logger_classes import LoggerClasses

#: Options of `MetaLogger` that are bound as context; ``expert_name`` configures, and is bound through that.
CONTEXT_OPTIONS: Final = frozenset({*DOMAIN_FIELDS, CATEGORY}) - {"expert_name"}
_MAX_NAME: Final = 1000


class Output:
    """The wrapped logger, in structlog's words: one name on one pipeline.

    One that *follows* was asked of `get_logger` or structlog: when its pipeline has closed, it goes on with the logger
    that is installed then.
    """

    def __init__(
        self, pipeline: Pipeline, classes: LoggerClasses, name: str | None = None, *, follows: bool = False
    ) -> None:
        self.pipeline = pipeline
        self.follows = follows
        self.name = None if name is None else Cleaner(_MAX_NAME, 1).key(name)
        self.classes = classes.of(self.name)

    # structlog's `filter_by_level` asks for these, or for the one below. A level that is off does not come so far.
    disabled: ClassVar = False

    def getEffectiveLevel(self) -> int:  # noqa: N802 - as a logger of `logging` has it
        """Return 0: every level is on."""
        return 0

    def isEnabledFor(self, _: int) -> bool:  # noqa: N802 - as a logger of `logging` has it
        """Return True: every level is on."""
        return True


class BoundLogger(BoundLoggerBase):
    """A structlog bound logger on a MetaExpert pipeline. Made by `MetaLogger`, `get_logger` and `bind`.

    Immutable: `bind`, `unbind`, `try_unbind` and `new` return another logger. Positional arguments are put into
    the message by ``%``; every keyword is a field of the entry, of any name and type.
    """

    _logger: Output
    _gate = schema.DEBUG
    #: Makes a logger of a pickled one's name, context and origin; set by `metaexpert.logger.lazy`.
    _revive: ClassVar[Callable[..., Any]]
    #: Returns the installed logger while it is open; set by the same.
    _installed: ClassVar[Callable[[], BoundLogger | None]]

    # -- binding ------------------------------------------------------------------------------------------------

    def bind(self, /, **new_values: Any) -> Self:
        """Return a logger with *new_values* added to its context; a new value replaces an old one."""
        return self._with({**self._context, **new_values})

    def unbind(self, /, *keys: str) -> Self:
        """Return a logger without *keys* in its context. Raises KeyError for a key that is not there."""
        missing = [key for key in keys if key not in self._context]
        if missing:
            raise KeyError(missing[0])
        return self.try_unbind(*keys)

    def try_unbind(self, /, *keys: str) -> Self:
        """Return a logger without *keys* in its context; keys that are not there are ignored."""
        return self._with({key: value for key, value in self._context.items() if key not in keys})

    def new(self, /, **new_values: Any) -> Self:
        """Return a logger whose context is *new_values* alone."""
        return self._with(new_values)

    @property
    def trade(self) -> Self:
        """The same logger with ``category="trade"``: its entries go to the trade file, at every level."""
        return self.bind(**{CATEGORY: TRADE})

    def _with(self, context: dict[str, Any]) -> Self:
        classes, category = self._logger.classes, context.get(CATEGORY)
        cls = classes.lifted if isinstance(category, str) and category == TRADE else classes.gated
        return cast(Self, cls(self._logger, self._processors, aside(context)))

    @functools.cached_property
    def _bound_context(self) -> Any:
        """What this logger adds to each entry, encoded for the fast call."""
        pipeline = self._logger.pipeline
        own = self._processors is pipeline.processors
        return pipeline.encoder.context(self._logger.name, self._context if own else None)

    # -- logging ------------------------------------------------------------------------------------------------

    def debug(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log what helps to follow the program step by step."""
        self._emit("debug", event, args, fields)

    def info(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log what an owner wants to know when all is well."""
        self._emit("info", event, args, fields)

    def warning(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log what may become a problem."""
        self._emit("warning", event, args, fields)

    def error(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log what went wrong; goes to the error file too."""
        self._emit("error", event, args, fields)

    def critical(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log what needs somebody at once; goes to the error file too."""
        self._emit("critical", event, args, fields)

    def exception(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log an ERROR with the exception that is being handled."""
        fields.setdefault(EXC_INFO, True)
        try:
            self._emit("error", event, args, fields)
        except RecursionError as error:
            self._logger.pipeline.health.errors.append(error.with_traceback(None))

    msg, warn, err, fatal = info, warning, error, critical

    def log(self, level: int | str, event: object = None, /, *args: Any, **fields: Any) -> None:
        """Log at *level*: a number, filtered as such and named by the level below, or a level's name."""
        try:
            number = level_number(level)
            if self.is_enabled_for(number):
                getattr(self, schema.level_word(number))(event, *args, **fields)
        except RecursionError as error:
            self._logger.pipeline.health.errors.append(error.with_traceback(None))

    def decision(self, what: object, /, **fields: Any) -> Decision:
        """Log at INFO what the expert decided and why; inside ``with`` the orders bear its ``decision_id``.

            logger.decision("skip", symbol="BTCUSDT", because="spread too wide", signal={"ema": "up"})
            with logger.decision("enter", because="averages crossed"):
                logger.trade.info("Order submitted", order_id="ord-1")

        Args:
            what: A word for it, such as ``"skip"`` or ``"enter"``.
            **fields: The reasons: ``because``, ``signal``, ``symbol`` and any others.
        """
        from metaexpert.logger.decision import Decision  # noqa: PLC0415 - a program without decisions does not wait

        return Decision(self.info, what, fields)

    async def adebug(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`debug` for coroutines: the loop is not held, since what the call has to wait for is awaited."""
        await self._aemit(self.debug, event, args, fields)

    async def ainfo(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`info` for coroutines (see `adebug`)."""
        await self._aemit(self.info, event, args, fields)

    async def awarning(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`warning` for coroutines (see `adebug`)."""
        await self._aemit(self.warning, event, args, fields)

    async def aerror(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`error` for coroutines (see `adebug`)."""
        await self._aemit(self.error, event, args, fields)

    async def acritical(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`critical` for coroutines (see `adebug`)."""
        await self._aemit(self.critical, event, args, fields)

    async def aexception(self, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`exception` for coroutines (see `adebug`)."""
        if fields.get(EXC_INFO, True) is True:
            fields[EXC_INFO] = sys.exception()  # no longer known on another thread
        await self._aemit(self.error, event, args, fields)

    amsg, awarn, afatal = ainfo, awarning, acritical

    async def alog(self, level: int | str, event: object = None, /, *args: Any, **fields: Any) -> None:
        """`log` for coroutines (see `adebug`)."""
        await self._aemit(self.log, level, (event, *args), fields)

    async def _aemit(self, method: Callable[..., None], first: object, args: tuple[Any, ...], fields: Any) -> None:
        pipeline = self._logger.pipeline
        if not pipeline.synchronous and pipeline.config.overflow != "block" and pipeline.config.fsync != "trades":
            method(first, *args, **fields)
            return
        # The entry is made here and now, with this time and context, whatever becomes of the task while it waits.
        try:
            await pipeline.wait_for_room()
        finally:
            with writing_thread.deferring() as deferral:
                method(first, *args, **fields)
        if deferral.asked:
            await pipeline.wait()

    def _emit(self, method: str, event: object, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """Run the chain and hand the result on. Nothing that goes wrong inside reaches the caller."""
        try:
            if fields.get(EXC_INFO) is True:  # a processor that fails must not put its own exception in this place
                fields[EXC_INFO] = sys.exception()
            if self._logger.pipeline.closed and self._handed_on(method, event, args, fields):
                return
            fields = aside(fields)
            message = interpolated(event, args, fields, self._logger.pipeline.rules)
            try:
                undisturbed(self._run, self._processors, method, message, fields)
            except DropEvent:
                return
            except Exception as error:  # a user's processor, or a fault of ours: the entry must not be lost by it
                let_pass(error)
                self._emit_plainly(method, message, fields, error)
        except Exception as error:  # no room on the stack for any of this
            let_pass(error)
            self._logger.pipeline.health.errors.append(error.with_traceback(None))

    def _handed_on(self, method: str, event: object, args: tuple[Any, ...], fields: dict[str, Any]) -> bool:
        """Return whether nothing is left to do for an entry that comes after the end of its pipeline."""
        output = self._logger
        current = type(self)._installed() if output.follows else None
        if current is not None:
            getattr(named(current, output.name, self._context, follows=True), method)(event, *args, **fields)
            return True
        return self._gate > 0 and LEVEL_NUMBERS[method] < output.classes.routes.routing.gate() and not lifts_gate()

    def _run(self, processors: Any, method: str, message: str, fields: dict[str, Any]) -> None:
        event_dict: Any = {**self._context, **fields, EVENT: message}
        for processor in processors:
            event_dict = processor(self._logger, method, event_dict)
        line, route = event_dict
        deliver(route, line)

    def _emit_plainly(self, method: str, message: str, fields: dict[str, Any], cause: Exception) -> None:
        pipeline = self._logger.pipeline
        try:
            pipeline.health.failed("an entry could not be processed as configured and was written plainly", cause)
            self._run(pipeline.fallback, method, message, fields)
        except DropEvent:
            return
        except Exception as error:  # even the plain way failed: tell it, and go on trading
            let_pass(error)
            pipeline.health.report("an entry could not be written", error)

    # -- levels -------------------------------------------------------------------------------------------------

    def is_enabled_for(self, level: int) -> bool:
        """Return whether an entry of this level number would be accepted."""
        return level >= self._gate or lifts_gate()

    def get_effective_level(self) -> int:
        """Return the lowest level number that is accepted; 0 for a trade logger."""
        return self._gate

    def set_level(self, level: int | str) -> None:
        """Change `log_level` of the whole pipeline, at run time and for all its loggers without a level of their own.

        Args:
            level: A standard level: its name in any case, or its number.

        Raises:
            ValueError: For anything else; says what would be right.
        """
        number = schema.level_named(level) if isinstance(level, str) else level
        if not isinstance(number, int) or number not in schema.LEVEL_WORDS:
            raise ValueError(f"level: {level!r} should be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        self._logger.pipeline.control.set_level(number)

    # -- the pipeline behind --------------------------------------------------------------------------------------

    @property
    def config(self) -> LoggerConfig:
        """The configuration of the pipeline."""
        return self._logger.pipeline.config

    @property
    def health(self) -> str:
        """``ok``, ``degraded: <reason> since <when>``, or ``closed``."""
        pipeline = self._logger.pipeline
        return "closed" if pipeline.closed else str(pipeline.health)

    def stats(self) -> dict[str, Any]:
        """Return what happened since the start.

        Returns:
            ``state`` (as `health`), ``written`` and ``written_by_level`` (entries), ``dropped``,
            ``dropped_by_level`` and ``dropped_by_route`` (entries refused: no room, or after close; skipped
            console lines under ``console``), ``failed`` (entries that could not be logged as meant),
            ``recovered`` (entries brought in from an earlier process), ``queue_bytes`` (bytes that wait). Where they
            are in use also ``repeated`` (entries that were counted instead of written), ``recorder`` (what the flight
            recorder holds), ``alerts`` and ``exports`` (counts by channel, and by collector).
        """
        return self._logger.pipeline.stats()

    @property
    def metrics(self) -> Any:
        """The Prometheus registry of this process (see `prometheus_client.CollectorRegistry`), for an own exporter.

        Raises:
            AttributeError: The logger keeps no metrics: the setting ``metrics`` is off.
        """
        metrics = self._logger.pipeline.outputs.metrics
        if metrics is None:
            raise AttributeError("this logger keeps no metrics; set metrics=True")
        return metrics.registry

    def flush(self, timeout: float | None = None) -> bool:
        """Write everything logged so far into the files.

        Args:
            timeout: How long to go on trying, in seconds, while the files cannot be written; None for one try, which
                is given up when a single write has not returned for 30 seconds.

        Returns:
            Whether everything is there.
        """
        return self._logger.pipeline.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Flush, stop and release; idempotent. Later calls: WARNING and above to standard error, the rest counted.

        Args:
            timeout: As for `flush`; also the longest wait for the compression of backups.

        Returns:
            Whether everything is in the files.
        """
        return self._logger.pipeline.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- identity -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        # Names only: a value may be a secret.
        names = ", ".join(self._context)
        return f"<{type(self).__name__} {self.config.expert_name!r} on {str(self.config.log_dir)!r}: {names}>"

    __hash__ = None  # type: ignore[assignment]  # as structlog's: equal contexts are equal loggers

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as name, context and origin: in the other process the logger finds a pipeline like its own."""
        from metaexpert.logger import inheritance  # noqa: PLC0415 - few loggers are pickled

        return type(self)._revive, (self._logger.name, dict(self._context), inheritance.origin(self))


def named(logger: BoundLogger, name: str | None, context: Mapping[str, Any], *, follows: bool = False) -> BoundLogger:
    """Return a logger on the pipeline of *logger* with a name and *context* of its own."""
    output = Output(logger._logger.pipeline, logger._logger.classes, name, follows=follows)
    return output.classes.gated(output, logger._processors, {})._with(dict(context))


def level_number(level: object) -> int:
    """Return the number that `BoundLogger.log` takes *level* for; an unknown name is INFO: a call never raises."""
    if isinstance(level, int):
        return level
    return schema.level_named(safe_str(level)) or schema.INFO


def interpolated(event: object, args: tuple[Any, ...], fields: dict[str, Any], rules: Rules = RULES) -> str:
    """Put *args* into the message by ``%``, or keep them under ``positional_args`` when they do not fit."""
    text = "" if event is None else safe_str(event)
    if not args:
        return text
    try:
        if len(args) != 1 or not isinstance(args[0], Mapping) or not args[0]:
            return text % args
        return text % (HiddenArguments(args[0], rules) if "%(" in text else args[0])
    except Exception as error:  # wrong count or type, or a hostile __str__
        let_pass(error)
        fields["positional_args"] = list(args)
        fields["format_error"] = f"{type(error).__name__}: {safe_str(error)}"
        return text
