"""Ids, prices and enums of other libraries: objects whose text is their value, and is to be written as such.

Nothing here keeps state, so any thread may use it. A hostile object may raise anything.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from types import FunctionType
from typing import Any, Final

from metaexpert.logger.entry.patterns import lazy_pattern

#: Characters of the `repr` of an object that may be an id or a price.
_LONGEST: Final = 1000
#: What a `repr` adds to a text: ``<Id('O-1')>``, ``Id(value='O-1')``, or ``Money(10.00, USD)`` for 10.00 USD.
_KEYWORD: Final = lazy_pattern(r"\b[A-Za-z_]\w*=")
_ADORNMENTS: Final = str.maketrans("", "", "<>()[]'\":, ")


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


def _bare(text: str) -> str:
    return _KEYWORD.sub("", text).translate(_ADORNMENTS)
