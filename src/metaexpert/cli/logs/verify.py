"""`metaexpert logs verify` and `schema`: check the log files, and print the schema that they are checked against."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Directories, Json, opened
from metaexpert.cli.progress import shown
from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.recover import waiting_journals
from metaexpert.logs.verify import Report
from metaexpert.logs.verify import verify as run_verify
from metaexpert.logs.vocabulary import counted


def verify(
    directories: Directories = None,
    as_json: Json = False,
) -> None:
    """Check log files: schema, gaps in sequence_id, duplicates, torn lines, order.

    Reports each problem with file and line. Reads everything, writes nothing.

    Exit code 0: no problems. 1: there are problems.

    Example:
      metaexpert logs verify
      metaexpert logs verify ./live-logs --json
    """
    with shown(opened(directories or ()), "verifying") as logs:
        report = run_verify(logs)
    for directory in logs.directories:
        if waiting_journals(directory):
            report.remarks.append(
                f"{directory} has journals: an expert runs, or died, and metaexpert logs recover brings in its entries"
            )
    if as_json:
        output.write_json(report.as_dict())
    else:
        output.write(_text(report))
    if not report.ok:
        raise typer.Exit(1)


def _text(report: Report) -> str:
    lines = [f"{p.kind:<10} {p.file}{f':{p.line}' if p.line else ''}: {p.text}" for p in report.problems]
    for kind, count in report.counts.items():
        listed = sum(problem.kind == kind for problem in report.problems)
        if kind != "gap" and count > listed:
            lines.append(f"{kind:<10} and {count - listed} more")
    lines += [f"{'remark':<10} {remark}" for remark in report.remarks]
    verdict = "all is well" if report.ok else ", ".join(f"{count} {kind}" for kind, count in report.counts.items())
    seen = (counted(report.files, "file"), counted(report.lines, "line"), counted(report.entries, "entry"))
    lines.append(f"{', '.join(seen)}: {verdict}")
    return "".join(f"{escape(line)}\n" for line in lines)


schema_app = typer.Typer(add_completion=False)


@schema_app.command()
def schema(
    layout: Annotated[
        Literal["flat", "rfc5424"] | None, typer.Option(help="Schema of this layout only; of both if left out.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a line in the log files.

    Every line that the logger writes conforms to it.

    Example:
      metaexpert logs schema --layout flat > entry.schema.json
    """
    from metaexpert.logger.schema import json_schema  # noqa: PLC0415

    output.write_json(json_schema(layout), ensure_ascii=True)
