"""`tools/account.py`, which the soak test relies on: it sees each kind of loss."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import account
import pytest

CALLS = 20


def entry(number: int, sequence: int, **fields: Any) -> dict[str, Any]:
    """Return what the checker looks at."""
    usual = {"hostname": "h", "procid": "1", "sequence_id": sequence, "expert_name": "e0", "message": "m"}
    return {**usual, "run": "1", "number": number, **fields}


def write(directory: Path, base: str, entries: list[dict[str, Any]]) -> None:
    """Write a log file."""
    directory.mkdir(exist_ok=True)
    (directory / base).write_text("".join(json.dumps(one) + "\n" for one in entries))


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A function that runs the checker over `logs`, given what is true."""

    def run(**truth: Any) -> tuple[int, str]:
        truths = tmp_path / "truths"
        truths.mkdir(exist_ok=True)
        usual = {"expert": "e0", "run": "1", "procid": "1", "calls": CALLS, "killed": False, "lossless": True}
        (truths / "e0.json").write_text(json.dumps({**usual, **truth}))
        return account.main(truths, [Path("logs")]), capsys.readouterr().out

    entries = [entry(number, number + 1) for number in range(CALLS)]
    for base in account.FILES:
        write(Path("logs"), base, [one for one in entries if account.wanted(base, one["number"])])
    return run


Judge = Callable[..., tuple[int, str]]


def lines(base: str) -> list[str]:
    """Return the lines of a file."""
    return Path("logs", base).read_text().splitlines(keepends=True)


def test_all_is_well(judge: Judge) -> None:
    """What was logged is there: exit code 0; in a backup, compressed, or in a directory below as well."""
    assert judge() == (0, "20 calls, 20 entries, 0 dropped and announced, 0 problems\n")
    first, *rest = lines("expert.log")
    Path("logs/expert.log").write_text("".join(rest))
    Path("logs/kept").mkdir()
    Path("logs/kept/expert.log.1.gz").write_bytes(gzip.compress(first.encode()))
    assert judge()[0] == 0


@pytest.mark.parametrize("base", account.FILES)
def test_a_lost_entry(judge: Judge, base: str) -> None:
    """In any of the files."""
    Path("logs", base).write_text("".join(lines(base)[:-1]))
    code, said = judge()
    assert code == 1
    assert f"{base}: 1 of 20 lost" in said


@pytest.mark.parametrize("base", account.FILES)
def test_a_doubled_entry(judge: Judge, base: str) -> None:
    """In any of the files."""
    Path("logs", base).write_text("".join([*lines(base), lines(base)[0]]))
    code, said = judge()
    assert code == 1
    assert f"{base}: 1 entries doubled" in said
    assert "is there 2 times" in said


def test_a_torn_line(judge: Judge) -> None:
    """At the end or in the middle."""
    Path("logs/expert.log").write_text("".join(lines("expert.log"))[:-1])
    assert "ends in a torn line" in judge()[1]
    Path("logs/expert.log").write_text("torn\n" + "".join(lines("expert.log")) + "\n")
    assert "expert.log:1: no entry" in judge()[1]


def test_an_entry_that_nobody_logged(judge: Judge) -> None:
    """A number beyond the calls, or a run that nobody knows of; one more is right when it was killed."""
    write(Path("logs/more"), "expert.log", [entry(CALLS, CALLS + 1)])
    assert "1 entries that were never logged there, such as number 20" in judge()[1]
    assert judge(killed=True)[0] == 0
    write(Path("logs/more"), "expert.log", [entry(0, CALLS + 1, run="9")])
    assert "nobody knows of run 9 of expert e0" in judge()[1]


def test_a_gap_in_the_sequence(judge: Judge) -> None:
    """Of a process that ended well; one that was killed may have taken a number for a call under way."""
    write(Path("logs/more"), "expert.log", [entry(CALLS, CALLS + 3)])
    assert "2 gaps in its sequence, the first at 21" in judge(calls=21)[1]
    assert judge(killed=True)[0] == 0


def test_what_was_dropped(judge: Judge) -> None:
    """As many as the log says are missing, no more and no less, and as many as the logger counts."""
    for base in account.FILES:
        Path("logs", base).write_text("".join(one for one in lines(base) if json.loads(one)["number"] < 15))
    news = entry(0, 16, message="log.dropped", dropped=5)
    del news["run"], news["number"]
    write(Path("logs/more"), "expert.log", [news])
    assert judge(lossless=False, dropped=5)[0] == 0
    assert "counts 4 as dropped, but announced 5" in judge(lossless=False, dropped=4)[1]
    write(Path("logs/more"), "expert.log", [{**news, "dropped": 4}])
    assert "20 calls, but 15 entries and 4 announced as dropped" in judge(lossless=False)[1]


def test_an_entry_that_is_in_some_of_its_files(judge: Judge) -> None:
    """One who may drop counts it as failed; one who may not has lost it."""
    Path("logs/expert.log").write_text("".join(one for one in lines("expert.log") if json.loads(one)["number"] != 7))
    assert judge(lossless=False, failed=1)[0] == 0
    assert "counts 0 as failed, but 1 are not in all of their files" in judge(lossless=False, failed=0)[1]
    assert "expert.log: 1 of 20 lost" in judge()[1]
