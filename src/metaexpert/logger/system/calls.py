"""What the writing thread asks of the system: locks, and what stands at a descriptor or a path.

Each system call of Python gives the interpreter lock away. The writing thread then waits until a busy thread is made
to give it back, after five milliseconds, and stops that thread for longer than the call itself took. Where the core
could be compiled, the calls that are over in a microsecond keep the lock; on a file system over a network, where none
is, they do not. And clearing memory, which Python does with the lock held, gives it away there.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
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
        """Give the lock back."""
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(fd: int) -> None:
        """Lock, or raise OSError at once while another process holds the lock."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(fd: int) -> None:
        """Give the lock back."""
        fcntl.flock(fd, fcntl.LOCK_UN)


#: Windows locks are mandatory for the bytes that they cover, so the byte lies beyond any data.
_LOCKED_BYTE: Final = 2**30
#: File systems over a network, where a mapped page may vanish under us or show another machine's bytes, and where every
#: call may take as long as it takes.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre", "gfs2"}
)
_ZEROS: Final = bytes(64 * 1024)


class Status(NamedTuple):
    """What a descriptor tells: *modified* in seconds since the epoch."""

    device: int
    inode: int
    size: int
    links: int
    modified: float


def status(fd: int) -> Status:
    """Return what stands at *fd*. Raises OSError."""
    found = os.fstat(fd)
    return Status(found.st_dev, found.st_ino, found.st_size, found.st_nlink, found.st_mtime)


def is_open_at(fd: int, path: Path) -> bool:
    """Return whether *fd* still is the file that bears the name *path*. Raises OSError."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise


class Calls(NamedTuple):
    """The calls of one kind of file system."""

    try_lock: Callable[[int], None] = try_lock
    unlock: Callable[[int], None] = unlock
    status: Callable[[int], Status] = status
    is_open_at: Callable[[int, Path], bool] = is_open_at


#: They let other threads go on meanwhile, however long it takes.
PATIENT: Final = Calls()


def _quick() -> Calls:
    if not hasattr(core, "status"):
        return PATIENT
    make, asked = Status._make, core.status
    return Calls(core.lock, core.unlock, lambda fd: make(asked(fd)), core.is_open_at)


#: They are over at once, on a local file system.
QUICK: Final = _quick()


def calls_for(directory: Path) -> Calls:
    """Return the calls that suit the file system of *directory*."""
    kind = file_system_of(directory)
    return PATIENT if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse") else QUICK


def zero(buffer: Any, start: int, end: int) -> None:
    """Write zeros into *buffer* from *start* to *end*, letting other threads go on."""
    if core is not None:
        core.zero(buffer, start, end)
        return
    for begin in range(start, end, len(_ZEROS)):
        stop = min(begin + len(_ZEROS), end)
        buffer[begin:stop] = _ZEROS[: stop - begin]
        time.sleep(0)  # gives the interpreter lock away


def file_system_of(path: Path) -> str:
    """Return the type of the file system that *path* is on, where the system tells (Linux); otherwise ``""``."""
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
