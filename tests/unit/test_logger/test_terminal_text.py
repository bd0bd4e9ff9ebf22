"""Entries on a terminal: one line each where they fit, and folded at its width where they do not."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metaexpert.logger.console.console import Console, width_of
from metaexpert.logger.console.loops import PrintedLines
from metaexpert.logger.entry.console_text import ConsoleText, TerminalText, cells, fold
from metaexpert.logs.entry import parse
from metaexpert.logs.render import make_format

BASE: dict[str, Any] = {"timestamp": "2026-11-22T10:31:00.123456Z", "level": "info", "message": "Order filled"}
FILL = {**BASE, "expert_name": "Ema", "symbol": "BTCUSDT", "order_id": "ord-1", "side": "BUY", "size": 0.5}
CODE = re.compile(r"\x1b\[\d+m")


def lines_of(width: int, *entries: dict[str, Any], colors: bool = False) -> list[str]:
    """Return the lines of *entries*, after that with the date."""
    text = TerminalText(colors, width=width)
    date, *lines = "\n".join(map(text, entries)).split("\n")
    assert CODE.sub("", date) == "2026-11-22"
    return lines


def test_an_entry_is_one_line_without_its_date() -> None:
    """Time, level, message and fields; the date stands once before the entries of a day."""
    assert lines_of(80, FILL, {**BASE, "level": "warning", "message": "Slow"}) == [
        "10:31:00.123 info    Order filled  symbol=BTCUSDT order_id=ord-1 side=BUY",
        "             size=0.5",
        "10:31:00.123 warning Slow",
    ]
    assert len(lines_of(90, FILL)) == 1


def test_another_day_has_its_date() -> None:
    """Whichever way the days go, a date stands before the entries of each."""
    text = TerminalText(False, width=80)
    days = [22, 22, 23, 22]
    shown = [text({**BASE, "timestamp": f"2026-11-{day}T10:31:00.123456Z"}).split("\n")[0] for day in days]
    assert shown == ["2026-11-22", "10:31:00.123 info    Order filled", "2026-11-23", "2026-11-22"]


def test_what_stays_is_told_once() -> None:
    """The symbol of an expert stands again when it changes, and that of another expert is its own."""
    rsi = {**FILL, "expert_name": "Rsi"}
    shown = lines_of(99, FILL, FILL, rsi, rsi, {**FILL, "symbol": "ETHUSDT"}, FILL)
    assert ["symbol=" in line for line in shown] == [True, False, True, False, True, True]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"size": 0.5, "order_size": 0.5, "filled_size": 0.5, "status": "filled"}, "size=0.5"),
        ({"size": 0.5, "order_size": 0.7, "status": "partly_filled"}, "size=0.5 order_size=0.7 status=partly_filled"),
        ({"price": 1.5, "requested_price": 1.5}, "price=1.5"),
        ({"trade_id": "t", "bar_time": "b", "pnl": 2}, "pnl=2 trade_id=t bar_time=b"),
        ({"size": 1.0, "order_size": "1.0", "status": None}, 'size=1.0 order_size="1.0" status=null'),
    ],
)  # fmt: skip
def test_what_says_nothing_new_is_left_out(fields: dict[str, Any], shown: str) -> None:
    """A number that repeats another, and a status that the message names; the ids come last."""
    line = lines_of(160, {**BASE, **fields})[0].partition("  order")[0]
    assert line.endswith(f"Order filled  {shown.replace(chr(34), '')}")


def test_long_words_are_cut_at_the_end_of_the_line() -> None:
    """A value longer than a line goes on under it; nothing of it is lost."""
    value = "".join(chr(ord("a") + n % 26) for n in range(200))
    shown = lines_of(60, {**BASE, "path": value, "after": 1})
    assert all(len(line) <= 60 for line in shown)
    assert "".join(line.strip() for line in shown[1:]) == f"path={value} after=1"


def test_a_traceback_stands_below() -> None:
    """As on any console."""
    entry = {**BASE, "exception": {"type": "E", "value": "x", "text": "Traceback\n  y"}}
    assert lines_of(80, entry)[1:] == ["    Traceback", "      y"]


@given(
    st.lists(st.text(max_size=60), max_size=4),
    st.dictionaries(st.text(max_size=20), st.text(max_size=90) | st.floats() | st.lists(st.text()), max_size=5),
    st.integers(1, 200),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(words: list[str], fields: dict[str, Any], width: int, colors: bool) -> None:
    """Whatever the texts, lines fit, further ones are indented, and nothing acts on the terminal but our colours."""
    entry = {**fields, **BASE, "message": " ".join(words)}
    entry.pop("exception", None)
    entry.pop("stack", None)
    text = TerminalText(colors, width=width)(entry)
    _, *lines = CODE.sub("", text).split("\n") if colors else text.split("\n")
    assert all(cells(line) <= max(width, 26) + 1 for line in lines)
    assert all(line.startswith(" " * 13) for line in lines[1:] if line)
    assert all(line.isprintable() for line in lines)


def test_no_colour_is_illegible_on_black() -> None:
    """Experts stand out in a colour that is seen on dark and light ground; the dark blue of terminals is not."""
    levels = ("debug", "info", "warning", "error", "critical")
    text = TerminalText(True, width=80, show_expert=True)
    shown = "".join(text({**FILL, "level": level}) for level in levels)
    assert shown.count("\x1b[35mEma\x1b[0m") == 5
    assert {int(code) for code in re.findall(r"\x1b\[(\d+)m", shown)} == {0, 1, 2, 7, 31, 32, 33, 35, 36}


def test_a_traceback_is_folded() -> None:
    """Its lines fit, further ones hang below their code, and marks that no longer stand below anything are left out."""
    code = "raise ConnectionError(f'stream {name} closed: code {code}, reason: {reason}')"
    text = (
        f"Traceback (most recent call last):\n  File 'bot.py', line 1\n    {code}\n    {'^' * len(code)}\nOSError: no"
    )
    assert lines_of(60, {**BASE, "exception": {"text": text}})[1:] == [
        "    Traceback (most recent call last):",
        "      File 'bot.py', line 1",
        "        raise ConnectionError(f'stream {name} closed: code",
        "            {code}, reason: {reason}')",
        "    OSError: no",
    ]
    assert lines_of(120, {**BASE, "exception": {"text": text}})[4] == "        " + "^" * len(code)


@given(st.text() | st.text("a 世"), st.integers(1, 50), st.integers(0, 60))
@example("\r ", 1, 0)
def test_folding_loses_nothing(text: str, room: int, hanging: int) -> None:
    """Lines fit where a character does, all but spaces is there in its order, and further lines hang."""
    lines = fold(text, room, hanging)
    assert all(cells(line) <= max(room, 2 + min(hanging, room // 2)) for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(line.startswith(" " * min(hanging, room // 2)) for line in lines[1:])


def test_folding_a_long_word_takes_time_by_its_length() -> None:
    """A value of a megabyte does not hold up the console."""
    began = time.thread_time()
    assert len(fold("x" * 1_000_000, 80)) == 12_500
    assert time.thread_time() - began < 2


def test_wide_characters_take_two_columns() -> None:
    """As terminals show them."""
    assert [cells(text) for text in ("abc", "é", "e\u0301", "世界", "🚀")] == [3, 1, 1, 4, 2]
    assert all(cells(line) <= 40 for line in lines_of(40, {**BASE, "message": "世界" * 30}))


@pytest.mark.skipif(sys.gettrace() is not None, reason="tracing costs each line of Python, and nothing in C")
def test_it_costs_no_more_than_the_line_without_a_width() -> None:
    """A synchronous call waits for its console."""
    entry = {**FILL, **{f"field_{n}": n * 1.5 for n in range(12)}}

    def cost(render: ConsoleText) -> float:
        best = 9.0
        for _ in range(20):
            began = time.thread_time()
            for _ in range(50):
                render(entry)
            best = min(best, time.thread_time() - began)
        return best

    assert cost(TerminalText(True, width=80)) < 3 * cost(ConsoleText(True))


def test_the_viewer_folds_by_the_width_it_is_given() -> None:
    """Without one it prints the whole line, as into a pipe."""
    record = parse(json.dumps({**FILL, "text": "word " * 30}).encode(), "expert.log")
    assert record is not None
    assert make_format("text")([record]).count("\n") == 1
    shown = make_format("text", width=60)([record]).splitlines()
    assert len(shown) > 3
    assert all(len(line) <= 60 for line in shown)
    assert make_format("text", width=60, fields=["side"])([record]).endswith("Order filled  side=BUY\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("columns", [50, 0, 120])
def test_the_console_fits_its_terminal(columns: int) -> None:
    """The console asks its terminal; one that does not tell has 80 columns."""
    import fcntl
    import pty
    import struct
    import termios

    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        assert width_of(stream) == (columns or 80)
        entry = json.dumps({**FILL, "note": "several words " * 9}).encode()
        Console("text", lambda _: b"", lambda: stream).write(entry + b"\n")
        shown = CODE.sub("", os.read(reading, 65536).decode()).splitlines()
    os.close(reading)
    assert shown[0] == "2026-11-22"
    assert max(map(len, shown)) <= (columns or 80)
    assert len(shown) > 2
    assert width_of(None) == 0


def test_a_terminal_that_leads_back_into_the_log_makes_no_loop() -> None:
    """Its lines have no date; they are recognised by their time."""
    lines = PrintedLines()
    text = TerminalText(False, width=60)
    first, second = text(FILL), text({**FILL, "message": "Other"})
    for one in (first, second):
        lines.add(one)
        back = one.removeprefix("2026-11-22\n").split("\n")[0]
        assert lines.within(json.dumps({**BASE, "message": f"stderr: {back}"}, separators=(",", ":")).encode())
    assert not lines.within(json.dumps({**BASE, "message": "at 10:31:00.123"}, separators=(",", ":")).encode())
