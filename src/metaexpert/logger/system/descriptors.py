"""Files opened by descriptor, each checked to be still ours before it is used."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from metaexpert.logger.system.calls import Status, is_open_at, status
from metaexpert.logger.system.interrupts import let_pass

FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
_OPEN_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Never wait for the other end of a pipe, never become the owner of a terminal.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def open_file(path: Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open *path* as bytes, closed in executed children, and make its directory when that is missing.

    Returns:
        A descriptor above 2: a program whose standard error was closed would print into a log file that got that
        number.

    Raises:
        OSError: It cannot be opened, or is no regular file: writing to a pipe, a device or a terminal may never end.
    """
    flags |= _OPEN_FLAGS | _AT_ONCE
    _refuse_special(path)
    try:
        fd = os.open(path, flags, mode)
    except FileNotFoundError:
        make_directory(path.parent)
        fd = os.open(path, flags, mode)
    return _above_standard(fd)


def _refuse_special(path: Path) -> None:
    # By its name: the number of one that is open may be somebody else's by the time that we look.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a directory fails by itself
            raise OSError(errno.EINVAL, f"{path.name} is not a regular file", str(path))


def make_directory(path: Path) -> None:
    """Make the directory *path* and what is missing above it, all with our mode. Raises OSError."""
    try:
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    except FileNotFoundError:
        make_directory(path.parent)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def _above_standard(fd: int) -> int:
    if fd > 2 or sys.platform == "win32":
        return fd
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


class Descriptor:
    """An open file that the program may close behind our back, as a daemon does when it starts.

    Its number may then stand for another file, a connection to an exchange for example: it must not be closed
    or written.

    Args:
        fd: The descriptor; ours from now on.
        status: The system's call, as it suits the file system.
    """

    #: Whether one of ours was found closed. The maps of a journal cannot tell, so they are left open from then on.
    stolen = False

    def __init__(self, fd: int, status: Callable[[int], Status] = status) -> None:
        self.fd = fd
        self._status = status
        self._opened = status(fd)

    @classmethod
    def at(
        cls, path: Path, flags: int, mode: int = FILE_MODE, *, status: Callable[[int], Status] = status
    ) -> Descriptor:
        """Open *path* as `open_file` does.

        Raises:
            OSError: It cannot be opened, or the number was taken from us before we could look at it; then it is left
                alone, and the next try opens another.
        """
        fd = open_file(path, flags, mode)
        descriptor = cls(fd, status)
        # Deleted or renamed meanwhile, as a rotation does it, is as good.
        if is_open_at(fd, path) or status(fd).links == 0 or _lies_in(path.parent, fd):
            return descriptor
        raise _taken()

    @property
    def ours(self) -> bool:
        """Whether the number still stands for what was opened."""
        try:
            self.check()
        except OSError:
            return False
        return True

    def check(self) -> Status:
        """Return the file's status of now. Raises OSError when the number is somebody else's by now."""
        try:
            found = self._status(self.fd)
            if found.inode == self._opened.inode and found.device == self._opened.device:
                return found
        except OSError as error:
            let_pass(error)
        Descriptor.stolen = True
        raise _taken()

    def close(self) -> None:
        """Close it, unless the number is somebody else's by now. Raises OSError, as closing does on a full disk."""
        if self.ours:
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lies_in(directory: Path, fd: int) -> bool:
    """Return whether the system says that the file at *fd* is in *directory* (Linux; False elsewhere)."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/self/fd/{fd}").readlink().parent) == os.path.realpath(directory)
    return False


def _taken() -> OSError:
    return OSError(errno.EBADF, "the descriptor was closed by somebody else")
