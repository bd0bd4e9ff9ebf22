"""Put the tables of a report into a page.

    python -m benchmarks.report FILE --readme README.md

Replaces what stands between the two markers; the page must hold both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.table import render

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
    """Print the tables, or put them into the page. Returns 0, or 2 when the page has no place for them."""
    parser = argparse.ArgumentParser("python -m benchmarks.report")
    parser.add_argument("file", type=Path, help="report that --json wrote")
    parser.add_argument("--readme", type=Path, help="page to change; without it all tables go to standard output")
    options = parser.parse_args(argv)
    report = json.loads(options.file.read_text("utf-8"))
    if options.readme is None:
        sys.stdout.write(render(report))
        return 0
    try:
        page = replaced(options.readme.read_text("utf-8"), render(report, brief=True))
    except ValueError as error:
        sys.stderr.write(f"{options.readme}: {error}\n")
        return 2
    options.readme.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
