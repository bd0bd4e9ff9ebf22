"""The loggers of a process for its children, and the loggers that a child makes of them.

Imported when a process that logs starts another, and in a child with its first entry; see `metaexpert.logger.children`.

A child writes into the directory of its parent under its own process id, prints on the standard error that it has,
and sends its own alerts and exports: each entry comes from one process, so nothing is doubled. The heartbeat of alerts
is the parent's.

A logger that is pickled by itself, for a queue, a pool or a file, takes no secret along: its name, its context, the key
of its pipeline, and the settings of its files. The key finds the pipeline in a process that was started while it was
open. The settings make one like it in any other process of the same machine, without alerts and exports.

Threads: any thread; loggers are made one after another.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger import children, factory, lazy, schema
from metaexpert.logger.bound import BoundLogger
from metaexpert.logger.children import Handover, Packed
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.console import stderr
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.logger_classes import bound_logger, open_loggers
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.stdlib import starting_levels
from metaexpert.logger.system.forks import ForkAware, on_fork
from metaexpert.logger.system.host import hostname
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.threads import RLock
from metaexpert.logger.uncaught import MESSAGE

#: Longest wait for another thread that makes a logger, in seconds; it may wait for an import that we hold up.
_PATIENCE: Final = 5.0
#: The beginnings of settings that stay with the process: they send, or may hold what nobody else should read.
_OWN: Final = (
    "alert",
    "telegram",
    "discord",
    "webhook",
    "syslog",
    "otlp",
    "metrics",
    "secrets",
    "processors",
    "stream",
)


class Origin(NamedTuple):
    """Where a pickled logger comes from.

    Attributes:
        key: The key of its pipeline.
        host: The name of its machine.
        settings: The settings that make a pipeline like it, as far as they differ from the defaults.
    """

    key: str
    host: str
    settings: dict[str, Any]


class _Making(ForkAware):
    """One logger at a time is made."""

    def __init__(self) -> None:
        self.lock = RLock()
        #: The keys of those that were made or tried.
        self.tried: set[str] = set()
        self.busy = False
        on_fork(self)

    def after_fork_in_child(self) -> None:
        """Forget another thread of the parent that was making one."""
        self.lock, self.busy = RLock(), False

    def make(self, key: str, config: LoggerConfig, packed: Packed | None = None) -> BoundLogger | None:
        """Make the logger of *key*, once; or return the process's own one of the same expert and directory."""
        if self.busy or not self.lock.acquire(timeout=_PATIENCE):
            return None
        try:
            if key in open_loggers or key in self.tried:
                return open_loggers.get(key)
            self.busy = True
            self.tried.add(key)
            wanted = config.expert_name, config.log_to_file, str(config.log_dir)
            own = (logger for logger in list(open_loggers.values()) if _place(logger) == wanted)
            return next(own, None) or _new(key, config, packed)
        finally:
            self.busy = False
            self.lock.release()


_making: Final = _Making()


def _place(logger: BoundLogger) -> tuple[str, bool, str]:
    return logger.config.expert_name, logger.config.log_to_file, str(_directory(logger))


def _directory(logger: BoundLogger) -> Path:
    return logger._logger.pipeline.directory.path or logger.config.log_dir


# -- in the parent --------------------------------------------------------------------------------------------------


def handover(received: Handover) -> Handover:
    """Return what a child that starts now gets: our open loggers, and those of our parent that we have not made."""
    installed = lazy.installed()
    loggers = {key: packed for key, packed in received.loggers.items() if key not in _making.tried}
    loggers |= {key: _packed(logger) for key, logger in list(open_loggers.items())}
    handed = received._replace(secrets=tuple(registered.values), loggers=loggers)
    if installed is None or installed.health == "closed":
        return handed
    config = installed.config
    level = loggers[installed._logger.classes.key].level if config.capture_stdlib else None
    own = {name: schema.LEVEL_NUMBERS[word.lower()] for name, word in config.levels.items()}
    levels = starting_levels(own) if config.capture_stdlib else {}
    key = installed._logger.classes.key
    return handed._replace(installed=key, level=level, levels=levels, warnings=config.capture_warnings)


def _packed(logger: BoundLogger) -> Packed:
    config = logger.config
    changes = {"log_dir": _directory(logger), "alert_heartbeat": False, "processors": None}
    if not isinstance(config.stream, str):  # an object of this process, which a copy in a child is not
        changes["stream"] = "stderr"
    for field, info in LoggerConfig.model_fields.items():
        if field not in changes and _dumped(logger, field, getattr(config, field)) is None:
            changes[field] = info.get_default(call_default_factory=True, validated_data=vars(config))
    portable = pickle.dumps(config.model_copy(update=changes))
    processors = _dumped(logger, "processors", config.processors)
    context = _dumped(logger, "context", dict(logger._context))
    level = logger._logger.pipeline.control.level
    return Packed(portable, processors or pickle.dumps(None), context or pickle.dumps({}), level)


def _dumped(logger: BoundLogger, name: str, value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except Exception as error:  # of a class of the user's; a child must start whatever we cannot hand on
        let_pass(error)
        text = f"{name}: cannot be pickled, so that child processes log without"
        logger._logger.pipeline.directory.diagnostics.report(f"child {name}", text, level="warning", error=error)
        return None


def origin(logger: BoundLogger) -> Origin | None:
    """Return where *logger* comes from, for its pickle; None for one that has closed, or writes no files."""
    config = logger.config
    if logger._logger.pipeline.closed or not config.log_to_file:
        return None
    fields = (field for field in LoggerConfig.model_fields if not (field.startswith(_OWN) or config.is_default(field)))
    settings = {field: getattr(config, field) for field in fields} | {"log_dir": _directory(logger)}
    return Origin(logger._logger.classes.key, hostname(), settings)


# -- in the child ---------------------------------------------------------------------------------------------------


def install() -> None:
    """Make the logger that was installed in the parent, and install it here."""
    handed = children.received()
    logger = _handed(handed.installed)
    if lazy.installed() is None and not _making.busy:
        children.settle()
        if logger is not None:
            factory.take_over(logger)


def home(found: Origin) -> BoundLogger | None:
    """Return the logger of a pickled one's pipeline, or the installed one."""
    logger = open_loggers.get(found.key) or _handed(found.key)
    if logger is None and found.key not in _making.tried and _is_near(found):
        logger = _making.make(found.key, LoggerConfig.model_construct(**found.settings))
    return logger or lazy.current()


def _is_near(found: Origin) -> bool:
    """Return whether its directory is here; another machine may have one of the same name."""
    return found.host == hostname() and Path(found.settings["log_dir"], schema.PRIVATE_DIRECTORY).is_dir()


def _handed(key: str) -> BoundLogger | None:
    packed = children.received().loggers.get(key)
    if packed is None:
        return None
    try:
        return _making.make(key, pickle.loads(packed.config), packed)  # noqa: S301 - it comes from our parent
    except Exception as error:  # another version of this package, or no room for anything
        let_pass(error)
        stderr.stream.print(f"metaexpert: this child process cannot log like its parent: {error!r:.500}\n")
        return None


def _new(key: str, config: LoggerConfig, packed: Packed | None) -> BoundLogger:
    processors, troubles = None, list[Exception]()
    context: dict[str, Any] = {}
    if packed is not None:
        processors = _loaded(packed.processors, troubles)
        context = _loaded(packed.context, troubles) or {}
    logger = bound_logger(Pipeline(config.model_copy(update={"processors": processors})), context, key)
    if packed is not None and packed.level != logger._logger.pipeline.routing.log_level:
        logger.set_level(packed.level)
    for error in troubles:
        logger._logger.pipeline.health.failed("a part of the parent's logger cannot be had in this child", error)
    return logger


def _loaded(part: bytes, troubles: list[Exception]) -> Any:
    try:
        return pickle.loads(part)  # noqa: S301 - it comes from our parent
    except Exception as error:  # code of the user's that the child cannot import
        let_pass(error)
        troubles.append(error)
        return None


def log_end(error: Exception, process: str) -> None:
    """Log the exception that ends this child, called *process*, and have it written."""
    logger = lazy.installed()
    if logger is not None and logger.config.capture_uncaught:
        logger.critical(MESSAGE, exc_info=error, process=process)
        logger.flush(_PATIENCE)
