"""What commands print on a terminal fits its width, with no number cut, whatever the names and texts."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from metaexpert.cli import output
from metaexpert.logger import MetaLogger
from metaexpert.logger.entry.console_text import cells
from tests.unit.test_cli.conftest import Cli

ORDER = "grid-1000PEPEUSDT-000123-7f3a9c1e-of-a-client"
BECAUSE = "the spread is narrow and the fast average has crossed the slow one from below for the second time today"
LOST = "The stream of market data was lost because the exchange closed the connection; connecting again in five seconds"
COMMANDS = [
    ["logs", "logs", "-n", "all", "--no-pager"],
    ["logs", "logs", "-n", "all", "--no-pager", "--expert", "EmaBot"],
    ["logs", "why", "logs"],
    ["logs", "why", "logs", "--order", ORDER],
    ["logs", "why", "logs", "--symbol", "1000PEPEUSDT", "--at", "now"],
    ["logs", "runs", "logs"],
    ["logs", "trades", "logs"],
    ["logs", "stats", "logs", "--field", "latency_ms"],
    ["logs", "order", ORDER, "logs"],
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A terminal over the logs of two experts with long and wide names, long texts, and fees in two currencies."""
    for name, symbol in (("EmaBot", "BTCUSDT"), ("均值回归策略OverSeveralVenuesAndPairs-1", "1000PEPEUSDT")):
        with MetaLogger(expert_name=name, symbol=symbol, log_dir=tmp_path / "logs", log_to_console=False) as logger:
            logger.info("Tick", latency_ms=1234.5678901, url="https://api.example.com/depth?" + "x" * 90)
            logger.error(LOST, attempt=3)
            with logger.decision("enter", because=BECAUSE, signal=0.734):
                order = {"order_id": ORDER, "side": "BUY"}
                logger.trade.info("Order submitted", **order, size=Decimal("0.125"), requested_price=64000)
                for number, currency in enumerate(("BNB", "USDT")):
                    fee = {"fee": Decimal("12345.00012345"), "fee_currency": currency, "trade_id": f"{name}-{number}"}
                    logger.trade.info("Order filled", **order, size=Decimal("0.0625"), price=64001, **fee)
                logger.trade.info("Position opened", **order, position_size=Decimal("0.125"), pnl=Decimal("-1234.5678"))
            try:
                raise ConnectionError("closed with code 1006, reason: " + "connection reset by peer, " * 5)
            except ConnectionError:
                logger.exception("Lost")
    monkeypatch.setattr(output, "to_terminal", lambda: True)
    return monkeypatch


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_lines_fit(cli: Cli, terminal: pytest.MonkeyPatch, words: list[str], width: int) -> None:
    """No line is wider than the terminal, and without colour nothing but text is printed."""
    terminal.setenv("COLUMNS", str(width))
    terminal.setenv("NO_COLOR", "1")
    found = cli(*words)
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert [line for line in lines if cells(line) > width] == []
    assert "\x1b" not in found.out + found.err
    assert "12345.00012345" in found.out or words[1] in ("stats", "why", "runs")
    assert not re.search(r"\d…|…\.?\d+[.,]", found.out), "a cut number"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_colour_says_nothing_alone(cli: Cli, terminal: pytest.MonkeyPatch, words: list[str]) -> None:
    """The text is the same with and without colours."""
    terminal.setenv("COLUMNS", "100")
    terminal.setenv("NO_COLOR", "1")
    plain = cli(*words).out
    terminal.delenv("NO_COLOR")
    terminal.setenv("FORCE_COLOR", "1")
    painted = cli(*words).out
    assert ("\x1b[" in painted) == (words[1] == "logs")
    without = re.sub(r"\x1b\[\d+m", "", painted)
    if "now" not in words:
        assert without == plain
