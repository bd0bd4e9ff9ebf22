"""One model of a run: what its entries say of its life, orders, positions, results, errors and decisions.

`Runs.feed` takes entries in any order that is roughly that of time, each once, and `Runs.count` many that say nothing
at a time; `Runs.finish` says how the runs ended.
Memory is bounded: orders that came to their end, and entries, are counted and forgotten. What an entry says does not
depend on the entries before it wherever that can be avoided, because the clock may have stepped back.

A run is a process (host and process id) from its first entry on. Its numbers begin with 1, so a number that was seen
already begins another run of the same process id.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs._gaps import NumberRanges
from metaexpert.logs.entry import Entry, moment
from metaexpert.logs.orders import OrderLife
from metaexpert.logs.reading.dedup import Recent
from metaexpert.logs.runs._blocks import Block, Process
from metaexpert.logs.runs.ends import CLOSED, RUNNING, UNCAUGHT, UNKNOWN, End, marked
from metaexpert.logs.runs.names import Mention, orders_in
from metaexpert.logs.stats import error_text
from metaexpert.logs.trades import Execution, Ledger, Totals
from metaexpert.logs.vocabulary import NOTE, POSITION, Amounts, Facts, plain

#: Of each run: groups of errors and open orders that are kept, ended orders that are known.
_MOST_ERRORS, _MOST_ORDERS, _ENDED = 1000, 10_000, 100_000
#: Orders of all runs that are kept although they came to their end.
_RECENT_ORDERS: Final = 4000


class Listener:
    """Is told what happens in the runs, and ignores it.

    Attributes:
        keys: Ends of keys in lower case: entries with one of them are fed too, although they say nothing of trades.
    """

    keys: tuple[bytes, ...] = ()

    def fed(self, entry: Entry) -> None:
        """An entry is about to be taken in."""

    def traded(self, run: Run, facts: Facts, execution: Execution | None) -> None:
        """An entry of category ``trade`` was taken in; it may be about no execution, or tell one again."""

    def order_ended(self, run: Run, order: OrderLife) -> None:
        """An order came to its end, and is forgotten after this."""


@dataclass(slots=True)
class ErrorGroup:
    """Errors that differ only in numbers, ids and quoted parts.

    Attributes:
        count: How many.
        last: The latest of them.
    """

    count: int
    last: Entry


@dataclass(slots=True)
class Run:
    """One process from its first entry to its end.

    Attributes:
        process: Host and process id.
        experts: Names of its experts.
        first: Time of its first entry, as in a `metaexpert.logs.entry.Key`.
        last: Time of its latest.
        entries: How many entries it logged.
        levels: Entries by level.
        errors: By exception and message, see `metaexpert.logs.stats.fingerprint`.
        ledger: Executions and positions by expert and symbol.
        orders: Orders that came to their end, by how they did.
        open_orders: The others.
        decisions: How many were logged.
        dropped: Entries that there was no room for.
        recovered: Entries brought in from earlier processes.
        end: How it ended.
        whole: Whether orders, trades, errors and decisions were taken in, see `Runs.only`.
    """

    process: Process
    first: bytes
    last: bytes
    experts: dict[str, None] = field(default_factory=dict)
    entries: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    errors: dict[str, ErrorGroup] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    orders: Counter[str] = field(default_factory=Counter)
    open_orders: list[OrderLife] = field(default_factory=list)
    decisions: int = 0
    dropped: int = 0
    recovered: int = 0
    end: End = field(default_factory=lambda: End(UNKNOWN))
    whole: bool = True
    numbers: NumberRanges = field(default_factory=NumberRanges)
    _low: int = sys.maxsize
    _high: int = 0
    _own: int = 0
    _uncaught: End | None = None
    _by_name: dict[str, OrderLife] = field(default_factory=dict)
    _aged: set[int] = field(default_factory=set)
    _ended: Recent = field(default_factory=lambda: Recent(_ENDED))

    @property
    def start(self) -> datetime:
        """When its first entry was logged."""
        return moment(self.first)

    @property
    def ended(self) -> datetime:
        """Its last heartbeat: its latest entry, or what the owner file of its journal tells."""
        alive = self.end.last_alive
        return max(moment(self.last), datetime.fromisoformat(alive)) if alive else moment(self.last)

    @property
    def is_an_experts(self) -> bool:
        """Whether it logged anything beside what the logger says of itself (a recovery does not)."""
        return self.entries > self._own

    @property
    def error_count(self) -> int:
        """How many errors it logged; ``log.died`` is about another run."""
        return sum(group.count for group in self.errors.values())

    @property
    def trades(self) -> int:
        """How many executions."""
        return sum(totals.executions for totals in self.ledger.totals.values())

    @property
    def results(self) -> Amounts:
        """Realised result before fees, for each currency."""
        sums = Amounts()
        sums.add((totals.currency, totals.pnl) for totals in self.ledger.totals.values() if totals.has_result)
        return sums

    @property
    def fees(self) -> Amounts:
        """Fees, for each currency."""
        sums = Amounts()
        for totals in self.ledger.totals.values():
            sums.add((name or totals.currency, amount) for name, amount in totals.costs.items())
        return sums

    @property
    def positions(self) -> Iterator[tuple[str, str, Totals]]:
        """Expert, symbol and totals of each position that is open."""
        return ((name, symbol, held) for (name, symbol), held in self.ledger.totals.items() if held.position)

    @property
    def tells_positions(self) -> bool:
        """Whether its entries tell each position that it changed, so that it does not matter what was held before."""
        return bool(self.ledger.totals) and all(totals.is_told for totals in self.ledger.totals.values())

    @property
    def pending(self) -> list[OrderLife]:
        """The orders that are open so far; `open_orders` are those at the end of reading."""
        return [life for life in {id(life): life for life in self._by_name.values()}.values() if life.is_open]

    def end_so_far(self, states: Mapping[tuple[str, str], End], *, marked_all: bool) -> End:
        """Return how it stands, as `Runs.finish` would say if nothing followed."""
        if self.process in states:
            return states[self.process]
        found = self._uncaught if self.end.how == UNKNOWN and self._uncaught is not None else self.end
        return End(CLOSED) if found.how == UNKNOWN and marked_all else found

    def count(self, entry: Entry) -> None:
        """Count an entry."""
        time, number, _ = entry.key
        self.entries += 1
        self.levels[entry.level] += 1
        if not entry.text.startswith("log."):
            self.experts[entry.expert] = None
        self._reach(number, time, number, time)

    def count_all(self, block: Block) -> None:
        """Count the entries of a block."""
        self.entries += block.levels.total()
        self.levels += block.levels
        self.experts |= dict.fromkeys(block.experts)
        self._reach(block.key[1], block.key[0], block.ranges[-1][1], block.last)

    def _reach(self, low: int, first: bytes, high: int, last: bytes) -> None:
        # By their numbers: the clock may have stepped back.
        if low <= self._low:
            self._low, self.first = low, first
        if high >= self._high:
            self._high, self.last = high, last

    def take(self, entry: Entry, listener: Listener) -> OrderLife | None:
        """Take in what an entry says; return the order that it is the first to speak of."""
        fields, text = entry.fields, entry.text
        if text.startswith("log."):
            self.take_own(entry)
        if schema.LEVEL_NUMBERS[entry.level] >= schema.ERROR and text != "log.died":
            self._take_error(entry)
        self.decisions += fields.get(schema.DECISION) is not None and fields.get(schema.DECISION_ID) is not None
        is_trade, mentions = fields.get("msgid") == schema.MSGID_TRADE, orders_in(fields)
        if not is_trade and not mentions:
            return None
        facts = Facts(entry)
        if is_trade:
            listener.traded(self, facts, self.ledger.take(facts))
        if len(mentions) != 1:
            return None
        about = facts if mentions[0].fields is fields else Facts(entry, mentions[0].fields)
        return self._take_order(about, mentions[0], listener)

    def take_own(self, entry: Entry) -> None:
        """Take in an entry that the logger logged about itself."""
        self._own += 1
        if entry.text == "log.dropped":
            self.dropped += _whole(entry.get("dropped"))
        elif entry.text == "log.recovered":
            self.recovered += _whole(entry.get("recovered"))
        elif entry.text == "log.uncaught":
            self._own -= 1
            if not any(entry.get(name) for name in ("thread", "ignored", "asyncio")):
                self._uncaught = End(UNCAUGHT, facts={"error": exception_text(entry)})

    def _take_error(self, entry: Entry) -> None:
        text = error_text(entry)
        if text not in self.errors and len(self.errors) >= _MOST_ERRORS:
            text = "(other errors)"
        group = self.errors.setdefault(text, ErrorGroup(0, entry))
        group.count += 1
        group.last = max(group.last, entry, key=lambda one: one.key)

    def _take_order(self, facts: Facts, mention: Mention, listener: Listener) -> OrderLife | None:
        """Take in what an entry says of an order; return it if it is new."""
        names, by_name = [name.text for _, name in mention.names], self._by_name
        known = next(filter(None, map(by_name.get, names)), None)
        if known is None and (facts.step in (NOTE, POSITION) or any(name in self._ended for name in names)):
            return None
        life = known or OrderLife(names[0])
        life.add(facts)
        for name in names:
            if by_name.get(name) is not life:
                life.ids.add(name)
                by_name[name] = life
        if id(life) in self._aged and not life.is_open:
            self._settle(life, listener)
        return None if known else life

    def age(self, life: OrderLife, listener: Listener) -> None:
        """Count and forget an order that is not open, of which no more entries are expected."""
        if life.is_open and len(self._aged) < _MOST_ORDERS:
            self._aged.add(id(life))
        else:
            self._settle(life, listener)

    def _settle(self, life: OrderLife, listener: Listener) -> None:
        for name in life.ids:
            self._by_name.pop(name, None)
            self._ended.seen(name)
        self._aged.discard(id(life))
        self.orders[life.status] += 1
        listener.order_ended(self, life)

    def finish(self, listener: Listener) -> None:
        """Say which orders are open, and count the others."""
        for life in {id(life): life for life in self._by_name.values()}.values():
            if life.is_open:
                self.open_orders.append(life)
            else:
                self._settle(life, listener)
        if self.end.how == UNKNOWN and self._uncaught is not None:
            self.end = self._uncaught

    def absorb(self, other: Run) -> None:
        """Add what *other*, the beginning of the same run, holds."""
        self.first = other.first
        self.entries += other.entries
        self.levels.update(other.levels)
        self.orders.update(other.orders)
        self.experts = {**other.experts, **self.experts}
        for text, group in other.errors.items():
            self.errors.setdefault(text, ErrorGroup(0, group.last)).count += group.count
        self.ledger.absorb(other.ledger)
        self.decisions += other.decisions
        self.dropped += other.dropped
        self.recovered += other.recovered
        self._own += other._own
        for name, life in other._by_name.items():
            mine = self._by_name.get(name)
            if mine is None:
                self._by_name[name] = life
            elif mine is not life:
                for step in life.steps:
                    mine.add(Facts(step.entry))

    def as_dict(self) -> dict[str, Any]:
        """Return its figures as JSON types; money as exact text."""
        return {
            "experts": list(self.experts),
            "hostname": self.process[0],
            "procid": self.process[1],
            "start": schema.timestamp(self.start),
            "end": None if self.end.how == RUNNING else schema.timestamp(self.ended),
            "last_entry": schema.timestamp(moment(self.last)),
            "ended": self.end.how,
            "bad": self.end.is_bad,
            **self.end.facts,
            "entries": self.entries,
            "errors": self.error_count,
            "trades": self.trades,
            "orders": {**self.orders, **({"open": len(self.open_orders)} if self.open_orders else {})},
            "decisions": self.decisions,
            "results": self.results.as_dict(),
            "fees": self.fees.as_dict(),
            "positions": [
                {"expert": expert, "symbol": symbol or None, "size": plain(held.position)}
                for expert, symbol, held in self.positions
            ],
            "dropped": self.dropped,
            "recovered": self.recovered,
        }


class Runs:
    """The runs in a log directory.

    Args:
        listener: Is told of executions, and of orders that came to their end.

    Attributes:
        runs: All of them, in the order of their starts once `finish` was called.
        only: The process whose runs alone are taken in whole: of the others come their times, ends and numbers of
            entries. None for all.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self.runs: list[Run] = []
        self.only: Process | None = None
        self.listener = listener or Listener()
        self._current: dict[Process, Run] = {}
        self._beginnings: list[tuple[Run, Run]] = []
        #: The latest orders, ended or not: after a step of the clock an earlier entry comes late.
        self._orders: deque[tuple[Run, OrderLife]] = deque()

    def count(self, block: Block) -> None:
        """Count the entries of a block."""
        self._run_of(block.process, block.key[0], block.ranges).count_all(block)

    def feed(self, entry: Entry, *, counted: bool = False) -> Run:
        """Take in the next entry, and return its run; *counted* says that it is in a block that came before it."""
        self.listener.fed(entry)
        time, number, _ = entry.key
        process = entry.process
        holder = self._holder(process, number) if counted else None
        run = holder or self._run_of(process, time, [(number, number)])
        if holder is None:
            run.count(entry)
        if self.only not in (None, process):
            if entry.text.startswith("log."):
                run.take_own(entry)
        elif (order := run.take(entry, self.listener)) is not None:
            self._orders.append((run, order))
            if len(self._orders) > _RECENT_ORDERS:
                Run.age(*self._orders.popleft(), self.listener)
        if entry.text == "log.died":
            self._note_death(entry, run)
        return run

    def has(self, entry: Entry) -> bool:
        """Return whether a run of its process has the number of *entry*."""
        return self._holder(entry.process, entry.sequence_id) is not None

    def _holder(self, process: Process, number: int) -> Run | None:
        """Return the latest run that has that number."""
        run = self._current.get(process)
        if run is None or number in run.numbers:
            return run
        others = (one for one in reversed(self.runs) if one.process == process)
        return next((one for one in others if number in one.numbers), None)

    def _run_of(self, process: Process, time: bytes, ranges: list[tuple[int, int]]) -> Run:
        """Return the run that these numbers belong to, and add them to it."""
        run = self._current.get(process)
        first = ranges[0][0]
        # The beginning of another run, if that of this one is lost; or of this one, and the clock stepped back.
        again = (
            run is not None and first == 1 and bool(run.numbers.ranges) and time > run.last
            and run.numbers.ranges[0][0] > ranges[-1][1] + 1
        )  # fmt: skip
        if run is None or again or (first and not run.numbers.add_all(ranges)):
            before, run = run, Run(process, time, time, whole=self.only in (None, process))
            run.numbers.add_all(ranges)
            self.runs.append(run)
            self._current[process] = run
            if again and before is not None:
                self._beginnings.append((before, run))
        return run

    def _note_death(self, entry: Entry, by: Run) -> None:
        process = str(entry.get("died_hostname")), str(entry.get("died_procid"))
        dead = [run for run in self.runs if run.process == process and run is not by and run.end.how == UNKNOWN]
        if dead:
            max(dead, key=lambda run: run.last).end = marked(entry.flat)

    def finish(self, ends: Mapping[tuple[str, str], End], *, marked_all: bool) -> list[Run]:
        """Return the runs in the order of their starts.

        Args:
            ends: How those processes stand whose journal is not closed, by host and process id.
            marked_all: Whether a run without any mark was closed.
        """
        for later, beginning in self._beginnings:
            ranges = later.numbers.ranges
            if beginning.numbers.ranges[-1][1] + 1 >= ranges[0][0] and beginning.numbers.fits(ranges):
                later.absorb(beginning)
                self.runs.remove(beginning)
                if self._current[later.process] is beginning:
                    self._current[later.process] = later
        for process, end in ends.items():
            if process in self._current:
                self._current[process].end = end
        for run in self.runs:
            run.finish(self.listener)
            if run.end.how == UNKNOWN and marked_all and run.numbers.ranges != [(0, 0)]:
                run.end = End(CLOSED)
        self.runs = sorted((run for run in self.runs if run.is_an_experts), key=lambda run: run.first)
        return self.runs


def exception_text(entry: Entry) -> str:
    """Return type and value of the exception of an entry; its message when it has none."""
    found = entry.get(schema.EXCEPTION_KEY)
    if not isinstance(found, Mapping):
        return entry.text
    return f"{found.get('type', '')}: {found.get('value', '')}"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
