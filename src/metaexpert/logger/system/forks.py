"""Daemon threads that no fork tears apart, and the one place that hears of forks.

A forked child has only the thread that forked: a lock that another thread held stays locked there for ever, and
Python 3.12 and later warn of a fork while other threads run. So a `ForkSafeThread` ends before a fork and may be
started again after it, and everything that holds locks or descriptors registers with `on_fork`. A fork that Python is
not told of, by a C library, is found later, by the child alone: see `catch_up`.

Threads: forks of several threads go one after another; a participant is called on the thread that forks.
"""

from __future__ import annotations

import _imp
import contextlib
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final

from metaexpert.logger.system.calls import getpid, monotonic
from metaexpert.logger.system.interrupts import put_off_here
from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import RLock, Thread

#: Longest wait until the operating system has forgotten a thread that has ended, in seconds.
_LAST_BREATH: Final = 1.0
_PAUSE: Final = 0.0001
#: Seconds that a thread may hold the interpreter lock around a fork while another one waits for it.
_SWITCH: Final = 0.0002


class ForkAware:
    """Takes part in forks, in the order in which the participants have registered; by default it does nothing."""

    def announce_fork(self) -> None:
        """Ask threads to end, without waiting: they do it all at the same time."""

    def before_fork(self) -> None:
        """Wait for the end of threads, and close what two processes must not have open."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def start_again(self) -> None:
        """Start threads again, in the parent, once Python has counted those that there are."""

    def after_fork_in_child(self) -> None:
        """Start anew, with fresh locks. What waits in the parent is the parent's."""


_participants: Final[weakref.WeakValueDictionary[int, ForkAware]] = weakref.WeakValueDictionary()
_numbers: Final = itertools.count()
_one_fork_at_a_time = RLock()
#: The process that the participants know of.
_pid = getpid()


def on_fork(participant: ForkAware) -> None:
    """Call *participant* at each fork from now on, for as long as somebody else holds it."""
    _participants[next(_numbers)] = participant


class ForkSafeThread(ForkAware):
    """At most one daemon thread at a time that runs *loop*.

    Args:
        name: Name of the thread.
        loop: Its work. Returns soon after `current` has become False.
        stop: Makes *loop* look at `current`, by any thread: it wakes it up.
        more: Asked, when *loop* has returned, whether to run it again. Otherwise the thread ends.
        patience: Longest wait for the thread's end before a fork, in seconds.
    """

    def __init__(
        self,
        name: str,
        loop: Callable[[], None],
        *,
        stop: Callable[[], None] = lambda: None,
        more: Callable[[], bool] = lambda: False,
        patience: float,
    ) -> None:
        self.name = name
        self._loop = loop
        self._stop = stop
        self._more = more
        self._patience = patience
        #: Whether a fork is under way.
        self.forking = False
        self._lock = RLock()
        self._thread: Thread | None = None
        # The thread that was started last. It may not be quite over although it has no more work.
        self._latest: Thread | None = None
        on_fork(self)

    @property
    def running(self) -> bool:
        """Whether there is a thread, which may not have begun yet."""
        return self._thread is not None

    @property
    def current(self) -> bool:
        """Whether the caller is the thread, and nobody has asked it to end."""
        thread = self._thread
        return thread is not None and thread.current

    def start(self, *, wait: bool = False) -> None:
        """Start the thread, unless there is one or a fork is under way.

        Args:
            wait: Whether to wait for another thread that is starting or ending it. By default that one's decision
                stands: the caller may be a signal handler that has interrupted it.

        Raises:
            RuntimeError: The system gives no thread, or the interpreter is ending.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            if self._thread is None and not self.forking:
                self._thread = self._latest = Thread(self._run, self.name)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = self._latest = None
                    raise
        finally:
            self._lock.release()

    def replace(self) -> bool:
        """Start another thread in the place of the present one, which is no longer `current`. Returns whether it did.

        It does not when a fork is under way, or the system gives no thread.
        """
        if not self._lock.acquire(blocking=False):
            return False
        before = self._thread
        try:
            if before is None or self.forking:
                return False
            self._thread = self._latest = Thread(self._run, self.name)
            self._thread.start()
        except RuntimeError:
            self._thread = self._latest = before
            return False
        finally:
            self._lock.release()
        return True

    def dismiss(self) -> Thread | None:
        """Ask the thread to end, and return it. Another one may be started at once."""
        thread, self._thread = self._thread, None
        self._stop()
        return thread

    def join(self, timeout: float | None = None) -> None:
        """Wait until the latest thread has ended, for *timeout* seconds at most; never for the caller itself."""
        thread = self._latest
        if thread is not None and not thread.current:
            thread.join(timeout)

    def _run(self, me: Thread) -> None:
        put_off_here([])  # for good: the signals are for the threads of the program
        while True:
            self._loop()
            with self._lock:
                if self._thread is not me:
                    return
                if not self._more():
                    self._thread = None
                    return

    # -- fork -------------------------------------------------------------------------------------------------

    def announce_fork(self) -> None:
        """Ask the thread to end, and start no other until the fork is over."""
        with self._lock:  # a start that is under way comes first
            self.forking = True
        self.dismiss()

    def before_fork(self) -> None:
        """Wait for the thread's end."""
        self.announce_fork()
        self.join(self._patience)
        _await_end(self._latest)

    def after_fork_in_parent(self) -> None:
        """Allow the thread to be started again. Its owner knows whether there is work, and does it in `start_again`."""
        self.forking = False

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread."""
        self.forking = False
        self._lock = RLock()
        self._thread = self._latest = None


def _await_end(thread: Thread | None) -> None:
    """Wait until the operating system has forgotten *thread* too: Python 3.12 counts its threads at a fork."""
    if thread is None or thread.current or thread.is_alive():
        return
    task = Path("/proc/self/task") / str(thread.native_id)
    deadline = monotonic() + _LAST_BREATH
    while task.exists() and monotonic() < deadline:
        time.sleep(_PAUSE)


def _call_all(step: str) -> None:
    """Call *step* of every participant, also after one has failed. Raises the first exception."""
    errors: list[Exception] = []
    for participant in list(_participants.values()):
        try:
            getattr(participant, step)()
        except Exception as error:  # the others still have to get ready for the fork
            errors.append(error)
    if errors:
        raise errors[0]


def catch_up() -> None:
    """Start anew if this process is the child of a fork that Python was not told of, as of a C library. Costs little.

    Python is told first. It would wait for threads that the child does not have, as soon as another one is to run.
    """
    if getpid() == _pid:
        return
    if sys.version_info < (3, 13):
        _tell_python()
    elif not _imp.lock_held():  # by a thread that is not here: Python, told, would stop the process
        _imp.acquire_lock()  # as before a fork of Python's own; it is released in the child
        _tell_python()
    if getpid() != _pid:
        _after_fork_in_child()


def _tell_python() -> None:
    if core is not None:
        core.after_fork()
    else:
        with contextlib.suppress(ImportError, AttributeError):  # not on every platform
            import ctypes  # noqa: PLC0415 - for this alone

            ctypes.pythonapi.PyOS_AfterFork_Child()


def _before_fork() -> None:
    if getpid() != _pid:  # in the midst of its hooks Python is not told; the next `catch_up` does it
        _start_anew()
    _one_fork_at_a_time.acquire()
    _register_last()
    with _impatience():
        _call_all("announce_fork")
        _call_all("before_fork")


@contextlib.contextmanager
def _impatience() -> Iterator[None]:
    """Have busy threads of the program give way soon: a thread of ours waits for them at each of its steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@cache
def _register_last() -> None:
    """Have threads started again when all that was registered before the first fork is done.

    Python 3.13 counts threads after that. A built-in function runs no instructions: ours is called when `os.fork` ends.
    """
    if hasattr(os, "register_at_fork"):
        start = _start_again if core is None else partial(core.call_soon, _start_again)
        os.register_at_fork(after_in_parent=start)


def _after_fork_in_parent() -> None:
    try:
        _call_all("after_fork_in_parent")
    finally:
        _one_fork_at_a_time.release()
    if threading.get_ident() != threading.main_thread().ident:
        _start_again()  # the main thread may wait for long, and without it there are two threads already


def _start_again() -> None:
    with _impatience():
        _call_all("start_again")


def _after_fork_in_child() -> None:
    global _pid  # noqa: PLW0603
    _pid = getpid()
    _start_anew()


def _start_anew() -> None:
    global _one_fork_at_a_time  # noqa: PLW0603
    _one_fork_at_a_time = RLock()
    _call_all("after_fork_in_child")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
