"""`collect_report`: the figures of a report, out of the model of the runs. Memory is bounded for logs of any size."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import time_text
from metaexpert.logs._distribution import Distribution
from metaexpert.logs.entry import Entry
from metaexpert.logs.library import Logs
from metaexpert.logs.orders import OrderLife
from metaexpert.logs.report._series import Equity, Trades
from metaexpert.logs.runs.model import Listener, Run
from metaexpert.logs.runs.reading import Directory, read_runs
from metaexpert.logs.runs.why import reason_of
from metaexpert.logs.trades import Execution, Totals
from metaexpert.logs.vocabulary import EXECUTIONS, REJECTED, Amounts, Facts, currency_of, number, plain

#: Orders that are listed, the latest; groups of errors, reasons of rejections and symbols that are told.
_MOST_ORDERS: Final = 5000
_MOST_GROUPS: Final = 200
_MOST_SYMBOLS: Final = 200
_MOST_PRICE: Final = Decimal(10) ** 15


def collect_report(logs: Logs, command: str = "", tz: tzinfo = UTC) -> dict[str, Any]:
    """Return the figures of a report on *logs*, as JSON types; money as exact text.

    Args:
        logs: The logs; their filters apply.
        command: How the report was asked for; it is told in it.
        tz: Where a day begins and ends; all times are UTC.
    """
    figures = _Figures(tz)
    directories = read_runs(logs, figures)
    runs = sorted((run for one in directories for run in one.runs), key=lambda run: run.first)
    for run in runs:
        for order in run.open_orders:
            figures.order_ended(run, order)
    found = {
        "command": command,
        "made": schema.timestamp(datetime.now(UTC)),
        "time_zone": str(tz),
        "directories": [str(path) for path in logs.places],
        "from": schema.timestamp(min(run.start for run in runs)) if runs else None,
        "to": schema.timestamp(max(run.ended for run in runs)) if runs else None,
        "experts": sorted({name for run in runs for name in run.experts}),
        **_lives(runs, directories),
        **figures.as_dict(),
        "symbols": _by_symbol(runs),
        "errors": _errors(runs),
    }
    return {"verdict": verdict(found), **found}


class _Figures(Listener):
    """Adds up what is told of trades and orders."""

    keys = (b'"bar_time":', b'"high":')

    def __init__(self, tz: tzinfo) -> None:
        self._tz = tz
        self._money: dict[str, Equity] = {}
        self._days: dict[tuple[str, str], list[Decimal]] = {}
        self._trades: dict[str, Trades] = {}
        self._told: dict[tuple[int, str, str], Decimal] = {}
        self._status: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._slippage, self._seconds = Distribution(), Distribution()
        self._lost = Amounts()
        self._orders: deque[tuple[OrderLife, float | None]] = deque(maxlen=_MOST_ORDERS)

    def fed(self, entry: Entry) -> None:
        """Note the price that a bar tells; a ``close`` alone may be anything."""
        if b'"close":' not in entry.line or not (_is_told(entry, "bar_time") or _is_told(entry, "high", "low")):
            return
        price, symbol = number(entry.get("close")), str(entry.get("symbol", ""))
        if price is not None and 0 < price < _MOST_PRICE and (trades := self._trades_in(symbol)) is not None:
            trades.bars.add((_market_time(entry), price))

    def traded(self, run: Run, facts: Facts, execution: Execution | None) -> None:
        symbol, expert, time = facts.text("symbol"), facts.entry.expert, _market_time(facts.entry)
        totals = run.ledger.totals.get((expert, symbol))
        if totals is None:
            return
        # The result may come from the entries after all, when the first of them tells it: the difference counts.
        place = (id(run), expert, symbol)
        change = totals.pnl - self._told.get(place, Decimal())
        self._told[place] = totals.pnl
        fees = Amounts()
        fees.add(((name or totals.currency, fee) for name, fee in execution.fees.items()) if execution else ())
        for currency in {*fees, *((totals.currency,) if change else ())}:
            self._add(
                time, currency, change if currency == totals.currency else Decimal(), fees.get(currency, Decimal())
            )
        if execution is not None and (trades := self._trades_in(symbol)) is not None:
            trades.add(time, execution)

    def _trades_in(self, symbol: str) -> Trades | None:
        room = symbol in self._trades or len(self._trades) < _MOST_SYMBOLS
        return self._trades.setdefault(symbol, Trades()) if room else None

    def _add(self, time: str, currency: str, result: Decimal, fee: Decimal) -> None:
        self._money.setdefault(currency, Equity()).add(time, result, fee)
        day = self._days.setdefault((time_text(time, self._tz)[:10], currency), [Decimal(), Decimal()])
        day[0] += result
        day[1] += fee

    def order_ended(self, run: Run, order: OrderLife) -> None:
        self._status["open" if order.is_open else order.status or "unknown"] += 1
        if order.status == REJECTED:
            reason = next((step.reason or step.entry.text for step in order.steps if step.step == REJECTED), "")
            self._reasons[reason if reason in self._reasons or len(self._reasons) < _MOST_GROUPS else "(others)"] += 1
        if order.slippage is not None and order.slippage_bps is not None:
            self._slippage.add(float(order.slippage_bps))
            self._lost.add([(currency_of(order.symbol), order.slippage)])
        begun = next((step for step in order.steps if step.step not in EXECUTIONS), None)
        filled = next((step for step in order.steps if step.size is not None), None)
        wait = (filled.entry.time - begun.entry.time).total_seconds() if begun and filled else None
        if wait is not None and wait >= 0:
            self._seconds.add(wait)
        self._orders.append((order, wait))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "money": {currency: equity.as_dict() for currency, equity in self._money.items()},
            "days": [
                {"day": day, "currency": currency, "result": plain(result), "fees": plain(fees)}
                for (day, currency), (result, fees) in sorted(self._days.items())
            ],
            "prices": {name: trades.as_dict() for name, trades in self._trades.items() if trades.executions.count},
            "orders": {
                "count": self._status.total(),
                "by_status": dict(self._status),
                "slippage_bps": self._slippage.as_dict(),
                "slippage": self._lost.as_dict(),
                "fill_seconds": self._seconds.as_dict(),
                "rejections": [{"reason": text, "count": count} for text, count in self._reasons.most_common()],
                "listed": sorted(
                    (_order_told(order, wait) for order, wait in self._orders),
                    key=lambda order: order["steps"][0]["timestamp"] if order["steps"] else "",
                ),
            },
        }


def _order_told(order: OrderLife, wait: float | None) -> dict[str, Any]:
    names = ("timestamp", "step", "message", "size", "price", "fees", "reason")
    told = order.as_dict()
    steps = [{name: step[name] for name in names} for step in told["steps"] if not step["duplicate"]]
    for step in order.steps:
        step.entry.forget()
    return {**told, "steps": steps, "fill_seconds": wait}


def _lives(runs: list[Run], directories: Iterable[Directory]) -> dict[str, Any]:
    return {
        "runs": [{**run.as_dict(), "reason": reason_of(run)} for run in runs],
        "ends": dict(Counter(run.end.how for run in runs)),
        "bad_ends": sum(run.end.is_bad for run in runs),
        "entries": sum(run.entries for run in runs),
        "trades": sum(run.trades for run in runs),
        "decisions": sum(run.decisions for run in runs),
        "dropped": sum(run.dropped for run in runs),
        "recovered": sum(run.recovered for run in runs),
        "waiting": sum(len(one.waiting) for one in directories),
    }


def _by_symbol(runs: list[Run]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], Totals] = {}
    for run in runs:
        for (expert, symbol), totals in run.ledger.totals.items():
            mine = found.setdefault((expert, symbol), Totals(currency=totals.currency))
            mine.executions += totals.executions
            mine.turnover += totals.turnover
            mine.costs.add((name or totals.currency, fee) for name, fee in totals.costs.items())
            mine.logged_pnl = (mine.logged_pnl or Decimal()) + totals.pnl
            mine.position = totals.position
    names = ("turnover", "fees_by_currency", "pnl", "position")
    return [
        {"expert": expert, "symbol": symbol, "trades": totals.executions, "currency": totals.currency}
        | {name: value for name, value in totals.as_dict().items() if name in names}
        for (expert, symbol), totals in sorted(found.items())
    ]


def _errors(runs: list[Run]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for text, group in run.errors.items():
            one = found.setdefault(text, {"error": text, "count": 0, "last": "", "message": "", "experts": []})
            one["count"] += group.count
            if group.last.timestamp >= one["last"]:
                one["last"], one["message"] = group.last.timestamp, group.last.text
            one["experts"] += [name for name in [group.last.expert] if name not in one["experts"]]
    return sorted(found.values(), key=lambda one: (-one["count"], one["error"]))[:_MOST_GROUPS]


def verdict(found: dict[str, Any]) -> str:
    """Return the one sentence that says it all."""
    if not found["runs"]:
        return "There are no runs."
    runs, bad, errors = len(found["runs"]), found["bad_ends"], sum(one["count"] for one in found["errors"])
    names = ", ".join(found["experts"][:4]) + (" and others" if len(found["experts"]) > 4 else "")
    results = {currency: Decimal(one["net"]) for currency, one in found["money"].items() if one["has_result"]}
    paid = {currency: Decimal(one["fees"]) for currency, one in found["money"].items() if not one["has_result"]}
    losses = {name: -net for name, net in results.items() if net < 0}
    parts = [("earned", "+", {name: net for name, net in results.items() if net >= 0}, "" if losses else " after fees"),
             ("lost", "", losses, " after fees"),
             ("paid", "", {name: fees for name, fees in paid.items() if fees}, " of fees")]  # fmt: skip
    told = _together(f"{verb} {_money(sums, sign)}{what}" for verb, sign, sums, what in parts if sums)
    told = told if results else f"closed no trade{' and ' if told else ''}{told}"
    running = found["ends"].get("running", 0)
    ended = f"{bad} ended badly" if bad else f"{running} still running" if running else "none ended badly"
    return (
        f"{names or 'The program'} {told} in {_counted(found['trades'], 'trade')} and {_counted(runs, 'run')}, "
        f"of which {ended}, with {_counted(errors, 'error')}."
    )


def _together(texts: Iterable[str]) -> str:
    *most, last = ["", *texts]
    return f"{', '.join(most[1:])} and {last}" if most[1:] else last


def _money(sums: dict[str, Decimal], sign: str) -> str:
    return _together(f"{sign if amount else ''}{amount_text(amount)} {name}".rstrip() for name, amount in sums.items())


def amount_text(amount: Decimal) -> str:
    """Return an amount for people: rounded, thousands apart."""
    text = f"{round(amount, 2 if abs(amount) >= 1000 else 5):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _is_told(entry: Entry, *names: str) -> bool:
    return all(entry.get(name) is not None for name in names)


def _market_time(entry: Entry) -> str:
    """Return when it happened in the market: in a backtest ``bar_time`` tells, not the time of writing."""
    if (told := entry.get("bar_time")) is None:
        return entry.timestamp
    try:
        return schema.timestamp(datetime.fromisoformat(told))
    except (TypeError, ValueError, OverflowError):
        return entry.timestamp
