"""The model of a run: which entries are one run, how it ended, what it held, what it decided."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metaexpert.__main__ import main
from metaexpert.logs import open_logs
from metaexpert.logs.runs import ends
from metaexpert.logs.runs.model import Run
from metaexpert.logs.runs.reading import read_runs
from metaexpert.logs.runs.why import chain, moment_of, verdict

Line = Callable[..., bytes]
START = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)


def runs(directory: Path, *lines: bytes, marks: bool = True) -> list[Run]:
    """Return the runs in these lines."""
    (directory / "expert.log").write_bytes(b"".join(lines))
    if marks:
        (directory / ".metaexpert").mkdir(exist_ok=True)
    return read_runs(open_logs(directory))[0].runs


def told(found: list[Run]) -> list[tuple[int, str]]:
    """Return entries and end of each run."""
    return [(run.entries, run.end.how) for run in found]


def died(procid: str, **more: Any) -> dict[str, Any]:
    """Return the fields of the mark that another run leaves."""
    return {
        "reason": "killed or power lost", "died_procid": procid, "died_hostname": "box", "level": "error",
        "last_alive": "2026-11-22T10:31:09.000000Z", **more,
    }  # fmt: skip


def test_a_process_id_that_comes_again_is_another_run(tmp_path: Path, line: Line) -> None:
    """Its numbers begin again, also if the beginning of the first run is lost; entries of two hosts are two runs."""
    found = runs(
        tmp_path,
        *(line(number, at=number) for number in (5, 6, 7)),
        *(line(number, at=100 + number) for number in (1, 2)),
        *(line(number, at=200 + number) for number in (1, 2, 3)),
        line(1, at=150, hostname="other"),
    )
    assert told(found) == [(3, "closed"), (2, "closed"), (1, "closed"), (3, "closed")]


@pytest.mark.parametrize("cut", [2, 5, 9])
def test_a_clock_that_steps_back_makes_no_other_run(tmp_path: Path, line: Line, cut: int) -> None:
    """The entries of one run may come in another order than that of their numbers."""
    lines = [line(number, at=3600 + number if number < cut else number) for number in range(1, 11)]
    (run,) = runs(tmp_path, *lines)
    assert run.entries == 10
    assert run.start == START + timedelta(seconds=3601)
    assert run.ended == START + timedelta(seconds=10)


@pytest.mark.parametrize(
    ("lines", "marks", "ends"),
    [
        ([(1, "m", {})], True, ["closed"]),
        ([(1, "m", {})], False, ["unknown"]),
        ([(1, "m", {}), (1, "log.died", {**died("42"), "procid": "43"}), (2, "m", {"procid": "43"})], True,
         ["killed or power lost", "closed"]),
        ([(1, "m", {}), (1, "log.died", {**died("42"), "at": 60}), (2, "m", {"at": 61})], True,
         ["killed or power lost", "closed"]),
        ([(1, "m", {}), (1, "log.died", {**died("42"), "procid": "9"})], True, ["killed or power lost"]),
        ([(1, "m", {}), (2, "log.uncaught", {"level": "critical"})], True, ["uncaught"]),
        ([(1, "m", {}), (2, "log.uncaught", {"level": "critical", "thread": "feed"})], True, ["closed"]),
        ([(1, "m", {}), (1, "log.died", {**died("42", reason="crashed", signal="Aborted"), "procid": "9"})], False,
         ["crashed"]),
    ],
    ids=["closed", "no marks", "killed", "same process id", "recovered", "uncaught", "a thread", "crashed"],
)  # fmt: skip
def test_ends(tmp_path: Path, line: Line, lines: list[Any], marks: bool, ends: list[str]) -> None:
    """Marks in the log tell, else that the journal was closed; a recovery by command is no run."""
    made = [line(number, message, **{"at": place, **fields}) for place, (number, message, fields) in enumerate(lines)]
    assert [run.end.how for run in runs(tmp_path, *made, marks=marks)] == ends


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("procid", "how"), [(os.getpid(), "running"), (2**22 + 1, "killed or power lost")], ids=["there", "gone"]
)
def test_a_process_that_is_there_runs(tmp_path: Path, line: Line, procid: int, how: str) -> None:
    """A killed one is known at once, however fresh its last heartbeat."""
    from metaexpert.logger.journal.owner import _birth

    (tmp_path / ".metaexpert").mkdir()
    owner = {"procid": str(procid), "hostname": os.uname().nodename, "began": _birth(), "program": "x", "forked": False}
    (tmp_path / ".metaexpert" / "a.owner").write_text(json.dumps(owner))
    (run,) = runs(tmp_path, line(1, procid=str(procid), hostname=os.uname().nodename))
    assert run.end.how == how
    found = verdict(open_logs(tmp_path))
    assert found.is_bad == (how != "running")
    if how != "running":
        assert abs(run.ended.timestamp() - time.time()) < 60 * 60


def test_what_a_run_did(tmp_path: Path, line: Line) -> None:
    """Orders by their end, open ones, positions, results and fees by currency, errors in groups, decisions, drops."""
    trade: dict[str, Any] = {"category": "trade", "symbol": "BTC/USDT", "side": "BUY", "expert_name": "ema"}
    (run,) = runs(
        tmp_path,
        line(1, "Decision: enter", decision="enter", decision_id="d"),
        line(2, "Order submitted", status="submitted", client_order_id="c", size=3, **trade),
        line(3, "update", response={"orderId": "900001", "clientOrderId": "c"}, status="open", **trade),
        line(4, "fill", trade_id="t", orderId="900001", status="partially_filled", size=1, price=5, fee=1, **trade),
        line(5, "Order submitted", status="submitted", order_id="x", size=1, **{**trade, "expert_name": "rsi"}),
        line(6, "Order rejected", status="rejected", order_id="x", **trade),
        line(7, "Position reduced", position_size="0.5", pnl="1.25", order_id="900001", **trade),
        line(8, "no answer in 5 s", level="error"),
        line(9, "no answer in 7 s", level="error"),
        line(10, "log.dropped", level="warning", dropped=4, by_level={"debug": 4}),
        line(11, "log.recovered", level="warning", recovered=2),
    )
    (order,) = run.open_orders
    assert (order.ids, order.status, order.filled) == ({"c", "900001"}, "partially filled", Decimal(1))
    assert (dict(run.orders), run.trades, run.decisions) == ({"rejected": 1}, 1, 1)
    assert (run.dropped, run.recovered, run.error_count) == (4, 2, 2)
    assert [(text, group.count) for text, group in run.errors.items()] == [("no answer in # s", 2)]
    assert (run.results.as_dict(), run.fees.as_dict()) == ({"USDT": "1.25"}, {"USDT": "1"})
    assert [(expert, symbol, held.position) for expert, symbol, held in run.positions] == [
        ("ema", "BTC/USDT", Decimal("0.5"))
    ]
    assert set(run.experts) == {"EmaBot", "ema", "rsi"}


def test_the_last_run_is_the_one_that_ended_last(tmp_path: Path, line: Line) -> None:
    """Of two beside each other, the one that was killed later than the other one was closed."""
    runs(
        tmp_path,
        line(1, at=0, procid="1"),
        line(1, at=1, procid="2"),
        line(2, at=5, procid="1"),
        line(2, at=9, procid="2"),
        line(1, "log.died", at=20, **{**died("2"), "procid": "3"}),
    )
    found = verdict(open_logs(tmp_path))
    assert found.run is not None
    assert (found.run.process[1], found.is_bad) == ("2", True)
    assert found.before is not None
    assert found.before.process[1] == "1"
    (tmp_path / "none").mkdir()
    assert verdict(open_logs(tmp_path / "none")).run is None


def test_why_an_order_was_placed(tmp_path: Path, line: Line) -> None:
    """The decision whose id it bears; a decision whose entry is gone is named."""
    trade = {"category": "trade", "symbol": "BTCUSDT"}
    runs(
        tmp_path,
        line(1, "Decision: enter", decision="enter", decision_id="d-1", because="crossed", signal="up"),
        line(2, "Order submitted", order_id="a", decision_id="d-1", **trade),
        line(3, "Order filled", order_id="a", trade_id="t", size=1, price=2, status="filled", side="BUY", **trade),
        line(4, "Order submitted", order_id="b", decision_id="d-2", **trade),
        line(5, "Order submitted", order_id="c", **trade),
    )
    logs = open_logs(tmp_path)
    found = chain(logs, "a")
    assert [entry.get("because") for entry in found.decisions] == ["crossed"]
    assert (found.as_dict()["signal"], len(found.as_dict()["fills"])) == (["up"], 1)
    assert (chain(logs, "b").decisions, chain(logs, "b").ids) == ([], ["d-2"])
    assert chain(logs, "c").ids == []
    assert chain(logs, "z").life.steps == []


def test_what_was_decided_at_a_time(tmp_path: Path, line: Line) -> None:
    """Within a minute, in any spelling of the symbol; otherwise the decisions before and after."""
    runs(
        tmp_path,
        *(
            line(n, "Decision: skip", at=n * 600, decision="skip", decision_id=str(n), symbol="BTC/USDT")
            for n in (1, 2)
        ),
        line(3, "Decision: skip", at=900, decision="skip", decision_id="3", symbol="ETHUSDT"),
        line(4, "Spread", at=620, symbol="BTCUSDT"),
    )
    logs = open_logs(tmp_path)
    then = moment_of(logs, "btcusdt", START + timedelta(seconds=610))
    assert [entry.sequence_id for entry in then.then] == [1]
    assert [entry.sequence_id for entry in then.around] == [4]
    nothing = moment_of(logs, "BTCUSDT", START + timedelta(seconds=900))
    assert nothing.then == []
    assert nothing.before is not None
    assert nothing.after is not None
    assert (nothing.before.sequence_id, nothing.after.sequence_id) == (1, 2)
    assert nothing.as_dict()["decided"] == []


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ([("Order filled", {"side": "SELL", "size": 2, "price": 110})], True),
        ([], True),
        ([("Position closed", {"side": "LONG", "position_size": 0})], False),
    ],
    ids=["computed", "no trade", "told by entries"],
)
def test_why_says_that_it_counts_one_run(
    second: list[tuple[str, dict[str, Any]]], told: bool, tmp_path: Path, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier run left open is not in positions that are computed from a run's own trades."""
    fields = {"symbol": "BTCUSDT", "category": "trade"}
    lines = [line(1, "Order filled", procid="1", side="BUY", size=2, price=100, **fields)]
    lines += [line(n, text, procid="2", **fields, **more) for n, (text, more) in enumerate(second, 2)]
    (tmp_path / "trades.log").write_bytes(b"".join(lines))
    (tmp_path / "expert.log").write_bytes(b"".join(lines) + line(9, "Expert started", procid="2"))
    main(["logs", "why", str(tmp_path)])
    assert ("what earlier runs left open is not counted above" in capsys.readouterr().out) == told


def filtered(directory: Path, *lines: bytes, **filters: Any) -> list[tuple[int, str, str]]:
    """Return entries, end and time of the last entry of each run, from entries that pass *filters*."""
    (directory / "expert.log").write_bytes(b"".join(lines))
    (directory / ".metaexpert").mkdir(exist_ok=True)
    found = read_runs(open_logs(directory, **filters))[0].runs
    return [(run.entries, run.end.how, run.last.decode()[11:19]) for run in found]


class TestFilters:
    """What a filter leaves out still tells runs apart, and how they ended."""

    def test_runs_of_one_process_id_stay_apart(self, tmp_path: Path, line: Line) -> None:
        """As in containers, although the numbers of the entries that pass go on; a run without any is none."""
        lines = [
            line(1, "Expert started"), line(2, symbol="X"),
            line(1, "Expert started", at=100), line(2, at=101),
            line(1, "Expert started", at=200), line(2, at=201), line(4, symbol="X", at=203),
            line(5, "boom", symbol="X", level="error", at=204),
        ]  # fmt: skip
        assert filtered(tmp_path, *lines, symbol="X") == [(1, "closed", "10:31:02"), (2, "closed", "10:34:24")]
        assert filtered(tmp_path, *lines, level="error") == [(1, "closed", "10:34:24")]

    def test_a_first_entry_that_passes_counts_once(self, tmp_path: Path, line: Line) -> None:
        """Also a trade, which is in two files."""
        fill = line(1, "Order filled", category="trade", symbol="X", side="BUY", size=1, price=2)
        (tmp_path / "trades.log").write_bytes(fill)
        again = line(1, symbol="X", at=50), line(2, symbol="X", at=51)
        assert filtered(tmp_path, fill, line(2, symbol="X"), *again, symbol="X") == [
            (2, "closed", "10:31:02"), (2, "closed", "10:31:51"),
        ]  # fmt: skip

    @pytest.mark.parametrize("filters", [{"symbol": "X"}, {"level": "error"}, {"until": "2026-11-22T10:31:10Z"}])
    def test_a_death_that_does_not_pass_is_known(self, tmp_path: Path, line: Line, filters: dict[str, Any]) -> None:
        """The mark of the next start says that it was killed; one about a run without wanted entries is no other's."""
        boom = {"symbol": "X", "level": "error"}
        lines = [
            line(1), line(2, "boom", **boom),
            line(1, "log.died", at=20, procid="7", **died("42")), line(2, "start", procid="7", at=21),
        ]  # fmt: skip
        count = 1 + ("until" in filters)
        assert filtered(tmp_path, *lines, **filters)[0] == (count, "killed or power lost", "10:31:02")
        lines[2:2] = [line(1, at=11), line(2, at=12)]
        assert filtered(tmp_path, *lines, **filters)[0] == (count, "closed", "10:31:02")

    def test_an_exception_that_does_not_pass_is_known(self, tmp_path: Path, line: Line) -> None:
        """Each run has its own, and it counts as no entry."""
        uncaught = line(3, "log.uncaught", level="critical", exception={"type": "E", "value": "v"})
        lines = [line(1), line(2, symbol="X"), uncaught, line(1, at=50), line(2, symbol="X", at=51)]
        assert filtered(tmp_path, *lines, symbol="X") == [(1, "uncaught", "10:31:02"), (1, "closed", "10:31:51")]

    def test_the_running_process_is_the_one_that_began_last(
        self, tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An earlier run of its name does not run because of it."""
        monkeypatch.setattr(ends, "found_in", lambda _: {("box", "42"): ends.End(ends.RUNNING)})
        lines = [line(1), line(2, symbol="X"), line(1, at=50), line(2, at=51)]
        assert filtered(tmp_path, *lines, symbol="X") == [(1, "closed", "10:31:02")]
        assert filtered(tmp_path, *lines, line(3, at=52, symbol="X"), symbol="X") == [
            (1, "closed", "10:31:02"), (1, "running", "10:31:52"),
        ]  # fmt: skip


def test_an_entry_with_ids_of_two_orders_is_about_the_first_of_them(tmp_path: Path, line: Line) -> None:
    """Which of them does not depend on the hash seed of Python."""
    lines = []
    for number in range(20):
        client, order = f"c-{number}", f"9000{number:02}"
        lines += [line(3 * number + 1, "Order placed", client_order_id=client)]
        lines += [line(3 * number + 2, "Order placed", order_id=order)]
        lines += [line(3 * number + 3, "Order accepted", order_id=order, client_order_id=client)]
    (run,) = runs(tmp_path, *lines)
    assert [life.order_id for life in run.open_orders] == [f"9000{number:02}" for number in range(20)]
