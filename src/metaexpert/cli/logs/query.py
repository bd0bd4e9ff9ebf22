"""`metaexpert logs query` and `export`: SQL over the logs, and an archive for other programs that ask; by DuckDB."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, JsonFormat, format_name, reading, with_filters
from metaexpert.cli.tables import csv_table, table
from metaexpert.logs.archive.export import export as run_export
from metaexpert.logs.archive.files import ArchiveError
from metaexpert.logs.query import MOST_SECONDS, QueryError
from metaexpert.logs.query import query as run_query
from metaexpert.logs.vocabulary import counted


@with_filters
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query on the table logs.")],
    form: Annotated[str, typer.Option("--format", metavar="text|json|csv", help="Format of the result.")] = "text",
    as_json: JsonFormat = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="SECONDS", help="Longest time for the query itself.")
    ] = str(MOST_SECONDS),
    **filters: Any,
) -> None:
    """Query the logs with SQL (needs DuckDB: install the extra "query").

    The table logs has one row for each entry that passes the filters, with
    the columns timestamp, level, message, expert_name, symbol, order_id, …,
    one for each other field, and the whole entry as JSON in entry. The query
    reads nothing else, and has a limit of memory, time and rows.

    Exit code 2: the SQL is wrong or beyond a limit, or DuckDB is not installed.

    Example:
      metaexpert logs query "SELECT level, count(*) FROM logs GROUP BY level"
      metaexpert logs query --since 1d "SELECT sum(fee) FROM logs" --json
    """
    form = format_name(form, as_json=as_json)
    with reading(filters, "loading", files=True) as logs:
        try:
            answer = run_query(logs, sql, _seconds(timeout))
        except QueryError as error:
            raise output.InputError(_on_one_line(str(error))) from None
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in answer.rows]
    if form == "json":
        output.write_json([dict(zip(answer.columns, row, strict=True)) for row in rows], default=str)
    else:
        output.write(csv_table(answer.columns, rows) if form == "csv" else _table(answer.columns, rows))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise output.InputError(f"--timeout: {text!r} should be a number of seconds")
    return seconds


def _on_one_line(message: str) -> str:
    """Leave out the end of DuckDB's message, a copy of the query with a mark below it."""
    return re.split(r"\nLINE \d+: ", message)[0].replace("!\n", "; ").replace("\n", " ").strip()


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    numeric = [
        name
        for at, name in enumerate(columns)
        if any(isinstance(row[at], int | float) for row in rows) and not any(isinstance(row[at], str) for row in rows)
    ]
    return table(columns, rows, numeric, width=output.width()) if columns else ""


@with_filters
def export(
    parquet: Annotated[str, typer.Option("--parquet", metavar="DIR", help="Directory of the archive.")],
    as_json: Json = False,
    **filters: Any,
) -> None:
    """Bring entries into an archive of Parquet files (needs DuckDB: install the extra "query").

    The archive has one file for each day, date=2026-11-22/entries.parquet,
    with typed columns and each line as it is. DuckDB, pandas, ClickHouse
    and Spark read it, and so do all commands of metaexpert logs. Exporting
    again adds only what the archive does not have.

    Exit code 2: DIR holds something else or cannot be written, or DuckDB is
    not installed.

    Example:
      metaexpert logs export --parquet archive
      metaexpert logs export --parquet archive --until yesterday ./ema ./rsi
      metaexpert logs archive --since 2026-01-01 --order ord-42
    """
    with reading(filters, "exporting", files=True, fate="archived as found") as logs:
        try:
            done = run_export(logs, Path(parquet))
        except ArchiveError as error:
            raise output.InputError(str(error)) from None
    if as_json:
        output.write_json(done._asdict())
    else:
        others = f" and {counted(done.others, 'line')} that are no entries" if done.others else ""
        output.write(f"{counted(done.entries, 'entry')}{others} of {counted(done.days, 'day')} are in {parquet}\n")
    if logs.counts.unreadable:
        raise typer.Exit(1)
