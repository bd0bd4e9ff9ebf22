"""The system calls of the writing thread: file locks, the status of a descriptor or a path, names in a directory.

Python releases the interpreter lock for each system call. The writing thread then waits up to five milliseconds until a
busy thread is made to release it, and stops that thread for longer than the call itself took. The core keeps the lock
for calls that return within a microsecond, except on a network file system, where no call is that fast. It releases the
lock to clear memory, where Python would keep it.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger.system.native import core

if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int) -> None:
        """Lock, or raise OSError at once while another process holds the lock."""
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def unlock(fd: int) -> None:
        """Release the lock."""
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(fd: int) -> None:
        """Lock, or raise OSError at once while another process holds the lock."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(fd: int) -> None:
        """Release the lock."""
        fcntl.flock(fd, fcntl.LOCK_UN)


#: The id of this process. Not `os.getpid`, which a test may replace: a log call would take itself for a forked child.
getpid: Final = os.getpid
#: Seconds that never step back, for waits. Not `time.monotonic`, which stands still in a program (a backtest, a test)
#: that freezes Python's clocks: freezegun replaces that function wherever a module has it, time-machine in its place.
if sys.platform == "win32":
    monotonic: Final[Callable[[], float]] = partial(time.monotonic)
else:
    monotonic: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)

#: A lock is refused with one of these. Wine's C library sets no error at all, and nothing else fails with 0.
_REFUSED: Final = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK, 0, None}


def is_refused(error: OSError) -> bool:
    """Return whether `try_lock` failed with *error* because another holds the lock."""
    return error.errno in _REFUSED


#: Windows locks are mandatory for the bytes that they cover, so the byte lies beyond any data.
_LOCKED_BYTE: Final = 2**30
#: File systems over a network, where a mapped page may vanish or show another machine's bytes, and where any call may
#: take long.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre", "gfs2"}
)
_ZEROS: Final = bytes(64 * 1024)


class Status(NamedTuple):
    """The status of an open file; *modified* is in seconds since the epoch."""

    device: int
    inode: int
    size: int
    links: int
    modified: float


def status(fd: int) -> Status:
    """Return the status of *fd*. Raises OSError."""
    found = os.fstat(fd)
    return Status(found.st_dev, found.st_ino, found.st_size, found.st_nlink, found.st_mtime)


def is_open_at(fd: int, path: Path) -> bool:
    """Return whether *fd* still is the file at *path*. Raises OSError."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise


def close_same(fd: int, device: int, inode: int) -> bool:
    """Close *fd* if it still is that file; return whether it was. Raises OSError, as closing does on a full disk."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    if (found.st_dev, found.st_ino) != (device, inode):
        return False
    os.close(fd)
    return True


#: Returns the names in a directory, in no order, or raises OSError. Python's own closes a number in the end which the
#: program may have closed, and taken for something of its own, while the names were read.
names_in: Final[Callable[[Path], list[str]]] = getattr(core, "names", os.listdir)


def _files_in(directory: Path) -> list[str]:
    with os.scandir(directory) as found:
        return [entry.name for entry in found if entry.is_file()]


#: Does the same for regular files and links to them.
files_in: Final[Callable[[Path], list[str]]] = getattr(core, "files", _files_in)


def paths_in(directory: Path, begin: str = "", end: str = "") -> list[Path]:
    """Return what in *directory* is called like that, in no order; nothing where it is missing or cannot be read."""
    try:
        names = names_in(directory)
    except OSError:
        return []
    return [directory / name for name in names if name.startswith(begin) and name.endswith(end)]


class Calls(NamedTuple):
    """The calls of one kind of file system."""

    try_lock: Callable[[int], None] = try_lock
    unlock: Callable[[int], None] = unlock
    status: Callable[[int], Status] = status
    is_open_at: Callable[[int, Path], bool] = is_open_at
    #: Patiently, another thread may have closed the number and opened something under it between look and close.
    close_same: Callable[[int, int, int], bool] = close_same
    #: Moves a file and its backups up by one, given the directory, the file's name and how many to keep; None: step by
    #: step, each of which waits for the interpreter lock.
    rotate: Callable[[Path, str, int], None] | None = None


#: They let other threads run meanwhile, however long the call takes.
PATIENT: Final = Calls()


def _quick() -> Calls:
    if not hasattr(core, "status"):
        return PATIENT
    make, asked = Status._make, core.status
    rotate = getattr(core, "rotate", None)
    return Calls(core.lock, core.unlock, lambda fd: make(asked(fd)), core.is_open_at, core.close_same, rotate)


#: They return at once, on a local file system.
QUICK: Final = _quick()
_BY_DEVICE: Final[dict[int, Calls]] = {}


def calls_for(directory: Path) -> Calls:
    """Return the calls that suit the file system of *directory*."""
    kind = file_system_of(directory)
    return PATIENT if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse") else QUICK


def calls_on(device: int, path: Path) -> Calls:
    """Return the calls that suit the file system of *path*, which is on *device*: it is asked once for each."""
    found = _BY_DEVICE.get(device)
    if found is None:
        found = _BY_DEVICE[device] = calls_for(path)
    return found


def zero(buffer: Any, start: int, end: int) -> None:
    """Write zeros into *buffer* from *start* to *end*, letting other threads run."""
    if core is not None:
        core.zero(buffer, start, end)
        return
    for begin in range(start, end, len(_ZEROS)):
        stop = min(begin + len(_ZEROS), end)
        buffer[begin:stop] = _ZEROS[: stop - begin]
        time.sleep(0)  # releases the interpreter lock


def file_system_of(path: Path) -> str:
    """Return the type of the file system that *path* is on, where the system tells it (Linux); otherwise ``""``."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace")
        here = os.path.realpath(path)
    except OSError:  # no such file there, or a relative path in a working directory that was deleted
        return ""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
