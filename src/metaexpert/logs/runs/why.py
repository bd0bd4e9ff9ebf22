"""Why: how the last run ended, the reasons for an order, and what was decided about a symbol at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry, moment, parse, written_by
from metaexpert.logs.library import Logs
from metaexpert.logs.orders import OrderLife, order_life
from metaexpert.logs.reading.files import LogFile, find_logs
from metaexpert.logs.reading.merge import ignore
from metaexpert.logs.runs.ends import RUNNING
from metaexpert.logs.runs.model import Run
from metaexpert.logs.runs.names import folded_name
from metaexpert.logs.runs.reading import Directory, read_runs
from metaexpert.logs.store.store import Store
from metaexpert.logs.vocabulary import FILLED, PARTIALLY_FILLED, POSITION, money, plain

#: A decision this near to the time in the question was made then.
THEN: Final = timedelta(minutes=1)
_MOST_AROUND: Final = 20
#: Entries around the end of a run.
_LAST: Final = 12


@dataclass(slots=True)
class Verdict:
    """How the last run ended: the one that ended last, unless another one has started since.

    Attributes:
        directory: Where it logged: a directory or a store.
        run: The run; None when there is none.
        before: The run before it.
        others: Runs that go on beside it.
        waiting: How many entries wait in the journals of dead processes, by directory.
        last: The last entries of the run.
        recorded: Files in its directory that the flight recorder dumped of it.
    """

    directory: Path | Store | None = None
    run: Run | None = None
    before: Run | None = None
    others: list[Run] = field(default_factory=list)
    waiting: dict[Path | Store, int] = field(default_factory=dict)
    last: list[Entry] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        """Whether it ended badly."""
        return self.run is not None and self.run.end.is_bad

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; money as exact text."""
        run = self.run
        return {
            "directory": str(self.directory) if self.directory else None,
            "bad": self.is_bad,
            "run": run.as_dict() if run else None,
            "errors": [
                {"error": text, "count": group.count, "last": group.last.timestamp, "message": group.last.text}
                for text, group in last_errors(run)
            ],
            "open_orders": [order.as_dict() for order in run.open_orders] if run else [],
            "last_entries": [entry.data for entry in self.last],
            "recorded": self.recorded,
            "before": self.before.as_dict() if self.before else None,
            "running": [other.as_dict() for other in self.others],
            "waiting": {str(path): count for path, count in self.waiting.items()},
        }


def verdict(logs: Logs, wanted: Callable[[Run], bool] = lambda _: True, *, last_only: bool = False) -> Verdict:
    """Return how the last run in *logs* ended.

    Args:
        logs: The logs.
        wanted: Which runs it may be.
        last_only: Of the other runs only times, ends and experts are asked for, which takes less time.
    """
    found = _verdict(logs, read_runs(logs, last_only=last_only), wanted)
    return found if found.run is None or found.run.whole else _verdict(logs, read_runs(logs), wanted)


def _verdict(logs: Logs, directories: list[Directory], wanted: Callable[[Run], bool]) -> Verdict:
    found = Verdict(waiting={one.path: len(one.waiting) for one in directories if one.waiting})
    runs = sorted(((_event(run), number, run) for number, one in enumerate(directories) for run in one.runs),
                  key=lambda item: item[:2])  # fmt: skip
    if chosen := [at for at, (*_, run) in enumerate(runs) if wanted(run)]:
        _, number, found.run = runs[chosen[-1]]
        found.directory = directories[number].path
        found.before = runs[chosen[-1] - 1][-1] if chosen[-1] else None
        found.others = [run for *_, run in runs if run.end.how == RUNNING and run is not found.run]
        here = replace(logs.at(found.directory), copies=False, progress=ignore)
        found.last = _last_entries(found.run, here, directories[number].waiting)
        if isinstance(found.directory, Path):  # a store gets no dumps
            found.recorded = list(_dumps_of(found.run, found.directory, directories[number].runs))
    return found


def _dumps_of(run: Run, directory: Path, runs: Iterable[Run]) -> Iterator[str]:
    """Yield the files that the flight recorder dumped of *run*, the oldest first."""
    # Containers give a process id again and again.
    before = [other.ended for other in runs if other.process == run.process and other.start < run.start]
    earliest = f"{schema.RECORDER_PREFIX}{max(before):%Y%m%dT%H%M%S.%f}" if before else ""
    for name, chain in find_logs(directory, diagnostics=False, recorder=True).items():
        if not schema.is_recorder_file(name) or name <= earliest:
            continue
        with suppress(OSError), closing(LogFile(chain[-1])) as file:  # one that cannot be read tells nothing here
            first = parse(file.beginning(), name)
            if first is not None and first.process == run.process:
                yield name


def _last_entries(run: Run, logs: Logs, waiting: list[Entry]) -> list[Entry]:
    """Return the last entries of *run*, in the order of their numbers."""
    near = logs.filter(since=run.start, until=max(run.start, moment(run.last)), grep=written_by(*run.process))
    found = [entry for entry in near.last(_LAST) if isinstance(entry, Entry)]
    found += [entry for entry in waiting if entry.process == run.process]
    return sorted(found, key=lambda entry: entry.sequence_id)[-_LAST:]


def _event(run: Run) -> datetime:
    """Return when something last happened to a run: its end, or the start of one that goes on."""
    return run.start if run.end.how == RUNNING else max(run.start, run.ended)


def last_errors(run: Run | None) -> list[tuple[str, Any]]:
    """Return the groups of errors of *run*, the latest first."""
    return sorted(run.errors.items(), key=lambda item: item[1].last.key, reverse=True) if run else []


@dataclass(slots=True)
class Chain:
    """Signal, decision, order, fill, position: why an order was placed, and what became of it.

    Attributes:
        life: The order.
        decisions: The decisions whose id its entries bear.
        ids: Those ids, also if no entry of the decision is there.
    """

    life: OrderLife
    decisions: list[Entry]
    ids: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        steps = self.life.as_dict()["steps"]
        return {
            "signal": [entry.get("signal") for entry in self.decisions if entry.get("signal") is not None],
            "decisions": [entry.flat for entry in self.decisions],
            "order": self.life.as_dict(),
            "fills": [step for step in steps if step["step"] in (FILLED, PARTIALLY_FILLED) and step["size"]],
            "position": [step for step in steps if step["step"] == POSITION],
        }


def chain(logs: Logs, order_id: str) -> Chain:
    """Return why an order was placed; its life has no steps when no entry mentions it."""
    life = order_life(logs, order_id)
    found = (step.entry.get(schema.DECISION_ID) for step in life.steps)
    ids = list(dict.fromkeys(str(one) for one in found if one is not None))
    decisions = [entry for one in ids for entry in decisions_in(logs.filter(grep=one)) if _id(entry) == one]
    return Chain(life, decisions, ids)


def decisions_in(logs: Logs) -> Iterable[Entry]:
    """Yield the entries of *logs* that are decisions, in order of time."""
    for record in logs.filter(grep=f'"{schema.DECISION}":'):
        if isinstance(record, Entry) and record.get(schema.DECISION) is not None and _id(record) is not None:
            yield record


def _id(entry: Entry) -> str | None:
    found = entry.get(schema.DECISION_ID)
    return None if found is None else str(found)


@dataclass(slots=True)
class Moment:
    """What was decided about a symbol at a time.

    Attributes:
        then: The decisions within a minute of it.
        before: The last one before those.
        after: The first one after them.
        around: Other entries with the symbol within that minute, twenty at most.
    """

    symbol: str
    at: datetime
    then: list[Entry] = field(default_factory=list)
    before: Entry | None = None
    after: Entry | None = None
    around: list[Entry] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "symbol": self.symbol,
            "at": self.at.isoformat(),
            "decided": [entry.flat for entry in self.then],
            "before": self.before.flat if self.before else None,
            "after": self.after.flat if self.after else None,
            "around": [entry.flat for entry in self.around],
        }


def moment_of(logs: Logs, symbol: str, at: datetime) -> Moment:
    """Return what was decided about *symbol* at the time *at*."""
    found = Moment(symbol, at)
    for entry in decisions_in(logs):
        if not same_symbol(entry.get("symbol"), symbol):
            continue
        if abs(entry.time - at) <= THEN:
            found.then.append(entry)
        elif entry.time < at:
            found.before = entry
        elif found.after is None:
            found.after = entry
    for record in logs.filter(since=at - THEN, until=at + THEN):
        if isinstance(record, Entry) and _id(record) is None and same_symbol(record.get("symbol"), symbol):
            found.around.append(record)
            if len(found.around) == _MOST_AROUND:
                break
    return found


def same_symbol(one: Any, other: str) -> bool:
    """Return whether two spellings of a symbol are one: ``BTC/USDT`` and ``btcusdt``."""
    return one is not None and folded_name(str(one)) == folded_name(other)


def reason_of(run: Run) -> str:
    """Return in plain words what ended a run, as far as is known; empty for nothing."""
    facts = run.end.facts
    if "error" in facts:
        return str(facts["error"])
    return str(facts.get("signal", ""))


def held(run: Run) -> list[str]:
    """Return the open positions of a run, each as text."""
    return [
        f"{expert} holds {plain(totals.position)} {symbol}".rstrip()
        + (f" from {money(totals.entry_price)}" if totals.entry_price is not None else "")
        for expert, symbol, totals in run.positions
    ]
