"""The hub of one `MetaLogger`: the way of an entry into its files and outputs, flush and close.

Bound and overflow: at most `journal_size` bytes of a directory wait to be written (see `metaexpert.logger.counts`).
With ``drop_low`` a call never waits. With ``block`` a call first waits up to `overflow_timeout`. Dropped entries are
counted by level and announced in the log by ``log.dropped``; trades and errors go to standard error.

Threads: every method may be called by any thread. The writing thread does the writing (see
`metaexpert.logger.files.writing_thread`). A caller that must not go on before it is done waits for a pass of that
thread, and holds no lock meanwhile.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Sized
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.counts import ALL_SHARES, Counts, share_of
from metaexpert.logger.encoding.fast import Encoder
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.encoding.processors import CleanValues, ProcessorList, chain
from metaexpert.logger.encoding.route import Route, deliver, never
from metaexpert.logger.encoding.trace_ids import Tracing
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.open_directories import leave_directory, open_directory
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.hub._control import Control
from metaexpert.logger.hub._extras import adapt, recorder_for, repeats_for, sealing_for
from metaexpert.logger.hub._files import files_of, report_unwritten, waiting_by_level
from metaexpert.logger.hub._health import Health
from metaexpert.logger.hub._levels import LevelRoutes, Levels
from metaexpert.logger.hub._outputs import Outputs
from metaexpert.logger.hub._routing import ALERTS, CONSOLE, ERRORS, EXPORT, FILES, RECORDER, REMOTE, TRADES, Routing
from metaexpert.logger.hub._stamping import Stamper
from metaexpert.logger.hub._waiting import elsewhere, time_left
from metaexpert.logger.masking.rules import Rules, mask_text
from metaexpert.logger.schema import ALERT, CATEGORY, LEVEL_NUMBERS, TRADE
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.forks import catch_up
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.lazy_structlog import DropEvent, EventDict, Processor
from metaexpert.logger.system.threads import RLock

#: Longest wait of `close` for the compression of backups when no timeout is given.
_ARCHIVE_PATIENCE: Final = 60.0
#: Longest wait of `close` for a write that is under way after the last flush.
_END_PATIENCE: Final = 5.0
#: And the least: a thread that only comes to its end should not be taken for one that hangs.
_LEAST_PATIENCE: Final = 0.5
#: Longest wait of a new logger for its files to be made, in seconds: a dead network file system, or a process that was
#: stopped while it held the lock, must not keep the program.
_OPEN_PATIENCE: Final = 1.0
#: Longest wait of an ERROR until the console has it, in seconds, when there are no files.
_PROMPT: Final = 0.5
#: Seconds between two tries of a caller that waits for room or for a file.
_PAUSE: Final = 0.05
#: More than a header can have: the fast call leaves longer lines to the encoder, which knows how to cut.
_HEADER_ROOM: Final = 1024


class Pipeline:
    """The entries of one `MetaLogger`, from the last step of the chain of processors on. A `Listener` of its directory.

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
        limits = self._limits = config.max_value_length, config.max_entry_size // 2
        self._repeats = repeats_for(self, self._announce)
        self.processors = self.chain_with(config.processors or [])
        self.fallback = chain([], *limits, self.finish, self.rules)
        header = Header(mask_text(config.expert_name), config.facility)
        self.directory = open_directory(config.log_dir if config.log_to_file else None, header, config.journal_size)
        self.files = files_of(config, self.directory)
        self.recorder = recorder_for(config, self.directory, self.routing)
        self.stamper = Stamper(config, header, self.directory, self.rules, now)
        self._pending = functools.partial(waiting_by_level, self.directory, dumps(header.appname)[1:-1])
        self._counts = Counts(config.journal_size, self.directory.journal.used, self._pending)
        self.health = Health(self._counts, self.stamper.clock, self.directory, self._announce)
        ask = functools.partial(self.directory.listeners.ask, self)
        self.outputs = Outputs(config, self.routing, self.stamper, self.directory, self._counts, ask)
        self.stranded, self.health.outputs_lack = self.outputs.stranded, self.outputs.trouble
        self._closing = RLock()
        self._complete = self._released = False
        #: Shares of the buffer that are not reached, whether files fail, and whether there is a writing thread.
        self._state = (ALL_SHARES, False, False)
        self.closed = False
        #: Called at the end, by what brings in records of `logging`.
        self.on_close: Callable[[], None] = lambda: None
        #: Called once it is closed: by its loggers, whose calls must get through then to be counted or handed on.
        self.on_closed: Callable[[], None] = lambda: None
        #: Called about once a second: looks whether they still come in.
        self.on_serve: Callable[[], None] | None = None
        limit = min(config.max_value_length, config.max_entry_size - _HEADER_ROOM)
        clean = CleanValues(*limits, self.rules).fields
        self.encoder = Encoder(self.stamper.expert_name, limit, clean, now, self.rules)
        told = self._counts.accepted_counts, self._lost, self.health.errors.append
        self.levels = Levels(self.routing, config.levels, lambda routing: LevelRoutes(routing, *told))
        self.routes = self.levels.base.by_kind
        self.control = Control(self, self._announce, self.stamper.clock)
        self.obey = self.control.obey
        self._sealing = sealing_for(config, self.directory, self._announce)
        #: Levels and kinds whose entries need a look at the room that is left.
        self._tight: set[tuple[str, bool]] = set()
        self.processors.on_change = self.refresh
        self._open()

    def _open(self) -> None:
        self.directory.listen(self)
        self._state = _state(self._counts, self.directory, self.directory.filled)
        self.refresh()
        if self.config.log_to_file:
            self.directory.request(archive=True)
            self._wait(_OPEN_PATIENCE)
        self.outputs.start()
        if self.outputs.metrics is not None:
            self.outputs.metrics.add(self, self.config.expert_name)

    # -- routes -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Have the calls find everything as it is now: levels, room, thread, process, processors."""
        self._tight = {key for key in self.routes if share_of(key[0], trade=key[1]) not in self._state[0]}
        for routes in self.levels.all:
            self._refresh(routes)

    def _refresh(self, routes: LevelRoutes) -> None:
        for (word, trade), route in routes.by_kind.items():
            to = routes.destinations[word, trade] = routes.routing.destinations(LEVEL_NUMBERS[word], trade=trade)
            plain = self.closed or self.config.layout != "flat" or not self.processors.untouched
            limited = self._repeats is not None and self._repeats.concern(word, trade=trade)
            if plain or (not to & RECORDER and (limited or not to & FILES)):
                route.check = never
            else:
                tight = (word, trade) in self._tight and to & FILES
                room = functools.partial(self._counts.has_room, word, trade=trade) if tight else None
                route.check = self._tracing.check(room)
            route.head = self.stamper.head(word, trade=trade)
            route.lanes = tuple(file.lane for file in self._files_for(to))
            route.numbers = self.directory.sequence
            if self.config.log_to_file:
                route.count = self._counts.accepted_counts[word] if to & FILES else None
            urgent = LEVEL_NUMBERS[word] >= schema.ERROR and bool(to & CONSOLE)
            route.after = self._after(to | ERRORS if urgent else to)
            if self.recorder is not None:
                adapt(self.recorder, route, LEVEL_NUMBERS[word], to, self._show_recorded)

    def _files_for(self, to: int) -> tuple[LogFile, ...]:
        return tuple(file for bit, file in self.files if to & bit)

    def _after(self, to: int) -> Callable[[bytes], None] | None:
        """Return what is left to do with an entry of these destinations once the journal has it."""
        syncs = self.config.fsync == "trades" and bool(to & TRADES)
        waits = self.synchronous or syncs
        _, failing, served = self._state
        if waits and served and not (syncs or failing or to & (CONSOLE | REMOTE)):
            return functools.partial(self.directory.write_through, self._files_for(to), self._wait)
        both = EXPORT | CONSOLE
        if waits or failing or not served or to & (ERRORS | ALERTS) or to & both == both:
            return functools.partial(self._settle, to)
        if to & EXPORT and self.outputs.exports is not None:
            exports = self.outputs.exports
            return exports.put if exports.made is None else exports.made.put
        return self.outputs.show if to & CONSOLE else None

    def changed(self, filled: int) -> None:
        """See `metaexpert.logger.files._listeners.Listener`."""
        state = _state(self._counts, self.directory, filled)
        if state != self._state:
            self._state = state
            self.directory.listeners.ask(self)
            self.refresh()

    # -- an entry ---------------------------------------------------------------------------------------------

    def chain_with(self, own: Iterable[Processor]) -> ProcessorList:
        """Return a chain that ends in this pipeline, with processors of the user's *own*."""
        early = () if self._repeats is None else (self._repeats.step,)
        return chain(own, *self._limits, self.finish, self.rules, self._tracing.first, early)

    def finish(self, output: Any, method: str, event_dict: EventDict) -> tuple[bytes, Route]:
        """Stamp, encode and route a clean event: the last processor of the chain.

        Raises:
            DropEvent: The entry goes nowhere, there is no room for it, or the logger is closed. Or it is delivered
                already, because the bound logger is another library's, which could not.
        """
        catch_up()
        level = schema.WORDS.get(method, "info")
        trade = event_dict.get(CATEGORY) == TRADE
        name = getattr(output, "name", None)
        routes = self.levels.of(name)
        route, to = routes.by_kind[level, trade], routes.destinations[level, trade]
        # An alert of the level goes out with the entry (`_settle`); an alert that the call asks for, here.
        alert = self.routing.alert_level is not None and not to & ALERTS and event_dict.get(ALERT) is True
        if not to and not alert:
            raise DropEvent
        repeats = None if to & RECORDER else self._repeats
        if repeats is not None and not repeats.takes(name, level, event_dict, trade=trade):
            raise DropEvent
        if self.closed or ((level, trade) in self._tight and to & FILES and not self._admit(level, trade)):
            line = self.stamper.line(name, level, event_dict, trade=trade, counted=False)
            self.outputs.refuse(line, level, to, trade=trade, closed=self.closed)
            raise DropEvent
        line = self.stamper.line(name, level, event_dict, trade=trade, counted=bool(to & FILES))
        if alert:
            self.outputs.send(line, ALERTS)
        if not to:
            raise DropEvent
        if not hasattr(output, "pipeline"):
            deliver(route, line)
            raise DropEvent
        return line, route

    def _settle(self, to: int, line: bytes) -> None:
        """Do what is left to do with an entry that was taken."""
        if to & CONSOLE:
            self.outputs.show(line)
        if to & REMOTE:
            self.outputs.send(line, to)
        if to & (TRADES | ERRORS) and (error := self.directory.error) is not None:
            self.stranded(self.directory.listeners.unshown([line.rstrip()], error))
        if self.config.fsync == "trades" and to & TRADES:
            self.directory.request(insist=True, sync=True)
            self._wait()
        elif self.synchronous and writing_thread.running:
            self.directory.write_through(self._files_for(to), self._wait)
        elif self.synchronous:
            self._wait()
        elif not writing_thread.running:  # after a fork
            writing_thread.ensure()
            if writing_thread.unavailable:
                self._wait()
            self.changed(self.directory.filled)
        elif to & ERRORS and not self.config.log_to_file:
            self._wait(_PROMPT)  # nothing else would keep it, if the program were ended now
        elif to & ERRORS:
            writing_thread.wake(self.directory)

    def _announce(self, level: str, message: str, **fields: Any) -> bool:
        """Log an entry of our own, such as ``log.dropped``, past gates and processors. Returns whether files get it."""
        line = self.stamper.own_line(level, message, fields, counted=self.config.log_to_file)
        to = self.routing.own_destinations(LEVEL_NUMBERS[level], alert=ALERT in fields)
        lanes = tuple(file.lane for file in self._files_for(to))
        route = Route(lanes=lanes, numbers=self.directory.sequence, count=self._counts.accepted_counts[level])
        route.lost, route.after = functools.partial(self._lost, self.levels.base), functools.partial(self._show_own, to)
        return self.directory.keep(route, line)

    def _show_own(self, to: int, line: bytes) -> None:
        if to & CONSOLE:
            self.outputs.show(line)
        self.outputs.send(line, to)

    def _show_recorded(self, to: int, line: bytes) -> None:
        self._show_own(to, self.stamper.refused(line))  # with the number that it would have without a recorder

    def _admit(self, level: str, trade: bool) -> bool:
        """Return whether there is room for an entry; with ``overflow="block"``, wait for it."""
        return self._when(lambda: self._counts.has_room(level, trade=trade))

    def _when(self, done: Callable[[], bool]) -> bool:
        """Return whether *done* is; with ``overflow="block"``, try again until `overflow_timeout`."""
        if done():
            return True
        if self.config.overflow != "block" or writing_thread.must_not_wait:
            return False
        deadline = monotonic() + self.config.overflow_timeout
        while (left := deadline - monotonic()) > 0 and not self.closed:
            self._wait(left)
            if done():
                return True
            time.sleep(min(_PAUSE, left))
        return False

    def _lost(self, routes: LevelRoutes, line: bytes, taken: int) -> None:
        """Wait for room, or count an entry that only *taken* of its files will get: the journal is full or closed."""
        entry = json.loads(line)
        level, trade = entry["level"], entry["msgid"] == schema.MSGID_TRADE
        if self.recorder is not None and routes.destinations[level, trade] & RECORDER:
            next(self.recorder.ring.refused)
            self._show_recorded(routes.destinations[level, trade], line)
        elif taken:
            self.health.failed("an entry could not be kept for all of its files", MemoryError("no room in the journal"))
        elif self.closed or not self._when(lambda: self.directory.keep(routes.by_kind[level, trade], line)):
            to = routes.destinations[level, trade] & FILES
            self.outputs.refuse(self.stamper.refused(line), level, to, trade=trade, closed=self.closed)

    # -- for coroutines ---------------------------------------------------------------------------------------

    async def wait_for_room(self) -> None:
        """With ``overflow="block"``, wait until there is room for any entry, for `overflow_timeout` at most."""
        if self._tight and self.config.overflow == "block":
            await elsewhere(functools.partial(self._admit, "debug", trade=False))

    async def wait(self) -> None:
        """Wait until what was logged is in its files, forced to the device where that was asked for."""
        await elsewhere(self._wait)

    # -- writing ----------------------------------------------------------------------------------------------

    @property
    def synchronous(self) -> bool:
        """Whether an entry is in its files when the call returns."""
        return writing_thread.unavailable or not self.config.async_logging

    def _wait(self, timeout: float | None = None) -> bool:
        """Have all lines written that wait, by the writing thread or, when there is none, here.

        Returns:
            Whether that was tried to the end within *timeout* seconds.
        """
        served = writing_thread.wait_for_pass(timeout, self.directory)
        if writing_thread.hangs_in(self.directory):
            self.health.serve({})
            self.directory.listeners.ask(self)
        if served is None:
            try:
                served = self.directory.serve() is not None
            except Exception as error:  # it must neither reach the caller nor seem that the entry was not taken
                let_pass(error)
                self.health.failed("entries could not be written", error)
        return served is not False

    def serve(self) -> bool:
        """See `metaexpert.logger.files._listeners.Listener`."""
        self.control.serve()
        if self._repeats is not None:
            self._repeats.serve()
        if self.on_serve is not None:
            self.on_serve()
        self.outputs.ensure()
        listeners, told = self.directory.listeners, self.health.serve(self.outputs.dropped())
        listeners.attend(self, regularly=not self._is_idle())
        unsealed = self._sealing is not None and self._sealing.serve()
        more = not self.outputs.console.empty and self.outputs.console.tick()
        if unsealed or not (told and self.outputs.console.empty):
            listeners.ask(self)
        return more or unsealed

    @property
    def errors(self) -> Sized:
        """See `metaexpert.logger.files._listeners.Listener`."""
        return self.health.errors

    def _is_idle(self) -> bool:
        """Return whether a service that nothing asks for would find nothing to do."""
        if self.on_serve or self._repeats is not None or self._sealing is not None or self.outputs.has_remote:
            return False
        return self.control.is_idle() and self.health.is_idle()

    def flush(self, timeout: float | None = None) -> bool:
        """Write everything logged so far. Returns whether all of it is in the files.

        Args:
            timeout: Longest time in seconds to try; None for one determined try.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self.directory.request(insist=True, sync=self.closed and self.config.fsync != "never")
            self.directory.listeners.ask(self)
            done = self._wait(time_left(deadline)) and all(file.error is None for _, file in self.files)
            left = time_left(deadline)
            if done or not left:
                return done
            time.sleep(min(_PAUSE, left))

    def dump(self) -> int | None:
        """Write what the flight recorder holds. Returns how many entries that were; None without a recorder."""
        return None if self.recorder is None else self.recorder.dump()

    def close(self, timeout: float | None = None) -> bool:
        """Flush, stop and release. Idempotent; returns whether everything is in the files."""
        deadline = None if timeout is None else monotonic() + timeout
        with self._closing:
            if not self._released:
                self.directory.request(recovery=True)  # of workers that were ours
                self.flush(time_left(deadline))
                if self._repeats is not None:
                    self._repeats.serve(final=True)
                if self._sealing is not None:
                    self._sealing.finish()
                self.closed = True
                for routes in self.levels.all:
                    routes.routing.records = False
                self.refresh()
                self.on_closed()
                self._complete = self.flush(time_left(deadline))
                self.on_close()
                self._release(deadline)
            return self._complete

    def _release(self, deadline: float | None) -> None:
        # A write that hangs has had its time; the thread that does it is left behind.
        impatient = not self._complete and deadline is not None
        patience = min(max(time_left(deadline) or 0.0, _LEAST_PATIENCE), _END_PATIENCE) if impatient else _END_PATIENCE
        self.directory.forget(self, patience)
        self._released = True
        self.outputs.close(time_left(deadline))
        if self.outputs.metrics is not None:
            self.outputs.metrics.retire(self)
        if not self.directory.journal.starved:  # then an empty one means that the files have everything
            self._complete = self._complete or all(file.empty for _, file in self.files)
        if not self._complete:
            unwritten = self._counts.settle()
            self._counts.failed += unwritten
            report_unwritten(self.directory, unwritten, kept=sum(self._pending(durable=True).values()))
        self.directory.archivist.wait(_ARCHIVE_PATIENCE if deadline is None else time_left(deadline))
        leave_directory(self.directory, patience)

    def stats(self) -> dict[str, Any]:
        """Return counts since the start: see `BoundLogger.stats`."""
        self.health.catch_up()
        counts = {"state": "closed" if self.closed else str(self.health), **self._counts.report()}
        if self.outputs.console.skipped:
            counts["dropped_by_route"]["console"] = self.outputs.console.skipped
        if self._repeats is not None:
            counts["repeated"] = self._repeats.count
        if self.recorder is not None:
            counts["recorder"] = self.recorder.stats()
        return counts | self.outputs.stats()

    def after_fork_in_child(self) -> None:
        """Start anew: own process id, own locks, nothing of what waits in the parent."""
        self._counts.after_fork()
        self.control.after_fork()
        if self._repeats is not None:
            self._repeats.after_fork()
        self._closing = RLock()
        self.outputs.after_fork_in_child()
        self.stamper.after_fork()
        self._state = (ALL_SHARES, False, False)
        self.refresh()


def _state(counts: Counts, directory: LogDirectory, filled: int) -> tuple[frozenset[float], bool, bool]:
    """Return which shares of the buffer are not reached, whether files fail, and whether there is a writing thread."""
    return counts.calm(filled), directory.error is not None, writing_thread.running
