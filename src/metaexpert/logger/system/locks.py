"""One lock per log directory, between threads and between processes.

Appends and rotations of several processes in one directory happen one after another under it. `flock` on POSIX,
`msvcrt.locking` on Windows; where neither works (some network file systems) threads are still kept apart and the
trouble is told once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from metaexpert.logger.system._holder import holder_of
from metaexpert.logger.system.calls import PATIENT, Calls, is_open_at, is_refused, monotonic, try_lock
from metaexpert.logger.system.descriptors import Descriptor, open_private
from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import Mutex, sleep

_UNSUPPORTED: Final = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
#: Such a lock has no queue, and a process that takes it again and again would keep all others out. So a process that
#: has waited in vain touches the lock file this often. The last holder sees that before it locks again, and waits for
#: as long as it had held the lock, within these limits, in seconds.
_TOUCH: Final = 0.1
_COURTESY: Final = (0.0005, 0.02)
#: Longest wait for a process that has held the lock for the whole of the last wait, in seconds: it may be stopped.
_SHORT: Final = 0.05
#: How much longer than for another process to wait for a thread of our own, in seconds.
_THREAD_PATIENCE: Final = 3.0


class _Here(threading.local):
    held = 0


_here: Final = _Here()


def give_back_all(lock: threading.RLock) -> int:
    """Give a lock back as often as this thread has taken it. Returns how often that was.

    For a thread that an injected exception ends: it may have come between taking the lock and what gives it back.
    """
    times = 0
    with contextlib.suppress(RuntimeError):  # it is not this thread's any more
        while True:
            lock.release()
            times += 1
    return times


def holds_a_lock() -> bool:
    """Return whether this thread holds a `DirectoryLock`: it must not wait for a thread that may want that lock."""
    return _here.held > 0


class DirectoryLock:
    """Re-entrant for the thread that holds it; a context manager.

    Args:
        path: The lock file. It and its directory are made when missing.
        patience: Longest wait for another process, in seconds; then `TimeoutError` (an `OSError`). The next waits are
            short, until the lock was to be had again.
        pause: Seconds between two tries while another process holds it.
        on_unsupported: Called once with the error when the file system turns out to know no locks.
        calls: The system's calls, as they suit the file system; a test passes doubles.
    """

    def __init__(
        self,
        path: Path,
        patience: float = 2.0,
        pause: float = 0.0005,
        *,
        on_unsupported: Callable[[OSError], None] = lambda _: None,
        calls: Calls = PATIENT,
    ) -> None:
        self._path = path
        self._patience = self._wait = patience
        self._pause = pause
        self._on_unsupported = on_unsupported
        self._calls = calls
        self._threads = Mutex()
        self._depth = 0
        self._file: Descriptor | None = None
        self._held = False
        self._touched = 0.0
        self._since = self._length = 0.0
        self._keep_open = True
        #: False once the file system has turned out to know no locks.
        self.supported = True

    def __enter__(self) -> Self:
        if not self._threads.acquire(timeout=self._patience + _THREAD_PATIENCE):
            raise TimeoutError(errno.ETIMEDOUT, "another thread holds the lock", str(self._path))
        try:
            if self._depth == 0 and self.supported:
                self._lock_file()
            self._depth += 1
            _here.held += 1
        except BaseException:
            if self._depth == 0:
                self._close_file()  # and with it whatever lock was got
            self._threads.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        try:
            if self._depth == 0 and self._held:
                self._let_go()
        finally:
            _here.held -= 1
            self._threads.release()

    def give_back(self) -> None:
        """Give back whatever the calling thread, which ends, still holds of it."""
        if give_back_all(self._threads):
            self._depth, self._held = 0, False
            _here.held = 0
            self._close_file()

    def close(self) -> None:
        """Close the lock file. A later use opens it for that use alone. Idempotent."""
        with self._threads:
            self._keep_open = False
            if not self._depth:
                self._close_file()

    def appender(self, file: Descriptor, path: Path, largest: int, period: int, backups: int) -> Any:
        """Return what appends batches to an open file in the regular way, under this lock, without Python.

        Args:
            file: The file.
            path: Where it lies.
            largest: Bytes that it may have.
            period: Seconds after which it is left to Python; 0 for never.
            backups: How many a rotation keeps; 0 leaves rotations to Python.

        Returns:
            The core's `Appender`; None where there is none, or where locks do not work.
        """
        if not hasattr(core, "Appender") or self._file is None or not self.supported:
            return None
        own = self._threads, self._file.fd, self._path
        return core.Appender(*own, file.fd, path, largest, period, backups)

    def after_fork(self) -> None:
        """Forget, in the child, what the parent holds: a descriptor shared by both would exclude neither."""
        self._threads = Mutex()
        self._depth, self._held = 0, False
        self._close_file()

    def _lock_file(self) -> None:
        if self._file is not None and self._file.ours:
            self._let_others_go_first(self._file.fd)
        now = monotonic()
        deadline, touch_at = now + self._wait, now + _TOUCH
        while True:
            if self._file is None or not self._file.ours:
                self._file = Descriptor.at(self._path, os.O_RDWR | os.O_CREAT, opener=open_private)
            fd = self._file.fd
            try:
                self._calls.try_lock(fd)
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    self.supported = False
                    self._on_unsupported(error)
                    return
                if not is_refused(error):
                    raise
                if (now := monotonic()) >= deadline:
                    self._wait = min(self._patience, _SHORT)
                    raise self._held_by_another(fd) from None
                if now >= touch_at:
                    touch_at = now + _TOUCH
                    self._touch(fd)
                sleep(self._pause)
                continue
            # Somebody may have deleted the directory and another process made the lock file anew.
            if self._calls.is_open_at(fd, self._path):
                self._touched = self._touched or self._calls.status(fd).modified
                self._held, self._since, self._wait = True, monotonic(), self._patience
                return
            self._close_file()

    def _held_by_another(self, fd: int) -> TimeoutError:
        holder = holder_of(fd)
        text = f"another process holds the lock{holder and ': '}{holder}"
        return TimeoutError(errno.ETIMEDOUT, text, str(self._path))

    def _touch(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # a disk that takes nothing: then luck decides, as it would without this
            os.utime(fd if os.utime in os.supports_fd else self._path)
            self._touched = self._calls.status(fd).modified

    def _let_others_go_first(self, fd: int) -> None:
        touched, before = self._calls.status(fd).modified, self._touched
        self._touched = touched
        if touched > before:
            sleep(min(max(self._length, _COURTESY[0]), _COURTESY[1]))

    def _let_go(self) -> None:
        self._held, self._length = False, monotonic() - self._since
        try:
            if self._file is not None and self._file.ours:
                self._calls.unlock(self._file.fd)
        except OSError:
            # The work under the lock is done and must not seem to have failed; closing unlocks as well.
            self._close_file()
        if not self._keep_open:
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # nothing was written to it; there is nothing to lose
                file.close()


class FileLock:
    """Says, for as long as it is held, that something on disk belongs to a process that lives.

    Not to the pid in some name: those are used again. Not re-entrant; for one thread at a time.

    Args:
        path: The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Descriptor | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours, and still is the file of that name."""
        return self._file is not None and self._file.ours and is_open_at(self._file.fd, self._path)

    @property
    def effective(self) -> bool:
        """Whether it still keeps others off, by whatever path they come to the file: it may be moved or hidden."""
        return self._file is not None and self._file.ours and os.fstat(self._file.fd).st_nlink > 0

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; the file is made when missing. Returns whether it is ours.

        Raises:
            OSError: The file cannot be made, or the file system knows no locks.
        """
        file = Descriptor.at(self._path, os.O_RDWR | os.O_CREAT, opener=open_private)
        try:
            try_lock(file.fd)
        except OSError as error:
            file.close()
            if is_refused(error):
                return False
            raise
        if not is_open_at(file.fd, self._path):  # deleted by the one who held it before us
            file.close()
            return False
        self._file = file
        return True

    def write(self, content: bytes) -> None:
        """Replace the content of the file, while it is ours. Raises OSError."""
        if self._file is not None:
            self._file.write_at(0, content)
            os.ftruncate(self._file.fd, len(content))

    def touch(self) -> None:
        """Show that the process lives: the time of modification is now. Raises OSError."""
        if self._file is not None:
            os.utime(self._file.fd if os.utime in os.supports_fd else self._path)

    def release(self, *, delete: bool) -> None:
        """Give the lock back; *delete* says whether what it stood for is gone. Idempotent."""
        delete = delete and self.held  # else another's file bears the name
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):  # Windows deletes no open file; a lock file left over is harmless
            if delete:
                self._path.unlink()
        file.close()
        with contextlib.suppress(OSError):
            if delete:
                self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close, in a forked child, the parent's lock file without unlocking: the parent goes on holding it."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
