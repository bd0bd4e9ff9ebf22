"""The panel of `metaexpert logs live` fits the screen: names are cut, numbers never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from metaexpert.cli.live import panel as panel_module
from metaexpert.cli.live.panel import panel
from metaexpert.logger.entry.console_text import cells, shortened
from metaexpert.logs.runs.ends import End
from metaexpert.logs.runs.present import ExpertState
from metaexpert.logs.vocabulary import Amounts

NOW = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)
STATE = ExpertState(
    name="EmaBot",
    directory=Path("logs"),
    end=End("running"),
    last=NOW,
    rate=12.0,
    dropped=0,
    positions=[],
    orders=0,
    errors=0,
    today=Amounts(),
)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still."""
    monkeypatch.setattr(panel_module, "_silence", lambda state: (NOW - state.last).total_seconds())


def amounts_of(found: Mapping[str, str]) -> Amounts:
    """Return sums of money by currency."""
    sums = Amounts()
    sums.add((currency, Decimal(amount)) for currency, amount in found.items())
    return sums


def lines_of(states: list[ExpertState], width: int) -> list[str]:
    """Return the lines of the panel."""
    return panel(states, read=True, width=width).plain.split("\n")


LONG = replace(
    STATE,
    name="MeanReversionOverSeveralVenues-BTCUSDT-1",
    dropped=1234,
    errors=56,
    today=amounts_of({"USDT": "-123456.78", "BTC": "0.00012345"}),
    positions=[("BTCUSDT", Decimal("0.12345")), ("ETHUSDT", Decimal(-12)), ("SOL-PERP", Decimal(345))],
    orders=3,
)


@pytest.mark.parametrize(
    ("width", "held"),
    [
        (84, "…"),
        (100, "3 positions, 3 orders"),
        (118, "0.12345 BTCUSDT, …, 3 orders"),
        (158, "0.12345 BTCUSDT, -12 ETHUSDT, 345 SOL-PERP, 3 orders"),
    ],
)
def test_numbers_are_whole(width: int, held: str) -> None:
    """However long the names are, no line is wider than the screen, and no number is cut."""
    for line in lines_of([LONG, replace(LONG, name=LONG.name[:-1] + "2")], width)[1:]:
        assert cells(line) <= width
        assert line.endswith(f" 1234      56  -123456.78 USDT + 0.00012345 BTC  {held}")


def test_results_of_many_currencies() -> None:
    """The currencies that fit are there with all of their digits, and "…" for the others."""
    sums = {"USDT": "-123456.78", "BTC": "0.00012345", "ETH": "1.2345", "USDC": "-77.5"}
    line, other = lines_of([replace(LONG, today=amounts_of(sums)), STATE], 78)[1:]
    assert cells(line) <= 78
    assert line.endswith("  -123456.78 USDT + …  …")
    assert other.endswith("12")


def test_a_name_keeps_its_end() -> None:
    """Two names that differ at their ends differ on a narrow screen too."""
    first, second = lines_of([LONG, replace(LONG, name=LONG.name[:-1] + "2")], 78)[1:]
    assert first.split()[0].endswith("-1")
    assert second.split()[0].endswith("-2")
    assert "…" in first.split()[0]


def test_empty_columns_go_before_names_are_cut() -> None:
    """A screen that is too narrow does without columns in which nothing stands."""
    name = "MeanReversionOverSeveralVenues-BTCUSDT-1"
    states = [replace(STATE, name=name, today=amounts_of({"USDT": "-1.25"}))]
    headers, line = lines_of(states, 78)
    assert headers.split() == ["expert", "state", "last", "/s", "today"]
    assert line.startswith(f"{name}  ● alive")
    assert line.endswith("-1.25 USDT")
    assert lines_of(states, 158)[0].split()[4:6] == ["drops", "errors"]


def test_many_experts() -> None:
    """Of more experts than the panel has lines for, those that need a look are listed, and the others counted."""
    living = [replace(STATE, name=f"Bot{number}") for number in range(10)]
    silent = replace(STATE, name="Slow", last=STATE.last - timedelta(minutes=5))
    ended = replace(STATE, name="Done", end=End("closed"))
    lines = lines_of([*living, ended, silent, replace(STATE, name="Dead", end=End("crashed"))], 78)
    assert [line.split()[0] for line in lines[1:-1]] == ["Dead", "Slow", "Bot0", "Bot1", "Bot2", "Bot3", "Bot4"]
    assert lines[-1] == "… and 6 more: 5 alive, 1 closed"
    assert len(lines_of([*living[:8]], 78)) == 9


def test_wide_characters_count_twice() -> None:
    """A name in wide characters is cut at columns, and the columns stay aligned."""
    wide = replace(LONG, name="均值回归策略多交易所比特币永续合约一号" * 2)
    lines = lines_of([wide, replace(STATE, errors=7)], 78)
    assert all(cells(line) <= 78 for line in lines)
    ends = {
        cells(line[: line.index(number) + len(number)]) for line, number in zip(lines[1:], ("56", "7"), strict=True)
    }
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("text", "room", "told"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…fg"), ("比特币永续", 6, "比…续"), ("abc", 1, "a…")],
)
def test_shortened(text: str, room: int, told: str) -> None:
    """A text loses its middle where it has too little room."""
    assert shortened(text, room) == told
