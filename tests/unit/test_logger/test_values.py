"""Values: each kind of the contract's list, and whatever else somebody passes."""

from __future__ import annotations

import collections
import dataclasses
import enum
import ipaddress
import json
import pathlib
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
import numpy as np
import orjson
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.entry.values import MAX_DEPTH, Cleaner, cut, dumps, escape_c1, no_surrogates, safe_str


def clean(value: object, max_length: int = 1000, max_items: int = 1000) -> Any:
    """Return *value* as a reader of the file gets it."""
    return json.loads(dumps(Cleaner(max_length, max_items).clean(value)))


class Side(enum.Enum):
    BUY = "buy"


class Code(enum.IntEnum):
    FULL = 3


class Word(enum.StrEnum):
    UP = "up"


class Text(str):
    def __str__(self) -> str:
        raise ValueError


class Number(int):
    def __repr__(self) -> str:
        raise ValueError


@dataclasses.dataclass
class Order:
    size: Decimal = Decimal("0.10")
    secret: str = dataclasses.field(default="hidden", repr=False)


@attrs.define
class AttrsOrder:
    size: int = 1
    secret: str = attrs.field(default="hidden", repr=False)


class Struct(msgspec.Struct):
    size: int = 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    size: int = 1
    key: pydantic.SecretStr = pydantic.SecretStr("hidden")
    quiet: str = pydantic.Field("hidden", repr=False)


Point = collections.namedtuple("Point", "x y")


class Hostile:
    """Everything about it raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


class HalfHostile:
    """A mapping whose items raise, but which can be shown."""

    def keys(self) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "<half>"


class Broken(collections.UserDict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "<broken>"


class Identifier:
    """An id of a trading library: its text is its value."""

    def __init__(self, value: Any, shown: str = "") -> None:
        self.value = value
        self.shown = shown

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return self.shown or f"Identifier({str(self.value)!r})"


class Price:
    """A price: its text has all its digits, and it has no value."""

    def __init__(self, text: str, shown: str = "") -> None:
        self._text = text
        self._shown = shown or text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Price({self._shown})"


class CompiledSide:
    """An enum of a compiled library, which is no `enum.Enum`."""

    name, value = "BUY", 1

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return "<Side.BUY: 1>"


class Described:
    """An object whose text is a description, not its value."""

    value = 10

    def __str__(self) -> str:
        return "ten of them"

    def __repr__(self) -> str:
        return "<Described 10>"


class Treacherous(Identifier):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Plain:
    """An id without a `repr` of its own, which would show an address."""

    def __str__(self) -> str:
        return "O-1"


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """A value object with one field; its text is that field's unless told otherwise."""

    number: Decimal
    text: dataclasses.InitVar[str] = ""

    def __post_init__(self, text: str) -> None:
        object.__setattr__(self, "told", text or str(self.number))

    def __str__(self) -> str:
        return str(getattr(self, "told"))  # noqa: B009


class NamedSide(enum.Enum):
    """An enum whose text is its name, as in the bindings of compiled libraries."""

    BUY = 1

    def __str__(self) -> str:
        return self.name


class NamedCode(enum.IntEnum):
    FULL = 3

    def __str__(self) -> str:
        return "full"


class NumberedSide(enum.Enum):
    BUY = 1

    def __str__(self) -> str:
        return str(self.value)


class MixedSide(str, enum.Enum):  # noqa: UP042 - written so before Python 3.11
    BUY = "buy"


MOSCOW = timezone(timedelta(hours=3))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (7, 7),
        (-(2**63), -(2**63)),
        (10**40, 10**40),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        ([1, "a"], [1, "a"]),
        ({"a": {"b": [None]}}, {"a": {"b": [None]}}),
        (Identifier("O-1"), "O-1"),
        (Identifier("O-1", "<an id>"), "O-1"),
        (Identifier(5), 5),
        (Identifier(Decimal("1.50")), "1.50"),
        (Identifier([1]), "[1]"),
        ({Identifier("O-1"): [Price("1.50")]}, {"O-1": ["1.50"]}),
        (Price("70000.10"), "70000.10"),
        (Price("10.00 USD", "10.00, USD"), "10.00 USD"),
        (Price("ten", "value=10"), "Price(value=10)"),
        (CompiledSide(), "BUY"),
        (Described(), "<Described 10>"),
        (Identifier([1], "<Identifier('[1]')>"), "[1]"),
        (Identifier([1], "lib.Identifier(value='[1]')"), "[1]"),
        (Identifier([1], "<Identifier: [1]>"), "[1]"),
        (Identifier([1], "Identifier(code='[1]', precision=2)"), "[1]"),
        (Identifier([1], "Identifier([1], filled=2)"), "Identifier([1], filled=2)"),
        (Price("-1.50"), "-1.50"),
        (Price("1.50", "-1.50"), "Price(-1.50)"),
        (Price(""), "Price()"),
        (Plain(), "O-1"),
        ([{Plain(): Plain()}], [{"O-1": "O-1"}]),
        (Wrapped(Decimal("1.50")), "1.50"),
        (Wrapped(Decimal("1.50"), "about one"), {"number": "1.50"}),
        (NamedSide.BUY, "BUY"),
        (NamedCode.FULL, "full"),
        (NumberedSide.BUY, 1),
        (MixedSide.BUY, "buy"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (Treacherous("x", "<x>"), "<x>"),
        (ValueError("no funds"), "ValueError('no funds')"),
        (Decimal("0.10"), "0.10"),
        (Decimal("1E+30"), "1E+30"),
        (Decimal("NaN"), "NaN"),
        (Fraction(1, 3), "1/3"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, tzinfo=MOSCOW), "2026-01-02T00:00:00Z"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "9999-12-31T23:59:59.999999-01:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=1.5), 90.0),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Side.BUY, "buy"),
        (Code.FULL, 3),
        (Word.UP, "up"),
        (Text("sub"), "sub"),
        (Number(5), 5),
        (b"ab\xff", "ab\\xff"),
        (bytearray(b"x"), "x"),
        (memoryview(b"x"), "x"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"a"}), ["a"]),
        ((1, 2), [1, 2]),
        (Point(1, 2), {"x": 1, "y": 2}),
        (collections.deque([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.items(), [["a", 1]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Order(), {"size": "0.10"}),
        (AttrsOrder(), {"size": 1}),
        (Struct(), {"size": 1}),
        (Model(extra=2), {"size": 1, "key": "***", "extra": 2}),
        (pydantic.SecretBytes(b"hidden"), "***"),
        (np.float64(1.5), 1.5),
        (np.float32("nan"), "NaN"),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, np.inf]), [1.0, "Infinity"]),
        (np.array(5), 5),
        (np.datetime64("2026-01-01T00:00:00.123456789", "ns"), "2026-01-01T00:00:00.123456Z"),
        (np.datetime64("NaT", "ns"), "NaT"),
        (np.array(["2026-01-01"], dtype="M8[ns]"), ["2026-01-01T00:00:00Z"]),
        (np.timedelta64(90, "s"), 90.0),
        (pd.Timestamp("2026-01-01 03:00", tz=MOSCOW), "2026-01-01T00:00:00Z"),
        (pd.NaT, "NaT"),
        (pd.Timedelta("1s"), 1.0),
        (complex(1, 2), "(1+2j)"),
        (ValueError("x"), "ValueError('x')"),
        (int, "<class 'int'>"),
        (Hostile(), "<unserialisable Hostile: RuntimeError>"),
        (HalfHostile(), "<half>"),
        (Broken(), "<broken>"),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "null": "b", "false": "c", "1.5": "d"}),
        ({Side.BUY: 1, (1, 2): 2}, {"buy": 1, "(1, 2)": 2}),
        ({1: "a", "1": "b"}, {"1": "a", "1_": "b"}),
        ({Hostile(): 1}, {"<unserialisable Hostile: RuntimeError>": 1}),
        ("\ud800x", "\ufffdx"),
        ({"\udfff": "\ud83d\ude00"}, {"\ufffd": "😀"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind(value: object, expected: object) -> None:
    """A value of this kind is written like this."""
    assert clean(value) == expected


def test_an_integer_beyond_what_python_prints() -> None:
    """An integer of 10,000 digits becomes hexadecimal text instead of an error."""
    assert clean(10**10_000, 20_000) == hex(10**10_000)


def test_a_circle() -> None:
    """A container inside itself is named, once, and its siblings are written."""
    loop: list[Any] = [1]
    loop.append(loop)
    assert clean({"loop": loop, "other": 2}) == {"loop": [1, "<circular reference: list>"], "other": 2}


def test_the_same_object_twice_is_no_circle() -> None:
    """Two references to one list are two lists."""
    twin = [1]
    assert clean([twin, twin]) == [[1], [1]]


def test_deep_nesting() -> None:
    """Nesting stops at the limit, with a mark."""
    deep: Any = "end"
    for _ in range(2000):
        deep = [deep]
    text = json.dumps(clean(deep, max_items=10_000))
    assert text.count("[") == MAX_DEPTH
    assert "<nested too deep: list>" in text


def test_long_text_is_cut() -> None:
    """A text of 10 MB keeps its beginning and says how much is missing."""
    assert clean("x" * 10_000_000, 100) == "x" * 100 + "…[cut 9999900]"
    assert clean("x" * 100, 100) == "x" * 100


def test_many_items_are_cut() -> None:
    """A list, a mapping and an array beyond the limit end with how many are missing."""
    assert clean(list(range(100)), max_items=10) == [*range(9), "…[cut 91]"]
    assert clean({str(i): i for i in range(10)}, max_items=4) == {"0": 0, "1": 1, "2": 2, "…": "…[cut 7]"}
    assert clean(np.arange(1_000_000), max_items=5)[-1] == "…[cut 999996]"


def test_cut_at_its_limit() -> None:
    """Exactly at the limit nothing is cut; one more is."""
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc…[cut 1]"


def test_no_surrogates_joins_pairs() -> None:
    """A pair of surrogates is a character; a lone one is replaced."""
    assert no_surrogates("\ud83d\ude00 \ud83d") == "😀 \ufffd"


def test_escape_c1() -> None:
    """C1 controls and the two line separators are escaped inside JSON text, other text stays."""
    line = orjson.dumps("é\x9b31m\u2028😀")
    assert escape_c1(line) == '"é\\u009b31m\\u2028😀"'.encode()
    assert json.loads(escape_c1(line)) == "é\x9b31m\u2028😀"


def test_safe_str() -> None:
    """str() of anything, or a text that names the failure."""
    assert safe_str(Text("a")) == "a"
    assert safe_str(Hostile()) == "<unserialisable Hostile: RuntimeError>"


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=())),
        st.binary(),
        st.decimals(),
        st.datetimes(),
        st.dates(),
        st.timedeltas(),
        st.uuids(),
        st.complex_numbers(),
        st.builds(Hostile),
        st.sampled_from([Side.BUY, Code.FULL, Order(), Model(), np.float32(1.5)]),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(st.characters(exclude_categories=())), st.integers(), st.none()), inner),
    ),
    max_leaves=20,
)


@given(anything, st.integers(0, 40), st.integers(1, 40))
def test_always_valid_json(value: object, max_length: int, max_items: int) -> None:
    """Whatever the value and the limits, the result is JSON that Python's own parser reads."""
    encoded = dumps(Cleaner(max_length, max_items).clean(value))
    json.loads(encoded)
    assert b"\n" not in encoded


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@given(plain)
def test_json_types_are_kept(value: object) -> None:
    """What JSON can hold comes back as it went in."""
    assert json.loads(dumps(Cleaner(10_000, 10_000).clean(value))) == value
