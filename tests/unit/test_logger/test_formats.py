"""The line: keys and their order, both layouts, limits; and the processor chain that makes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from sinks import FakeClock

from metaexpert.logger import MetaLogger, log_context, schema
from metaexpert.logger.encoding.line import Clock, Header, encoder
from metaexpert.logger.entry.line import decode_line

Read = Callable[..., list[dict[str, Any]]]


def make(**options: Any) -> Any:
    """Return a quiet synchronous logger."""
    return MetaLogger(**{"log_to_console": False, "async_logging": False, **options})


class TestOrder:
    def test_header_then_context_then_fields_then_exception_and_stack(self, read_log: Read) -> None:
        """A line bears its keys in the contract's order."""
        logger = make(expert_name="Ema", symbol="BTCUSDT")
        with log_context(order_id="o"):
            logger.info("m", zeta=1, alpha=2, exc_info=ValueError("x"), stack_info=True)
        assert list(read_log("logs/expert.log")[0]) == [
            *schema.HEADER_KEYS,
            *("expert_name", "order_id", "symbol", "zeta", "alpha", "exception", "stack"),
        ]

    def test_logger_name_follows_the_message(self, read_log: Read) -> None:
        """A named logger's name comes right after the header."""
        from metaexpert.logger import get_logger

        make()
        get_logger("strategy.ema").info("m", a=1)
        assert list(read_log("logs/expert.log")[0])[11:] == ["logger", "expert_name", "a"]

    def test_header_values(self, read_log: Read) -> None:
        """Header fields have the values that the contract names."""
        import os
        import socket

        make(expert_name="Ema", facility=17).trade.critical("m")
        entry = read_log("logs/trades.log")[0]
        assert (entry["severity"], entry["facility"], entry["version"]) == (2, 17, 1)
        assert (entry["hostname"], entry["appname"]) == (socket.gethostname(), "Ema")
        assert (entry["procid"], entry["msgid"], entry["sequence_id"]) == (str(os.getpid()), "trade", 1)

    def test_severities(self, read_log: Read) -> None:
        """Each level has its RFC 5424 severity."""
        logger = make(log_level="DEBUG")
        for level in schema.SEVERITIES:
            getattr(logger, level)("m")
        pairs = [(e["level"], e["severity"]) for e in read_log("logs/expert.log")]
        assert pairs == [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]


class TestLimits:
    @pytest.mark.parametrize(
        ("name", "appname"), [("Ema Bot", "Ema_Bot"), ("Ж" * 3, "___"), ("x" * 60, "x" * 48), ("\n", "_")]
    )
    def test_app_name_is_cut_and_cleaned(self, read_log: Read, name: str, appname: str) -> None:
        """An odd name is never refused; the full one stays in expert_name."""
        make(expert_name=name).info("m")
        entry = read_log("logs/expert.log")[0]
        assert (entry["appname"], entry["expert_name"]) == (appname, name)

    @pytest.mark.parametrize("layout", ["flat", "rfc5424"])
    @pytest.mark.parametrize("size", [2048, 4096, 65536])
    @pytest.mark.parametrize(
        "fields",
        [
            {"big": "x" * 300_000},
            {"many": list(range(100_000))},
            {f"k{i}": "v" * 50 for i in range(3000)},
            {"deep": [["x" * 1000] * 50] * 50},
            {"unicode": "Ж\U0001f600" * 100_000},
            {"quotes": '"\\\n' * 60_000},
            {"k" * 300_000: 1},
            {"a": 10**4000},
        ],
        ids=["text", "list", "fields", "nested", "unicode", "escapes", "key", "integer"],
    )
    def test_a_line_never_exceeds_its_limit(self, read_log: Read, layout: str, size: int, fields: Any) -> None:
        """Whatever is logged, the line is at most max_entry_size bytes, valid, and tells that it was cut."""
        logger = make(max_entry_size=size, max_value_length=size * 4, layout=layout)
        logger.info("message", before="kept", **fields)
        line = Path("logs/expert.log").read_bytes()
        assert len(line) <= size
        entry = read_log("logs/expert.log", layout)[0]
        assert entry["message"] == "message"
        if len(json.dumps(fields)) > size:
            assert b"\xe2\x80\xa6[cut " in line

    def test_a_long_traceback_is_cut_too(self, read_log: Read) -> None:
        """An exception of any size leaves room for the rest."""
        error: Exception = ValueError("x" * 100_000)
        for number in range(30):
            try:
                raise RuntimeError("y" * 20_000 + str(number)) from error
            except RuntimeError as caught:
                error = caught
        make(max_entry_size="4KB").error("m", exc_info=error, order_id="o")
        assert Path("logs/expert.log").stat().st_size <= 4096
        entry = read_log("logs/expert.log")[0]
        assert (entry["exception"]["type"], entry["order_id"]) == ("RuntimeError", "o")

    def test_a_recursion_error_is_bounded(self, read_log: Read) -> None:
        """A thousand frames become the outermost and the innermost ones."""

        def recurse() -> None:
            recurse()

        logger = make()
        try:
            recurse()
        except RecursionError:
            logger.exception("m")
        exception = read_log("logs/expert.log")[0]["exception"]
        assert exception["truncated"] is True
        assert len(exception["frames"]) == 50
        assert exception["frames"][0]["function"] == "test_a_recursion_error_is_bounded"

    def test_long_values_are_cut_at_their_limit(self, read_log: Read) -> None:
        """max_value_length counts characters, for messages, values and keys."""
        make(max_value_length=20).info("m" * 30, value="v" * 30, **{"k" * 30: 1})
        entry = read_log("logs/expert.log")[0]
        assert entry["message"] == "m" * 20 + "…[cut 10]"
        assert entry["value"] == "v" * 20 + "…[cut 10]"
        assert entry["k" * 20 + "…[cut 10]"] == 1


class TestExceptions:
    def test_causes_groups_and_notes(self, read_log: Read) -> None:
        """The whole story of an exception is there as data, without local variables."""
        secret = "s3cr3t-local"  # noqa: F841
        try:
            try:
                raise KeyError("root")
            except KeyError as root:
                error = ExceptionGroup("several", [ValueError("one"), TypeError("two")])
                error.add_note("look here")
                raise error from root
        except ExceptionGroup:
            make().exception("m")
        exception = read_log("logs/expert.log")[0]["exception"]
        assert [cause["type"] for cause in exception["causes"]] == ["KeyError"]
        assert [(e["type"], e["value"]) for e in exception["groups"]] == [("ValueError", "one"), ("TypeError", "two")]
        assert exception["notes"] == ["look here"]
        assert "s3cr3t-local" not in json.dumps(exception).replace('secret = "s3cr3t-local"', "")

    def test_a_suppressed_context_is_not_told(self, read_log: Read) -> None:
        """`raise … from None` hides what was handled, as Python does."""
        try:
            try:
                raise KeyError("hidden")
            except KeyError:
                raise ValueError("shown") from None
        except ValueError:
            make().exception("m")
        assert "causes" not in read_log("logs/expert.log")[0]["exception"]

    def test_a_circle_of_causes_ends(self, read_log: Read) -> None:
        """Exceptions that cause each other are told once."""
        one, other = ValueError("one"), ValueError("other")
        one.__cause__, other.__cause__ = other, one
        make().error("m", exc_info=one)
        assert [c["value"] for c in read_log("logs/expert.log")[0]["exception"]["causes"]] == ["other"]

    def test_a_hostile_exception(self, read_log: Read) -> None:
        """An exception whose __str__ raises is told by its type."""

        class Bad(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        make().error("m", exc_info=Bad())
        assert read_log("logs/expert.log")[0]["exception"]["type"] == "Bad"


class TestTime:
    def test_six_digits_and_z(self) -> None:
        """The time is UTC with exactly six digits, across the border of a second and backwards."""
        clock = FakeClock(1_700_000_000)
        stamp = Clock(clock.ns)
        assert stamp() == "2023-11-14T22:13:20.000000Z"
        clock.advance(0.9999995)
        assert stamp() == "2023-11-14T22:13:20.999999Z"
        clock.advance(0.000001)
        assert stamp() == "2023-11-14T22:13:21.000000Z"
        clock.advance(-10)
        assert stamp() == "2023-11-14T22:13:11.000000Z"

    @pytest.mark.parametrize("seconds", [-5, 1e12])
    def test_an_impossible_clock_still_makes_a_valid_time(self, seconds: float) -> None:
        """Before 1970 and beyond 9999 the text still has the form that the schema wants."""
        text = Clock(FakeClock(seconds).ns)()
        assert re.fullmatch(schema.FLAT_SCHEMA["properties"]["timestamp"]["pattern"], text)

    @given(st.integers(0, 253_402_300_799_999_999_999))
    def test_equals_the_slow_way(self, ns: int) -> None:
        """The cached text equals what datetime says."""
        expected = datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns // 1000 % 10**6)
        assert Clock(lambda: ns)() == f"{expected:%Y-%m-%dT%H:%M:%S}.{expected.microsecond:06d}Z".rjust(27, "0")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(60))
@given(
    message=st.text(),
    fields=st.dictionaries(st.text(), json_values, max_size=6),
    layout=st.sampled_from(["flat", "rfc5424"]),
    limit=st.sampled_from([2048, 262144]),
)
def test_every_line_validates(message: str, fields: dict[str, Any], layout: Any, limit: int) -> None:
    """SC-008: whatever is logged, in either layout, the line validates, and is one line."""
    from metaexpert.logger.encoding.foreign_steps import EVENT
    from metaexpert.logger.encoding.processors import aside, chain

    lines: list[bytes] = []
    encode = encoder(layout, 32473, limit)

    def finish(_: Any, level: str, event: Any) -> Any:
        entry = Header("app", 16).stamp(Clock()(), level, "log", 1, event.pop(EVENT))
        lines.append(encode({**entry, **event}))
        return (), {}

    event: Any = {**aside(dict(fields)), EVENT: message}
    for processor in chain([], limit, limit, finish):
        event = processor(None, "info", event)
    assert lines[0].count(b"\n") == 1
    assert len(lines[0]) <= limit
    jsonschema_rs.validate(schema.json_schema(layout), json.loads(lines[0]))


def test_the_combined_schema_accepts_both_and_only_those() -> None:
    """`json_schema()` takes a line of either layout and refuses half of one."""
    validator = jsonschema_rs.Draft202012Validator(schema.json_schema())
    jsonschema_rs.meta.validate(schema.json_schema())
    entry = Header("app", 16).stamp(Clock()(), "info", "log", 1, "m")
    for layout in ("flat", "rfc5424"):
        line = json.loads(encoder(layout, 32473, 10_000)({**entry, "symbol": "X", "a": 1}))
        assert validator.is_valid(line)
        assert not validator.is_valid({**line, "level": "error"})
        assert not validator.is_valid({key: value for key, value in line.items() if key != "procid"})


def test_layout_rfc5424(read_log: Read) -> None:
    """The rfc5424 layout groups context and fields under structured_data; logger, exception and stack stay."""
    make(layout="rfc5424", expert_name="Ema", enterprise_id=12345).info(
        "m", order_id="o", a=1, exc_info=ValueError("x")
    )
    entry = read_log("logs/expert.log", "rfc5424")[0]
    assert list(entry) == [*schema.HEADER_KEYS, "structured_data", "exception"]
    data = entry["structured_data"]
    assert data["context@12345"] == {"expert_name": "Ema", "order_id": "o"}
    assert data["fields@12345"] == {"a": 1}
    assert data["meta"] == {"sequenceId": 1}
    assert data["origin"]["software"] == "metaexpert"


def test_no_value_forges_a_line_or_a_code(read_log: Read) -> None:
    """Newlines and control characters in messages, keys and values stay inside their line, escaped."""
    evil = '\n{"level":"info"}\r\x1b[31m\x9b31m\u2028\x00'
    make().info(evil, **{evil: evil}, exc_info=ValueError(evil))
    data = Path("logs/expert.log").read_bytes()
    assert data.count(b"\n") == 1
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]", data)
    entry = read_log("logs/expert.log")[0]
    assert (entry["message"], entry[evil], entry["exception"]["value"]) == (evil, evil, evil)


@pytest.mark.parametrize("layout", ["flat", "rfc5424"])
def test_a_line_of_either_layout_is_decoded_as_it_was_written(layout: Any) -> None:
    """Fields come back at the top level, and integers beyond 64 bits are exact."""
    with make(layout=layout) as logger:
        logger.info("Filled", size=12345678901234567890123, at=1.5, note="ü")
    (line,) = Path("logs/expert.log").read_bytes().splitlines()
    entry = decode_line(line)
    assert (entry["size"], entry["at"], entry["note"]) == (12345678901234567890123, 1.5, "ü")
    assert entry["message"] == "Filled"
    assert schema.STRUCTURED_DATA_KEY not in entry
