"""Percentiles of many numbers in bounded memory."""

from __future__ import annotations

from collections import Counter
from typing import Final

#: Distinct values kept exactly; beyond that, values are rounded to within half a percent.
_EXACT: Final = 100_000


class Distribution:
    """Percentiles of many numbers in bounded memory: exact up to 100,000 distinct values, then to half a percent."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = float("inf")
        self.most = float("-inf")
        self._values: Counter[float] = Counter()
        self._rounded = False

    def add(self, value: float, count: int = 1) -> None:
        """Count a value, or so many equal ones."""
        self.count += count
        self.total += value * count
        self.least, self.most = min(self.least, value), max(self.most, value)
        self._values[float(f"{value:.3g}") if self._rounded else value] += count
        if not self._rounded and len(self._values) > _EXACT:
            self._rounded = True
            exact, self._values = self._values, Counter()
            for old, times in exact.items():
                self._values[float(f"{old:.3g}")] += times

    def percentile(self, part: float) -> float:
        """Return the value that a *part* (0 to 1) of all values does not exceed."""
        wanted, seen = part * self.count, 0
        for value in sorted(self._values):
            seen += self._values[value]
            if seen >= wanted:
                return min(max(value, self.least), self.most)
        return self.most

    def as_dict(self) -> dict[str, float | int]:
        """Return the usual figures."""
        if not self.count:
            return {"count": 0}
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
        return {
            "count": self.count,
            "min": self.least,
            "mean": self.total / self.count,
            **{name: self.percentile(part) for name, part in shares.items()},
            "max": self.most,
        }
