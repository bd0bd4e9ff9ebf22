"""Executions and positions, with totals per expert and symbol.

A trade is an entry of category ``trade`` about an execution (see `metaexpert.logs.vocabulary`). One that was
logged twice under one ``trade_id`` counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.dedup import Recent
from metaexpert.logs.vocabulary import (
    EXECUTIONS,
    FILLED,
    PLACED,
    POSITION,
    SIDES,
    Amounts,
    Facts,
    currency_of,
    is_inverse,
    plain,
)

#: Entries of category trade have this in their header; most other lines are never decoded.
_TRADES: Final = f'"msgid":"{schema.MSGID_TRADE}"'
#: Trade ids remembered to recognise duplicates.
_WINDOW: Final = 100_000


@dataclass(slots=True)
class Execution:
    """One execution, and its entry.

    Attributes:
        entry: The entry.
        side: 1 for bought, -1 for sold.
        size: How much, in the unit of the symbol.
        price: In the quote currency.
        fees: What it cost, one sum for each currency.
        symbol: The symbol; like the ids empty when the entry names none.
        order_id: The id of its order.
        trade_id: Its own id.
        pnl: Realised result before fees; None when the entry has none.
    """

    entry: Entry
    side: int
    size: Decimal
    price: Decimal
    fees: Amounts
    symbol: str
    order_id: str
    trade_id: str
    pnl: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; money as exact text."""
        return {
            "timestamp": self.entry.timestamp,
            "expert": self.entry.expert,
            "symbol": self.symbol or None,
            "side": SIDES.get(self.side),
            "size": plain(self.size),
            "price": plain(self.price),
            "fee": plain(self.fees.single) or None,
            "fees": self.fees.as_dict(),
            "pnl": plain(self.pnl) or None,
            "order_id": self.order_id or None,
            "trade_id": self.trade_id or None,
        }


@dataclass(slots=True)
class Totals:
    """The totals of one expert in one symbol.

    Attributes:
        executions: How many.
        bought: Size bought.
        sold: Size sold.
        turnover: Sum of size times price, in the quote currency.
        costs: The fees, one sum for each currency.
        currency: That of the result, by the symbol; empty if unknown.
        logged_pnl: Realised result as entries have it (``pnl``); None when no entry does.
        position: Size held at the end: from the last entry about the position, otherwise bought less sold.
        entry_price: Average price of the position, if known.
    """

    executions: int = 0
    bought: Decimal = Decimal()
    sold: Decimal = Decimal()
    turnover: Decimal = Decimal()
    costs: Amounts = field(default_factory=Amounts)
    currency: str = ""
    logged_pnl: Decimal | None = None
    position: Decimal = Decimal()
    entry_price: Decimal | None = None
    _held: Decimal = Decimal()
    _cost: Decimal = Decimal()
    _computed: Decimal = Decimal()
    _told: int = 0
    _inverse: bool = False

    @property
    def pnl(self) -> Decimal:
        """Realised result before fees: from the entries, otherwise computed at average cost."""
        return self.logged_pnl if self.logged_pnl is not None else self._computed

    @property
    def fees(self) -> Decimal | None:
        """Sum of the fees, if all are in one currency; see `costs`."""
        return self.costs.single

    @property
    def net(self) -> Decimal | None:
        """Realised result after fees; None when a fee is in another currency than the result."""
        return self.pnl - self.costs.single if self.costs.single is not None and self._is_quoted else None

    @property
    def _is_quoted(self) -> bool:
        return all(currency in ("", self.currency) for currency in self.costs)

    def add(self, execution: Execution) -> None:
        """Count an execution."""
        self.executions += 1
        if execution.side > 0:
            self.bought += execution.size
        else:
            self.sold += execution.size
        self.turnover += execution.size * execution.price
        self.costs.add(execution.fees.items(), self.currency)
        self._hold(execution.size * execution.side, execution.price)
        self.position, self.entry_price = self._held, abs(self._cost / self._held) if self._held else None

    def _hold(self, change: Decimal, price: Decimal) -> None:
        if self._held * change < 0:  # a part or all of the position is closed, maybe more than that
            closed = min(abs(change), abs(self._held)).copy_sign(change)
            average = self._cost / self._held
            if not self._inverse:  # how much a contract is worth, no entry tells
                self._computed += (average - price) * closed
            self._cost += average * closed
            self._held += closed
            change -= closed
        self._held += change
        self._cost += change * price

    def absorb(self, other: Totals) -> None:
        """Add *other*, which is earlier."""
        self.executions += other.executions
        self.bought += other.bought
        self.sold += other.sold
        self.turnover += other.turnover
        self.costs.add(other.costs.items(), self.currency)
        self._held, self._cost, self._computed = (
            self._held + other._held, self._cost + other._cost, self._computed + other._computed,
        )  # fmt: skip
        if other.logged_pnl is not None:
            self.logged_pnl = (self.logged_pnl or Decimal()) + other.logged_pnl
        if not self._told:
            self.position = other.position + self._held - other._held if other._told else self._held

    @property
    def has_result(self) -> bool:
        """Whether anything was closed."""
        return self.logged_pnl is not None or bool(self._computed)

    @property
    def is_told(self) -> bool:
        """Whether an entry tells the position."""
        return bool(self._told)

    @property
    def is_used(self) -> bool:
        """Whether anything was counted."""
        return bool(self.executions or self._told) or self.logged_pnl is not None

    def continued(self) -> Totals:
        """Return totals that count anew, from this position."""
        return Totals(
            currency=self.currency,
            position=self.position,
            entry_price=self.entry_price,
            _held=self._held,
            _cost=self._cost,
            _inverse=self._inverse,
        )

    def see(self, facts: Facts, *, has_result: bool = True) -> None:
        """Take in what an entry says about the position, and about the result unless another entry *has_result*."""
        pnl = facts.number("pnl") if has_result else None
        if pnl is not None:
            self.logged_pnl = (self.logged_pnl or Decimal()) + pnl
        size = facts.number("position_size")
        # After a step of the clock the entries of a run do not come in the order of their numbers.
        if size is not None and facts.entry.sequence_id >= self._told:
            self._told = facts.entry.sequence_id
            self.position, self.entry_price = size, facts.number("entry_price") if size else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; money as exact text."""
        return {
            "executions": self.executions,
            "bought": plain(self.bought),
            "sold": plain(self.sold),
            "turnover": plain(self.turnover),
            "fees": plain(self.fees) or None,
            "fees_by_currency": self.costs.as_dict(),
            "pnl": plain(self.pnl),
            "pnl_from": "entries" if self.logged_pnl is not None else "average cost",
            "net": plain(self.net) or None,
            "position": plain(self.position),
            "entry_price": plain(self.entry_price) or None,
        }


@dataclass(slots=True)
class _Order:
    """What was executed of an order so far, whether an entry told that all is, and which process placed it."""

    process: tuple[str, str] = ("", "")
    filled: Decimal = Decimal()
    done: bool = False


@dataclass(slots=True)
class Ledger:
    """All trades.

    Attributes:
        totals: By expert and symbol, in the order of their first trade.
        duplicates: Executions that were logged again, with the same id or as the whole of an order.
    """

    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)
    duplicates: int = 0
    _recent: Recent = field(default_factory=lambda: Recent(_WINDOW))
    _orders: dict[tuple[str, ...], _Order] = field(default_factory=dict)

    def read(self, logs: Logs, *, opening: bool = False) -> Iterator[Execution]:
        """Count the trades of *logs*, and yield each execution in order of time.

        Args:
            logs: The logs.
            opening: Begin with the positions that the trades before the earliest time of *logs* have left.
        """
        since = logs.criteria.since if opening else b""
        trades = replace(logs.filter(grep=_TRADES), copies=False)
        if since:
            trades = replace(trades, criteria=replace(trades.criteria, since=b""))
        for record in trades:
            if isinstance(record, Entry) and record.get("msgid") == schema.MSGID_TRADE:
                if since and record.key[0] >= since:
                    since = b""
                    self._begin()
                execution = self.take(Facts(record))
                if execution is not None and not since:
                    yield execution
        if since:
            self._begin()
        self.totals = {place: totals for place, totals in self.totals.items() if totals.is_used or not opening}
        logs.counts.note_files(trades.counts)

    def _begin(self) -> None:
        """Count anew, from the positions of this moment."""
        self.totals = {place: totals.continued() for place, totals in self.totals.items()}
        self.duplicates = 0

    @property
    def is_computed(self) -> bool:
        """Whether a result or a position follows from the trades before, because no entry tells it."""
        return any(totals.logged_pnl is None or not totals.is_told for totals in self.totals.values())

    def absorb(self, other: Ledger) -> None:
        """Add the trades of *other*, which are earlier."""
        for key, totals in other.totals.items():
            mine = self.totals.get(key)
            if mine is None:
                self.totals[key] = totals
            else:
                mine.absorb(totals)
        self.duplicates += other.duplicates

    def take(self, facts: Facts) -> Execution | None:
        """Count what an entry of category ``trade`` says; return its execution, if it is about one."""
        place = facts.entry.expert, facts.text("symbol")
        order = self._order_of(facts, place)
        executed, pnl = facts.is_execution and facts.side != 0, facts.number("pnl")
        if not executed and pnl is None and facts.number("position_size") is None:
            return None
        trade_id, size = facts.text("trade_id"), Decimal()
        trade = (*order.process, *place, trade_id)
        if executed:
            size = facts.growth(order.filled, done=order.done)
            order.done = order.done or facts.step == FILLED
        again = bool(trade_id) and self._recent.seen((*trade, facts.step == POSITION))
        if again or (executed and not size and not trade_id and facts.step in EXECUTIONS):
            self.duplicates += 1
            return None
        totals = self.totals.get(place)
        if totals is None:
            symbol = place[1]
            totals = self.totals[place] = Totals(currency=currency_of(symbol), _inverse=is_inverse(symbol))
        execution = _execution(facts, size) if size else None
        if execution is not None:
            totals.add(execution)
            order.filled += size
        told = trade_id and pnl is not None and self._recent.seen((*trade, "pnl"))
        totals.see(facts, has_result=not told)
        return execution

    def _order_of(self, facts: Facts, place: tuple[str, str]) -> _Order:
        """Return the order that an entry is about. A process that places one of the same id places another one."""
        name = facts.text("order_id") or facts.text("client_order_id")
        if not name:
            return _Order()
        order = self._orders.get((*place, name))
        placed = facts.step == PLACED
        if order is None or (placed and order.process != facts.entry.process):
            if len(self._orders) >= _WINDOW:
                del self._orders[next(iter(self._orders))]
            order = self._orders[*place, name] = _Order(facts.entry.process) if placed else _Order()
        return order


def _execution(facts: Facts, size: Decimal) -> Execution:
    fees = Amounts()
    fees.add(facts.fees)
    return Execution(
        entry=facts.entry,
        side=facts.executed_side,
        size=size,
        price=facts.price or Decimal(),
        fees=fees,
        symbol=facts.text("symbol"),
        order_id=facts.text("order_id"),
        trade_id=facts.text("trade_id"),
        pnl=facts.number("pnl"),
    )
