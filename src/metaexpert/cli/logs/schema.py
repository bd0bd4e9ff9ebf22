"""`metaexpert logs schema`: the JSON Schema of a line."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from metaexpert.cli import output

app = typer.Typer(add_completion=False)


@app.command()
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
