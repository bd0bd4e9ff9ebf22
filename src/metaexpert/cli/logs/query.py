"""`metaexpert logs query`: SQL over the logs."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand
from metaexpert.cli.logs.select import Directories, selected, tell, with_filters
from metaexpert.cli.progress import shown
from metaexpert.cli.tables import table
from metaexpert.logs.questions.query import Answer, QueryError
from metaexpert.logs.questions.query import query as run_query

app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
@with_filters
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query over the table logs.")],
    directories: Directories = None,
    form: Annotated[str, typer.Option("--format", metavar="text|json|csv", help="Of the result.")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json: a list of objects.")] = False,
    **filters: Any,
) -> None:
    """Ask the logs in SQL (needs DuckDB, which the extra "query" installs).

    The table logs has a row for each entry that passes the filters, each
    once: timestamp, level, message, expert_name, symbol, order_id, … , a
    column for each other field, and the whole entry as JSON in entry.

    Exit code 2: the SQL is wrong, or DuckDB is not installed.

    Example:
      metaexpert logs query "SELECT level, count(*) FROM logs GROUP BY level"
      metaexpert logs query --since 1d "SELECT symbol, sum(fee) FROM logs GROUP BY 1" --format csv
    """
    form = "json" if as_json else form
    if form not in ("text", "json", "csv"):
        raise output.InputError(f"--format: {form!r} should be text, json or csv")
    with shown(selected(context, directories, filters), "loading") as logs:
        try:
            answer = run_query(logs, sql)
        except QueryError as error:
            raise output.InputError(_on_one_line(str(error))) from None
    tell(logs.counts)
    output.write(_rendered(answer, form))


def _on_one_line(message: str) -> str:
    """Leave out the query itself and the mark below it, with which DuckDB ends: they stand in the line above."""
    return re.split(r"\nLINE \d+: ", message)[0].replace("!\n", "; ").replace("\n", " ").strip()


def _rendered(answer: Answer, form: str) -> str:
    rows = [[_plain(value) for value in row] for row in answer.rows]
    if form == "json":
        objects = [dict(zip(answer.columns, row, strict=True)) for row in rows]
        return json.dumps(objects, ensure_ascii=False, indent=2, default=str) + "\n"
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([answer.columns, *rows])
        return text.getvalue()
    numeric = [
        name
        for at, name in enumerate(answer.columns)
        if any(isinstance(row[at], int | float) for row in rows) and not any(isinstance(row[at], str) for row in rows)
    ]
    return table(answer.columns, rows, numeric) if answer.columns else ""


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
