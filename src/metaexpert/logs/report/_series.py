"""Series of figures over time in bounded memory: a curve of equity with its drawdown, and the trades of a symbol."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from metaexpert.logs.trades import Execution
from metaexpert.logs.vocabulary import plain

#: Points of a curve, and trades of a symbol, that are kept: from half of it up to all.
_MOST_POINTS: Final = 1200
_MOST_TRADES: Final = 1200
_MOST_BARS: Final = 600


@dataclass(slots=True)
class Equity:
    """Results added up over time, in one currency.

    Attributes:
        result: Realised result before fees.
        fees: The fees in this currency.
        points: Time and equity, thinned out where there are many: of two neighbours the later one stays.
        drawdown: The largest fall from a peak.
        fell_from: When that peak was.
        fell_to: When the fall was at its lowest.
        has_result: Whether anything was earned or lost, beside fees.
    """

    result: Decimal = Decimal()
    fees: Decimal = Decimal()
    points: list[tuple[str, Decimal]] = field(default_factory=list)
    drawdown: Decimal = Decimal()
    fell_from: str = ""
    fell_to: str = ""
    has_result: bool = False
    _peak: Decimal = Decimal()
    _peak_at: str = ""
    _every: int = 1
    _seen: int = 0

    def add(self, time: str, result: Decimal, fee: Decimal) -> None:
        """Add what an entry of that *time* earned, and what it cost."""
        self.result += result
        self.has_result |= bool(result)
        self.fees += fee
        equity = self.result - self.fees
        if equity >= self._peak or not self._peak_at:
            self._peak, self._peak_at = max(equity, self._peak), time
        if self._peak - equity > self.drawdown:
            self.drawdown, self.fell_from, self.fell_to = self._peak - equity, self._peak_at, time
        self._seen += 1
        if self._seen % self._every and self.points:
            self.points[-1] = (time, equity)
        else:
            self.points.append((time, equity))
        if len(self.points) > _MOST_POINTS:
            del self.points[-2::-2]
            self._every *= 2

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; money as exact text."""
        return {
            "result": plain(self.result),
            "fees": plain(self.fees),
            "net": plain(self.result - self.fees),
            "has_result": self.has_result,
            "drawdown": plain(self.drawdown),
            "drawdown_from": self.fell_from or None,
            "drawdown_to": self.fell_to or None,
            "equity": [[time, plain(equity)] for time, equity in self.points],
        }


@dataclass(slots=True)
class Thinned[Point]:
    """Points over time: all of few, and of many every second, fourth or eighth."""

    most: int
    points: list[Point] = field(default_factory=list)
    count: int = 0
    _every: int = 1

    def add(self, point: Point) -> None:
        """Add a point."""
        if self.count % self._every == 0:
            self.points.append(point)
        self.count += 1
        if len(self.points) > self.most:
            del self.points[1::2]
            self._every *= 2


@dataclass(slots=True)
class Trades:
    """The executions in one symbol, with time, price and side, and the prices that bars tell."""

    executions: Thinned[tuple[str, Decimal, int]] = field(default_factory=lambda: Thinned(_MOST_TRADES))
    bars: Thinned[tuple[str, Decimal]] = field(default_factory=lambda: Thinned(_MOST_BARS))

    @property
    def points(self) -> list[tuple[str, Decimal, int]]:
        """The executions that are kept."""
        return self.executions.points

    def add(self, time: str, execution: Execution) -> None:
        """Add an execution."""
        self.executions.add((time, execution.price, execution.side))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; prices as exact text."""
        return {
            "count": self.executions.count,
            "shown": [[time, plain(price), side] for time, price, side in self.points],
            "bars": [[time, plain(price)] for time, price in self.bars.points],
        }
