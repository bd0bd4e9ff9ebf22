"""The experts of a log directory as they stand now: read once from the files, then kept up with what is followed.

`Present.read` may take long for large files; `Present.feed` takes what `Logs.batches` yields, from its first batch on.
Nothing is written or locked. One thread at a time uses it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from metaexpert.logs.entry import Entry, Record, by_time
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.tally import tally
from metaexpert.logs.runs import ends
from metaexpert.logs.runs._blocks import TELLING, Counted, is_counted
from metaexpert.logs.runs.ends import End
from metaexpert.logs.runs.model import Run, Runs
from metaexpert.logs.runs.reading import entries_for
from metaexpert.logs.vocabulary import Amounts

#: Seconds over which the rate of entries is taken.
RATE_SECONDS: Final = 5.0
_TELLING: Final = Criteria(keys=TELLING)


@dataclass(frozen=True, slots=True)
class ExpertState:
    """An expert as it stands.

    Attributes:
        name: Its name.
        directory: Where it logs.
        end: How its last run stands, ``running`` while its process lives.
        last: Time of its last entry.
        rate: Entries a second lately.
        dropped: Entries of the run that there was no room for.
        positions: Open positions: symbol and size.
        orders: How many orders are open.
        errors: How many errors the run logged.
        today: Realised result of today (UTC), before fees, for each currency.
    """

    name: str
    directory: Path
    end: End
    last: datetime
    rate: float
    dropped: int
    positions: list[tuple[str, Decimal]]
    orders: int
    errors: int
    today: Amounts


@dataclass(slots=True)
class _Day:
    """The results of a run before a day began."""

    day: bytes = b""
    before: dict[tuple[str, str], Decimal] = field(default_factory=dict)


class Present:
    """The experts of one directory.

    Args:
        logs: The logs of that directory, without filters.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._directory = logs.directories[0]
        self._runs = Runs()
        self._days: dict[int, _Day] = {}
        self._lately: deque[tuple[float, Counter[str]]] = deque()

    def read(self) -> None:
        """Read all that is in the files."""
        for entry, counted in entries_for(self._logs, self._runs):
            self._take(entry, counted=counted)

    def feed(self, batch: Iterable[Record], *, again: bool = False) -> None:
        """Take in what was followed; *again* if `read` may have come by some of it."""
        entries = [one for one in batch if isinstance(one, Entry) and not (again and self._runs.has(one))]
        entries.sort(key=by_time)  # a look at one file comes after that at another
        data = b"".join(entry.line + b"\n" for entry in entries)
        # Most entries say nothing of orders and results. They are counted together, which costs a tenth.
        counting, found = Counted(self._logs.criteria), tally(data, keys=TELLING)
        counting.see(data, found)
        lately = Counter[str]()
        for block in counting.blocks:
            self._runs.count(block)
            lately.update(block.experts)
        telling = {*_TELLING.told(data, found).lines(data)}
        for entry in (entry for entry in entries if entry.line in telling):
            counted = is_counted(entry.line)
            self._take(entry, counted=counted)
            lately.update([] if counted else [entry.expert])
        if not again:
            self._lately.append((time.monotonic(), lately))

    def _take(self, entry: Entry, *, counted: bool) -> None:
        run = self._runs.feed(entry, counted=counted)
        if run.ledger.totals:
            day = self._days.setdefault(id(run), _Day())
            if day.day < entry.key[0][:10]:
                before = {key: totals.pnl for key, totals in run.ledger.totals.items()} if day.day else {}
                day.day, day.before = entry.key[0][:10], before

    def experts(self) -> list[ExpertState]:
        """Return the experts as they stand, in the order in which they first appeared."""
        states, marked = ends.found_in(self._directory), ends.keeps_marks(self._directory)
        while self._lately and self._lately[0][0] < time.monotonic() - RATE_SECONDS:
            self._lately.popleft()
        rates = sum((counted for _, counted in self._lately), Counter[str]())
        last_runs = {name: run for run in self._runs.runs for name in run.experts}
        return [
            self._state(name, run, run.end_so_far(states, marked_all=marked), rates[name] / RATE_SECONDS)
            for name, run in last_runs.items()
        ]

    def _state(self, name: str, run: Run, end: End, rate: float) -> ExpertState:
        return ExpertState(
            name=name,
            directory=self._directory,
            end=end,
            last=run.ended,
            rate=rate,
            dropped=run.dropped,
            positions=[(symbol, held.position) for expert, symbol, held in run.positions if expert == name],
            orders=sum(name in order.experts for order in run.pending),
            errors=run.error_count,
            today=self._today(name),
        )

    def _today(self, name: str) -> Amounts:
        today = datetime.now(UTC).date().isoformat().encode()
        sums = Amounts()
        for run in self._runs.runs:
            day = self._days.get(id(run))
            if day is not None and day.day == today:
                sums.add(
                    (totals.currency, totals.pnl - day.before.get((expert, symbol), Decimal()))
                    for (expert, symbol), totals in run.ledger.totals.items()
                    if expert == name and totals.has_result
                )
        return sums
