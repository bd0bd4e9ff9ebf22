"""Uncaught exceptions of the program, and fatal crashes.

The installed logger writes one CRITICAL entry ``log.uncaught`` for an exception that nobody caught: of the main thread,
of another thread, of a finalizer, of an asyncio task. It is in its files before the hook that was there before is
called. Python's `faulthandler` writes into the private directory, unless the program uses it itself: the next start
reads there how the process crashed (`metaexpert.logger.journal.owner`).

Threads: Python calls the hooks on any thread, finalizers also in the middle of a log call.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from metaexpert.logger.bound import BoundLogger
from metaexpert.logger.entry.values import safe_str
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.system.descriptors import Descriptor, open_private
from metaexpert.logger.system.forks import ForkAware, on_fork

MESSAGE: Final = "log.uncaught"
#: Longest wait until the entry is in its files, in seconds.
_PATIENCE: Final = 5.0
_LONGEST_ERROR: Final = 500


class _Hook:
    """Tells of an exception, and calls the hook that was there before."""

    def __init__(self, tell: Callable[[Any], None], within: threading.local, following: Callable[[Any], Any]) -> None:
        self._tell = tell
        self._within = within
        self._following = following

    def __call__(self, args: Any, /) -> None:
        outer = getattr(self._within, "told", None)
        if outer is args.exc_value:  # a hook that came after us calls us in turn
            self._following(args)
            return
        self._within.told = args.exc_value
        try:
            self._tell(args)
            self._following(args)
        finally:
            self._within.told = outer

    def before(self, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the hook to be set where *hook* is found: itself, if it is of this logger, or one that calls it."""
        ours = isinstance(hook, _Hook) and hook._within is self._within
        return hook if ours else _Hook(self._tell, self._within, hook)

    def after(self, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what `before` was given for *hook*, or *hook* itself if it is another's."""
        return hook._following if isinstance(hook, _Hook) and hook._within is self._within else hook


class Uncaught(ForkAware):
    """The hooks of one logger, from now until `release`."""

    def __init__(self, logger: BoundLogger) -> None:
        self._logger = logger
        self._within = threading.local()
        self._told: BaseException | None = None
        self._released = False
        self._crash: Descriptor | None = None
        self._crash_path: Path | None = None
        self._before = sys.excepthook
        self._ours = sys.excepthook = self._of_program  # kept: each look at a bound method makes another object
        self._thread_hook = threading.excepthook = _Hook(self._of_thread, self._within, threading.excepthook)
        self._finalizer_hook = sys.unraisablehook = _Hook(self._of_finalizer, self._within, sys.unraisablehook)
        self._watch_crashes()
        atexit.register(self._tell_unseen)  # before the logger is closed: what registers last runs first
        on_fork(self)

    def release(self) -> None:
        """Put back what was there, unless somebody else has replaced it since."""
        self._released = True
        atexit.unregister(self._tell_unseen)
        if sys.excepthook is self._ours:
            sys.excepthook = self._before
        threading.excepthook = self._thread_hook.after(threading.excepthook)
        sys.unraisablehook = self._finalizer_hook.after(sys.unraisablehook)
        self._end_watch()

    def check(self) -> None:
        """Have a hook that has taken the place of ours called after it, and see to the file of crashes.

        That is opened anew if the program has closed it: its number may be another file's by now. A hook of the program
        needs no look, see `_tell_unseen`.
        """
        threading.excepthook = self._thread_hook.before(threading.excepthook)
        sys.unraisablehook = self._finalizer_hook.before(sys.unraisablehook)
        if self._crash is not None and not self._crash.ours:
            self._end_watch(delete=False)
            self._watch_crashes()

    def after_fork_in_child(self) -> None:
        """Write a crash of the child into a file of its own."""
        if self._crash is not None:
            self._end_watch(delete=False)
            self._watch_crashes()

    def filter(self, record: logging.LogRecord) -> logging.LogRecord | bool:
        """Make of asyncio's report of a failed task the entry that it is. A filter of our own handler."""
        if record.name != "asyncio" or not record.exc_info or not record.exc_info[1]:
            return True
        changed = logging.makeLogRecord(vars(record))
        changed.levelno, changed.levelname = logging.CRITICAL, "CRITICAL"
        changed.msg, changed.args, changed.asyncio = MESSAGE, None, record.getMessage()
        return changed

    # -- hooks ------------------------------------------------------------------------------------------------

    def _of_program(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):  # the user ends the program, nothing failed
            self._told = error
            self._log(error, trace, wait=True)
            self._note_end(error)
        self._before(kind, error, trace)

    def _tell_unseen(self) -> None:
        """Log what ended the program if another hook has taken our place, as `rich.traceback.install` does."""
        error = getattr(sys, "last_exc", None)  # Python sets it before it calls a hook
        if threading.main_thread().is_alive() or sys.excepthook is self._ours or error in (None, self._told):
            return
        if not isinstance(error, KeyboardInterrupt):
            self._log(error, error.__traceback__, wait=True)
            self._note_end(error)

    def _of_thread(self, args: threading.ExceptHookArgs, /) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread is not None else "unknown"
            self._log(args.exc_value, args.exc_traceback, wait=True, thread=name)

    def _of_finalizer(self, args: Any, /) -> None:
        if args.exc_value is not None:  # never wait: it may come in the middle of anything
            where = safe_str(args.err_msg or "Exception ignored in")
            self._log(args.exc_value, args.exc_traceback, wait=False, ignored=f"{where}: {_name(args.object)}")

    def _log(self, error: BaseException, trace: TracebackType | None, *, wait: bool, **fields: Any) -> None:
        """Log it; a failure of ours must not hide the program's, nor call this again."""
        if self._released or getattr(self._within, "busy", False):  # a hook that came after us may call us for ever
            return
        self._within.busy = True
        try:
            self._logger.critical(MESSAGE, exc_info=(type(error), error, trace), **fields)
            if wait:
                self._logger.flush(_PATIENCE)
        finally:
            self._within.busy = False

    def _note_end(self, error: BaseException) -> None:
        text = mask_text(f"{type(error).__name__}: {safe_str(error)}")[:_LONGEST_ERROR]
        with contextlib.suppress(OSError):  # the entry tells it, where the journal cannot
            self._logger._logger.pipeline.directory.journal.ends(text)

    # -- crashes ----------------------------------------------------------------------------------------------

    def _watch_crashes(self) -> None:
        path = self._logger._logger.pipeline.directory.journal.crash_file
        if path is None or faulthandler.is_enabled():
            return
        try:
            self._crash = Descriptor.at(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, opener=open_private)
            faulthandler.enable(self._crash.fd)
        except (OSError, RuntimeError, ValueError):  # no disk, no descriptor: a crash is then told as a kill
            self._end_watch()
        else:
            self._crash_path = path

    def _end_watch(self, *, delete: bool = True) -> None:
        crash, self._crash = self._crash, None
        if crash is None:
            return
        faulthandler.disable()
        with contextlib.suppress(OSError):
            crash.close()
            if delete and self._crash_path is not None:
                self._crash_path.unlink(missing_ok=True)


def _name(found: object) -> str:
    """Return what a finalizer belongs to; its `repr` may be that of an object half gone."""
    return str(getattr(found, "__qualname__", None) or f"an object of type {type(found).__name__}")
