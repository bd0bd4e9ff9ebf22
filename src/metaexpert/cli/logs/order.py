"""`metaexpert logs order`: the life of one order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, reading, with_filters, zone
from metaexpert.cli.tables import day_column, table
from metaexpert.logger.entry.console_text import escape, fold, time_text
from metaexpert.logs.orders import OrderLife, order_life
from metaexpert.logs.vocabulary import SIDES, amounts, money, plain, seconds

#: Columns of the names before the lines of the summary.
_NAME: Final = 11


@with_filters
def order(
    order_id: Annotated[
        str, typer.Argument(metavar="ID", help="Any of its ids: the exchange's, the client's, a ticket.")
    ],
    as_json: Json = False,
    **filters: Any,
) -> None:
    """Show the whole life of an order, across all experts.

    Lists every step (placed, acknowledged, partially filled, filled,
    cancelled, rejected) with the time since the step before, executed size
    and price, and fees, and sums up fees and slippage. An entry that repeats
    a step is marked DUPLICATE and not counted.

    Exit code 1: no entry mentions the order.

    Example:
      metaexpert logs order ord-42
      metaexpert logs order ord-42 ./ema ./rsi --json
    """
    with reading(filters, "searching", files=True, stores=True) as logs:
        life = order_life(logs, order_id)
    if not life.steps:
        output.complain("error", [f"nothing is logged about order {order_id}"])
        raise typer.Exit(1)
    if as_json:
        output.write_json(life.as_dict())
    else:
        output.write("".join(_summary(life)) + "\n" + _steps(life, zone(filters.get("tz"))))


def _summary(life: OrderLife) -> Iterator[str]:
    side = SIDES.get(life.side, "")
    size = plain(life.size)
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
        yield _line("fees", amounts(life.costs) or "0")
    yield _line("result", money(life.pnl, sign=True))
    yield _line("duplicates", str(life.duplicates or ""))


def _line(name: str, text: str) -> str:
    if not text:
        return ""
    lines = fold(f"{name:<{_NAME}}{escape(text)}", output.width() or sys.maxsize, _NAME)
    return "".join(f"{line}\n" for line in lines)


def _steps(life: OrderLife, tz: Any) -> str:
    header, times = day_column([time_text(step.entry.data["timestamp"], tz) for step in life.steps], "time")
    headers = (header, "after", "step", "size", "price", "fee", "trade", "message")
    rows = [
        (
            time,
            seconds(step.after),
            step.step + (" DUPLICATE" if step.duplicate else ""),
            money(step.size),
            money(step.price),
            amounts(step.fees),
            step.trade_id,
            step.entry.text + (f" ({step.reason})" if step.reason else ""),
        )
        for time, step in zip(times, life.steps, strict=True)
    ]
    return table(headers, rows, right=("after", "size", "price", "fee"), width=output.width())
