"""A log directory of this process: its files, the crash-safe journal before them, and one sequence over all.

Each file has a lane of its own (see `_log_file`). What dead processes left in their journals is brought
in by the first drain.

Bound: what waits is bounded by the journal; who may put how much of it there is the pipeline's matter.

Threads: any thread may `put`; the writing thread drains, and any other only when there is none.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from metaexpert.logger import schema
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.files._archive import Archivist
from metaexpert.logger.files._log_file import Lane
from metaexpert.logger.files.diagnostics import Diagnostics
from metaexpert.logger.files.recovery import Recovery, recover
from metaexpert.logger.files.rotating_file import RotatingFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.files.writing_thread import drainer
from metaexpert.logger.journal.journal import SHARE, SMALLEST_SEGMENT, USUAL_SEGMENT, Journal
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.system.calls import calls_for
from metaexpert.logger.system.descriptors import make_directory
from metaexpert.logger.system.locks import DirectoryLock

#: Seconds until what could not be brought in is tried again.
_RECOVERY_PAUSE: Final = 5.0
#: Seconds between two looks at whether somebody has deleted or moved a file that nothing is written to.
_LOOK: Final = 0.5
#: Longest wait for another thread that drains, in seconds.
_PATIENCE: Final = 1.0
#: Segments that may be allocated beyond what waits: three files, each with one half filled, two to spare, and two from
#: before a fault, all grown. With less the reserve had room by its bytes, but no segment to be had: an error came into
#: errors.log and not into expert.log.
_SLACK: Final = 20


class Watcher(Protocol):
    """Who logs into a directory: a pipeline."""

    def grown(self) -> None:
        """Look how much waits: it is more, or less, than when last told. By any thread."""
        ...

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Show on standard error what of *lines*, which no file takes, must not go unseen."""
        ...


class LogDirectory:
    """Everything that the loggers of one directory share. Made by `open_directory`, released by `leave_directory`.

    Args:
        path: The directory.
        header: Header fields of the reports about it.
        journal_size: Bytes that may wait, as the first logger wants it; `allow` asks for more.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(
        self, path: Path, header: Header, journal_size: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._monotonic = monotonic
        self._private = path / schema.PRIVATE_DIRECTORY
        self.diagnostics = Diagnostics(path, header)
        self._calls = calls = calls_for(path)
        self.lock = DirectoryLock(self._private / "lock", on_unsupported=self._lock_trouble, calls=calls)
        self.archivist = Archivist(path, self._private, self.lock, self._archive_trouble)
        self.journal = Journal(self._private, _allocation(journal_size), self._journal_trouble)
        self.journal.on_growth = self._grown
        self.lanes: dict[str, Lane] = {}
        #: Replaced, never changed, so that it can be walked over at any time.
        self.watchers: tuple[Watcher, ...] = ()
        #: What was found of dead processes, until somebody has announced it.
        self.recovery: Recovery | None = None
        self._shown: set[int] = set()
        self._recovered = False
        self._next_recovery = 0.0
        self._policy: RotationPolicy | None = None
        self._files: dict[str, RotatingFile] = {}
        self.users = 0
        self._guard = threading.RLock()
        self._draining = self._again = False
        self._insist = self._wants_sync = self._wants_archive = False
        self._next_look = 0.0
        # Numbers go on when the last logger of a directory closes and another opens: they never repeat in a process.
        self.sequence = _sequences.setdefault(str(path), itertools.count(1))

    def allow(self, journal_size: int) -> None:
        """Let at least *journal_size* bytes wait."""
        self.journal.limit = max(self.journal.limit, _allocation(journal_size))

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of what waits from now on."""
        self.watchers = (*self.watchers, watcher)

    def forget(self, watcher: Watcher) -> None:
        """Tell *watcher* no longer."""
        self.watchers = tuple(other for other in self.watchers if other is not watcher)

    def waiting_lines(self, *, durable: bool = False) -> list[bytes]:
        """Return all lines that wait; one that goes to several files comes as often. By any thread.

        Args:
            durable: Only those that would survive the process.
        """
        lines: list[bytes] = []
        for lane in self.lanes.values():
            with contextlib.suppress(ValueError):  # drained and given back meanwhile
                lines += lane.lines(durable=durable)
        return lines

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return all(lane.empty for lane in self.lanes.values())

    def unshown(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return those of *lines* that nobody has asked this for since the files began to take nothing."""
        if self.error is None:
            self._shown = set()
        new = [line for line in lines if hash(line) not in self._shown]
        self._shown.update(map(hash, new))
        return new

    def prepare(self) -> None:
        """Make the directory and tidy up. What fails is told and tried again by the first write."""
        try:
            make_directory(self._private)
            if self.archivist.has_leftovers():
                self.archivist.poke(always=True)
        except OSError as error:
            self.diagnostics.report(f"prepare {self.path}", f"{self.path} cannot be prepared", error=error)

    def lane(self, name: str, policy: RotationPolicy) -> Lane:
        """Return the lane of the file *name*, made with *policy* when it is new; the first policy stays in force."""
        if name not in self.lanes:
            sink = self._files[name] = self._file(name, policy)
            lane = Lane(sink, self.journal.lane(name), self._stranded, self._monotonic)
            self._add(name, lane, policy.compress)
            self._policy = self._policy or policy
        elif self._files[name].policy != policy:
            text = f"{name} is open already with other rotation settings, which stay in force for all its loggers"
            self.diagnostics.report(f"settings {name}", text, level="warning")
        return self.lanes[name]

    def request(self, *, insist: bool = False, sync: bool = False, archive: bool = False) -> None:
        """Ask the next `drain` to try also files that pause after an error, to force all to the device, or to tidy."""
        self._insist = self._insist or insist
        self._wants_sync = self._wants_sync or sync
        self._wants_archive = self._wants_archive or archive

    def drain(self) -> None:
        """Write what waits in all lanes. What fails is told, and stays in its lane (see `Lane.error`)."""
        self._again = True
        # Who holds this may have been interrupted by one who waits for us: he goes on with it when he is back.
        if not self._guard.acquire(timeout=_PATIENCE):
            return
        try:
            # A signal handler or __del__ that comes here while its thread is inside leaves its entry to the outer call.
            while self._again and not self._draining:
                self._again = False
                self._draining = True
                try:
                    self._recover()
                    self._drain_lanes()
                finally:
                    self._draining = False
        finally:
            self._guard.release()
        self._tell_watchers()

    def keep_durable(self) -> None:
        """Force files to the device before they are rotated away."""
        for file in self._files.values():
            file.durable = True

    @property
    def error(self) -> OSError | None:
        """Why a file takes nothing at the moment, or None."""
        return next((lane.error for lane in self.lanes.values() if lane.error is not None), None)

    def release(self, patience: float = 0.0) -> None:
        """Write what came last, close files, journal and lock, and tell what is left to tell.

        A write that takes longer than *patience* keeps them. What no file took stays in the journal for the next start.
        """
        if self._guard.acquire(timeout=patience):
            try:
                for lane in self.lanes.values():
                    lane.journal.shut()
                    if not lane.empty:
                        lane.drain(insist=True)
                    lane.sink.close()
                self.journal.close()
                self.lock.close()
            finally:
                self._guard.release()
        self.diagnostics.summarise(final=True)

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's to write, and so are its locks and descriptors."""
        self._guard = threading.RLock()
        self._draining = False
        self.lock.after_fork()
        self.archivist.after_fork()
        self.diagnostics.after_fork()
        self.sequence = _sequences[str(self.path)] = itertools.count(1)
        self.journal.after_fork()
        self._recovered = True  # the parent does it, or has done it
        for lane in self.lanes.values():
            lane.sink.close()

    def _recover(self) -> None:
        """Bring in, once, what dead processes left; a disk that does not take it now is tried again."""
        if self._recovered or self._policy is None or self._monotonic() < self._next_recovery:
            return
        policy, sinks, found = self._policy, dict[str, Sink](), Recovery()

        def sink_of(name: str) -> Sink:
            if name in self.lanes:
                return self.lanes[name].sink
            return sinks.setdefault(name, self._file(name, policy))

        try:
            recover(self.path, self._private, sink_of, self.lock, found)
            self._recovered = True
        except OSError as error:
            self._next_recovery = self._monotonic() + _RECOVERY_PAUSE
            text = "what an earlier process left in its journal cannot be brought in yet"
            self.diagnostics.report(f"recover {self.path}", text, error=error)
        finally:
            for sink in sinks.values():
                sink.close()
            if self.recovery is not None:  # not announced yet
                found.add(self.recovery)
            if self._recovered or found != Recovery():
                self.recovery = found

    def _file(self, name: str, policy: RotationPolicy) -> RotatingFile:
        return RotatingFile(
            self.path / name,
            policy,
            self.lock,
            calls=self._calls,
            on_rotated=lambda _: self.archivist.poke(),
            on_trouble=lambda error: self._rotation_trouble(name, error),
        )

    def _grown(self) -> None:
        # On a caller's thread, once per segment: in a burst the usual look would come too late.
        self._tell_watchers()
        drainer.wake()

    def _tell_watchers(self) -> None:
        for watcher in self.watchers:
            watcher.grown()

    def _stranded(self, lines: list[bytes]) -> None:
        for watcher in self.watchers[:1]:
            watcher.stranded(lines)

    def _drain_lanes(self) -> None:
        insist, self._insist = self._insist, False
        sync, self._wants_sync = self._wants_sync, False
        look = self._monotonic() >= self._next_look
        if look:
            self._next_look = self._monotonic() + _LOOK
            self.journal.check()
        for lane in self.lanes.values():
            failures = lane.failures
            if not lane.empty or lane.error is not None:
                lane.drain(insist=insist)
            elif look:
                lane.look()
            if lane.failures > failures:
                self.diagnostics.report(f"write {self.path}", "log files cannot be written", error=lane.error)
        if sync:
            self._sync()
        if self._wants_archive:
            self._wants_archive = False
            self.archivist.poke()
        self.diagnostics.summarise()

    def _sync(self) -> None:
        try:
            for lane in self.lanes.values():
                lane.sync()
        except OSError as error:
            self.diagnostics.report(f"fsync {self.path}", "log files cannot be forced to the device", error=error)

    def _add(self, name: str, lane: Lane, compress: bool) -> None:
        self.archivist.bases.add(name)
        if compress:
            self.archivist.compressed.add(name)
        self.lanes = {**self.lanes, name: lane}  # the writing thread may be walking over them
        self._next_look = 0.0  # so that it makes the file at once: a new directory shows its three files

    def _rotation_trouble(self, name: str, error: OSError) -> None:
        if self.archivist.busy:  # on Windows our own reading may stand in the way; then the next try will do
            return
        text = f"{name} cannot be rotated and goes on growing; tried again every few seconds"
        self.diagnostics.report(f"rotate {name}", text, level="warning", error=error)

    def _archive_trouble(self, what: str, error: OSError) -> None:
        self.diagnostics.report(f"archive {self.path}", what, level="warning", error=error)

    def _journal_trouble(self, what: str, error: OSError | None) -> None:
        self.diagnostics.report(f"journal {self.path}", what, level="warning", error=error)

    def _lock_trouble(self, error: OSError) -> None:
        text = f"{self.path} knows no file locks; only one process should log there"
        self.diagnostics.report(f"lock {self.path}", text, level="warning", error=error)


_directories: dict[str, LogDirectory] = {}
_sequences: dict[str, itertools.count[int]] = {}
_guard = threading.RLock()


def _allocation(journal_size: int) -> int:
    return journal_size + _SLACK * max(SMALLEST_SEGMENT, min(journal_size // SHARE, USUAL_SEGMENT))


def open_directory(path: Path, header: Header, journal_size: int) -> LogDirectory:
    """Return the directory of *path*, shared with the process's other loggers there; count one more user."""
    try:
        key = os.path.realpath(path)
    except FileNotFoundError:  # the working directory was deleted; what the writes say will be told
        key = str(path)
    with _guard:
        if key not in _directories:
            _directories[key] = LogDirectory(Path(key), header, journal_size)
            _directories[key].prepare()
        _directories[key].allow(journal_size)
        _directories[key].users += 1
        return _directories[key]


def leave_directory(directory: LogDirectory, patience: float = 0.0) -> None:
    """Count one user less; the last one releases the directory (see `LogDirectory.release`)."""
    with _guard:
        directory.users -= 1
        if directory.users == 0:
            directory.release(patience)
            if _directories.get(str(directory.path)) is directory:
                del _directories[str(directory.path)]


def after_fork() -> None:
    """Start anew in a child: another thread of the parent may have held the lock."""
    global _guard  # noqa: PLW0603
    _guard = threading.RLock()
    for directory in _directories.values():
        directory.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
