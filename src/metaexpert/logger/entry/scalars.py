"""Values that are one JSON value each: numbers, times, paths, bytes; and integers that orjson does not take.

Pure functions; any thread may use them.
"""

from __future__ import annotations

import dataclasses
import math
import os
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, Final

import orjson

#: By default, CPython does not print longer integers, and `json.loads` does not read them.
MAX_INT_BITS: Final = 14_000
#: Nor are longer ones written in hexadecimal: that alone would take milliseconds.
_MOST_BITS: Final = 1 << 20
#: An array or a table with more cells is told by its shape.
_MOST_CELLS: Final = 10_000
_MOST_COLUMNS: Final = 20
_LONGEST_COLUMN: Final = 200
MIN_I64: Final = -(2**63)
MAX_U64: Final = 2**64 - 1


class Encoded:
    """A value as its JSON: an integer beyond 64 bits, which orjson does not accept, or a large container."""

    __slots__ = ("json",)

    def __init__(self, json: str | bytes) -> None:
        self.json = json


def integer(value: int) -> Any:
    """Return *value* as JSON: a number, or text in hexadecimal if no reader would take it."""
    if MIN_I64 <= value <= MAX_U64:
        return value
    bits = value.bit_length()
    if bits <= MAX_INT_BITS:
        return Encoded(str(value))
    return hex(value) if bits <= _MOST_BITS else f"<integer of {bits} bits>"


def fragment(value: object) -> orjson.Fragment:
    """Return an `Encoded` as orjson takes it."""
    if isinstance(value, Encoded):
        return orjson.Fragment(value.json)
    raise TypeError(type(value).__name__)


def number(value: float) -> float | str:
    """Return *value*, or the text for NaN and the infinities, which JSON does not have."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")  # noqa: PLR0124


def _datetime(value: datetime) -> str:
    if value != value:  # noqa: PLR0124 - pandas.NaT is a datetime that is not equal to itself
        return "NaT"
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # year 1 or 9999 with an offset that leaves the calendar
        return value.isoformat()
    return moment.isoformat().removesuffix("+00:00") + "Z"


def bytes_text(value: bytes | bytearray | memoryview) -> str:
    """Return *value* as UTF-8, with escapes for what is none."""
    return bytes(value).decode("utf-8", "backslashreplace")


def field_names(value: Any) -> list[str] | None:
    """Return the fields of a dataclass, Pydantic, attrs or msgspec object that its `repr` shows."""
    kind = type(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    if isinstance(fields := getattr(kind, "__pydantic_fields__", None), dict):
        return [name for name, field in fields.items() if field.repr] + list(getattr(value, "model_extra", None) or ())
    if isinstance(attributes := getattr(kind, "__attrs_attrs__", None), tuple):
        return [attribute.name for attribute in attributes if attribute.repr]
    if isinstance(names := getattr(kind, "__struct_fields__", None), tuple):
        return list(names)
    return None


def shape_text(value: Any) -> str | None:
    """Return a large table or array by its shape and the names of its columns; None for anything else.

    Its `repr` may take as long as it is large.
    """
    if not hasattr(type(value), "shape"):
        return None
    shape = value.shape
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        return None
    cells = 1
    for size in shape:
        cells *= size
    if cells <= _MOST_CELLS:
        return None
    columns = [str(name)[:_LONGEST_COLUMN] for name in islice(getattr(value, "columns", ()), _MOST_COLUMNS)]
    names = f": {', '.join(columns)}" if columns else ""
    return f"<{type(value).__name__} of {' × '.join(map(str, shape))}{names}>…[cut {cells}]"


#: Types whose values are written as a short ASCII text. A log call finds them by their exact type, without trying the
#: others.
TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    Decimal: str,
    datetime: _datetime,
    date: date.isoformat,
    time: time.isoformat,
    uuid.UUID: str,
}

#: The same and more by their classes, most frequent in a trading log first.
SCALARS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    *TEXTS.items(),
    (timedelta, lambda v: number(v.total_seconds())),
    (os.PathLike, lambda v: bytes_text(p) if isinstance(p := os.fspath(v), bytes) else p),
    ((bytes, bytearray, memoryview), bytes_text),
    (Fraction, str),
)
