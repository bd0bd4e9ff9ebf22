"""`metaexpert logs report`: what experts did and earned, as one page of HTML or as JSON."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, reading, with_filters, zone
from metaexpert.logger.masking.rules import mask_text


@with_filters
def report(
    to: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE.html", help="The page to write.", show_default=False)
    ] = None,
    as_json: Json = False,
    **filters: Any,
) -> None:
    r"""Write a report: one page of HTML that needs no network and no scripts.

    A verdict in one sentence, equity and drawdown, results by day and symbol,
    trades, slippage, time from order to fill, rejections, runs and how they
    ended, errors in groups, and each order. --json prints the same figures.
    HTML needs the extra `report`: pip install 'metaexpert\[report]'

    Example:
      metaexpert logs report -o report.html
      metaexpert logs report --since 30d --expert EmaBot --json
    """
    from metaexpert.logs.report.figures import collect_report  # noqa: PLC0415 - for this command only

    if to is None and not as_json:
        raise output.InputError("say where to write it: --output FILE.html, or --json for its figures")
    tz = zone(filters.get("tz"))
    command = mask_text(shlex.join(["metaexpert", *sys.argv[1:]]))
    if to is not None:
        page_of = _renderer()
    with reading(filters, "reading", stores=True) as logs:
        found = collect_report(logs, command, tz)
    if to is not None:
        _write(Path(to), page_of(found, tz))
    if as_json:
        output.write_json(found)
    else:
        output.write(f"{to}: {found['verdict']}\n")


def _renderer() -> Any:
    try:
        from metaexpert.logs.report.page import page_of  # noqa: PLC0415 - an extra
    except ImportError:
        raise output.InputError("HTML needs Jinja; pip install 'metaexpert[report]', or use --json") from None
    return page_of


def _write(path: Path, text: str) -> None:
    """Write the page; it appears whole, or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, "utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise output.InputError(f"{path} cannot be written: {error.strerror or error}") from None
