"""An EMA cross on hourly bars: long above the slow average, short below it, one position at a time.

    metaexpert run examples/expert_ema_cross.py --data examples/data/eurusd_1h.csv
    metaexpert logs

The stake is chosen so that an hour's usual move is worth RISK dollars. In a quiet market that is more than the
strategy may trade, or more than the account can carry: then you see an error, or a rejected order.
"""

from pathlib import Path

from metaexpert import MetaExpert
from metaexpert.trading import Bar, Order, OrderStatus, PaperConfig, Position

FAST, SLOW = 96, 480  # hours: four days, twenty days
RISK = 11.0  # dollars per hour
MAX_UNITS = 9_000  # euros
TAKE_PROFIT = 0.02  # of the entry price


class RiskLimitError(Exception):
    """An order would be larger than the strategy may trade."""


class Ema:
    """An exponential moving average that starts at the first number it is given."""

    def __init__(self, period: int) -> None:
        self.weight, self.count, self.value = 2 / (period + 1), 0, 0.0

    def update(self, number: float) -> float:
        """Take in the next number and return the average."""
        self.value += (number - self.value) * (self.weight if self.count else 1)
        self.count += 1
        return self.value


expert = MetaExpert(
    "paper-exchange",
    expert_name="ema-cross",
    symbol="EURUSD",
    strategy_id=1001,
    data=Path(__file__).parent / "data" / "eurusd_1h.csv",
    paper=PaperConfig(starting_equity=10_000, fee_bps=0.2, slippage_bps=0.1, spread_bps=0.5),
)
fast, slow, hourly_move = Ema(FAST), Ema(SLOW), Ema(SLOW)


@expert.on_init
def start() -> None:
    """Say what the strategy is set to."""
    expert.logger.info("Strategy ready", fast=FAST, slow=SLOW, risk=RISK, max_units=MAX_UNITS)


@expert.on_bar
def decide(bar: Bar) -> None:
    """Turn round when the averages cross."""
    was_up = fast.value > slow.value
    is_up = fast.update(bar.close) > slow.update(bar.close)
    hourly_move.update(bar.high - bar.low)
    expert.logger.debug("Averages", fast=fast.value, slow=slow.value)
    if slow.count <= SLOW or is_up == was_up:
        return
    signal = {"trend": "up" if is_up else "down", "fast": fast.value, "slow": slow.value}
    with expert.logger.decision("turn", because="averages crossed", signal=signal, close=bar.close):
        for order in expert.open_orders:
            expert.cancel(order.id)
        expert.close_position()
        trade = expert.buy if is_up else expert.sell
        trade(stake())


def stake() -> float:
    """Return how many units to trade now."""
    units = round(RISK / hourly_move.value, -2)
    if units > MAX_UNITS:
        raise RiskLimitError(f"{units:,.0f} units wanted, {MAX_UNITS:,} allowed")
    return units


@expert.on_position
def protect(position: Position) -> None:
    """Wait with a limit order for the price at which a new position has won enough."""
    if position.entry_price is not None:
        gain = TAKE_PROFIT if position.size > 0 else -TAKE_PROFIT
        expert.close_position(price=round(position.entry_price * (1 + gain), 5))


@expert.on_order
def watch(order: Order) -> None:
    """Report a signal that could not be traded."""
    if order.status is OrderStatus.REJECTED:
        expert.logger.error("Signal missed", wanted=order.size, equity=expert.equity)


if __name__ == "__main__":
    with expert:
        expert.run()
