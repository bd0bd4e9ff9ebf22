"""The archive: Parquet files that hold each line as it was, with typed columns, and are read like logs."""

import json
import os
import re
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger.entry.rfc5424 import to_layout
from metaexpert.logs import Entry, Logs, open_logs
from metaexpert.logs.archive import export as exporting
from metaexpert.logs.archive.export import export
from metaexpert.logs.archive.files import ArchiveError
from metaexpert.logs.foreign.explain import explain
from metaexpert.logs.orders import order_life
from metaexpert.logs.reading import merge

duckdb = pytest.importorskip("duckdb")
Line = Callable[..., bytes]


def lines(logs: Logs) -> list[bytes]:
    return [record.line for record in logs]


def rows(archive: Path, sql: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = duckdb.sql(sql.replace("logs", f"'{archive}/*/*.parquet'", 1)).fetchall()
    return found


VALUES: dict[str, Any] = {
    "price": 0.1,
    "size": "0.30000000000000000001",
    "fee": "0.000000000000000001",
    "pnl": -12,
    "filled_size": True,
    "order_size": {"a": [1, None, 2.5]},
    "position_size": None,
    "big": 2**70,
    "Case": 1,
    "case": "é\u2028\\u0000",
    "CASE": [1.0, {"b": False}],
    "symbol": 7,
    **{f"field_{number}": number for number in range(300)},
}


def test_an_archive_holds_each_line_and_typed_columns(tmp_path: Path, line: Line) -> None:
    """Lines come back as they were, in their order; columns have the types of the archive, the rest is in the line."""
    nested = json.dumps(to_layout(json.loads(line(2, "b", at=86_400, price=3)))).encode() + b"\n"
    data = [line(1, "a", **VALUES), nested]
    torn = b'{"timestamp":"2026-\xff\x01 torn\n'
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_bytes(data[0] + torn + data[1])
    archive = tmp_path / "archive"
    assert export(open_logs(tmp_path / "logs"), archive) == (2, 1, 2)
    assert sorted(path.name for path in archive.iterdir()) == ["date=2026-11-22", "date=2026-11-23"]
    back = list(open_logs(archive))
    assert [record.line + b"\n" for record in back if isinstance(record, Entry)] == data
    assert [record.key[:2] for record in back] == [record.key[:2] for record in open_logs(tmp_path / "logs")]
    assert back[1].text == '{"timestamp":"2026-\\xff\x01 torn'
    kinds = dict(rows(archive, "SELECT column_name, column_type FROM (DESCRIBE FROM logs)"))
    assert (kinds["timestamp"], kinds["price"], kinds["line"]) == (
        "TIMESTAMP WITH TIME ZONE", "DECIMAL(38,18)", "VARCHAR",
    )  # fmt: skip
    (first, _, second) = rows(
        archive, "SELECT price, size, fee, pnl, filled_size, symbol, level, severity, file FROM logs"
    )
    assert first == (Decimal("0.1"), Decimal("0.3"), Decimal("1e-18"), -12, None, "7", "info", 6, "expert.log")
    assert second[0] == 3
    ((case,),) = rows(archive, """SELECT line->>'$.Case' FROM logs WHERE line->>'$.case' LIKE 'é%'""")
    assert case == "1"
    assert [one.format for one in explain([archive])] == ["metaexpert archive"] * 2


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names are Unicode there")
def test_a_file_whose_name_is_no_text_is_exported(tmp_path: Path, line: Line) -> None:
    """Its bytes stand escaped in the column `file`, beside entries and beside lines that are none."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / os.fsdecode(b"\xff.log")).write_bytes(line(1, "a") + b"torn\n")
    assert export(open_logs(tmp_path / "logs"), tmp_path / "archive") == (1, 1, 1)
    assert rows(tmp_path / "archive", "SELECT file, text FROM logs") == [("\\xff.log", None), ("\\xff.log", "torn")]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names are Unicode there")
def test_an_archive_whose_name_is_no_text_is_refused(tmp_path: Path, line: Line) -> None:
    """DuckDB takes names of files only as text."""
    (tmp_path / "expert.log").write_bytes(line(1))
    with pytest.raises(ArchiveError, match="is no UTF-8"):
        export(open_logs(tmp_path / "expert.log"), tmp_path / os.fsdecode(b"\xff"))
    assert [path.name for path in tmp_path.iterdir()] == ["expert.log"]


def test_values_that_only_python_can_hold_are_exported(tmp_path: Path, line: Line) -> None:
    """Integers beyond 64 bits and halves of a pair, in the layout whose values travel as texts."""
    entry = json.loads(line(1, price=2**70, order_id=2**70, side="\ud800"))
    (tmp_path / "logs").mkdir()
    data = json.dumps(to_layout(entry)).encode() + b"\n" + line(2**70, at=2)
    (tmp_path / "logs" / "expert.log").write_bytes(data)
    assert export(open_logs(tmp_path / "logs"), tmp_path / "archive") == (2, 0, 1)
    found = rows(tmp_path / "archive", "SELECT sequence_id, order_id, side FROM logs")
    assert found == [(1, str(2**70), "?"), (None, None, None)]
    assert b"".join(one + b"\n" for one in lines(open_logs(tmp_path / "archive"))) == data


def test_both_layouts_have_the_type_of_an_exception(tmp_path: Path, line: Line) -> None:
    """It is a column of its own."""
    flat = line(1, "a", exception={"type": "TimeoutError", "value": "5 s", "frames": []})
    nested = json.dumps(to_layout(json.loads(flat) | {"sequence_id": 2})).encode() + b"\n"
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_bytes(flat + nested)
    export(open_logs(tmp_path / "logs"), tmp_path / "archive")
    assert rows(tmp_path / "archive", "SELECT exception_type FROM logs") == [("TimeoutError",)] * 2


def test_exporting_again_adds_what_is_new(tmp_path: Path, line: Line) -> None:
    """An archive takes in each line once, as often as one log has it, and loses none that the logs no longer have."""
    (tmp_path / "logs").mkdir()
    log, archive = tmp_path / "logs" / "bot.log", tmp_path / "archive"
    same = b"2026-11-22 10:00:00,1 - a - INFO - again\n"
    log.write_bytes(same * 2 + b"2026-11-22 10:00:01,1 - a - INFO - b\n")
    export(open_logs(tmp_path / "logs"), archive)
    first = lines(open_logs(archive))
    assert len(first) == 3
    export(open_logs(tmp_path / "logs"), archive)
    assert lines(open_logs(archive)) == first
    log.write_bytes(same + b"2026-11-22 10:00:00,5 - a - INFO - between\n")
    export(open_logs(tmp_path / "logs"), archive)
    assert [json.loads(one)["message"] for one in lines(open_logs(archive))] == ["again", "again", "between", "b"]
    export(open_logs(archive), archive)
    assert len(lines(open_logs(archive))) == 4


def test_filters_hold_on_the_way_there_and_back(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what passes is exported; and an archive answers as the logs do, forwards, backwards, and from its end."""
    monkeypatch.setattr(exporting, "_GROUP", 2048)  # DuckDB's smallest
    (tmp_path / "logs").mkdir()
    data = [
        line(n, f"m{n}", level=("error" if n % 500 == 0 else "info"), at=n * 20, symbol=f"S{n % 3}", order_id=f"o{n}")
        for n in range(1, 5001)
    ]
    (tmp_path / "logs" / "expert.log").write_bytes(b"".join(data))
    logs = open_logs(tmp_path / "logs")
    export(logs.filter(level="error"), tmp_path / "errors")
    assert lines(open_logs(tmp_path / "errors")) == lines(logs.filter(level="error"))
    export(logs, tmp_path / "archive")
    archive = open_logs(tmp_path / "archive")
    asks: list[dict[str, Any]] = [
        {}, {"level": "error"}, {"symbol": "S1"}, {"order": "o77"}, {"grep": re.compile("m4.9")},
        {"since": "2026-11-22T20:00:00Z", "until": "2026-11-22T20:10:00Z"}, {"since": "2026-11-23T12:00:00Z"},
    ]  # fmt: skip
    for ask in asks:
        wanted = lines(logs.filter(**ask))
        assert wanted
        assert lines(archive.filter(**ask)) == wanted
        assert [record.line for record in archive.filter(**ask).last(20)] == wanted[-20:]
    assert [step.entry.line for step in order_life(archive, "o77").steps] == lines(logs.filter(order="o77"))
    with archive.opened() as (log,):
        assert [len(file.spans) for file in log.files] == [2, 2]
        criteria = archive.filter(**asks[5]).criteria
        looked = merge.survey([log], criteria, archive.counts, merge.ignore)
        assert [(stretch.offset, stretch.length) for stretch in looked] == [(0, 2048)]


def test_what_is_no_archive_is_refused(tmp_path: Path, line: Line) -> None:
    """A directory that holds something else stays as it is; a half written day is never taken for a whole one."""
    (tmp_path / "expert.log").write_bytes(line(1))
    with pytest.raises(ArchiveError, match=r"is no archive: it holds expert\.log; give an empty or a new directory"):
        export(open_logs(tmp_path), tmp_path)
    archive = tmp_path / "archive"
    (archive / ".export-x").mkdir(parents=True)
    (archive / ".export-x" / "entries.part").write_bytes(b"PAR1")
    (archive / "date=2026-11-21").mkdir()
    assert export(open_logs(tmp_path), archive).entries == 1
    assert lines(open_logs(archive)) == [line(1).rstrip()]
    assert [path.name for path in (archive / "date=2026-11-22").iterdir()] == ["entries.parquet"]
    (archive / "date=2026-11-22" / "entries.parquet").write_bytes(b"PAR1 damaged PAR1")
    logs = open_logs(archive)
    assert list(logs) == []
    assert list(logs.counts.unreadable) == ["entries.parquet"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

_NAMES = st.sampled_from([*VALUES, "a.b", 'q"', ""])


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.lists(
        st.tuples(st.text(max_size=20), st.dictionaries(_NAMES, _JSON, max_size=5)),
        min_size=1, max_size=10,
    ),
    junk=st.binary(max_size=40).filter(lambda data: b"\n" not in data),
)  # fmt: skip
def test_there_and_back_is_lossless(
    entries: list[tuple[str, dict[str, Any]]], junk: bytes, line: Line, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the fields hold, each entry's line comes back to the byte."""
    directory = tmp_path_factory.mktemp("archive")
    (directory / "logs").mkdir()
    data = [
        line(number, text.encode("utf-8", "replace").decode(), **json.loads(json.dumps(fields)))
        for number, (text, fields) in enumerate(entries, 1)
    ]
    (directory / "logs" / "expert.log").write_bytes(b"".join(data) + junk)
    logs = open_logs(directory / "logs")
    export(logs, directory / "archive")
    back = open_logs(directory / "archive")
    wanted = [record.line for record in logs if isinstance(record, Entry)]
    assert [record.line for record in back if isinstance(record, Entry)] == wanted
    assert (logs.counts.entries, logs.counts.unparsed) == (back.counts.entries, back.counts.unparsed)
