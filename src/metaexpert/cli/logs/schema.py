"""`metaexpert logs schema`: what a line is made of."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from metaexpert.cli import output

app = typer.Typer(add_completion=False)


@app.command()
def schema(
    layout: Annotated[
        Literal["flat", "rfc5424"] | None, typer.Option(help="Of which layout; one schema for both if left out.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a line in the log files.

    Every line that the logger has written obeys it.

    Example:
      metaexpert logs schema --layout flat > entry.schema.json
    """
    from metaexpert.logger.schema import json_schema  # noqa: PLC0415

    output.write(json.dumps(json_schema(layout), indent=2) + "\n")
