"""Of an entry that is too large the largest values are cut, and those alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger.encoding.line import Clock, Header
from metaexpert.logger.entry.fitting import fitted
from metaexpert.logger.entry.scalars import Encoded
from metaexpert.logger.entry.values import dumps

LIMIT = 4096


def cut(fields: dict[str, Any], limit: int = LIMIT, message: str = "m") -> dict[str, Any]:
    """Return the entry with these fields as it is after it was made to fit."""
    line = fitted({**Header("app", 16).stamp(Clock()(), "info", "log", 1, message), **fields}, dumps, limit)
    assert len(line) < limit
    return dict(json.loads(line))


@pytest.mark.parametrize(
    "large",
    [
        "x" * 100_000,
        "Ж\U0001f600" * 50_000,
        '"\\\n' * 50_000,
        list(range(50_000)),
        {f"k{i}": i for i in range(20_000)},
        [["x" * 1000] * 50] * 50,
        {"rows": [{"bid": 1.5, "ask": 2.5}] * 10_000, "status": 200},
        Encoded("9" * 20_000),
        Encoded(dumps([{"bid": i} for i in range(20_000)])),
    ],
    ids=["text", "unicode", "escapes", "list", "dict", "nested", "response", "integer", "encoded"],
)
def test_the_other_fields_stay(large: Any) -> None:
    """Whatever a large value is, before, between or after the others, it alone is cut, and not more than needed."""
    others: dict[str, Any] = {"order_id": "o-1", "note": "n" * 200, "prices": [1.5] * 20, "who": {"a": {"b": None}}}
    for fields in ({"big": large, **others}, {**others, "big": large}, {"b": large, **others, "big": large}):
        entry = cut(fields)
        assert {name: entry[name] for name in others} == others
        assert list(entry)[11:] == list(fields)
        assert "…[cut " in json.dumps(entry["big"], ensure_ascii=False)
        assert len(json.dumps(entry, ensure_ascii=False).encode()) > LIMIT * 0.7


def test_parts_of_a_value_share_its_room() -> None:
    """In an answer of an exchange the page is cut, and the status stays."""
    entry = cut({"answer": {"body": "x" * 50_000, "status": 503, "headers": {"server": "cf"}}})
    assert entry["answer"]["status"] == 503
    assert entry["answer"]["headers"] == {"server": "cf"}
    assert entry["answer"]["body"].endswith("]")


def test_of_too_many_fields_the_first_and_the_domain_fields_stay() -> None:
    """The names alone may be too long; what an order is known by is kept."""
    entry = cut({**{f"name_{i}": i for i in range(5000)}, "order_id": "o-1", "symbol": "BTCUSDT"})
    assert (entry["name_0"], entry["order_id"], entry["symbol"]) == (0, "o-1", "BTCUSDT")
    assert entry["…"].startswith("…[cut ")


def test_a_long_message_leaves_room_for_the_fields() -> None:
    """The message is cut as a field is."""
    entry = cut({"order_id": "o-1"}, message="m" * 50_000)
    assert entry["order_id"] == "o-1"
    assert entry["message"].startswith("mmm")


def test_an_exception_loses_its_frames_before_its_text() -> None:
    """The text tells them too."""
    frames = [{"file": "f" * 50, "line": 1, "function": "g", "code": "h" * 80}] * 50
    entry = cut({"a": 1, "exception": {"type": "E", "value": "v", "text": "t" * 2000, "frames": frames}})
    assert entry["exception"] == {"type": "E", "value": "v", "text": "t" * 2000}


VALUES = st.recursive(
    st.none() | st.integers(-9, 2**63) | st.text(max_size=400) | st.just("y" * 3000) | st.floats(0, 9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=60), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=examples(60))
@given(st.dictionaries(st.text(max_size=30), VALUES, max_size=8), st.sampled_from([700, 1500, 4096]))
def test_any_entry_fits(fields: dict[str, Any], limit: int) -> None:
    """The line is valid JSON, shorter than its limit, and a field that is there as a whole is as it was."""
    fields = {name: value for name, value in fields.items() if name not in Header("a", 1).stamp("", "info", "", 1, "")}
    entry = cut(fields, limit)
    for name, value in fields.items():
        if name in entry and "…[cut " not in json.dumps(entry[name], ensure_ascii=False):
            assert entry[name] == value
