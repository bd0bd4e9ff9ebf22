"""A log file that someone copied beside the original is read once."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metaexpert.__main__ import main
from metaexpert.logs import open_logs
from metaexpert.logs.runs.reading import read_runs
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.trades import Ledger
from metaexpert.logs.verify import verify
from tests.unit.test_logs.conftest import Line

FILL: dict[str, Any] = {"category": "trade", "side": "BUY", "size": 1, "price": 5, "symbol": "BTCUSDT", "fee": "0.1"}


def story(line: Line, count: int = 20) -> list[bytes]:
    """Return a run: ticks, and each fifth entry a fill without an id."""
    return [line(number, "filled" if number % 5 == 0 else "Tick", **(FILL if number % 5 == 0 else {"bid": number}))
            for number in range(1, count + 1)]  # fmt: skip


def assert_once(directory: Path, entries: int, copies: dict[str, str]) -> None:
    """Each question counts *entries*, and names the *copies*."""
    logs = open_logs(directory)
    (found,) = read_runs(logs)
    assert [(run.entries, run.trades) for run in found.runs] == [(entries, entries // 5)]
    assert logs.counts.copies == copies
    logs = open_logs(directory)
    assert collect_stats(logs).entries == entries
    assert collect_stats(logs).gaps == []
    assert logs.counts.copies == copies
    logs = open_logs(directory)
    ledger = Ledger()
    assert len(list(ledger.read(logs))) == entries // 5
    assert logs.counts.copies == copies
    report = verify(open_logs(directory))
    assert (report.entries, report.counts["gap"]) == (entries, 0)
    told = [f"{name} is a copy of {other}: its entries count once" for name, other in copies.items()]
    assert report.remarks == told


def test_a_copied_log_is_read_once(tmp_path: Path, line: Line) -> None:
    """The copy is named."""
    (tmp_path / "expert.log").write_bytes(b"".join(story(line)))
    shutil.copy(tmp_path / "expert.log", tmp_path / "backup-of-mine.log")
    assert_once(tmp_path, 20, {"backup-of-mine.log": "expert.log"})


def test_verify_misses_no_number_of_trades_that_a_copy_repeats(tmp_path: Path, line: Line) -> None:
    """Between the ordinary entries of a copied log stand trades, whose numbers are known from the original."""
    lines = [line(n, **(FILL if n % 2 == 0 else {})) for n in range(1, 22)]
    (tmp_path / "trades.log").write_bytes(b"".join(lines[1::2]))
    for name in ("expert.log", "yesterday.log", "aaa.log"):
        (tmp_path / name).write_bytes(b"".join(lines))
    report = verify(open_logs(tmp_path))
    assert (report.counts, report.entries, report.lines, report.files) == ({}, 21, 73, 4)
    assert len(report.remarks) == 2


def test_verify_checks_the_lines_of_a_copy(tmp_path: Path, line: Line) -> None:
    """A torn line is told in each file; a number that neither file has is missing once."""
    lines = [line(1), line(2), b"torn\n", line(4)]
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    shutil.copy(tmp_path / "expert.log", tmp_path / "yesterday.log")
    report = verify(open_logs(tmp_path))
    assert report.counts == {"torn": 2, "gap": 1}
    assert {problem.file for problem in report.problems if problem.kind == "torn"} == {"expert.log", "yesterday.log"}


def test_verify_calls_a_backup_that_equals_its_log_a_problem(tmp_path: Path, line: Line) -> None:
    """Within one log and its backups an entry stands once."""
    for name in ("expert.log", "expert.log.1"):
        (tmp_path / name).write_bytes(line(1) + line(2))
    report = verify(open_logs(tmp_path))
    assert (report.counts, report.entries) == ({"duplicate": 2}, 2)


@pytest.mark.parametrize("cut", [0, 7])
def test_a_copy_of_what_has_grown_since_is_its_beginning(tmp_path: Path, line: Line, cut: int) -> None:
    """Also if it was copied while a line was being written."""
    lines = story(line)
    (tmp_path / "backup-of-mine.log").write_bytes(b"".join(lines[:8]) + lines[8][:cut])
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    assert_once(tmp_path, 20, {"backup-of-mine.log": "expert.log"})


@pytest.mark.parametrize("packed", ["expert.log.1", "old.log.1"])
def test_a_copy_of_a_backup_may_be_compressed_or_not(tmp_path: Path, line: Line, packed: str) -> None:
    """The original, the copy, or another copy of it."""
    lines = story(line)
    for name in ("expert.log.1", "old.log.1"):
        path = tmp_path / (f"{name}.gz" if name == packed else name)
        path.write_bytes(gzip.compress(b"".join(lines[:9]), 9) if name == packed else b"".join(lines[:9]))
    (tmp_path / "expert.log").write_bytes(b"".join(lines[9:]))
    shutil.copy(next(tmp_path.glob(f"{packed}*")), tmp_path / "again.log.3.gz")
    logs = open_logs(tmp_path)
    assert collect_stats(logs).entries == 20
    assert len(logs.counts.copies) == 2
    assert [(run.entries, run.trades) for run in read_runs(logs)[0].runs] == [(20, 4)]


def test_files_of_trades_and_errors_are_no_copies(tmp_path: Path, line: Line) -> None:
    """Even if a log begins with trades: the logger wrote both."""
    trades = [line(number, "filled", **FILL) for number in range(1, 6)]
    (tmp_path / "trades.log").write_bytes(b"".join(trades))
    (tmp_path / "expert.log").write_bytes(b"".join(trades))
    logs = replace(open_logs(tmp_path), copies=False)
    assert len(list(logs)) == 5
    assert logs.counts.copies == {}
    (tmp_path / "expert.log").write_bytes(b"".join([*trades, line(6)]))
    assert len(list(logs)) == 6
    assert logs.counts.copies == {}


def test_the_same_text_of_other_programs_is_no_copy(tmp_path: Path, line: Line) -> None:
    """Only an entry of the logger has a place and number that no other entry has."""
    (tmp_path / "one.log").write_bytes(b"started\n")
    (tmp_path / "two.log").write_bytes(b"started\nstopped\n")
    (tmp_path / "empty.log").write_bytes(b"")
    logs = replace(open_logs(tmp_path), copies=False)
    assert len(list(logs)) == 3
    assert logs.counts.copies == {}


def test_a_copy_that_someone_wrote_on_in_is_read(tmp_path: Path, line: Line) -> None:
    """What it has beyond the original must not vanish."""
    lines = story(line)
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    (tmp_path / "mine.log").write_bytes(b"".join(lines[:5]) + line(6, "changed by hand"))
    logs = replace(open_logs(tmp_path), copies=False)
    assert "changed by hand" in [record.text for record in logs]
    assert logs.counts.copies == {}


def test_a_damaged_copy_is_told_as_damaged(tmp_path: Path, line: Line) -> None:
    """Its readable beginning alone proves nothing."""
    lines = story(line, 400)
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    packed = gzip.compress(b"".join(lines[:300]))
    (tmp_path / "old.log.1.gz").write_bytes(packed[: len(packed) // 2])
    logs = replace(open_logs(tmp_path), copies=False)
    list(logs)
    assert "old.log.1.gz" in logs.counts.unreadable


def figures(out: str) -> Any:
    """Return what a command printed, without the time at which a report was made."""
    found = json.loads(out)
    return {key: found[key] for key in found if key != "made"} if isinstance(found, dict) else found


def test_commands_name_a_copy(tmp_path: Path, line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; what they count is as without it."""
    (tmp_path / "expert.log").write_bytes(b"".join(story(line)))
    commands = (["runs", "--json"], ["trades", "--json"], ["stats", "--json"], ["why", "--json"], ["report", "--json"])
    alone = []
    for command in commands:
        main(["logs", command[0], *command[1:], str(tmp_path)])
        alone.append(figures(capsys.readouterr().out))
    shutil.copy(tmp_path / "expert.log", tmp_path / "backup-of-mine.log")
    for command, before in zip(commands, alone, strict=True):
        main(["logs", command[0], *command[1:], str(tmp_path)])
        out, err = capsys.readouterr()
        assert figures(out) == before
        assert "note: backup-of-mine.log is a copy of expert.log: it is read once" in err


@pytest.mark.parametrize("later", [0, 5])
def test_a_copied_directory_counts_once(
    tmp_path: Path, line: Line, capsys: pytest.CaptureFixture[str], later: int
) -> None:
    """Beside the original, in whatever order, also when that has grown since; a third directory counts."""
    lines = story(line)
    for name, count in (("kept", len(lines) - later), ("logs", len(lines))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "expert.log").write_bytes(b"".join(lines[:count]))
        (tmp_path / name / "trades.log").write_bytes(b"".join(one for one in lines[:count] if b"filled" in one))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "expert.log").write_bytes(line(1, "Tick", procid="7"))
    for names in (["kept", "logs", "other"], ["logs", "other", "kept"]):
        logs = open_logs(*(tmp_path / name for name in names))
        found = [run for one in read_runs(logs) for run in one.runs]
        assert sorted((run.entries, run.trades) for run in found) == [(1, 0), (20, 4)]
        (copy,), (original,) = logs.counts.copies, logs.counts.copies.values()
        assert {Path(copy).name, Path(original).name} == {"kept", "logs"}
        assert not later or Path(copy).name == "kept"
    for command in ("runs", "why", "report"):
        main(["logs", command, "--json", *(str(tmp_path / name) for name in ("logs", "kept"))])
        out, err = capsys.readouterr()
        assert " is a copy of " in err
        assert out.count('"entries":') == out.count('"entries": 20') == (2 if command == "report" else 1)


def test_a_directory_given_twice_counts_once(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same name and under another; a directory within another one has its own files."""
    (tmp_path / "expert.log").write_bytes(b"".join(story(line)))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "expert.log").write_bytes(line(1, "Tick", procid="7"))
    monkeypatch.chdir(tmp_path)
    logs = open_logs(tmp_path, tmp_path, ".", tmp_path / "old")
    assert [run.entries for one in read_runs(logs) for run in one.runs] == [20, 1]
    assert logs.counts.copies == {}
