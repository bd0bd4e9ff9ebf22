"""The job that is the same for all: one entry, its three bound fields and its five own fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

#: What one log call is to every measure: the entry's number and an order id.
Entry = Callable[[int, str], object]

LOGGER: Final = "bench.orders"
MESSAGE: Final = "Order filled"
LEVEL: Final = "info"
SYMBOL: Final = "BTCUSDT"
STRATEGY_ID: Final = 1001
EXCHANGE: Final = "binance"
BOUND: Final[dict[str, object]] = {"symbol": SYMBOL, "strategy_id": STRATEGY_ID, "exchange": EXCHANGE}
SIDE: Final = "BUY"
SIZE: Final = 0.25
PRICE: Final = 64250.5

#: Made beforehand, so that no measure times the making of a string. Its length is a power of two.
ORDER_IDS: Final = tuple(f"ord-{number:06d}" for number in range(1024))
ID_MASK: Final = len(ORDER_IDS) - 1

#: Entries of the warm-up are numbered from here, out of the way of those that are counted.
WARM_UP_FROM: Final = 1_000_000_000


def event_fields(number: int) -> dict[str, object]:
    """Return the five own fields of entry *number*, as they must be found in the file."""
    return {"order_id": ORDER_IDS[number & ID_MASK], "side": SIDE, "size": SIZE, "price": PRICE, "n": number}


class Rotation(NamedTuple):
    """When a file is full, in bytes, how many full ones are kept, and whether they are compressed (ours only)."""

    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5
    compress: bool = False


def warm_up(entry: Entry, calls: int = 300) -> None:
    """Make the first calls, which fill caches and start threads and would only blur the figures."""
    for number in range(calls):
        entry(WARM_UP_FROM + number, ORDER_IDS[number & ID_MASK])
