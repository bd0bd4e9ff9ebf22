"""The one writing thread of a process, whatever the number of loggers, and what happens to it at fork and exit.

It looks at every open pipeline some twenty times a second, or at once when asked to by `turn` or `wake`. Nobody else
writes while it lives: Python runs signal handlers and raises KeyboardInterrupt in the main thread, so that a write on
this one is never cut in two, and a handler that logs never waits for the call that it interrupted. It may die or
never start: then `turn` says so and each call writes by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Final, Protocol

from metaexpert.logger.system.locks import holds_a_lock

#: Seconds between two looks: short beside a person's reaction, long beside the cost of a look. Errors, flush, and a
#: journal that fills do not wait for it.
INTERVAL: Final = 0.05
#: Seconds between two looks of one who waits at whether the thread still lives.
_PATIENCE: Final = 0.2
#: What Python says when a thread is started while the interpreter ends.
_SHUTDOWN: Final = "at interpreter shutdown"
#: Longest wait for a write that does not return (a dead network file system, a pipe that nobody reads), in seconds.
LONGEST_HANG: Final = 30.0
#: Longest wait for the thread's end, in seconds; it may hang in a write to a dead network file system.
_LONGEST_END: Final = 5.0


class Drained(Protocol):
    """What the thread serves: a pipeline."""

    def tick(self) -> bool:
        """Write what waits. Returns whether there is more to do at once. An exception is the thread's end."""
        ...

    def thread_lost(self, error: BaseException) -> None:
        """Note that the thread could not start or has died: from here each call writes by itself."""
        ...

    def thread_found(self) -> None:
        """Note that there is a thread again."""
        ...

    def close(self, timeout: float | None = None) -> bool:
        """Write everything and release what is held."""
        ...

    def has_work(self) -> bool:
        """Whether something waits for the thread."""
        ...

    def before_fork(self) -> threading.Thread | None:
        """End a thread of one's own, if there is one. Returns it."""
        ...

    def after_fork_in_parent(self) -> None:
        """Allow it again."""
        ...

    def after_fork_in_child(self) -> None:
        """Start anew, with nothing of what waits in the parent."""
        ...


class _Turn:
    """One who waits for the thread."""

    __slots__ = ("_lock", "served")

    def __init__(self) -> None:
        self.served = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def end(self, *, served: bool) -> None:
        self.served = served
        self._lock.release()

    def wait(self, timeout: float) -> bool:
        return self._lock.acquire(timeout=timeout)


class Drainer:
    """Serves pipelines from one daemon thread, which lives while there is one to serve."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        #: Replaced, never changed, so that it can be walked over at any time.
        self._clients: tuple[Drained, ...] = ()
        self._hooked = False
        self._reset()

    def _reset(self) -> None:
        self._guard = threading.RLock()
        # Its `put` may interrupt itself: a signal handler or a __del__ may wake the thread while its caller does.
        self._mail: queue.SimpleQueue[_Turn | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._forking = False
        self._ending = False
        #: Whether the thread has died or could not be started, although the program goes on.
        self.lost = False
        #: Goes up with each piece that was written.
        self.beats = 0
        self._hung_at: int | None = None

    @property
    def running(self) -> bool:
        """Whether the thread serves."""
        return self._thread is not None

    @property
    def unavailable(self) -> bool:
        """Whether there is no thread to be had: it is `lost`, or the interpreter is ending."""
        return self.lost or self._ending

    @property
    def within(self) -> bool:
        """Whether this is called on the thread itself, which must not wait for itself."""
        return self._thread is threading.current_thread()

    @property
    def in_our_way(self) -> bool:
        """Whether the thread may be waiting for the caller: a ``__del__`` that logs, while a lock is held here."""
        return holds_a_lock() and not self.within

    def add(self, client: Drained) -> None:
        """Serve *client* from now on."""
        with self._guard:
            self._hook()
            self._clients = (*self._clients, client)
            was_lost, self.lost = self.lost, False
            if not threading.main_thread().is_alive():
                self._ending = True  # atexit may not call us any more: each call writes by itself
            self.ensure()
            if was_lost and not self.lost:
                for other in self._clients:
                    other.thread_found()

    def remove(self, client: Drained, patience: float = _LONGEST_END) -> None:
        """Serve *client* no longer; the thread ends with the last one, and is waited for, for *patience* seconds."""
        with self._guard:
            self._clients = tuple(other for other in self._clients if other is not client)
            ending = None if self._clients else self._dismiss()
        self._join(ending, patience)

    def ensure(self) -> None:
        """Start the thread if it should run and does not: at first, and in a forked child."""
        # Whoever holds the guard starts or ends the thread himself; to wait could be to wait for oneself.
        if not self._guard.acquire(blocking=False):
            return
        try:
            if self._thread is None and self._clients and not self.unavailable and not self._forking:
                self._start()
        finally:
            self._guard.release()

    def wake(self) -> None:
        """Have the thread look at once."""
        self._mail.put(None)

    @property
    def hangs(self) -> bool:
        """Whether somebody has waited `LONGEST_HANG` seconds for a write, which has not come to an end since."""
        return self._hung_at == self.beats

    def turn(self, timeout: float | None = None) -> bool | None:
        """Have the thread serve every client once more from now on, and wait until it has.

        Args:
            timeout: Longest wait in seconds; None for as long as it gets on with it (see `LONGEST_HANG`).

        Returns:
            Whether it has, in that time; None when there is no thread to do it: none can be had, it died over it, or
            this is that thread. Who is `in_our_way` is not kept waiting: it will be done, but has not been.
        """
        if self._thread is None:
            self.ensure()
        if self._thread is None or self.within:
            return None
        if self.in_our_way:
            self.wake()
            return False
        turn = _Turn()
        self._mail.put(turn)
        beats, deadline = self.beats, self._deadline(timeout)
        while True:
            left = deadline - time.monotonic()
            if turn.wait(max(min(left, _PATIENCE), 0.0)):
                self._hung_at = None
                return turn.served or None
            # A process that was forked without Python's knowledge believes in a thread that it has not.
            if self._thread is None or os.getpid() != self._pid:
                return None
            if timeout is None and self.beats != beats:
                beats, deadline = self.beats, self._deadline(None)
            elif left <= 0:
                self._hung_at = beats if timeout is None else self._hung_at
                return False

    def _deadline(self, timeout: float | None) -> float:
        if timeout is None:
            timeout = 0.0 if self.hangs else LONGEST_HANG
        return time.monotonic() + timeout

    def close_all(self) -> None:
        """Close every client, the latest first: at exit nothing that was logged may be lost."""
        for client in reversed(self._clients):
            client.close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="metaexpert-log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            if _SHUTDOWN in str(error):  # nothing is wrong, only late
                self._thread, self._ending = None, True
            else:
                self._give_up(error)

    def _run(self) -> None:
        me, more = threading.current_thread(), False
        turns: list[_Turn] = []
        try:
            while self._thread is me:
                turns = self._collect(0.0 if more else self._interval)
                more = self._serve()
                while turns:
                    turns.pop().end(served=True)
            self._serve()  # before a fork: there may be no thread for a while
        except BaseException as error:
            if self._thread is me:
                self._give_up(error)
        finally:
            while turns:
                turns.pop().end(served=False)

    def _serve(self) -> bool:
        more = False
        for client in self._clients:
            more = client.tick() or more
        return more

    def _collect(self, timeout: float) -> list[_Turn]:
        """Wait for somebody to wake us, at most *timeout* seconds, and return who waits."""
        turns: list[_Turn] = []
        with contextlib.suppress(queue.Empty):
            mail = self._mail.get(timeout=timeout) if timeout else self._mail.get_nowait()
            while True:
                if mail is not None:
                    turns.append(mail)
                mail = self._mail.get_nowait()
        return turns

    def _give_up(self, error: BaseException) -> None:
        self._thread = None
        self.lost = True
        for client in self._clients:
            client.thread_lost(error)

    def _dismiss(self) -> threading.Thread | None:
        thread, self._thread = self._thread, None
        self._mail.put(None)
        return thread

    @staticmethod
    def _join(thread: threading.Thread | None, patience: float) -> None:
        # Outside the guard: the thread may be in somebody's __del__ that adds or removes a client.
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience)

    def _hook(self) -> None:
        """Ask, once, to be told of exit and fork."""
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self._close_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork_in_parent,
                after_in_child=self._after_fork_in_child,
            )
        self._close_with_multiprocessing()

    def _close_at_exit(self) -> None:
        self._ending = True  # a thread that runs goes on; from Python 3.12 on no other can be started
        self.close_all()

    def _close_with_multiprocessing(self) -> None:
        # Its children leave by os._exit, past atexit, and run its own finalizers instead.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.close_all, exitpriority=0)

    def _before_fork(self) -> None:
        # A forked process must not inherit a running thread: Python 3.12 warns of it, with reason.
        self._guard.acquire()
        self._forking = True
        thread = self._dismiss()
        self._join(thread, _LONGEST_END)
        for ended in (thread, *[client.before_fork() for client in self._clients]):
            _await_end(ended)

    def _after_fork_in_parent(self) -> None:
        self._forking = False
        for client in self._clients:
            client.after_fork_in_parent()
        # Python 3.13 looks for threads only after this. The next entry starts ours again; sooner only if something
        # came meanwhile from another thread, and then the warning is due anyway.
        if any(client.has_work() for client in self._clients):
            self.ensure()
        self._guard.release()

    def _after_fork_in_child(self) -> None:
        self._reset()
        for client in self._clients:
            client.after_fork_in_child()
        # multiprocessing clears, before it runs a child, the finalizers that the parent had registered.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, Drainer._close_with_multiprocessing)


def _await_end(thread: threading.Thread | None) -> None:
    """Wait until the operating system has forgotten *thread* too, which Python 3.12 does not: it counts there."""
    ident = None if thread is None else thread.native_id
    task = Path("/proc/self/task") / str(ident)
    deadline = time.monotonic() + 1.0
    while ident is not None and task.exists() and time.monotonic() < deadline:
        time.sleep(0.0001)


#: The drainer of this process.
drainer: Final = Drainer()
