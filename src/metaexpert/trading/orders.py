"""Orders, fills and positions: what they are and how a fill changes a position.

All three are immutable. A change makes a new value, so an order that a handler keeps does not change.

Numbers are floats. Prices and sizes are kept to twelve significant digits, more than an exchange quotes; money
(fees, profits, balances) to eight decimal places, what a crypto exchange books. Sums of such money are exact up to
about ten million; beyond, a float holds fewer places. It is a simulation, not a ledger for taxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

_DIGITS: Final = 12
_MONEY_PLACES: Final = 8
#: A rest smaller than this share of what it is a rest of is the noise of floating-point subtraction.
_NOISE: Final = 1e-9


class Side(StrEnum):
    """The side of an order (FIX field 54)."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """MARKET takes the next price there is, LIMIT waits for its own (FIX field 40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class OrderStatus(StrEnum):
    """Where an order stands (FIX field 39). The last three are final."""

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing can happen to the order any more."""
        return self in (OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Order:
    """One order as it stands at one moment.

    Attributes:
        id: ``ord-1``, ``ord-2`` … in the order of submission, with the expert's prefix.
        symbol: Traded symbol, None when the expert has none.
        side: BUY or SELL.
        type: MARKET or LIMIT.
        size: How much was ordered, in units of the symbol. An order rejected for its size keeps that size.
        price: The limit price; None for a market order.
        requested_price: The price that the strategy had before it: the limit, or the last close.
        status: Where the order stands.
        filled_size: How much of it was executed.
        average_price: The mean price of what was executed, None before that.
        fee: The fees of its fills so far, in the quote currency.
        reason: Why it was rejected or cancelled.
        reduce_only: True when it may close a position and never open one.
        submitted_at: The bar (its opening time) on which it was submitted, None before the first bar.
        updated_at: The bar of its latest change.
    """

    id: str
    symbol: str | None
    side: Side
    type: OrderType
    size: float
    price: float | None
    requested_price: float | None
    status: OrderStatus
    submitted_at: datetime | None
    updated_at: datetime | None
    filled_size: float = 0.0
    average_price: float | None = None
    fee: float = 0.0
    reason: str | None = None
    reduce_only: bool = False

    @property
    def remaining_size(self) -> float:
        """How much is still to be executed."""
        return remainder(self.size, self.filled_size)

    @property
    def is_open(self) -> bool:
        """True while the order may still be filled."""
        return not self.status.is_final


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of an order or of a part of it.

    Attributes:
        id: ``trd-1``, ``trd-2`` … in the order of execution, with the expert's prefix.
        order_id: The order that was executed.
        symbol: As on the order.
        side: BUY or SELL.
        order_type: MARKET or LIMIT.
        size: How much was executed this time.
        price: The price paid or received, costs of spread and slippage included.
        requested_price: As on the order.
        fee: Fee of this execution, in the quote currency.
        slippage_bps: How much worse than *requested_price* it was, in basis points; negative is better.
        time: The opening time of the bar in which it happened.
    """

    id: str
    order_id: str
    symbol: str | None
    side: Side
    order_type: OrderType
    size: float
    price: float
    requested_price: float
    fee: float
    slippage_bps: float
    time: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """The net position of the expert: a fill against it reduces it, closes it or reverses it.

    Attributes:
        symbol: As on the orders.
        size: Units held; above zero is long, below zero is short.
        entry_price: The mean price of what is held, None when nothing is.
        realized_pnl: Profit of all that was closed so far, in the quote currency, before fees.
    """

    symbol: str | None = None
    size: float = 0.0
    entry_price: float | None = None
    realized_pnl: float = 0.0

    @property
    def side(self) -> str:
        """``LONG``, ``SHORT`` or ``FLAT``."""
        if self.size == 0:
            return "FLAT"
        return "LONG" if self.size > 0 else "SHORT"

    def unrealized_pnl(self, price: float) -> float:
        """Return the profit of what is held if it were closed at *price*, without costs."""
        return 0.0 if self.entry_price is None else money(self.size * (price - self.entry_price))

    def after(self, side: Side, size: float, price: float) -> Position:
        """Return the position after *size* units were bought or sold at *price*."""
        change = side.sign * size
        if self.entry_price is None or self.size * change > 0:
            return self._grown(change, price)
        closed = min(abs(self.size), size)
        profit = closed * (price - self.entry_price) * (1 if self.size > 0 else -1)
        held = 0.0 if abs(self.size + change) <= _NOISE * size else tidy(self.size + change)
        entry = None if held == 0 else price if held * change > 0 else self.entry_price
        return Position(self.symbol, held, entry, money(self.realized_pnl + profit))

    def _grown(self, change: float, price: float) -> Position:
        size = tidy(self.size + change)
        paid = self.size * (self.entry_price or 0.0) + change * price
        return Position(self.symbol, size, tidy(paid / (self.size + change)), self.realized_pnl)


def slippage_bps(side: Side, requested: float, executed: float) -> float:
    """Return how much worse *executed* is than *requested*, in basis points of it, to four decimals."""
    return round(side.sign * (executed - requested) / requested * 10_000, 4) + 0.0  # and no -0.0


def tidy(value: float) -> float:
    """Return *value* with twelve significant digits: 0.30000000000000004 becomes 0.3."""
    return float(f"{value:.{_DIGITS}g}")


def money(value: float) -> float:
    """Return an amount of money with eight decimal places."""
    return round(value, _MONEY_PLACES) + 0.0


def remainder(whole: float, part: float) -> float:
    """Return *whole* - *part*, and exactly zero when only floating-point noise is left."""
    rest = whole - part
    return 0.0 if rest <= _NOISE * abs(whole) else tidy(rest)
