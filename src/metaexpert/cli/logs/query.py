"""`metaexpert logs query`: SQL over the logs."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import JsonFormat, format_name, reading, with_filters
from metaexpert.cli.tables import csv_table, table
from metaexpert.logs.query import Answer, QueryError
from metaexpert.logs.query import query as run_query


@with_filters
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query on the table logs.")],
    form: Annotated[str, typer.Option("--format", metavar="text|json|csv", help="Format of the result.")] = "text",
    as_json: JsonFormat = False,
    **filters: Any,
) -> None:
    """Query the logs with SQL (needs DuckDB: install the extra "query").

    The table logs has one row for each entry that passes the filters, with
    the columns timestamp, level, message, expert_name, symbol, order_id, …,
    one for each other field, and the whole entry as JSON in entry.

    Exit code 2: the SQL is wrong, or DuckDB is not installed.

    Example:
      metaexpert logs query "SELECT level, count(*) FROM logs GROUP BY level"
      metaexpert logs query --since 1d "SELECT sum(fee) FROM logs" --json
    """
    form = format_name(form, as_json=as_json)
    with reading(filters, "loading") as logs:
        try:
            answer = run_query(logs, sql)
        except QueryError as error:
            raise output.InputError(_on_one_line(str(error))) from None
    output.write(_rendered(answer, form))


def _on_one_line(message: str) -> str:
    """Leave out the end of DuckDB's message, a copy of the query with a mark below it."""
    return re.split(r"\nLINE \d+: ", message)[0].replace("!\n", "; ").replace("\n", " ").strip()


def _rendered(answer: Answer, form: str) -> str:
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in answer.rows]
    if form == "json":
        objects = [dict(zip(answer.columns, row, strict=True)) for row in rows]
        return json.dumps(objects, ensure_ascii=False, indent=2, default=str) + "\n"
    if form == "csv":
        return csv_table(answer.columns, rows)
    numeric = [
        name
        for at, name in enumerate(answer.columns)
        if any(isinstance(row[at], int | float) for row in rows) and not any(isinstance(row[at], str) for row in rows)
    ]
    return table(answer.columns, rows, numeric) if answer.columns else ""
