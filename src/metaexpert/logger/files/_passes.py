"""Passes over log directories: whose turn it is, and those of the core while batches are all that is to be done.

Threads: `Passes.make` is for the writing thread; all else may be called by any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import Mutex, RLock, sleep

if TYPE_CHECKING:
    from metaexpert.logger.files.directory import LogDirectory

#: Seconds between two looks at whether passes have ended.
_PAUSE: Final = 0.0005
#: What the core needs for a file: the turn of its directory, and what `LogFile.regular` returns.
type File = tuple[Any, ...]


class Turn:
    """A pass over one directory. The thread that takes its one claim goes on: this one, or another in its place."""

    __slots__ = ("back", "claim", "directory", "since")

    def __init__(self, directory: LogDirectory) -> None:
        self.directory, self.since = directory, monotonic()
        self.claim, self.back = [True], list[bool]()


class Passes:
    """The passes of the core, which it makes without the interpreter lock. Each writing thread has its own."""

    def __init__(self) -> None:
        # Where threads are only seemingly such, as with gevent, the core must not wait.
        self._core = core.Passes() if Mutex is not RLock else None
        self._files: tuple[File, ...] = ()
        #: Whether it is to make passes, or does.
        self.attending = False

    @property
    def possible(self) -> bool:
        """Whether there are such."""
        return self._core is not None

    def attend(self) -> None:
        """Prepare to make passes: what is told to `stop` from here on ends them."""
        if self._core is not None:
            self._core.allow()
        self.attending = True

    def stop(self) -> None:
        """End the passes under way, or the next ones at once. Safe in a signal handler."""
        if self._core is not None:
            self._core.stop()

    def let_go(self, patience: float) -> None:
        """Stop, and wait for *patience* seconds at most until no map is in use. Later passes may begin meanwhile."""
        files, deadline = self._files, monotonic() + patience
        while files and self._files is files and monotonic() < deadline:
            self.stop()
            sleep(_PAUSE)

    def make(self, files: tuple[File, ...], interval: float, seconds: float, patience: float) -> float | None:
        """Wait again and again for *interval* seconds, and then append what waits for *files*.

        It ends after some *seconds*, when it is told to, at what is not regular, and after a file that took longer than
        *patience* seconds.

        Returns:
            How many seconds ago something was written; None if nothing was.
        """
        assert self._core is not None  # noqa: S101 - for the type checker
        self._files = files
        try:
            quiet: float | None = self._core.make(interval, seconds, patience, files)
        finally:
            self._files, self.attending = (), False
        return quiet

    @property
    def under_way(self) -> Turn | None:
        """The turn of the file that is being written, and since when."""
        found, files = self._core and self._core.under_way, self._files
        if not found or not files:
            return None
        turn: Turn = files[found[0]][0]
        turn.since = found[1]
        return turn


def regular_files(turns: Iterable[Turn]) -> tuple[File, ...] | None:
    """Return the files of directories for `Passes.make`; None when there is more to do than to append."""
    found = [(turn, turn.directory.regular_files()) for turn in turns]
    if any(files is None for _, files in found):
        return None
    return tuple((turn, *file) for turn, files in found for file in files or ())
