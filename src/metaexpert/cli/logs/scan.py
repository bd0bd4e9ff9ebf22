"""`metaexpert logs scan`: look for secrets in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json
from metaexpert.logs.vocabulary import counted

if TYPE_CHECKING:
    from metaexpert.logs.scan import Finding, Report


def scan(
    path: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Directory or file; the configured log_dir if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for secrets in log files, ours and others'.

    Searches all files below DIR, also compressed ones, for the configured
    secrets, for names such as api_key and for forms such as tokens in URLs.
    Prints file, line and rule of each, never the secret itself. Changes
    nothing.

    Exit code 0: no secrets. 1: secrets, or a file that could not be read.
    2: wrong input.

    Example:
      metaexpert logs scan
      metaexpert logs scan /var/log/old-bot --json | jq -r .findings[].file
    """
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import
    from metaexpert.logger.masking.rules import Rules  # noqa: PLC0415
    from metaexpert.logs.scan import Report, scan  # noqa: PLC0415

    config = settings()  # this also registers its secrets
    target = Path(path) if path is not None else config.log_dir
    report, findings = Report(), []
    try:
        for finding in scan(target, report, Rules(extra_keys=config.extra_secret_keys)):
            findings.append(finding)
            if not as_json:
                output.write(f"{finding.file}:{finding.line}: {finding.rule}\n")
    except FileNotFoundError:
        raise output.InputError(f"there is no file or directory {target}") from None
    if as_json:
        output.write_json(_as_dict(findings, report), ensure_ascii=True)
    output.complain("warning", [f"{name} cannot be read: {why}" for name, why in report.unreadable.items()])
    if not as_json:
        output.complain("note", [_summary(len(findings), report)])
    if findings or report.unreadable:
        raise typer.Exit(1)


def _as_dict(findings: list[Finding], report: Report) -> dict[str, object]:
    return {
        "findings": [{"file": str(found.file), "line": found.line, "rule": found.rule} for found in findings],
        "files": report.files,
        "lines": report.lines,
        "unreadable": {str(path): why for path, why in report.unreadable.items()},
    }


def _summary(count: int, report: Report) -> str:
    found = "no secret was found" if count == 0 else "1 secret was found" if count == 1 else f"{count} were found"
    return f"{found} in {counted(report.lines, 'line')} of {counted(report.files, 'file')}"
