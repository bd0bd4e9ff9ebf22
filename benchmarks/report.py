"""Put the tables of a report into pages: all of them into one, a short one into the README.

    python -m benchmarks.report FILE --results benchmarks/RESULTS.md --readme README.md

Replaces the text between the two markers of a page, which must hold both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.table import render, short

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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or put them into the pages. Returns 0, or 2 when a page has no place for them."""
    parser = argparse.ArgumentParser("python -m benchmarks.report")
    parser.add_argument("file", type=Path, help="report that --json wrote")
    parser.add_argument("--results", type=Path, help="page that gets all tables")
    parser.add_argument("--readme", type=Path, help="page that gets the short table")
    options = parser.parse_args(argv)
    report = json.loads(options.file.read_text("utf-8"))
    if options.results is None and options.readme is None:
        sys.stdout.write(render(report))
        return 0
    changed = {}
    for path, tables in ((options.results, render(report, brief=True)), (options.readme, short(report))):
        if path is None:
            continue
        try:
            changed[path] = replaced(path.read_text("utf-8"), tables)
        except ValueError as error:
            sys.stderr.write(f"{path}: {error}\n")
            return 2
    for path, page in changed.items():
        path.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
