"""The one writing thread of a process, whatever the number of loggers.

It serves the open log directories in *passes*: about twenty a second while there is work, at once when asked to by
`wait_for_pass` or `wake`, and one a second while nothing waits: then it rests, and the next entry stirs it. While
batches are all that is to be done, the passes are made by the core, and one a second goes through Python.

Python runs signal handlers and raises KeyboardInterrupt in the main thread, so a write on this one is never cut in
two, and a handler that logs never waits for the call that it has interrupted. Besides it only a call of the synchronous
mode writes, in one step of the core (`LogDirectory.write_through`). The thread may die or never start: then
`wait_for_pass` says so, and each call writes by itself.

A disk that stalls holds up its own directory only: whoever needs another one leaves the thread to the write that does
not return, and has a new thread serve the rest. The old one gives its directory back when it can, and ends.

Threads: every method may be called by any thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger.files._passes import Passes, Turn, regular_files
from metaexpert.logger.system.calls import getpid, monotonic
from metaexpert.logger.system.ends import on_end
from metaexpert.logger.system.forks import ForkAware, ForkSafeThread, catch_up, on_fork
from metaexpert.logger.system.locks import holds_a_lock
from metaexpert.logger.system.threads import RLock, SimpleQueue, Waiter

if TYPE_CHECKING:
    from metaexpert.logger.files.directory import LogDirectory

#: Seconds between two passes: short beside a person's reaction, long beside the cost of a pass. Errors, flush, and a
#: journal that fills do not wait for it.
INTERVAL: Final = 0.05
#: Seconds without an entry after which the thread rests, and seconds between two passes then: less than one.
_IDLE: Final = 1.0
_REST: Final = 0.9
#: With less between two entries, in seconds, the thread does not rest in between.
_OFTEN: Final = 0.5
#: Seconds until a thread that could not be started is tried again.
_RETRY: Final = 5.0
#: A waiting thread looks this often, in seconds, whether the writing thread still lives.
_PATIENCE: Final = 0.2
#: What Python says when a thread is started while the interpreter ends.
_SHUTDOWN: Final = "at interpreter shutdown"
#: Longest wait for a write that does not return (a dead network file system, a pipe without a reader), in seconds.
LONGEST_HANG: Final = 30.0
#: Longest wait for the thread's end, in seconds; it may hang in such a write.
_LONGEST_END: Final = 5.0

type _Waiter = Waiter[LogDirectory | None]
#: In the mail: there is something to do again, in the usual time.
_STIR: Final = Waiter[Any](None)


class _Deferral(threading.local):
    """Whether this thread puts its waits off (see `WritingThread.deferring`), and whether there was one.

    And whether it is a writing thread, or was one before it was replaced.
    """

    active = asked = serves = False


class WritingThread(ForkAware):
    """Serves log directories from one daemon thread, which lives while there is one to serve.

    Args:
        interval: Seconds between two passes.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._deferral = _Deferral()
        # Replaced, never changed, so that it can be walked over at any time.
        self._directories: tuple[LogDirectory, ...] = ()
        self._hooked = False
        self._reset()
        self._thread = ForkSafeThread("metaexpert-log", self._run, stop=self.wake, patience=_LONGEST_END)
        on_fork(self)

    def _reset(self) -> None:
        self._lock = RLock()
        # Its `put` may interrupt itself: a signal handler or a __del__ may wake the thread while its caller does.
        self._mail: SimpleQueue[_Waiter | None] = SimpleQueue()
        self._passes = Passes()
        self._pid = getpid()
        self._ending = False
        #: Whether the thread has died or could not be started, although the program goes on.
        self.lost = False
        #: When a thread that could not be started is tried again; one that has died is not.
        self._next_try = float("inf")
        #: Goes up with each batch that was written.
        self.writes = 0
        self._hung_at: int | None = None
        self._serving: Turn | None = None
        #: Directories left to a thread that is held up in them, and since when.
        self._stalled: dict[LogDirectory, float] = {}
        self._skipped: set[LogDirectory] = set()
        #: Who waits for the pass under way, and for one that skips nothing of theirs.
        self._waiters: list[_Waiter] = []
        self._held: list[_Waiter] = []
        self._resting, self._grown, self._stirred = False, False, 0.0
        self._idle_since = monotonic()

    @property
    def running(self) -> bool:
        """Whether the thread serves."""
        return self._thread.running

    @property
    def unavailable(self) -> bool:
        """Whether no thread can be had: it is `lost`, or the interpreter is ending."""
        return self.lost or self._ending

    @property
    def must_not_wait(self) -> bool:
        """Whether the caller may not wait for the thread.

        It is the thread itself, or it holds a lock that the thread may be waiting for: a ``__del__`` logs, while a
        lock is held further down its stack.
        """
        return self._thread.current or self._deferral.serves or holds_a_lock() or self._deferral.active

    @contextlib.contextmanager
    def deferring(self) -> Iterator[_Deferral]:
        """Keep this thread from waiting inside the block; ``asked`` of what it yields says whether it should have."""
        self._deferral.active, self._deferral.asked = True, False
        try:
            yield self._deferral
        finally:
            self._deferral.active = False

    @property
    def hangs(self) -> bool:
        """Whether a caller has waited `LONGEST_HANG` seconds for a write that has not come to an end since."""
        return self._hung_at == self.writes

    def hangs_in(self, directory: LogDirectory | None) -> bool:
        """Return whether it `hangs`, or has been left to *directory* for as long."""
        since = self._stalled.get(directory) if directory is not None else None
        return self.hangs or (since is not None and monotonic() - since > LONGEST_HANG)

    def add(self, directory: LogDirectory) -> None:
        """Serve *directory* from now on. A thread that was lost is tried again."""
        with self._lock:
            if not self._hooked:
                self._hooked = True
                on_end(self)
            if directory not in self._directories:
                self._directories = (*self._directories, directory)
            self._idle_since = monotonic()  # the logger that has just come will log soon
            was_lost, self.lost, self._next_try = self.lost, False, float("inf")
            if not threading.main_thread().is_alive():
                self._ending = True  # atexit may not call us any more: each call writes by itself
            self.ensure()
            if was_lost and not self.lost:
                for other in self._directories:
                    other.thread_changed()

    def remove(self, directory: LogDirectory, patience: float = _LONGEST_END) -> None:
        """Serve *directory* no longer. The thread ends with the last one; wait *patience* seconds for its end."""
        with self._lock:
            self._directories = tuple(other for other in self._directories if other is not directory)
            ending = not self._directories
            if ending:
                self._thread.dismiss()
        # Without the lock: the thread may be in a __del__ that adds or removes a directory.
        if ending:
            self._thread.join(patience)

    def ensure(self) -> None:
        """Start the thread if it should run and does not: at first, and after a fork."""
        # Another thread that holds the lock starts or ends the thread itself, and the caller may have interrupted it.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._directories and not self._ending and not (self.lost and monotonic() < self._next_try):
                self._thread.start()
                if self.lost:
                    self.lost = False
                    for directory in self._directories:
                        directory.thread_changed()
        except RuntimeError as error:
            if _SHUTDOWN in str(error):  # nothing is wrong, only late
                self._ending = True
            else:
                self._next_try = monotonic() + _RETRY
                if not self.lost:
                    self._give_up(error)
        finally:
            self._lock.release()

    def _post(self, mail: _Waiter | None) -> None:
        self._mail.put(mail)
        self._passes.stop()

    def wake(self, directory: LogDirectory | None = None) -> None:
        """Begin a pass at once; for *directory*, also if another one holds the thread up. Safe in a signal handler."""
        if directory is not None:
            self.relieve(directory)
        self._post(None)

    def advance(self, directory: LogDirectory) -> None:
        """Have segments that are full written at once, as `wake` does. Safe in a signal handler."""
        self.relieve(directory)
        self._grown = True
        if self._passes.attending:
            self._passes.stop()
        else:
            self.wake()

    def stir(self) -> None:
        """Have a thread that rests, or leaves the passes to the core, look for work. Safe in a signal handler."""
        if self._resting or self._passes.attending:
            self._resting = self._passes.attending = False
            self._post(_STIR)

    def wait_for_pass(self, timeout: float | None = None, directory: LogDirectory | None = None) -> bool | None:
        """Wait until a pass that begins from now on has served every directory.

        Args:
            timeout: Longest wait in seconds; None for as long as the thread makes progress (see `LONGEST_HANG`).
            directory: If given, only this one; another one that holds the thread up is left to it.

        Returns:
            Whether it has, in that time. None when no thread does it: there is none, it died meanwhile, or the caller
            is that thread. A caller that `must_not_wait` gets False at once: the pass is yet to come.
        """
        catch_up()
        if not self.running:
            self.ensure()
        if not self.running or self._thread.current:
            return None
        if self.must_not_wait:
            self._deferral.asked = True
            self.wake()
            return False
        waiter = Waiter(directory)
        self._post(waiter)
        writes, deadline = self.writes, self._deadline(timeout, directory)
        while True:
            left = deadline - monotonic()
            if waiter.wait(max(min(left, _PATIENCE), 0.0)):
                self._hung_at = None
                return waiter.served or None
            # A signal handler that forks without Python's knowledge in the middle of this leaves us without the thread.
            if not self.running or getpid() != self._pid:
                return None
            if directory is not None:
                self.relieve(directory)
            if timeout is None and self.writes != writes and directory not in self._stalled:
                writes, deadline = self.writes, self._deadline(None, directory)
            elif left <= 0:
                self._hung_at = writes if timeout is None else self._hung_at
                return False

    def _deadline(self, timeout: float | None, directory: LogDirectory | None) -> float:
        if timeout is None:
            timeout = 0.0 if self.hangs_in(directory) else LONGEST_HANG
        return monotonic() + timeout

    def relieve(self, directory: LogDirectory) -> None:
        """Leave the thread to what holds it up, unless that is *directory*, and start another one for the rest."""
        turn = self._passes.under_way or self._serving
        if turn is None or turn.directory is directory or monotonic() - turn.since <= _PATIENCE:
            return
        try:
            turn.claim.pop()
        except IndexError:  # it has just gone on, or another caller was faster
            return
        waiters = self._waiters
        self._stalled[turn.directory] = turn.since
        if turn.back:
            self._stalled.pop(turn.directory, None)
        if self._thread.replace():
            self._put_back(waiters)

    def let_go(self, patience: float) -> None:
        """Have the core use no map of a directory that is served no longer; wait for *patience* seconds at most."""
        if not self._thread.current:
            self._passes.let_go(patience)

    def close_all(self) -> None:
        """Close every logger, the directory opened last first. At exit no entry may be lost."""
        for directory in reversed(self._directories):
            directory.close()

    # -- on the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._deferral.serves = True
        self._passes = Passes()  # a thread that was left may still be in its own
        more = False
        waiters: list[_Waiter] = []
        try:
            while self._thread.current:
                attended = False if more else self._attend()
                waiters = self._waiters = self._collect(self._pause() if attended is False and not more else 0.0)
                served = None if attended is None else self._serve()
                if served is None:
                    self._put_back(waiters)
                    self.wake()
                    if not self._thread.current:
                        return
                more = bool(served)
                self._release(waiters)
            self._serve()  # before a fork: there may be no thread for a while
        except BaseException as error:
            for directory in self._directories:
                directory.give_back_locks()
            if self._thread.current:
                self._thread.dismiss()
                self._give_up(error)
        finally:
            while waiters:
                waiters.pop().release(served=False)

    def _serve(self, *, advance: bool = False) -> bool | None:
        """Serve all directories, or *advance* them only, but for those that are left to another thread.

        Returns:
            Whether there is more to do at once; None when this thread was held up, and then replaced.
        """
        more = False
        skipped: set[LogDirectory] = set()
        for directory in self._directories:
            if directory in self._stalled:
                skipped.add(directory)
                continue
            self._serving = turn = Turn(directory)
            try:
                more = bool(directory.advance() if advance else directory.serve()) or more
            finally:
                left = self._was_left(turn)
            if left:
                return None
        self._serving, self._skipped = None, skipped
        return more

    def _attend(self) -> bool | None:
        """Have the core make the passes for as long as a thread may rest, if batches are all that is to be done.

        Returns:
            Whether it did, and a pass is due now; None when this thread was held up, and then replaced.
        """
        attended, end = False, monotonic() + _REST
        while self._passes.possible and not self._stalled:
            seconds = min(end, self._idle_since + _IDLE) - monotonic()
            passed = seconds > 0 and self._make_passes(seconds)
            if not passed:
                return passed if passed is None else attended
            attended, grown, self._grown = True, self._grown, False
            if not grown or not self._mail.empty():
                break
            if self._serve(advance=True) is None:
                return None
        return attended

    def _make_passes(self, seconds: float) -> bool | None:
        passes, turns = self._passes, [Turn(directory) for directory in self._directories]
        passes.attend()  # from here on, whoever has anything else to be done ends it
        files = regular_files(turns)
        if files is None or not self._mail.empty():
            passes.attending = False
            return False
        quiet = passes.make(files, self._interval, seconds, _PATIENCE / 2)
        if quiet is not None:
            self.writes += 1
            self._idle_since = monotonic() - quiet
        return None if [turn for turn in turns if self._was_left(turn)] else True

    def _was_left(self, turn: Turn) -> bool:
        try:
            turn.claim.pop()
        except IndexError:
            turn.back.append(True)
            self._stalled.pop(turn.directory, None)
            return True
        return False

    def _release(self, waiters: list[_Waiter]) -> None:
        """Tell those who wait for the pass that has just ended; a directory that it skipped is for another one."""
        while waiters:
            waiter = waiters.pop()
            if self._skipped and (waiter.subject is None or waiter.subject in self._skipped):
                self._held.append(waiter)
            else:
                waiter.release(served=True)

    def _put_back(self, waiters: list[_Waiter]) -> None:
        while waiters:
            self._post(waiters.pop())

    def _pause(self) -> float:
        """Return the seconds until the next pass; from now on an entry stirs a thread that has had no work for long."""
        now = monotonic()
        if any(directory.has_work() for directory in self._directories):
            self._idle_since = now
        if now - self._idle_since < _IDLE:
            return self._interval
        self._resting = True
        if all(directory.rest() for directory in self._directories):
            return _REST
        self._resting = False
        return self._interval

    def _collect(self, timeout: float) -> list[_Waiter]:
        """Wait at most *timeout* seconds to be woken. Returns who waits for this pass."""
        waiters, self._held = self._held, []
        with contextlib.suppress(queue.Empty):
            mail = self._mail.get(timeout=timeout) if timeout else self._mail.get_nowait()
            if mail is _STIR:
                if (now := monotonic()) - self._stirred < _OFTEN:
                    self._idle_since = now  # rather look for some time than be told of each
                self._stirred = now
                mail = self._mail.get(timeout=self._interval)
            while True:
                if mail is not None and mail is not _STIR:
                    waiters.append(mail)
                mail = self._mail.get_nowait()
        return waiters

    def _give_up(self, error: BaseException) -> None:
        self.lost = True
        for directory in self._directories:
            directory.thread_lost(error)

    # -- exit and fork ----------------------------------------------------------------------------------------

    def close_at_exit(self) -> None:
        """Close every logger. A thread that runs goes on; no other can be started."""
        self._ending = True
        self.close_all()

    def start_again(self) -> None:
        """Start the thread, also where nothing waits: it shows that the process lives, and takes commands."""
        self.ensure()

    def after_fork_in_child(self) -> None:
        """Start anew."""
        self._reset()


#: The writing thread of this process.
writing_thread: Final = WritingThread()
