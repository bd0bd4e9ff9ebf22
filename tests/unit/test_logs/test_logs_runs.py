"""Runs of a process that bear one name: an id that is used again, or twice at a time, hides and invents no gap."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logs import open_logs
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.verify import verify

Line = Callable[..., bytes]
Entry = tuple[float, str, bytes]


def entries(line: Line, begin: float, count: int, seed: int = 0, **names: Any) -> dict[int, Entry]:
    """Return time, kind and line of each number of a run that logs every 10 ms."""
    chance, found = random.Random(seed), dict[int, Entry]()
    for number in range(1, count + 1):
        at = begin + number * 0.01
        kind = chance.choices(("log", "debug trade", "trade", "error"), (70, 15, 10, 5))[0]
        level = {"debug trade": "debug", "error": "error"}.get(kind, "info")
        more = {"category": "trade"} if "trade" in kind else {}
        found[number] = at, kind, line(number, level=level, at=at, **more, **names)
    return found


def store(runs: Iterable[dict[int, Entry]], rotated: float = 0.0) -> tuple[int, int]:
    """Write what the runs wrote in batches of 50 ms, without the beginning of expert.log; return the gaps found."""
    files: dict[str, list[tuple[int, int, int, bytes]]] = {"expert.log": [], "trades.log": [], "errors.log": []}
    for which, run in enumerate(runs):
        for number, (at, kind, text) in run.items():
            targets = {"log": ["expert"], "debug trade": ["trades"], "trade": ["expert", "trades"]}
            for name in targets.get(kind, ["expert", "errors"]):
                if name != "expert" or at >= rotated:
                    files[f"{name}.log"].append((int(at * 20), which, number, text))
    for name, lines in files.items():
        Path(name).write_bytes(b"".join(text for *_, text in sorted(lines)))
    report, stats = verify(open_logs(".")), collect_stats(open_logs("."))
    assert set(report.counts) <= {"gap"}, report.problems
    return report.counts["gap"], sum(gap["missing"] for gap in stats.gaps or [])


def inner(run: dict[int, Entry], seed: int) -> int:
    """Return the number of an ordinary entry that has others around it."""
    ordinary = [number for number, (_, kind, _) in run.items() if kind == "log"]
    return random.Random(seed).choice(ordinary[5:-5])


@pytest.mark.parametrize("seed", [0, 4, 7])
class TestOneProcessId:
    def test_one_after_another(self, line: Line, seed: int) -> None:
        """Runs of a container, or over os.execv: no number is missing; one that is missing is found."""
        chance = random.Random(seed)
        runs = [entries(line, 100.0 * n, chance.randint(100, 400), 10 * seed + n) for n in range(3)]
        assert store(runs) == (0, 0)
        del (which := runs[seed % 3])[inner(which, seed)]
        assert store(runs) == (1, 1)

    def test_the_beginning_was_rotated_away(self, line: Line, seed: int) -> None:
        """Trades and errors reach further back than expert.log: what is missing there is no gap."""
        runs = [entries(line, 100.0 * n, 300, 10 * seed + n) for n in range(2)]
        assert store(runs, rotated=2.0 + seed * 0.05) == (0, 0)
        assert store(runs, rotated=101.5) == (0, 0)

    def test_two_at_a_time(self, line: Line, seed: int) -> None:
        """Containers with one host name on one volume: their numbers do not fill or open each other's gaps."""
        runs = [entries(line, begin, 300, 10 * seed + n) for n, begin in enumerate((0.0, 0.004 + seed * 0.3))]
        assert store(runs) == (0, 0)
        del (which := runs[seed % 2])[inner(which, seed)]
        assert store(runs) == (1, 1)


def test_two_at_a_time_far_apart(line: Line) -> None:
    """One has counted to many thousands when the other begins: that is no disorder."""
    old = {n: (n * 0.01, "log", line(n, at=n * 0.01)) for n in range(1, 15_001)}
    new = {n: (140.0 + n * 0.01, "log", line(n, at=140.0 + n * 0.01)) for n in range(1, 500)}
    assert store([old, new]) == (0, 0)


def test_a_clock_that_is_set_back(line: Line) -> None:
    """The numbers go on: it is one run, also beside an older one of the same name."""
    before = entries(line, 0.0, 50)
    run = {n: (1000.0 + n * 0.01 - (600 if n > 200 else 0), "log", b"") for n in range(1, 400)}
    run = {n: (at, kind, line(n, at=at)) for n, (at, kind, _) in run.items()}
    Path("expert.log").write_bytes(b"".join(text for _, kind, text in before.values() if kind != "debug trade"))
    Path("trades.log").write_bytes(b"".join(text for _, kind, text in before.values() if "trade" in kind))
    with Path("expert.log").open("ab") as file:
        file.writelines(text for *_, text in run.values())
    assert verify(open_logs(".")).counts == {}
