"""Charts as SVG, written by hand. They stretch to the width of the page; their labels are text of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from markupsafe import Markup

_WIDTH, _HEIGHT = 1000, 200
_MARGIN: Final = 6
_BEGIN: Final = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{{label}}">'


def curve(points: Sequence[tuple[str, Decimal]], label: str) -> Markup:
    """Return a line through *points*, time and value, with the area between it and zero."""
    scale = _Scale([time for time, _ in points], [*(value for _, value in points), Decimal()])
    places = [scale.place(time, value) for time, value in points]
    line = _path(_steps(places))
    zero = scale.y(Decimal())
    area = f"{line}V{zero}H{places[0][0]}Z"
    return _svg(label, _mark("area", area), _mark("zero", f"M0 {zero}H{_WIDTH}"), _mark("line", line))


def drawdown(points: Sequence[tuple[str, Decimal]], label: str) -> Markup:
    """Return how far the value of *points* is below its highest so far."""
    peak, below = Decimal(), []
    for time, value in points:
        peak = max(peak, value)
        below.append((time, value - peak))
    scale = _Scale([time for time, _ in below], [*(value for _, value in below), Decimal()])
    places = _steps([scale.place(time, value) for time, value in below])
    top = scale.y(Decimal())
    return _svg(label, _mark("below", f"{_path(places)}V{top}H{places[0][0]}Z"), _mark("zero", f"M0 {top}H{_WIDTH}"))


def bars(values: Sequence[Decimal], label: str) -> Markup:
    """Return one bar for each of *values*, above or below zero."""
    scale = _Scale(["2000-01-01T00:00:00Z"], [*values, Decimal()])
    width, zero = _WIDTH / len(values), scale.y(Decimal())
    marks = []
    for kind, wanted in (("gain", 1), ("loss", -1)):
        path = "".join(
            f"M{_short(at * width + width * 0.15)} {zero}V{scale.y(value)}h{_short(width * 0.7)}V{zero}Z"
            for at, value in enumerate(values)
            if value * wanted > 0
        )
        marks.append(_mark(kind, path))
    return _svg(label, *marks, _mark("zero", f"M0 {zero}H{_WIDTH}"))


def trades(points: Sequence[tuple[str, Decimal, int]], label: str) -> Markup:
    """Return the price from point to point, with a dot for each that was bought (1) or sold (-1); 0 is a bar's."""
    scale = _Scale([time for time, *_ in points], [price for _, price, _ in points])
    places = [(scale.place(time, price), side) for time, price, side in points]
    dots = {
        kind: "".join(f"M{x} {y}h0" for (x, y), side in places if side * wanted > 0)
        for kind, wanted in (("bought", 1), ("sold", -1))
    }
    line = _path([place for place, _ in places])
    return _svg(label, _mark("price", line), *(_mark(kind, path) for kind, path in dots.items()))


class _Scale:
    """Places of times and values in a chart."""

    def __init__(self, times: Iterable[str], values: Iterable[Decimal]) -> None:
        moments, values = [_seconds(time) for time in times], list(values)
        self._first, self._span = min(moments), (max(moments) - min(moments)) or 1.0
        self._low, self._height = float(min(values)), float(max(values) - min(values)) or 1.0

    def place(self, time: str, value: Decimal) -> tuple[str, str]:
        return _short((_seconds(time) - self._first) / self._span * _WIDTH), self.y(value)

    def y(self, value: Decimal) -> str:
        share = (float(value) - self._low) / self._height
        return _short(_HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN))


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _steps(places: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the corners of a line that stays level until the next point."""
    return [
        corner for one, other in zip(places, places[1:] or places, strict=False) for corner in (one, (other[0], one[1]))
    ] + [places[-1]]


def _path(places: Sequence[tuple[str, str]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _mark(kind: str, path: str) -> str:
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def _svg(label: str, *marks: str) -> Markup:
    return Markup(_BEGIN).format(label=label) + Markup("".join(marks)) + Markup("</svg>")  # noqa: S704 - numbers only
