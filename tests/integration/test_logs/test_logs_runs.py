"""Runs whose truth is known: `why` and `runs` tell it, whatever way the processes ended."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

pytestmark = pytest.mark.program

#: Plays a script of orders and ends as it is told. It prints nothing: the test made the script and knows the truth.
PROGRAM = """
import faulthandler, json, os, signal, sys, time
script = json.loads(sys.argv[1])
shift = [0]
if script["steps_back"]:
    real = time.time_ns
    time.time_ns = lambda: real() - shift[0]
from metaexpert.logger import MetaLogger
made = [MetaLogger(expert_name=name, log_to_console=False, install=not n) for n, name in enumerate(script["experts"])]
for number, (expert, level, trade, message, fields) in enumerate(script["entries"]):
    if number == script["steps_back"]:
        shift[0] = 3600 * 10**9
    logger = made[expert].trade if trade else made[expert]
    getattr(logger, level)(message, **fields)
if script["flush"]:
    made[0].flush()
end = script["end"]
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif end == "term":
    os.kill(os.getpid(), signal.SIGTERM)
elif end == "exit":
    os._exit(3)
elif end == "crash":
    os.abort()
elif end == "uncaught":
    raise ValueError("no funds")
elif end == "handled":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.kill(os.getpid(), signal.SIGTERM)
elif end == "close":
    [one.close() for one in made]
"""
ENDS = {
    "kill": "killed or power lost", "term": "killed or power lost", "exit": "killed or power lost",
    "crash": "crashed", "uncaught": "uncaught", "handled": "closed", "close": "closed", "end": "closed",
}  # fmt: skip
SYMBOLS = {"BTCUSDT": "USDT", "ETH/BTC": "BTC", "EURUSD": "USD"}


def script(rng: random.Random, end: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a program is to do, and what is true of it."""
    experts = rng.sample(["ema", "rsi", "Grid 3"], rng.randint(1, 2))
    entries: list[Any] = []
    truth: dict[str, Any] = {
        "ended": ENDS[end], "experts": experts, "trades": 0, "errors": 0, "orders": Counter(),
        "open": [], "positions": {}, "fees": Counter(), "results": Counter(),
    }  # fmt: skip
    for number in range(rng.randint(3, 12)):
        _order(rng, f"o{rng.getrandbits(40)}", rng.randrange(len(experts)), number, entries, truth)
    for name in range(len(experts)):  # every expert is heard
        entries.insert(0, (name, "info", False, "Expert started", {}))
    truth["entries"] = len(entries) + (end == "uncaught")
    truth["errors"] += end == "uncaught"
    back = len(entries) // 2 if rng.random() < 0.3 else 0
    return {
        "experts": experts, "entries": entries, "end": end, "flush": rng.random() < 0.5, "steps_back": back,
    }, truth  # fmt: skip


def _order(rng: random.Random, name: str, expert: int, number: int, entries: list[Any], truth: dict[str, Any]) -> None:
    symbol = rng.choice(list(SYMBOLS))
    side, size, price = rng.choice(["BUY", "SELL"]), rng.randint(2, 9), rng.randint(50, 90)
    about = {"order_id": name, "symbol": symbol, "side": side}

    def log(message: str, level: str = "info", trade: bool = True, **fields: Any) -> None:
        entries.append((expert, level, trade, message, {**about, **fields}))

    log("Order submitted", "debug", size=size, status="submitted", client_order_id=f"c-{name}")
    outcome = rng.choice(["filled", "filled", "partial", "cancelled", "rejected", "failed", "open"])
    if outcome in ("rejected", "failed"):
        log(*(("Order rejected", "warning") if outcome == "rejected" else ("Order request failed", "error", False)))
        truth["errors"] += outcome == "failed"
        truth["orders"]["rejected"] += 1
        return
    log("Order accepted", "debug", status="accepted")
    done = {"filled": size, "partial": 1, "cancelled": 1, "open": 0}[outcome]
    for at, part in enumerate([1, done - 1] if done > 1 else [done] if done else []):
        whole = outcome == "filled" and at == 1
        currency = rng.choice([SYMBOLS[symbol], "BNB"])
        fee = f"0.{rng.randint(1, 99999):05d}"
        fill: dict[str, Any] = {"size": part, "price": price, "fee": fee, "fee_currency": currency, "order_size": size}
        status = "filled" if whole else "partially_filled"
        log(f"Order {status.replace('_', ' ')}", trade_id=f"{name}-{at}", status=status, **fill)
        if rng.random() < 0.1:  # told twice
            log(f"Order {status.replace('_', ' ')}", trade_id=f"{name}-{at}", status=status, **fill)
        truth["trades"] += 1
        truth["fees"][currency] += Decimal(fee)
        _hold(truth, entries, (expert, symbol), part if side == "BUY" else -part, f"{name}-{at}", log, rng)
    if outcome == "cancelled":
        log("Order cancelled", status="cancelled", filled_size=done)
    if outcome in ("filled", "cancelled"):
        truth["orders"][outcome] += 1
        if rng.random() < 0.3:  # about an order that is done
            log("Order request failed", "error", False)
            truth["errors"] += 1
    else:
        truth["open"].append(name)


def _hold(
    truth: dict[str, Any], entries: list[Any], key: tuple[int, str], change: int, trade: str, log: Any, rng: Any
) -> None:
    held = truth["positions"].get(key, 0) + change
    truth["positions"][key] = held
    pnl = rng.randint(-20, 20)
    log("Position changed", position_size=held, trade_id=trade, pnl=pnl)
    truth["results"][SYMBOLS[key[1]]] += pnl


def ask(*args: str) -> tuple[int, Any]:
    """Return exit code and JSON of a command."""
    command = [sys.executable, "-m", "metaexpert", "logs", *args, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def check(told: dict[str, Any], truth: dict[str, Any], own: int) -> None:
    """Compare what is told of a run with its truth; *own* entries are the logger's."""
    names = dict(enumerate(truth["experts"]))
    assert told["ended"] == truth["ended"]
    assert sorted(told["experts"]) == sorted(truth["experts"])
    assert (told["entries"] - own, told["errors"], told["trades"]) == (
        truth["entries"] , truth["errors"], truth["trades"],
    )  # fmt: skip
    orders = dict(told["orders"])
    assert orders.pop("open", 0) == len(truth["open"])
    assert orders == +truth["orders"]
    assert {name: Decimal(fee) for name, fee in told["fees"].items()} == truth["fees"]
    results = {name: Decimal(result) for name, result in told["results"].items()}
    assert {one: n for one, n in results.items() if n} == {one: n for one, n in truth["results"].items() if n}
    positions = {(one["expert"], one["symbol"]): Decimal(one["size"]) for one in told["positions"]}
    assert positions == {(names[e], symbol): size for (e, symbol), size in truth["positions"].items() if size}


def play(seed: int, count: int) -> None:
    """Run so many programs one after the other, and compare after each of them."""
    rng = random.Random(seed)
    ends = [*ENDS] * (count // len(ENDS) + 1)
    rng.shuffle(ends)
    truths: list[dict[str, Any]] = []
    for number, end in enumerate(ends[:count]):
        plan, truth = script(rng, end)
        command = [sys.executable, "-c", PROGRAM, json.dumps(plan)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as program:
            program.wait(100)
        truths.append({**truth, "procid": str(program.pid)})
        if number % 4 and number < count - 1:
            continue
        code, found = ask("why")
        assert (code, found["bad"]) == (int(truth["ended"] != "closed"), truth["ended"] != "closed")
        check(found["run"], truth, found["run"]["entries"] - truth["entries"])
        assert sorted(order["order_id"] for order in found["open_orders"]) == sorted(truth["open"])
        assert sum(group["count"] for group in found["errors"]) == truth["errors"]
    _, runs = ask("runs")
    assert [told["procid"] for told in runs] == [truth["procid"] for truth in truths]
    for told, truth in zip(runs, truths, strict=True):
        check(told, truth, told["entries"] - truth["entries"])
        assert 0 <= told["entries"] - truth["entries"] <= 2  # log.died and log.recovered of the run before
    check_report(ask("report")[1], truths, runs)


def check_report(told: dict[str, Any], truths: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    """Compare the figures of a report with the truth of all runs."""
    assert [run["procid"] for run in told["runs"]] == [truth["procid"] for truth in truths]
    assert told["ends"] == Counter(truth["ended"] for truth in truths)
    assert told["trades"] == sum(truth["trades"] for truth in truths)
    assert told["entries"] == sum(run["entries"] for run in runs)
    assert sum(one["count"] for one in told["errors"]) == sum(truth["errors"] for truth in truths)
    orders = Counter(open=sum(len(truth["open"]) for truth in truths))
    for truth in truths:
        orders.update(truth["orders"])
    assert told["orders"]["by_status"] == +orders
    for name, kind in (("results", "result"), ("fees", "fees")):
        exact: dict[str, Decimal] = {}
        for one in truths:
            for currency, amount in one[name].items():
                exact[currency] = exact.get(currency, Decimal()) + amount
        found = {currency: Decimal(one[kind]) for currency, one in told["money"].items()}
        assert {one: n for one, n in found.items() if n} == {one: n for one, n in exact.items() if n}
        by_day: dict[str, Decimal] = {}
        for day in told["days"]:
            by_day[day["currency"]] = by_day.get(day["currency"], Decimal()) + Decimal(day[kind])
        assert by_day == found


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
class TestTruth:
    """A generator of runs with kills, crashes, uncaught errors, SIGTERM, normal ends and steps of the clock."""

    def test_ten_runs(self) -> None:
        """Each end once and more."""
        play(5, 10)

    @pytest.mark.storm
    @pytest.mark.parametrize("seed", range(10 if os.environ.get("METAEXPERT_NIGHTLY") else 2))
    def test_a_hundred_runs(self, seed: int) -> None:
        """The same for a hundred, in ten directories, by night, and for twenty by day."""
        play(100 + seed, 10)
