"""`metaexpert logs trades`: executions, positions and totals."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import JsonFormat, format_name, number, reading, with_filters, zone
from metaexpert.cli.tables import csv_table, day_column, table
from metaexpert.logger.entry.console_text import time_text
from metaexpert.logs.library import Logs
from metaexpert.logs.trades import Execution, Ledger
from metaexpert.logs.vocabulary import SIDES, amounts, money


@with_filters
def trades(
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N|all", help="How many of the last executions to list.")
    ] = "20",
    form: Annotated[
        str,
        typer.Option("--format", metavar="text|json|csv", help="csv: the executions; json: also the totals."),
    ] = "text",
    as_json: JsonFormat = False,
    **filters: Any,
) -> None:
    """Show executions and positions, with totals per expert and symbol.

    Totals cover all trades that pass the filters, not only those listed. The
    realised result is the sum of the pnl in the entries; if none has one, it
    is computed at average cost, with --since from the positions before that
    time. An execution that was logged twice with one
    trade_id counts once.

    Example:
      metaexpert logs trades --since today --symbol BTCUSDT
      metaexpert logs trades -n all --format csv > trades.csv
    """
    form = format_name(form, as_json=as_json)
    most = None if limit == "all" else number("--limit", limit, "a number of executions, or all")
    with reading(filters, "searching", files=True, stores=True) as logs:
        ledger, listed = _read(logs, most)
    if form == "json":
        output.write_json(_as_dict(ledger, listed))
    elif form == "csv":
        write = output.write if output.to_terminal() else output.write_exact
        write(_csv(listed))
    elif not ledger.totals:
        output.complain("note", ["there are no trades"])
    else:
        output.write(_listed(listed, zone(filters.get("tz"))) + "\n" + _totals(ledger))


def _read(logs: Logs, limit: int | None) -> tuple[Ledger, deque[Execution]]:
    """Return the totals, and the last executions; what was bought before the earliest time may be sold after it."""
    ledger = Ledger()
    listed = deque(ledger.read(logs), maxlen=limit)
    if logs.criteria.since and ledger.is_computed:
        ledger = Ledger()
        listed = deque(ledger.read(logs, opening=True), maxlen=limit)
    return ledger, listed


def _as_dict(ledger: Ledger, listed: deque[Execution]) -> dict[str, Any]:
    totals = [
        {"expert": expert, "symbol": symbol or None, **total.as_dict()}
        for (expert, symbol), total in ledger.totals.items()
    ]
    executions = [execution.as_dict() for execution in listed]
    return {"executions": executions, "totals": totals, "duplicates": ledger.duplicates}


def _csv(listed: deque[Execution]) -> str:
    columns = ("timestamp", "expert", "symbol", "side", "size", "price", "fee", "pnl", "order_id", "trade_id")
    rows = (execution.as_dict() for execution in listed)
    return csv_table(columns, ([row[column] for column in columns] for row in rows))


def _listed(listed: deque[Execution], tz: Any) -> str:
    header, times = day_column([time_text(one.entry.data["timestamp"], tz) for one in listed], "time")
    headers = (header, "expert", "symbol", "side", "size", "price", "fee", "order", "trade")
    rows = [
        (
            time,
            one.entry.expert,
            one.symbol,
            SIDES[one.side],
            money(one.size),
            money(one.price),
            amounts(one.fees) or "0",
            one.order_id,
            one.trade_id,
        )
        for time, one in zip(times, listed, strict=True)
    ]
    return table(headers, rows, right=("size", "price", "fee"), width=output.width(), names=("expert", "symbol"))


def _totals(ledger: Ledger) -> str:
    headers = ("expert", "symbol", "fills", "bought", "sold", "turnover", "fees", "realised", "net", "position", "at")
    rows = [
        (
            expert,
            symbol,
            total.executions,
            money(total.bought),
            money(total.sold),
            money(total.turnover),
            amounts(total.costs) or "0",
            money(total.pnl, sign=True),
            money(total.net, sign=True),
            money(total.position),
            money(total.entry_price),
        )
        for (expert, symbol), total in ledger.totals.items()
    ]
    text = table(headers, rows, right=headers[2:], width=output.width(), names=headers[:2])
    if ledger.duplicates:
        text += f"{ledger.duplicates} entries told a trade again and are not counted\n"
    return text
