"""`metaexpert logs order`: the life of one order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand
from metaexpert.cli.logs.select import Directories, selected, tell, with_filters, zone
from metaexpert.cli.progress import shown
from metaexpert.cli.tables import money, seconds, table
from metaexpert.logger.entry.console_text import escape, time_text
from metaexpert.logs.questions.orders import OrderLife, Step, order_life, plain

app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
@with_filters
def order(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(metavar="ID", help="The order_id, or the client_order_id.")],
    directories: Directories = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, amounts as exact text.")] = False,
    **filters: Any,
) -> None:
    """Show the whole life of an order, over all experts.

    Placed, acknowledged, partially filled, filled, cancelled, rejected: each
    entry with the time since the one before, what was executed at which
    price, slippage against the requested price, fees, and entries that were
    logged twice (DUPLICATE; they are not counted).

    Exit code 1: nothing is logged about it.

    Example:
      metaexpert logs order ord-42
      metaexpert logs order ord-42 ./ema ./rsi --json
    """
    with shown(selected(context, directories, filters), "searching") as logs:
        life = order_life(logs, order_id)
    tell(logs.counts)
    if not life.steps:
        output.complain("error", [f"nothing is logged about order {order_id}"])
        raise typer.Exit(1)
    if as_json:
        output.write(json.dumps(life.as_dict(), ensure_ascii=False, indent=2) + "\n")
        return
    output.write("".join(_summary(life)) + "\n" + _steps(life, zone(filters.get("tz"))))


def _summary(life: OrderLife) -> Iterator[str]:
    side = {1: "BUY", -1: "SELL"}.get(life.side, "")
    size = "" if life.size is None else plain(life.size)
    yield _line("order", " ".join(filter(None, [life.order_id, side, size, life.symbol, life.type])))
    other = sorted(life.ids - {life.order_id})
    yield _line("also", ", ".join(other))
    yield _line("expert", ", ".join(life.experts))
    yield _line("status", f"{life.status or 'unknown'}, {seconds(life.duration).lstrip('+')} from first to last entry")
    if life.filled:
        of = f" of {size}" if size else ""
        yield _line("filled", f"{plain(life.filled)}{of} at {money(life.average_price)} on average")
    if life.requested is not None:
        yield _line("requested", money(life.requested))
    if life.slippage is not None and life.slippage_bps is not None:
        worse = "worse" if life.slippage > 0 else "better" if life.slippage < 0 else "as requested"
        bps = float(life.slippage_bps) + 0.0  # no minus zero
        yield _line("slippage", f"{bps:+.2f} bps, {money(life.slippage, sign=True)} ({worse})")
    if life.filled:
        yield _line("fees", money(life.fees))
    yield _line("result", money(life.pnl, sign=True))
    yield _line("duplicates", str(life.duplicates or ""))


def _line(name: str, text: str) -> str:
    return f"{name:<11}{escape(text)}\n" if text else ""


def _steps(life: OrderLife, tz: Any) -> str:
    headers = ("time", "after", "step", "size", "price", "fee", "trade", "message")
    rows = [
        (
            time_text(step.entry.data["timestamp"], tz),
            seconds(step.after),
            step.step + (" DUPLICATE" if step.duplicate else ""),
            money(step.size),
            money(step.price),
            money(step.fee),
            step.trade_id,
            _message(step),
        )
        for step in life.steps
    ]
    return table(headers, rows, right=("after", "size", "price", "fee"))


def _message(step: Step) -> str:
    return step.entry.text + (f" ({step.reason})" if step.reason else "")
