"""SQL: a query that names its columns gets only those, and answers as it does from whole entries."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger.entry.rfc5424 import to_layout
from metaexpert.logger.system.native import core
from metaexpert.logs import query as module
from metaexpert.logs.library import open_logs
from metaexpert.logs.query import QueryError, needed, query
from tests.unit.test_logs.conftest import Line

duckdb = pytest.importorskip("duckdb")
compiled = pytest.mark.skipif(core is None, reason="nothing is compiled")

NAMED = [
    "SELECT message, count(*) AS n FROM logs GROUP BY message ORDER BY n DESC, message",
    "SELECT level, severity, msgid, procid, hostname, appname, sequence_id, timestamp FROM logs",
    "SELECT l.price, typeof(l.price), size, typeof(size), note FROM logs AS l ORDER BY sequence_id, price",
    "SELECT max(PRICE), max(size) FROM logs",
    "SELECT count(*) FROM logs",
    "SELECT nested->>'a', count(order_id) FROM logs WHERE level = 'error' OR flag GROUP BY ALL",
    "WITH x AS (SELECT order_id, price FROM logs) SELECT order_id, count(*) FROM x GROUP BY 1 ORDER BY 1",
    "SELECT a.order_id, b.level FROM logs a JOIN logs b USING (order_id) ORDER BY 1, 2",
    "SELECT message FROM logs WHERE symbol LIKE 'BTC%' UNION ALL SELECT symbol FROM logs",
    "SELECT CAST(price AS DECIMAL(10, 2)) p, row_number() OVER (PARTITION BY level ORDER BY timestamp) FROM logs",
    "SELECT message FROM logs WHERE price > (SELECT avg(price) FROM logs) LIMIT 3",
    "SELECT big, typeof(big), other FROM logs ORDER BY sequence_id",
]  # fmt: skip
WHOLE = [
    "SELECT * FROM logs", "FROM logs", "SELECT l FROM logs l", "SELECT logs FROM logs", "SELECT entry FROM logs",
    "SELECT file, count(*) FROM logs GROUP BY 1", "SUMMARIZE logs", "DESCRIBE logs", "SELECT COLUMNS('p.*') FROM logs",
    "SELECT #1 FROM logs", "SELECT price FROM logs NATURAL JOIN (SELECT 'info' AS level)", "PIVOT logs ON level",
    "SELECT column_name FROM information_schema.columns", "SELECT facility FROM logs", "SELECT b FROM logs AS l(a, b)",
    "SELECT größe FROM logs", "SELECT l.* FROM logs l", "SELECT name FROM duckdb_columns()", "SELECT",
    "CREATE TABLE t(a INT)",    "SELECT message FROM logs; SELECT * FROM logs", "SELECT count(l) FROM logs l",
]  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path, line: Line) -> Path:
    """Every form of line: trades and errors with copies, other layouts, other spellings, lines that are no entries."""
    trades = [line(n, "Filled", category="trade", order_id=f"o{n % 3}", price=n / 4, size=n) for n in range(1, 6)]
    errors = [line(n, "Failed", level="error", order_id="o1", flag=True) for n in range(6, 9)]
    nested = [line(n, 'say "x"\n', nested={"a": n}, symbol="BTCUSDT", größe=n) for n in range(9, 12)]
    others = [
        line(12, price=None, note="é", size=2.5), line(13, Price=7, note=5, size="2"), line(14, big=2**64),
        line(15, big=10**18), line(16, big=3), line(17)[:-2] + b',"price":1,"price":2}\n', line(18)[:-20] + b"\n",
        line(19).replace(b'":', b'": '), line(20, other=[1]), line(21, other=1e3), b"not an entry\n",
        line(22, huge=10**30), line(23, note="a\\u0041"), line(1, "again", at=40),
        line(24, level="error", symbol="BTC"),
        json.dumps({**json.loads(line(25, "other zone")), "timestamp": "2026-11-22T12:31:25+02:00"}).encode() + b"\n",
    ]  # fmt: skip
    (tmp_path / "expert.log.1").write_bytes(b"".join(trades + errors))
    (tmp_path / "expert.log").write_bytes(b"".join(nested + others))
    (tmp_path / "trades.log").write_bytes(b"".join([line(0, "old", at=-5, category="trade", order_id="o9"), *trades]))
    (tmp_path / "errors.log").write_bytes(b"".join(errors))
    return tmp_path


@compiled
@pytest.mark.parametrize("sql", NAMED)
def test_named_columns_give_the_answer_of_whole_entries(logs: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, columns, and counts of entries and other lines."""
    quick, whole = open_logs(logs), open_logs(logs)
    used = []
    monkeypatch.setattr(module, "_written", lambda *_: pytest.fail("whole entries are read"))
    found = query(quick, sql)
    monkeypatch.undo()
    monkeypatch.setattr(module, "_needed", lambda *_: used.append(1))
    expected = query(whole, sql)
    assert used
    assert found.columns == expected.columns
    assert Counter(map(repr, found.rows)) == Counter(map(repr, expected.rows))
    if "timestamp FROM" in sql or "ORDER BY" in sql:
        assert found.rows == expected.rows
    assert found.rows
    assert (quick.counts.entries, quick.counts.unparsed) == (whole.counts.entries, whole.counts.unparsed)


def test_what_may_mean_all_columns_gets_whole_entries() -> None:
    """A star, a row, a column by its place, another statement, another table."""
    with duckdb.connect() as connection:
        assert [sql for sql in WHOLE if needed(connection, sql) is not None] == []


def test_a_query_with_its_own_order_needs_none() -> None:
    """Otherwise rows come in order of time, so time and number are needed too."""
    with duckdb.connect() as connection:
        ordered, plain = (
            needed(connection, "SELECT price FROM logs ORDER BY 1"),
            needed(connection, "SELECT a FROM logs"),
        )
    assert ordered is not None
    assert (ordered.names, ordered.ordered) == ((b"price",), False)
    assert plain is not None
    assert (plain.names, plain.ordered) == ((b"a", b"sequence_id", b"timestamp"), True)


def test_an_unknown_column_is_told_with_those_there_are(logs: Path) -> None:
    """Also those that only the entries have."""
    with pytest.raises(QueryError, match="nested"):
        query(open_logs(logs), "SELECT neste FROM logs GROUP BY 1")


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names are Unicode there")
def test_the_name_of_a_file_that_is_no_text_is_escaped(tmp_path: Path, line: Line) -> None:
    """Its entries can be counted by file like others."""
    (tmp_path / os.fsdecode(b"\xff.log")).write_bytes(line(1))
    assert query(open_logs(tmp_path), "SELECT file, message FROM logs").rows == [("\\xff.log", "m")]


def test_values_that_are_no_json_leave_the_others_readable(tmp_path: Path, line: Line) -> None:
    """Half a surrogate pair and NaN, in the layout whose values travel as texts."""
    odd = to_layout(json.loads(line(1, side="\ud800", price=float("nan"), size=2**70)))
    (tmp_path / "expert.log").write_bytes(json.dumps(odd).encode() + b"\n" + line(2, side="BUY"))
    for sql in ("SELECT side FROM logs ORDER BY sequence_id", "SELECT side FROM logs ORDER BY entry->>'timestamp'"):
        assert query(open_logs(tmp_path), sql).rows == [("?",), ("BUY",)]


@pytest.mark.parametrize("sql", ["", " \n\t", ";", " ; ;", "-- only a comment", "/* and another */;"])
def test_sql_without_a_statement_is_refused(logs: Path, sql: str) -> None:
    """Blanks, comments and semicolons ask for nothing, and DuckDB has no result for them."""
    with pytest.raises(QueryError, match=r"^the SQL has no statement; it should be like SELECT .* FROM logs"):
        query(open_logs(logs), sql)


def test_times_are_utc(logs: Path) -> None:
    """Also that of an entry with another offset."""
    for order in ("", " ORDER BY message, entry"):
        sql = f"SELECT strftime(timestamp, '%H:%M:%S') FROM logs WHERE message = 'other zone'{order}"
        assert query(open_logs(logs), sql).rows == [("10:31:25",)]


@compiled
def test_filters_choose_before_the_query(logs: Path) -> None:
    """A filtered table has only the entries that pass."""
    found: list[tuple[Any, ...]] = query(open_logs(logs, level="error"), "SELECT count(*) FROM logs").rows
    assert found == [(4,)]
