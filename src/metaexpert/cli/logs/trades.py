"""`metaexpert logs trades`: executions, positions, and what they come to."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand
from metaexpert.cli.logs.select import Directories, selected, tell, with_filters, zone
from metaexpert.cli.progress import shown
from metaexpert.cli.tables import money, table
from metaexpert.logger.entry.console_text import time_text
from metaexpert.logs.questions.trades import Execution, Ledger

app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
@with_filters
def trades(
    context: typer.Context,
    directories: Directories = None,
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N|all", help="How many of the last executions to list.")
    ] = "20",
    form: Annotated[
        str,
        typer.Option("--format", metavar="text|json|csv", help="csv: the executions; json: these and the totals."),
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    **filters: Any,
) -> None:
    """Show executions and positions, and totals per expert and symbol.

    The totals are those of all trades that pass the filters, not only of
    those listed. What was realised is what entries say (pnl); where none
    does, it is computed at average cost. An execution that was logged twice
    under one trade_id counts once.

    Example:
      metaexpert logs trades --since today --symbol BTCUSDT
      metaexpert logs trades -n all --format csv > trades.csv
    """
    form = "json" if as_json else form
    if form not in ("text", "json", "csv"):
        raise output.InputError(f"--format: {form!r} should be text, json or csv")
    if limit != "all" and not limit.isdecimal():
        raise output.InputError(f"--limit: {limit!r} should be a number of executions, or all")
    ledger = Ledger()
    with shown(selected(context, directories, filters), "searching") as logs:
        listed = deque(ledger.read(logs), maxlen=None if limit == "all" else int(limit))
    tell(logs.counts)
    if form == "json":
        output.write(json.dumps(_as_dict(ledger, listed), ensure_ascii=False, indent=2) + "\n")
    elif form == "csv":
        output.write_exact(_csv(listed))
    elif not ledger.totals:
        output.complain("note", ["there are no trades"])
    else:
        output.write(_listed(listed, zone(filters.get("tz"))) + "\n" + _totals(ledger))


def _as_dict(ledger: Ledger, listed: deque[Execution]) -> dict[str, Any]:
    totals = [
        {"expert": expert, "symbol": symbol or None, **total.as_dict()}
        for (expert, symbol), total in ledger.totals.items()
    ]
    executions = [execution.as_dict() for execution in listed]
    return {"executions": executions, "totals": totals, "duplicates": ledger.duplicates}


def _csv(listed: deque[Execution]) -> str:
    columns = ("timestamp", "expert", "symbol", "side", "size", "price", "fee", "pnl", "order_id", "trade_id")
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(execution.as_dict() for execution in listed)
    return text.getvalue()


def _listed(listed: deque[Execution], tz: Any) -> str:
    headers = ("time", "expert", "symbol", "side", "size", "price", "fee", "order", "trade")
    rows = [
        (
            time_text(one.entry.data["timestamp"], tz),
            one.entry.expert,
            one.symbol,
            "BUY" if one.side > 0 else "SELL",
            money(one.size),
            money(one.price),
            money(one.fee),
            one.order_id,
            one.trade_id,
        )
        for one in listed
    ]
    return table(headers, rows, right=("size", "price", "fee"))


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
            money(total.fees),
            money(total.pnl, sign=True),
            money(total.net, sign=True),
            money(total.position),
            money(total.entry_price),
        )
        for (expert, symbol), total in ledger.totals.items()
    ]
    text = table(headers, rows, right=headers[2:])
    if ledger.duplicates:
        text += f"{ledger.duplicates} entries told a trade again and are not counted\n"
    return text
