"""The guide to backtests: its code runs as it stands, and what it says of fields and messages is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.trading import BarError, load_bars
from metaexpert.trading.events import Events
from metaexpert.trading.session import BARS_PER_FLUSH

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "guides" / "backtest.md").read_text("utf-8")


@pytest.fixture
def examples(tmp_path: Path) -> None:
    """The examples beside the working directory, as a reader of the guide has them."""
    target = tmp_path / "examples" / "data" / "eurusd_1h.csv"
    target.parent.mkdir(parents=True)
    target.write_bytes((ROOT / "examples" / "data" / "eurusd_1h.csv").read_bytes())


@pytest.mark.usefixtures("examples")
def test_the_code_runs_and_its_log_has_the_fields_of_the_table(
    tmp_path: Path, read_log: Callable[..., list[dict[str, Any]]]
) -> None:
    """Every code block works, and the table names every field of the entries that it describes."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "backtest.md", "exec"), {"__name__": "guide", "__file__": str(tmp_path / "guide.py")})
    table = GUIDE[GUIDE.index("| field |") :]
    trades = read_log(tmp_path / "logs" / "trades.log", "flat")
    header = set(read_log(tmp_path / "logs" / "expert.log", "flat")[0]) | {"category", "bar_time"}
    fields = {name for entry in trades for name in entry} - header
    assert len(fields) > 10
    assert [name for name in fields if f"`{name}`" not in table] == []


def test_the_message_of_a_wrong_row_is_the_one_shown(tmp_path: Path) -> None:
    """The example of an error is what the reader prints."""
    Path("bars.csv").write_text(
        "timestamp,open,high,low,close,volume\n2024-01-01,1,1,1,1,1\n2024-01-02,1,1,1,x,1\n", "utf-8"
    )
    with pytest.raises(BarError) as caught:
        load_bars("bars.csv")
    assert str(caught.value) in GUIDE


def test_the_events_and_the_numbers_are_those_of_the_code() -> None:
    """The table of events names each one with its arguments."""
    for event in vars(Events()).values():
        assert f"| `{event.name}` | `({', '.join(event.parameters)})` |" in GUIDE
    assert f"every {BARS_PER_FLUSH} bars" in GUIDE
