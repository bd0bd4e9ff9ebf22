"""Write the pages that show a report: all of it, and README's table.

    python -m benchmarks.report bench.json --results benchmarks/RESULTS.md --readme README.md

`python -m benchmarks` takes the same two options. README's table goes between two markers, which the page must hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.table import render, summary

BEGIN: Final = "<!-- benchmark: begin -->"
END: Final = "<!-- benchmark: end -->"


def replaced(page: str, tables: str, begin: str = BEGIN, end: str = END) -> str:
    """Return *page* with *tables* between the markers. Raises ValueError when it does not hold each of them once."""
    for marker in (begin, end):
        if page.count(marker) != 1:
            raise ValueError(f"the page must hold {marker} exactly once")
    before, _, rest = page.partition(begin)
    if end not in rest:
        raise ValueError(f"{end} stands before {begin}")
    after = rest.partition(end)[2]
    return f"{before}{begin}\n{tables.strip()}\n{end}{after}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the pages to *parser*."""
    parser.add_argument("--results", "--markdown", type=Path, help="file for all tables (benchmarks/RESULTS.md)")
    parser.add_argument("--readme", type=Path, help="page that gets the short table between its markers (README.md)")


def refusal(readme: Path | None) -> str:
    """Return why *readme* cannot take the table, or an empty text when it can, or when there is none."""
    if readme is not None:
        try:
            replaced(readme.read_text("utf-8"), "")
        except (OSError, ValueError) as error:
            return f"{readme}: {error}"
    return ""


def write(report: Mapping[str, Any], results: Path | None, readme: Path | None) -> None:
    """Write all tables to *results*, the short one into *readme*; without both, all tables to standard output."""
    if results is not None:
        results.write_text(render(report), "utf-8")
    if readme is not None:
        readme.write_text(replaced(readme.read_text("utf-8"), summary(report)), "utf-8")
    if results is None and readme is None:
        sys.stdout.write(render(report))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages of a report. Returns 0, or 2 when README has no place for the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.report")
    parser.add_argument("file", type=Path, help="report that --json wrote")
    add_options(parser)
    options = parser.parse_args(argv)
    if refused := refusal(options.readme):
        sys.stderr.write(refused + "\n")
        return 2
    write(json.loads(options.file.read_text("utf-8")), options.results, options.readme)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
