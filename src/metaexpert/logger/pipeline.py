"""What one `MetaLogger` stands on: gates, the way of an entry into its files and to the console, flush and close.

Bound and overflow: at most `journal_size` bytes of a directory wait to be written (see `metaexpert.logger.counts`).
With ``drop_low`` a call never waits. With ``block`` a call first waits up to `overflow_timeout`. What was dropped is
counted by level and announced in the log by ``log.dropped``; trades and errors go to standard error.

Threads: every method may be called by any thread. The writing thread does the writing (see
`files.writing_thread`); who must not go on before it is done waits for a turn of that thread, holding no lock.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from structlog.exceptions import DropEvent
from structlog.typing import EventDict

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.counts import ALL_SHARES, CLOSED, Counts, share_of
from metaexpert.logger.display import Display
from metaexpert.logger.encoding.fast import Encoder, Route, never
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.encoding.processors import CleanValues, chain
from metaexpert.logger.encoding.trace_ids import Tracing
from metaexpert.logger.files.writing_thread import drainer
from metaexpert.logger.health import News
from metaexpert.logger.logger_files import Files
from metaexpert.logger.masking.rules import Rules, mask_text
from metaexpert.logger.mishaps import Mishaps
from metaexpert.logger.outputs import Outlets
from metaexpert.logger.routing import ALERTS, CONSOLE, ERRORS, EXPORT, FILES, REMOTE, ROUTE_NAMES, TRADES, Routing
from metaexpert.logger.schema import CATEGORY, LEVEL_NUMBERS, TRADE
from metaexpert.logger.stamping import Stamper

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


class Captured(Protocol):
    """What brings foreign records into a pipeline: told of its level and of its end."""

    def set_level(self, number: int) -> None:
        """Take records from this level up."""
        ...

    def release(self) -> None:
        """Put back what was there before."""
        ...


class Pipeline:
    """The route of the entries of one `MetaLogger`.

    Args:
        config: Valid configuration.
        now: Nanoseconds since the epoch; a test passes a clock of its own.
    """

    def __init__(self, config: LoggerConfig, now: Callable[[], int] = time.time_ns) -> None:
        self.config = config
        config.register_secrets()
        self.rules = Rules(shapes=config.mask_secrets, extra_keys=config.extra_secret_keys)
        self.routing = Routing(config)
        self._tracing = Tracing(config)
        limits = config.max_value_length, config.max_entry_size // 2
        self.processors = chain(config.processors or [], *limits, self.finish, self.rules, self._tracing.first)
        self.fallback = chain([], *limits, self.finish, self.rules)
        header = Header(mask_text(config.expert_name), config.facility)
        self.files = Files(config, header)
        self._stamper = Stamper(config, header, self.files, self.rules, now)
        self._counts = Counts(config.journal_size, self.files.used, self.files.pending)
        self._display = Display(config, self.routing, self._stamper, self.files)
        self.mishaps = Mishaps(self._counts, self.files.diagnostics)
        self._closing = threading.RLock()
        self._complete = self._released = False
        self._calm = ALL_SHARES
        self._broken = False
        self.closed = False
        #: What was put into `logging` and `warnings` for this pipeline, if anything.
        self.capture: Captured | None = None
        limit = min(config.max_value_length, config.max_entry_size - _HEADER_ROOM)
        self.encoder = Encoder(
            self._stamper.expert_name, limit, CleanValues(*limits, self.rules).fields, now, self.rules
        )
        self.routes = {(word, trade): self._way(word, trade=trade) for word in LEVEL_NUMBERS for trade in (False, True)}
        self._open()
        self.processors.on_change = self.refresh

    def _way(self, word: str, *, trade: bool) -> Route:
        count, failed = self._counts.accepted_counts[word].up, self.mishaps.errors.append
        return Route(word, trade=trade, count=count, lost=self._lost, failed=failed)

    def _open(self) -> None:
        config = self.config
        place = None if self.files.directory is None else self.files.directory.path
        self.outlets = Outlets(config, place, self._remote_trouble, self._stamper.notice)
        self.routing.alert_level, self.routing.exports = self.outlets.alert_level, self.outlets.exports
        self._news = News(self._counts, self._stamper.clock, self.files, self._announce)
        self.files.watch(self)
        drainer.add(self)
        self.refresh()
        if config.log_to_file:
            self._work(_OPEN_PATIENCE)
        self.outlets.start()
        if self.outlets.metrics is not None:
            self.outlets.metrics.add(self, config.expert_name)

    # -- an entry's way in -------------------------------------------------------------------------------------

    def set_level(self, level: int) -> None:
        """Set `log_level`; the console follows unless it has a level of its own."""
        self.routing.set_level(level)
        if self.capture is not None:
            self.capture.set_level(level)
        self.refresh()

    # -- the fast way (see `metaexpert.logger.encoding.fast`) ----------------------------------------------------

    def refresh(self) -> None:
        """Have the fused calls find everything as it is now: levels, room, thread, process, processors."""
        for (word, trade), route in self.routes.items():
            routes = self.routing.routes(LEVEL_NUMBERS[word], trade=trade)
            if self.closed or not routes & FILES or self.config.layout != "flat" or not self.processors.untouched:
                route.check = never
            else:
                calm = share_of(word, trade=trade) in self._calm
                room = None if calm else functools.partial(self._counts.has_room, word, trade=trade)
                route.check = self._tracing.check(room)
            route.head = self._stamper.head(word, trade=trade)
            route.lanes = self.files.journals(routes)
            route.number = self.files.sequence.__next__
            if self.config.log_to_file:
                route.count = self._counts.accepted_counts[word].up if routes & FILES else _count_nothing
            route.after = self._after(routes)

    def _after(self, routes: int) -> Callable[[bytes], None] | None:
        if routes & (REMOTE | CONSOLE) == EXPORT and not self._is_more_to_do(routes & ~EXPORT):
            return self.outlets.export
        if self._is_more_to_do(routes):
            return functools.partial(self._settle, routes)
        return self._display.put if routes & CONSOLE else None

    def _is_more_to_do(self, routes: int) -> bool:
        """Return whether more is to be done with an entry that was taken than to print it."""
        must_wait = self.synchronous or (self.config.fsync == "trades" and bool(routes & TRADES))
        return must_wait or self._broken or not drainer.running or bool(routes & (ERRORS | REMOTE))

    def grown(self) -> None:
        """Look how much waits, and whether the files take it (see `directory.Watcher`)."""
        calm, broken = self._counts.calm(self.files.room()), self.files.error is not None
        if (calm, broken) != (self._calm, self._broken):
            self._calm, self._broken = calm, broken
            self.refresh()

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
            line = self._stamper.line(output.name, level, event_dict, trade=trade, counted=False)
            self._turned_away(line, level, trade, routes)
            raise DropEvent
        line = self._stamper.line(output.name, level, event_dict, trade=trade, counted=bool(routes & FILES))
        if alert:
            self.outlets.put(line, ALERTS)
        if not routes:
            raise DropEvent
        return (line, self.routes[level, trade]), {}

    def _settle(self, routes: int, line: bytes) -> None:
        """Do what is left to do with an entry that was taken."""
        if routes & CONSOLE:
            self._display.put(line)
        if routes & REMOTE:
            self.outlets.put(line, routes)
        if routes & (TRADES | ERRORS) and self.files.error is not None:
            self._display.stranded([line.rstrip()])
        if self.config.fsync == "trades" and routes & TRADES:
            self.files.request(insist=True, sync=True)
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
        if self.files.put(line, routes) or not self.config.log_to_file:
            self._counts.accepted_counts[level].up()
        if routes & CONSOLE:
            self._display.put(line)
        self.outlets.put(line, routes)

    def _lost(self, line: bytes, taken: int) -> None:
        """Count an entry that not all of its files will get: there is no memory, or the logger closed meanwhile."""
        entry = json.loads(line)
        level, trade = entry["level"], entry["msgid"] == schema.MSGID_TRADE
        if taken:
            error = MemoryError("no room in the journal")
            self.mishaps.failed("an entry could not be kept for all of its files", error)
        else:
            self._turned_away(line, level, trade, self.routing.routes(LEVEL_NUMBERS[level], trade=trade) & FILES)

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
                self.mishaps.failed("entries could not be written", error)
        return served is not False

    def _announce(self, level: str, message: str, **fields: Any) -> None:
        """Queue an entry of the logger's own, such as ``log.dropped``, past gates and processors."""
        line = self._stamper.own_line(level, message, fields, counted=self.config.log_to_file)
        self._put(line, level, self.routing.own_routes(LEVEL_NUMBERS[level]))

    # -- room -------------------------------------------------------------------------------------------------

    def _admit(self, level: str, trade: bool) -> bool:
        if self._counts.has_room(level, trade=trade):
            return True
        if self.config.overflow != "block" or drainer.within or drainer.in_our_way:
            return False
        deadline = time.monotonic() + self.config.overflow_timeout
        while (left := deadline - time.monotonic()) > 0:
            self._work(left)
            if self._counts.has_room(level, trade=trade):
                return True
            time.sleep(min(_PAUSE, left))
        return False

    def _turned_away(self, line: bytes, level: str, trade: bool, routes: int) -> None:
        """Count an entry that was refused, and show what must not go unseen."""
        number = LEVEL_NUMBERS[level]
        if self.closed:
            self._counts.drop(level, [CLOSED])
            if number >= schema.WARNING:
                self._display.last_resort(line)
            return
        self._counts.drop(level, [name for route, name in ROUTE_NAMES if routes & route])
        self.outlets.put(line, routes)
        self._display.refused(line, routes, grave=trade or number >= schema.ERROR)

    # -- the way out ------------------------------------------------------------------------------------------

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Show what of *lines*, which no file takes, must not go unseen (see `directory.Watcher`)."""
        self._display.stranded(lines)

    def tick(self) -> bool:
        """Write what waits, print some of what waits, and do what is due (see `drainer.Drained`)."""
        self.files.drain()
        self.mishaps.catch_up()
        if self._tell_news():
            self.files.drain()
        self.outlets.ensure()
        return self._display.tick()

    def _tell_news(self) -> bool:
        """Announce what is new about the log itself. Returns whether there was something."""
        return self._news.tell(self.outlets.dropped())

    def flush(self, timeout: float | None = None) -> bool:
        """Write everything logged so far. Returns whether all of it is in the files.

        Args:
            timeout: Longest time in seconds to try; None for one determined try.
        """
        return self._flush(None if timeout is None else time.monotonic() + timeout)

    def _flush(self, deadline: float | None) -> bool:
        while True:
            self.files.request(insist=True, sync=self.closed and self.config.fsync != "never")
            done = self._work(_left(deadline)) and self.files.complete
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
        self._display.finish()
        self.outlets.close(timeout)
        if self.outlets.metrics is not None:
            self.outlets.metrics.retire(self)
        self._complete = self._complete or self.files.empty
        if not self._complete:
            self._report_unwritten()
        self.files.close(patience, _ARCHIVE_PATIENCE if timeout is None else timeout)

    def _report_unwritten(self) -> None:
        unwritten = self._counts.settle()
        self._counts.failed += unwritten
        kept = sum(self.files.pending(durable=True).values())
        which = "them" if kept == unwritten else f"{kept} of them"
        fate = f"; the next start brings {which} in from the journal" if kept else ""
        self.files.diagnostics.report("close", f"closed with {unwritten} entries that no file took{fate}")

    def _remote_trouble(self, kind: str, message: str) -> None:
        self.files.diagnostics.report(kind, message, level="warning")

    # -- health -----------------------------------------------------------------------------------------------

    @property
    def health(self) -> str:
        """``ok``, ``degraded: <reason> since <when>``, or ``closed``."""
        return "closed" if self.closed else self._news.health

    def stats(self) -> dict[str, Any]:
        """Return counts since the start: see `BoundLogger.stats`."""
        self.mishaps.catch_up()
        counts = {"state": self.health, **self._counts.report()}
        if self._display.skipped:
            counts["dropped_by_route"]["console"] = self._display.skipped
        return counts | self.outlets.stats()

    # -- the writing thread and fork (see `drainer.Drained`) ---------------------------------------------------

    def thread_lost(self, error: BaseException) -> None:
        """Say so; each call writes by itself from now on (see `synchronous`)."""
        self.files.diagnostics.report("thread", "the writing thread is lost; each call writes by itself", error=error)
        self.refresh()
        self._tell_news()

    def thread_found(self) -> None:
        """Say so."""
        self.refresh()
        self._tell_news()

    def has_work(self) -> bool:
        """Whether something waits to be written, printed or forced to the device."""
        return self.files.has_work() or not self._display.empty

    def before_fork(self) -> threading.Thread | None:
        """End the thread that compresses (see `drainer.Drained`)."""
        self.refresh()  # each call looks now whether there is a thread again
        return self.files.before_fork()

    def after_fork_in_parent(self) -> None:
        """Allow it again."""
        self.files.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Start anew: own process id, own locks, nothing of what waits in the parent."""
        self._counts.after_fork()
        self._closing = threading.RLock()
        self._display.after_fork()
        self.outlets.after_fork()
        self._stamper.after_fork()
        self.files.after_fork_in_child()
        self._calm = ALL_SHARES
        self.refresh()


def _count_nothing() -> int:
    return 0


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)
