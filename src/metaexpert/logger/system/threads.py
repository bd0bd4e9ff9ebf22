"""Threads and locks as Python has them when the logger is imported.

gevent and eventlet put others in their place, which run one after another in a thread of the program. Put there before
the import, they are used throughout. Put there after it, half of what the logger waits for would be of one kind and
half of the other, and the writing thread and its callers could wait for each other for ever: so the logger keeps to the
kind that it has begun with.

Threads: any.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, get_ident
from time import sleep
from typing import TYPE_CHECKING

from metaexpert.logger.system.native import core

__all__ = ["Lock", "Mutex", "RLock", "SimpleQueue", "Thread", "Waiter", "get_ident", "sleep"]

if TYPE_CHECKING:
    from threading import RLock
    from threading import RLock as Mutex
else:  # that function looks anew, at each call, for the type that it makes
    RLock = threading._CRLock or threading._PyRLock
    #: One that the core can take without the interpreter lock, where threads are threads.
    _own = SimpleQueue.__module__ == "_queue" and type(Lock()).__module__ == "_thread"
    Mutex = core.Mutex if hasattr(core, "Mutex") and _own else RLock


class Thread(threading.Thread):
    """A daemon thread of the kind that the logger has begun with.

    Args:
        work: What it does; it is given the thread.
        name: Its name.
    """

    def __init__(self, work: Callable[[Thread], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._number = 0
        #: Held until the thread has ended, if it was not started as Python starts them now.
        self._alone: threading.Lock | None = None

    @property
    def current(self) -> bool:
        """Whether the caller is this thread."""
        return self._number == get_ident()

    def start(self) -> None:
        """Start it. Raises RuntimeError if the system gives no thread, or the interpreter is ending."""
        if _thread.start_new_thread is start_new_thread:
            super().start()
            return
        self._alone = Lock()
        self._alone.acquire()
        start_new_thread(self._run_alone, ())

    def run(self) -> None:
        """Do the work."""
        self._number = get_ident()
        try:
            self._work(self)
        finally:
            self._number = 0

    def is_alive(self) -> bool:
        """Return whether it has begun and not ended."""
        return super().is_alive() if self._alone is None else self._alone.locked()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for *timeout* seconds at most."""
        if self._alone is None:
            super().join(timeout)
        elif self._alone.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            self._alone.release()

    def _delete(self) -> None:
        """Leave Python's list of threads, which knows it by another number if others were put in place since."""
        with contextlib.suppress(KeyError):
            super()._delete()  # type: ignore[misc]

    def _run_alone(self) -> None:
        assert self._alone is not None  # noqa: S101 - for the type checker
        try:
            self._native_id = threading.get_native_id()
            self.run()
        finally:
            self._alone.release()


class Waiter[Subject]:
    """Somebody who waits for another thread to see to a subject.

    Attributes:
        subject: What is to be seen to.
        served: Whether it was, once the wait is over.
    """

    __slots__ = ("_lock", "served", "subject")

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.served = False
        self._lock = Lock()
        self._lock.acquire()

    def release(self, *, served: bool) -> None:
        """End the wait."""
        self.served = served
        self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait for *timeout* seconds at most. Returns whether the wait is over."""
        return self._lock.acquire(timeout=timeout)
