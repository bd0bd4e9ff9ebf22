"""What a line is taken for."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logs.entry import Unparsed, parse

Line = Callable[..., bytes]


def test_entry_tells_its_parts(line: Line) -> None:
    """An entry gives time, level, message, sequence id and file."""
    entry = parse(line(7, "Position opened", level="warning", at=0, side="BUY"), "expert.log")
    assert entry is not None
    assert entry.time == datetime(2026, 11, 22, 10, 31, tzinfo=UTC)
    assert (entry.level, entry.text, entry.sequence_id, entry.file) == ("warning", "Position opened", 7, "expert.log")
    assert entry.flat["side"] == "BUY"
    assert entry.key == (b"2026-11-22T10:31:00.000000", 7, 0)


@pytest.mark.parametrize(
    "text",
    [
        b"plain text",
        b'{"timestamp":"2026-11-22T10:31:00.000000Z","level":"info","mess',
        b"123",
        b'"text"',
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"level":"info","message":"m"}',
        b'{"timestamp":"yesterday","level":"info","message":"m"}',
        b'{"timestamp":17,"level":"info","message":"m"}',
        b'{"timestamp":"2026-11-22T10:31:00Z","level":"loud","message":"m"}',
        b'{"timestamp":"2026-11-22T10:31:00Z","level":["info"],"message":"m"}',
        b'{"timestamp":"2026-11-22T10:31:00Z","level":"info","message":5}',
        b"\xff\xfe\x00",
        b"\x00" * 20,
        b"[" * 100_000,
    ],
)
def test_other_lines_are_no_entries(text: bytes) -> None:
    """A line without time, level and message of the right kind is no entry, and none raises."""
    assert parse(text, "expert.log") is None


def test_foreign_times_are_compared_as_instants() -> None:
    """A time with another offset, or with none (UTC), is the instant that it names."""
    texts = ["2026-11-22T12:31:00+02:00", "2026-11-22T10:31:00", "2026-11-22T10:31:00.000000Z"]
    entries = [parse(json.dumps({"timestamp": t, "level": "info", "message": "m"}).encode(), "x.log") for t in texts]
    assert {entry.time for entry in entries if entry} == {datetime(2026, 11, 22, 10, 31, tzinfo=UTC)}


@pytest.mark.parametrize(
    "number", [2**63, 2**64, 10**30, -(10**30), 10**18, 2**63 - 1, 2**64 - 1, 10**19, -(2**63), -(2**63) - 1, -(10**18)]
)
def test_long_integers_keep_every_digit(line: Line, number: int) -> None:
    """An integer beyond 64 bits is not turned into a float."""
    entry = parse(line(1, nonce=number), "expert.log")
    assert entry is not None
    assert entry.flat["nonce"] == number


def test_an_endless_integer_stays_text(line: Line) -> None:
    """An integer that Python would refuse to read is kept as its digits."""
    digits = "9" * 5000
    text = line(1, nonce=0).replace(b'"nonce":0', f'"nonce":{digits}'.encode())
    entry = parse(text, "expert.log")
    assert entry is not None
    assert entry.flat["nonce"] == digits


def test_nested_layout_is_flattened(line: Line) -> None:
    """Of an rfc5424 line the context comes first, then the fields, then exception and stack; no structure stays."""
    data = json.loads(line(1))
    nested = data | {
        "exception": {"type": "E", "value": ""},
        "structured_data": {
            "meta": {"sequenceId": 1},
            "fields@32473": {"size": 0.1},
            "context@32473": {"symbol": "BTCUSDT"},
            "origin": {"software": "metaexpert"},
        },
    }
    entry, flat = (parse(json.dumps(form).encode(), "expert.log") for form in (nested, data))
    assert entry is not None
    assert flat is not None
    assert list(entry.flat) == [*data, "symbol", "size", "exception"]
    assert flat.flat == data


def test_a_foreign_nested_line_overwrites_nothing(line: Line) -> None:
    """A header key among the parameters of a line of ours moves aside; other elements are kept as fields."""
    data = json.loads(line(1))
    forged = data | {"structured_data": {"fields@32473": {"message": "forged"}, "other@1": {"a": 1}}}
    entry = parse(json.dumps(forged).encode(), "expert.log")
    assert entry is not None
    assert entry.flat["message"] == data["message"]
    assert entry.flat["field_message"] == "forged"
    assert entry.flat["other@1"] == {"a": 1}


def test_identity_tells_runs_apart(line: Line) -> None:
    """Entries of two runs with the same process id and number differ by their time; a foreign line has none."""
    first, second = (parse(line(1, at=at), "expert.log") for at in (0, 60))
    foreign = parse(b'{"timestamp":"2026-11-22T10:31:00Z","level":"info","message":"m"}', "x.log")
    assert first is not None
    assert second is not None
    assert foreign is not None
    assert first.identity != second.identity
    assert foreign.identity is None


def test_unparsed_bytes_are_readable() -> None:
    """Bytes that are no UTF-8 are shown by their numbers."""
    assert Unparsed(b"\xff\x00torn", "x.log", (b"", 0, 0)).text == "\\xff\x00torn"


@given(at=st.datetimes(), text=st.sampled_from(["T", " ", "t"]), mark=st.sampled_from([".", ","]))
def test_timestamp_is_the_time_however_it_is_written(at: datetime, text: str, mark: str) -> None:
    """The timestamp of an entry is its time in RFC 3339, also where another program has written the time otherwise."""
    written = at.isoformat(text, "microseconds").replace(".", mark)
    line = b'{"timestamp":"%bZ","level":"info","message":"m","sequence_id":1,"x":2}' % written.encode()
    for entry in (parse(line, "x.log"), parse(line.replace(b":", b": "), "x.log")):
        if entry is not None:
            assert entry.timestamp == entry.time.isoformat(timespec="microseconds").replace("+00:00", "Z")
            assert entry.time.replace(tzinfo=None) == at
