"""The paper broker's fills, fees and refusals, against cases computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.trading import Bar, OrderStatus, PaperConfig, Position, Side
from metaexpert.trading.orders import remainder, slippage_bps, tidy
from metaexpert.trading.paper import (
    MAX_ORDERS_PER_BAR,
    BrokerEvent,
    Ids,
    OrderChanged,
    PaperBroker,
    PositionChanged,
    Traded,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
FREE = PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=0)


def bar(hour: int, open_: float, high: float, low: float, close: float, volume: float = 100) -> Bar:
    return Bar(START + timedelta(hours=hour), open_, high, low, close, volume)


def flat(hour: int, price: float, volume: float = 100) -> Bar:
    return bar(hour, price, price, price, price, volume)


class Desk:
    """A broker and the list of all that it reported."""

    def __init__(self, config: PaperConfig = FREE) -> None:
        self.events: list[BrokerEvent] = []
        self.broker = PaperBroker(config, "EURUSD", Ids(), self.events.append)

    def statuses(self, order_id: str) -> list[str]:
        orders = [e.order for e in self.events if isinstance(e, (OrderChanged, Traded))]
        return [order.status.value for order in orders if order.id == order_id]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_market_order_fills_at_the_next_bars_open_and_not_before(desk: Desk) -> None:
    """A decision at a close is executed at the open that follows, whatever the bar does later."""
    desk.broker.on_bar(bar(0, 100, 120, 90, 110))
    order = desk.broker.submit(Side.BUY, 2)
    assert order.status is OrderStatus.ACCEPTED
    assert not desk.broker.fills
    desk.broker.on_bar(bar(1, 111, 130, 80, 125))
    [fill] = list(desk.broker.fills)
    assert (fill.price, fill.size, fill.time) == (111, 2, START + timedelta(hours=1))
    assert (fill.requested_price, order.requested_price) == (110, 110)
    assert fill.slippage_bps == pytest.approx(1 / 110 * 10_000, abs=1e-4)


def test_a_sell_fills_at_the_same_open_and_gains_when_the_price_falls(desk: Desk) -> None:
    """Short positions work as long ones do: sold at 100, worth 90, ten won per unit."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.SELL, 3)
    desk.broker.on_bar(bar(1, 100, 100, 90, 90))
    assert (desk.broker.position.size, desk.broker.position.side) == (-3, "SHORT")
    assert desk.broker.equity == 10_030


def test_spread_and_slippage_are_against_you_on_both_sides() -> None:
    """Spread 20 bps and slippage 5 bps make a market buy at 1000 cost 1001.5 and a sell bring 998.5."""
    desk = Desk(PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=5, spread_bps=20))
    desk.broker.on_bar(flat(0, 1000))
    desk.broker.submit(Side.BUY, 1)
    desk.broker.on_bar(flat(1, 1000))
    desk.broker.submit(Side.SELL, 1)
    desk.broker.on_bar(flat(2, 1000))
    bought, sold = desk.broker.fills
    assert (bought.price, sold.price) == (1001.5, 998.5)
    assert (bought.slippage_bps, sold.slippage_bps) == (15.0, 15.0)
    assert desk.broker.equity == 9_997


def test_the_fee_is_a_share_of_the_value_of_each_fill() -> None:
    """25 bps of 2 × 100 are 0.5, taken from the cash at each fill."""
    desk = Desk(PaperConfig(starting_equity=1_000, fee_bps=25, slippage_bps=0))
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 2)
    desk.broker.on_bar(flat(1, 100))
    desk.broker.submit(Side.SELL, 2)
    desk.broker.on_bar(flat(2, 100))
    assert [fill.fee for fill in desk.broker.fills] == [0.5, 0.5]
    assert (desk.broker.fees, desk.broker.balance) == (1.0, 999.0)
    assert desk.broker.order("ord-1").fee == 0.5


@pytest.mark.parametrize(
    ("side", "limit", "next_bar", "price"),
    [
        (Side.BUY, 95, bar(1, 100, 101, 96, 100), None),  # not reached
        (Side.BUY, 95, bar(1, 100, 101, 95, 100), None),  # touched, not traded through
        (Side.BUY, 95, bar(1, 100, 101, 94.9, 100), 95),  # traded through: at the limit
        (Side.BUY, 95, bar(1, 93, 101, 92, 100), 93),  # opened beyond it: at the open, which is better
        (Side.BUY, 105, bar(1, 100, 101, 96, 100), 100),  # marketable
        (Side.SELL, 105, bar(1, 100, 104, 96, 100), None),
        (Side.SELL, 105, bar(1, 100, 105, 96, 100), None),
        (Side.SELL, 105, bar(1, 100, 105.1, 96, 100), 105),
        (Side.SELL, 105, bar(1, 107, 108, 96, 100), 107),
        (Side.SELL, 95, bar(1, 100, 101, 96, 100), 100),
    ],
)
def test_a_limit_order_fills_only_when_traded_through_at_its_price_or_better(
    desk: Desk, side: Any, limit: Any, next_bar: Any, price: Any
) -> None:
    """Touching is not enough, a gap gives the open, and never anything worse than the limit."""
    desk.broker.on_bar(flat(0, 100))
    order = desk.broker.submit(side, 1, limit)
    desk.broker.on_bar(next_bar)
    assert [fill.price for fill in desk.broker.fills] == ([] if price is None else [price])
    assert desk.broker.order(order.id).is_open is (price is None)


def test_a_limit_order_pays_half_the_spread_by_waiting_for_the_ask() -> None:
    """With 200 bps of spread the ask is 1 % above the bar, so a buy at 95 needs a low under 94.06."""
    desk = Desk(PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=50, spread_bps=200))
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 1, 95)
    desk.broker.on_bar(bar(1, 100, 100, 94.1, 100))
    assert not desk.broker.fills
    desk.broker.on_bar(bar(2, 100, 100, 94, 100))
    assert [fill.price for fill in desk.broker.fills] == [95]  # no slippage on a limit order


def test_a_limit_order_is_not_filled_by_the_bar_on_which_it_was_submitted(desk: Desk) -> None:
    """The bar whose close the strategy saw cannot fill what it decided then."""
    desk.broker.on_bar(bar(0, 100, 110, 80, 100))
    desk.broker.submit(Side.BUY, 1, 90)
    assert not desk.broker.fills
    desk.broker.on_bar(flat(1, 100))
    assert not desk.broker.fills


def test_a_limit_order_waits_for_later_bars(desk: Desk) -> None:
    """An order stays open until a bar trades through its price."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 1, 90)
    for hour in range(1, 5):
        desk.broker.on_bar(flat(hour, 95))
    assert [order.id for order in desk.broker.open_orders] == ["ord-1"]
    desk.broker.on_bar(flat(5, 89))
    assert desk.broker.order("ord-1").status is OrderStatus.FILLED
    assert desk.broker.open_orders == ()


def test_what_fills_at_the_open_comes_before_what_the_bar_reaches_later(desk: Desk) -> None:
    """A limit order that was submitted first still comes after a market order of the same bar."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 1, 95)
    desk.broker.submit(Side.BUY, 2)
    desk.broker.on_bar(bar(1, 100, 100, 90, 100))
    assert [(fill.order_id, fill.id) for fill in desk.broker.fills] == [("ord-2", "trd-1"), ("ord-1", "trd-2")]


def test_a_share_of_the_volume_fills_an_order_in_parts() -> None:
    """A tenth of bars of 30 units fills 7 units as 3, 3 and 1, and the mean price is weighed by size."""
    desk = Desk(PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=0, volume_share=0.1))
    desk.broker.on_bar(flat(0, 100, 30))
    desk.broker.submit(Side.BUY, 7)
    for hour, price in ((1, 100), (2, 110), (3, 120)):
        desk.broker.on_bar(flat(hour, price, 30))
    assert [(fill.size, fill.price) for fill in desk.broker.fills] == [(3, 100), (3, 110), (1, 120)]
    assert desk.statuses("ord-1") == [
        "submitted",
        "accepted",
        "partially_filled",
        "partially_filled",
        "filled",
    ]
    order = desk.broker.order("ord-1")
    assert (order.filled_size, order.remaining_size) == (7, 0)
    assert order.average_price == pytest.approx((300 + 330 + 120) / 7)


def test_orders_of_one_bar_share_its_volume() -> None:
    """The second order takes what the first one left, a bar without volume fills nothing."""
    desk = Desk(PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=0, volume_share=0.5))
    desk.broker.on_bar(flat(0, 10))
    desk.broker.submit(Side.BUY, 4)
    desk.broker.submit(Side.BUY, 4)
    desk.broker.on_bar(flat(1, 10, 0))
    assert not desk.broker.fills
    desk.broker.on_bar(flat(2, 10, 10))
    assert [(fill.order_id, fill.size) for fill in desk.broker.fills] == [("ord-1", 4), ("ord-2", 1)]


@pytest.mark.parametrize(
    ("size", "price", "reason"),
    [
        (0, None, "the size must be above zero"),
        (-1, None, "the size must be above zero"),
        (float("nan"), None, "the size must be above zero"),
        (float("inf"), None, "the size must be above zero"),
        (1, 0, "the price must be above zero"),
        (1, -5, "the price must be above zero"),
        (1, float("nan"), "the price must be above zero"),
        (101, None, "not enough equity: a position worth 10100.00 against 10000.00"),
        (112, 90, "not enough equity: a position worth 10080.00 against 10000.00"),
    ],
)
def test_an_impossible_order_is_rejected_with_its_reason(desk: Desk, size: Any, price: Any, reason: Any) -> None:
    """A refusal is an order with status rejected, reported as any change is."""
    desk.broker.on_bar(flat(0, 100))
    order = desk.broker.submit(Side.BUY, size, price)
    assert (order.status, order.reason) == (OrderStatus.REJECTED, reason)
    assert desk.statuses(order.id) == ["submitted", "rejected"]
    assert (desk.broker.orders, desk.broker.open_orders) == ((order,), ())


def test_a_market_order_before_the_first_bar_is_rejected_and_a_limit_order_is_not(desk: Desk) -> None:
    """Without a price there is nothing to size a market order by; a limit order brings its own."""
    assert desk.broker.submit(Side.BUY, 1).reason == "there is no price yet: no bar has closed"
    limit = desk.broker.submit(Side.BUY, 1, 100)
    desk.broker.on_bar(bar(0, 99, 99, 98, 98))
    assert desk.broker.order(limit.id).average_price == 99


def test_working_orders_count_against_the_equity(desk: Desk) -> None:
    """Two orders that fit alone do not fit together; the other side's orders do not count."""
    desk.broker.on_bar(flat(0, 100))
    assert desk.broker.submit(Side.BUY, 60).status is OrderStatus.ACCEPTED
    assert desk.broker.submit(Side.BUY, 60).status is OrderStatus.REJECTED
    assert desk.broker.submit(Side.SELL, 60).status is OrderStatus.ACCEPTED


def test_an_order_that_reduces_needs_no_equity(desk: Desk) -> None:
    """After a loss that ate the equity a position can still be closed."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 100)
    desk.broker.on_bar(bar(1, 100, 100, 1, 1))
    assert desk.broker.submit(Side.SELL, 100).status is OrderStatus.ACCEPTED


def test_leverage_multiplies_what_the_equity_allows() -> None:
    """With leverage 3 an account of 10,000 carries 300 units at 100, not 301."""
    desk = Desk(PaperConfig(starting_equity=10_000, leverage=3))
    desk.broker.on_bar(flat(0, 100))
    assert desk.broker.submit(Side.SELL, 301).status is OrderStatus.REJECTED
    assert desk.broker.submit(Side.SELL, 300).status is OrderStatus.ACCEPTED


def test_a_reduce_only_order_never_opens_a_position(desk: Desk) -> None:
    """Two closing orders of one bar close once: the second finds nothing left and is cancelled."""
    desk.broker.on_bar(flat(0, 100))
    assert desk.broker.submit(Side.SELL, 1, reduce_only=True).reason == "there is no position to reduce"
    desk.broker.submit(Side.BUY, 5)
    desk.broker.on_bar(flat(1, 100))
    first = desk.broker.submit(Side.SELL, 5, reduce_only=True)
    second = desk.broker.submit(Side.SELL, 5, reduce_only=True)
    desk.broker.on_bar(flat(2, 100))
    assert desk.broker.position.size == 0
    assert desk.broker.order(first.id).status is OrderStatus.FILLED
    assert desk.broker.order(second.id).status is OrderStatus.CANCELLED
    assert desk.broker.order(second.id).reason == "nothing is left to close"


def test_a_reduce_only_order_larger_than_the_position_is_cancelled_for_the_rest(desk: Desk) -> None:
    """It closes what there is and the rest is cancelled, not turned into a position."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 5)
    desk.broker.on_bar(flat(1, 100))
    order = desk.broker.submit(Side.SELL, 8, reduce_only=True)
    desk.broker.on_bar(flat(2, 100))
    order = desk.broker.order(order.id)
    assert (order.status, order.filled_size) == (OrderStatus.CANCELLED, 5)
    assert desk.broker.position.size == 0


def test_a_cancelled_order_is_never_filled(desk: Desk) -> None:
    """Cancelling takes the order out; a bar that would have filled it does not."""
    desk.broker.on_bar(flat(0, 100))
    order = desk.broker.submit(Side.BUY, 1)
    assert desk.broker.cancel(order.id, "changed my mind").status is OrderStatus.CANCELLED
    desk.broker.on_bar(flat(1, 100))
    assert not desk.broker.fills
    assert desk.statuses(order.id) == ["submitted", "accepted", "cancelled"]


def test_cancelling_a_final_order_changes_nothing_and_an_unknown_one_is_an_error(desk: Desk) -> None:
    """A filled order stays filled; an id that was never given is the caller's mistake."""
    desk.broker.on_bar(flat(0, 100))
    order = desk.broker.submit(Side.BUY, 1)
    desk.broker.on_bar(flat(1, 100))
    assert desk.broker.cancel(order.id, "late").status is OrderStatus.FILLED
    with pytest.raises(LookupError, match="no order 'ord-9'"):
        desk.broker.cancel("ord-9", "")


def test_closing_the_account_cancels_what_is_open_and_rejects_what_comes(desk: Desk) -> None:
    """After the end of a run no order is left working and the position stays as it is."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 1)
    desk.broker.on_bar(flat(1, 100))
    desk.broker.submit(Side.SELL, 1, 500)
    desk.broker.close("end of data")
    assert [order.status.value for order in desk.broker.orders] == ["filled", "cancelled"]
    assert desk.broker.submit(Side.SELL, 1).reason == "the run is over: end of data"
    assert desk.broker.position.size == 1


def test_a_flood_of_orders_on_one_bar_is_stopped(desk: Desk) -> None:
    """A strategy that answers every rejection with an order meets an exception, and the next bar a new count."""
    desk.broker.on_bar(flat(0, 100))
    for _ in range(MAX_ORDERS_PER_BAR):
        desk.broker.submit(Side.BUY, 0)
    with pytest.raises(RuntimeError, match="orders on one bar"):
        desk.broker.submit(Side.BUY, 0)
    desk.broker.on_bar(flat(1, 100))
    assert desk.broker.submit(Side.BUY, 1).status is OrderStatus.ACCEPTED


def test_a_size_may_be_a_decimal_and_may_not_be_text(desk: Desk) -> None:
    """Numbers of any kind are taken; a string is a mistake in the strategy."""
    desk.broker.on_bar(flat(0, 100))
    assert desk.broker.submit(Side.BUY, Decimal("0.1"), Decimal(90)).size == 0.1
    with pytest.raises(TypeError, match="size must be a number, not str"):
        desk.broker.submit(Side.BUY, "1")  # type: ignore[arg-type]


def test_a_call_with_a_wrong_type_leaves_no_order_behind(desk: Desk) -> None:
    """A TypeError uses up no order id: the next order is the first."""
    desk.broker.on_bar(flat(0, 100))
    with pytest.raises(TypeError):
        desk.broker.submit(Side.BUY, None)  # type: ignore[arg-type]
    assert desk.broker.submit(Side.BUY, 1).id == "ord-1"


def test_a_fill_reports_the_order_then_the_position(desk: Desk) -> None:
    """Each fill is told as a trade with the order after it, then as the change of the position."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 1)
    desk.events.clear()
    desk.broker.on_bar(flat(1, 101))
    traded, changed = desk.events
    assert isinstance(traded, Traded)
    assert traded.order == desk.broker.order("ord-1")
    assert isinstance(changed, PositionChanged)
    assert (changed.before.size, changed.position.size) == (0, 1)


def test_drawdown_is_the_deepest_fall_from_a_peak_at_closes(desk: Desk) -> None:
    """10,000 rises to 10,200 and falls to 9,690: five per cent of the peak; lows within bars do not count."""
    desk.broker.on_bar(flat(0, 100))
    desk.broker.submit(Side.BUY, 10)
    desk.broker.on_bar(flat(1, 100))
    desk.broker.on_bar(bar(2, 100, 120, 100, 120))
    desk.broker.on_bar(bar(3, 120, 120, 10, 69))
    desk.broker.on_bar(flat(4, 110))
    assert desk.broker.max_drawdown == pytest.approx(0.05)


def test_ids_bear_their_prefix_and_count_from_one() -> None:
    """Order and trade ids are counted apart."""
    ids = Ids("ema-")
    assert [ids.order(), ids.order(), ids.trade()] == ["ema-ord-1", "ema-ord-2", "ema-trd-1"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("starting_equity", 0),
        ("starting_equity", float("nan")),
        ("leverage", float("inf")),
        ("fee_bps", -1),
        ("slippage_bps", 5_001),
        ("spread_bps", float("nan")),
        ("volume_share", 0),
        ("volume_share", 1.1),
        ("fee_bps", "1"),
        ("starting_equity", None),
        ("leverage", True),
    ],
)
def test_a_bad_setting_of_the_account_is_named(field: Any, value: Any) -> None:
    """Each setting outside its range is refused with its name and value."""
    with pytest.raises(ValueError, match=rf"PaperConfig\.{field}: {value!r} will not do"):
        PaperConfig(**{field: value})


@pytest.mark.parametrize(
    ("steps", "size", "entry", "realized"),
    [
        ([(Side.BUY, 2, 100)], 2, 100, 0),
        ([(Side.BUY, 2, 100), (Side.BUY, 2, 110)], 4, 105, 0),
        ([(Side.BUY, 4, 105), (Side.SELL, 1, 115)], 3, 105, 10),
        ([(Side.BUY, 4, 105), (Side.SELL, 4, 100)], 0, None, -20),
        ([(Side.BUY, 2, 100), (Side.SELL, 5, 110)], -3, 110, 20),
        ([(Side.SELL, 2, 100), (Side.BUY, 3, 90)], 1, 90, 20),
        ([(Side.BUY, 0.1, 10), (Side.BUY, 0.2, 10), (Side.SELL, 0.3, 10)], 0, None, 0),
    ],
)
def test_a_position_is_netted(steps: Any, size: Any, entry: Any, realized: Any) -> None:
    """Growing averages the entry, reducing realises profit, crossing zero starts anew at the fill's price."""
    position = Position("X")
    for step in steps:
        position = position.after(*step)
    assert (position.size, position.entry_price) == (size, entry)
    assert position.realized_pnl == pytest.approx(realized)
    assert position.side == ("FLAT" if size == 0 else "LONG" if size > 0 else "SHORT")


@given(
    st.lists(
        st.tuples(st.sampled_from(Side), st.floats(0.001, 1_000), st.floats(0.01, 100_000)),
        min_size=1,
        max_size=30,
    ),
    st.floats(0.01, 100_000),
)
def test_profit_is_what_was_received_less_what_was_paid(steps: Any, last: Any) -> None:
    """Realised plus unrealised profit equals the cash flow plus the worth of what is left."""
    position, cash = Position(), 0.0
    for side, size, price in steps:
        position = position.after(side, size, price)
        cash -= side.sign * size * price
    turnover = sum(size * max(price, last) for _, size, price in steps)
    profit = position.realized_pnl + position.unrealized_pnl(last)
    assert profit == pytest.approx(cash + position.size * last, abs=1e-7 + 1e-7 * turnover)


def test_amounts_carry_no_floating_point_noise() -> None:
    """Rounding to twelve digits removes the noise of sums, and a rest of noise is zero."""
    assert tidy(0.1 + 0.2) == 0.3
    assert remainder(0.3, 0.1 + 0.2) == 0
    assert remainder(1, 0.4) == 0.6


def test_slippage_is_positive_when_it_hurts() -> None:
    """Paying more and receiving less are both positive."""
    assert slippage_bps(Side.BUY, 100, 101) == 100
    assert slippage_bps(Side.SELL, 100, 101) == -100
