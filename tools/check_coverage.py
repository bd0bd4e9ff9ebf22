"""Check the test coverage of `metaexpert.logger` by branches: that of lines and branches together is what counts.

    python -m uv run pytest --cov --cov-report=json
    python -m uv run python tools/check_coverage.py coverage.json

Prints the figures, and the files that are below the mark; exits with 1 when the package is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, Final

PACKAGE: Final = "metaexpert/logger"
#: Per cent of lines and branches together; that of branches alone is printed beside it.
MARK: Final = 95.0


def percentages(summaries: Iterable[Mapping[str, int]]) -> tuple[float, float]:
    """Return how much of *summaries* (of coverage's JSON report) is covered: in all, and of branches alone."""
    total = {"covered_lines": 0, "num_statements": 0, "covered_branches": 0, "num_branches": 0}
    for summary in summaries:
        total = {name: count + summary[name] for name, count in total.items()}
    branches, all_branches = total["covered_branches"], total["num_branches"]
    everything = total["num_statements"] + all_branches
    return _percent(total["covered_lines"] + branches, everything), _percent(branches, all_branches)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def report(data: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return what to print about a report of coverage, and whether the package reaches the mark."""
    summaries = {
        name: file["summary"]
        for name, file in data["files"].items()
        if PACKAGE in PurePath(name.replace("\\", "/")).as_posix()
    }
    if not summaries:
        return [f"{PACKAGE}: the report has no file of it"], False
    both, branches = percentages(summaries.values())
    lines = [
        f"{PACKAGE}: {both:.2f} % of lines and branches, {branches:.2f} % of branches; at least {MARK:.0f} % wanted"
    ]
    for name, summary in summaries.items():
        together, alone = percentages([summary])
        if min(together, alone) < MARK:
            lines.append(f"  {name}: {together:.1f} %, {alone:.1f} %")
    return lines, both >= MARK


def main(names: list[str]) -> int:
    """Judge the report *names*[0]. Returns the exit code."""
    lines, enough = report(json.loads(Path(names[0]).read_text("utf-8")))
    print("\n".join(lines))
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
