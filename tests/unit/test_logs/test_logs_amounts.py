"""Amounts as text: exact, whatever their size, for machines; short for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from metaexpert.__main__ import main
from metaexpert.logs.vocabulary import money, plain


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("70000.50", "70000.5"),
        ("-0.000", "0"),
        ("1E+20", "100000000000000000000"),
        ("20000000000000000", "20000000000000000"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("1e-18", "0.000000000000000001"),
        ("0.0000000000001234", "0.0000000000001234"),
    ],
)
def test_an_amount_is_exact(number: str, text: str) -> None:
    """To 18 places, as the archive has it."""
    assert plain(Decimal(number)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal(280) / 3, "93.333333333333"),
        (Decimal(1) / 3, "0.333333333333"),
        (Decimal(2) / 3 / 10**13, "0.0000000000000666666666667"),
        (Decimal(2 * 10**25) / 3, "6666666666666666666666666.667"),
    ],
)
def test_a_quotient_is_rounded(number: Decimal, text: str) -> None:
    """To 12 places; a small one to as many digits."""
    assert plain(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("70000.123456789", "70000.12345679"),
        ("0.00001234", "0.00001234"),
        ("0.0000000000001234", "0.0000000000001234"),
        ("20000000000000000.5", "20000000000000000.5"),
        ("0", "0"),
    ],
)
def test_for_people(number: str, text: str) -> None:
    """Eight places, or a few digits of a smaller one."""
    assert money(Decimal(number)) == text


@pytest.mark.parametrize("command", ["trades", "runs", "why", "order o", "report --json", "report -o r.html", "stats"])
def test_huge_sizes_and_tiny_prices(command: str, line: Callable[..., bytes], tmp_path: Path) -> None:
    """Coins that cost a billionth are held by the quadrillion."""
    fields = {"symbol": "PEPEUSDT", "order_id": "o", "side": "BUY", "status": "filled", "category": "trade"}
    logs = tmp_path / "logs"
    logs.mkdir()
    told = line(1, "Order filled", trade_id="t", size="20000000000000000", price="0.00000001", **fields)
    (logs / "trades.log").write_bytes(told)
    words = command.split()
    assert main(["logs", words[0], *words[1:], str(logs)] if words[0] != "order" else ["logs", *words, str(logs)]) == 0


def test_an_order_has_exact_amounts(
    line: Callable[..., bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing becomes zero."""
    fields = {"symbol": "SHIB/ETH", "order_id": "o", "side": "BUY", "status": "filled", "category": "trade"}
    (tmp_path / "trades.log").write_bytes(line(1, "Order filled", size="1e-18", price="0.0000000000001234", **fields))
    assert main(["logs", "order", "o", "--json", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["filled"], found["average_price"]) == ("0.000000000000000001", "0.0000000000001234")
