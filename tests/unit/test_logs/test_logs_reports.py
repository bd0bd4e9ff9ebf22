"""The life of an order, trades, statistics, and whether files are sound."""

import gzip
import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import to_layout
from metaexpert.logs import open_logs
from metaexpert.logs._distribution import Distribution
from metaexpert.logs._gaps import NumberRanges, SeenNumbers
from metaexpert.logs.entry import parse
from metaexpert.logs.orders import order_life
from metaexpert.logs.runs.names import folded_name
from metaexpert.logs.stats import collect_stats, fingerprint
from metaexpert.logs.trades import Ledger
from metaexpert.logs.verify import schema_problem, verify
from metaexpert.logs.vocabulary import FIELDS, Facts, counted, plain

Line = Callable[..., bytes]


def write(path: Path, *lines: bytes) -> None:
    path.write_bytes(b"".join(lines))


def exact(*values: Any) -> tuple[Any, ...]:
    """Decimals and whole numbers, which are equal where they mean the same."""
    return values


ORDER = {"order_id": "ord-1", "side": "BUY", "symbol": "BTCUSDT", "category": "trade"}


def test_the_life_of_an_order(tmp_path: Path, line: Line) -> None:
    """Steps in order with the time between them, what was filled at which price, slippage, fees and result."""
    fill = {**ORDER, "order_size": 3, "requested_price": "100.0"}
    write(
        tmp_path / "expert.log",
        line(1, "Order submitted", at=0, size=3, requested_price="100.0", status="submitted", **ORDER),
        line(2, "Order accepted", at=0.5, size=3, status="accepted", **ORDER),
        line(4, "Order partially filled", at=1, trade_id="t1", size=1, price="100", fee="0.1", **fill),
        line(5, "Order filled", at=3, trade_id="t2", size=2, price="101.5", fee="0.2", status="filled", **fill),
        line(6, "Position closed", at=3, trade_id="t2", order_id="ord-1", position_size=0, pnl="-7.5",
             expert_name="rsi"),
        line(7, "Order submitted", order_id="ord-11", status="submitted"),
    )  # fmt: skip
    write(tmp_path / "trades.log", line(3, "book", level="debug", at=0.75, **ORDER))
    life = order_life(open_logs(tmp_path), "ord-1")
    assert [step.step for step in life.steps] == [
        "placed", "acknowledged", "note", "partially filled", "filled", "position",
    ]  # fmt: skip
    assert [step.after for step in life.steps] == [None, 0.5, 0.25, 0.25, 2.0, 0.0]
    assert exact(life.filled, life.average_price, life.fees, life.pnl) == (3, 101, Decimal("0.3"), Decimal("-7.5"))
    assert exact(life.slippage, life.slippage_bps, life.status) == (3, 100, "filled")
    assert life.experts == ["EmaBot", "rsi"]
    assert life.as_dict()["steps"][3]["price"] == "100"
    assert order_life(open_logs(tmp_path), "ord-2").steps == []


def test_what_was_logged_twice_counts_once(tmp_path: Path, line: Line) -> None:
    """An execution with the id of an earlier one, or a step told again, is flagged and left out of the sums."""
    fill = {**ORDER, "size": 1, "price": 10, "fee": 1}
    write(
        tmp_path / "expert.log",
        line(1, "Order placed", **ORDER),
        line(2, "Order placed", **ORDER),
        line(3, "Order filled", trade_id="t1", **fill),
        line(4, "Order filled", trade_id="t1", **fill),
        line(5, "Order cancelled", **ORDER),
    )
    life = order_life(open_logs(tmp_path), "ord-1")
    assert [step.duplicate for step in life.steps] == [False, True, False, True, False]
    assert exact(life.filled, life.fees, life.duplicates, life.status) == (1, 1, 2, "cancelled")


def test_cumulative_fills_and_other_names(tmp_path: Path, line: Line) -> None:
    """Exchange-like names are understood, and a filled size that grows is one of increments."""
    names = {"client_order_id": "c-1", "symbol": "ETHUSDT", "direction": "sell"}
    write(
        tmp_path / "expert.log",
        line(1, "sending order", qty=4, limit_price=50, **names),
        line(2, "order update", status="NEW", orderId=77, **names),
        line(3, "order update", status="PARTIALLY_FILLED", orderId=77, executed_qty=1, avg_price=49, commission=1),
        line(4, "order update", status="PARTIALLY_FILLED", orderId=77, executed_qty=1, avg_price=49, commission=1),
        line(5, "order update", status="FILLED", orderId=77, executed_qty=4, avg_price=51, commission=2),
    )
    for asked in ("c-1", "77"):
        life = order_life(open_logs(tmp_path), asked)
        assert life.ids == {"c-1", "77"}
        assert exact(life.filled, life.spent, life.fees, life.requested) == (4, 49 + 3 * 51, 3, 50)
        assert life.slippage == 200 - 202
        assert [step.duplicate for step in life.steps] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("message", "fields", "step"),
    [
        ("Order rejected by exchange", {}, "rejected"),
        ("order failed", {"order_id": "1"}, "rejected"),
        ("Order cancelled", {}, "cancelled"),
        ("Order expired", {}, "cancelled"),
        ("filled", {"trade_id": "t", "price": 1, "size": 1}, "filled"),
        ("trade", {"trade_id": "t", "price": 1, "size": 1}, "filled"),
        ("Position opened", {}, "position"),
        ("whatever", {"status": "Partially Filled"}, "partially filled"),
        ("Order filled", {"status": "accepted"}, "acknowledged"),
        ("Expert started", {}, "note"),
        ("disk filled", {}, "note"),
    ],
)
def test_steps_are_told_by_status_or_words(line: Line, message: str, fields: dict[str, Any], step: str) -> None:
    """The status decides, else the words of a message about an order."""
    entry = parse(line(1, message, **fields), "x.log")
    assert entry is not None
    assert Facts(entry).step == step


def test_trades_and_their_totals(tmp_path: Path, line: Line) -> None:
    """Executions are listed and summed per expert and symbol; what is realised is told, or computed at average cost."""
    trade: dict[str, Any] = {"category": "trade", "symbol": "BTC", "expert_name": "ema"}
    write(
        tmp_path / "expert.log",
        line(1, "Position opened", side="BUY", size=2, price=100, order_id="a", fee=1, **trade),
        line(2, "Order filled", side="SELL", size=3, price=110, trade_id="t1", fee=1, **trade),
        line(3, "Order filled", side="SELL", size=3, price=110, trade_id="t1", fee=1, **trade),
        line(4, "Order filled", side="BUY", size=1, price=5, pnl=4, **{**trade, "symbol": "ETH"}),
        line(
            5, "Position reduced", side="LONG", position_size="0.5", entry_price=7, pnl=3, **{**trade, "symbol": "ETH"}
        ),
        line(6, "Order filled", side="BUY", size=9, price=9, expert_name="ema"),
        line(7, "Position closed", side="SHORT", size=1, price=90, **trade),
    )
    ledger = Ledger()
    assert [exact(one.side, one.size) for one in ledger.read(open_logs(tmp_path))] == [(1, 2), (-1, 3), (1, 1), (1, 1)]
    btc, eth = ledger.totals["ema", "BTC"], ledger.totals["ema", "ETH"]
    assert exact(btc.pnl, btc.net, btc.position, btc.turnover) == (40, 38, 0, 200 + 330 + 90)
    assert exact(eth.pnl, eth.position, eth.entry_price) == (7, Decimal("0.5"), 7)
    assert ledger.duplicates == 1
    assert btc.as_dict()["pnl_from"] == "average cost"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(1, 9)), max_size=12))
def test_average_cost_keeps_the_books(trades: list[tuple[int, int]]) -> None:
    """Realised and unrealised results together are the cash that flowed and the value of what is held."""
    from metaexpert.logs.trades import Totals

    totals = Totals()
    for size, price in trades:
        totals._hold(Decimal(size), Decimal(price))
    cash = -sum(Decimal(size * price) for size, price in trades)
    held = sum(size for size, _ in trades)
    assert totals._held == held
    assert abs(totals._computed - totals._cost - cash) < Decimal("1e-15")


def test_statistics_equal_a_plain_count(tmp_path: Path, line: Line) -> None:
    """Levels, experts, minutes, messages and errors are those of a plain loop, copies in other files left out."""
    rng = random.Random(7)
    lines, trades, errors = [], [], []
    for number in range(1, 3000):
        level = rng.choice(["debug", "info", "info", "warning", "error"])
        more: dict[str, Any] = {"category": "trade"} if rng.random() < 0.2 else {}
        if level == "error":
            more["exception"] = {"type": "TimeoutError", "value": "x"}
        text = line(
            number, f'order {number} {rng.choice("ab")} "q"', level=level, at=number / 7, latency_ms=number, **more
        )
        lines.append(text)
        trades += [text] if "category" in more else []
        errors += [text] if level == "error" else []
    write(tmp_path / "expert.log", *lines[1500:])
    (tmp_path / "expert.log.1.gz").write_bytes(gzip.compress(b"".join(lines[:1500])))
    write(tmp_path / "trades.log", *trades)
    write(tmp_path / "errors.log", *errors)
    for fields in ([], ["latency_ms"]):  # by columns, and entry by entry
        stats = collect_stats(open_logs(tmp_path), fields)
        plain_levels = [json.loads(text)["level"] for text in lines]
        assert stats.entries == len(lines)
        assert dict(stats.levels) == {level: plain_levels.count(level) for level in set(plain_levels)}
        assert {error[:23] for error in stats.errors} == {"TimeoutError: order # a", "TimeoutError: order # b"}
        assert sum(stats.errors.values()) == len(errors)
        assert sum(stats.messages.values()) == len(lines) - len(errors)
        assert sum(stats.minutes.values()) == len(lines)
        assert (stats.first, stats.gaps) == ("2026-11-22T10:31:00.142857Z", [])
    assert stats.fields["latency_ms"].as_dict()["p50"] == 1500


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "day", "0 days"), (1, "day", "1 day"), (2, "day", "2 days"), (2, "entry", "2 entries"),
     (2, "journey", "2 journeys"), (3, "sealed line", "3 sealed lines")],
)  # fmt: skip
def test_a_count_has_its_plural(count: int, noun: str, text: str) -> None:
    """A y behind a vowel stays."""
    assert counted(count, noun) == text


def test_gaps_and_restarts(tmp_path: Path, line: Line) -> None:
    """Missing numbers are gaps, numbers that begin again are not, nor what older files than expert.log would hold."""
    trade = {"category": "trade", "msgid": "trade"}
    kept = [line(n, level="error", at=n, **trade) for n in (1, 5, 9)]
    write(tmp_path / "trades.log", *kept)
    write(
        tmp_path / "expert.log",
        *(line(n, at=n) for n in (10, 11, 14, 15)),
        *(line(n, at=100 + n) for n in (1, 2, 11, 12)),
        line(1, at=50, procid="7"),
    )
    gaps = [(gap["procid"], gap["from"], gap["to"]) for gap in collect_stats(open_logs(tmp_path)).gaps or []]
    assert gaps == [("42", 12, 13), ("42", 3, 10)]
    assert collect_stats(open_logs(tmp_path, level="error")).gaps is None


@given(st.permutations(list(range(1, 30))), st.sets(st.integers(1, 29)))
def test_ranges_hold_any_order(numbers: list[int], missing: set[int]) -> None:
    """Numbers in any order leave just the gaps that they have."""
    runs = SeenNumbers()
    present = [n for n in numbers if n not in missing]
    for number in present:
        runs.add(number, ordinary=True)
    gaps = {n for low, high in runs.gaps() for n in range(low, high + 1)}
    assert gaps == {n for n in missing if present and min(present) < n < max(present)}


def test_percentiles() -> None:
    """Percentiles are exact for some values, and within half a percent for very many."""
    few, many = Distribution(), Distribution()
    for number in range(1, 101):
        few.add(number)
    assert (few.percentile(0.5), few.percentile(0.99), few.as_dict()["max"]) == (50, 99, 100)
    for number in range(1, 150_001):
        many.add(number + 0.5)
    assert abs(many.percentile(0.9) / 135_000 - 1) < 0.006
    assert Distribution().as_dict() == {"count": 0}


def test_fingerprints() -> None:
    """Messages that differ in numbers, ids and quoted parts are one."""
    assert fingerprint("order 12 at 3.5 for 'BTC'") == fingerprint("order 7 at 88 for 'ETH'")
    assert fingerprint("order lost") != fingerprint("order found")


def test_sound_files_are_sound(tmp_path: Path, line: Line) -> None:
    """Files of the logger, copies in the other files included, have no problems."""
    trade = line(2, category="trade")
    write(tmp_path / "expert.log.1", line(1), trade)
    write(tmp_path / "expert.log", line(3), line(4))
    write(tmp_path / "trades.log", trade)
    report = verify(open_logs(tmp_path))
    assert report.ok
    assert (report.files, report.lines, report.entries) == (3, 5, 4)


def test_problems_are_told_with_file_and_line(tmp_path: Path, line: Line) -> None:
    """Each kind of problem is found where it is."""
    wrong = line(5).replace(b'"severity":6', b'"severity":3')
    write(tmp_path / "expert.log", line(1), b"torn\n", line(3), line(3), wrong, line(6)[:-1])
    (tmp_path / "bad.log.1.gz").write_bytes(b"no gzip")
    report = verify(open_logs(tmp_path))
    found = [(p.kind, p.file.rpartition("/")[2], p.line) for p in report.problems]
    assert found == [
        ("torn", "expert.log", 2),
        ("duplicate", "expert.log", 4),
        ("schema", "expert.log", 5),
        ("torn", "expert.log", 6),
        ("unreadable", "bad.log.1.gz", 0),
        ("gap", tmp_path.name, 0),
        ("gap", tmp_path.name, 0),
    ]
    assert [p.text for p in report.problems if p.kind == "schema"] == ["severity is '3'"]
    assert report.counts["gap"] == 2
    far = [line(n, at=n / 1000) for n in (*range(1, 20_002), 2)]
    write(tmp_path / "expert.log", *far)
    assert verify(open_logs(tmp_path)).counts["duplicate"] == 1


_CHANGES = st.dictionaries(
    st.sampled_from([*schema.HEADER_KEYS, "logger", "stack", "exception", "structured_data", "x"]),
    st.none() | st.booleans() | st.integers(-2, 30) | st.sampled_from(["", "info", "a b", "é", "x" * 50])
    | st.just({"type": "E", "value": ""}) | st.just({"type": "E"}) | st.just({"meta": {"sequenceId": 1}}),
    max_size=2,
)  # fmt: skip


@given(_CHANGES, st.sampled_from(["flat", "rfc5424"]), st.sets(st.sampled_from(schema.HEADER_KEYS), max_size=1))
def test_the_quick_check_is_the_schema(changes: dict[str, Any], layout: str, gone: set[str]) -> None:
    """What `verify` says of an entry is what the published schema says."""
    entry = json.loads(_line())
    entry = entry if layout == "flat" else to_layout(entry)
    entry = {name: value for name, value in {**entry, **changes}.items() if name not in gone}
    kind: Any = "rfc5424" if "structured_data" in entry else "flat"
    valid = jsonschema_rs.Draft202012Validator(schema.json_schema(kind)).is_valid(entry)
    assert (schema_problem(entry) == "") == valid, (entry, schema_problem(entry))


def _line() -> bytes:
    return (
        b'{"timestamp":"2026-11-22T10:31:00.000000Z","level":"info","severity":6,"facility":16,"version":1,'
        b'"hostname":"box","appname":"ema","procid":"1","msgid":"log","sequence_id":1,"message":"m","size":1}'
    )


def test_plain_numbers() -> None:
    """Amounts are shown without exponents, needless zeros, or minus zero."""
    assert [plain(Decimal(text)) for text in ("1E+3", "0.10", "-0", "1e-9", "12")] == [
        "1000",
        "0.1",
        "0",
        "0.000000001",
        "12",
    ]


@pytest.mark.parametrize("level", [None, "info"])
def test_experts_are_counted_by_the_name_that_finds_them(tmp_path: Path, line: Line, level: str | None) -> None:
    """`expert_name` wherever it stands, also in the other layout, with escapes and in errors; else the program's."""
    write(
        tmp_path / "expert.log",
        line(1, expert_name="sub0"),
        line(2, logger="bots", expert_name="sub0"),
        line(3, price=1, expert_name="sub1"),
        line(4, expert_name='sub "2"'),
        line(5, level="error", expert_name="sub1"),
        line(6, category="trade", expert_name="sub1"),
        json.dumps(to_layout(json.loads(line(7, expert_name="sub3"))), separators=(",", ":")).encode() + b"\n",
        line(8, other={"expert_name": "no"}),
        line(9),
    )
    logs = open_logs(tmp_path, level=level)
    found = collect_stats(logs).experts
    assert found == {"sub0": 2, "sub1": 3, 'sub "2"': 1, "sub3": 1, "EmaBot": 2}
    assert {name: len(list(logs.filter(expert=name))) for name in found} == found


_SPELLINGS = st.sampled_from([
    *("order_id", "orderId", "ORDER-ID", "size", "qty", "Quantity", "amount", "price", "fill_price", "avgPrice"),
    *("average", "trade_id", "pnl", "realized_pnl", "realisedPnl", "tradeId", "fee", "commission", "exec id"),
])  # fmt: skip


@given(fields=st.dictionaries(_SPELLINGS, st.none() | st.integers(-3, 3) | st.text(max_size=3), max_size=8))
@settings(max_examples=examples(2000))
def test_facts_are_taken_from_the_preferred_name_that_has_a_value(fields: dict[str, Any]) -> None:
    """Of the names of a field the first one in `FIELDS` with a value counts, of its spellings the last one."""
    entry = parse(
        json.dumps({"timestamp": "2026-11-22T10:31:00Z", "level": "info", "message": "m", **fields}).encode(), ""
    )
    assert entry is not None
    facts = Facts(entry)
    for field, names in FIELDS.items():
        folded = list(dict.fromkeys(map(folded_name, names)))
        told = [value for one in folded for name, value in reversed(entry.flat.items()) if folded_name(name) == one]
        assert facts.get(field) == next((value for value in told if value is not None), None)


@given(
    pairs=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4)), max_size=20),
    asked=st.integers(0, 70),
)
@settings(max_examples=examples(1000))
def test_ranges_have_the_numbers_that_were_added(pairs: list[tuple[int, int]], asked: int) -> None:
    """A number is in ranges exactly if one of those that were taken has it."""
    ranges, taken = NumberRanges(), set[int]()
    for first, more in pairs:
        new = set(range(first, first + more + 1))
        assert ranges.add(first, first + more) == taken.isdisjoint(new)
        taken |= new if taken.isdisjoint(new) else set()
    assert (asked in ranges) == (asked in taken)
    assert ranges.fits([(asked, asked)]) == (asked > 0 and asked not in taken)
