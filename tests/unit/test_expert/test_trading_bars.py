"""Bars and the CSV reader: what is accepted, and what an error says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from metaexpert.trading import Bar, BarError, check_bars, load_bars, read_bars

HEADER = "timestamp,open,high,low,close,volume"
GOOD = "2024-01-01 09:00:00,1.1,1.3,1.0,1.2,50"
NEXT = "2024-01-01 10:00:00,1.2,1.4,1.1,1.3,60"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(*lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
        path = tmp_path / "bars.csv"
        path.write_bytes("".join(line + end for line in lines).encode(encoding))
        return path

    return _write


def error_of(path: Path) -> BarError:
    with pytest.raises(BarError) as caught:
        load_bars(path)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_row_becomes_a_bar_with_its_time_in_utc(write: Write) -> None:
    """Each column is read into its field and a time without an offset is UTC."""
    assert load_bars(write(HEADER, GOOD, NEXT)) == (
        Bar(datetime(2024, 1, 1, 9, tzinfo=UTC), 1.1, 1.3, 1.0, 1.2, 50.0),
        Bar(datetime(2024, 1, 1, 10, tzinfo=UTC), 1.2, 1.4, 1.1, 1.3, 60.0),
    )


def test_columns_may_come_in_any_order_and_case_with_others_between(write: Write) -> None:
    """The header decides where a value is, its case does not matter and unknown columns are ignored."""
    path = write("Close, VOLUME,spread,Low,timestamp,High,Open", "1.2,50,9,1.0,2024-01-01T09:00:00Z,1.3,1.1")
    assert load_bars(path) == (Bar(datetime(2024, 1, 1, 9, tzinfo=UTC), 1.1, 1.3, 1.0, 1.2, 50.0),)


@pytest.mark.parametrize(("end", "encoding"), [("\r\n", "utf-8"), ("\n", "utf-8-sig"), ("\r\n", "utf-8-sig")])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(write: Write, end: Any, encoding: Any) -> None:
    """A file saved by a spreadsheet on Windows reads as any other."""
    assert len(load_bars(write(HEADER, GOOD, NEXT, end=end, encoding=encoding))) == 2


def test_blank_lines_are_skipped_and_still_counted(write: Write) -> None:
    """A blank line is no bar, and an error behind it names the line that an editor shows."""
    path = write(HEADER, "", GOOD, "  ", "2024-01-01 10:00:00,1.2,1.4,x,1.3,60")
    assert error_of(path).line == 5


def test_an_offset_is_converted_to_utc(write: Write) -> None:
    """A time with an offset means the same moment in UTC."""
    [bar] = load_bars(write(HEADER, GOOD.replace("09:00:00", "09:00:00+02:00")))
    assert bar.time == datetime(2024, 1, 1, 7, tzinfo=UTC)
    assert bar.time.tzinfo is UTC


@pytest.mark.parametrize(
    ("row", "column", "value", "expected"),
    [
        ("2024-01-01 10:00:00,1.2,1.4,abc,1.3,60", "low", "abc", "a number is needed"),
        ("2024-01-01 10:00:00,1.2,1.4,,1.3,60", "low", "", "a number is needed"),
        ("2024-01-01 10:00:00,1.2,1.4,1.1,1_3,60", "close", "1_3", "a number is needed"),
        ("2024-01-01 10:00:00,1.2,1.4,1.1,١,60", "close", "١", "a number is needed"),
        ("2024-01-01 10:00:00,nan,1.4,1.1,1.3,60", "open", float("nan"), "a finite number"),
        ("2024-01-01 10:00:00,1.2,inf,1.1,1.3,60", "high", float("inf"), "a finite number"),
        ("2024-01-01 10:00:00,0,1.4,0,1.3,60", "open", 0.0, "above zero"),
        ("2024-01-01 10:00:00,1.2,1.4,1.1,1.3,-1", "volume", -1.0, "zero or more"),
        ("2024-01-01 10:00:00,1.2,1.25,1.1,1.3,60", "high", 1.25, "must not be below"),
        ("2024-01-01 10:00:00,1.2,1.4,1.25,1.3,60", "low", 1.25, "must not be above"),
        ("yesterday,1.2,1.4,1.1,1.3,60", "timestamp", "yesterday", "ISO 8601"),
        ("0001-01-01T00:00:00+14:00,1.2,1.4,1.1,1.3,60", "timestamp", None, "ISO 8601"),
        ("2024-01-01 09:00:00,1.2,1.4,1.1,1.3,60", "timestamp", None, "later than"),
        ("2024-01-01 08:00:00,1.2,1.4,1.1,1.3,60", "timestamp", None, "later than"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_column_and_what_would_be_right(
    write: Write, row: Any, column: Any, value: Any, expected: Any
) -> None:
    """The error of a row says where it is, what stands there and what should."""
    path = write(HEADER, GOOD, row, NEXT)
    error = error_of(path)
    assert (error.path, error.line, error.column) == (str(path), 3, column)
    assert expected in error.expected
    assert str(error).startswith(f"{path}, line 3, column {column}: {error.value!r}: ")
    if value is not None:
        assert repr(error.value) == repr(value)


@pytest.mark.parametrize(
    ("row", "count"), [("2024-01-01 10:00:00,1.2,1.4,1.1", 4), ("2024-01-01 10:00:00,1,2,1,3,1,1,1,2,60", 10)]
)
def test_a_row_of_another_width_is_refused(write: Write, row: Any, count: Any) -> None:
    """A row with fewer or more values than the header (a decimal comma, say) is an error, not a guess."""
    error = error_of(write(HEADER, GOOD, row))
    assert error.line == 3
    assert f"the row has {count} values; the header has 6 columns" in str(error)


@pytest.mark.parametrize(
    ("header", "column", "words"),
    [
        ("timestamp,open,high,low,close", "volume", "is missing"),
        ("timestamp;open;high;low;close;volume", "timestamp", "is missing"),
        ("timestamp,open,high,low,close,volume,OPEN", "open", "more than once"),
    ],
)
def test_a_header_without_or_with_twice_a_column_is_refused(write: Write, header: Any, column: Any, words: Any) -> None:
    """The column that is missing or doubled is named, with the header that was found."""
    error = error_of(write(header, GOOD))
    assert (error.line, error.column, error.value) == (1, column, header)
    assert words in str(error)
    assert "timestamp,open,high,low,close,volume" in error.expected


def test_an_empty_file_and_a_file_without_bars_are_errors(write: Write) -> None:
    """Nothing to trade on is said, not passed over."""
    assert "the file is empty" in str(error_of(write()))
    assert "a header but no bars" in str(error_of(write(HEADER)))


def test_a_file_that_is_no_utf8_text_is_one_clear_error(write: Write) -> None:
    """UTF-16 and other encodings are refused as a file, with its name."""
    error = error_of(write(HEADER, GOOD, encoding="utf-16"))
    assert "must be UTF-8" in str(error)
    assert str(error).startswith(error.path or "?")


def test_a_row_that_csv_cannot_read_is_a_bar_error(write: Write) -> None:
    """What the csv module refuses arrives as a BarError too, with its line."""
    error = error_of(write(HEADER, GOOD, '"' + "9" * 200_000 + '"'))
    assert "no CSV row" in str(error)
    assert error.line == 3


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """A file that is not there is FileNotFoundError, as everywhere in Python."""
    with pytest.raises(FileNotFoundError):
        load_bars(tmp_path / "none.csv")


def test_reading_is_lazy(write: Write) -> None:
    """read_bars yields the bars before a wrong row; check_bars finds it without keeping any."""
    path = write(HEADER, GOOD, "x")
    bars = read_bars(path)
    assert next(bars).open == 1.1
    with pytest.raises(BarError):
        next(bars)
    with pytest.raises(BarError):
        check_bars(path)


def test_check_bars_counts(write: Write) -> None:
    """check_bars returns the number of bars of a good file."""
    assert check_bars(write(HEADER, GOOD, NEXT)) == 2


def test_a_long_value_is_cut_and_control_characters_are_escaped(write: Write) -> None:
    """What a hostile file holds can neither flood nor steer a terminal."""
    text = str(error_of(write(HEADER, "\x1b[31m" + "y" * 500 + ",1,1,1,1,1")))
    assert "\x1b" not in text
    assert len(text) < 300


def test_a_bar_made_in_code_is_held_to_the_same_rules() -> None:
    """A Bar checks its numbers itself; its error then has no file."""
    with pytest.raises(BarError) as caught:
        Bar(datetime(2024, 1, 1, tzinfo=UTC), 1.0, 0.9, 0.8, 0.85, 1.0)
    assert (caught.value.path, caught.value.line, caught.value.column) == (None, None, "high")


def test_a_bar_made_in_code_has_its_time_in_utc() -> None:
    """A naive time is taken as UTC, another zone is converted."""
    naive = Bar(datetime(2024, 1, 1), 1, 1, 1, 1, 0)
    east = Bar(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))), 1, 1, 1, 1, 0)
    assert naive.time == datetime(2024, 1, 1, tzinfo=UTC)
    assert east.time == datetime(2023, 12, 31, 22, tzinfo=UTC)
    assert east.time.tzinfo is UTC
