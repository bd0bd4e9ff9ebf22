"""`metaexpert logs why`: how the last run ended, why an order was placed, what was decided at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import tzinfo
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, parsed_time, reading, with_filters, zone
from metaexpert.logger.entry.console_text import escape, fold
from metaexpert.logs import Entry
from metaexpert.logs.runs.page import entry_texts, run_lines, section, time_of
from metaexpert.logs.runs.why import Chain, Moment, Verdict, chain, moment_of, verdict
from metaexpert.logs.vocabulary import amounts, money

#: Columns of the labels before the steps of an order.
_LABEL: Final = 11


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
        with reading(filters, "searching", stores=True) as logs:
            moment = moment_of(logs, symbols[0], parsed_time("--at", at, tz))
        _print(moment, _moment_lines(moment, tz), as_json=as_json)
    else:
        _tell_run(filters, tz, as_json=as_json)


def _print(found: Chain | Moment | Verdict, lines: Iterator[str], *, as_json: bool, beside: int = 0) -> None:
    """Print what was found; its *lines* are folded on a terminal, *beside* labels of so many columns."""
    if as_json:
        output.write_json(found.as_dict())
    else:
        room = output.width() or sys.maxsize
        for line in lines:
            hanging = beside or len(line) - len(line.lstrip()) + 2
            output.write("".join(f"{part}\n" for part in fold(escape(line), room, hanging)))


def _tell_run(filters: dict[str, Any], tz: tzinfo, *, as_json: bool) -> None:
    with reading(filters, "reading", stores=True) as logs:
        found = verdict(logs, last_only=not as_json)
    if found.run is None:
        output.complain("error", [f"no run in {' and '.join(map(str, logs.places))}"])
        raise typer.Exit(1)
    _print(found, run_lines(found, found.run, tz, output.width()), as_json=as_json)
    if found.is_bad:
        raise typer.Exit(1)


def _tell_order(orders: list[str], filters: dict[str, Any], tz: tzinfo, *, as_json: bool) -> None:
    for order_id in orders:
        with reading(filters, "searching", stores=True) as logs:
            found = chain(logs, order_id)
        if not found.life.steps:
            output.complain("error", [f"nothing is logged about order {order_id}"])
            raise typer.Exit(1)
        _print(found, _chain_lines(found, tz), as_json=as_json, beside=_LABEL)


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
        yield f"{kind:<10} {time_of(step.entry.time, tz)} {step.entry.text}{price}{fees}"
    yield f"order      {found.life.status or 'unknown'}" + (
        f", result {money(found.life.pnl)}" if found.life.pnl else ""
    )


def _decision_text(entry: Entry, tz: tzinfo) -> str:
    because = entry.get("because")
    return f"{time_of(entry.time, tz)} {entry.get('decision')}" + (f" because {because}" if because is not None else "")


def _moment_lines(found: Moment, tz: tzinfo) -> Iterator[str]:
    when = time_of(found.at, tz)
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
    yield from section("Entries within that minute", entry_texts(found.around, tz, output.width()))
