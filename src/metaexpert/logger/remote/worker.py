"""A thread for what may hang: one for each remote place, so that none delays another, a file or a call.

Bound: at most `most` bytes wait to be taken; what comes then is dropped and counted.

Threads: `put` may be called by any thread and from signal handlers; it never waits. The thread starts with the first
line and ends before a fork; the child starts its own, with nothing of what waits in the parent. A thread that is in
the middle of a request gets half a second before a fork; Python then warns of it, with reason.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from typing import Final, Protocol

from metaexpert.logger.counts import Count

#: Longest wait between two turns, in seconds.
LONGEST_PAUSE: Final = 30.0
#: Pause after an error that the job did not expect, in seconds.
_AFTER_ERROR: Final = 5.0
_FORK_PATIENCE: Final = 0.5
_POLL: Final = 0.02
#: Lines that are taken in one turn.
_MOST_LINES: Final = 2000


class Job(Protocol):
    """What the thread does. All but `idle` and `stuck` are called by one thread at a time."""

    def take(self, lines: list[bytes]) -> None:
        """Take entries in."""
        ...

    def step(self) -> float:
        """Do one thing. Returns how long there is nothing to do, in seconds."""
        ...

    def hurry(self) -> None:
        """The end is near: leave nothing for later that can be done now."""
        ...

    def failed(self, error: Exception) -> None:
        """Tell an error that nobody expected; the work goes on after a pause."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        ...

    @property
    def stuck(self) -> bool:
        """Whether the last try failed, so that waiting for the next one would be long."""
        ...

    def close(self) -> None:
        """Keep on disk what was not sent, and release everything."""
        ...

    def before_fork(self) -> None:
        """Close what must not be open in two processes."""
        ...

    def after_fork(self) -> None:
        """Start anew in a child."""
        ...


class Worker:
    """Runs a job on a thread of its own.

    Args:
        name: Name of the thread.
        job: What it does.
        most: Bytes that may wait.
    """

    def __init__(self, name: str, job: Job, most: int) -> None:
        self._name = name
        self._job = job
        self._most = most
        #: How many lines were dropped.
        self.dropped = Count()
        self.closed = False
        self._reset()
        _workers.append(self)
        _hook()

    def _reset(self) -> None:
        self._guard = threading.RLock()
        self._turning = threading.RLock()
        # Its `put` may interrupt itself, as in a signal handler or a __del__.
        self._mail: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._forking = False
        self._came = self._went = 0
        self._slept = False

    @property
    def waiting(self) -> int:
        """Lines that were not taken yet."""
        return self._mail.qsize()

    @property
    def crowded(self) -> bool:
        """Whether more waits than a quarter of what may wait."""
        return self._came - self._went > self._most // 4

    def put(self, line: bytes) -> bool:
        """Hand a line over. Returns whether there was room."""
        if self._came - self._went > self._most or self.closed:
            self.dropped.up()
            return False
        self._came += len(line)  # two threads may lose one: put right whenever the queue is empty
        self._mail.put(line)
        if self._thread is None:
            self.ensure()
        return True

    @property
    def asleep(self) -> bool:
        """Whether there is no thread although there was one before a fork."""
        return self._thread is None and self._slept

    def wake(self) -> None:
        """Have the job do its next step now."""
        self._mail.put(None)

    def ensure(self) -> None:
        """Start the thread if it should run and does not."""
        # Whoever holds the guard starts or ends the thread himself; to wait could be to wait for oneself.
        if not self._guard.acquire(blocking=False):
            return
        try:
            if self._thread is None and not self._forking and not self.closed:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    self._thread.start()
                    self._slept = False
                except RuntimeError:  # no thread to be had: `finish` does what is left
                    self._thread = None
        finally:
            self._guard.release()

    def _run(self) -> None:
        me, wait = threading.current_thread(), 0.0
        while self._thread is me:
            lines = self._collect(wait)
            wait = self._turn(lines)

    def _collect(self, wait: float) -> list[bytes]:
        lines: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            mail = self._mail.get(timeout=wait) if wait > 0 else self._mail.get_nowait()
            while True:
                if mail is not None:
                    lines.append(mail)
                if len(lines) >= _MOST_LINES:
                    break
                mail = self._mail.get_nowait()
        if self._mail.empty():
            self._came = self._went = 0
        else:
            self._went += sum(map(len, lines))
        return lines

    def _turn(self, lines: list[bytes]) -> float:
        with self._turning:  # a thread that hung over a fork or a close may still be in here
            try:
                if lines:
                    self._job.take(lines)
                return min(max(self._job.step(), 0.0), LONGEST_PAUSE)
            except Exception as error:  # a fault of ours must neither end the thread nor reach anybody
                self._job.failed(error)
                return _AFTER_ERROR

    def flush(self, patience: float) -> bool:
        """Have everything sent, within *patience* seconds or until it turns out not to be possible now.

        Returns:
            Whether nothing waits any more.
        """
        deadline = time.monotonic() + patience
        while not (self._mail.empty() and (self._job.idle or self._job.stuck)):
            if time.monotonic() >= deadline:
                return False
            if self._thread is not None:
                self._mail.put(None)
                time.sleep(_POLL)
            elif self._turning.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                try:
                    time.sleep(min(self._turn(self._collect(0.0)), _POLL))
                finally:
                    self._turning.release()
        return self._job.idle

    def finish(self, patience: float) -> None:
        """Send what can be sent within *patience* seconds, keep the rest on disk, and end."""
        if self.closed:
            return
        if self._turning.acquire(timeout=patience):  # a request that hangs has had its time
            try:
                self._turn(self._collect(0.0))
                self._job.hurry()
            finally:
                self._turning.release()
            self.flush(patience)
        with self._guard:
            self.closed = True
            thread = self._dismiss()
        if thread is not None:
            thread.join(_FORK_PATIENCE)
        if self._turning.acquire(timeout=_FORK_PATIENCE):
            try:
                lines = self._collect(0.0)
                if lines:
                    self._job.take(lines)
                self._job.close()
            except Exception as error:
                self._job.failed(error)
            finally:
                self._turning.release()
        if self in _workers:
            _workers.remove(self)

    def _dismiss(self) -> threading.Thread | None:
        thread, self._thread = self._thread, None
        self._mail.put(None)
        return thread

    # -- fork -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """End the thread."""
        self._guard.acquire()
        self._forking = True
        self._slept = self._thread is not None
        thread = self._dismiss()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FORK_PATIENCE)
        if self._turning.acquire(timeout=0.0):
            try:
                self._job.before_fork()
            finally:
                self._turning.release()

    def after_fork_in_parent(self) -> None:
        """Allow it again, and start it if something waits."""
        self._forking = False
        waits = not self._mail.empty() or not self._job.idle
        self._guard.release()
        if waits:
            self.ensure()

    def after_fork_in_child(self) -> None:
        """Start anew."""
        self._reset()
        self._job.after_fork()


_workers: list[Worker] = []
_hooked = False


def _hook() -> None:
    global _hooked  # noqa: PLW0603
    if _hooked or not hasattr(os, "register_at_fork"):
        return
    _hooked = True
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _before_fork() -> None:
    for worker in _workers:
        worker.before_fork()


def _after_fork_in_parent() -> None:
    for worker in _workers:
        worker.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for worker in _workers:
        worker.after_fork_in_child()
