"""What is printed, where it goes, and how it ends when nobody reads; Windows by its doubles."""

import errno
import io
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.cli import output
from metaexpert.cli.tables import day_column, table
from metaexpert.logger.entry.console_text import cells


class Closed(io.StringIO):
    """A stream that fails as one does whose reader has gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """EPIPE says that the reader has seen enough."""
    monkeypatch.setattr(sys, "stdout", Closed(errno.EPIPE))
    with pytest.raises(output.PipeClosed):
        output.write("text")


@pytest.mark.parametrize(("system", "expected"), [("nt", output.PipeClosed), ("posix", output.OutputError)])
def test_windows_reports_a_closed_pipe_as_invalid(
    monkeypatch: pytest.MonkeyPatch, system: str, expected: type[Exception]
) -> None:
    """EINVAL means a closed pipe on Windows and a real trouble elsewhere."""
    monkeypatch.setattr(sys, "stdout", Closed(errno.EINVAL))
    monkeypatch.setattr(output.os, "name", system)  # type: ignore[attr-defined]
    with pytest.raises(expected):
        output.write("text")
    monkeypatch.undo()


def test_exact_output_through_a_text_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output was replaced by a stream without bytes, text goes there as it is."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    output.write_exact("π")
    assert stream.getvalue() == "π"


def test_exact_output_is_utf8_and_gives_bytes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data is UTF-8 whatever the stream's encoding; a surrogate is the byte that it stands for; no CRLF."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "cp1252", newline="\r\n"))
    output.write_exact("π \udcff\n")
    assert raw.getvalue() == b"\xcf\x80 \xff\n"


def test_what_is_left_of_a_closed_pipe_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards the stream can be flushed without complaint; a stream without a file behind it is left alone."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        stream.write("text")
        monkeypatch.setattr(sys, "stdout", stream)
        output.abandon_output()
        stream.flush()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    output.abandon_output()


def test_errors_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem with line breaks in it is still one line; a closed standard error is not an error."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    output.complain("error", ["first\nstill first", "second"])
    assert stream.getvalue() == "error: first still first\nerror: second\n"
    stream.close()
    output.complain("error", ["third"])
    assert not output.is_terminal(stream)


@pytest.mark.parametrize("width", [0, 12, 20, 31, 80])
def test_a_table_folds_its_rows_between_columns(width: int) -> None:
    """No cell is broken at the edge of the terminal, each stands under its header, and a pipe gets one line a row."""
    headers = ("expert", "start", "entries", "result")
    rows = [("EmaBot", "10:31:00.123", 120, "1.5 USDT"), ("G", "", 7, "")]
    text = table(headers, rows, right=("entries", "result"), width=width)
    lines = text.splitlines()
    assert all(len(line) <= (width or 80) for line in lines if len(line.split()) > 1)
    assert width not in (0, 80) or len(lines) == 3
    for column, header in enumerate(headers):
        at = next(n for n, line in enumerate(lines) if header in line.split())
        end, start = lines[at].index(header) + len(header), lines[at].index(header)
        cell = str(rows[0][column])
        below = next(line for line in lines[at + 1 :] if cell in line)
        assert below.index(cell) + len(cell) == end or below.index(cell) == start


def json_of(value: Any, *, quick: bool) -> str:
    """Return what is written of *value*, in the quick way or in that of the library."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "write_escaped", written.append)
        if not quick:
            patch.setattr(output, "_quick_json", lambda _: None)
        output.write_json(value)
    return "".join(written)


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and dicts of *leaves*."""
    texts = st.text(st.characters(codec=None)) | st.sampled_from(["\ud800", "\x9b", "\u202e", "é"])
    return st.recursive(
        leaves | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(), inner, max_size=4),
        max_leaves=10,
    )


@given(values(st.none() | st.booleans() | st.integers()))
def test_quick_json_is_as_the_library_writes_it(value: Any) -> None:
    """Whatever the texts, numbers and keys."""
    assert json_of(value, quick=True) == json_of(value, quick=False)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_quick_json_has_the_same_numbers(number: float) -> None:
    """In another form, perhaps."""
    assert json.loads(json_of([number], quick=True)) == [number]


def test_large_json_is_written_quickly() -> None:
    """A report of thousands of orders is not held up by its own form."""
    value = [{"step": str(number), "sizes": [number, 0.5]} for number in range(20_000)]

    def cost(write: Callable[[Any], object]) -> float:
        begun = time.thread_time()
        write(value)
        return time.thread_time() - begun

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "write_escaped", lambda _: None)
        # By turns: another program may take the caches of the machine from all of one side.
        turns = [(cost(output.write_json), cost(lambda one: json.dumps(one, indent=2))) for _ in range(5)]
    quick, plain = map(min, zip(*turns, strict=True))
    assert quick < plain / 2


ROWS = [
    ("EmaBot", "", 1, "short"),
    ("均值回归", "", 20, "a text of several words that no line of the terminal has room for"),
    ("MeanReversionOverSeveralVenues-1", "", 300, ""),
]


@pytest.mark.parametrize("width", [30, 50, 80, 100])
def test_a_table_fits_the_terminal(width: int) -> None:
    """Names lose their middle, empty columns go, and texts are folded below their header; numbers stay."""
    text = table(("expert", "net", "n", "text"), ROWS, right=["net", "n"], width=width, names=["expert"])
    lines = text.splitlines()
    assert all(cells(line) <= width for line in lines)
    assert "net" not in lines[0].split()
    assert all(f" {number}" in text for number in (1, 20, 300))
    name = next(line for line in lines if line.startswith("Mean")).split()[0]
    assert name.endswith("-1")
    assert cells(name) == max(12, width // 4)
    words = [word for line in lines for word in line.split()]
    assert [word for word in ROWS[1][3].split() if word not in words] == []


def test_columns_of_wide_characters_are_aligned() -> None:
    """A character that takes two columns of the terminal counts as two."""
    headers, first, second, *_ = table(("expert", "n"), [("均值回归", 1), ("Ema", 22)], right=["n"]).splitlines()
    assert (headers, first, second) == ("expert     n", "均值回归   1", "Ema       22")


def test_a_day_is_a_header_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of one day stand without their date below it; those of several days, and into a pipe, are whole."""
    times = ["2026-11-22 10:31:00.123", "2026-11-22 10:31:00.124"]
    assert day_column(times, "time") == ("time", times)
    monkeypatch.setattr(output, "is_terminal", lambda _: True)
    assert day_column(times, "time") == ("2026-11-22", ["10:31:00.123", "10:31:00.124"])
    several = [*times, "2026-11-23 10:31:00.123"]
    assert day_column(several, "time") == ("time", several)
    assert day_column([], "time") == ("time", [])
