"""The page of `metaexpert logs why` about a run, as lines of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import ConsoleText, TerminalText, time_text
from metaexpert.logs.entry import Entry
from metaexpert.logs.runs.model import Run
from metaexpert.logs.runs.why import Verdict, held, last_errors, reason_of
from metaexpert.logs.vocabulary import SIDES, amounts, counted, plain, seconds

#: How an end is told, and what to do next.
ENDS: Final = {
    "closed": ("was closed as it should be", ""),
    "running": ("is running", ""),
    "uncaught": ("was ended by an exception that nobody caught", "mend the error; its traceback: {logs} -l critical"),
    "crashed": ("crashed", "look for the library of the first frame below; its native code failed"),
    "killed or power lost": (
        "was killed, or the power was lost", "look for a kill: dmesg | grep -i kill, journalctl, the supervisor's log"
    ),
    "replaced by another program": ("was replaced by another program (exec)", ""),
    "unknown": ("has ended (how is not known: .metaexpert/ is not beside the files)", ""),
}  # fmt: skip
_MOST: Final = 10
#: Columns that lines of a section are set in, and the fields of an entry that are not told.
_INDENT: Final = 2
_BELOW: Final = {schema.EXCEPTION_KEY, schema.STACK_KEY}


def run_lines(found: Verdict, run: Run, tz: tzinfo, width: int = 0) -> Iterator[str]:
    """Yield the page of `metaexpert logs why` about *run*, its times in *tz*.

    Its last entries are folded for a terminal of *width* columns; 0 folds nothing.
    """
    words, _ = ENDS.get(run.end.how, (run.end.how, ""))
    when = "" if run.end.how == "running" else f" at {time_of(run.ended, tz)}"
    yield f"{name_of(run)} {words}{when}."
    yield from reason_lines(found, run, tz, width)


def name_of(run: Run) -> str:
    """Return the names of the experts of a run."""
    return ", ".join(run.experts) or "the program"


def reason_lines(found: Verdict, run: Run, tz: tzinfo, width: int = 0) -> Iterator[str]:
    """Yield the lines of `run_lines` behind the first."""
    advice = ENDS.get(run.end.how, ("", ""))[1]
    if reason := reason_of(run):
        yield f"Why: {reason}"
    yield from (f"  {frame}" for frame in run.end.facts.get("frames", ()))
    span = seconds((run.ended - run.start).total_seconds()).lstrip("+")
    yield (
        f"It began at {time_of(run.start, tz)} ({span}), process {run.process[1]} on {run.process[0]}: "
        f"{counted(run.entries, 'entry')}, {counted(run.error_count, 'error')}, {counted(run.trades, 'trade')}"
    )
    if run.results or run.fees:
        yield f"Result: {amounts(run.results) or '0'} before fees of {amounts(run.fees) or '0'}"
    if run.dropped:
        yield f"{counted(run.dropped, 'entry')} had no room and were dropped."
    yield from section("Open positions", held(run))
    yield from section("Open orders", [_order_text(order) for order in run.open_orders[:_MOST]])
    errors = [
        f"{group.count} x {text}, last at {time_of(group.last.time, tz)}" for text, group in last_errors(run)[:_MOST]
    ]
    yield from section("Errors", errors)
    yield from section("Last entries", entry_texts(found.last, tz, width))
    if found.before is not None:
        yield ""
        yield f"The run before {ENDS.get(found.before.end.how, ('ended',))[0]} at {time_of(found.before.ended, tz)}."
    if found.others:
        yield f"Running beside it: {', '.join(name for other in found.others for name in other.experts)}"
    yield from section("Next", list(_next(found, advice)))


def _next(found: Verdict, advice: str) -> Iterator[str]:
    for path, count in found.waiting.items():
        yield f"{counted(count, 'entry')} only in the journal: metaexpert logs recover {path}, or a new start"
    if advice:
        yield advice.format(logs=f"metaexpert logs {found.directory}")
    if found.recorded:
        yield f"the flight recorder kept what came before: metaexpert logs --recorder {found.directory}"
    run = found.run
    if run is not None and run.end.how != "running" and (run.open_orders or held(run)):
        yield "compare open orders and positions with those at the exchange"
    if found.before is not None and run is not None and not run.tells_positions and _has_trades(found):
        yield f"what earlier runs left open is not counted above: metaexpert logs trades -n 0 {found.directory}"


def _has_trades(found: Verdict) -> bool:
    return not isinstance(found.directory, Path) or any(found.directory.glob("trades.log*"))


def section(title: str, lines: list[str]) -> Iterator[str]:
    """Yield *lines* below their title; nothing when there are none."""
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _order_text(order: Any) -> str:
    size = f"{plain(order.filled)} of {plain(order.size)}" if order.filled else plain(order.size)
    return " ".join(filter(None, [order.order_id, SIDES.get(order.side, ""), size, order.symbol, order.status]))


def entry_text(entry: Entry, tz: tzinfo) -> str:
    """Return the first line of an entry."""
    return ConsoleText(False, tz)(entry.data).splitlines()[0]


def entry_texts(entries: Iterable[Entry], tz: tzinfo, width: int) -> list[str]:
    """Return *entries*, without tracebacks, folded for a terminal of *width* columns; a line each if that is 0."""
    if not width:
        return [entry_text(entry, tz) for entry in entries]
    shown = TerminalText(False, tz, width=width - _INDENT)
    texts = [shown({key: value for key, value in entry.data.items() if key not in _BELOW}) for entry in entries]
    return [line for text in texts for line in text.splitlines()]


def time_of(time: Any, tz: tzinfo) -> str:
    """Return a time for people."""
    return time_text(schema.timestamp(time), tz)
