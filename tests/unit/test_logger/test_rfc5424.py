"""Entries to RFC 5424 messages and to the rfc5424 layout, and back."""

from __future__ import annotations

import calendar
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from properties import examples

from metaexpert import _version
from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import from_layout, parse_message, render_message, structured_data, to_layout

FLAT = Draft202012Validator(schema.FLAT_SCHEMA)
LAYOUT = Draft202012Validator(schema.RFC5424_SCHEMA)

# Characters in which one encoding layer could be taken for another, next to arbitrary text.
TRICKY = st.text(alphabet='\\\\\\u0012aAdD89fF]["= %L@\n\r\t\x00\x1b\x7f\x85\u2028\ufeffé€😀', max_size=40)
TEXTS = st.one_of(
    st.text(max_size=20),
    TRICKY,
    st.sampled_from(
        ["null", "1", "1.0", '"x"', "{}", "[1]", "C:\\users\\new", "\\u000a", "\\\\u000a", "\\\n", "-", ""]
    ),
)
NAMES = st.one_of(
    st.text(max_size=12),
    TRICKY,
    st.text(alphabet="ab%é]", min_size=28, max_size=40),
    st.sampled_from(["", "%", "%L1", "%L2", "%4C1", "%25", "%41", "A", "a" * 32, "a" * 33, "types@32473", "meta"]),
    st.sampled_from(["json", "software", "sequenceId", "field_message", "category", "fields@32473", "\\u000a", "self"]),
).filter(lambda name: name not in schema.RESERVED_KEYS)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**700), 10**700),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
EXCEPTIONS = st.fixed_dictionaries(
    {"type": TEXTS, "value": TEXTS},
    optional={"text": TEXTS, "notes": st.lists(TEXTS, max_size=2), "truncated": st.booleans()},
)
TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z")


def printable(limit: int) -> st.SearchStrategy[str]:
    return st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=limit)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """Any entry that is valid in the flat layout."""
    level = draw(st.sampled_from(list(schema.SEVERITIES)))
    fields = draw(st.dictionaries(NAMES, VALUES, max_size=6))
    context = draw(st.dictionaries(st.sampled_from(schema.DOMAIN_FIELDS), VALUES, max_size=3))
    last = draw(st.fixed_dictionaries({}, optional={"exception": EXCEPTIONS, "stack": TEXTS}))
    return {
        "timestamp": draw(TIMES),
        "level": level,
        "severity": schema.SEVERITIES[level],
        "facility": draw(st.integers(0, 23)),
        "version": 1,
        "hostname": draw(printable(schema.MAX_HOSTNAME)),
        "appname": draw(printable(schema.MAX_APPNAME)),
        "procid": draw(printable(schema.MAX_PROCID)),
        "msgid": draw(printable(schema.MAX_MSGID)),
        "sequence_id": draw(st.integers(1, 2**33) | st.integers(2**31 - 3, 2**31 + 3)),
        "message": draw(TEXTS),
        **draw(st.fixed_dictionaries({}, optional={"logger": TEXTS})),
        **context,
        **fields,
        **last,
    }


def entry(**fields: Any) -> dict[str, Any]:
    header = {
        "timestamp": "2026-11-22T10:31:00.123456Z",
        "level": "info",
        "severity": 6,
        "facility": 16,
        "version": 1,
        "hostname": "box",
        "appname": "EmaBot",
        "procid": "4711",
        "msgid": "log",
        "sequence_id": 7,
        "message": "Position opened",
    }
    return header | fields


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and (not isinstance(left, float) or repr(left) == repr(right))


class Grammar:
    """RFC 5424 section 6 (ABNF and the musts of its text), read byte by byte; shares nothing with our parser."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.elements: dict[str, list[tuple[str, str]]] = {}
        self.priority()
        self.expect(b"1 ")
        self.timestamp(self.word(32))
        self.header = [self.word(limit) for limit in (255, 48, 128, 32)]
        self.structured_data()
        self.message = self.msg()

    def expect(self, wanted: bytes) -> None:
        assert self.data[self.at : self.at + len(wanted)] == wanted, (self.at, wanted)
        self.at += len(wanted)

    def peek(self) -> int:
        return self.data[self.at] if self.at < len(self.data) else -1

    def run(self, forbidden: bytes, limit: int) -> str:
        start = self.at
        while 33 <= self.peek() <= 126 and self.peek() not in forbidden:
            self.at += 1
        assert 1 <= self.at - start <= limit, start
        return self.data[start : self.at].decode("ascii")

    def word(self, limit: int) -> str:
        text = self.run(b"", limit)
        self.expect(b" ")
        return text

    def priority(self) -> None:
        self.expect(b"<")
        digits = self.run(b">", 3)
        assert digits.isdecimal()
        assert str(int(digits)) == digits
        self.pri = int(digits)
        assert self.pri <= 191
        self.expect(b">")

    def timestamp(self, text: str) -> None:
        if text == "-":
            return
        assert text[4] + text[7] + text[10] + text[13] + text[16] == "--T::"
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        assert 1 <= month <= 12
        assert 1 <= day <= calendar.monthrange(year or 2000, month)[1]
        assert int(text[11:13]) <= 23
        assert int(text[14:16]) <= 59
        assert int(text[17:19]) <= 59
        assert text.endswith("Z")  # we always write UTC
        fraction = text[19:-1]
        assert fraction == "" or (fraction[0] == "." and 1 <= len(fraction[1:]) <= 6 and fraction[1:].isdecimal())

    def structured_data(self) -> None:
        if self.peek() == ord("-"):
            self.at += 1
            return
        while self.peek() == ord("["):
            self.at += 1
            sd_id = self.run(b'=]"', 32)
            assert sd_id not in self.elements, "an SD-ID twice"
            name, at, number = sd_id.partition("@")
            assert name
            assert number.isdecimal() if at else name in {"timeQuality", "origin", "meta"}
            self.elements[sd_id] = []
            while self.peek() == ord(" "):
                self.at += 1
                self.elements[sd_id].append(self.parameter())
            self.expect(b"]")
        assert self.elements

    def parameter(self) -> tuple[str, str]:
        name = self.run(b'=]"', 32)
        self.expect(b'="')
        value = bytearray()
        while self.peek() != ord('"'):
            assert self.peek() not in (-1, ord("]"))
            if self.peek() == ord("\\"):
                self.at += 1
                assert self.peek() in b'"\\]', "a backslash that escapes nothing"
            value.append(self.peek())
            self.at += 1
        self.expect(b'"')
        return name, value.decode("utf-8")

    def msg(self) -> str:
        self.expect(b" ")
        if self.data.startswith(b"\xef\xbb\xbf", self.at):  # MSG-UTF8; without it, MSG-ANY
            return self.data[self.at + 3 :].decode("utf-8")
        return self.data[self.at :].decode("ascii")


@settings(max_examples=examples(250), deadline=None)
@given(entries())
def test_message_and_back(original: dict[str, Any]) -> None:
    """An entry that went through an RFC 5424 message is equal to itself, from bytes and from text."""
    message = render_message(original)
    assert same(parse_message(message), original)
    assert same(parse_message(message.decode()), original)


@settings(max_examples=examples(150), deadline=None)
@given(entries())
def test_message_is_valid(original: dict[str, Any]) -> None:
    """Every message obeys the grammar, names no parameter twice, and is one line without control characters."""
    message = render_message(original)
    grammar = Grammar(message)
    for parameters in grammar.elements.values():
        assert len({name for name, _ in parameters}) == len(parameters)
    assert len(message.decode().splitlines()) == 1
    assert not any(byte < 0x20 or byte == 0x7F for byte in message)
    assert grammar.pri == original["facility"] * 8 + original["severity"]


@settings(max_examples=examples(100), deadline=None)
@given(entries(), st.integers(0, 2**32 - 1))
def test_layout_and_back(original: dict[str, Any], enterprise: int) -> None:
    """The rfc5424 layout validates, survives JSON, and gives the flat entry back; so does the entry's own schema."""
    assert FLAT.is_valid(original)
    layout = json.loads(json.dumps(to_layout(original, enterprise_id=enterprise)))
    LAYOUT.validate(layout)
    assert same(from_layout(layout), original)


@settings(max_examples=examples(100), deadline=None)
@given(entries())
def test_key_order(original: dict[str, Any]) -> None:
    """Both ways back yield header, logger, context, fields, exception and stack in this order."""
    ranks = {key: rank for rank, key in enumerate((*schema.HEADER_KEYS, "logger"))}
    ranks |= dict.fromkeys(schema.DOMAIN_FIELDS, 50) | {"exception": 98, "stack": 99}
    for back in (from_layout(to_layout(original)), parse_message(render_message(original))):
        order = [ranks.get(key, 60) for key in back]
        assert order == sorted(order)
    assert list(to_layout(entry(stack="s", exception={}, logger="x", a=1)))[-4:] == [
        "logger",
        "structured_data",
        "exception",
        "stack",
    ]


def test_structured_data() -> None:
    """Parameters are grouped by SD-ID with native values; logger, exception and stack are none of them."""
    given_entry = entry(
        symbol="BTC", side="BUY", size=0.1, logger="x", exception={"type": "T", "value": "v"}, stack="s"
    )
    assert structured_data(given_entry, enterprise_id=99) == {
        "meta": {"sequenceId": 7},
        "origin": {"software": "metaexpert", "swVersion": _version.__version__},
        "context@99": {"symbol": "BTC"},
        "fields@99": {"side": "BUY", "size": 0.1},
    }
    assert set(structured_data(entry())) == {"meta", "origin"}


@pytest.mark.parametrize("number", [-1, 2**32])
def test_enterprise_number_is_checked(number: int) -> None:
    """An enterprise number that would make an invalid SD-ID is refused by name."""
    with pytest.raises(ValueError, match="enterprise_id"):
        render_message(entry(a=1), enterprise_id=number)


def test_message_text() -> None:
    """The message of a plain entry is exactly this."""
    message = render_message(entry(symbol="BTCUSDT", side="BUY", size=0.1, **{"a=b": None, "x" * 33: "q"}, note='"]\\'))
    assert message.decode() == (
        "<134>1 2026-11-22T10:31:00.123456Z box EmaBot 4711 log "
        f'[meta sequenceId="7"][origin software="metaexpert" swVersion="{_version.__version__}"]'
        '[context@32473 symbol="BTCUSDT"]'
        '[fields@32473 side="BUY" size="0.1" a%3Db="null" %L1="q" note="\\"\\]\\\\"]'
        f'[types@32473 json="size a%3Db"][names@32473 %L1="{"x" * 33}"] Position opened'
    )


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("", False),
        ("Order filled", False),
        ("a\u007f\n", False),
        ("Kauf: 5 €", True),
        ("\ufeff", True),
        ("\ufeffx", True),
    ],
)
def test_only_text_beyond_ascii_has_a_byte_order_mark(text: str, marked: bool) -> None:
    """ASCII needs none, and a collector that keeps it finds nothing when it searches for the message."""
    message = render_message(entry(message=text))
    assert message.rpartition(b"] ")[2].startswith(b"\xef\xbb\xbf") is marked
    assert parse_message(message)["message"] == text


@settings(max_examples=examples(100), deadline=None)
@given(st.text().filter(lambda text: text.isprintable() and "\\u" not in text))
def test_ordinary_text_is_untouched(text: str) -> None:
    """A receiver that knows only RFC 5424 reads ordinary text, backslashes included, just as it was logged."""
    grammar = Grammar(render_message(entry(message=text, note=text)))
    assert grammar.message == text
    assert grammar.elements["fields@32473"] == [("note", text)]


@pytest.mark.parametrize("text", ["C:\\users\\new", "\\u00e9", "\\uZZZZ", "\\", "\\\\", "\\n", "\\u00"])
def test_backslashes_are_untouched(text: str) -> None:
    """Only what could be taken for the escape of a control character gets a second backslash."""
    assert Grammar(render_message(entry(message=text))).message == text


@pytest.mark.parametrize("backslashes", range(5))
@pytest.mark.parametrize("end", ["\n", "\x00", "\u2029", "u000a", "u000", "u00\n", "\nu000a", "\n\\\n", "x"])
def test_backslashes_before_control_characters(backslashes: int, end: str) -> None:
    """Any number of backslashes before a control character, or before what looks like its escape, is exact."""
    text = "\\" * backslashes + end
    message = render_message(entry(message=text, a=text, **{text * 9: 1}))
    assert len(message.decode().splitlines()) == 1
    assert parse_message(message) == entry(message=text, a=text, **{text * 9: 1})


@pytest.mark.parametrize(
    ("number", "wrapped"),
    [(1, 1), (2**31 - 1, 2**31 - 1), (2**31, 1), (2**31 + 1, 2), (2 * (2**31 - 1), 2**31 - 1), (10**30, None)],
)
def test_sequence_id_wraps(number: int, wrapped: int | None) -> None:
    """After 2147483647 comes 1, and the full number still arrives."""
    original = entry(sequence_id=number)
    [(_, text)] = Grammar(render_message(original)).elements["meta"]
    assert 1 <= int(text) <= 2**31 - 1
    assert wrapped is None or int(text) == wrapped
    assert parse_message(render_message(original)) == original
    assert to_layout(original)["structured_data"]["meta"] == {"sequenceId": int(text)}


@pytest.mark.parametrize("digits", [4300, 4301, 20_000, 65_536])
def test_integers_of_any_size(digits: int) -> None:
    """Integers beyond Python's limit of digits are exact, alone and nested, negative too."""
    number = 10**digits - 7 * 10 ** (digits // 2) - 1  # all nines but one: exactly `digits` digits
    original = entry(a=number, b=[{"c": -number, "d": "é\x85", "e": [None, True, 1.5]}])
    assert same(parse_message(render_message(original)), original)


def test_names_never_collide() -> None:
    """Names that look like the encoding of one another stay apart."""
    names = [
        "",
        "%",
        "%25",
        "%2525",
        "%L1",
        "%25L1",
        "é",
        "%C3%A9",
        "é" * 20,
        "%C3%A9" * 20,
        "a" * 33,
        "a" * 34,
        "\x00",
    ]
    original = entry(**{name: index for index, name in enumerate(names)})
    assert parse_message(render_message(original)) == original


@pytest.mark.parametrize("text", ["\ud800", "\\\udfff", "a\ud83d b"])
def test_lone_surrogates(text: str) -> None:
    """A lone surrogate, which no entry should have, raises nothing and makes no invalid message."""
    message = render_message(entry(message=text, value=text, nested=[text], **{text: 1}))
    Grammar(message)
    assert parse_message(message)["message"] == text


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": 10**5000, "b": float("-inf")}])
def test_numbers_that_are_no_json(value: object) -> None:
    """NaN and the infinities, which an entry has as strings, are refused rather than sent as invalid JSON."""
    with pytest.raises(ValueError, match="JSON"):
        render_message(entry(a=value))


def test_nesting_too_deep_for_json() -> None:
    """A field nested beyond what JSON can write raises ValueError, also on the way for long integers."""
    for value in ([], [10**5000]):
        nested: list[Any] = value
        for _ in range(200_000):
            nested = [nested]
        with pytest.raises(ValueError, match="nested"):
            render_message(entry(a=nested))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(schema.RESERVED_KEYS | {"symbol", "a"})), VALUES, max_size=12),
    st.sampled_from(["2026-02-30T00:00:00.000000Z", "0000-01-01T00:00:00.000000Z", "2026-13-01T99:00:00Z", "now", ""]),
)
def test_foreign_entry_makes_a_valid_message(foreign: dict[str, Any], timestamp: str) -> None:
    """Whatever an entry has under a header key, or lacks, the message is valid, and its fields arrive."""
    odd = foreign | {"timestamp": timestamp}
    Grammar(render_message(odd))
    fields = {key: odd[key] for key in ("symbol", "a") if key in odd}
    sound = entry(**fields) | {key: odd[key] for key in schema.HEADER_KEYS if key in odd}
    back = parse_message(render_message(sound))
    assert same({key: back[key] for key in fields}, fields)
    assert FLAT.is_valid(back)


def test_foreign_header_values() -> None:
    """Invalid header values are replaced as documented."""
    odd = entry(timestamp="yesterday", hostname="my host", appname="x" * 60, procid=12, msgid="", facility=24)
    odd |= {"severity": None, "level": "error", "sequence_id": 0, "message": ["a"]}
    grammar = Grammar(render_message(odd))
    assert grammar.header == ["my_host", "x" * 48, "12", "-"]
    assert (grammar.pri, grammar.message) == (16 * 8 + 3, '["a"]')
    assert b"<131>1 - my_host" in render_message(odd)
    assert grammar.elements["meta"] == [("sequenceId", "1")]


def test_from_layout_of_foreign_objects() -> None:
    """Elements and keys that are not ours become fields, and never overwrite one of ours."""
    foreign = entry() | {
        "structured_data": {
            "fields@1": {"a": 1, "message": "forged", "stack": "forged"},
            "context@1": {"symbol": "BTC"},
            "fields@2": {"a": 2},
            "meta": {"sequenceId": 7, "language": "EN"},
            "origin": {"software": "metaexpert", "swVersion": "9"},
            "other@3": {"b": 1},
            "symbol": "odd",
            "fields@4": "odd",
        },
        "extra": 1,
    }
    assert from_layout(foreign) == entry(
        symbol="BTC",
        a=1,
        field_message="forged",
        field_stack="forged",
        field_a=2,
        meta={"language": "EN"},
        extra=1,
        **{"other@3": {"b": 1}, "field_symbol": "odd", "fields@4": "odd"},
    )
    assert list(from_layout(foreign))[11] == "symbol"


@pytest.mark.parametrize("odd", [{}, {"structured_data": None}, {"structured_data": [1]}, {"a": 1}])
def test_from_layout_without_groups(odd: dict[str, Any]) -> None:
    """An object without groups of parameters comes back as it is."""
    assert from_layout(odd) == odd
