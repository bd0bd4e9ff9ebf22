"""Entries that say nothing are counted without being decoded: the runs are those of a reader that decodes all."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logs import Entry, open_logs
from metaexpert.logs.runs import _blocks, ends, reading
from metaexpert.logs.runs.model import Run, Runs
from metaexpert.logs.runs.why import verdict

Line = Callable[..., bytes]


def plain(directory: Path, **filters: Any) -> list[dict[str, Any]]:
    """Return the runs as they are when each entry is decoded."""
    runs = Runs()
    for record in open_logs(directory, **filters):
        if isinstance(record, Entry):
            runs.feed(record)
    return [figures(run) for run in runs.finish({}, marked_all=False)]


def fast(directory: Path, **filters: Any) -> list[dict[str, Any]]:
    """Return the runs as the commands tell them."""
    return [figures(run) for run in reading.read_runs(open_logs(directory, **filters))[0].runs]


def figures(run: Run) -> dict[str, Any]:
    """Return the figures of a run; nothing promises the order of experts."""
    return {**run.as_dict(), "experts": sorted(run.experts)}


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """The entries that the model of the runs is fed with."""
    fed: list[Entry] = []
    feed = Runs.feed

    def noted(runs: Runs, entry: Entry, **more: Any) -> Run:
        fed.append(entry)
        return feed(runs, entry, **more)

    monkeypatch.setattr(Runs, "feed", noted)
    return fed


def write(directory: Path, line: Line, rng: random.Random) -> None:
    """Write some runs of two processes, the second of which starts again and again under one id."""
    files: dict[str, list[bytes]] = {"expert.log": [], "trades.log": [], "errors.log": []}
    at, order = 0.0, 0
    count = rng.randint(1, 4)
    for run in range(count):
        at += rng.choice([0.01, 100])
        # Where a process id comes again, too, nothing tells for certain whose an entry is.
        step = -3600 if rng.random() < 0.3 and count < 3 else 0
        lost = rng.randint(1, 6) if rng.random() < 0.3 and count < 3 else 1
        for number in range(1, rng.randint(3, 40)):
            at += 0.01 + (step if number == 10 else 0)
            order += 1
            kind = rng.choice(["log"] * 6 + ["trade", "error", "order", "odd", "decision", "nested"])
            kinds: dict[str, dict[str, Any]] = {
                "log": {"spread": 3}, "error": {"level": "error"}, "order": {"order_id": f"o{order}", "status": "new"},
                "trade": {"category": "trade", "order_id": f"o{order - 1}", "trade_id": f"t{order}", "side": "BUY",
                          "size": 1, "price": 5, "fee": "0.1", "symbol": "BTCUSDT", "status": "filled"},
                "odd": {"expert_name": 'q"'}, "decision": {"decision": "skip", "decision_id": "d"},
                "nested": {"response": {"ordId": str(10**9 + order), "state": "live"}},
            }  # fmt: skip
            fields = kinds[kind]
            if "expert_name" not in fields and rng.random() < 0.5:
                fields = {"expert_name": rng.choice(["a", "b"]), **fields}
            if number < lost and kind != "trade":
                continue
            text = line(number, f"message {kind}", at=at, procid=str(run % 2), **fields)
            if kind != "trade" or number >= lost:
                files["expert.log"].append(
                    text.replace(b'"facility":16,', b'"facility": 16,') if kind == "odd" else text
                )
            if kind in ("trade", "error"):
                files["trades.log" if kind == "trade" else "errors.log"].append(text)
    for name, lines in files.items():
        (directory / name).write_bytes(b"".join(lines))


@pytest.mark.parametrize("seed", range(60))
def test_runs_are_those_of_a_reader_that_decodes_all(tmp_path: Path, line: Line, seed: int) -> None:
    """Restarts under one process id, steps of the clock, lost beginnings, and lines of another form."""
    write(tmp_path, line, random.Random(seed))
    assert fast(tmp_path) == plain(tmp_path)
    window = {"since": "2026-11-22T10:31:00.1Z", "until": "2026-11-22T10:32:40.2Z"}
    assert fast(tmp_path, **window) == plain(tmp_path, **window)


@pytest.mark.parametrize("seed", range(100, 125))
def test_the_last_run_is_told_without_the_others(tmp_path: Path, line: Line, seed: int) -> None:
    """Only its orders, trades and errors are taken in; where it was not the expected one, all are read again."""
    write(tmp_path, line, random.Random(seed))
    brief, whole = verdict(open_logs(tmp_path), last_only=True), verdict(open_logs(tmp_path))
    assert [figures(one.run) for one in (brief,) if one.run] == [figures(one.run) for one in (whole,) if one.run]
    assert [entry.line for entry in brief.last] == [entry.line for entry in whole.last]
    if whole.before is not None:
        assert brief.before is not None
        assert (brief.before.end, brief.before.ended) == (whole.before.end, whole.before.ended)


@pytest.mark.parametrize("seed", [3, 11, 40, 83, 93])
def test_the_last_run_beside_running_ones_is_told_without_the_others(
    tmp_path: Path, line: Line, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their trades and errors are counted with their other entries, each in the run that it belongs to."""
    write(tmp_path, line, random.Random(seed))
    for running in (["0"], ["0", "1"]):
        states = {("box", procid): ends.End(ends.RUNNING) for procid in running}
        monkeypatch.setattr(ends, "found_in", lambda _, states=states: states)
        brief, whole = verdict(open_logs(tmp_path), last_only=True), verdict(open_logs(tmp_path))
        assert [figures(one.run) for one in (brief,) if one.run] == [figures(one.run) for one in (whole,) if one.run]
        before = [(one.end, one.ended) for one in (brief.before, whole.before) if one is not None]
        assert before[:1] == before[1:]
        assert [sorted(one.experts) for one in brief.others] == [sorted(one.experts) for one in whole.others]


def test_the_last_run_alone_is_decoded(tmp_path: Path, line: Line, fed: list[Entry]) -> None:
    """Of two experts that trade, the entries of the one that logged last."""
    trade = {"category": "trade", "status": "filled", "order_id": "o1"}
    ended, other = ([line(number, "m", procid=procid, at=number + int(procid), **(trade if number % 2 else {}))
                     for number in range(1, 11)] for procid in ("2", "1"))  # fmt: skip
    (tmp_path / "expert.log").write_bytes(b"".join([*other, *ended]))
    (tmp_path / "trades.log").write_bytes(b"".join([*other[::2], *ended[::2]]))
    found = verdict(open_logs(tmp_path), last_only=True)
    assert found.run is not None
    assert found.before is not None
    assert [(run.process[1], run.entries) for run in (found.run, found.before)] == [("2", 10), ("1", 10)]
    assert {entry.process[1] for entry in fed} == {"2"}


@pytest.mark.parametrize("last", ["log", "trade"])
def test_a_run_that_only_trades_may_be_the_last(tmp_path: Path, line: Line, last: str) -> None:
    """By lines that are counted the other one seems to be it."""
    fill: dict[str, Any] = {"trade_id": "t", "price": 2, "size": 1, "side": "BUY", "category": last, "procid": "9"}
    lines = [line(1, at=1), line(1, "filled", at=0.5, **{**fill, "procid": "42"}), line(1, "filled", at=2, **fill)]
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    run = verdict(open_logs(tmp_path), last_only=True).run
    assert run is not None
    assert (run.process[1], run.trades) == ("9", last == "trade")


def test_most_entries_are_not_decoded(tmp_path: Path, line: Line, fed: list[Entry]) -> None:
    """Of a thousand ticks and a trade, the trade is."""
    ticks = [line(number, "Tick", bid=1, strategy_id=7) for number in range(1, 1001)]
    (tmp_path / "expert.log").write_bytes(b"".join([*ticks, line(1001, "filled", category="trade")]))
    (run,) = reading.read_runs(open_logs(tmp_path))[0].runs
    assert (run.entries, len(fed)) == (1001, 1)


def test_two_hosts_with_the_same_process_ids(tmp_path: Path, line: Line) -> None:
    """Each run has the times of its own entries, also where process ids and numbers are those of another host's."""
    lines = [line(number, hostname=host, at=number + after) for number in range(1, 9)
             for host, after in (("box", 0), ("other", 0.5), ("third", 0.7))]  # fmt: skip
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    assert fast(tmp_path) == plain(tmp_path)
    assert [run["start"][-9:] for run in fast(tmp_path)] == ["1.000000Z", "1.500000Z", "1.700000Z"]
    assert [run["end"][-9:] for run in fast(tmp_path)] == ["8.000000Z", "8.500000Z", "8.700000Z"]


def test_a_text_that_tells_of_an_order_is_found(line: Line) -> None:
    """Every name of an order is among the texts by which entries are picked."""
    from metaexpert.logs.runs.names import _CLIENT, _EXCHANGE, _PERMANENT, NUMBERS

    for name in [*_EXCHANGE, *_CLIENT, *_PERMANENT, *NUMBERS, "order_id", "perm_id", "ordId", "order_link_id", "id"]:
        text = line(1, **{name: "9"}).lower()
        assert any(one in text for one in _blocks.TELLING), name
