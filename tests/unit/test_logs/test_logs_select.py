"""The first look at lines: the compiled one and the plain one choose the same, and none drops a line that may pass."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger.system.native import core
from metaexpert.logs.entry import glance
from metaexpert.logs.reading._literals import all_required, ignores_case, required
from metaexpert.logs.reading._selection import Group, plain_select, select
from tests.unit.test_logs.conftest import Line

compiled = pytest.mark.skipif(core is None, reason="nothing is compiled")

HEAD = b'{"timestamp":"2026-11-22T10:31:%02d.000000Z","level":"%b","severity":6,"sequence_id":%d,"message":"'
TEXTS = st.sampled_from(
    [b"", b"order 17", b"ORDER", b"error", b'"error"', b"\\u0041", b"a\\/b", b"\\\\n", b"\xff", b"\xe2\x80\xa8",
     b"\xc3", b"K", b"x" * 40, b"\x00", b"timeout", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98\x80"]
) | st.binary(max_size=8).map(lambda text: text.replace(b"\n", b""))  # fmt: skip
REGULAR = st.builds(
    lambda second, level, number, texts: HEAD % (second, level, number) + b"".join(texts) + b'"}',
    st.integers(0, 59),
    st.sampled_from([b"info", b"error"]),
    st.sampled_from([0, 1, 7, 10**17, 10**18]),
    st.lists(TEXTS, max_size=4),
)
ODD = st.lists(TEXTS, max_size=3).map(b"".join) | st.builds(
    lambda line, at, text: line[:at] + text + line[at + len(text) :], REGULAR, st.integers(0, 120), TEXTS
)
TIMES = st.just(b"") | st.integers(0, 59).map(lambda second: b"2026-11-22T10:31:%02d.000000" % second)
NEEDLES = st.sampled_from([b"order", b"rror", b'"error"', b"17", b"x", b"kelvin", b"timeout", b"\xe2\x80\xa8", b"ut"])
GROUPS = st.lists(
    st.builds(
        lambda texts, fold, odd: Group(tuple(text.lower() for text in texts), fold, odd),
        st.lists(NEEDLES, min_size=1, max_size=3),
        st.booleans(),
        st.booleans(),
    ),
    max_size=3,
).map(tuple)


@compiled
@given(st.lists(REGULAR | ODD, max_size=12), st.booleans(), TIMES, TIMES, GROUPS)
def test_the_compiled_look_is_the_plain_one(
    lines: list[bytes], ended: bool, since: bytes, until: bytes, groups: tuple[Group, ...]
) -> None:
    """Any lines, whole, torn or foreign, are chosen alike."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    assert core.select(data, since, until, groups) == plain_select(data, since, until, groups)


@compiled
@given(
    st.binary(max_size=200), st.sampled_from([b"\n", b"{", b"order", b'{"timestamp":"', b"\\u", b"\xe2\x80"]), GROUPS
)
def test_any_bytes_are_looked_at(data: bytes, between: bytes, groups: tuple[Group, ...]) -> None:
    """Bytes that are no lines at all are chosen alike, too."""
    data = data.replace(b"\x01", between) + between + data
    assert core.select(data, b"", b"", groups) == plain_select(data, b"", b"", groups)


@pytest.mark.parametrize("number", [b"1", b"", b"12x", b"9" * 18, b"9" * 19, b"-1"])
@pytest.mark.parametrize("end", [b',"message":"m"}', b"}", b",}", b'"}', b""])
def test_regular_lines_are_those_known_at_a_glance(number: bytes, end: bytes) -> None:
    """A time outside drops a line only if the line is read by its fixed header."""
    line = b'{"timestamp":"2026-11-22T10:31:00.000000Z","level":"info","sequence_id":' + number + end
    chosen = select(line, b"2027-01-01T00:00:00.000000", b"", ())
    entry = glance(line, "", 0)
    assert bool(chosen.bounds) == (entry is None or entry._data is not None)


def test_what_is_chosen_tells_its_place(line: Line) -> None:
    """Bounds are those of the lines; a line that is not regular has a negative end."""
    data = line(1) + b"\n\ntext\n" + line(2)
    chosen = select(data, b"", b"", ())
    assert chosen.lines(data) == [line(1).rstrip(), b"text", line(2).rstrip()]
    assert [stop < 0 for stop in chosen.bounds[1::3]] == [False, True, False]
    assert not chosen.regular
    assert (chosen.low[-9:], chosen.high[-9:]) == (b"01.000000", b"02.000000")


@compiled
@pytest.mark.parametrize(
    "arguments",
    [
        (b"x", b"2026", b"", ()),
        (b"x", b"", b"", (((), False),)),
        (b"x", b"", b"", (((b"",), False, False),)),
        (b"x", b"", b"", ((("x",), False, False),)),
        (b"x", b"", b"", [((b"x",), False, False)]),
        (b"x", b"", b"", (((b"x",), False, False),) * 9),
        (b"x", b"", b"", (((b"x",) * 33, False, False),)),
        ("x", b"", b"", ()),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    """The core takes nothing else than it knows."""
    with pytest.raises((TypeError, ValueError)):
        core.select(*arguments)


PATTERNS = (
    r"timeout|refused", r"no answer within \d+ ms", r"time[dr] ?out", r"\d+", r"(abc)+x?", r"(abc)*x", r"^Order \w+$",
    r"a|b", r"(?i)Tick", r"(?i:Tick) taken", r"order (?!x)filled", r'say "hello" there', r"a/bcd", r"x{3,}yz", r".*",
    r"(?:foo|bar)baz", r"(?P<n>ab)(?P=n)", r"[^x]+cde", r"(?x) a b c # none", r"ab(?#c)cd",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("flags", [0, re.IGNORECASE])
def test_what_matches_holds_a_required_text(pattern: str, flags: int) -> None:
    """Each text that an expression finds has one of the texts that were taken from it."""
    expression = re.compile(pattern, flags)
    texts = required(expression)
    fold = ignores_case(expression)

    @settings(max_examples=examples(100))
    @given(st.from_regex(expression))
    def check(found: str) -> None:
        line = found.encode("utf-8", "surrogatepass")
        assert not texts or any(text in (line.lower() if fold else line) for text in texts), texts

    check()


@pytest.mark.parametrize(
    ("pattern", "flags", "texts"),
    [
        (r"timeout|refused", 0, (b"refused", b"timeout")),
        (r"timeout|\d+", 0, ()),
        (r"no answer within \d+ ms", 0, (b"no answer within ",)),
        (r"Timeout", re.I, (b"meout",)),
        (r'"order_id":"17"', 0, (b"order_id",)),
        (r"(?:17|18) filled", 0, (b" filled",)),
        (r"aa|aab", 0, (b"aa",)),
        (r"é+", re.I, ()),
        ("|".join(f"word{number}" for number in range(20)), 0, (b"word",)),
        ("|".join(f"{number}word" for number in range(20)), 0, ()),
    ],
)
def test_the_longest_certain_text_is_taken(pattern: str, flags: int, texts: tuple[bytes, ...]) -> None:
    """Of several the longest; none where an alternative has none, or where there are too many."""
    assert required(re.compile(pattern, flags)) == texts


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("flags", [0, re.IGNORECASE])
def test_what_matches_holds_a_text_of_each_group(pattern: str, flags: int) -> None:
    """Of each group of texts that were taken from an expression, its best one among them."""
    expression = re.compile(pattern, flags)
    groups = all_required(expression)
    assert next(iter(groups), ()) == required(expression)
    found = expression.search(
        "Order filled after 3 ticks; no answer within 250 ms: timeout, abcabcx foobaz barbaz abab abcxcde"
    )
    if found is not None:
        matched = found[0].lower().encode()
        assert all(any(text.lower() in matched for text in texts) for texts in groups)


def test_a_line_has_a_text_of_each_group(line: Line) -> None:
    """The texts of a second group count in the line alone, not in those behind it."""
    groups = tuple(Group((text,), fold=False, odd=False) for text in (b"answer", b"within 7"))
    lines = [line(1, "no answer within 6 s"), line(2, "answer within 7 s"), line(3, "within 7 s"), line(4, "answer")]
    assert list(select(b"".join(lines), b"", b"", groups).bounds[2::3]) == [2]


def test_groups_of_an_expression() -> None:
    """All that a match must hold, the longest first."""
    assert all_required(re.compile("no answer from (okx|mt5) within 7[0-9]+ ms")) == [
        (b"no answer from ",), (b" within 7",), (b" ms",), (b"mt5", b"okx")
    ]  # fmt: skip
