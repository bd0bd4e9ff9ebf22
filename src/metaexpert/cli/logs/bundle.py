"""`metaexpert logs bundle`: an archive that is safe to share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand
from metaexpert.cli.logs.select import Directories, selected, tell, with_filters
from metaexpert.cli.progress import shown
from metaexpert.cli.tables import counted

app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
@with_filters
def bundle(
    context: typer.Context,
    directories: Directories = None,
    redacted: Annotated[
        bool, typer.Option("--redacted", help="Say that secrets are to be masked: there is no other way.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE.tar.gz", help="Where it goes.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was packed, as one JSON object.")] = False,
    **filters: Any,
) -> None:
    """Pack logs into an archive that is safe to share: every secret is masked.

    It holds entries.jsonl (what passes the filters, each entry once, in
    order of time), config.json (settings with their sources), versions.json,
    stats.json and verify.json. Look into it before you pass it on: a secret
    that has no name, no known form and was never registered is not known.

    Example:
      metaexpert logs bundle --redacted
      metaexpert logs bundle --redacted --since 1d -o report.tar.gz
    """
    from metaexpert.logs.questions.bundle import make_bundle  # noqa: PLC0415 - masking is slow to import

    if not redacted:
        raise output.InputError("say --redacted: the archive holds the logs with their secrets masked")
    path = Path(to or f"metaexpert-logs-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    chosen = selected(context, directories, filters)
    settings = _settings()
    try:
        with shown(chosen, "packing") as logs:
            found = make_bundle(logs, path, settings)
    except FileExistsError:
        raise output.InputError(f"{path} exists") from None
    except OSError as error:
        raise output.InputError(f"{path} cannot be written: {error.strerror or error}") from None
    tell(logs.counts)
    if as_json:
        facts = {"path": str(path), "members": found.members, "lines": found.lines, "masked": found.masked}
        output.write(json.dumps(facts, indent=2) + "\n")
    else:
        output.write(f"{path}: {counted(found.lines, 'line')}, something masked in {found.masked} of them\n")


def _settings() -> dict[str, Any]:
    """Settings and sources as far as they can be told: a wrong one must keep nobody from asking for help."""
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import

    try:
        return {name: row._asdict() for name, row in settings().sources().items()}
    except output.InputError as error:
        return {"problems": list(error.problems)}
