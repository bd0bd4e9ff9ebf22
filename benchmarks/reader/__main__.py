"""`python -m benchmarks.reader`: makes the data, asks all tools, prints a table, removes the data."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import machine
from benchmarks.reader import data, questions
from benchmarks.report import replaced

BEGIN: Final = "<!-- reader benchmark: begin -->"
END: Final = "<!-- reader benchmark: end -->"


def main() -> None:
    """Parse the command line, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader", description=__doc__)
    parser.add_argument("--size", type=int, default=1000, help="megabytes of logs, inflated (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is run; the median counts")
    parser.add_argument("--once", nargs="*", default=["jq", "lnav"], help="tools that are run once only: they are slow")
    parser.add_argument("--without", nargs="*", default=[], help="tools that are not run, by their first word")
    parser.add_argument("--only", default="", help="only questions that contain this")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--page", type=Path, help="put the table into this page, between its markers")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="reader-benchmark-"))
    try:
        report = _measured(chosen, place / "logs")
    finally:
        shutil.rmtree(place)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    text = table(report)
    if chosen.markdown:
        chosen.markdown.write_text(text, "utf-8")
    if chosen.page:
        page = chosen.page.read_text("utf-8")
        chosen.page.write_text(replaced(page, text, BEGIN, END), "utf-8")
    sys.stdout.write(text)


def _measured(chosen: argparse.Namespace, directory: Path) -> dict[str, Any]:
    ask = data.make(directory, chosen.size * 1_000_000)
    # Once through the system's cache: all tools read from memory.
    for path in directory.glob("*.log*"):
        path.read_bytes()
    found = []
    for case in questions.cases(directory, ask):
        if chosen.only not in case.question or re.split(r"\W", case.tool)[0] in chosen.without:
            continue
        rounds = 1 if case.tool in chosen.once else chosen.rounds
        runs = [questions.run(case) for _ in range(rounds)]
        middle = sorted(runs, key=lambda run: run.seconds or questions.PATIENCE)[len(runs) // 2]
        cpu = median(run.cpu for run in runs)
        found.append({"question": case.question, "tool": case.tool, **asdict(middle), "cpu": cpu, "runs": rounds})
        sys.stderr.write(f"{case.question}: {case.tool}: {middle}\n")
    return {
        "machine": machine.describe(),
        "versions": machine.versions(["duckdb", "orjson"]) | questions.versions(["grep", "jq", "lnav"]),
        "data": ask,
        "last_50_in_library": questions.last_in_library(directory),
        "cases": found,
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    about, size = report["machine"], report["data"]["bytes"] / 1e9
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    runs = max(case["runs"] for case in report["cases"])
    lines = [
        f"{size:.2f} GB, {report['data']['entries']:,} entries; {about['cpu']}, {about['cores']} cores, "
        f"{about['python']}, {versions}. Files in the cache; medians of {runs} run(s) at most; load before the run "
        f"{about['load_before']}.",
        "",
        f"The last 50 entries in the library, imported already: {report['last_50_in_library'] * 1000:.1f} ms.",
        "",
        "| question | tool | seconds | processor seconds | ÷ `rg -z` | MB of memory | lines |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    measure = next((case["cpu"] for case in report["cases"] if case["tool"] == "rg -z"), None)
    for case in report["cases"]:
        seconds = f"{case['seconds']:.3f}" if case["seconds"] is not None else f"> {questions.PATIENCE:.0f}"
        ratio = f"{case['cpu'] / measure:.2f}" if measure else ""
        lines.append(
            f"| {case['question']} | {case['tool']} | {seconds} | {case['cpu']:.2f} | {ratio} | "
            f"{case['memory'] / 1e6:.0f} | {case['lines']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
