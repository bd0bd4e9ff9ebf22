"""The names of orders: by which ids an entry speaks of an order, in the shapes of the usual exchanges.

An order has several names: the exchange's id, the client's, in MetaTrader a ticket. `orders_in` finds them at any depth
of an entry, those of one order together: ``client_order_id`` beside ``response={"orderId": …}`` are one order, the
items of a list of open orders are several.

A name that elsewhere means something else counts only where it certainly is an order's: ``id`` in the shape of an
order, ``order``, ``ticket`` and ``deal`` as a number. An execution (``deal``) has numbers of its own, which may equal
those of another order, and small numbers belong to many orders: see `Name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema

#: The exchange's id. ``oid``: Hyperliquid; ``ord_id``: OKX; ``txid``, ``ordertxid``: Kraken.
_EXCHANGE: Final = frozenset({"orderid", "ordid", "oid", "txid", "ordertxid", "exchangeorderid", "venueorderid"})
#: The client's. ``order_link_id``: Bybit; ``cloid``: Hyperliquid; ``cl_ord_id``: FIX, OKX, Kraken.
_CLIENT: Final = frozenset(
    {"clientorderid", "clientoid", "clordid", "origclientorderid", "origclordid", "newclientorderid", "orderlinkid"}
    | {"cloid"}
)
#: Interactive Brokers' lasting id, beside an ``orderId`` that counts from 1.
_PERMANENT: Final = frozenset({"permid"})
#: MetaTrader 5, where they are numbers; small ones mean something else ("order=3").
NUMBERS: Final[Mapping[str, str]] = {"ticket": "order", "order": "order", "deal": "deal"}
_SPACES: Final[Mapping[str, str]] = {**dict.fromkeys(_EXCHANGE | _CLIENT | _PERMANENT, "order"), **NUMBERS}
#: Keys that only an order has beside its ``id`` and ``side``.
_SHAPE: Final = frozenset(
    {"amount", "size", "quantity", "qty", "filled", "remaining", "status", "ordertype", "timeinforce", "origqty"}
)
#: Keys of an execution, a market or a transfer, whose ``id`` is their own.
_OTHER_SHAPE: Final = frozenset({"takerormaker", "contracts", "entryprice", "base", "fromaccount", "network"})
#: Under these keys lies the exchange's account of the same order.
_SAME: Final = frozenset(
    {"info", "response", "result", "data", "order", "raw", "reply", "res", "resp", "ack", "body", "payload", "report"}
    | {"event", "retdata", "statuses", "resting", "filled", "o", "request", "orderstatus"}
)
#: Binance's executionReport and ORDER_TRADE_UPDATE have these.
_STREAM: Final = frozenset("icXxS")
#: Smaller numbers count the orders of one day or program, and are no name by which to find more.
_FEWEST_DIGITS: Final = 6
_DEEPEST: Final = 8
_NESTED: Final = frozenset({dict, list})
_MOST: Final = 1000
_NOTHING: Final = frozenset({"", "0", "-1", "None", "null", "none"})


class Name(NamedTuple):
    """A name of an order.

    Attributes:
        space: What it numbers, ``order`` or ``deal``: numbers of both may be equal by accident.
        text: The id, exact.
    """

    space: str
    text: str

    @property
    def is_strong(self) -> bool:
        """Whether another entry with the same name speaks of the same order, wherever it is."""
        return not self.text.isdecimal() or len(self.text) >= _FEWEST_DIGITS


class Mention(NamedTuple):
    """What an entry says of one order.

    Attributes:
        names: Its names, by the folded key under which they stood, the outermost first.
        fields: The innermost object that has such a name; the entry itself, or a part of it.
    """

    names: tuple[tuple[str, Name], ...]
    fields: Mapping[str, Any]

    @property
    def texts(self) -> frozenset[str]:
        """The ids."""
        return frozenset(name.text for _, name in self.names)

    @property
    def all(self) -> frozenset[Name]:
        """The names without their keys."""
        return frozenset(name for _, name in self.names)


def orders_in(fields: Mapping[str, Any]) -> list[Mention]:
    """Return the orders that *fields*, a flat entry, speaks of; empty for none."""
    if fields.get(schema.EXCEPTION_KEY).__class__ is dict:  # a traceback has many parts, and names no order
        fields = {name: value for name, value in fields.items() if name != schema.EXCEPTION_KEY}
    return _mentions(fields, "", _DEEPEST)


class _Shape(NamedTuple):
    """What the names of some fields tell.

    Attributes:
        fields: The names, each folded and as it stands.
        naming: Those that may name an order, with what they number.
        folded: By the name as it stands, how it is folded.
        is_stream: Whether they are those of Binance's streams.
    """

    fields: tuple[tuple[str, str], ...]
    naming: tuple[tuple[str, str, str], ...]
    folded: Mapping[str, str]
    is_stream: bool


@lru_cache(maxsize=4096)
def _shape_of(names: tuple[str, ...]) -> _Shape:
    fields = tuple({folded_name(name): name for name in names}.items())
    spaces = {**_SPACES, "id": "order"}
    naming = tuple((folded, name, spaces[folded]) for folded, name in fields if folded in spaces)
    return _Shape(fields, naming, {name: folded for folded, name in fields}, set(names) >= _STREAM)


def _mentions(fields: Mapping[str, Any], key: str, depth: int) -> list[Mention]:
    shape = _shape_of(tuple(fields))
    found = Mention(tuple(_own(fields, shape, key)) if shape.naming or shape.is_stream else (), fields)
    below = [] if _NESTED.isdisjoint(map(type, fields.values())) else _nested(fields, shape, depth)
    if not below:
        return [found] if found.names else []
    others = list[Mention]()
    for name, inner in below:
        if len(inner) == 1 and _is_same(found, inner[0], alone=len(below) == 1, under=name):
            found = Mention((*found.names, *inner[0].names), inner[0].fields)
        else:
            others += inner
    return [found, *others] if found.names else others


def _nested(fields: Mapping[str, Any], shape: _Shape, depth: int) -> list[tuple[str, list[Mention]]]:
    """Return the orders within the values of *fields*, by the folded names of these."""
    nested = [raw for raw, value in fields.items() if value.__class__ in _NESTED and raw in shape.folded]
    named = [(shape.folded[raw], fields[raw]) for raw in nested]
    return [(name, inner) for name, value in named if (inner := _below(name, value, depth))]


def _below(name: str, value: dict[str, Any] | list[Any], depth: int) -> list[Mention]:
    """Return the orders in the value of a field: several items of a list are several orders."""
    if isinstance(value, dict):
        return _mentions(value, name, depth - 1) if depth else []
    items = ({name: item} if isinstance(item, str) and name in _SPACES else item for item in value[:_MOST])
    return [mention for item in items if isinstance(item, dict) for mention in _below(name, item, depth)]


def _is_same(mine: Mention, inner: Mention, *, alone: bool, under: str) -> bool:
    known = [name for _, name in mine.names]
    if any(name in known for _, name in inner.names):
        return True
    conflict = any(key == other and name != theirs for key, name in mine.names for other, theirs in inner.names)
    return under in _SAME or (alone and not conflict)


def _own(fields: Mapping[str, Any], shape: _Shape, key: str) -> list[tuple[str, Name]]:
    """Return the names in *fields* itself, which lies under *key*."""
    found: list[tuple[str, Name]] = []
    for name, raw, space in shape.naming:
        text = _identifier(fields[raw])
        if not text or (name == "id" and not _is_order(fields, shape, key)):
            continue
        if name not in NUMBERS or _is_ticket(text, name, shape):
            found.append((name, Name(space, text)))
    if shape.is_stream:
        stream = ((short, _identifier(fields[short])) for short in ("i", "c"))
        found += [(short, Name("order", text)) for short, text in stream if text]
    return found


def _is_order(fields: Mapping[str, Any], shape: _Shape, key: str) -> bool:
    names = dict(shape.fields)
    if not _OTHER_SHAPE.isdisjoint(names) or _identifier(fields.get(names.get("order", ""))):
        return False  # ccxt's trade names its order so
    named = "order" in key and "book" not in key
    return named or not _CLIENT.isdisjoint(names) or ("side" in names and not _SHAPE.isdisjoint(names))


def _is_ticket(text: str, name: str, shape: _Shape) -> bool:
    """Return whether ``ticket=`` and the like is a number of MetaTrader, or ccxt's name of an execution's order."""
    if text.isdecimal():
        return True
    names = {folded for folded, _ in shape.fields}
    return name == "order" and "id" in names and "side" in names


def _identifier(value: Any) -> str:
    kind = value.__class__
    text = value if kind is str else str(value) if kind is int else ""
    return "" if text in _NOTHING or len(text) > _MOST else text


@lru_cache(maxsize=4096)
def folded_name(name: str) -> str:
    """Return a name of a field without case and without marks between its words."""
    return re.sub(r"[\W_]+", "", name).lower()
