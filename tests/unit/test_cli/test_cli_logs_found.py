"""What `metaexpert logs` says of what it finds: whose line it is, what stands around it, and what there is instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metaexpert.cli import output

Line = Callable[..., bytes]
Cli = Callable[..., tuple[int, str, str]]


def store(*lines: bytes, directory: str = "logs") -> None:
    """Write *lines* into the log of a directory."""
    Path(directory).mkdir(exist_ok=True)
    (Path(directory) / "expert.log").write_bytes(b"".join(lines))


def messages(text: str) -> list[str]:
    """Return the messages of lines of text."""
    return [one.split("] ")[-1].split("  ")[0].strip() for one in text.splitlines()]


@pytest.mark.parametrize(("limit", "errors", "others"), [("3", 3, 2), ("5", 5, 5), ("all", 8, 9), ("1", 1, 0)])
def test_lines_that_are_no_entries_do_not_count(cli: Cli, line: Line, limit: str, errors: int, others: int) -> None:
    """With a level, `-n` counts entries; other lines come besides, no more than there are entries asked for."""
    store(
        *(b"torn\n" * 2 * (n in (2, 5, 6)) + b"torn\n" * (n > 5) + line(n, f"e{n}", level="error") for n in range(1, 9))
    )
    _, out, err = cli("logs", "-n", limit, "-l", "error")
    assert out.count("[error]") == errors
    assert out.count("torn") == others
    assert (f"{others} line" in err) == bool(others)


def test_many_lines_that_are_no_entries_end_the_search(cli: Cli, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of another program is not read to its beginning for entries that it has not."""
    monkeypatch.setattr("metaexpert.logs.library._MOST_UNPARSED", 100)
    store(line(1), *(b"foreign %d\n" % number for number in range(500)))
    _, out, err = cli("logs", "-n", "2", "-l", "warning")
    assert out == "foreign 498\nforeign 499\n"
    assert "2 lines are no entries" in err


@pytest.mark.parametrize(
    "wanted",
    [("--expert", "emabot"), ("--symbol", "BTCUSDT"), ("-l", "critical"), ("--since", "2026-12-01"), ("-g", "zzz")],
)
def test_nothing_found_names_what_there_is(cli: Cli, line: Line, wanted: tuple[str, ...]) -> None:
    """Experts and symbols in their spelling, and the first and last time."""
    store(line(1, symbol="BTC/USDT", expert_name="EmaBot"), line(60, symbol="ETH/USDT", expert_name="Grid\x1b"))
    code, out, err = cli("logs", *wanted)
    assert (code, out) == (0, "")
    assert err == (
        "note: no entry in logs is what was asked for; there are experts EmaBot, Grid\\x1b; symbols BTC/USDT, "
        "ETH/USDT; from 2026-11-22 10:31:01 to 2026-11-22 10:32:00 UTC\n"
    )


def test_bounds_within_an_hour_that_comes_twice_are_in_order(cli: Cli, line: Line) -> None:
    """In Berlin 02:50 comes before the second 02:10, which `--until` means."""
    store(line(1).replace(b"2026-11-22T10:31:01", b"2026-10-25T00:55:00"))
    out = cli("logs", "--since", "2026-10-25 02:50", "--until", "2026-10-25 02:10", "--tz", "Europe/Berlin")[1]
    assert out.startswith("2026-10-25 02:55:00")


def test_nothing_found_tells_times_in_the_time_zone(cli: Cli, line: Line) -> None:
    """The first and last time are shown as they would be typed."""
    store(line(1))
    err = cli("logs", "-g", "zzz", "--tz", "Asia/Tokyo")[2]
    assert err.endswith("from 2026-11-22 19:31:01 to 2026-11-22 19:31:01 Asia/Tokyo\n")


def test_the_first_day_that_there_is_has_none_before_it(cli: Cli, line: Line) -> None:
    """A time that does not exist west of Greenwich is told in UTC."""
    store(line(1).replace(b"2026-11-22T10", b"0001-01-01T00"))
    assert "from 0001-01-01T00:31:01.000000Z" in cli("logs", "stats", "--tz", "America/New_York")[1]
    assert "from 0001-01-01T00:31:01" in cli("logs", "-g", "zzz", "--tz", "America/New_York")[2]


@pytest.mark.parametrize("more", [(), ("-l", "error"), ("-C", "2"), ("--format", "json")])
def test_none_of_the_entries_says_nothing_of_what_there_is(cli: Cli, line: Line, more: tuple[str, ...]) -> None:
    """`-n 0` asks for none of those that there are; that is no reason to say that there are none."""
    store(line(1, level="error"))
    assert cli("logs", "-n", "0", *more) == (0, "", "")


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "0" * 5000 + "2"])
@pytest.mark.parametrize(
    "words", [("-n",), ("-g", "m", "-C"), ("-A",), ("trades", "-n"), ("stats", "--top"), ("-n", "5", "-B")]
)
def test_a_number_may_be_of_any_size(cli: Cli, line: Line, words: tuple[str, ...], number: str) -> None:
    """Beyond what a machine counts to it means all."""
    fill = {"category": "trade", "side": "BUY", "size": 1, "price": 5, "symbol": "BTCUSDT"}
    store(line(1, "m filled", **fill), line(2, "m filled", **fill))
    code, out, err = cli("logs", *words, number)
    assert (code, err) == (0, "")
    assert "BTCUSDT" in out or "m filled" in out


@pytest.mark.parametrize(
    ("words", "fate"),
    [
        ((), "shown as found"), (("stats",), "left out"), (("report", "--json"), "left out"),
        (("query", "SELECT level FROM logs"), "left out"), (("export", "--parquet", "to"), "archived as found"),
        (("bundle", "--redacted", "-o", "b.tar.gz"), "packed as found"), (("why", "--grep", ""), "left out"),
    ],
)  # fmt: skip
def test_what_becomes_of_other_lines_is_told(cli: Cli, line: Line, words: tuple[str, ...], fate: str) -> None:
    """Only the command that shows them says so."""
    if words and words[0] in ("query", "export"):
        pytest.importorskip("duckdb")
    store(line(1), b"torn\n")
    assert f"note: 1 line is no entry and is {fate}\n" in cli("logs", *words)[2]
    store(line(1), b"torn\n", b"torn\n")
    (Path("b.tar.gz")).unlink(missing_ok=True)
    assert f"note: 2 lines are no entries and are {fate}\n" in cli("logs", *words)[2]


def test_many_names_are_counted(cli: Cli, line: Line) -> None:
    """Ten are told, and how many more there are."""
    store(*(line(number, expert_name=f"e{number:02}") for number in range(1, 14)))
    assert " and 3 more; from" in cli("logs", "-g", "nothing")[2]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--since", "2026-11-23", "--until", "2026-11-22"), "2026-11-23 00:00:00+00:00 is later than --until, 2026-1"),
        (("--since", "5m", "--until", "1h"), "is later than --until"),
        (("trades", "--since", "5m", "--until", "1h"), "is later than --until"),
        (("ordr", "x"), "there is no directory ordr; did you mean the command order?"),
        (("stat",), "there is no directory stat; did you mean the command stats?"),
        (("whi", "--json"), "did you mean the command why?"),
        (("order", "o", "runz"), "did you mean the command runs?"),
        (("-A", "x"), "--after: 'x' should be a number of entries"),
        (("-C", "-1"), "--context: '-1' should be a number of entries"),
        (("-B", "1", "-C", "x"), "--context: 'x' should be a number of entries"),
        (("-n", "²"), "--limit: '²' should be a number of entries, or all"),
        (("-B", "1", "--follow"), "--context go with neither --follow nor --reverse"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told(cli: Cli, line: Line, args: tuple[str, ...], text: str) -> None:
    """Times the wrong way round, misspelt commands, and context that makes no sense."""
    store(line(1))
    code, out, err = cli("logs", *args)
    assert (code, out) == (2, "")
    assert text in err


def test_fields_that_no_entry_has_are_told(cli: Cli, line: Line) -> None:
    """Only those, once each; a field that one of the entries has is known."""
    store(line(1, price=1), line(2))
    assert cli("logs", "--fields", "message,price")[2] == ""
    assert cli("logs", "--fields", "prcie,price,procid,x")[2] == (
        "note: no entry shown has a field 'prcie'\nnote: no entry shown has a field 'x'\n"
    )
    assert cli("logs", "--fields", "prcie", "--json")[2] == "note: no entry shown has a field 'prcie'\n"


def test_each_line_says_whose_it_is(cli: Cli, line: Line) -> None:
    """Of several experts, also where only the program has a name; of one, nothing is repeated."""
    store(line(1, "a", expert_name="Grid"), line(2, "b"))
    out = cli("logs")[1].splitlines()
    assert ["Grid" in out[0], "EmaBot" in out[1]] == [True, True]
    store(line(1, "a", expert_name="Grid"), line(2, "b", expert_name="Grid"))
    assert "Grid" not in cli("logs")[1]


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (("-A", "1"), "e3 m4 -- e9 m10"),
        (("-B", "2"), "m1 m2 e3 -- m7 m8 e9"),
        (("-C", "1"), "m2 e3 m4 -- m8 e9 m10"),
        (("-C", "9"), "m1 m2 e3 m4 m5 m6 m7 m8 e9 m10 m11 m12"),
        (("-A", "3", "-B", "2"), "m1 m2 e3 m4 m5 m6 m7 m8 e9 m10 m11 m12"),
        (("-B", "1", "-n", "1"), "m8 e9"),
        (("-A", "2", "-n", "1"), "e9 m10 m11"),
        (("-C", "0"), "e3 e9"),
    ],
)
@pytest.mark.parametrize("limit", [(), ("-n", "all")])
def test_entries_around_those_that_are_found(
    cli: Cli,
    line: Line,
    args: tuple[str, ...],
    shown: str,
    limit: tuple[str, ...],
) -> None:
    """As grep does it: before, after, both; stretches that touch are one, others are parted."""
    store(
        *(line(n, f"e{n}" if n in (3, 9) else f"m{n}", level="error" if n in (3, 9) else "info") for n in range(1, 13))
    )
    given = limit if "-n" not in args else ()
    assert messages(cli("logs", "-l", "error", *given, *args)[1]) == shown.split()


def test_context_as_json_has_no_marks(cli: Cli, line: Line) -> None:
    """Each line is an entry."""
    store(*(line(n, level="error" if n in (3, 9) else "info") for n in range(1, 13)))
    out = cli("logs", "-l", "error", "-C", "1", "--json")[1]
    assert [one[0] for one in out.splitlines()] == ["{"] * 6


def test_follow_waits_for_its_directory(cli: Cli, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and shows what comes; a file is no directory, however long one waits."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            store(line(1, "at last"), directory="later")
        if len(waits) > 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(output, "wait", wait)
    _, out, err = cli("logs", "--follow", "later")
    assert "at last" in out
    assert err.startswith("note: there is no directory later yet; waiting for it\n")
    Path("file").write_text("")
    assert cli("logs", "--follow", "file")[0] == 2
