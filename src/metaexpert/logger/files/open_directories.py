"""The log directories that are open in this process, each shared by its loggers.

Threads: any thread may open and leave directories.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from metaexpert.logger.encoding.line import Header
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.system.descriptors import make_directory
from metaexpert.logger.system.forks import ForkAware, catch_up, on_fork
from metaexpert.logger.system.threads import RLock


class _Opening(ForkAware):
    """The lock of the table of directories; another thread of a forked parent may have held it."""

    def __init__(self) -> None:
        self.lock = RLock()
        on_fork(self)

    def after_fork_in_child(self) -> None:
        """Begin with a fresh lock."""
        self.lock = RLock()


_opening: Final = _Opening()
_directories: Final[dict[str, LogDirectory]] = {}


def open_directory(path: Path | None, header: Header, journal_size: int) -> LogDirectory:
    """Return the directory of *path*, shared with the process's other loggers there; count one more user.

    Without a path it is a directory of the caller's own.
    """
    catch_up()
    if path is None:
        directory = LogDirectory(None, header, journal_size)
        directory.users = 1
        return directory
    try:
        key = os.path.realpath(path)
    except OSError:  # the working directory was deleted, or may not be read; the writes will tell
        key = str(path)
    with _opening.lock:
        if key not in _directories:
            _directories[key] = LogDirectory(Path(key), header, journal_size)
            _prepare(_directories[key])
        _directories[key].allow(journal_size)
        _directories[key].users += 1
        return _directories[key]


def _prepare(directory: LogDirectory) -> None:
    """Make the directory and tidy up. A failure is reported, and the first write tries again."""
    try:
        make_directory(directory.private)
        if directory.archivist.has_leftovers():
            directory.archivist.poke(always=True)
    except OSError as error:
        directory.diagnostics.report(f"prepare {directory.path}", f"{directory.path} cannot be prepared", error=error)


def leave_directory(directory: LogDirectory, patience: float = 0.0) -> None:
    """Count one user less; the last one releases the directory (see `LogDirectory.release`)."""
    with _opening.lock:
        directory.users -= 1
        if directory.users == 0:
            directory.release(patience)
            if _directories.get(str(directory.path)) is directory:
                del _directories[str(directory.path)]
