"""`page_of`: a report as one page of HTML, which needs no script, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, tzinfo
from decimal import Decimal
from functools import partial
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from metaexpert.logger.entry.console_text import TO_THE_SECOND, escape, time_text
from metaexpert.logs.report import _charts as charts
from metaexpert.logs.report.figures import amount_text

#: Bytes of the page that the orders may take, runs that are listed, and symbols with a chart.
_ORDERS_SIZE: Final = 600_000
_MOST_RUNS: Final = 200
_MOST_CHARTS: Final = 8
_LONGEST: Final = 500


#: Returns a timestamp for people, to the second.
_Clock = Callable[[str | None], str]


def page_of(report: dict[str, Any], tz: tzinfo = UTC) -> str:
    """Return the page of a report that `metaexpert.logs.report.figures.collect_report` made, its times in *tz*."""
    style, clock = _file("page.css"), partial(_time, tz)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "time": clock, "count": _count, "amount": _amount, "signed": _signed, "sign": _sign, "plain": _plain,
        "number": _number, "money": _money,
    }  # fmt: skip
    template = environment.from_string(_file("page.html"))
    return template.render(
        r=report,
        title=_plain(", ".join(report["experts"]) or "MetaExpert") + ": report",
        style=Markup(style),  # noqa: S704 - ours
        style_hash=f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}",
        zone=str(tz),
        charts=list(_charts(report, clock)),
        runs=report["runs"][-_MOST_RUNS:],
        orders=_orders(report["orders"]["listed"], tz),
    )


def _file(name: str) -> str:
    return resources.files("metaexpert.logs.report").joinpath(name).read_text("utf-8")


def _charts(report: dict[str, Any], clock: _Clock) -> Iterator[dict[str, Any]]:
    for currency, one in report["money"].items():
        if not one["has_result"]:
            continue
        points = [(time, Decimal(value)) for time, value in one["equity"]]
        values = [value for _, value in points]
        yield _chart(
            f"Equity in {currency or 'unknown currency'}", charts.curve(points, "Result after fees over time"),
            max(*values, Decimal()), min(*values, Decimal()), clock(points[0][0]), clock(points[-1][0]),
            "realised, after fees",
        )  # fmt: skip
        if one["drawdown"] != "0":
            yield _chart(
                f"Drawdown in {currency}", charts.drawdown(points, "Distance from the highest equity so far"),
                Decimal(), -Decimal(one["drawdown"]), clock(points[0][0]), clock(points[-1][0]), "",
            )  # fmt: skip
        days = [(day["day"], Decimal(day["result"]) - Decimal(day["fees"])) for day in report["days"]
                if day["currency"] == currency]  # fmt: skip
        if len(days) > 1:
            results = [result for _, result in days]
            note = f"{sum(result > 0 for result in results)} of {len(days)} days with a gain"
            yield _chart(
                f"Result by day in {currency}", charts.bars(results, "Result of each day"),
                max(*results, Decimal()), min(*results, Decimal()), days[0][0], days[-1][0], note,
            )  # fmt: skip
    most = sorted(report["prices"].items(), key=lambda item: -item[1]["count"])[:_MOST_CHARTS]
    for symbol, one in most:
        fills = [(time, Decimal(price), side) for time, price, side in one["shown"]]
        bars = [(time, Decimal(price), 0) for time, price in one["bars"]]
        shown = sorted([*fills, *bars])
        prices = [price for _, price, _ in shown]
        some = f"; {len(fills):,} of {one['count']:,}" if len(fills) < one["count"] else ""
        yield _chart(
            f"Trades in {_plain(symbol) or 'no symbol'}", charts.trades(shown, "Price of each trade"), max(prices),
            min(prices), clock(shown[0][0]), clock(shown[-1][0]), f"green: bought, red: sold{some}",
        )  # fmt: skip


def _chart(title: str, svg: Markup, high: Decimal, low: Decimal, begin: str, end: str, note: str) -> dict[str, Any]:
    return {
        "title": title, "svg": svg, "high": _amount(high), "low": _amount(low), "begin": begin, "end": end,
        "note": note,
    }  # fmt: skip


def _orders(listed: list[dict[str, Any]], tz: tzinfo) -> list[Markup]:
    """Return the latest orders, the latest first, as many as there is room for."""
    found: list[Markup] = []
    size = 0
    for order in reversed(listed):
        text = Markup("<details><summary>{}</summary><p>{}</p></details>\n").format(
            _summary(order, tz), _steps(order, tz)
        )
        size += len(text.encode())
        if size > _ORDERS_SIZE:
            break
        found.append(text)
    return found


def _summary(order: dict[str, Any], tz: tzinfo) -> str:
    begun = _time(tz, order["steps"][0]["timestamp"]) if order["steps"] else ""
    price = f"at {_amount(order['average_price'])}" if order["average_price"] else ""
    slippage = "" if order["slippage_bps"] is None else f"slippage {_number(order['slippage_bps'])} bps"
    result = f"result {_signed(order['pnl'])}" if order["pnl"] else ""
    size = order["filled"] if order["filled"] != "0" else order["size"]
    order_of = (begun, order["side"], _amount(size), order["symbol"], order["status"], price)
    parts = (" ".join(str(part) for part in order_of if part), slippage, result, order["order_id"])
    return _plain(", ".join(part for part in parts if part))


def _steps(order: dict[str, Any], tz: tzinfo) -> str:
    lines = []
    for step in order["steps"]:
        filled = f" {_amount(step['size'])} at {_amount(step['price'])}" if step["size"] and step["price"] else ""
        fees = f", fee {_money(step['fees'])}" if step["fees"] else ""
        reason = f": {step['reason']}" if step["reason"] else ""
        lines.append(_plain(f"{time_text(step['timestamp'], tz)[11:23]} {step['step']}{filled}{fees}{reason}"))
    return "\n".join(lines)


def _plain(text: object) -> str:
    """Return a text of the log for people: control characters escaped, and cut where it is long."""
    shown = escape(str(text))
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def _time(tz: tzinfo, text: str | None) -> str:
    return time_text(text, tz)[:TO_THE_SECOND] if text else ""


def _count(number: int) -> str:
    return f"{number:,}"


def _amount(value: str | Decimal | None) -> str:
    if value is None:
        return ""
    return amount_text(Decimal(value))


def _signed(value: str | None) -> str:
    return ("+" if value and Decimal(value) > 0 else "") + _amount(value)


def _sign(value: str | None) -> str:
    number = Decimal(value or 0)
    return "gain" if number > 0 else "loss" if number < 0 else ""


def _number(value: float) -> str:
    return f"{value:,.4g}"


def _money(sums: dict[str, str]) -> str:
    return ", ".join(f"{_amount(amount)} {_plain(currency)}".rstrip() for currency, amount in sums.items())
