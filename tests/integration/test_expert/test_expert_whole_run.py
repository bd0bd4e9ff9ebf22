"""A whole run over the real bars: the log is the strategy's own record, entry by entry, line by line valid."""

from __future__ import annotations

import random
import runpy
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metaexpert import MetaExpert
from metaexpert.trading import Bar, Fill, Order, PaperConfig, load_bars
from metaexpert.trading.session import RunResult

EXAMPLES = Path(__file__).parents[3] / "examples"
DATA = EXAMPLES / "data" / "eurusd_1h.csv"
FILES = ("expert.log", "trades.log", "errors.log")
ENDS = {"Order filled", "Order rejected", "Order cancelled"}

Entry = dict[str, Any]
ReadLog = Callable[..., list[Entry]]


def busy(expert: MetaExpert) -> None:
    """Make *expert* do everything that an order can meet: parts, cancels, rejections, reversals, errors."""
    dice = random.Random(7)

    @expert.on_bar
    async def trade(bar: Bar) -> None:
        roll = dice.random()
        if roll < 0.05:
            expert.buy(dice.randint(500, 3_000))
        elif roll < 0.10:
            expert.sell(dice.randint(500, 3_000))
        elif roll < 0.15:
            expert.buy(2_000, round(bar.close * 0.999, 5))
        elif roll < 0.20:
            expert.sell(2_000, round(bar.close * 1.001, 5))
        elif roll < 0.22:
            expert.close_position()
        elif roll < 0.25 and expert.open_orders:
            expert.cancel(expert.open_orders[0].id)
        elif roll < 0.26:
            expert.buy(50_000)
        elif roll < 0.262:
            raise LookupError("the strategy is wrong about something")


@pytest.fixture
def worker() -> Iterator[MetaExpert]:
    paper = PaperConfig(fee_bps=1, slippage_bps=0.5, spread_bps=0.5, volume_share=0.5)
    with MetaExpert("x", symbol="EURUSD", log_level="DEBUG", log_to_console=False, paper=paper) as expert:
        busy(expert)
        yield expert


@pytest.fixture
def example() -> Iterator[MetaExpert]:
    expert: MetaExpert = runpy.run_path(str(EXAMPLES / "expert_ema_cross.py"), run_name="strategy")["expert"]
    with expert:
        yield expert


class Run(NamedTuple):
    """The result of one run over all bars, and the entries of its files."""

    result: RunResult
    files: dict[str, list[Entry]]


_runs: dict[str, Run] = {}


@pytest.fixture(params=["example", "worker"])
def run(request: pytest.FixtureRequest, read_log: ReadLog) -> Run:
    """One run of each strategy, made once and read by several tests; every line of its files is valid."""
    if request.param not in _runs:
        result = request.getfixturevalue(request.param).run(DATA)
        _runs[request.param] = Run(result, {name: read_log(f"logs/{name}", "flat") for name in FILES})
    return _runs[request.param]


def order_record(order: Order) -> Entry:
    """What the log should say of an order at its end."""
    return {
        "order_id": order.id,
        "side": order.side.value,
        "order_type": order.type.value,
        "status": order.status.value,
        "requested_price": order.requested_price,
        "reason": order.reason,
        "bar_time": order.updated_at.isoformat().replace("+00:00", "Z") if order.updated_at else None,
    }


def fill_record(fill: Fill) -> Entry:
    return {
        "trade_id": fill.id,
        "order_id": fill.order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "order_type": fill.order_type.value,
        "size": fill.size,
        "price": fill.price,
        "requested_price": fill.requested_price,
        "fee": fill.fee,
        "slippage_bps": fill.slippage_bps,
        "bar_time": fill.time.isoformat().replace("+00:00", "Z"),
    }


def same_fields(entries: list[Entry], records: list[Entry]) -> None:
    assert [{name: e.get(name) for name in r} for e, r in zip(entries, records, strict=True)] == records


def test_the_log_equals_the_strategys_own_record(
    run: Run,
) -> None:
    """Each order and each fill of the record is in trades.log once, in order, with equal values; no other is."""
    result, files = run
    trades = files["trades.log"]
    assert result.bars == len(load_bars(DATA)) == 5_000
    assert len(result.fills) > 10
    same_fields([e for e in trades if "fee" in e], [fill_record(fill) for fill in result.fills])
    submitted = [e for e in trades if e["message"] == "Order submitted"]
    assert [(e["order_id"], e["size"], e.get("price")) for e in submitted] == [
        (order.id, order.size, order.price) for order in result.orders
    ]
    ends = {e["order_id"]: e for e in trades if e["message"] in ENDS}
    same_fields([ends[order.id] for order in result.orders], [order_record(order) for order in result.orders])
    assert len([e for e in trades if e["message"] in ENDS]) == len(result.orders)


def test_the_parts_of_an_order_add_up(run: Run) -> None:
    """The executions logged for an order sum to what the record says was filled, and to its fee."""
    result, files = run
    sizes: dict[str, float] = defaultdict(float)
    fees: dict[str, float] = defaultdict(float)
    for entry in files["trades.log"]:
        if "fee" in entry:
            sizes[entry["order_id"]] += entry["size"]
            fees[entry["order_id"]] += entry["fee"]
    for order in result.orders:
        assert sizes[order.id] == pytest.approx(order.filled_size)
        assert fees[order.id] == pytest.approx(order.fee)


def test_profit_can_be_computed_from_the_log(run: Run) -> None:
    """All pnl less all fee, and what the open position is worth, is what the account has won."""
    result, files = run
    trades = files["trades.log"]
    booked = sum(e.get("pnl", 0) for e in trades) - sum(e.get("fee", 0) for e in trades)
    last = load_bars(DATA)[-1].close
    assert booked + result.position.unrealized_pnl(last) == pytest.approx(result.pnl, abs=1e-5)
    assert sum(e.get("fee", 0) for e in trades) == pytest.approx(result.fees, abs=1e-5)


def test_the_files_fit_together(
    run: Run,
) -> None:
    """No sequence id is missing; INFO trades and all errors are in expert.log as well."""
    result, files = run
    expert, trades, errors = files["expert.log"], files["trades.log"], files["errors.log"]
    numbers = sorted({e["sequence_id"] for e in expert + trades + errors})
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    whole = {e["sequence_id"]: e for e in expert}
    assert [e for e in trades if e["severity"] <= 6 and whole.get(e["sequence_id"]) != e] == []
    assert [e for e in errors if whole.get(e["sequence_id"]) != e] == []
    assert len([e for e in errors if e["message"] == "Handler failed"]) == result.errors > 0
    assert len([e for e in trades if e["message"] == "Order rejected"]) == len(result.rejected) > 0


@pytest.mark.parametrize("run", ["worker"], indirect=True)
def test_the_busy_run_meets_everything_and_loses_nothing(run: Run) -> None:
    """The record compared above holds every kind of end, and at DEBUG no bar is missing however fast it goes."""
    result, files = run
    messages = {e["message"] for e in files["trades.log"]}
    assert messages >= ENDS | {"Order submitted", "Order accepted", "Order partially filled"}
    assert messages >= {f"Position {what}" for what in ("opened", "increased", "reduced", "reversed", "closed")}
    bars = [e for e in files["expert.log"] if e["message"] == "Bar closed"]
    assert len(bars) == result.bars


def test_the_same_run_twice_gives_the_same_record() -> None:
    """Nothing in a backtest depends on the clock or on chance: orders, ids and equity repeat exactly."""
    bars, results = list(load_bars(DATA))[:1500], []
    for name in ("one", "two"):
        with MetaExpert("x", expert_name="same", log_dir=name, log_to_console=False) as expert:
            busy(expert)
            results.append(expert.run(bars))
    assert results[0] == results[1]


def test_the_example_shows_its_trades_and_errors_on_a_readable_console(tmp_path: Path) -> None:
    """Run as a plain script from an empty directory, it prints a few dozen lines and ends with its summary."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "expert_ema_cross.py")],
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )
    lines = (done.stdout + done.stderr).splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert 20 < len(heads) < 60
    assert len(lines) < 80
    for words in ("Order filled", "Position closed", "Order rejected", "RiskLimitError", "Signal missed"):
        assert any(words in line for line in lines), words
    assert "Expert stopped" in heads[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs"]


def test_many_experts_at_once_keep_their_logs_apart(tmp_path: Path, read_log: ReadLog) -> None:
    """Four experts in threads and tasks: own directories hold their own entries, a shared one holds both."""
    subprocess.run([sys.executable, str(EXAMPLES / "many_experts.py")], check=True, timeout=50)
    names = {}
    for directory in sorted((tmp_path / "logs").iterdir()):
        trades = read_log(directory / "trades.log")
        names[directory.name] = {e["expert_name"] for e in trades}
        for entry in trades:
            prefix = entry["expert_name"].replace("breakout-", "b")
            assert entry["order_id"].startswith(f"{prefix}-ord-")
            assert entry["symbol"] == ("USDEUR" if directory.name == "together" else "EURUSD")
        stopped = [e for e in read_log(directory / "expert.log") if e["message"] == "Expert stopped"]
        filled = [e for e in trades if e["message"] == "Order filled"]
        assert sum(e["fills"] for e in stopped) == len(filled) > 0
        assert {e["expert_name"] for e in stopped} == names[directory.name]
    assert names == {
        "breakout-24": {"breakout-24"},
        "breakout-72": {"breakout-72"},
        "together": {"breakout-48", "breakout-168"},
    }


def test_experts_in_threads_do_not_mix_their_context(tmp_path: Path, read_log: ReadLog) -> None:
    """Eight experts at once in threads: each entry bears the name, symbol and bar of its own expert."""
    from concurrent.futures import ThreadPoolExecutor

    bars = load_bars(DATA)[:400]
    experts = [
        MetaExpert("x", expert_name=f"e{i}", symbol=f"S{i}", log_dir=f"logs/{i}", log_to_console=False)
        for i in range(8)
    ]
    for expert in experts:
        busy(expert)
    with ThreadPoolExecutor(len(experts)) as threads:
        results = list(threads.map(lambda expert: expert.run(bars), experts))
    for i, (expert, result) in enumerate(zip(experts, results, strict=True)):
        expert.close()
        trades = read_log(tmp_path / "logs" / str(i) / "trades.log")
        assert {(e["expert_name"], e["symbol"]) for e in trades} == {(f"e{i}", f"S{i}")}
        fills = [e for e in trades if "fee" in e]
        assert [(e["trade_id"], e["price"]) for e in fills] == [(f.id, f.price) for f in result.fills]
