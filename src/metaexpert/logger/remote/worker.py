"""A queue and a thread for work that may hang. Each endpoint has its own, so that none delays another or a log call.

Bound: at most `capacity` bytes of entries wait in the queue. Further entries are dropped and counted.

Threads: any thread and any signal handler may call `put`, which never waits. The thread starts with the first entry and
ends before a fork. The child starts a thread of its own and has none of the entries that wait in the parent. A request
that hangs gets half a second before a fork; Python then warns that threads are running, and is right.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.forks import ForkAware, ForkSafeThread, on_fork
from metaexpert.logger.system.threads import RLock, SimpleQueue

#: Longest pause between two steps of a job, in seconds.
LONGEST_PAUSE: Final = 30.0
#: Pause after an error that the job did not expect, in seconds.
_AFTER_ERROR: Final = 5.0
#: Longest wait for a request that hangs, before a fork and at the end, in seconds.
_HANGING_PATIENCE: Final = 0.5
_POLL: Final = 0.02
#: Entries handed to the job at once.
_BATCH: Final = 2000


class Job:
    """The work of a `Worker`. One thread at a time calls the methods; any thread reads `idle` and `stuck`.

    Only `take` and `failed` must be defined. By default a job does everything in `take` and holds nothing open.
    """

    #: Whether nothing waits to be sent.
    idle = True

    def take(self, lines: list[bytes]) -> None:
        """Accept entries, each a line as it stands in the files."""
        raise NotImplementedError

    def step(self) -> float:
        """Do one piece of work. Returns for how long there is nothing more to do, in seconds."""
        return LONGEST_PAUSE

    def hurry(self) -> None:
        """Postpone nothing any more: the logger is about to close."""

    def failed(self, error: Exception) -> None:
        """Report an *error* that `take` or `step` did not handle. The work goes on after a pause."""
        raise NotImplementedError

    @property
    def stuck(self) -> bool:
        """Whether the last attempt failed, so that the next one may be far away."""
        return False

    def close(self) -> None:
        """Keep on disk what was not sent, and release everything."""

    def before_fork(self) -> None:
        """Close what two processes must not have open."""

    def after_fork(self) -> None:
        """Start anew in a forked child."""


class Worker(ForkAware):
    """Runs a job on a thread of its own.

    Args:
        name: Name of the thread.
        job: The work.
        capacity: Bytes of entries that may wait.
    """

    def __init__(self, name: str, job: Job, capacity: int) -> None:
        self._job = job
        self._capacity = capacity
        #: How many entries were dropped because the queue was full or closed.
        self.dropped = Count()
        self.closed = False
        self._reset()
        self._thread = ForkSafeThread(name, self._loop, stop=self.wake, patience=_HANGING_PATIENCE)
        on_fork(self)

    def _reset(self) -> None:
        self._working = RLock()
        # Its `put` may interrupt itself, as in a signal handler or a __del__. None only wakes the thread.
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._bytes_in = self._bytes_out = 0
        self._started = False

    @property
    def waiting(self) -> int:
        """Number of entries in the queue."""
        return self._queue.qsize()

    @property
    def asleep(self) -> bool:
        """Whether a fork has ended the thread, or the system gave none, and nothing has started it since."""
        return (self._started or not self._queue.empty()) and not self._thread.running

    def put(self, line: bytes) -> bool:
        """Queue an entry. Returns whether there was room."""
        if self._bytes_in - self._bytes_out > self._capacity or self.closed:
            next(self.dropped)
            return False
        self._bytes_in += len(line)  # a race of two threads may lose one; an empty queue corrects that
        self._queue.put(line)
        if not self._thread.running:
            self.ensure()
        return True

    def wake(self) -> None:
        """Have the job do its next step now."""
        self._queue.put(None)

    def ensure(self) -> None:
        """Start the thread, if there should be one and is none."""
        if self.closed:
            return
        with contextlib.suppress(RuntimeError):  # the interpreter is ending: `flush` and `finish` do the work
            self._thread.start()
            self._started = True

    def _loop(self) -> None:
        pause = 0.0
        while self._thread.current and not self.closed:
            pause = self._work(self._collect(pause))

    def _collect(self, patience: float) -> list[bytes]:
        """Return the entries that wait, at most `_BATCH`, after *patience* seconds at most until something comes."""
        lines: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            line = self._queue.get(timeout=patience) if patience > 0 else self._queue.get_nowait()
            while True:
                if line is not None:
                    lines.append(line)
                if len(lines) >= _BATCH:
                    break
                line = self._queue.get_nowait()
        if self._queue.empty():
            self._bytes_in = self._bytes_out = 0
        else:
            self._bytes_out += sum(map(len, lines))
        return lines

    def _work(self, lines: list[bytes]) -> float:
        with self._working:  # a thread that hung over a fork or a close may still be in here
            try:
                if lines:
                    self._job.take(lines)
                return min(max(self._job.step(), 0.0), LONGEST_PAUSE)
            except Exception as error:  # a fault of ours must neither end the thread nor reach a caller
                self._job.failed(error)
                return _AFTER_ERROR

    @contextlib.contextmanager
    def _alone(self, patience: float) -> Iterator[bool]:
        """Keep the thread from working inside the block. Yields whether that was possible within *patience* seconds."""
        acquired = self._working.acquire(timeout=max(patience, 0.0))
        try:
            yield acquired
        finally:
            if acquired:
                self._working.release()

    def flush(self, patience: float) -> bool:
        """Have everything sent, for *patience* seconds at most or until an attempt fails.

        Returns:
            Whether nothing waits any more.
        """
        deadline = monotonic() + patience
        while not (self._queue.empty() and (self._job.idle or self._job.stuck)):
            if monotonic() >= deadline:
                return False
            if self._thread.running:
                self.wake()
                time.sleep(_POLL)
                continue
            with self._alone(deadline - monotonic()) as alone:
                if alone:
                    time.sleep(min(self._work(self._collect(0.0)), _POLL))
        return self._job.idle

    def finish(self, patience: float) -> None:
        """Send what can be sent within *patience* seconds, keep the rest on disk, and end the thread. Idempotent."""
        if self.closed:
            return
        with self._alone(patience) as alone:  # a request that hangs has had its time
            if alone:
                self._work(self._collect(0.0))
                self._attempt(self._job.hurry)
        if alone:
            self.flush(patience)
        self.closed = True
        self._thread.dismiss()
        self._thread.join(_HANGING_PATIENCE)
        with self._alone(_HANGING_PATIENCE) as alone:
            if alone:
                if lines := self._collect(0.0):
                    self._attempt(partial(self._job.take, lines))
                self._attempt(self._job.close)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a logger that closes raises nothing
            self._job.failed(error)

    # -- fork, around which `_thread` ends by itself ------------------------------------------------------------

    def before_fork(self) -> None:
        """Have the job close what two processes must not have open, unless a request hangs in it."""
        with self._alone(0.0) as alone:
            if alone:
                self._job.before_fork()

    def start_again(self) -> None:
        """Start the thread again if something waits."""
        if not self._queue.empty() or not self._job.idle:
            self.ensure()

    def after_fork_in_child(self) -> None:
        """Start anew."""
        self._reset()
        self._job.after_fork()
