"""`metaexpert logs scan`: are there secrets in the files?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand

if TYPE_CHECKING:
    from metaexpert.logs.questions.scan import Finding, Report


app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
def scan(
    path: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Directory or file; the configured log_dir if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look for secrets in files, ours and others'.

    Looks for the configured secrets, for names such as api_key, and for
    shapes such as tokens in addresses, in all files below DIR, also in gzip.
    Prints file, line and rule of each, and never the secret itself. Changes
    nothing.

    Exit code 0: none was found. 1: some were, or a file could not be read.
    2: wrong input.

    Example:
      metaexpert logs scan
      metaexpert logs scan /var/log/old-bot --json | jq -r .findings[].file
    """
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import
    from metaexpert.logger.masking.rules import Rules  # noqa: PLC0415
    from metaexpert.logs.questions.scan import Report, scan  # noqa: PLC0415

    config = settings()  # also has its secrets registered
    place = Path(path) if path is not None else config.log_dir
    report, findings = Report(), []
    try:
        for finding in scan(place, report, Rules(extra_keys=config.extra_secret_keys)):
            findings.append(finding)
            if not as_json:
                output.write(f"{finding.file}:{finding.line}: {finding.rule}\n")
    except FileNotFoundError:
        raise output.InputError(f"there is no file or directory {place}") from None
    if as_json:
        output.write(json.dumps(_as_data(findings, report), indent=2) + "\n")
    output.complain("warning", [f"{name} cannot be read: {why}" for name, why in report.unreadable.items()])
    if not as_json:
        output.complain("note", [_summary(len(findings), report)])
    if findings or report.unreadable:
        raise typer.Exit(1)


def _as_data(findings: list[Finding], report: Report) -> dict[str, object]:
    return {
        "findings": [{"file": str(found.file), "line": found.line, "rule": found.rule} for found in findings],
        "files": report.files,
        "lines": report.lines,
        "unreadable": {str(path): why for path, why in report.unreadable.items()},
    }


def _summary(count: int, report: Report) -> str:
    files = f"{report.files} file{'' if report.files == 1 else 's'}"
    lines = f"{report.lines} line{'' if report.lines == 1 else 's'}"
    found = "no secret was found" if count == 0 else "1 secret was found" if count == 1 else f"{count} were found"
    return f"{found} in {lines} of {files}"
