"""Files opened by descriptor, each checked to be still ours before it is used.

Who may write to the log directory may plant links, pipes and devices under our names. A log file that is a link is
opened only if its maker is trusted (`open_file`); a file of the private directory is never a link (`open_private`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from metaexpert.logger.system.calls import Status, calls_on
from metaexpert.logger.system.interrupts import let_pass

FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o750
_OPEN_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Fail on a link; on Windows only administrators may make one.
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
#: Open a link itself (Linux), and nothing but a directory.
_PATH: Final = getattr(os, "O_PATH", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
#: What systems answer to a link (Linux, the BSDs).
_IS_LINK: Final = {errno.ELOOP, errno.EMLINK}
#: Never wait for the other end of a pipe, never become the owner of a terminal.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
#: Follows the name of what bore one of ours.
REFUSED_SUFFIX: Final = ".refused"
#: Tries while others make and delete a file.
_TRIES: Final = 8
#: Bytes that are read at once.
_PIECE: Final = 1024 * 1024


def open_file(path: Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open *path* as bytes, closed in executed children, and make its directory when that is missing.

    A link is followed if it belongs to this user, to root or to the owner of its directory.

    Returns:
        A descriptor above 2: a program whose standard error was closed would print into a log file that got that
        number.

    Raises:
        OSError: It cannot be opened, or is no regular file: writing to a pipe, a device or a terminal may never end.
    """
    flags |= _OPEN_FLAGS | _AT_ONCE
    _refuse_special(path)
    try:
        fd = os.open(path, flags | _NO_LINK, mode)
    except FileNotFoundError:
        make_directory(path.parent)
        fd = os.open(path, flags | _NO_LINK, mode)
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
        fd = os.open(_target(path), flags, mode)
    return _above_standard(fd)


def _refuse_special(path: Path) -> None:
    # By its name: the number of one that is open may be somebody else's by the time that we look.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a directory fails by itself
            raise OSError(errno.EINVAL, f"{path.name} is not a regular file", str(path))


def _target(path: Path) -> Path:
    """Return where the link at *path* leads, unless someone made it who is not trusted. Raises OSError."""
    if _PATH:
        link = Descriptor(os.open(path, _PATH | _NO_LINK | _OPEN_FLAGS), path.parent)
        found = os.fstat(link.fd)
        if not stat.S_ISLNK(found.st_mode):
            raise _taken()
        with link:
            target = os.readlink("", dir_fd=link.fd)
    else:  # others could exchange the link in between
        found, target = path.lstat(), str(path.readlink())
    if found.st_uid not in trusted_users(path.parent):
        raise OSError(errno.EPERM, "is a link that another user has made", str(path))
    return path.parent / target


def trusted_users(*directories: Path) -> set[int]:
    """Return the ids of those who may decide what our files are: this user, root, the owners of *directories*."""
    return {os.geteuid() if hasattr(os, "geteuid") else 0, 0, *(path.stat().st_uid for path in directories)}


def open_private(path: str | Path, flags: int, mode: int = FILE_MODE) -> int:
    """Open a file of the private directory as `open_file` does, but through no link.

    It is a regular file with no second name. If something else bears its name, and a file may be made (``O_CREAT``),
    that is renamed to ``NAME.refused``. Also an `opener` for `open`.

    Raises:
        OSError: It cannot be opened, or is no such file.
    """
    path = Path(path)
    try:
        with _held(path.parent) as directory:
            fd = _open_regular(path, directory, flags | _OPEN_FLAGS, mode)
    except FileNotFoundError:
        if path.parent.exists() or not flags & os.O_CREAT:
            raise
        make_directory(path.parent)
        return open_private(path, flags, mode)
    return _above_standard(fd)


@contextmanager
def _held(directory: Path) -> Iterator[int | None]:
    """Give a descriptor of *directory*, which is no link; None where files cannot be opened by it."""
    if os.open not in os.supports_dir_fd:
        yield None
        return
    with Descriptor.at(directory, _PATH | _DIRECTORY | _NO_LINK | _OPEN_FLAGS, opener=os.open) as held:
        yield held.fd


def _open_regular(path: Path, directory: int | None, flags: int, mode: int) -> int:
    name, there = (path, {}) if directory is None else (Path(path.name), {"dir_fd": directory})
    careful = (flags & ~(os.O_TRUNC | os.O_CREAT)) | _NO_LINK | _AT_ONCE
    for _ in range(_TRIES):
        try:
            found = None if flags & os.O_EXCL else os.stat(name, **there, follow_symlinks=False)  # noqa: PTH116
            if found is not None and is_regular(found):  # else a look at a device may have an effect
                fd = os.open(name, careful, mode, **there)
                return _emptied(fd, path) if flags & os.O_TRUNC else _checked(fd, path)
        except FileNotFoundError:
            found = None
        if not flags & os.O_CREAT:
            raise _foreign(path) if found else FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if found is not None:
            refused = name.with_name(name.name + REFUSED_SUFFIX)
            os.rename(name, refused, src_dir_fd=directory, dst_dir_fd=directory)
        try:
            return os.open(name, careful | os.O_CREAT | os.O_EXCL, mode, **there)
        except FileExistsError:  # another process was faster
            if flags & os.O_EXCL:
                raise
    raise OSError(errno.EBUSY, "is made and deleted all the time", str(path))


def is_regular(found: os.stat_result) -> bool:
    """Return whether it is a regular file with no second name, by which it could be someone else's."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1


def is_plain(path: Path) -> bool:
    """Whether it is an ordinary file: to open a pipe may never return, a link may lead to something without an end."""
    try:
        return is_regular(path.lstat())
    except FileNotFoundError:  # another process was faster
        return False


def _checked(fd: int, path: Path) -> int:
    if not is_regular(os.fstat(fd)):  # not closed: the number may be the program's by now (`Descriptor`)
        raise _foreign(path)
    return fd


def _emptied(fd: int, path: Path) -> int:
    os.ftruncate(_checked(fd, path), 0)
    return fd


def _foreign(path: Path) -> OSError:
    return OSError(errno.EPERM, "is no regular file, or has a second name", str(path))


def make_private_directory(path: Path) -> None:
    """Make the private directory *path*; a link of that name is renamed to ``NAME.refused``. Raises OSError."""
    if path.is_symlink():
        path.replace(path.with_name(path.name + REFUSED_SUFFIX))
    make_directory(path)


def give_to_owner_above(directory: Path) -> None:
    """Give a *directory* that root has made to the owner of the one above: no other could write there. Raises OSError.

    By its descriptor, since that owner may put another file in its place meanwhile.
    """
    if sys.platform == "win32":
        return
    above = directory.parent.stat()
    if os.geteuid() != 0 or not above.st_uid:
        return
    fd = os.open(directory, os.O_RDONLY | _DIRECTORY | _NO_LINK | _OPEN_FLAGS)
    try:
        os.fchown(fd, above.st_uid, above.st_gid)
    finally:
        os.close(fd)


def give_to_owner(path: Path, private: Path) -> None:
    """Give what root has made to the owner of *private*: else the expert could not write its own files."""
    owner = private.stat()
    if sys.platform != "win32" and owner.st_uid and os.geteuid() == 0:
        with Descriptor.at(path, os.O_RDONLY, opener=open_private) as file:
            os.fchown(file.fd, owner.st_uid, owner.st_gid)


def written_beside(path: Path, data: bytes, mode: int = FILE_MODE) -> Path:
    """Write *data* into a private file beside *path*, to be renamed to it. Returns its path. Raises OSError."""
    part = path.with_suffix(".part")
    with Descriptor.at(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, opener=open_private) as file:
        file.write_all(data)
    return part


def read_file(
    path: Path, most: int | None = None, start: int = 0, *, opener: Callable[[Path, int, int], int] = open_private
) -> bytes:
    """Return at most *most* bytes of a file from *start* on, or all that there is.

    A file object of Python's would close its number whatever that stands for by then (`Descriptor`). Raises OSError.
    """
    with Descriptor.at(path, os.O_RDONLY, opener=opener) as file:
        return b"".join(file.pieces(start)) if most is None else file.read_at(start, most)


def exposure(directory: Path, private: Path) -> list[str]:
    """Return why files in a log directory may be planted, and which were; nothing where all is well. Raises OSError."""
    if os.name == "nt":  # access is in lists there, which the modes do not tell
        return []
    found = [f"every user may write to {path}" for path in (directory, private) if path.stat().st_mode & stat.S_IWOTH]
    if private.stat().st_uid not in trusted_users(directory):
        found.append(f"{private} belongs to user {private.stat().st_uid}")
    for path in sorted([*directory.glob(f".*{REFUSED_SUFFIX}"), *private.rglob("*")]):
        if path.name.endswith(REFUSED_SUFFIX):
            found.append(f"{path} bore a name of ours")
        with contextlib.suppress(FileNotFoundError):  # files come and go
            if not stat.S_ISDIR((status := path.lstat()).st_mode) and not is_regular(status):
                found.append(f"{path} is no regular file, or has a second name")
    return found


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
        near: What lies on the same file system.

    Raises:
        OSError: The descriptor is closed.
    """

    #: Whether one of ours was found closed. The maps of a journal cannot tell, so they are left open from then on.
    stolen = False

    def __init__(self, fd: int, near: Path) -> None:
        self.fd = fd
        opened = os.fstat(fd)
        # What the number stands for may change from one look to the next: all that follows compares with this one.
        self._is, self._links = (opened.st_dev, opened.st_ino), opened.st_nlink
        self._calls = calls_on(opened.st_dev, near)

    @classmethod
    def at(
        cls,
        path: Path,
        flags: int,
        mode: int = FILE_MODE,
        *,
        opener: Callable[[Path, int, int], int] = open_file,
    ) -> Descriptor:
        """Open *path* by *opener*: `open_file` or `open_private`.

        Raises:
            OSError: It cannot be opened, or the number was taken from us before we could look at it; then it is left
                alone, and the next try opens another.
        """
        descriptor = cls(opener(path, flags, mode), path.parent)
        if descriptor._was_at(path):
            return descriptor
        raise _taken()

    def _was_at(self, path: Path) -> bool:
        """Return whether it is the file at *path*, or was: deleted or renamed since, as by a rotation, is as good."""
        if _identity(path) == self._is:
            return True
        try:
            now = Path(f"/proc/self/fd/{self.fd}").readlink()
        except OSError as error:  # only Linux tells
            let_pass(error)
            return not self._links
        deleted = not self._links or now.name == f"{path.name} (deleted)"  # right before, or right after we looked
        return str(now.parent) == os.path.realpath(path.parent) and (deleted or _identity(now) == self._is)

    @property
    def ours(self) -> bool:
        """Whether the number still stands for what was opened."""
        try:
            self.check()
        except OSError:
            return False
        return True

    def check(self) -> Status:
        """Return the present status of the file. Raises OSError when the number is somebody else's by now."""
        try:
            found = self._calls.status(self.fd)
            if (found.device, found.inode) == self._is:
                return found
        except OSError as error:
            let_pass(error)
        Descriptor.stolen = True
        raise _taken()

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most *size* bytes from *offset* on. Raises OSError, also when the number is somebody else's."""
        found = _read_at(self.fd, size, offset)
        self.check()
        return found

    def pieces(self, start: int = 0, size: int = _PIECE) -> Iterator[bytes]:
        """Yield what is there from *start* on, at most *size* bytes at a time. Raises OSError as `read_at` does."""
        while piece := self.read_at(start, size):
            start += len(piece)
            yield piece

    def write_at(self, offset: int, data: Any) -> int:
        """Write *data* at *offset*; return how many bytes were written. Raises OSError as `read_at` does."""
        self.check()
        return _write_at(self.fd, data, offset)

    def write_all(self, data: bytes, offset: int = 0) -> None:
        """Write all of *data* from *offset* on, whatever one write takes of it. Raises OSError as `read_at` does."""
        done = 0
        while done < len(data):
            done += self.write_at(offset + done, memoryview(data)[done:])

    def append(self, data: bytes) -> None:
        """Write all of *data* to a file that was opened for appending. Raises OSError as `read_at` does."""
        rest = memoryview(data)
        while rest:
            self.check()
            rest = rest[os.write(self.fd, rest) :]

    def go_on_with(self, fd: int, device: int, inode: int) -> None:
        """Stand for another file, just opened on the same device, and close the one before (see `close`)."""
        before, self.fd, self._is = (self.fd, *self._is), fd, (device, inode)
        if not self._calls.close_same(*before):
            Descriptor.stolen = True

    def close(self) -> None:
        """Close it, unless the number is somebody else's by now. Raises OSError, as closing does on a full disk."""
        if not self._calls.close_same(self.fd, *self._is):
            Descriptor.stolen = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# At a place that is named: where the number became that of a connection, it fails instead of waiting for what the other
# side sends, and taking it from the program.
if sys.platform == "win32":

    def _read_at(fd: int, size: int, offset: int) -> bytes:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)

    def _write_at(fd: int, data: Any, offset: int) -> int:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)
else:
    _read_at, _write_at = os.pread, os.pwrite


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError as error:
        let_pass(error)
        return None
    return found.st_dev, found.st_ino


def _taken() -> OSError:
    return OSError(errno.EBADF, "the descriptor was closed by somebody else")
