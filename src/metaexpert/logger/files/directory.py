"""A log directory of this process: its files, the crash-safe journal before them, and one sequence over all.

The writing thread serves directories; the loggers of a directory listen to it (`Listener`). Each file is a `LogFile`.
The first drain brings in the entries that dead processes left in their journals. A logger without files has a
directory without a path, which writes nothing and serves its one listener.

Bound: the journal bounds what waits. Each logger decides how much of it its own entries may take.

Threads: any thread may put lines into the files. The writing thread drains, and any other only when there is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config.control import Inbox
from metaexpert.logger.console import stderr
from metaexpert.logger.encoding.line import Header, renumbered
from metaexpert.logger.encoding.route import Route, complete, keep
from metaexpert.logger.files._diagnostics import Diagnostics
from metaexpert.logger.files._listeners import Listener, Listeners
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.recovery import Recoverer, Recovery
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.journal.journal import SHARE, SMALLEST_SEGMENT, USUAL_SEGMENT, Journal
from metaexpert.logger.system.calls import calls_for, monotonic
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.forks import ForkAware, on_fork
from metaexpert.logger.system.locks import DirectoryLock, give_back_all
from metaexpert.logger.system.threads import Mutex

#: Seconds between two looks at idle files, which somebody may have deleted or moved.
_LOOK: Final = 0.5
#: Seconds after which loggers are served that have not asked for it: an error may have had no room on the stack even to
#: ask, and a capture that somebody has taken out is put back within a second.
_SERVICE: Final = 0.9
#: Seconds between two forced writes with ``fsync="interval"``.
_SYNC_INTERVAL: Final = 1.0
#: Longest wait for another thread that drains, in seconds.
_PATIENCE: Final = 1.0
#: Segments that may be allocated beyond what waits: three files, each with one half filled, two to spare, and two from
#: before a fault, all grown. With less the reserve had room by its bytes, but no segment to be had: an error came into
#: errors.log and not into expert.log.
_SLACK: Final = 20

#: The sequence of each directory that this process has logged to.
_sequences: Final[dict[str, Count]] = {}


class LogDirectory(ForkAware):
    """Everything that the loggers of one directory share. Made and released by `open_directories`.

    Args:
        path: The directory; None for a logger without files.
        header: Header fields of the reports about it.
        journal_size: Bytes that may wait, as the first logger wants it; `allow` asks for more.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(
        self, path: Path | None, header: Header, journal_size: int, monotonic: Callable[[], float] = monotonic
    ) -> None:
        self.path = path
        self._monotonic = monotonic
        self.root = path or Path()  # without a path nothing is ever opened below it
        self.private = self.root / schema.PRIVATE_DIRECTORY
        self.diagnostics = Diagnostics(path, header)
        self._calls = calls = calls_for(self.root)
        self.lock = DirectoryLock(self.private / "lock", on_unsupported=self._lock_trouble, calls=calls)
        self.archivist = Archivist(self.root, self.private, self.lock, partial(self._trouble, "archive"))
        journal = self.private if path else None
        self.journal = Journal(journal, _allocation(journal_size), partial(self._trouble, "journal"))
        self.journal.on_growth = self._grown
        self.journal.on_stir = writing_thread.stir
        # Replaced, never changed, so that it can be walked over at any time.
        self.files: dict[str, LogFile] = {}
        self.listeners = Listeners()
        self._inbox = Inbox(self.private, self._trouble, monotonic)
        #: What was found of dead processes, until a listener has announced it.
        self.recovery: Recovery | None = None
        #: Whether the files are forced to the device each second.
        self.syncs = False
        self.users = 0
        self._released = False
        self._faults: tuple[object, ...] = ()
        self._rotating: dict[str, RotatingFile] = {}
        self._recoverer = Recoverer(self, self._sink, monotonic)
        self._next_sync = self._next_look = self._next_service = 0.0
        self._drain_lock = Mutex()
        self._draining = self._again = self._insist = self._wants_sync = self._wants_archive = False
        # Numbers go on when the last logger of a directory closes and another opens: they never repeat in a process.
        self.sequence = Count(1) if path is None else _sequences.setdefault(str(path), Count(1))
        on_fork(self)

    def allow(self, journal_size: int) -> None:
        """Let at least *journal_size* bytes wait."""
        self.journal.limit = max(self.journal.limit, _allocation(journal_size))

    def file(self, name: str, policy: RotationPolicy, *, durable: bool = False) -> LogFile:
        """Return the file *name*, made with *policy* when it is new; the first policy stays in force.

        Args:
            name: Its name in the directory.
            policy: When it is rotated.
            durable: Whether it is forced to the device before it is rotated away.
        """
        file = self.files.get(name)
        if file is None:
            sink = self._rotating[name] = self._sink(name, policy)
            lane, lock = self.journal.lane(name), self._drain_lock
            file = LogFile(sink, lane, self._stranded, self._monotonic, lock, sink.already)
            self.archivist.bases |= {name}
            if policy.compress:
                self.archivist.compressed |= {name}
            self.files = {**self.files, name: file}
            self._next_look = 0.0  # so that it is made at once: a new directory shows its three files
        elif self._rotating[name].policy != policy:
            text = f"{name} is open already with other rotation settings, which stay in force for all its loggers"
            self.diagnostics.report(f"settings {name}", text, level="warning")
        self._rotating[name].durable |= durable
        return file

    # -- listeners --------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Have *listener* told and served, and the writing thread at work, until `forget`."""
        self.listeners.add(listener)
        writing_thread.add(self)

    def forget(self, listener: Listener, patience: float = 0.0) -> None:
        """Tell and serve *listener* no longer.

        Args:
            listener: Who listened.
            patience: Longest wait for the writing thread, in seconds, when it ends with this listener.
        """
        self.listeners.remove(listener)
        if not self.listeners.all:
            writing_thread.remove(self, patience)

    def serve(self) -> bool | None:
        """Drain, and serve the listeners that have asked for it. A new state of the directory concerns all of them.

        Returns:
            Whether there is more to do at once; None if it was not drained. An exception is the writing thread's end.
        """
        drained = self.drain()
        if self.path is not None:
            self._inbox.serve(self.listeners.obey)
        stderr.stream.push()
        before, due = self._faults, self._monotonic() >= self._next_service
        if due:
            self._next_service = self._monotonic() + _SERVICE
            self._faults = self.error, self.journal.starved, writing_thread.hangs_in(self)
        more = self.listeners.serve(everyone=self.recovery is not None or self._faults != before, regular=due)
        if not self.empty and self.error is None:  # they have announced something
            self.drain()
        return more if drained else None

    def advance(self) -> bool:
        """Write what stands in segments that are full, and have others ready. Returns False: the rest is for a pass."""
        if self._drain_lock.acquire(timeout=_PATIENCE):
            try:
                for file in self.files.values():
                    if file.lane.only is None and file.lane.in_use and not self._draining:
                        file.drain(full=True)
            finally:
                self._drain_lock.release()
        self._tell()
        return False

    def close(self) -> None:
        """Close all loggers, the latest first."""
        for listener in reversed(self.listeners.all):
            listener.close()

    def thread_lost(self, error: BaseException) -> None:
        """Report that there is no writing thread: from here on each call writes by itself."""
        self.diagnostics.report("thread", "the writing thread is lost; each call writes by itself", error=error)
        self.thread_changed()
        self.drain()  # what the listeners have announced

    def thread_changed(self) -> None:
        """Tell the listeners that the writing thread has come or gone."""
        self._tell(always=True)
        self.listeners.serve(everyone=True)

    def give_back_locks(self) -> None:
        """Give back what this thread, which ends, still holds: see `give_back_all`."""
        give_back_all(self._drain_lock)
        self.lock.give_back()

    def _tell(self, *, always: bool = False) -> None:
        self.listeners.tell(self.filled, self.error, always=always)

    def _grown(self) -> None:
        # On a caller's thread, once per segment: in a burst the usual pass would come too late.
        self._tell(always=True)
        writing_thread.advance(self)

    def _stranded(self, lines: list[bytes]) -> None:
        self.listeners.show(lines, self.error)

    # -- what waits -------------------------------------------------------------------------------------------

    def waiting_lines(self, *, durable: bool = False) -> list[bytes]:
        """Return all lines that wait; one that goes to several files comes as often. By any thread.

        Args:
            durable: Only those that would survive the process.
        """
        lines: list[bytes] = []
        for file in self.files.values():
            with contextlib.suppress(ValueError):  # drained and given back meanwhile
                lines += file.lines(durable=durable)
        return lines

    @property
    def filled(self) -> int:
        """How many bytes may wait before the listeners are told again."""
        return self.journal.used() + sum([file.lane.open_room for file in self.files.values()])

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not sum([file.lane.waiting for file in self.files.values()])

    @property
    def error(self) -> OSError | None:
        """Why a file takes nothing at the moment, or None."""
        return next(iter([file.error for file in self.files.values() if file.error is not None]), None)

    def has_work(self) -> bool:
        """Return whether something waits to be written, to be forced to the device, or for a listener."""
        waits = not self.empty or (self.syncs and any(file.needs_sync for file in self.files.values()))
        return waits or self.listeners.has_work() or not stderr.stream.clear

    def regular_files(self) -> list[tuple[Any, ...]] | None:
        """Return what the core needs to append to each file (see `LogFile.regular`); None if there is more to do."""
        asked = self._insist or self._wants_sync or self._wants_archive
        if asked or self.syncs or self.recovery is not None or self.listeners.has_work() or not stderr.stream.clear:
            return None
        rotates = self.archivist.budget is None  # which must be met after each rotation
        found = [file.regular(rotates=rotates) for file in self.files.values()]
        return None if None in found else [file for file in found if file]

    def rest(self) -> bool:
        """Have the next entry stir the writing thread, unless there is work. Returns whether it will."""
        if not self.has_work():
            for file in self.files.values():
                file.lane.rest()
        return not self.has_work()

    # -- out --------------------------------------------------------------------------------------------------

    def request(
        self, *, insist: bool = False, sync: bool = False, archive: bool = False, recovery: bool = False
    ) -> None:
        """Ask the next `drain` to do more.

        Args:
            insist: Try also files that pause after an error.
            sync: Force all to the device.
            archive: Tidy the backups.
            recovery: Bring in what was left by processes that have died meanwhile.
        """
        if recovery:
            self._recoverer.ask()
        self._insist = self._insist or insist
        self._wants_sync = self._wants_sync or sync
        self._wants_archive = self._wants_archive or archive

    def write_through(self, files: Iterable[LogFile], otherwise: Callable[[], object], _: bytes = b"") -> None:
        """Write, on the calling thread, what waits for *files*; call *otherwise* where that is not regular."""
        done = not self._draining and not writing_thread.must_not_wait
        for file in files:
            done = done and file.write_now()
        if not done:
            otherwise()

    def keep(self, route: Route, line: bytes) -> bool:
        """Put an entry into the journal or, when that has no memory at all for one of its files, straight into them.

        Returns:
            Whether that was possible.
        """
        if keep(route, line):
            return True
        if not self.journal.starved or all(lane.segments() for lane in route.lanes) or writing_thread.must_not_wait:
            return False
        if not self._drain_lock.acquire(timeout=_PATIENCE):
            return False
        try:
            number = next(route.numbers)
            line = renumbered(line, number)
            files = [file for file in self.files.values() if file.lane in route.lanes]
            taken = sum([file.write_past_journal(line) for file in files])
            if not taken:
                route.numbers.give_back(number)
        finally:
            self._drain_lock.release()
        if taken:
            complete(route, line, taken)
        return bool(taken)

    def drain(self) -> bool:
        """Write what waits for all files; return False if another thread is at it for too long. Errors are reported."""
        self._again = True
        # The holder of this lock may have been interrupted by a caller that waits for us: it goes on when it is back.
        if not self._drain_lock.acquire(timeout=_PATIENCE):
            return False
        try:
            # A signal handler or __del__ that comes here while its thread is inside leaves its entry to the outer call.
            while self._again and not self._draining:
                self._again = False
                self._draining = True
                try:
                    self._recover()
                    self._drain_files()
                finally:
                    self._draining = False
        finally:
            self._drain_lock.release()
        self._tell()
        return True

    def _drain_files(self) -> None:
        now = self._monotonic()
        insist, self._insist = self._insist, False
        sync, self._wants_sync = self._wants_sync or (self.syncs and now >= self._next_sync), False
        look = now >= self._next_look
        if look:
            self._next_look = now + _LOOK
            self.journal.check()
        for file in self.files.values():
            failures = file.failures
            if not file.lane.empty or file.error is not None:
                file.drain(insist=insist)
            elif look:
                file.look()
            if file.failures > failures:
                self.diagnostics.report(f"write {self.path}", "log files cannot be written", error=file.error)
        if sync:
            self._next_sync = now + _SYNC_INTERVAL
            self._sync()
        if self._wants_archive or (look and self.archivist.waits):
            self._wants_archive = False
            self.archivist.poke()
        self.diagnostics.summarise()

    def _sync(self) -> None:
        try:
            for file in self.files.values():
                file.sync()
        except OSError as error:
            self.diagnostics.report(f"fsync {self.path}", "log files cannot be forced to the device", error=error)

    def release(self, patience: float = 0.0) -> None:
        """Write what came last, close files, journal and lock, and report what is left to report.

        A write that takes longer than *patience* keeps them. Lines that no file took stay in the journal for the next
        start.
        """
        writing_thread.let_go(_PATIENCE)
        if self._drain_lock.acquire(timeout=patience):
            try:
                for file in self.files.values():
                    file.lane.shut()
                    if not file.empty:
                        file.drain(insist=True)
                    file.sink.close()
                self.journal.close()
                self.lock.close()
                self._released = True
            finally:
                self._drain_lock.release()
        self.diagnostics.summarise(final=True)

    def _recover(self) -> None:
        """Bring in what dead processes left, at first and when asked to."""
        if self._rotating and (found := self._recoverer.serve(next(iter(self._rotating.values())).policy)) is not None:
            if self.recovery is not None:  # not announced yet
                found.add(self.recovery)
            self.recovery = found

    # -- fork -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Have each call see by itself whether there is a thread again."""
        self._tell(always=True)

    def after_fork_in_parent(self) -> None:
        """Go on with the backups."""
        self.request(archive=True)

    def after_fork_in_child(self) -> None:
        """Start anew in a child: what waits is the parent's to write, and so are its locks and descriptors."""
        if self._released:
            return
        self._drain_lock = Mutex()
        self._draining = False
        self.lock.after_fork()
        self.archivist.after_fork_in_child()
        self.diagnostics.after_fork()
        self.sequence = Count(1)
        if self.path is not None:
            _sequences[str(self.path)] = self.sequence
        self.journal.after_fork()
        self._recoverer.leave()  # to the parent, if it has not done it
        for file in self.files.values():
            file.lock = self._drain_lock
            file.sink.close()
        for listener in self.listeners.all:
            listener.after_fork_in_child()

    # -- parts ------------------------------------------------------------------------------------------------

    def _sink(self, name: str, policy: RotationPolicy) -> RotatingFile:
        return RotatingFile(
            self.root / name,
            policy,
            self.lock,
            calls=self._calls,
            on_rotated=self.archivist.note,
            on_trouble=partial(self._rotation_trouble, name),
        )

    def _rotation_trouble(self, name: str, error: OSError) -> None:
        if self.archivist.busy:  # on Windows our own reading may stand in the way; then the next try will do
            return
        text = f"{name} cannot be rotated and goes on growing; tried again every few seconds"
        self.diagnostics.report(f"rotate {name}", text, level="warning", error=error)

    def _trouble(self, kind: str, text: str, error: OSError | None = None) -> None:
        self.diagnostics.report(f"{kind} {self.path}", text, level="warning", error=error)

    def _lock_trouble(self, error: OSError) -> None:
        self._trouble("lock", f"{self.path} knows no file locks; only one process should log there", error)


def _allocation(journal_size: int) -> int:
    return journal_size + _SLACK * max(SMALLEST_SEGMENT, min(journal_size // SHARE, USUAL_SEGMENT))
