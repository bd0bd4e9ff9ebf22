"""`metaexpert logs verify` and `schema`: check the log files, and print the schema that they are checked against."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Directories, Json, opened
from metaexpert.cli.progress import shown
from metaexpert.cli.seal.files import verify_seal_into
from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.recover import waiting_journals
from metaexpert.logs.verify import Report
from metaexpert.logs.verify import verify as run_verify
from metaexpert.logs.vocabulary import counted

_SEAL_HELP = "Check the sealed trade log against this verification key: a file, or - for standard input."


def verify(
    directories: Directories = None,
    seal: Annotated[str | None, typer.Option(metavar="KEY", help=_SEAL_HELP, show_default=False)] = None,
    anchor: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="With --seal: checkpoints that a witness has kept.")
    ] = None,
    tsa_ca: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --seal: authorities of the time stamping server (PEM)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check log files: schema, gaps in sequence_id, duplicates, torn lines, order.

    Reports each problem with file and line. Reads everything, writes nothing.
    With --seal, also whether the sealed trade log is as it was: names the
    first line that was changed, removed, inserted, reordered or cut off, and
    says which time stamps and anchors prove existence by when.

    Exit code 0: no problems. 1: there are problems.

    Example:
      metaexpert logs verify
      metaexpert logs verify ./live-logs --json
      metaexpert logs verify ./live-logs --seal key.txt --anchor chat.txt
    """
    with shown(opened(directories or ()), "verifying") as logs:
        report = run_verify(logs)
    if seal is not None:
        verify_seal_into(report, logs, seal, anchor or (), tsa_ca)
    elif anchor or tsa_ca:
        raise output.InputError("--anchor and --tsa-ca are for --seal KEY")
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
