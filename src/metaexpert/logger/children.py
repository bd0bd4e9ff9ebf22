"""What child processes get from their parent, and how they wait for their first entry.

A forked child has everything. One that multiprocessing starts as a new interpreter (spawn and forkserver, also for
`concurrent.futures` and loky, which joblib uses) is sent its process object over a pipe, and with it a copy of the
parent's configuration of processes. An object of ours lies there, so that registered secrets and settings stand in no
environment variable, command line or file.

The child makes its loggers at its first entry: by `get_logger`, a pickled logger, `logging`, `warnings`, structlog, or
an exception that ends it. Until then it has no thread and no journal, and has imported this module and no more of the
logger than the program itself.

Threads: a child receives on its main thread, before its own code runs. Its first entry may come from any.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from metaexpert.logger.system.imports import when_imported

#: Our place in multiprocessing's configuration of processes.
_PLACE: Final = "metaexpert"


class Packed(NamedTuple):
    """A logger as its pickled parts, each of which can fail in the child without the others.

    Attributes:
        config: The configuration without processors.
        processors: The user's own.
        context: What is bound.
        level: `log_level` of the moment, as a number.
    """

    config: bytes
    processors: bytes
    context: bytes
    level: int


class Handover(NamedTuple):
    """What a process hands to its children.

    Attributes:
        secrets: The registered values.
        loggers: The open loggers by their keys.
        installed: The key of the installed one; empty without one.
        level: The lowest level of records of `logging` that it takes; None when it takes none.
        levels: The loggers of `logging` that start at a level of their own, and which.
        warnings: Whether it takes `warnings`.
    """

    secrets: tuple[str | bytes, ...] = ()
    loggers: dict[str, Packed] = {}  # noqa: RUF012 - never changed
    installed: str = ""
    level: int | None = None
    levels: dict[str, int] = {}  # noqa: RUF012 - never changed
    warnings: bool = False


class _Carrier:
    """Lies in the configuration of processes, and is pickled whenever one starts."""

    def __init__(self) -> None:
        self.received = Handover()
        self.begun = False

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.begun:
            return receive, (self.received,)
        from metaexpert.logger import inheritance  # noqa: PLC0415 - a process without children does not need it

        return receive, (inheritance.handover(self.received),)


_carrier: Final = _Carrier()
#: Undo what waits for the first entry.
_waiting: Final[list[Callable[[], None]]] = []
#: Look by what the functions that have waited were replaced.
_replaced: Final[list[Callable[[], None]]] = []


def begin() -> None:
    """Hand the loggers of this process on to its children from now on. Idempotent."""
    if not _carrier.begun:
        _carrier.begun = True
        when_imported("multiprocessing.process", _take_place)
        when_imported("multiprocessing.process", _watch_ends)


def _take_place() -> None:
    # Each process object begins with a copy of it, and is sent with it.
    sys.modules["multiprocessing.process"].current_process()._config[_PLACE] = _carrier


def received() -> Handover:
    """Return what this process got from its parent; nothing of it is installed once that was tried."""
    return _carrier.received


def receive(handover: Handover) -> _Carrier:
    """Take what the parent hands over, in the child."""
    _carrier.received = handover
    when_imported("metaexpert.logger.masking.registered", _register)
    when_imported("multiprocessing.process", _watch_ends)
    if _installed() is not None:  # the main module, which the child imports, makes its own
        settle()
    elif handover.installed:
        if handover.level is not None:
            when_imported("logging", _await_record)
        if handover.warnings:
            when_imported("warnings", lambda: _await_call(sys.modules["warnings"], "showwarning"))
        when_imported("structlog._config", _await_event)
    return _carrier


def _installed() -> Any:
    lazy = sys.modules.get("metaexpert.logger.lazy")  # without it there is none
    return None if lazy is None else lazy.installed()


def _register() -> None:
    registered = sys.modules["metaexpert.logger.masking.registered"].registered
    for value in _carrier.received.secrets:
        registered.add(value)


# -- the first entry ------------------------------------------------------------------------------------------------


def make() -> None:
    """Make the installed logger, if the parent had one and this process has none."""
    if _carrier.received.installed:
        from metaexpert.logger import inheritance  # noqa: PLC0415 - and with it the whole logger

        inheritance.install()
        while _replaced:
            _replaced.pop()()


def settle() -> None:
    """Wait no longer: there is an installed logger, or none can be made."""
    _carrier.received = _carrier.received._replace(installed="")
    while _waiting:
        _waiting.pop()()


def _await_call(owner: Any, name: str) -> None:
    """Have the first call of a function make the logger, which may replace the function, and then be made."""
    before = after = getattr(owner, name)

    def first(*args: Any, **kwargs: Any) -> Any:
        stands = getattr(owner, name) is first  # somebody may have wrapped us
        make()
        return (after if stands else before)(*args, **kwargs)

    def put_back() -> None:
        if getattr(owner, name) is first:
            setattr(owner, name, before)
        _replaced.append(look)

    def look() -> None:
        nonlocal after
        after = getattr(owner, name)

    if _carrier.received.installed:
        setattr(owner, name, first)
        _waiting.append(put_back)


def _await_record() -> None:
    logging, handover = sys.modules["logging"], _carrier.received
    if not handover.installed or handover.level is None:
        return
    # More than a handler: those are taken away by whatever configures `logging`.
    _await_call(logging.Logger, "callHandlers")
    _await_with_level(logging.getLogger(), logging.getLogger().level, handover.level)
    for name, level in handover.levels.items():
        if (logger := logging.getLogger(name)).level == logging.NOTSET:
            _await_with_level(logger, logging.NOTSET, level)


def _await_with_level(logger: Any, before: int, level: int) -> None:
    logger.setLevel(level)
    _waiting.append(lambda: logger.setLevel(before) if logger.level == level else None)


def _await_event() -> None:
    config = sys.modules["structlog._config"]
    _await_call(config._CONFIG, "logger_factory")
    _await_call(config, "configure")
    if "configure" in vars(sys.modules["structlog"]):
        _await_call(sys.modules["structlog"], "configure")


# -- the end --------------------------------------------------------------------------------------------------------


def _watch_ends() -> None:
    """Have each process of multiprocessing log the exception that ends it: it prints it, and calls no `sys.excepthook`.

    Every way to start one ends in `_bootstrap`, which calls `run` of whatever class.
    """
    base = sys.modules["multiprocessing.process"].BaseProcess
    bootstrap = base._bootstrap
    if getattr(bootstrap, "__module__", None) == __name__:  # a child of a child has it already
        return

    def watched(process: Any, *args: Any, **kwargs: Any) -> Any:
        vars(process)["run"] = partial(_run, process, process.run)  # of this object alone
        return bootstrap(process, *args, **kwargs)

    base._bootstrap = watched


def _run(process: Any, run: Callable[[], None]) -> None:
    try:
        run()
    except Exception as error:
        make()
        if _installed() is not None:
            from metaexpert.logger import inheritance  # noqa: PLC0415 - see `make`

            inheritance.log_end(error, process.name)
        raise
