"""Orders are followed through their names, in the shapes of the usual exchanges, and foreign orders are not joined."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logs import Entry, open_logs
from metaexpert.logs.orders import OrderLife, order_life
from metaexpert.logs.runs.names import orders_in
from metaexpert.logs.vocabulary import currency_of

Line = Callable[..., bytes]
ID = "8389765929445198309"


def lives(tmp_path: Path, line: Line, entries: list[dict[str, Any]], asked: str) -> tuple[list[int], OrderLife]:
    """Return the numbers of the entries that are found for *asked*, by the command and by the filter together."""
    lines = [line(number, fields.pop("message", "m"), **fields) for number, fields in enumerate(entries, 1)]
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    life = order_life(open_logs(tmp_path), asked)
    return [step.entry.sequence_id for step in life.steps], life


#: One order in the shapes in which programs log it.
SHAPES: list[dict[str, Any]] = [
    {"order_id": ID},
    {"orderId": int(ID)},
    {"order": {"id": ID, "clientOrderId": None, "symbol": "BTC/USDT", "side": "buy", "amount": 1, "status": "open"}},
    {"id": ID, "clientOrderId": "c-1", "side": "buy", "status": "open"},
    {"response": {"info": {"orderId": ID}}},
    {"result": {"orderId": ID, "orderLinkId": "c-1"}},
    {"data": [{"ordId": ID, "clOrdId": "c-1", "sCode": "0"}]},
    {"response": {"data": {"statuses": [{"resting": {"oid": int(ID), "cloid": "0xc1"}}]}}},
    {"result": {"txid": [ID], "descr": {"order": "buy 1 XBTUSD @ limit 5"}}},
    {"ticket": int(ID)},
    {"result": {"retcode": 10009, "order": int(ID), "deal": 0}},
    {"permId": int(ID), "orderId": 7},
    {"trade": {"id": "t-9", "order": ID, "side": "buy", "takerOrMaker": "maker", "price": 1, "amount": 1}},
    {"e": "ORDER_TRADE_UPDATE", "o": {"s": "BTCUSDT", "c": "c-1", "S": "BUY", "X": "NEW", "x": "NEW", "i": int(ID)}},
    {"open_orders": [{"id": "1", "side": "buy", "status": "open"}, {"id": ID, "side": "sell", "status": "open"}]},
]


def test_one_order_in_all_its_shapes(tmp_path: Path, line: Line) -> None:
    """Each is found by the exchange's id, which stays exact; those with the client's bring it along."""
    entries = [dict(shape) for shape in SHAPES]
    found, life = lives(tmp_path, line, entries, ID)
    assert found == list(range(1, len(SHAPES) + 1))
    assert {"c-1", "0xc1"} <= life.ids
    assert "1" not in life.ids  # another one of the same list
    shown = [record for record in open_logs(tmp_path, order=ID) if isinstance(record, Entry)]
    assert len(shown) == len(SHAPES)
    assert [step.entry.sequence_id for step in order_life(open_logs(tmp_path), "c-1").steps] == found


@pytest.mark.parametrize(
    ("entries", "asked", "found"),
    [
        ([{"client_order_id": "a"}, {"clOrdId": "a", "ordId": "900001"}, {"ordId": "900001"}], "a", [1, 2, 3]),
        ([{"client_order_id": "a"}, {"clOrdId": "a", "ordId": "900001"}, {"ordId": "900001"}], "900001", [1, 2, 3]),
        ([{"orderLinkId": "a", "response": {"orderId": "u-1"}}, {"orderId": "u-1"}], "a", [1, 2]),
        ([{"origClientOrderId": "a", "clientOrderId": "b"}, {"orderId": "9", "clientOrderId": "b"}], "a", [1, 2]),
        ([{"order_id": 2**80}, {"order_id": str(2**80)}, {"order_id": 2**80 + 1}], str(2**80), [1, 2]),
    ],
    ids=["client first", "exchange first", "answer", "replaced", "long"],
)
def test_names_lead_to_names(
    tmp_path: Path, line: Line, entries: list[dict[str, Any]], asked: str, found: list[int]
) -> None:
    """An entry with two names of an order joins the entries that have only one of them."""
    assert lives(tmp_path, line, entries, asked)[0] == found


@pytest.mark.parametrize(
    "foreign",
    [
        {"id": "a"},  # of anything
        {"market": {"id": "a", "symbol": "BTC/USDT", "base": "BTC", "side": None, "status": 1}},
        {"position": {"id": "a", "side": "long", "contracts": 1, "entryPrice": 5, "size": 1}},
        {"order": "a"},
        {"ticket": "a"},
        {"orderbook": {"id": "a"}},
        {"trade": {"id": "a", "order": "b", "side": "buy", "takerOrMaker": "taker", "amount": 1}},
    ],
)
def test_what_is_no_orders_name(tmp_path: Path, line: Line, foreign: dict[str, Any]) -> None:
    """An id of something else is not taken for an order's."""
    assert lives(tmp_path, line, [{"order_id": "a"}, foreign], "a")[0] == [1]


@pytest.mark.parametrize(
    ("entries", "asked"),
    [
        ([{"order_id": "a", "order": 3}, {"order_id": "b", "order": 3}, {"message": "fit", "order": 3}], "a"),
        ([{"order": 7000001, "deal": 7000002}, {"order": 7000002, "deal": 7000003}], "7000001"),
        ([{"permId": 1234567, "orderId": 5}, {"permId": 7654321, "orderId": 5}], "1234567"),
        ([{"client_order_id": "a", "order_id": 5}, {"order_id": 5, "expert_name": "other"}], "a"),
        ([{"orderId": "u-1"}, {"orders": [{"orderId": "u-2"}, {"orderId": "u-3"}]}], "u-1"),
        ([{"orderId": "u-1"}, {"txid": ["u-2", "u-3"]}], "u-1"),
    ],
    ids=["order=3", "deal and order", "permId", "another program", "list", "several txid"],
)
def test_foreign_orders_are_not_joined(tmp_path: Path, line: Line, entries: list[dict[str, Any]], asked: str) -> None:
    """Small numbers and executions are shared by many orders."""
    assert lives(tmp_path, line, entries, asked)[0] == [1]


def test_two_orders_in_one_entry_stay_two() -> None:
    """The items of a list, and orders under names of their own, are not one order."""
    listed = orders_in({"result": {"list": [{"orderId": "a", "orderLinkId": "x"}, {"orderId": "b"}]}})
    assert [sorted(order.texts) for order in listed] == [["a", "x"], ["b"]]
    placed = orders_in({"order_id": "a", "stop": {"order_id": "b"}})
    assert [sorted(order.texts) for order in placed] == [["a"], ["b"]]
    assert orders_in({"deep": [[{"order": {}}]], "order": {"id": True}, "order_id": 0}) == []


ORDER = {"order_id": "o-1", "symbol": "BTCUSDT", "side": "buy", "category": "trade"}
FILL = {**ORDER, "message": "Order filled", "status": "filled", "size": 1, "price": 10, "trade_id": "t"}


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([FILL, {"message": "Order request failed", "level": "error"}], "filled"),
        ([FILL, {"message": "Order rejected", "status": "rejected"}], "filled"),
        ([{**FILL, "order_size": 1}, {"message": "Order cancelled", "status": "cancelled"}], "filled"),
        ([FILL, {"message": "late", "status": "open"}], "filled"),
        ([{"message": "Order accepted"}, {"message": "Cancel request failed", "level": "error"}], "acknowledged"),
        ([{"message": "Order accepted"}, {"message": "Order request failed", "level": "error"}], "acknowledged"),
        ([{"message": "Order submitted"}, {"message": "Order amend rejected"}], "placed"),
        ([{**FILL, "status": "partially_filled", "order_size": 5}, {"message": "Order failed"}], "partially filled"),
        ([{"message": "Order submitted"}, {"message": "Order request failed", "level": "error"}], "rejected"),
        ([{"message": "Order accepted"}, {"message": "m", "status": "rejected"}], "rejected"),
        ([{"message": "Order accepted"}, {"message": "Order cancelled"}], "cancelled"),
    ],
)
def test_a_later_entry_does_not_undo_what_happened(
    tmp_path: Path, line: Line, entries: list[dict[str, Any]], status: str
) -> None:
    """An error with the order's id, or a late report, is told but does not change where the order stands."""
    found, life = lives(tmp_path, line, [{**ORDER, **entry} for entry in entries], "o-1")
    assert (found, life.status) == ([1, 2], status)


@pytest.mark.parametrize(
    "fees",
    [
        [{"fee": "53.136890", "fee_currency": "USDT"}, {"fee": "0.00211", "fee_currency": "BNB"}],
        [{"fee": {"cost": 53.13689, "currency": "USDT"}}, {"fee": {"cost": "0.00211", "currency": "BNB"}}],
        [{"commission": "53.13689", "commissionAsset": "USDT"}, {"commission": "0.00211", "commissionAsset": "bnb"}],
        [{"fees": [{"cost": 53.13689, "currency": "USDT"}, {"cost": "0.00211", "currency": "BNB"}]}, {}],
        [{"fee": "53.13689", "feeCcy": "USDT"}, {"fees": {"BNB": "0.00211"}}],
        [{"fee": "3.13689"}, {"fees": [{"cost": 50, "currency": "USDT"}, {"cost": "0.00211", "currency": "BNB"}]}],
    ],
)
def test_fees_have_one_figure_for_each_currency(tmp_path: Path, line: Line, fees: list[dict[str, Any]]) -> None:
    """In an order and in the totals; a fee without a currency is in the quote currency. No result after such fees."""
    from metaexpert.logs.trades import Ledger

    fills = [{**FILL, "trade_id": f"t-{number}", **fee} for number, fee in enumerate(fees)]
    _, life = lives(tmp_path, line, fills, "o-1")
    wanted = {"USDT": Decimal("53.13689"), "BNB": Decimal("0.00211")}
    assert (life.costs, life.fees) == (wanted, None)
    ledger = Ledger()
    list(ledger.read(open_logs(tmp_path)))
    (totals,) = ledger.totals.values()
    assert (totals.costs, totals.net) == (wanted, None)
    assert totals.as_dict()["fees_by_currency"] == {"USDT": "53.13689", "BNB": "0.00211"}


@pytest.mark.parametrize(
    ("symbol", "currency"),
    [("BTC/USDT", "USDT"), ("BTC/USDT:USDT", "USDT"), ("BTC/USD:BTC-250628", "BTC"), ("BTC-USDT-SWAP", "USDT"),
     ("SOL-PERP", ""), ("BTC_USDC", "USDC"), ("ethbtc", "BTC"), ("EURUSD", "USD"), ("XBT", ""), ("USDT", ""), ("", "")],
)  # fmt: skip
def test_the_currency_of_a_result(symbol: str, currency: str) -> None:
    """It is the settlement or quote currency of the symbol."""
    assert currency_of(symbol) == currency
