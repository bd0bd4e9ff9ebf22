"""Exceptions that do not come from our code, although they are raised in the middle of it.

A signal handler of the program runs between two steps of whatever the main thread does, and another thread may raise an
exception there (``PyThreadState_SetAsyncExc``, as libraries for time limits do). Such an exception belongs to the
program. Each place of the logger that forgives errors asks here first, and lets it pass.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, Final

from metaexpert.logger.system.native import core

#: Packages whose own exceptions are errors of a log call.
_OURS: Final = ("builtins", "metaexpert", "structlog", "orjson", "pydantic", "json", "asyncio")
#: Packages that import modules in the middle of a log call.
_IMPORTERS: Final = ("metaexpert.logger", "structlog")

_MAIN: Final = threading.main_thread()


if hasattr(core, "put_off"):
    #: Put the signals of the calling thread off, and add the mask before to a list.
    put_off_here = core.put_off
    _put_back = core.put_back
elif sys.platform == "win32":  # has no signals that could be put off

    def put_off_here(masks: list[Any]) -> None:
        """Do nothing; there is nothing to put back."""

    def _put_back(before: Any) -> None:
        """Do nothing."""

else:
    # A thread does these to itself, and cannot put them off.
    _FAULTS: Final = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")
    _PUT_OFF: Final = [*(signal.valid_signals() - {getattr(signal, name, None) for name in _FAULTS})]
    # `signal.pthread_sigmask` makes an enumeration of each mask, which takes ten times as long as a log call.
    _set_mask = import_module("_signal").pthread_sigmask
    _put_back = functools.partial(_set_mask, signal.SIG_SETMASK)

    def put_off_here(masks: list[Any]) -> None:
        """Put the signals of the calling thread off, and add the mask before to a list."""
        masks.append(_set_mask(signal.SIG_BLOCK, ()))
        _set_mask(signal.SIG_BLOCK, _PUT_OFF)


def undisturbed[**P, T](work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do *work* while the signals of the main thread, where Python runs its handlers, are put off.

    A signal that the system hands to another thread of the program comes through nevertheless, and what its handler
    raises may end any step here. So the mask before is in the list before anything is put off, and no step that looks
    for signals comes between the end of the work and the call that puts it back, which is no function of Python.
    """
    masks: list[Any] = []
    try:
        if threading.get_ident() == _MAIN.ident:
            put_off_here(masks)
        return work(*args, **options)
    finally:
        for before in masks:
            _put_back(before)


def let_pass(error: BaseException) -> None:
    """Raise *error* again if it was injected. Called first by what would forgive it."""
    if is_injected(error):
        raise error


def is_injected(error: BaseException) -> bool:
    """Return whether *error* was raised by a signal handler, or by another thread, inside our code."""
    if not isinstance(error, Exception):
        return True
    if isinstance(error, RecursionError | MemoryError):  # there may be no room to look closer
        return False
    trace, name, importing = error.__traceback__, "", False
    handlers = _handlers()
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        caller, name = name, _module_of(trace.tb_frame)
        # Below an import of ours, the finders of other libraries run too.
        importing = importing or (name.startswith("importlib._bootstrap") and caller.startswith(_IMPORTERS))
        trace = trace.tb_next
    return (importing or _is_ours(name)) and _is_foreign(type(error))


def _handlers() -> set[CodeType]:
    """Return the code of the signal handlers that the program has set."""
    codes = map(_code, filter(callable, map(signal.getsignal, signal.valid_signals())))
    return {code for code in codes if code is not None}


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = getattr(handler, "__func__", handler)
    found = getattr(function, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return found if isinstance(found, CodeType) else None


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_ours(name: str) -> bool:
    """Return whether a module of that name is of our code, or of what it calls of Python and structlog."""
    package = name.partition(".")[0]
    ours = name.startswith(("metaexpert.logger", "namedtuple_"))  # the second is what a named tuple is made by
    return ours or package == "structlog" or package in sys.stdlib_module_names


def _is_foreign(kind: type[BaseException]) -> bool:
    """Return whether nothing that we call raises an exception of that kind by itself."""
    module = kind.__module__.partition(".")[0]
    return module not in _OURS and Exception in kind.__bases__


if core is not None:
    core.on_error(is_injected)
