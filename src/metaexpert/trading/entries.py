"""The log entries of trading: their messages and field names, all in one module.

`order_entry`, `fill_entry` and `position_entry` turn the broker's reports into a message, a level and fields. The
reader (what happened to order X?) relies on these names:

* every entry about an order has ``order_id, side, order_type, size, requested_price, status, bar_time``, that of
  a limit order also ``price``, its limit; ``reason`` when it was rejected or cancelled, ``filled_size`` when it
  was cancelled. Unknown values (time and price before the first bar) are left out;
* an entry with a ``trade_id`` and a ``fee`` is one execution: there ``size`` and ``price`` are those of the
  execution, ``order_size`` and ``filled_size`` say how far the order got, and ``slippage_bps`` is how much worse
  than ``requested_price`` it was (negative: better);
* an entry about a position has the ``order_id`` and ``trade_id`` that changed it, its ``side`` (LONG, SHORT),
  ``position_size`` after the change (below zero is short), and ``entry_price``; when all or a part was closed also
  ``closed_size``, ``exit_price`` and ``pnl``, the realised result before fees. Of a fully closed position, ``side``
  and ``entry_price`` are those before.

``bar_time`` is the opening time of the bar, UTC: the time in the market, while ``timestamp`` is the time at which
the entry was written. Amounts are in the quote currency. The sum of all ``pnl`` less all ``fee`` is the result of an
account with no open position.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .orders import Fill, Order, OrderStatus, Position, money

EXPERT_STARTED: Final = "Expert started"
EXPERT_STOPPED: Final = "Expert stopped"
BAR_CLOSED: Final = "Bar closed"
HANDLER_FAILED: Final = "Handler failed"
RUN_FAILED: Final = "Run failed"
CANCEL_REFUSED: Final = "Cancel refused"
POSITION_OPENED: Final = "Position opened"
POSITION_INCREASED: Final = "Position increased"
POSITION_REDUCED: Final = "Position reduced"
POSITION_REVERSED: Final = "Position reversed"
POSITION_CLOSED: Final = "Position closed"

#: Message and level of each change of an order. The routine steps before a fill are DEBUG: they are in the trade file
#: at any log level, and do not clutter the console.
ORDER_MESSAGES: Final[Mapping[OrderStatus, tuple[str, int]]] = {
    OrderStatus.SUBMITTED: ("Order submitted", logging.DEBUG),
    OrderStatus.ACCEPTED: ("Order accepted", logging.DEBUG),
    OrderStatus.PARTIALLY_FILLED: ("Order partially filled", logging.INFO),
    OrderStatus.FILLED: ("Order filled", logging.INFO),
    OrderStatus.REJECTED: ("Order rejected", logging.WARNING),
    OrderStatus.CANCELLED: ("Order cancelled", logging.INFO),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One log entry to be written: `logging` level, message, fields."""

    level: int
    message: str
    fields: dict[str, Any]


def order_entry(order: Order) -> Entry:
    """Return the entry for an order that was submitted, accepted, rejected or cancelled."""
    message, level = ORDER_MESSAGES[order.status]
    fields: dict[str, Any] = {
        "order_id": order.id,
        "side": order.side.value,
        "order_type": order.type.value,
        "size": order.size,
        "price": order.price,
        "requested_price": order.requested_price,
        "status": order.status.value,
        "reason": order.reason,
        "filled_size": order.filled_size if order.status is OrderStatus.CANCELLED else None,
        "bar_time": order.updated_at,
    }
    return Entry(level, message, {name: value for name, value in fields.items() if value is not None})


def fill_entry(fill: Fill, order: Order) -> Entry:
    """Return the entry for an execution; *order* is the order after it."""
    message, level = ORDER_MESSAGES[order.status]
    fields: dict[str, Any] = {
        "order_id": fill.order_id,
        "trade_id": fill.id,
        "side": fill.side.value,
        "order_type": fill.order_type.value,
        "size": fill.size,
        "price": fill.price,
        "requested_price": fill.requested_price,
        "slippage_bps": fill.slippage_bps,
        "fee": fill.fee,
        "status": order.status.value,
        "order_size": order.size,
        "filled_size": order.filled_size,
        "bar_time": fill.time,
    }
    return Entry(level, message, fields)


def position_entry(position: Position, before: Position, fill: Fill) -> Entry:
    """Return the entry for a position that *fill* changed."""
    shown = position if position.size else before
    fields: dict[str, Any] = {
        "order_id": fill.order_id,
        "trade_id": fill.id,
        "side": shown.side,
        "position_size": position.size,
        "entry_price": shown.entry_price,
    }
    if before.size * fill.side.sign < 0:
        fields["closed_size"] = min(abs(before.size), fill.size)
        fields["exit_price"] = fill.price
        fields["pnl"] = money(position.realized_pnl - before.realized_pnl)
    return Entry(logging.INFO, _position_message(position, before), {**fields, "bar_time": fill.time})


def _position_message(position: Position, before: Position) -> str:
    if before.size == 0:
        return POSITION_OPENED
    if position.size == 0:
        return POSITION_CLOSED
    if before.size * position.size < 0:
        return POSITION_REVERSED
    return POSITION_INCREASED if abs(position.size) > abs(before.size) else POSITION_REDUCED
