"""Which step of an order an entry tells, and whether something was bought or sold by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metaexpert.__main__ import main
from metaexpert.logs import open_logs
from metaexpert.logs.entry import parse
from metaexpert.logs.orders import order_life
from metaexpert.logs.trades import Ledger
from metaexpert.logs.vocabulary import (
    ACKNOWLEDGED,
    CANCELLED,
    FILLED,
    NOTE,
    PARTIALLY_FILLED,
    PLACED,
    POSITION,
    REJECTED,
    Facts,
)

Line = Callable[..., bytes]
#: Of an entry that would be an execution if its step were one.
BOUGHT: dict[str, Any] = {"order_id": "o", "side": "BUY", "size": 2, "price": 10, "symbol": "BTCUSDT"}


@pytest.mark.parametrize(
    ("message", "fields", "step", "executed"),
    [
        # The status counts more than a word of the message.
        ("Order rejected: position limit exceeded", {"status": "rejected"}, REJECTED, False),
        ("Order to close position submitted", {"status": "submitted"}, PLACED, False),
        ("Close position order accepted", {"status": "new"}, ACKNOWLEDGED, False),
        ("Position order filled", {"status": "filled"}, FILLED, True),
        # … unless it may be that of a position.
        ("Position opened", {"status": "open"}, POSITION, True),
        ("Position closed", {"status": "closed"}, POSITION, True),
        # Without one, an entry that names an order is about the order.
        ("Order rejected: position limit exceeded", {}, REJECTED, False),
        ("Reduce-only order for the position filled", {}, FILLED, True),
        ("Position opened by order o", {}, POSITION, True),
        # Only what changes a position is an execution.
        ("Position opened", {}, POSITION, True),
        ("Position reversed", {}, POSITION, True),
        ("Position limit exceeded", {}, POSITION, False),
        ("Position checked", {}, POSITION, False),
        ("Failed to open position", {}, POSITION, False),
        ("Position could not be opened", {}, POSITION, False),
        # A fill that also tells the position is a fill.
        ("Order filled", {"status": "filled", "trade_id": "t", "position_size": 1}, FILLED, True),
        ("Order partially filled", {"trade_id": "t", "position_size": 1}, PARTIALLY_FILLED, True),
        ("Filled", {"trade_id": "t", "position_size": 1}, FILLED, True),
        ("Position opened", {"trade_id": "t", "position_size": 1}, POSITION, False),
        ("Exposure", {"position_size": 1}, POSITION, False),
        # A request to cancel leaves the order as it is, and so does one that is refused.
        ("Cancel requested", {"status": "pending_cancel"}, NOTE, False),
        ("Cancel requested", {"status": "PendingCancel"}, NOTE, False),
        ("Cancel rejected", {"status": "rejected"}, NOTE, False),
        ("Amend request refused", {"status": "rejected"}, NOTE, False),
        ("Order rejected: cannot modify leverage", {"status": "rejected"}, REJECTED, False),
        ("Cancel request sent", {}, NOTE, False),
        ("Cancelling order", {}, NOTE, False),
        ("Failed to cancel order", {}, NOTE, False),
        ("Failed to cancel order", {"status": "error"}, NOTE, False),
        ("Order cancelled", {}, CANCELLED, False),
        ("Order canceled by the exchange", {}, CANCELLED, False),
        ("Cancel confirmed for order o", {}, CANCELLED, False),
        ("Order expired", {}, CANCELLED, False),
        # What has not happened, or not yet.
        ("Order not filled within 5 s, waiting", {}, NOTE, False),
        ("Order not yet filled", {}, NOTE, False),
        ("Order will be cancelled in 60 s unless filled", {}, NOTE, False),
        ("Waiting for order to be filled", {}, NOTE, False),
        ("Good-till-cancelled order placed", {}, PLACED, False),
        ("Fill or kill order placed", {}, PLACED, False),
        ("Immediate or cancel order submitted", {}, PLACED, False),
        ("Order would immediately match, rejected", {}, REJECTED, False),
        # Words of the exchanges.
        ("Update", {"status": "PartiallyFilled"}, PARTIALLY_FILLED, True),
        ("Update", {"status": "PartiallyFilledCanceled"}, CANCELLED, False),
        ("Update", {"status": "PreSubmitted"}, PLACED, False),
        ("Update", {"status": "ApiCancelled"}, CANCELLED, False),
        ("Update", {"status": "Untriggered"}, ACKNOWLEDGED, False),
    ],
)
def test_a_step(line: Line, message: str, fields: dict[str, Any], step: str, executed: bool) -> None:
    """By the status, otherwise by the words of the message."""
    entry = parse(line(1, message, category="trade", **{**BOUGHT, **fields}).rstrip(), "trades.log")
    assert entry is not None
    facts = Facts(entry)
    assert (facts.step, facts.is_execution) == (step, executed)


@pytest.fixture
def trades(tmp_path: Path, line: Line) -> Callable[..., Path]:
    """A function that writes a trade log of entries, each a message and its fields, and returns its directory."""

    def write(*entries: tuple[str, dict[str, Any]]) -> Path:
        directory = tmp_path / "logs"
        directory.mkdir()
        lines = [
            line(number, message, category="trade", **{"symbol": "BTCUSDT", "side": "BUY", "order_id": "o", **fields})
            for number, (message, fields) in enumerate(entries, 1)
        ]
        (directory / "trades.log").write_bytes(b"".join(lines))
        return directory

    return write


FILLS: dict[str, tuple[list[tuple[str, dict[str, Any]]], str, str]] = {
    "cumulative": (
        [
            ("Order partially filled", {"filled_size": 1, "price": 100, "status": "partially_filled"}),
            ("Order filled", {"filled_size": 3, "price": 100, "status": "filled"}),
        ],
        "3", "0",
    ),
    "told twice": (
        [("Order filled", {"size": 1, "price": 100, "fee": 1, "status": "filled"})] * 2,
        "1", "1",
    ),
    "the position that follows": (
        [
            ("Order filled", {"size": 10, "price": 100, "status": "filled"}),
            ("Position opened", {"size": 10, "price": 100}),
        ],
        "10", "0",
    ),
    "an order that expires": (
        [
            ("Order submitted", {"size": 5, "price": 101, "status": "submitted"}),
            ("Order expired", {"order_size": 5, "filled_size": 2, "avg_price": 100, "fee": 0.2, "status": "expired"}),
        ],
        "2", "0.2",
    ),
    "a cancel after fills": (
        [
            ("Order partially filled", {"trade_id": "t", "size": 1, "price": 100, "fee": 0.1, "filled_size": 1}),
            ("Order cancelled", {"filled_size": 1, "price": 100, "status": "cancelled"}),
        ],
        "1", "0.1",
    ),
    "ccxt's open and cancelled": (
        [
            ("Order", {"status": "open", "amount": 3, "filled": 0, "price": 100, "average": None}),
            ("Order", {"status": "open", "amount": 3, "filled": 1, "price": 101, "average": 100}),
            ("Order", {"status": "canceled", "amount": 3, "filled": 1, "price": 101, "average": 100}),
        ],
        "1", "0",
    ),
    "Binance's answer to a market order": (
        [("Order filled", {"status": "FILLED", "price": "0.0000", "executedQty": "10", "cummulativeQuoteQty": "1000"})],
        "10", "0",
    ),
    "Kraken's fees": (
        [("Order filled", {"status": "filled", "size": 1, "price": 100, "fees": [{"asset": "USDT", "qty": 0.5}]})],
        "1", "0.5",
    ),
    "one result for one trade": (
        [
            ("Order filled", {"trade_id": "t", "size": 1, "price": 100, "pnl": 6, "status": "filled"}),
            ("Position closed", {"trade_id": "t", "position_size": 0, "pnl": 6}),
        ],
        "1", "0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_order_and_trades_agree(name: str, trades: Callable[..., Path]) -> None:
    """What was bought, for how much and at which cost, is the same by both."""
    entries, size, fee = FILLS[name]
    logs, ledger = open_logs(trades(*entries)), Ledger()
    list(ledger.read(logs))
    totals, life = ledger.totals["EmaBot", "BTCUSDT"], order_life(logs, "o")
    assert (totals.bought, totals.fees or 0, totals.turnover) == (Decimal(size), Decimal(fee), Decimal(size) * 100)
    assert (life.filled, life.fees or 0, life.average_price) == (totals.bought, Decimal(fee), Decimal(100))
    pnl = Decimal(6) if name == "one result for one trade" else None
    assert (totals.logged_pnl, life.pnl) == (pnl, pnl)


def test_ids_that_begin_anew_are_other_trades(tmp_path: Path, line: Line) -> None:
    """A second backtest has the ids of the first. One that a restarted program only tells again is no other trade."""
    order = [
        ("Order submitted", {"size": 1, "price": 100, "status": "submitted"}),
        ("Order filled", {"trade_id": "trd-1", "size": 1, "price": 100, "status": "filled"}),
    ]
    lines = [
        line(number, message, at=10 * run + number, procid=f"{run}", category="trade",
             **{"symbol": "BTCUSDT", "side": "BUY", "order_id": "ord-1", **fields})
        for run in (1, 2, 3)
        for number, (message, fields) in enumerate(order if run < 3 else order[1:], 1)
    ]  # fmt: skip
    (tmp_path / "trades.log").write_bytes(b"".join(lines))
    ledger = Ledger()
    assert len(list(ledger.read(open_logs(tmp_path)))) == 2
    assert (ledger.totals["EmaBot", "BTCUSDT"].bought, ledger.duplicates) == (Decimal(2), 1)


@pytest.mark.parametrize("told", [False, True], ids=["computed", "told"])
def test_what_was_bought_before_the_earliest_time(
    told: bool, line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result since then is that of what was held, and another symbol that was not traded since is not listed."""
    fields: list[dict[str, Any]] = [
        {"side": "BUY", "price": 100, "symbol": "BTCUSDT"},
        {"side": "BUY", "price": 7, "symbol": "ETHUSDT"},
        {"side": "SELL", "price": 110, "symbol": "BTCUSDT", **({"pnl": 9, "position_size": 0} if told else {})},
    ]
    lines = [
        line(n, "Order filled", trade_id=f"t{n}", size=1, category="trade", **one) for n, one in enumerate(fields, 1)
    ]
    (tmp_path / "trades.log").write_bytes(b"".join(lines))
    assert main(["logs", "trades", "--json", "--since", "2026-11-22T10:31:03Z", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["trade_id"] for one in found["executions"]] == ["t3"]
    (totals,) = found["totals"]
    wanted = ("BTCUSDT", 1, "9" if told else "10", "0")
    assert (totals["symbol"], totals["executions"], totals["pnl"], totals["position"]) == wanted


def test_the_result_of_an_inverse_contract_is_not_made_up(tmp_path: Path, line: Line) -> None:
    """Its size is in another currency than its result, and by which factor, no entry tells."""
    sold = {"side": "SELL", "price": 55000}
    fields = {"symbol": "BTC/USD:BTC", "side": "BUY", "size": 100, "price": 50000, "category": "trade"}
    (tmp_path / "trades.log").write_bytes(
        line(1, "Order filled", **fields) + line(2, "Order filled", **{**fields, **sold})
    )
    ledger = Ledger()
    list(ledger.read(open_logs(tmp_path)))
    totals = ledger.totals["EmaBot", "BTC/USD:BTC"]
    assert (totals.position, totals.pnl, totals.has_result) == (Decimal(), Decimal(), False)
