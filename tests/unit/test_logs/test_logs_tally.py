"""Counts of lines by their headers: the compiled ones are the plain ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.system.native import core
from metaexpert.logs._gaps import SeenNumbers
from metaexpert.logs.entry import parse
from metaexpert.logs.library import open_logs
from metaexpert.logs.reading.tally import Tally, lines_at, plain_tally, tally
from metaexpert.logs.stats import collect_stats, fingerprint
from tests.unit.test_logs.conftest import Line

compiled = pytest.mark.skipif(core is None, reason="nothing is compiled")

WORDS = st.sampled_from(
    ["7", "12", "123", "1234", "0x", "x", "5x", "0xfe3", "ab", "a1b", "deadbeef01234567", "0123456789abcdef0", "-", ".",
     ",", "'", " ", "12345678-1234-1234-1234-123456789012", "1a345678-1b34-1c34-1d34-12345678901e", "ü", "٣", "\u2028",
     "order", "\\", '"', "\n", "\t"]
)  # fmt: skip
MESSAGES = st.lists(WORDS, max_size=6).map("".join) | st.text(max_size=10) | st.just("1" * 300)
LINES = st.builds(
    lambda second, level, msgid, process, number, message, more, cut: _line(
        second, level, msgid, process, number, message, more
    )[:cut],
    st.integers(0, 200),
    st.sampled_from(["debug", "info", "warning", "error", "critical", "notice"]),
    st.sampled_from(["log", "trade"]),
    st.sampled_from([("box", "1"), ("box", "2"), ('b"x', "3"), ("box2", "1")]),
    st.integers(0, 9) | st.sampled_from([10**17, 10**18]),
    MESSAGES,
    st.sampled_from(
        [
            {},
            {"level": "error"},
            {"n": 1, "nested": {"message": "x"}},
            {"expert_name": "sub"},
            {"n": 1, "expert_name": "s"},
            {"logger": "l", "expert_name": "s2"},
            {"logger": "l"},
            {"expert_name": 'q"'},
            {"expert_name": ""},
            {"expert_name": 3},
            {"logger": 3, "expert_name": "s"},
            {"logger": "l", "structured_data": {"expert_name": "s"}},
            {"structured_data": {"meta": {}, "context@1": {"expert_name": "s3"}}},
            {"structured_data": {"context@1": {"expert_name": 'q"'}, "fields@1": {"expert_name": "s"}}},
        ]
    ),
    st.sampled_from([None, None, None, None, -1, 40, 200]),
)


def _line(
    second: int, level: str, msgid: str, process: tuple[str, str], number: int, message: str, more: dict[str, Any]
) -> bytes:
    header = {
        "timestamp": f"2026-11-22T10:{second // 60:02}:{second % 60:02}.000000Z", "level": level, "severity": 6,
        "facility": 16, "version": 1, "hostname": process[0], "appname": "EmaBot", "procid": process[1], "msgid": msgid,
        "sequence_id": number, "message": message,
    }  # fmt: skip
    return json.dumps(header | more, separators=(",", ":"), ensure_ascii=False).encode()


def simple(found: Tally) -> list[Any]:
    """Return the counts without their order, messages by their fingerprints."""
    texts = Counter[str]()
    for _, message, count in found.messages:
        texts[fingerprint(json.loads(b'"' + message + b'"'))] += count
    runs = sorted((host, pid, *map(list, numbers)) for host, pid, *numbers in found.runs)
    marks = [
        (end, found.kinds[kind][:3], found.minutes[minute][0],
         message if message < 0 else fingerprint(json.loads(b'"' + found.messages[message][1] + b'"')))
        for end, kind, minute, message in batched(found.marks, 4)
    ]  # fmt: skip
    times = found.low, found.high
    return [
        sorted(found.kinds),
        runs,
        sorted(found.minutes),
        texts,
        list(found.specials),
        marks,
        list(found.odd),
        times,
    ]


@compiled
@given(st.lists(LINES, max_size=14), st.booleans())
def test_the_compiled_counts_are_the_plain_ones(lines: list[bytes], ended: bool) -> None:
    """Any lines are counted alike, and those handed back are the same."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    assert simple(tally(data)) == simple(plain_tally(data))


KEYS = (b'order_id":', b'oid":', b'"id":', b'"c":', b'\xc3\xb6":')
MORE = st.lists(
    st.sampled_from(
        [b'"order_id":', b'"ORDER_ID":1', b'"oid":', b'"void":', b'"id":', b'{"c":1}', b'"strategy_id":9', b'"k":1',
         b'"k\\"id":1', b"\\u0069", b"\\\\u", b"a\\/b", b"\xff", b"\xed\xa0\x80", b'\xc3\xb6":', "支撑位".encode(),
         b"x" * 19, b":", b'"']
    ),
    max_size=6,
).map(b",".join)  # fmt: skip


@compiled
@given(st.lists(st.tuples(LINES, MORE, st.booleans()), max_size=8), st.booleans())
def test_lines_with_certain_keys_are_told(lines: list[tuple[bytes, bytes, bool]], ended: bool) -> None:
    """In any case, behind escapes, and where bad bytes may hide them: the compiled and the plain ones alike."""
    texts = [line[:-1] + b"," + more + b"}" if cut else line + more for line, more, cut in lines]
    data = b"\n".join(texts) + (b"\n" if ended else b"")
    found, expected = tally(data, keys=KEYS), plain_tally(data, keys=KEYS)
    assert list(found.telling) == list(expected.telling)
    assert sorted(found.kinds) == sorted(expected.kinds)
    runs = [sorted((host, pid, *map(list, more)) for host, pid, *more in one.runs) for one in (found, expected)]
    assert runs[0] == runs[1]
    assert (list(found.specials), list(found.odd)) == (list(expected.specials), list(expected.odd))
    assert (found.low, found.high) == (expected.low, expected.high)
    for process in ((b"box", b"1"), (b"box2", b"1"), (b"", b"")):
        found, expected = tally(data, keys=KEYS, process=process), plain_tally(data, keys=KEYS, process=process)
        assert list(found.telling) == list(expected.telling)
        assert list(found.specials) == list(expected.specials)


def test_with_a_process_the_others_tell_only_of_the_logger() -> None:
    """Their trades, errors and orders are counted; a line of another form may be of any process."""
    box = [("box", "1"), ("box", "2")]
    lines = [
        *(_line(1, "info", "trade", one, 1, "filled", {"order_id": "7"}) for one in box),
        *(_line(2, "error", "log", one, 2, "failed", {}) for one in box),
        *(_line(3, "info", "log", one, 3, "placed", {"order_id": "7"}) for one in box),
        *(_line(4, "warning", "log", one, 4, "log.dropped", {"dropped": 1}) for one in box),
        b"text of another program",
    ]
    data = b"\n".join(lines)
    for count in (tally, plain_tally):
        found = count(data, keys=KEYS, process=(b"box", b"2"))
        told = [data[start : abs(stop)] for start, stop in zip(found.telling[::3], found.telling[1::3], strict=True)]
        assert told == [lines[1], lines[3], lines[5], lines[6], lines[7], lines[8]]
        assert len(found.specials) == 8


def test_keys_are_told_apart(line: Line) -> None:
    """A line tells if a key of it ends so, and each trade, each error and the logger's own entries do."""
    lines = [
        line(1, strategy_id=1), line(2, order_id="a"), line(3, "order_id"), line(4, text='"id":'), line(5, id=1),
        line(6, category="trade"), line(7, level="error"), line(8, "log.died"), line(9, "a log."), b"no entry\n",
        line(10, nested=[{"ORDER_ID": 1}]),
    ]  # fmt: skip
    found = tally(b"".join(lines), keys=KEYS)
    assert list(found.telling[2::3]) == [2, 5, 6, 7, 8, -1, 10]


@compiled
@pytest.mark.parametrize("keys", [(b"id",), (b'":',), ("id",), (b'id":',) * 33])
def test_wrong_keys_are_refused(keys: tuple[Any, ...]) -> None:
    """The core takes only texts that end as a key does, and no more than it has bits for."""
    with pytest.raises(ValueError, match="keys"):
        tally(b"", keys=keys)


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["price", "größe", "a b", 'q"', "pri\\u0063e", "bar", "ice", "logger", "level", "structured_data"]
        ),
        st.sampled_from(
            ["1", "-2.50", "1e3", "12345678901234567890123", '"7.5"', '"price"', '"x"', "true", "null", "[1,2]", "tru",
             '{"price":3}', '{"a":[{"größe":1}]}', "01", '"\\u0037"', "1,", ""]
        ),
    ),
    max_size=4,
)  # fmt: skip


@given(st.lists(FIELDS, max_size=6))
def test_values_of_fields_are_those_of_decoded_lines(lines: list[list[tuple[str, str]]]) -> None:
    """Nested ones, names that are written twice or with escapes, and lines that are no JSON: all as decoded."""
    names = ("price", "größe", "a b", 'q"')
    data = [
        _line(0, "info", "log", ("box", "1"), number, "price", {})[:-1]
        + "".join(f',"{name if chr(92) in name else json.dumps(name, ensure_ascii=False)[1:-1]}":{value}'
                  for name, value in fields).encode() + b"}"
        for number, fields in enumerate(lines, 1)
    ]  # fmt: skip
    expected: dict[str, list[Any]] = {name: [] for name in names}
    for one in data:
        entry = parse(one, "")
        for name in names:
            if entry is not None and entry.get(name) is not None:
                expected[name].append(entry.get(name))
    text = b"\n".join(data)
    found = tally(text, tuple(json.dumps(name, ensure_ascii=False).encode() for name in names))
    unsure = [parse(one, "") for one in lines_at(text, found.unsure)]
    for name, values in zip(names, found.values, strict=True):
        got = [json.loads(value) for value in values] + [entry.get(name) for entry in unsure if entry is not None]
        assert sorted(map(repr, filter(lambda value: value is not None, got))) == sorted(map(repr, expected[name]))


@compiled
@given(MESSAGES, MESSAGES)
def test_messages_of_one_shape_have_one_fingerprint(one: str, other: str) -> None:
    """Two messages that are counted together become the same text."""
    lines = [_line(0, "info", "log", ("box", "1"), number, text, {}) for number, text in enumerate((one, other), 1)]
    found = tally(b"\n".join(lines))
    assert not found.odd
    assert len(found.messages) == 2 or fingerprint(one) == fingerprint(other)


@compiled
def test_quoted_parts_do_not_keep_messages_apart() -> None:
    """Messages with escaped quotes that differ in numbers are one shape; with other escape sequences they are not."""
    texts = [f'queue "okx" \\{number} holds {number}' for number in range(5)]
    texts += ["tab\t12", "tab\t13", "\b12", "\b13"]
    lines = [_line(0, "info", "log", ("box", "1"), number, text, {}) for number, text in enumerate(texts, 1)]
    assert [count for *_, count in tally(b"\n".join(lines)).messages] == [5, 1, 1, 1, 1]


@compiled
@given(st.binary(max_size=300))
def test_any_bytes_are_handed_back(data: bytes) -> None:
    """What is no line of ours is handed back, whatever it is."""
    assert simple(tally(data)) == simple(plain_tally(data))


@compiled
def test_beyond_the_room_for_kinds_and_minutes_lines_are_handed_back() -> None:
    """A block of very many processes or minutes is counted in part; nothing is lost."""
    lines = [_line(0, "info", "log", ("box", str(number)), 1, "m", {}) for number in range(100)]
    found = tally(b"\n".join(lines))
    assert sum(count for *_, count in found.kinds) + len(found.odd) // 2 == 100
    minutes = []
    for number in range(1, 1000):
        time = b"%02d:%02d:00" % divmod(number, 60)
        minutes.append(_line(0, "info", "log", ("box", "1"), number, "m", {}).replace(b"10:00:00", time))
    found = tally(b"\n".join(minutes))
    assert sum(count for _, count in found.minutes) + len(found.odd) // 2 == 999
    assert found.odd


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6)), max_size=12))
def test_runs_of_numbers_are_the_numbers_one_by_one(runs: Sequence[tuple[int, int]]) -> None:
    """A run that is added at once leaves what its numbers leave."""
    once, each = SeenNumbers(), SeenNumbers()
    for first, more in runs:
        once.add_run(first, first + more)
        for number in range(first, first + more + 1):
            each.add(number, ordinary=True)
    assert list(once.gaps()) == list(each.gaps())
    assert [run.ranges for run in once._runs] == [run.ranges for run in each._runs]


@given(st.lists(st.tuples(st.integers(1, 30), st.lists(st.booleans(), min_size=1, max_size=6)), max_size=12))
def test_numbers_that_go_on_are_the_numbers_one_by_one(pieces: Sequence[tuple[int, list[bool]]]) -> None:
    """Trades and errors between ordinary entries may be added with them at once."""
    once, each = SeenNumbers(), SeenNumbers()
    for first, kinds in pieces:
        numbers = list(enumerate(kinds, first))
        ordinary = [number for number, is_ordinary in numbers if is_ordinary]
        ranges = [number for number in ordinary for _ in "12"]
        if not (ordinary and once.continue_run(first, first + len(kinds) - 1, ranges, lambda _: b"")):
            for number, is_ordinary in numbers:
                once.add(number, ordinary=is_ordinary)
        for number, is_ordinary in numbers:
            each.add(number, ordinary=is_ordinary)
        assert (once._number, once._latest.floor) == (each._number, each._latest.floor)
    assert list(once.gaps()) == list(each.gaps())
    assert [run.ranges for run in once._runs] == [run.ranges for run in each._runs]


def written(directory: Any, *files: Iterable[bytes]) -> Any:
    for number, lines in enumerate(files):
        (directory / f"{number}.log").write_bytes(b"".join(lines))
    return open_logs(directory)


def test_fields_of_copies_and_of_odd_lines_count_once(tmp_path: Any, line: Line) -> None:
    """A trade in two files has its values once, an entry of another program too."""
    trades = [line(n, "filled", category="trade", price=n) for n in (2, 4)]
    others = [line(n, "tick", price=100 + n) for n in (1, 3)]
    foreign = b'{"timestamp": "2026-11-22T10:31:09Z", "level": "info", "message": "m", "price": 7}\n'
    logs = written(tmp_path, [others[0], trades[0], others[1], trades[1], foreign, b"text\n"], trades)
    stats = collect_stats(logs, ["price"])
    assert (stats.entries, stats.unparsed) == (5, 1)
    assert (stats.fields["price"].count, stats.fields["price"].total) == (5, 2 + 4 + 101 + 103 + 7)
    assert stats.gaps == []
