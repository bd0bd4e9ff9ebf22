"""The files of one logger: lanes of a directory that other loggers may share, or none when it logs to no file.

Threads: as in `metaexpert.logger.files.directory`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.counts import by_level
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.files._log_file import Lane
from metaexpert.logger.files.diagnostics import Diagnostics
from metaexpert.logger.files.directory import LogDirectory, Watcher, leave_directory, open_directory
from metaexpert.logger.files.recovery import Recovery
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.journal import JournalLane
from metaexpert.logger.routing import ERRORS, EXPERT, TRADES

#: Seconds between two forced writes with ``fsync="interval"``.
_SYNC_INTERVAL: Final = 1.0


class Files:
    """The files of one logger.

    Args:
        config: Its configuration.
        header: Header fields of reports about the files; by their name of the expert the logger's lines are known.
    """

    def __init__(self, config: LoggerConfig, header: Header) -> None:
        self._fsync = config.fsync
        self._next_sync = 0.0
        self._appname = dumps(header.appname)[1:-1]
        self._sequence = itertools.count(1)
        self._watchers: list[Watcher] = []
        self.directory: LogDirectory | None = None
        self.lanes: list[tuple[int, Lane]] = []
        if config.log_to_file:
            self.directory = open_directory(config.log_dir, header, config.journal_size)
            self._open(config, self.directory)
        self.diagnostics = self.directory.diagnostics if self.directory else Diagnostics(None, header)

    def _open(self, config: LoggerConfig, directory: LogDirectory) -> None:
        archivist = directory.archivist
        policy = RotationPolicy(config.max_file_size, config.backup_count, config.rotate_when, config.compress_backups)
        names = ((EXPERT, config.log_file), (TRADES, config.log_trade_file), (ERRORS, config.log_error_file))
        self.lanes = [(route, directory.lane(name, policy)) for route, name in names]
        if config.max_total_size is not None:
            archivist.budget = min(config.max_total_size, archivist.budget or config.max_total_size)
        if self._fsync != "never":
            directory.keep_durable()
        directory.request(archive=True)

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of what waits, until `close`."""
        if self.directory is not None:
            self._watchers.append(watcher)
            self.directory.watch(watcher)

    # -- in ---------------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> Iterator[int]:
        """The numbers of entries that are to come; another iterator after a fork."""
        return self._sequence if self.directory is None else self.directory.sequence

    def journals(self, routes: int) -> tuple[JournalLane, ...]:
        """Return where a line that goes to *routes* has to wait."""
        return tuple(lane.journal for route, lane in self.lanes if routes & route)

    def put(self, line: bytes, routes: int) -> bool:
        """Have *line* wait for the files of *routes*. Returns whether one of them will get it."""
        return any([lane.put(line) for route, lane in self.lanes if routes & route])  # noqa: C419 - not the first alone

    # -- what waits -------------------------------------------------------------------------------------------

    def used(self) -> int:
        """Return how many bytes wait, of all loggers of the directory."""
        return 0 if self.directory is None else self.directory.journal.used()

    def room(self) -> int:
        """Return how many bytes may come before the watchers are told again."""
        lanes = [] if self.directory is None else list(self.directory.lanes.values())
        return sum(lane.journal.open_room for lane in lanes)

    def pending(self, *, durable: bool = False) -> Counter[str]:
        """Return how many entries of the logger wait, by level.

        Args:
            durable: Count only those that would survive the process.
        """
        lines = [] if self.directory is None else self.directory.waiting_lines(durable=durable)
        return by_level(lines, self._appname)

    def unshown(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return those of *lines* that are the logger's, each once for as long as files take nothing."""
        mark = b'"appname":"' + self._appname + b'"'
        return [] if self.directory is None else [line for line in self.directory.unshown(lines) if mark in line]

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return all(lane.empty for _, lane in self.lanes)

    def has_work(self) -> bool:
        """Whether something waits to be written, or to be forced to the device."""
        return any(not lane.empty or (lane.needs_sync and self._fsync != "never") for _, lane in self.lanes)

    @property
    def complete(self) -> bool:
        """Whether each file of the logger took what it was given at the last try."""
        return all(lane.error is None for _, lane in self.lanes)

    @property
    def error(self) -> OSError | None:
        """Why a file of the directory takes nothing at the moment, or None."""
        return None if self.directory is None else self.directory.error

    def take_recovery(self) -> Recovery | None:
        """Return, once, what was found of dead processes."""
        if self.directory is None:
            return None
        found = self.directory.recovery
        if found is not None:  # otherwise the writing thread may be about to set it
            self.directory.recovery = None
        return found

    # -- out --------------------------------------------------------------------------------------------------

    def request(self, *, insist: bool = False, sync: bool = False, archive: bool = False) -> None:
        """Ask for more than the next `drain` would do by itself (see `LogDirectory.request`)."""
        if self.directory is not None:
            self.directory.request(insist=insist, sync=sync, archive=archive)

    def drain(self) -> None:
        """Write what waits, and force it to the device when the time for that has come."""
        if self.directory is None:
            return
        if self._fsync == "interval" and time.monotonic() >= self._next_sync:
            self._next_sync = time.monotonic() + _SYNC_INTERVAL
            self.directory.request(sync=True)
        self.directory.drain()

    def close(self, patience: float, archive_patience: float) -> None:
        """Leave the directory, which the last logger in it releases.

        Args:
            patience: Longest wait for a write that is under way, in seconds.
            archive_patience: Longest wait for the compression of backups.
        """
        if self.directory is None:
            self.diagnostics.summarise(final=True)
            return
        for watcher in self._watchers:
            self.directory.forget(watcher)
        self.directory.archivist.wait(archive_patience)
        leave_directory(self.directory, patience)

    # -- fork (the directory itself sees to the rest) -----------------------------------------------------------

    def before_fork(self) -> threading.Thread | None:
        """End the thread that compresses. Returns it."""
        return None if self.directory is None else self.directory.archivist.pause()

    def after_fork_in_parent(self) -> None:
        """Allow it again."""
        if self.directory is not None:
            self.directory.archivist.resume()
            self.directory.request(archive=True)

    def after_fork_in_child(self) -> None:
        """Number the entries anew."""
        self._sequence = itertools.count(1)
        self.diagnostics.after_fork()
