"""Trading: bars, orders, a paper broker, and the run that brings them to an expert's handlers."""

from __future__ import annotations

from .bars import Bar, BarError, check_bars, load_bars, read_bars
from .events import Tick
from .orders import Fill, Order, OrderStatus, OrderType, Position, Side
from .paper import PaperConfig

__all__ = [
    "Bar",
    "BarError",
    "Fill",
    "Order",
    "OrderStatus",
    "OrderType",
    "PaperConfig",
    "Position",
    "Side",
    "Tick",
    "check_bars",
    "load_bars",
    "read_bars",
]
