"""Reading RFC 5424 messages: foreign ones, malformed ones, and hostile ones."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from properties import examples

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import MessageError, parse_message, render_message

FLAT = Draft202012Validator(schema.FLAT_SCHEMA)
BOM = "\ufeff"
#: The application's event of RFC 5424 section 6.5, examples 3 and 4.
EVENT = '[exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"]'
EVENT_FIELDS = {"iut": "3", "eventSource": "Application", "eventID": "1011"}
OURS = '<134>1 2026-11-22T10:31:00.123456Z box EmaBot 1 log [meta sequenceId="7"][origin software="metaexpert"]'
FOREIGN = "<134>1 2026-11-22T10:31:00.123456Z box app 1 log "


def example(timestamp: str, level: str, facility: int, names: str, **more: Any) -> dict[str, Any]:
    """Return the entry of a foreign message; *names* are HOSTNAME, APP-NAME, PROCID and MSGID."""
    host, app, procid, msgid = names.split()
    return {
        "timestamp": timestamp,
        "level": level,
        "severity": schema.SEVERITIES[level],
        "facility": facility,
        "version": 1,
        "hostname": host,
        "appname": app,
        "procid": procid,
        "msgid": msgid,
        "sequence_id": 1,
        "field_sequence_id": None,
        **more,
    }


MYMACHINE = "mymachine.example.com"
EVENTLOG = f"<165>1 2003-10-11T22:14:15.003Z {MYMACHINE} evntslog - ID47 {EVENT}"
EVENTLOG_ENTRY = example(
    "2003-10-11T22:14:15.003000Z", "info", 20, f"{MYMACHINE} evntslog - ID47", field_severity=5
) | {"exampleSDID@32473": EVENT_FIELDS}
EXAMPLES = {
    f"<34>1 2003-10-11T22:14:15.003Z {MYMACHINE} su - ID47 - {BOM}'su root' failed for lonvick on /dev/pts/8": example(
        "2003-10-11T22:14:15.003000Z",
        "critical",
        4,
        f"{MYMACHINE} su - ID47",
        message="'su root' failed for lonvick on /dev/pts/8",
    ),
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.": example(
        "2003-08-24T12:14:15.000003Z",
        "info",
        20,
        "192.0.2.1 myproc 8710 -",
        message="%% It's time to make the do-nuts.",
        field_severity=5,
    ),
    f"{EVENTLOG} {BOM}An application event log entry...": EVENTLOG_ENTRY
    | {"message": "An application event log entry..."},
    f'{EVENTLOG}[examplePriority@32473 class="high"]': EVENTLOG_ENTRY
    | {"message": "", "examplePriority@32473": {"class": "high"}},
}


@pytest.mark.parametrize("message", EXAMPLES)
def test_examples_of_the_rfc(message: str) -> None:
    """The four messages of RFC 5424 section 6.5 are read in full, and come back from a message of ours."""
    found = parse_message(message.encode())
    assert found == EXAMPLES[message]
    assert FLAT.is_valid(found)
    assert parse_message(render_message(found)) == found


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520000Z"),
        ("1985-04-12T19:20:50.52-04:00", "1985-04-12T23:20:50.520000Z"),
        ("2024-02-29T23:59:59+23:59", "2024-02-29T00:00:59.000000Z"),
        ("2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times(written: str, utc: str) -> None:
    """Times become UTC with six digits, and leave no other trace."""
    found = parse_message(f"<14>1 {written} - - - - -")
    assert found["timestamp"] == utc
    assert "field_timestamp" not in found


@pytest.mark.parametrize(
    "written", ["-", "0000-02-29T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999-00:01"]
)
def test_times_that_cannot_be_told(written: str) -> None:
    """A nil time, or a valid one outside the years 1 to 9999, is the epoch, and the field tells what stood there."""
    found = parse_message(f"<14>1 {written} - - - - -")
    assert found["timestamp"] == "1970-01-01T00:00:00.000000Z"
    assert found["field_timestamp"] == (None if written == "-" else written)
    assert FLAT.is_valid(found)


@pytest.mark.parametrize("severity", range(8))
def test_severities(severity: int) -> None:
    """The eight severities map to the nearest of the five levels, and a severity that is none of ours is kept."""
    found = parse_message(f"<{severity}>1 - - - - - -")
    levels = ["critical", "critical", "critical", "error", "warning", "info", "info", "debug"]
    assert found["level"] == levels[severity]
    assert found["severity"] == schema.SEVERITIES[levels[severity]]
    assert found.get("field_severity") == (severity if severity in (0, 1, 5) else None)
    assert found["facility"] == 0


def test_nil_values() -> None:
    """A message of nil values is a valid entry."""
    found = parse_message(b"<14>1 - - - - - -")
    assert [found[key] for key in ("hostname", "appname", "procid", "msgid", "message")] == ["-", "-", "-", "-", ""]
    assert FLAT.is_valid(found)


def test_foreign_elements() -> None:
    """Elements become fields: repeated parameters as lists, unknown escapes and raw control characters as they are."""
    found = parse_message(
        FOREIGN + '[origin ip="192.0.2.1" ip="::1" software="x"][empty@1][meta sequenceId="9" language="EN"]'
        '[fields@32473 a="\\x\\"\\]\\\\ \\u000a\n"][types@32473 json="a"] m'
    )
    assert found["sequence_id"] == 9
    assert found["message"] == "m"
    assert {key: value for key, value in found.items() if key not in schema.HEADER_KEYS} == {
        "origin": {"ip": ["192.0.2.1", "::1"], "software": "x"},
        "empty@1": {},
        "meta": {"language": "EN"},
        "fields@32473": {"a": '\\x"]\\ \\u000a\n'},
        "types@32473": {"json": "a"},
    }


def test_foreign_elements_overwrite_nothing() -> None:
    """An element named like one of our keys, or like a field of the entry, is kept beside it."""
    message = OURS + '[fields@9 a="1" field_a="2" meta="3"][a b="c"][message x="y"][symbol s="t"][exception e="f"] m'
    found = parse_message(message.replace('"7"', '"7" language="EN"'))
    assert {key: value for key, value in found.items() if key not in schema.HEADER_KEYS} == {
        "a": "1",
        "field_a": "2",
        "meta": "3",
        "field_meta": {"language": "EN"},
        "field_field_a": {"b": "c"},
        "field_message": {"x": "y"},
        "field_symbol": {"s": "t"},
        "field_exception": {"e": "f"},
    }
    assert found["message"] == "m"


@pytest.mark.parametrize("number", ["0", "01", "2147483648", "x", "", "-1", "99999999999999999999"])
def test_odd_sequence_ids(number: str) -> None:
    """A sequenceId outside its range is no sequence number, and is kept."""
    found = parse_message(f'{FOREIGN}[meta sequenceId="{number}"]')
    assert (found["sequence_id"], found["field_sequence_id"]) == (1, None)
    assert found["meta"] == {"sequenceId": number}


def test_relayed_message_of_ours() -> None:
    """A relay that adds an element, reorders ours or raises the severity hides no field of ours."""
    found = parse_message(
        '<133>1 - - - - - [relay@5 hop="1"][types@9 json="n"][fields@9 n="1" field_severity="mine"]'
        '[origin ip="::1" software="metaexpert" swVersion="1"][meta sequenceId="3"] x\\u000ay'
    )
    assert found["message"] == "x\ny"
    assert (found["n"], found["field_severity"], found["field_field_severity"]) == (1, "mine", 5)
    assert found["relay@5"] == {"hop": "1"}
    assert found["origin"] == {"ip": "::1"}


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        (b"", ""),
        (b" ", ""),
        (b"  two", " two"),
        (b" \xef\xbb\xbf", ""),
        (b" \xef\xbb\xbf\xef\xbb\xbfx", BOM + "x"),
        (b" caf\xe9", "caf\\xe9"),
        (b" \xef\xbb\xbfcut \xe2\x82", "cut \\xe2\\x82"),
        (b" a\nb\x00", "a\nb\x00"),
        (b" a\\u000ab", "a\\u000ab"),
    ],
)
def test_messages_of_others(tail: bytes, text: str) -> None:
    """MSG may be missing, no UTF-8, without the mark or with two, cut in a character; control characters stay."""
    assert parse_message(FOREIGN.encode() + b"-" + tail)["message"] == text


@pytest.mark.parametrize(
    ("message", "position", "expected"),
    [
        ("", 0, "PRI"),
        ("34>1 - - - - - -", 0, "PRI"),
        ("<034>1 - - - - - -", 0, "leading zeros"),
        ("<192>1 - - - - - -", 1, "191"),
        ("<1000>1 - - - - - -", 0, "PRI"),
        ("<14>2 - - - - - -", 4, "VERSION 1"),
        ("<14>1  - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2003-08-24T05:14:15.000000003-07:00 - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2003-08-24t05:14:15Z - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2003-08-24T05:14:60Z - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2003-08-24T24:00:00Z - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2003-08-24T05:14:15 - - - - -", 6, "TIMESTAMP"),
        ("<14>1 2023-02-29T05:14:15Z - - - - -", 6, "TIMESTAMP"),
        ("<14>1 0001-02-29T05:14:15Z - - - - -", 6, "TIMESTAMP"),
        (f"<14>1 - {'h' * 256} - - - -", 8, "HOSTNAME of 1 to 255"),
        (f"<14>1 - - {'a' * 49} - - -", 10, "APP-NAME of 1 to 48"),
        ("<14>1 - - - é - -", 12, "PROCID"),
        ("<14>1 - - - - -", 14, "MSGID"),
        ("<14>1 - - - - - ", 16, "STRUCTURED-DATA"),
        ("<14>1 - - - - - -x", 16, "STRUCTURED-DATA"),
        ("<14>1 - - - - - x", 16, "STRUCTURED-DATA"),
        ("<14>1 - - - - - []", 17, "SD-ID"),
        ("<14>1 - - - - - [ a]", 17, "SD-ID"),
        (f"<14>1 - - - - - [{'a' * 33}]", 49, "] or a space"),
        ("<14>1 - - - - - [a", 18, "] or a space"),
        ("<14>1 - - - - - [a ]", 19, "PARAM-NAME"),
        ('<14>1 - - - - - [a b"x"]', 20, '="'),
        ('<14>1 - - - - - [a b="x]"]', 23, "backslash"),
        ('<14>1 - - - - - [a b="x', 23, "backslash"),
        ('<14>1 - - - - - [a b="x\\', 23, "backslash"),
        ('<14>1 - - - - - [a b="x\\"]', 25, "backslash"),
        ('<14>1 - - - - - [a b="é"c="d"]', 24, "] or a space"),
        ("<14>1 - - - - - [a][a]", 20, "no second element a"),
        ("<14>1 - - - - - [a]x", 19, "a space and MSG"),
        ("<14>1 - - - - - - \ud800", 18, "UTF-8"),
    ],
)
def test_malformed(message: str, position: int, expected: str) -> None:
    """Malformed text is refused with the position of the fault in characters and with what belongs there."""
    with pytest.raises(MessageError) as caught:
        parse_message(message)
    error = caught.value
    assert (error.position, error.unit) == (position, "character")
    assert expected in error.expected
    assert str(error) == f"no RFC 5424 message: at character {position} expected {error.expected}"


def test_positions_in_bytes() -> None:
    """In bytes the position counts bytes, and invalid UTF-8 in a value is found where it is."""
    for data, position in (('<14>1 - - - - - [a b="é"c]'.encode(), 25), (b'<14>1 - - - - - [a b="x\xff"]', 23)):
        with pytest.raises(MessageError) as caught:
            parse_message(data)
        assert (caught.value.position, caught.value.unit) == (position, "byte")


def test_error_can_be_pickled() -> None:
    """The error crosses process borders with its attributes."""
    copy = pickle.loads(pickle.dumps(MessageError("a space", 3, "character")))
    assert type(copy) is MessageError
    assert (copy.expected, copy.position, copy.unit) == ("a space", 3, "character")


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ('[fields@9 a="x"][types@9 json="a"]', "JSON text"),
        ('[fields@9 a="NaN"][types@9 json="a"]', "JSON text"),
        ('[fields@9 a="1e999"][types@9 json="a"]', "beyond the range of a float"),
        (f'[fields@9 a="{"9" * 65_537}"][types@9 json="a"]', "65536 digits"),
        (f'[fields@9 a="{"[" * 100_000}"][types@9 json="a"]', "nested too deeply"),
        ('[fields@9 a="1"][types@9 json="b"]', "names of parameters"),
        ('[fields@9 a="1"][types@9 text="a"]', "names of parameters"),
        ('[fields@9 a="1" a="2"]', "'a'"),
        ('[fields@9 a="1" %61="2"]', "'a'"),
        ('[context@9 symbol="1"][fields@9 symbol="2"]', "'symbol'"),
        ('[fields@9 message="forged"]', "'message'"),
        ('[fields@9 a%="1"]', "encoded as ours"),
        ('[fields@9 %FF="1"]', "encoded as ours"),
        ('[fields@9 %L1="1"]', "encoded as ours"),
        ('[fields@9 a="1"][names@9 a="b"]', "%L"),
        ('[fields@9 %L1="1"][names@9 %L1="b" %L1="c"]', "%L"),
        ('[fields@9 a="1"][names@9 %L1="b"]', "%L"),
        ('[fields@9 exception="text"]', "dict for exception"),
        ('[fields@9 stack="1"][types@9 json="stack"]', "str for stack"),
        ('[fields@9 sequence_id="2147483648"]', "int for sequence_id"),
        ('[fields@9 sequence_id="2147483654"][types@9 json="sequence_id"]', None),
        ('[fields@9 sequence_id="2147483655"][types@9 json="sequence_id"]', "agrees"),
        ('[fields@9 sequence_id="7"][types@9 json="sequence_id"]', "agrees"),
        ('[fields@9 sequence_id="true"][types@9 json="sequence_id"]', "int for sequence_id"),
    ],
)
def test_tampered_messages(elements: str, expected: str | None) -> None:
    """A message that says it is ours, and is not as we write them, is refused: nothing is guessed."""
    if expected is None:
        assert parse_message(OURS + elements)["sequence_id"] == 2147483654
        return
    with pytest.raises(MessageError) as caught:
        parse_message(OURS + elements)
    assert expected in caught.value.expected
    assert 0 < caught.value.position <= len(OURS + elements)


SAMPLES = [message.encode() for message in EXAMPLES] + [
    render_message(
        EXAMPLES[message]
        | {"n": [1, {"a": "]"}], "é" * 20: "\n\\", "sequence_id": 2**31, "symbol": 'x"', "stack": "a\nb"}
    )
    for message in EXAMPLES
]
PIECES = st.sampled_from(
    [b'"', b"]", b"[", b"\\", b" ", b"=", b"<", b"\xff", b"%", b"%L1", b"\xef\xbb\xbf", b'="', b"@9"]
)


def parse_or_refuse(data: bytes | str) -> None:
    try:
        found = parse_message(data)
    except MessageError as error:
        position = error.position
    else:
        assert FLAT.is_valid(found)
        assert parse_message(render_message(found)) == found
        return
    assert 0 <= position <= len(data)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary() | st.text(st.characters()) | st.binary().map(lambda tail: FOREIGN.encode() + tail))
def test_arbitrary_data(data: bytes | str) -> None:
    """Arbitrary bytes and text either are a message, with a valid entry, or raise MessageError."""
    parse_or_refuse(data)


@settings(max_examples=examples(500), deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_messages(message: bytes, data: st.DataObject) -> None:
    """A message with bytes cut, put in or changed is read as a valid entry or refused with MessageError."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(message)))
        end = data.draw(st.integers(start, min(start + 4, len(message))))
        message = message[:start] + data.draw(st.binary(max_size=2) | PIECES) + message[end:]
    parse_or_refuse(message)
    parse_or_refuse(message.decode("utf-8", "replace"))


HOSTILE: dict[str, Callable[[int], str]] = {
    "value of backslashes without end": lambda n: FOREIGN + '[a b="' + "\\" * n,
    "value of backslashes": lambda n: OURS + '[fields@1 b="' + "\\" * (n // 2 * 2) + '"]',
    "value of codes": lambda n: OURS + '[fields@1 b="' + "\\\\u000a" * (n // 7) + '"]',
    "value without end": lambda n: FOREIGN + '[a b="' + "x" * n,
    "quotes": lambda n: FOREIGN + '[a b="' + '\\"' * (n // 2),
    "brackets": lambda n: FOREIGN + "[" * n,
    "one name again and again": lambda n: FOREIGN + "[a" + ' b=""' * (n // 5) + "]",
    "many names": lambda n: OURS + "[fields@1" + "".join(f' {i:07}=""' for i in range(n // 11)) + "]",
    "many elements": lambda n: FOREIGN + "".join(f"[{i:07}]" for i in range(n // 9)),
    "many long names": lambda n: (
        OURS
        + "[fields@1" + "".join(f' %L{i:06}=""' for i in range(n // 26))
        + "][names@1" + "".join(f' %L{i:06}="{i}"' for i in range(n // 26))
        + "]"
    ),
    "many types": lambda n: (
        OURS
        + "[fields@1" + "".join(f' {i:06}="1"' for i in range(n // 18))
        + ']' + '[types@1 json="' + " ".join(f"{i:06}" for i in range(n // 18)) + '"]'
    ),
    "many equal types": lambda n: OURS + '[fields@1 a="1"][types@1' + ' json="a"' * (n // 9) + "]",
    "deep JSON": lambda n: OURS + '[fields@1 a="' + '{\\"a\\":' * (n // 7) + '"][types@1 json="a"]',
    "long integer": lambda n: OURS + '[fields@1 a="' + "9" * n + '"][types@1 json="a"]',
    "long integers": lambda n: OURS + f'[fields@1 a="[{("9" * 4000 + ",") * (n // 4001)}"][types@1 json="a"]',
    "digits and a sign": lambda n: OURS + '[fields@1 a="' + "-" * n + '"][types@1 json="a"]',
    "message of backslashes": lambda n: OURS + " " + "\\" * n + "u000",
    "message of codes": lambda n: OURS + " " + "\\u000a\\" * (n // 7),
    "header without spaces": lambda n: "<1>1 " + "x" * n,
    "chain of taken names": lambda n: (
        OURS
        + "[fields@1" + "".join(f' %L{i}=""' for i in range(math.isqrt(n // 3)))
        + "][names@1" + "".join(f' %L{i}="{"field_" * i}a"' for i in range(math.isqrt(n // 3)))
        + "][a]"
    ),
    "fault at the end of text": lambda n: FOREIGN + '[a b="' + "é" * (n // 2) + '"x]',
}  # fmt: skip


#: Characters of a hostile message.
LONGEST = 1_000_000 if os.environ.get("METAEXPERT_NIGHTLY") else 300_000


def seconds_to_parse(message: str) -> float:
    """Return this thread's processor time, which other load on the machine hardly changes."""
    start = time.thread_time()
    with contextlib.suppress(MessageError):
        parse_message(message)
    return time.thread_time() - start


@pytest.mark.storm
@pytest.mark.parametrize("shape", HOSTILE)
def test_linear_time(shape: str) -> None:
    """Four times the hostile input costs about four times the time, up to 1 MB by night; sixteen would be quadratic."""

    def linear() -> bool:
        small, large = (seconds_to_parse(HOSTILE[shape](size)) for size in (LONGEST // 4, LONGEST))
        return large < 9 * small + 0.05

    # Whoever shares the caches of the machine may slow one measurement down, but not one after another the longer text.
    assert any(linear() for _ in range(4))


@pytest.mark.storm
@pytest.mark.parametrize("text", ["\\" * 200_000, "\\\n" * 100_000, "\\u000a" * 30_000, "]" * 200_000, "é" * 200_000])
def test_rendering_in_linear_time(text: str) -> None:
    """Rendering hostile text, as value, name and message, is linear too."""
    entry = next(iter(EXAMPLES.values()))

    def linear() -> bool:
        taken = []
        for piece in (text[: len(text) // 4], text):
            start = time.thread_time()
            render_message(entry | {"message": piece, "a": piece, "b": [piece], piece: 1})
            taken.append(time.thread_time() - start)
        return taken[1] < 8 * taken[0] + 0.05

    assert any(linear() for _ in range(4))
