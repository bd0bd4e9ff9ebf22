"""Ids, prices, enums and tables of other libraries: objects whose text is their value, and is to be written as such.

Nothing here keeps state, so any thread may use it. A hostile object may raise anything.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from decimal import Decimal
from types import FunctionType
from typing import Any, Final, Protocol

from metaexpert.logger.entry.patterns import lazy_pattern

#: Characters of the `repr` of an object that may be an id or a price.
_LONGEST: Final = 1000
#: What a `repr` adds to a text: ``<Id('O-1')>``, ``Id(value='O-1')``, or ``Money(10.00, USD)`` for 10.00 USD.
_KEYWORD: Final = lazy_pattern(r"\b[A-Za-z_]\w*=")
_ADORNMENTS: Final = str.maketrans("", "", "<>()[]'\":, ")


class Masks(Protocol):
    """What knows the names of secrets, and masks what stands under them (`metaexpert.logger.masking.rules.Masker`)."""

    def kind(self, parent: str, name: str) -> int:
        """Return what a name below another one means; 0 for nothing."""

    def named(self, kind: int, value: Any) -> Any:
        """Return what is written for a value under such a name."""


def member_value(member: enum.Enum) -> Any:
    """Return the value of an enum's *member*, or its text where its class says what that is."""
    text_of = type(member).__str__
    if isinstance(text_of, FunctionType) and text_of.__module__ != "enum" and str(member) != str(member.value):
        return str(member)
    return member.value


def stands_for(value: Any, inner: object) -> bool:
    """Return whether *value* is no more than the number or text *inner* with a type of its own."""
    return isinstance(inner, str | int | float | Decimal) and str(inner) == str(value)


def object_value(value: Any, shown: str) -> Any:
    """Return the text or number that *value* stands for, or its `repr` *shown* if its text tells less than that."""
    kind: Any = type(value)
    if kind.__str__ is object.__str__ or isinstance(value, BaseException) or len(shown) > _LONGEST:
        return shown
    text = str(value)
    inner = getattr(value, "value", None)
    if stands_for(value, inner):
        return inner
    named = inner is not None and getattr(value, "name", None) == text
    adorned = _bare(shown.partition(kind.__name__)[2]) == _bare(text) or repr(text) in shown
    return text if text and (named or adorned or kind.__repr__ is object.__repr__) else shown


def masked_table(table: Any, masker: Masks) -> Any:
    """Return a table of pandas or polars with the cells masked whose column has a secret name; else *table* itself."""
    for at, name in enumerate(getattr(table, "columns", ())):
        if not (kind := masker.kind("", str(name))):
            continue
        if hasattr(table, "isetitem"):  # pandas
            table = table.copy(deep=False)
            table.isetitem(at, _masked(table.iloc[:, at], kind, masker))
        elif hasattr(table, "with_columns"):  # polars
            column = table[name]
            table = table.with_columns(type(column)(name, _masked(column, kind, masker), strict=False))
    return table


def _masked(cells: Iterable[Any], kind: int, masker: Masks) -> list[Any]:
    return [masker.named(kind, cell if isinstance(cell, str | int | float) else str(cell)) for cell in cells]


def _bare(text: str) -> str:
    return _KEYWORD.sub("", text).translate(_ADORNMENTS)
