"""`metaexpert logs export`: an archive that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, reading, with_filters
from metaexpert.logs.archive.export import export as run_export
from metaexpert.logs.archive.files import ArchiveError
from metaexpert.logs.vocabulary import counted


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
    with reading(filters, "exporting", files=True) as logs:
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
