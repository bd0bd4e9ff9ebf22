"""The further commands of `metaexpert logs`, and its filters, in this process."""

import csv
import io
import json
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.testing import reset

Cli = Callable[..., Any]


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """A directory `logs` in which two experts have logged an order each, and one of them an error."""
    for name, symbol, order in (("ema", "BTCUSDT", "ord-1"), ("rsi", "ETHUSDT", "ord-2")):
        logger = MetaLogger(expert_name=name, symbol=symbol, log_to_console=False, capture_stdlib=False, install=False)
        logger.info("Expert started", exchange="binance")
        trade = logger.trade.bind(order_id=order, side="BUY")
        trade.debug("Order submitted", size=2, requested_price=100, status="submitted")
        trade.info("Order filled", size=2, price=101, fee=0.5, trade_id=f"t-{order}", status="filled")
        if name == "rsi":
            logger.error("Order failed", order_id="ord-3", reason="no answer [timeout]")
    reset()
    return tmp_path / "logs"


def messages(out: str) -> list[str]:
    return [json.loads(line)["message"] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--expert", "rsi"], ["Expert started", "Order submitted", "Order filled", "Order failed"]),
        (["--symbol", "BTCUSDT", "--level", "info"], ["Expert started", "Order filled"]),
        (["--order", "ord-1"], ["Order submitted", "Order filled"]),
        (["--order", "ord-1", "--order", "ord-3"], ["Order submitted", "Order filled", "Order failed"]),
        (["--trade-id", "t-ord-2"], ["Order filled"]),
        (["--grep", "failed"], ["Order failed"]),
        (["--grep", "no answer ["], ["Order failed"]),
        (["-g", "ord-[23]", "-g", "answer"], ["Order failed"]),
        (["-i", "-g", "EXPERT STARTED"], ["Expert started"] * 2),
        (["-g", "(unclosed"], []),
        (["--since", "1h", "--level", "error"], ["Order failed"]),
        (["--until", "1h"], []),
        (["--since", "2026-01-01", "-n", "1", "-r"], ["Order failed"]),
        (["--level", "warning", "--diagnostics"], ["Order failed"]),
    ],
)
def test_filters(cli: Cli, story: Path, words: list[str], wanted: list[str]) -> None:
    """Each option of the issue keeps what it names."""
    code, out, err = cli("logs", "--json", *words)
    assert (code, messages(out)) == (0, wanted)
    assert err.startswith("note: no entry in logs is what was asked for; there are " if not wanted else "")
    assert bool(err) != bool(wanted)


def test_fields_and_zone(cli: Cli, story: Path) -> None:
    """Chosen fields are the columns, and times stand in the zone asked for."""
    out = cli("logs", "--fields", "timestamp,order_id", "--format", "csv", "--tz", "Asia/Tokyo", "--order", "ord-3").out
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["timestamp", "order_id"]
    assert rows[1][0].endswith("+09:00")
    assert rows[1][1] == "ord-3"


def test_order(cli: Cli, story: Path) -> None:
    """The life of an order is told with its slippage and fees; about an unknown one nothing is, with exit code 1."""
    out = cli("logs", "order", "ord-1").out
    for part in (
        "ord-1 BUY 2 BTCUSDT",
        "2 of 2 at 101",
        "+100.00 bps, +2 (worse)",
        "fees       0.5",
        "Order submitted",
    ):
        assert part in out
    assert json.loads(cli("logs", "order", "ord-2", "logs", "--json").out)["slippage_bps"] == 100
    assert cli("logs", "order", "ord-9") == (1, "", "error: nothing is logged about order ord-9\n")


def test_trades(cli: Cli, story: Path) -> None:
    """Executions and totals as a table, as JSON, as CSV."""
    out = cli("logs", "trades").out
    assert out.count("BUY") == 2
    assert "ETHUSDT" in out
    found = json.loads(cli("logs", "trades", "--json", "-n", "1").out)
    assert len(found["executions"]) == 1
    assert [(total["expert"], total["fees"], total["position"]) for total in found["totals"]] == [
        ("ema", "0.5", "2"),
        ("rsi", "0.5", "2"),
    ]
    assert cli("logs", "trades", "--format", "csv").out.count("\n") == 3
    assert cli("logs", "trades", "--since", "now").err == "note: there are no trades\n"


def test_stats(cli: Cli, story: Path) -> None:
    """Figures as text with a chart, and as JSON."""
    out = cli("logs", "stats", "--field", "fee").out
    for part in ("7 entries from", "ema", "█", "Order filled", "Order failed", "no gaps in sequence_id"):
        assert part in out
    found = json.loads(cli("logs", "stats", "--json").out)
    assert found["levels"] == {"debug": 2, "info": 4, "error": 1}
    assert found["missing"] == 0


def test_stats_are_shown_in_the_time_zone(cli: Cli, tmp_path: Path, line: Callable[..., bytes]) -> None:
    """Beginning, end and the chart; JSON stays in UTC. Kathmandu is 5:45 ahead."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_bytes(line(1) + line(2, at=60 * 60 * 8))
    out = cli("logs", "stats", "--tz", "Asia/Kathmandu").out
    assert "2 entries from 2026-11-22T16:16:01.000000+05:45 to 2026-11-23T00:16:00.000000+05:45" in out
    assert re.findall(r"^(2026\S+ \S+) +1 ", out, re.M) == ["2026-11-22 16:16", "2026-11-23 00:16"]
    assert "2 entries from 2026-11-22T10:31:01.000000Z to 2026-11-22T18:31:00.000000Z" in cli("logs", "stats").out
    found = json.loads(cli("logs", "stats", "--json", "--tz", "Asia/Kathmandu").out)
    assert (found["first"], list(found["minutes"])) == (
        "2026-11-22T10:31:01.000000Z", ["2026-11-22T10:31", "2026-11-22T18:31"],
    )  # fmt: skip


def test_stats_count_an_hour_that_comes_twice_together(cli: Cli, tmp_path: Path, line: Callable[..., bytes]) -> None:
    """In Berlin 00:30 and 01:30 UTC were both 02:30."""
    (tmp_path / "logs").mkdir()
    moved = [line(n).replace(b"2026-11-22T10", b"2026-10-25T0%d" % n) for n in (0, 1)]
    (tmp_path / "logs" / "expert.log").write_bytes(b"".join(moved))
    out = cli("logs", "stats", "--tz", "Europe/Berlin").out
    assert re.findall(r"^(2026\S+ \S+) +(\d) ", out, re.M) == [("2026-10-25 02:31", "2")]


def test_report_is_written_in_the_time_zone(cli: Cli, tmp_path: Path, line: Callable[..., bytes]) -> None:
    """The page, and the days of the figures."""
    pytest.importorskip("jinja2")
    (tmp_path / "logs").mkdir()
    fill = {"category": "trade", "side": "BUY", "size": 1, "price": 5, "pnl": 1, "symbol": "BTCUSDT"}
    (tmp_path / "logs" / "expert.log").write_bytes(line(1, "Order filled", at=60 * 60 * 14, **fill))
    code, out, _ = cli("logs", "report", "--tz", "Europe/Berlin", "-o", "r.html", "--json")
    assert (code, json.loads(out)["days"][0]["day"]) == (0, "2026-11-23")
    assert "2026-11-23 01:31:00 Europe/Berlin" in (tmp_path / "r.html").read_text()


def test_query(cli: Cli, story: Path, refused: Callable[..., str]) -> None:
    """SQL gives typed columns, each entry once, as a table, JSON or CSV; wrong SQL is refused."""
    pytest.importorskip("duckdb")
    sql = "SELECT symbol, count(*) AS n, sum(fee) AS fees FROM logs GROUP BY 1 ORDER BY 1"
    assert json.loads(cli("logs", "query", sql, "--json").out) == [
        {"symbol": "BTCUSDT", "n": 3, "fees": 0.5},
        {"symbol": "ETHUSDT", "n": 4, "fees": 0.5},
    ]
    assert cli("logs", "query", sql, "--format", "csv").out.splitlines()[1] == "BTCUSDT,3,0.5"
    assert cli("logs", "query", "SELECT typeof(timestamp) AS t, typeof(size) AS s FROM logs LIMIT 1").out.split() == [
        "t", "s", "TIMESTAMP", "BIGINT",
    ]  # fmt: skip
    assert refused("logs", "query", "SELECT 1\nFROM logs\nWHERE levl = 1").startswith(
        'Binder Error: Referenced column "levl" not found in FROM clause; Candidate bindings: "level"'
    )
    assert cli("logs", "query", "SELECT * FROM read_text('/etc/hostname')").code == 2
    assert refused("logs", "query", "").startswith("the SQL has no statement")


def test_query_without_duckdb(refused: Callable[..., str], story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, that is said with the way to get it."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert refused("logs", "query", "SELECT 1") == "DuckDB is not installed; pip install 'metaexpert[query]'"


def test_verify(cli: Cli, story: Path) -> None:
    """Sound files end with 0, others with 1 and the place of each problem."""
    code, out, _ = cli("logs", "verify")
    assert (code, out) == (0, "3 files, 10 lines, 7 entries: all is well\n")
    with (story / "expert.log").open("ab") as file:
        file.write(b"torn \x1b[2J\n")
    code, out, _ = cli("logs", "verify")
    assert code == 1
    assert "torn       expert.log:6: it is no entry: torn \\x1b[2J" in out
    assert json.loads(cli("logs", "verify", "--json").out)["counts"] == {"torn": 1}


def test_recover_without_journals(cli: Cli, story: Path) -> None:
    """Where nobody died, nothing is done."""
    before = {path: path.read_bytes() for path in story.glob("*.log")}
    assert cli("logs", "recover") == (0, "logs: nothing was left to recover\n", "")
    assert {path: path.read_bytes() for path in story.glob("*.log")} == before


def test_bundle(cli: Cli, story: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    """The archive holds entries, figures, settings and versions, and no secret; an existing file is left alone."""
    with (story / "other.log").open("w") as file:
        file.write('{"timestamp":"2026-11-22T10:31:00Z","level":"info","message":"m","api_key":"hunter2hunter2"}\n')
        file.write("Authorization: Bearer hunter2hunter2\n")
    code, out, _ = cli("logs", "bundle", "--redacted", "-o", "b.tar.gz", "--json")
    assert (code, json.loads(out)["lines"], json.loads(out)["masked"]) == (0, 9, 2)
    with tarfile.open("b.tar.gz") as archive:
        names = archive.getnames()
        texts = [member.read() for name in names if (member := archive.extractfile(name)) is not None]
    assert names == [
        f"b/{name}" for name in ("entries.jsonl", "config.json", "versions.json", "stats.json", "verify.json")
    ]
    assert not any(b"hunter2" in text for text in texts)
    assert texts[0].count(b"\n") == 9
    assert refused("logs", "bundle", "--redacted", "-o", "b.tar.gz") == "b.tar.gz exists"
    assert "--redacted" in refused("logs", "bundle")


@pytest.mark.parametrize(
    "words",
    [
        ["trades", "--format", "xml"], ["trades", "-n", "x"], ["stats", "--top", "x"],
        ["query", "SELECT 1", "--format", "x"],
        ["order"], ["query"], ["verify", "nowhere"], ["recover", "nowhere"], ["stats", "--since", "soon"],
    ],
)  # fmt: skip
def test_wrong_words_are_refused(refused: Callable[..., str], story: Path, words: list[str]) -> None:
    """What means nothing ends with code 2 and one line."""
    assert refused("logs", *words)


@pytest.mark.parametrize("command", ["order", "trades", "stats", "query", "verify", "recover", "bundle"])
def test_each_command_helps(cli: Cli, command: str) -> None:
    """The help of each command says what it does and gives an example."""
    code, out, _ = cli("logs", command, "--help")
    assert code == 0
    assert f"metaexpert logs {command}" in out
    assert command in cli("logs", "--help").out


def test_why_and_runs(cli: Cli, story: Path, refused: Callable[..., str]) -> None:
    """The page in plain words, exit code 1 for a bad end; no run is said; --at needs a symbol."""
    code, out, _ = cli("logs", "why")
    assert out.startswith("ema, rsi was closed as it should be at ")
    assert code == 0
    assert len(json.loads(cli("logs", "runs", "--json").out)) >= 1
    assert cli("logs", "why", "--order", "ord-9") == (1, "", "error: nothing is logged about order ord-9\n")
    out = cli("logs", "why", "--order", "ord-1").out
    assert out.startswith("decision   none was logged with it\norder ")
    assert "\nfill " in out
    assert "Nothing was decided about BTCUSDT" in cli("logs", "why", "--symbol", "BTCUSDT", "--at", "10:31").out
    assert refused("logs", "why", "--at", "10:31") == "--at: give one --symbol as well"
    Path("empty").mkdir()
    assert cli("logs", "why", "empty") == (1, "", "error: no run in empty\n")
    assert cli("logs", "runs", "empty").err == "note: there are no runs\n"


@pytest.mark.parametrize("extra", ["live", "report"])
def test_help_names_the_extra(cli: Cli, extra: str) -> None:
    """What has to be installed stands there with its brackets, which are no markup."""
    assert f"pip install 'metaexpert[{extra}]'" in cli("logs", extra, "--help").out
