"""The log's words for orders, fills and positions: names that readers of the log rely on."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from metaexpert.trading import Fill, Order, OrderStatus, OrderType, Position, Side
from metaexpert.trading.entries import fill_entry, order_entry, position_entry

TIME = datetime(2024, 1, 1, tzinfo=UTC)
ORDER = Order(
    id="ord-1",
    symbol="EURUSD",
    side=Side.BUY,
    type=OrderType.LIMIT,
    size=10.0,
    price=1.1,
    requested_price=1.1,
    status=OrderStatus.ACCEPTED,
    submitted_at=TIME,
    updated_at=TIME,
)
FILL = Fill("trd-1", "ord-1", "EURUSD", Side.BUY, OrderType.LIMIT, 4.0, 1.09, 1.1, 0.01, -90.9, TIME)


@pytest.mark.parametrize(
    ("status", "message", "level"),
    [
        (OrderStatus.SUBMITTED, "Order submitted", logging.DEBUG),
        (OrderStatus.ACCEPTED, "Order accepted", logging.DEBUG),
        (OrderStatus.REJECTED, "Order rejected", logging.WARNING),
        (OrderStatus.CANCELLED, "Order cancelled", logging.INFO),
    ],
)
def test_an_order_entry_has_the_message_and_level_of_its_status(status: Any, message: Any, level: Any) -> None:
    """Routine steps are DEBUG, an outcome INFO, a refusal WARNING."""
    entry = order_entry(replace(ORDER, status=status))
    assert (entry.message, entry.level, entry.fields["status"]) == (message, level, status.value)


def test_an_order_entry_bears_the_agreed_fields_as_plain_values() -> None:
    """The names of an order's fields, none of them an enum."""
    fields = order_entry(replace(ORDER, status=OrderStatus.CANCELLED, reason="end of data")).fields
    assert fields == {
        "order_id": "ord-1",
        "side": "BUY",
        "order_type": "LIMIT",
        "size": 10.0,
        "price": 1.1,
        "requested_price": 1.1,
        "status": "cancelled",
        "reason": "end of data",
        "filled_size": 0.0,
        "bar_time": TIME,
    }
    assert all(type(value) in (str, float, datetime) for value in fields.values())


def test_what_is_not_known_is_left_out() -> None:
    """A market order before the first bar has neither limit nor price nor time, and its entry no nulls."""
    order = replace(ORDER, type=OrderType.MARKET, price=None, requested_price=None, updated_at=None)
    assert set(order_entry(order).fields) == {"order_id", "side", "order_type", "size", "status"}


@pytest.mark.parametrize(
    ("filled", "status", "message"),
    [
        (4.0, OrderStatus.PARTIALLY_FILLED, "Order partially filled"),
        (10.0, OrderStatus.FILLED, "Order filled"),
    ],
)
def test_a_fill_entry_bears_the_execution_and_how_far_the_order_got(filled: Any, status: Any, message: Any) -> None:
    """size and price are the execution's; the order's own size has another name."""
    entry = fill_entry(FILL, replace(ORDER, status=status, filled_size=filled))
    assert (entry.message, entry.level) == (message, logging.INFO)
    assert entry.fields == {
        "order_id": "ord-1",
        "trade_id": "trd-1",
        "side": "BUY",
        "order_type": "LIMIT",
        "size": 4.0,
        "price": 1.09,
        "requested_price": 1.1,
        "slippage_bps": -90.9,
        "fee": 0.01,
        "status": status.value,
        "order_size": 10.0,
        "filled_size": filled,
        "bar_time": TIME,
    }


@pytest.mark.parametrize(
    ("before", "side", "size", "message", "held", "pnl"),
    [
        (0, Side.BUY, 2, "Position opened", "LONG", None),
        (2, Side.BUY, 2, "Position increased", "LONG", None),
        (4, Side.SELL, 1, "Position reduced", "LONG", 10),
        (4, Side.SELL, 4, "Position closed", "LONG", 40),
        (4, Side.SELL, 6, "Position reversed", "SHORT", 40),
        (-4, Side.SELL, 1, "Position increased", "SHORT", None),
    ],
)
def test_a_position_entry_says_what_a_fill_did(
    before: Any, side: Any, size: Any, message: Any, held: Any, pnl: Any
) -> None:
    """The message tells the kind of change, pnl what it realised at 110 against an entry of 100."""
    old = Position("EURUSD", before, 100.0 if before else None, 7.0)
    fill = replace(FILL, side=side, size=size, price=110.0)
    new = old.after(side, size, 110.0)
    entry = position_entry(new, old, fill)
    assert (entry.message, entry.level) == (message, logging.INFO)
    assert (entry.fields["side"], entry.fields.get("pnl")) == (held, pnl)
    assert entry.fields["position_size"] == new.size
    assert (entry.fields["order_id"], entry.fields["trade_id"]) == ("ord-1", "trd-1")


def test_a_closed_position_is_told_with_its_entry_exit_and_size() -> None:
    """A person sees from one line what was closed, at which prices, and what it brought."""
    old = Position("EURUSD", -4.0, 100.0)
    fill = replace(FILL, side=Side.BUY, size=4.0, price=90.0)
    fields = position_entry(old.after(Side.BUY, 4.0, 90.0), old, fill).fields
    assert fields == {
        "order_id": "ord-1",
        "trade_id": "trd-1",
        "side": "SHORT",
        "position_size": 0.0,
        "entry_price": 100.0,
        "closed_size": 4.0,
        "exit_price": 90.0,
        "pnl": 40.0,
        "bar_time": TIME,
    }
