"""The care of backups that experts leave to the watcher: compression, the budget of a directory, the time index.

One watcher keeps house in a directory: the one that holds the lock. When it dies its lock is free, and experts do the
work themselves again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from metaexpert.logger.config.field_types import file_name_problem
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.journal.watched import DIRECTORY, HOUSEKEEPER, JOB
from metaexpert.logger.system.locks import DirectoryLock, FileLock
from metaexpert.watch import _claims as claims

#: Seconds between two tries to become the housekeeper of a directory where another watcher is.
_RETRY: Final = 5.0


class Housekeeping:
    """The care of the backups in one directory.

    Args:
        directory: The log directory.
        private: Its private directory.
        trouble: Called with what could not be done.
    """

    def __init__(self, directory: Path, private: Path, trouble: Callable[[str], None]) -> None:
        self._job = private / DIRECTORY / JOB
        self._mine = FileLock(private / DIRECTORY / HOUSEKEEPER)
        self._lock = DirectoryLock(private / "lock")
        self._archivist = Archivist(
            directory, private, self._lock, lambda text, error: trouble(f"{text}: {error}"), leaves=False
        )
        self._doing: os.stat_result | None = None
        self._next_try = 0.0
        # Copies made by root could not be read by the expert.
        self._wanted = sys.platform == "win32" or os.geteuid() == private.stat().st_uid

    def look(self, now: float, *, waits: bool) -> None:
        """Begin the work that *waits*, or note that it is done. Raises OSError."""
        if self._wanted and not self._mine.held and now >= self._next_try:
            self._next_try = now + _RETRY
            self._mine.acquire()
        if self._doing is not None:
            if not self._archivist.busy:
                done, self._doing = self._doing, None
                if waits and _same(self._job.stat(), done):  # else there is more to do by now
                    self._job.unlink(missing_ok=True)
        elif waits and self._mine.held:
            self._begin()

    def _begin(self) -> None:
        status, found = self._job.stat(), claims.read(self._job)
        bases, compressed = (_names(found.get(key)) for key in ("bases", "compressed"))
        budget = found.get("budget")
        self._archivist.bases, self._archivist.compressed = frozenset(bases | compressed), frozenset(compressed)
        self._archivist.budget = budget if isinstance(budget, int) else None
        self._doing = status
        self._archivist.poke(always=True)

    def close(self) -> None:
        """Finish what was begun, and leave the rest to the experts."""
        self._archivist.wait(_RETRY)
        self._lock.close()
        self._mine.release(delete=True)


def _names(found: object) -> set[str]:
    return {str(name) for name in found if not file_name_problem(str(name))} if isinstance(found, list) else set()


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_mtime_ns) == (other.st_ino, other.st_mtime_ns)
