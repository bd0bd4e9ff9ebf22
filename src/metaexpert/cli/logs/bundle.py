"""`metaexpert logs bundle`: pack an archive that is safe to share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, reading, with_filters
from metaexpert.logs.vocabulary import counted


@with_filters
def bundle(
    redacted: Annotated[
        bool, typer.Option("--redacted", help="Required: confirms that all secrets are masked.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE.tar.gz", help="Path of the archive.", show_default=False),
    ] = None,
    as_json: Json = False,
    **filters: Any,
) -> None:
    """Pack logs into an archive that is safe to share: secrets are masked.

    The archive holds entries.jsonl (the entries that pass the filters, in
    order of time), config.json (settings with their sources), versions.json,
    stats.json and verify.json. Look inside before you share it: a secret is
    recognised by the name of its field, by its form, or by registration.

    Example:
      metaexpert logs bundle --redacted
      metaexpert logs bundle --redacted --since 1d -o report.tar.gz
    """
    from metaexpert.logs.bundle import make_bundle  # noqa: PLC0415 - masking is slow to import

    if not redacted:
        raise output.InputError("say --redacted: the archive holds the logs with their secrets masked")
    path = Path(to or f"metaexpert-logs-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    try:
        with reading(filters, "packing", fate="packed as found") as logs:
            found = make_bundle(logs, path, _settings())
    except FileExistsError:
        raise output.InputError(f"{path} exists") from None
    except OSError as error:
        raise output.InputError(f"{path} cannot be written: {error.strerror or error}") from None
    if as_json:
        facts = {"path": str(path), "members": found.members, "lines": found.lines, "masked": found.masked}
        output.write_json(facts, ensure_ascii=True)
    else:
        output.write(f"{path}: {counted(found.lines, 'line')}, something masked in {found.masked} of them\n")


def _settings() -> dict[str, Any]:
    """Return settings and sources, or the problems: a wrong setting must not keep a user from asking for help."""
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import

    try:
        return {name: row._asdict() for name, row in settings().sources().items()}
    except output.InputError as error:
        return {"problems": list(error.problems)}
