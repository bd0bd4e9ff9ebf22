"""`metaexpert logs why`: how the last run ended, why an order was placed, what was decided at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, parsed_time, reading, with_filters, zone
from metaexpert.cli.tables import amounts, counted, money, seconds
from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import ConsoleText, TerminalText, escape, time_text
from metaexpert.logs import Entry
from metaexpert.logs.runs.model import Run
from metaexpert.logs.runs.why import Chain, Moment, Verdict, chain, held, last_errors, moment_of, reason_of, verdict
from metaexpert.logs.vocabulary import SIDES, plain

#: How an end is told, and what to do next.
_ENDS: Final = {
    "closed": ("was closed as it should be", ""),
    "running": ("is running", ""),
    "uncaught": ("was ended by an exception that nobody caught", "mend the error; its traceback: {logs} -l critical"),
    "crashed": ("crashed", "look for the library of the first frame below; its native code failed"),
    "killed or power lost": (
        "was killed, or the power was lost", "look for a kill: dmesg | grep -i kill, journalctl, the supervisor's log"
    ),
    "replaced by another program": ("was replaced by another program (exec)", ""),
    "unknown": ("has ended; how is not known, since .metaexpert/ is not beside the files", ""),
}  # fmt: skip
_MOST: Final = 10
#: Columns that lines of a section are set in, and the fields of an entry that are not told.
_INDENT: Final = 2
_BELOW: Final = {schema.EXCEPTION_KEY, schema.STACK_KEY}


@with_filters
def why(
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="With --symbol: what was decided then.")
    ] = None,
    as_json: Json = False,
    **filters: Any,
) -> None:
    """Tell how the last run ended and why, and what to do next.

    One page: its end, its last errors, open positions and orders, the last
    entries, and what waits in the journal. The last run is the one that ended
    last, unless another one has started since.

    --order ID tells why an order was placed: signal, decision, order, fills,
    position. --symbol S --at TIME tells what was decided then, or that
    nothing was. Both need logger.decision.

    Exit code 1: it ended badly.

    Example:
      metaexpert logs why
      metaexpert logs why --order ord-42
      metaexpert logs why --symbol BTCUSDT --at 14:05
    """
    tz, orders, symbols = zone(filters.get("tz")), filters.pop("order"), filters.get("symbol")
    if at is not None and (not symbols or len(symbols) > 1):
        raise output.InputError("--at: give one --symbol as well")
    if orders:
        _tell_order(orders, filters, tz, as_json=as_json)
    elif at is not None and symbols:
        del filters["symbol"]
        with reading(filters, "searching") as logs:
            moment = moment_of(logs, symbols[0], parsed_time("--at", at, tz))
        _print(moment, _moment_lines(moment, tz), as_json=as_json)
    else:
        _tell_run(filters, tz, as_json=as_json)


def _print(found: Chain | Moment | Verdict, lines: Iterator[str], *, as_json: bool) -> None:
    if as_json:
        output.write_json(found.as_dict())
    else:
        output.write("".join(f"{escape(line)}\n" for line in lines))


def _tell_run(filters: dict[str, Any], tz: tzinfo, *, as_json: bool) -> None:
    with reading(filters, "reading") as logs:
        found = verdict(logs, last_only=not as_json)
    if found.run is None:
        output.complain("error", [f"no run in {' and '.join(map(str, logs.directories))}"])
        raise typer.Exit(1)
    _print(found, _run_lines(found, found.run, tz), as_json=as_json)
    if found.is_bad:
        raise typer.Exit(1)


def _run_lines(found: Verdict, run: Run, tz: tzinfo) -> Iterator[str]:
    words, advice = _ENDS.get(run.end.how, (run.end.how, ""))
    name, when = (
        ", ".join(run.experts) or "the program",
        "" if run.end.how == "running" else f" at {_time(run.ended, tz)}",
    )
    yield f"{name} {words}{when}."
    if reason := reason_of(run):
        yield f"Why: {reason}"
    yield from (f"  {frame}" for frame in run.end.facts.get("frames", ()))
    span = seconds((run.ended - run.start).total_seconds()).lstrip("+")
    yield (
        f"It began at {_time(run.start, tz)} ({span}), process {run.process[1]} on {run.process[0]}: "
        f"{counted(run.entries, 'entry')}, {counted(run.error_count, 'error')}, {counted(run.trades, 'trade')}"
    )
    if run.results or run.fees:
        yield f"Result: {amounts(run.results) or '0'} before fees of {amounts(run.fees) or '0'}"
    if run.dropped:
        yield f"{counted(run.dropped, 'entry')} had no room and were dropped."
    yield from _section("Open positions", held(run))
    yield from _section("Open orders", [_order_text(order) for order in run.open_orders[:_MOST]])
    errors = [
        f"{group.count} x {text}, last at {_time(group.last.time, tz)}" for text, group in last_errors(run)[:_MOST]
    ]
    yield from _section("Errors", errors)
    yield from _section("Last entries", _entry_texts(found.last, tz, output.width()))
    if found.before is not None:
        yield ""
        yield f"The run before {_ENDS.get(found.before.end.how, ('ended',))[0]} at {_time(found.before.ended, tz)}."
    if found.others:
        yield f"Running beside it: {', '.join(name for other in found.others for name in other.experts)}"
    yield from _section("Next", list(_next(found, advice)))


def _next(found: Verdict, advice: str) -> Iterator[str]:
    for path, count in found.waiting.items():
        yield f"{counted(count, 'entry')} only in the journal: metaexpert logs recover {path}, or a new start"
    if advice:
        yield advice.format(logs=f"metaexpert logs {found.directory}")
    run = found.run
    if run is not None and run.end.how != "running" and (run.open_orders or held(run)):
        yield "compare open orders and positions with those at the exchange"


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _order_text(order: Any) -> str:
    size = f"{plain(order.filled)} of {plain(order.size)}" if order.filled else plain(order.size)
    return " ".join(filter(None, [order.order_id, SIDES.get(order.side, ""), size, order.symbol, order.status]))


def _entry_text(entry: Entry, tz: tzinfo) -> str:
    return ConsoleText(False, tz)(entry.data).splitlines()[0]


def _entry_texts(entries: Iterable[Entry], tz: tzinfo, width: int) -> list[str]:
    """Return *entries*, without tracebacks, folded for a terminal of *width* columns; a line each if that is 0."""
    if not width:
        return [_entry_text(entry, tz) for entry in entries]
    shown = TerminalText(False, tz, width=width - _INDENT)
    texts = [shown({key: value for key, value in entry.data.items() if key not in _BELOW}) for entry in entries]
    return [line for text in texts for line in text.splitlines()]


def _time(time: Any, tz: tzinfo) -> str:
    return time_text(time.isoformat(timespec="microseconds").replace("+00:00", "Z"), tz)


def _tell_order(orders: list[str], filters: dict[str, Any], tz: tzinfo, *, as_json: bool) -> None:
    for order_id in orders:
        with reading(filters, "searching") as logs:
            found = chain(logs, order_id)
        if not found.life.steps:
            output.complain("error", [f"nothing is logged about order {order_id}"])
            raise typer.Exit(1)
        _print(found, _chain_lines(found, tz), as_json=as_json)


def _chain_lines(found: Chain, tz: tzinfo) -> Iterator[str]:
    for entry in found.decisions:
        if (signal := entry.get("signal")) is not None:
            yield f"signal     {signal}"
        yield f"decision   {_decision_text(entry, tz)}"
    if not found.decisions:
        lost = f", its entry ({', '.join(found.ids)}) is not there" if found.ids else " was logged with it"
        yield f"decision   none{lost}"
    for step in found.life.steps:
        kind = "fill" if step.size is not None else "position" if step.step == "position" else "order"
        price = f" {money(step.size)} at {money(step.price)}" if step.size is not None else ""
        fees = f", fee {amounts(step.fees)}" if step.fees else ""
        yield f"{kind:<10} {_time(step.entry.time, tz)} {step.entry.text}{price}{fees}"
    yield f"order      {found.life.status or 'unknown'}" + (
        f", result {money(found.life.pnl)}" if found.life.pnl else ""
    )


def _decision_text(entry: Entry, tz: tzinfo) -> str:
    because = entry.get("because")
    return f"{_time(entry.time, tz)} {entry.get('decision')}" + (f" because {because}" if because is not None else "")


def _moment_lines(found: Moment, tz: tzinfo) -> Iterator[str]:
    when = _time(found.at, tz)
    if found.then:
        yield f"Decided about {found.symbol} at {when}:"
        for entry in found.then:
            signal = entry.get("signal")
            yield f"  {_decision_text(entry, tz)}" + (f" (signal {signal})" if signal is not None else "")
    else:
        yield f"Nothing was decided about {found.symbol} at {when}."
    if found.before is not None:
        yield f"The decision before: {_decision_text(found.before, tz)}"
    if found.after is not None:
        yield f"The decision after: {_decision_text(found.after, tz)}"
    yield from _section("Entries within that minute", [_entry_text(entry, tz) for entry in found.around])
