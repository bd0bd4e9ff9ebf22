"""Records as text, JSON Lines and CSV."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import ConsoleText, escape, value_text
from metaexpert.logs import Entry, Record, Unparsed
from metaexpert.logs.entry import parse
from metaexpert.logs.render import CSV_COLUMNS, FormatName, make_format

Line = Callable[..., bytes]


def entry(text: bytes) -> Record:
    found = parse(text.rstrip(b"\n"), "expert.log")
    assert found is not None
    return found


def torn(text: bytes) -> Record:
    return Unparsed(text, "expert.log", (b"2026-11-22T00:00:00.000000", 0, 0))


def rows(*records: Record) -> list[dict[str, str]]:
    form = make_format("csv")
    return list(csv.DictReader(io.StringIO(form.start + form(records), newline="")))


def test_text_is_the_console_line(line: Line) -> None:
    """An entry looks as it did on the console."""
    text = make_format("text")([entry(line(1, "Position opened", at=0.123, side="BUY", size=0.1))])
    assert text == "2026-11-22 10:31:00.123 [info ] Position opened  side=BUY size=0.1\n"


def test_text_names_the_expert_once_there_are_two(line: Line) -> None:
    """One expert is not named on each line; from the batch on in which a second one is met, each is."""
    form = make_format("text")
    ema, rsi = (entry(line(1, expert_name=name)) for name in ("ema", "rsi"))
    assert "ema" not in form([ema])
    assert [name in form([ema, rsi]) for name in ("ema", "rsi")] == [True, True]
    assert "ema" in form([ema])


def test_torn_lines_cannot_act_on_a_terminal(line: Line) -> None:
    """In text, and in the other formats on a terminal, control characters are shown, not sent."""
    evil = torn(b"\x1b]0;owned\x07\xff \xc2\x9b2J")
    assert make_format("text")([evil]) == "\\x1b]0;owned\\x07\\xff \\x9b2J\n"
    for name in ("json", "csv"):
        form = make_format(name, terminal=True)
        assert (form.start + form([evil])).replace("\n", "").isprintable() or "\udcff" in form([evil])
        assert "\x1b" not in form([evil])


def test_json_is_the_line_as_it_stands(line: Line) -> None:
    """JSON gives back the bytes of each line, whether it is an entry or torn."""
    lines = [line(1, "π")[:-1], b'{"torn \xff\x00\r', b"text"]
    records = [entry(lines[0]), torn(lines[1]), torn(lines[2])]
    text = make_format("json")(records)
    assert text.encode("utf-8", "surrogateescape") == b"".join(part + b"\n" for part in lines)


def test_csv_has_fixed_columns_and_the_rest_as_json(line: Line) -> None:
    """Known fields stand in their columns, all others together as JSON; nothing is lost."""
    record = entry(
        line(7, "Filled", expert_name="ema", symbol="BTCUSDT", side="BUY", size=0.1, price=70000, tags=["a"], ok=True)
    )
    (row,) = rows(record)
    assert tuple(row) == CSV_COLUMNS
    assert row["timestamp"] == "2026-11-22T10:31:07.000000Z"
    assert [row[c] for c in ("level", "expert_name", "message", "symbol", "side", "size", "price")] == [
        "info", "ema", "Filled", "BTCUSDT", "BUY", "0.1", "70000",
    ]  # fmt: skip
    assert row["order_id"] == row["trade_id"] == ""
    rest = json.loads(row["fields"])
    assert (rest["tags"], rest["ok"], rest["sequence_id"]) == (["a"], True, 7)
    assert "symbol" not in rest


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-0.5", "-0.5"),
        ("+1e-8", "+1e-8"),
        (-0.5, "-0.5"),
        (10**30, str(10**30)),
        (None, ""),
        (False, "false"),
        ({"a": 1}, '{"a":1}'),
        ('two\nlines, "quoted"', 'two\nlines, "quoted"'),
        ("1=1", "1=1"),
    ],
)
def test_csv_cells(line: Line, value: Any, cell: str) -> None:
    """Text that a spreadsheet would run gets an apostrophe, numbers stay numbers, the rest is as it was."""
    (row,) = rows(entry(line(1, price=value)))
    assert row["price"] == cell


def test_csv_keeps_torn_lines_as_messages() -> None:
    """A line that is no entry fills the message column only."""
    (row,) = rows(torn(b"=torn, line"))
    assert row["message"] == "'=torn, line"
    assert not any(value for column, value in row.items() if column != "message")


@pytest.mark.parametrize("name", ["text", "csv"])
def test_both_layouts_look_alike(line: Line, name: FormatName) -> None:
    """An rfc5424 line is shown like its flat twin."""
    header = json.loads(line(1, "Filled"))
    fields = {"symbol": "BTCUSDT", "side": "BUY", "size": 0.1}
    groups = {
        "meta": {"sequenceId": 1},
        "origin": {"software": "metaexpert"},
        "context@32473": {"symbol": "BTCUSDT"},
        "fields@32473": {"side": "BUY", "size": 0.1},
    }
    form = make_format(name)
    flat, nested = (
        form([entry(json.dumps(data).encode())]) for data in (header | fields, header | {"structured_data": groups})
    )
    assert flat == nested


#: The words of the levels.
LEVELS = list(schema.SEVERITIES)
FIELD_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text(), max_size=2)
)


def by_structlog(colors: bool, *, many: bool) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    """Return the reference of the console's lines: structlog's renderer with the same columns."""
    styles = ConsoleRenderer.get_default_column_styles(colors)
    words = {name: getattr(styles, f"level_{'warn' if name == 'warning' else name}") for name in LEVELS}
    level = LogLevelColumnFormatter({name: style + styles.bright for name, style in words.items()}, styles.reset)
    level.width = len("debug")

    def column(style: str, postfix: str = "") -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(None, style, styles.reset, str, postfix=postfix)

    render = ConsoleRenderer(
        columns=[
            Column("\0time", column(styles.timestamp)),
            Column("\0level", level),
            Column("\0expert", column(styles.logger_name)),
            Column("\0message", column(styles.bright, postfix=" ")),
            Column("", KeyValueColumnFormatter(styles.kv_key, styles.kv_value, styles.reset, value_text)),
        ],
        sort_keys=False,
    )

    def line(entry: dict[str, Any], fields: dict[str, Any]) -> str:
        shown = {"\0time": "2026-11-22 10:31:00.123", "\0level": entry["level"]}
        shown |= {"\0expert": entry["expert_name"]} if many else {}
        shown["\0message"] = escape(entry["message"])
        own = {"stack", "exception", "exc_info"}  # keys that the renderer handles by itself
        named = {f"field_{name}" if name in own else escape(name): value for name, value in fields.items()}
        return str(render(None, "", {**shown, **named}))

    return line


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(LEVELS),
    st.text(),
    st.dictionaries(
        st.text(min_size=1, max_size=8) | st.sampled_from(["stack", "exception", "exc_info", "event"]), FIELD_VALUES
    ),
    st.booleans(),
    st.booleans(),
)
def test_text_equals_the_console_character_by_character(
    level: str, message: str, fields: dict[str, Any], colors: bool, many: bool
) -> None:
    """The reader prints an entry as the console does, and both as structlog's renderer does."""
    data = {
        "timestamp": "2026-11-22T10:31:00.123456Z",
        "level": level,
        "message": message,
        "expert_name": "ema",
        **{name: value for name, value in fields.items() if name not in schema.HEADER_KEYS},
    }
    data["expert_name"] = "ema"
    found = Entry(b"", "expert.log", (b"", 1, 0), data)
    form = make_format("text", colors=colors)
    if many:
        form([Entry(b"", "x", (b"", 1, 0), {**data, "expert_name": "rsi"})])
    console = ConsoleText(colors, show_expert=many)
    assert form([found]) == console(data) + "\n"
    assert console.line(data, fields) == by_structlog(colors, many=many)(data, fields)


def test_chosen_fields(line: Line) -> None:
    """Of chosen fields text shows these behind the message, JSON makes flat objects of them, CSV columns."""
    nested = {"structured_data": {"fields@32473": {"side": "BUY", "size": 0.1}}}
    record = entry(line(7, "Opened", at=0, **nested))
    fields = ("message", "size", "procid", "nothing")
    assert make_format("text", fields=fields)([record]).endswith("Opened  size=0.1 procid=42\n")
    assert json.loads(make_format("json", fields=fields)([record])) == {
        "message": "Opened",
        "size": 0.1,
        "procid": "42",
    }
    form = make_format("csv", fields=fields)
    assert form.start + form([record]) == "message,size,procid,nothing\nOpened,0.1,42,\n"
    assert make_format("csv", fields=("side",))([torn(b"torn")]) == "torn\n"


def test_times_in_a_zone(line: Line) -> None:
    """Text and CSV show times in the zone asked for; JSON stays as it stands in the file."""
    record, tz = entry(line(1, at=0.5)), ZoneInfo("Europe/Berlin")
    assert make_format("text", tz=tz)([record]).startswith("2026-11-22 11:31:00.500 ")
    assert make_format("csv", tz=tz)([record]).startswith("2026-11-22T11:31:00.500000+01:00,")
    assert make_format("json", tz=tz)([record]).encode() == line(1, at=0.5)
