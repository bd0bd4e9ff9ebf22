"""A paper broker: orders filled from bars, by rules that do not flatter a strategy.

* A decision made on a bar is executed on a later bar, never on the same one. There is no look-ahead.
* A market order fills at the next bar's open, plus half the spread and the slippage, both against you.
* A limit order fills only when a bar trades *through* its price; touching it is not enough, because others
  stood in the queue first. It fills at its price, or at the open when the bar already opened beyond it.
* A bar's prices are mid prices: you buy half a spread above them and sell half a spread below.
* Each fill pays `PaperConfig.fee_bps` of its value. There is no financing, no dividend, no liquidation.
* With `PaperConfig.volume_share`, all orders together take at most that share of a bar's volume; what is left
  of an order waits for the next bar. Without it, an order of any size fills at once.
* An order that would enlarge the position needs equity: (position + working orders of its side + its own
  size) × price must not exceed equity × leverage when it is submitted. It is not checked again at the fill.

Within one bar everything that fills at the open comes first, in the order of submission, then the limit orders
that the bar reached later, again in the order of submission: a bar does not show which price it reached first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import count
from numbers import Real
from typing import Final

from .bars import Bar
from .orders import Fill, Order, OrderStatus, OrderType, Position, Side, money, slippage_bps, tidy

#: More orders than this on one bar is a strategy that answers its own rejections without end.
MAX_ORDERS_PER_BAR: Final = 1_000
_BPS: Final = 10_000.0

type Number = float | Decimal


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """Starting cash and trading costs of the paper account. A bad value raises ValueError.

    Attributes:
        starting_equity: Cash at the start, in the quote currency.
        fee_bps: Fee per fill in basis points of its value. The default, 0.1 %, is what a spot exchange
            commonly asks from a customer without a discount.
        slippage_bps: Loss of a market order beyond half the spread, in basis points of the price.
        spread_bps: The whole distance between bid and ask, in basis points of the bar's price.
        leverage: How many times the equity the position may be worth.
        volume_share: The largest part of a bar's volume that may be taken, 0.1 for a tenth; None for no limit.
    """

    starting_equity: float = 10_000.0
    fee_bps: float = 10.0
    slippage_bps: float = 1.0
    spread_bps: float = 0.0
    leverage: float = 1.0
    volume_share: float | None = None

    def __post_init__(self) -> None:
        for name in ("starting_equity", "leverage"):
            self._require(name, lambda value: value > 0, "above zero")
        for name in ("fee_bps", "slippage_bps", "spread_bps"):
            self._require(name, lambda value: 0 <= value <= _BPS / 2, "from 0 to 5000")
        if self.volume_share is not None:
            self._require("volume_share", lambda value: 0 < value <= 1, "above 0 and at most 1, or None")

    def _require(self, name: str, holds: Callable[[float], bool], expected: str) -> None:
        value = getattr(self, name)
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
        if not (math.isfinite(number) and holds(number)):
            raise ValueError(f"PaperConfig.{name}: {value!r} will not do; it must be a number {expected}")


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order has a new status."""

    order: Order


@dataclass(frozen=True, slots=True)
class Traded:
    """A fill happened; *order* is the order after it."""

    fill: Fill
    order: Order


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """A fill changed the position from *before* to *position*."""

    position: Position
    before: Position
    fill: Fill


type BrokerEvent = OrderChanged | Traded | PositionChanged


class Ids:
    """The ids of one expert's orders and trades: counted from 1, never repeated, the same in each run."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._orders = count(1)
        self._trades = count(1)

    def order(self) -> str:
        """Return the next order id."""
        return f"{self._prefix}ord-{next(self._orders)}"

    def trade(self) -> str:
        """Return the next trade id."""
        return f"{self._prefix}trd-{next(self._trades)}"


class PaperBroker:
    """One paper account that trades one symbol. Use it from one thread.

    It calls *emit* for each thing that happens, at once and in order; *emit* must not call back into it.
    """

    def __init__(self, config: PaperConfig, symbol: str | None, ids: Ids, emit: Callable[[BrokerEvent], None]) -> None:
        self.config = config
        self.position = Position(symbol)
        self.balance = config.starting_equity
        self.fees = 0.0
        self.max_drawdown = 0.0
        self._symbol = symbol
        self._ids = ids
        self._emit = emit
        self._orders: dict[str, Order] = {}
        self._open: dict[str, Order] = {}
        self._fills: list[Fill] = []
        self._bar: Bar | None = None
        self._peak = config.starting_equity
        self._volume_left = math.inf
        self._submitted_on_bar = 0
        self._closed: str | None = None

    @property
    def equity(self) -> float:
        """Cash plus what the position is worth at the last close, in the quote currency."""
        return money(self.balance + (self.position.unrealized_pnl(self._bar.close) if self._bar else 0.0))

    @property
    def orders(self) -> tuple[Order, ...]:
        """All orders as they stand, in the order of submission."""
        return tuple(self._orders.values())

    @property
    def open_orders(self) -> tuple[Order, ...]:
        """The orders that may still be filled."""
        return tuple(self._open.values())

    @property
    def fills(self) -> tuple[Fill, ...]:
        """All fills, in the order of execution."""
        return tuple(self._fills)

    def quotes(self, price: float) -> tuple[float, float]:
        """Return bid and ask around a mid price."""
        return tidy(self._quote(Side.SELL, price)), tidy(self._quote(Side.BUY, price))

    def order(self, order_id: str) -> Order:
        """Return an order as it stands; LookupError when there is none of that id."""
        try:
            return self._orders[order_id]
        except KeyError:
            raise LookupError(f"there is no order {order_id!r}") from None

    def submit(self, side: Side, size: Number, price: Number | None = None, *, reduce_only: bool = False) -> Order:
        """Submit a market order, or a limit order when *price* is given, and return it accepted or rejected.

        Raises:
            TypeError: when size or price is not a number.
            RuntimeError: after `MAX_ORDERS_PER_BAR` orders on one bar.
        """
        self._submitted_on_bar += 1
        if self._submitted_on_bar > MAX_ORDERS_PER_BAR:
            raise RuntimeError(
                f"more than {MAX_ORDERS_PER_BAR} orders on one bar; does on_order answer each rejection "
                "with a new order?"
            )
        amount, limit = _number("size", size), None if price is None else _number("price", price)
        order = self._set(self._new(side, amount, limit, reduce_only=reduce_only))
        reason = self._objection(order)
        if reason is not None:
            return self._set(replace(order, status=OrderStatus.REJECTED, reason=reason))
        return self._set(replace(order, status=OrderStatus.ACCEPTED))

    def cancel(self, order_id: str, reason: str) -> Order:
        """Cancel an open order and return it; one that is final already is returned as it is.

        Raises:
            LookupError: when there is no such order.
        """
        order = self.order(order_id)
        if not order.is_open:
            return order
        return self._set(replace(order, status=OrderStatus.CANCELLED, reason=reason, updated_at=self._time))

    def on_bar(self, bar: Bar) -> None:
        """Fill what *bar* fills of the orders submitted before it, then value the account at its close."""
        self._bar = bar
        self._submitted_on_bar = 0
        share = self.config.volume_share
        self._volume_left = math.inf if share is None else bar.volume * share
        self._fill_all(bar, self._price_at_open)
        self._fill_all(bar, self._price_within)
        self._peak = max(self._peak, self.equity)
        self.max_drawdown = max(self.max_drawdown, round((self._peak - self.equity) / self._peak, 6))

    def close(self, reason: str) -> None:
        """Cancel what is open and reject what comes later. The position stays as it is."""
        self._closed = reason
        for order_id in tuple(self._open):
            self.cancel(order_id, reason)

    @property
    def _time(self) -> datetime | None:
        return self._bar.time if self._bar else None

    def _new(self, side: Side, size: float, limit: float | None, *, reduce_only: bool) -> Order:
        last = self._bar.close if self._bar else None
        return Order(
            id=self._ids.order(),
            symbol=self._symbol,
            side=side,
            type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            size=size,
            price=limit,
            requested_price=last if limit is None else limit,
            status=OrderStatus.SUBMITTED,
            submitted_at=self._time,
            updated_at=self._time,
            reduce_only=reduce_only,
        )

    def _objection(self, order: Order) -> str | None:
        """Say why *order* cannot be accepted, None when it can."""
        if self._closed is not None:
            return f"the run is over: {self._closed}"
        if not (math.isfinite(order.size) and order.size > 0):
            return "the size must be above zero"
        if order.requested_price is None:
            return "there is no price yet: no bar has closed"
        if not (math.isfinite(order.requested_price) and order.requested_price > 0):
            return "the price must be above zero"
        if order.reduce_only:
            return None if self._closable(order.side) else "there is no position to reduce"
        return self._shortage(order, order.requested_price)

    def _shortage(self, order: Order, price: float) -> str | None:
        working = sum(other.remaining_size for other in self._open.values() if other.side is order.side)
        exposure = order.side.sign * self.position.size + working + order.size
        needed, available = money(exposure * price), money(self.equity * self.config.leverage)
        if exposure <= 0 or needed <= available:
            return None
        return f"not enough equity: a position worth {needed:.2f} against {available:.2f}"

    def _closable(self, side: Side) -> float:
        """How many units an order of *side* could take off the position."""
        return max(0.0, -side.sign * self.position.size)

    def _fill_all(self, bar: Bar, price_for: Callable[[Order, Bar], float | None]) -> None:
        for order in tuple(self._open.values()):
            price = price_for(order, bar)
            if price is not None:
                self._execute(order, price, bar)

    def _price_at_open(self, order: Order, bar: Bar) -> float | None:
        quote = self._quote(order.side, bar.open)
        if order.price is None:
            return tidy(quote + order.side.sign * bar.open * self.config.slippage_bps / _BPS)
        return tidy(quote) if order.side.sign * (order.price - quote) > 0 else None

    def _price_within(self, order: Order, bar: Bar) -> float | None:
        if order.price is None:
            return None
        best = self._quote(order.side, bar.low if order.side is Side.BUY else bar.high)
        return order.price if order.side.sign * (order.price - best) > 0 else None

    def _quote(self, side: Side, mid: float) -> float:
        return mid * (1 + side.sign * self.config.spread_bps / 2 / _BPS)

    def _execute(self, order: Order, price: float, bar: Bar) -> None:
        size = min(order.remaining_size, self._volume_left)
        if order.reduce_only:
            size = min(size, self._closable(order.side))
        if size > 0:
            order = self._book(order, tidy(size), price, bar)
        if order.is_open and order.reduce_only and not self._closable(order.side):
            self.cancel(order.id, "nothing is left to close")

    def _book(self, order: Order, size: float, price: float, bar: Bar) -> Order:
        requested = price if order.requested_price is None else order.requested_price
        fee = money(size * price * self.config.fee_bps / _BPS)
        fill = Fill(
            id=self._ids.trade(),
            order_id=order.id,
            symbol=self._symbol,
            side=order.side,
            order_type=order.type,
            size=size,
            price=price,
            requested_price=requested,
            fee=fee,
            slippage_bps=slippage_bps(order.side, requested, price),
            time=bar.time,
        )
        self._volume_left -= size
        before, self.position = self.position, self.position.after(order.side, size, price)
        self.balance = money(self.balance + self.position.realized_pnl - before.realized_pnl - fee)
        self.fees = money(self.fees + fee)
        self._fills.append(fill)
        order = self._set(_filled(order, fill), fill)
        self._emit(PositionChanged(self.position, before, fill))
        return order

    def _set(self, order: Order, fill: Fill | None = None) -> Order:
        self._orders[order.id] = order
        if order.status is not OrderStatus.SUBMITTED:
            self._open[order.id] = order
        if order.status.is_final:
            del self._open[order.id]
        self._emit(OrderChanged(order) if fill is None else Traded(fill, order))
        return order


def _filled(order: Order, fill: Fill) -> Order:
    paid = (order.average_price or 0.0) * order.filled_size + fill.price * fill.size
    filled = tidy(order.filled_size + fill.size)
    order = replace(
        order,
        filled_size=filled,
        average_price=tidy(paid / filled),
        fee=money(order.fee + fill.fee),
        updated_at=fill.time,
        status=OrderStatus.PARTIALLY_FILLED,
    )
    return order if order.remaining_size else replace(order, status=OrderStatus.FILLED)


def _number(name: str, value: Number) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return tidy(float(value))
