"""What one `MetaLogger` stands on: gates, the way of an entry into its files and to the console, flush and close.

Bound and overflow: at most `journal_size` bytes of a directory wait to be written (see `metaexpert.logger.accounts`).
With ``drop_low`` a call never waits. With ``block`` a call first waits up to `overflow_timeout`. What was dropped is
counted by level and announced in the log by ``log.dropped``; trades and errors go to standard error.

Threads: every method may be called by any thread. The writing thread does the writing (see
`metaexpert.logger.drainer`); who must not go on before it is done waits for a turn of that thread, holding no lock.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from structlog.exceptions import DropEvent
from structlog.typing import EventDict

from metaexpert.logger import schema
from metaexpert.logger.accounts import ALL_SHARES, CLOSED, Accounts, by_level, share_of
from metaexpert.logger.config import LoggerConfig
from metaexpert.logger.diagnostics import Diagnostics
from metaexpert.logger.directory import LogDirectory, leave_directory, open_directory
from metaexpert.logger.drainer import drainer
from metaexpert.logger.formatters import Clock, Entry, Header, encoder
from metaexpert.logger.fused import Recipe, Way, deliver, never
from metaexpert.logger.handlers import stderr
from metaexpert.logger.handlers.console import ConsoleHandler, Printer
from metaexpert.logger.handlers.rotation import RotationPolicy
from metaexpert.logger.lanes import Lane
from metaexpert.logger.masking import Guard, Rules, mask_text
from metaexpert.logger.news import News
from metaexpert.logger.outlets import Outlets
from metaexpert.logger.processors import CALLER_EVENT, EVENT, CleanValues, chain
from metaexpert.logger.routing import (
    ALERTS,
    CONSOLE,
    ERRORS,
    EXPERT,
    EXPORT,
    FILES,
    REMOTE,
    ROUTE_NAMES,
    TRADES,
    Routing,
)
from metaexpert.logger.schema import CATEGORY, LEVEL_NUMBERS, TRADE
from metaexpert.logger.traces import Tracing
from metaexpert.logger.values import Cleaner, dumps

_SYNC_INTERVAL: Final = 1.0
#: Longest wait of `close` for the compression of backups when no timeout is given.
_ARCHIVE_PATIENCE: Final = 60.0
#: Longest wait of `close` for a write that is under way after the last flush.
_END_PATIENCE: Final = 5.0
#: And the least: a thread that only comes to its end should not be taken for one that hangs.
_LEAST_PATIENCE: Final = 0.5
#: Longest wait of a new logger for its files to be made; a dead network file system must not keep the program.
_OPEN_PATIENCE: Final = 5.0
#: Between two tries of one who waits for room or for a file, in seconds.
_PAUSE: Final = 0.05
#: More than a header can have: the fused call leaves longer lines to the encoder, which knows how to cut.
_HEADER_ROOM: Final = 1024
_NO_THREAD: Final = "no writing thread, each call writes by itself"
_HANGS: Final = "a write does not return"


class Captured(Protocol):
    """What brings foreign records into a pipeline: told of its level and of its end."""

    def set_level(self, number: int) -> None:
        """Take records from this level up."""
        ...

    def release(self) -> None:
        """Put back what was there before."""
        ...


class Pipeline:
    """The way of the entries of one `MetaLogger`.

    Args:
        config: Valid configuration.
        now: Nanoseconds since the epoch; a test passes a clock of its own.
    """

    def __init__(self, config: LoggerConfig, now: Callable[[], int] = time.time_ns) -> None:
        self.config = config
        self._clock = Clock(now)
        config.register_secrets()
        expert_name = mask_text(config.expert_name)
        self._header = Header(expert_name, config.facility)
        self._encode = encoder(config.layout, config.enterprise_id, config.max_entry_size)
        self._expert_name = Cleaner(config.max_value_length, 1).key(expert_name)
        self.rules = Rules(shapes=config.mask_secrets, extra_keys=config.extra_secret_keys)
        self._tracing = Tracing(config)
        limits = config.max_value_length, config.max_entry_size // 2
        self.processors = chain(config.processors or [], *limits, self.finish, self.rules, self._tracing.first)
        self.fallback = chain([], *limits, self.finish, self.rules)
        self.routing = Routing(config)
        self._header_mark = dumps(self._header.appname)[1:-1]
        self._directory: LogDirectory | None = None
        self._lanes: list[tuple[int, Lane]] = []
        self._accounts = Accounts(config.journal_size, self._used, self._pending)
        self._last_number = 1
        self._next_sync = 0.0
        self._closing = threading.RLock()
        self._complete = self._released = False
        self._calm = ALL_SHARES
        self._broken = False
        self.closed = False
        #: Errors that log calls could do nothing with, not even count them: they had no room on the stack.
        self.stumbles: deque[Exception] = deque()
        self._untold: deque[tuple[str, BaseException]] = deque()
        #: What was put into `logging` and `warnings` for this pipeline, if anything.
        self.capture: Captured | None = None
        limit = min(config.max_value_length, config.max_entry_size - _HEADER_ROOM)
        self.recipe = Recipe(self._expert_name, limit, CleanValues(*limits, self.rules).fields, now, self.rules)
        tallies = self._accounts.tallies
        self.ways = {
            (word, trade): Way(
                word, trade=trade, count=tallies[word].up, lost=self._lost, stumbled=self.stumbles.append
            )
            for word in LEVEL_NUMBERS
            for trade in (False, True)
        }
        self._open()
        self.processors.on_change = self.refresh

    def _open(self) -> None:
        config = self.config
        if config.log_to_file:
            self._directory = open_directory(config.log_dir, self._header, config.journal_size)
            self._open_files(self._directory)
            self._directory.watch(self)
        self.diagnostics = self._directory.diagnostics if self._directory else Diagnostics(None, self._header)
        self._own_sequence = itertools.count(1)
        as_json = config.json_logging or config.console_format == "json"
        console = ConsoleHandler("json" if as_json else "text", on_trouble=self._console_trouble)
        self._printer = Printer(console, self._skipped_note)
        place = None if self._directory is None else self._directory.path
        self.outlets = Outlets(config, place, self._remote_trouble, self._notice)
        self.routing.alert_level, self.routing.exports = self.outlets.alert_level, self.outlets.exports
        self._news = News(self._accounts, self._clock, self._directory, self.diagnostics, self._announce)
        drainer.add(self)
        self.refresh()
        if self._directory is not None:
            self._work(_OPEN_PATIENCE)
        self.outlets.start()
        if self.outlets.metrics is not None:
            self.outlets.metrics.add(self, config.expert_name)

    def _open_files(self, directory: LogDirectory) -> None:
        config, archivist = self.config, directory.archivist
        policy = RotationPolicy(config.max_file_size, config.backup_count, config.rotate_when, config.compress_backups)
        names = ((EXPERT, config.log_file), (TRADES, config.log_trade_file), (ERRORS, config.log_error_file))
        self._lanes = [(route, directory.lane(name, policy)) for route, name in names]
        if config.max_total_size is not None:
            archivist.budget = min(config.max_total_size, archivist.budget or config.max_total_size)
        if config.fsync != "never":
            directory.keep_durable()
        directory.request(archive=True)

    # -- an entry's way in -------------------------------------------------------------------------------------

    def set_level(self, level: int) -> None:
        """Set `log_level`; the console follows unless it has a level of its own."""
        self.routing.set_level(level)
        if self.capture is not None:
            self.capture.set_level(level)
        self.refresh()

    # -- the fast way (see `metaexpert.logger.fused`) -----------------------------------------------------------

    def refresh(self) -> None:
        """Have the fused calls find everything as it is now: levels, room, thread, process, processors."""
        for (word, trade), way in self.ways.items():
            routes = self.routing.routes(LEVEL_NUMBERS[word], trade=trade)
            if self.closed or not routes & FILES or self.config.layout != "flat" or not self.processors.untouched:
                way.check = never
            else:
                calm = share_of(word, trade=trade) in self._calm
                room = None if calm else functools.partial(self._accounts.has_room, word, trade=trade)
                way.check = self._tracing.check(room)
            way.head = self._head(word, trade)
            way.lanes = tuple(lane.journal for route, lane in self._lanes if routes & route)
            if self._directory is not None:
                way.number = self._directory.sequence.__next__
                way.count = self._accounts.tallies[word].up if routes & FILES else _count_nothing
            way.after = self._after(routes)

    def _head(self, word: str, trade: bool) -> bytes:
        msgid = schema.MSGID_TRADE if trade else schema.MSGID_LOG
        stamped = dumps(self._header.stamp("", word, msgid, 0, ""))
        return b"Z" + stamped[len(b'{"timestamp":"') : -len(b'0,"message":""}')]

    def _after(self, routes: int) -> Callable[[bytes], None] | None:
        if routes & (REMOTE | CONSOLE) == EXPORT and not self._is_more_to_do(routes & ~EXPORT):
            return self.outlets.export
        if self._is_more_to_do(routes):
            return functools.partial(self._settle, routes)
        return self._printer.put if routes & CONSOLE else None

    def _is_more_to_do(self, routes: int) -> bool:
        """Return whether more is to be done with an entry that was taken than to print it."""
        must_wait = self.synchronous or (self.config.fsync == "trades" and bool(routes & TRADES))
        return must_wait or self._broken or not drainer.running or bool(routes & (ERRORS | REMOTE))

    def grown(self) -> None:
        """Look how much waits, and whether the files take it (see `metaexpert.logger.directory.Watcher`)."""
        directory = self._directory
        if directory is None:
            return
        room = sum(lane.journal.open_room for lane in list(directory.lanes.values()))
        calm, broken = self._accounts.calm(room), directory.error is not None
        if (calm, broken) != (self._calm, self._broken):
            self._calm, self._broken = calm, broken
            self.refresh()

    def _used(self) -> int:
        return 0 if self._directory is None else self._directory.journal.used()

    def _pending(self) -> Counter[str]:
        return Counter() if self._directory is None else by_level(self._directory.waiting_lines(), self._header_mark)

    def finish(self, output: Any, method: str, event_dict: EventDict) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Stamp, encode and route a clean event: the last processor of the chain.

        Raises:
            DropEvent: The entry goes nowhere, there is no room for it, or the logger is closed.
        """
        level = method if method in LEVEL_NUMBERS else "info"
        trade = event_dict.get(CATEGORY) == TRADE
        routes = self.routing.routes(LEVEL_NUMBERS[level], trade=trade)
        # What a level asks for goes out with the entry (`_settle`); what a call asks for, here.
        alert = self.routing.alert_level is not None and not routes & ALERTS and event_dict.get(schema.ALERT) is True
        if not routes and not alert:
            raise DropEvent
        if self.closed or (routes & FILES and not self._admit(level, trade)):
            entry = self._stamped(output.name, level, trade, event_dict, counted=False)
            self._turned_away(entry, level, trade, routes)
            raise DropEvent
        line = self._encode(self._stamped(output.name, level, trade, event_dict, counted=bool(routes & FILES)))
        if alert:
            self.outlets.put(line, ALERTS)
        if not routes:
            raise DropEvent
        return (line, self.ways[level, trade]), {}

    def accept(self, line: bytes, way: Way) -> None:
        """Take an encoded entry: put it into the journal, and wait until it is written if the configuration says so."""
        deliver(way, line)

    def _settle(self, routes: int, line: bytes) -> None:
        """Do what is left to do with an entry that was taken."""
        if routes & CONSOLE:
            self._printer.put(line)
        if routes & REMOTE:
            self.outlets.put(line, routes)
        self._show_if_stranded(line, routes)
        if self.config.fsync == "trades" and routes & TRADES and self._directory is not None:
            self._directory.request(insist=True, sync=True)
            self._work()
        elif self.synchronous:
            self._work()
        elif not drainer.running:  # in a forked child
            drainer.ensure()
            if drainer.unavailable:
                self._work()
            self.refresh()
        elif routes & ERRORS:
            drainer.wake()
        elif not self._is_more_to_do(routes):  # a fork is over
            self.refresh()

    def _put(self, line: bytes, level: str, routes: int) -> None:
        taken = [lane.put(line) for route, lane in self._lanes if routes & route]
        if any(taken) or self._directory is None:
            self._accounts.tallies[level].up()
        if routes & CONSOLE:
            self._printer.put(line)
        self.outlets.put(line, routes)

    def _lost(self, line: bytes, taken: int) -> None:
        """Count an entry that not all of its files will get: there is no memory, or the logger closed meanwhile."""
        entry = json.loads(line)
        level, trade = entry["level"], entry["msgid"] == schema.MSGID_TRADE
        if taken:
            self.failed("an entry could not be kept for all of its files", MemoryError("no room in the journal"))
        else:
            self._turned_away(entry, level, trade, self.routing.routes(LEVEL_NUMBERS[level], trade=trade) & FILES)

    @property
    def synchronous(self) -> bool:
        """Whether an entry is in its files when the call returns."""
        return drainer.unavailable or not self.config.async_logging

    def _work(self, timeout: float | None = None) -> bool:
        """Have everything written that waits, by the writing thread or, when there is none, here.

        Returns:
            Whether that was tried to the end within *timeout* seconds.
        """
        served = drainer.turn(timeout)
        if drainer.hangs:
            self._tell_news()
        if served is None:
            try:
                self.tick()
            except Exception as error:  # it must neither reach the caller nor seem that the entry was not taken
                self.failed("entries could not be written", error)
        return served is not False

    def _announce(self, level: str, message: str, **fields: Any) -> None:
        """Queue an entry of the logger's own, such as ``log.dropped``, past gates and processors."""
        cleaner = Cleaner(self.config.max_value_length, 1000, Guard(self.rules))
        event: EventDict = {EVENT: message, **cleaner.clean(fields)}
        entry = self._stamped("metaexpert.logger", level, False, event, counted=self._directory is not None)
        self._put(self._encode(entry), level, self.routing.own_routes(LEVEL_NUMBERS[level]))

    def failed(self, message: str, error: BaseException) -> None:
        """Count and tell an entry that could not be logged as it was meant."""
        self._accounts.failed += 1
        self.tell(message, error)

    def tell(self, message: str, error: BaseException) -> None:
        """Tell, now or soon, what happened to an entry that was counted already."""
        try:
            self.diagnostics.report(f"entry {type(error).__name__}", message, error=error)
        except Exception:  # no room on the stack, perhaps; the writing thread has some
            self._untold.append((message, error.with_traceback(None)))

    def _tell_stumbles(self) -> None:
        with contextlib.suppress(IndexError):  # another thread is at it too
            while self.stumbles:
                self.failed("a log call met an error, and its entry may be missing", self.stumbles.popleft())
            while self._untold:
                self.tell(*self._untold.popleft())

    def _stamped(self, name: str | None, level: str, trade: bool, event_dict: EventDict, *, counted: bool) -> Entry:
        timestamp = self._clock()
        # An entry for the console alone repeats the last number, so that the files together have no gap.
        if counted or self._directory is None:
            self._last_number = next(self._directory.sequence if self._directory else self._own_sequence)
        number = self._last_number
        msgid = schema.MSGID_TRADE if trade else schema.MSGID_LOG
        entry = self._header.stamp(timestamp, level, msgid, number, event_dict.pop(EVENT, ""))
        if name:
            entry[schema.LOGGER_KEY] = self.rules.mask(name)[0]
        entry["expert_name"] = self._expert_name
        if CALLER_EVENT in event_dict and EVENT not in event_dict:
            event_dict = {EVENT if key == CALLER_EVENT else key: value for key, value in event_dict.items()}
        entry.update(event_dict)
        return entry

    # -- room -------------------------------------------------------------------------------------------------

    def _admit(self, level: str, trade: bool) -> bool:
        if self._accounts.has_room(level, trade=trade):
            return True
        if self.config.overflow != "block" or drainer.within:
            return False
        deadline = time.monotonic() + self.config.overflow_timeout
        while (left := deadline - time.monotonic()) > 0:
            self._work(left)
            if self._accounts.has_room(level, trade=trade):
                return True
            time.sleep(min(_PAUSE, left))
        return False

    def _turned_away(self, entry: Entry, level: str, trade: bool, routes: int) -> None:
        """Count an entry that was refused, and show what must not go unseen."""
        files_work = self._directory is None or self._directory.error is None
        if self.closed:
            self._accounts.drop(level, [CLOSED])
            if LEVEL_NUMBERS[level] >= schema.WARNING:
                stderr.print_entry(json.loads(self._encode(entry)))
            return
        self._accounts.drop(level, [name for route, name in ROUTE_NAMES if routes & route])
        self.outlets.put(self._encode(entry), routes)
        grave = trade or LEVEL_NUMBERS[level] >= schema.ERROR
        if routes & CONSOLE and (grave or not files_work):
            self._printer.put(self._encode(entry))
        elif grave:
            stderr.print_entry(json.loads(self._encode(entry)))

    # -- the way out ------------------------------------------------------------------------------------------

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Print errors and trades of ours that no file takes, unless the console shows them (see `Watcher`)."""
        mark = b'"appname":"' + self._header_mark + b'"'
        for line in self._directory.unshown(lines) if self._directory else ():
            if mark not in line:
                continue
            entry = json.loads(line)
            number = LEVEL_NUMBERS[entry["level"]]
            if not self.routing.shows(number) and (entry["msgid"] == schema.MSGID_TRADE or number >= schema.ERROR):
                stderr.print_entry(entry)

    def _show_if_stranded(self, line: bytes, routes: int) -> None:
        if routes & (TRADES | ERRORS) and self._directory is not None and self._directory.error is not None:
            self.stranded([line.rstrip()])

    def tick(self) -> bool:
        """Write what waits, print some of what waits, and do what is due (see `drainer.Drained`)."""
        if self._directory is not None:
            if self.config.fsync == "interval" and time.monotonic() >= self._next_sync:
                self._next_sync = time.monotonic() + _SYNC_INTERVAL
                self._directory.request(sync=True)
            self._directory.drain()
        self._tell_stumbles()
        if self._tell_news() and self._directory is not None:
            self._directory.drain()
        self.outlets.ensure()
        stderr.outlet.push()
        return self._printer.tick()

    def _tell_news(self) -> bool:
        """Announce what is new about the log itself. Returns whether there was something."""
        error = self._directory.error if self._directory else None
        reason = (error.strerror or type(error).__name__) if error else _NO_THREAD if drainer.lost else None
        reason = reason or (_HANGS if drainer.hangs else None)
        return self._news.tell(reason, self.outlets.dropped())

    def flush(self, timeout: float | None = None) -> bool:
        """Write everything logged so far. Returns whether all of it is in the files.

        Args:
            timeout: Longest time in seconds to try; None for one determined try.
        """
        return self._flush(None if timeout is None else time.monotonic() + timeout)

    def _flush(self, deadline: float | None) -> bool:
        while True:
            if self._directory is not None:
                self._directory.request(insist=True, sync=self.closed and self.config.fsync != "never")
            done = self._work(_left(deadline)) and all(lane.error is None for _, lane in self._lanes)
            left = _left(deadline)
            if done or not left:
                return done
            time.sleep(min(_PAUSE, left))

    def close(self, timeout: float | None = None) -> bool:
        """Flush, stop and release. Idempotent; returns whether everything is in the files."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._closing:
            if not self._released:
                self._flush(deadline)
                self.closed = True
                self.refresh()
                self._complete = self._flush(deadline)
                if self.capture is not None:
                    self.capture.release()
                self._release(timeout)
            return self._complete

    def _release(self, timeout: float | None) -> None:
        # A write that hangs has had its time; the thread that does it is left behind.
        impatient = not self._complete and timeout is not None
        patience = max(timeout or 0.0, _LEAST_PATIENCE) if impatient else _END_PATIENCE
        patience = min(patience, _END_PATIENCE)
        drainer.remove(self, patience)
        self._released = True
        self._printer.finish()
        self.outlets.close(timeout)
        if self.outlets.metrics is not None:
            self.outlets.metrics.retire(self)
        self._complete = self._complete or all(lane.empty for _, lane in self._lanes)
        if not self._complete:
            self._report_unwritten()
        if self._directory is not None:
            self._directory.forget(self)
            self._directory.archivist.wait(_ARCHIVE_PATIENCE if timeout is None else timeout)
            leave_directory(self._directory, patience)
        else:
            self.diagnostics.summarise(final=True)

    def _report_unwritten(self) -> None:
        unwritten = self._accounts.settle()
        self._accounts.failed += unwritten
        lines = self._directory.waiting_lines(durable=True) if self._directory else []
        kept = sum(by_level(lines, self._header_mark).values())
        which = "them" if kept == unwritten else f"{kept} of them"
        fate = f"; the next start brings {which} in from the journal" if kept else ""
        self.diagnostics.report("close", f"closed with {unwritten} entries that no file took{fate}")

    def _skipped_note(self, skipped: int) -> bytes:
        event: EventDict = {EVENT: "log.skipped", "skipped": skipped}
        return self._encode(self._stamped("metaexpert.logger", "warning", False, event, counted=False))

    def _notice(self, level: str, message: str) -> dict[str, Any]:
        """Return an entry that is for a channel alone."""
        entry = self._header.stamp(self._clock(), level, schema.MSGID_LOG, self._last_number, message)
        return {**entry, "expert_name": self._expert_name}

    def _remote_trouble(self, kind: str, message: str) -> None:
        self.diagnostics.report(kind, message, level="warning")

    def _console_trouble(self, error: Exception) -> None:
        text = "the console does not work and is switched off; the files go on"
        self.diagnostics.report("console", text, level="warning", error=error)

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """``ok``, ``degraded: <reason> since <when>``, or ``closed``."""
        return "closed" if self.closed else self._news.health

    def stats(self) -> dict[str, Any]:
        """Return counts since the start: see `BoundLogger.stats`."""
        self._tell_stumbles()
        counts = {"state": self.health, **self._accounts.report()}
        if self._printer.skipped:
            counts["dropped_by_route"]["console"] = self._printer.skipped
        return counts | self.outlets.stats()

    # -- the writing thread and fork (see `drainer.Drained`) ---------------------------------------------------

    def thread_lost(self, error: BaseException) -> None:
        """Say so; each call writes by itself from now on (see `synchronous`)."""
        self.diagnostics.report("thread", "the writing thread is lost; each call writes by itself", error=error)
        self.refresh()
        self._tell_news()

    def thread_found(self) -> None:
        """Say so."""
        self.refresh()
        self._tell_news()

    def has_work(self) -> bool:
        """Whether something waits to be written, printed or forced to the device."""
        waits = any(not lane.empty or (lane.needs_sync and self.config.fsync != "never") for _, lane in self._lanes)
        return waits or not self._printer.empty

    def before_fork(self) -> threading.Thread | None:
        """End the thread that compresses (see `drainer.Drained`)."""
        self.refresh()  # each call looks now whether there is a thread again
        return None if self._directory is None else self._directory.archivist.pause()

    def after_fork_in_parent(self) -> None:
        """Allow it again."""
        if self._directory is not None:
            self._directory.archivist.resume()
            self._directory.request(archive=True)

    def after_fork_in_child(self) -> None:
        """Start anew: own process id, own locks, nothing of what waits in the parent."""
        self._accounts.after_fork()
        self._closing = threading.RLock()
        self._printer.after_fork()
        self.outlets.after_fork()
        stderr.outlet.after_fork()
        self._header.refresh()
        self._own_sequence = itertools.count(1)
        self.diagnostics.after_fork()
        self._calm = ALL_SHARES
        self.refresh()


def _count_nothing() -> int:
    return 0


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)
