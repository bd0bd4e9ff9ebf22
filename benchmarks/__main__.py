"""Command line of the benchmark.

    python -m benchmarks [--quick|--full] [--only burst,paced] [--subjects ours-async,floor-mmap]
                         [--json FILE] [--results FILE] [--readme FILE] [--rounds N] [--seed N] [--budget SECONDS]

Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import report as pages
from benchmarks.measures import MEASURES
from benchmarks.runner import Plan, execute
from benchmarks.subjects import NAMES, chosen

#: Seconds after which no further case begins: well above what each mode takes on two quiet cores.
BUDGETS: Final = {"quick": 480.0, "full": 5400.0}
_MEASURE_NAMES: Final = tuple(measure.name for measure in MEASURES)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; a wrong one ends the process with a message and exit code 2."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", dest="mode", action="store_const", const="quick", help="some five minutes (default)")
    mode.add_argument("--full", dest="mode", action="store_const", const="full", help="an hour or so")
    parser.set_defaults(mode="quick")
    parser.add_argument("--only", type=_names(_MEASURE_NAMES), help="measures: " + ",".join(_MEASURE_NAMES))
    parser.add_argument("--subjects", type=_names(NAMES), help="subjects: " + ",".join(NAMES))
    parser.add_argument("--rounds", type=int, help="rounds of every measure, instead of each measure's own number")
    parser.add_argument("--seed", type=int, help="of the order; printed, so that a run can be repeated")
    parser.add_argument("--budget", type=float, help="seconds after which no further case begins")
    parser.add_argument("--json", type=Path, help="file for the report")
    pages.add_options(parser)
    return parser.parse_args(argv)


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser of a comma-separated list that accepts the *known* names only."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark. Returns 0, 1 when a case failed, or 2 when README has no place for the table."""
    options = arguments(argv)
    if refused := pages.refusal(options.readme):
        _say(refused)
        return 2
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plan = Plan(
        mode=options.mode,
        seed=seed,
        measures=[measure for measure in MEASURES if options.only is None or measure.name in options.only],
        subjects=chosen(options.subjects),
        rounds=options.rounds,
        budget=options.budget or BUDGETS[options.mode],
    )
    _say(f"{plan.mode} mode, seed {seed}")
    report = execute(plan, _say)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    pages.write(report, options.results, options.readme)
    return 1 if any("error" in run for run in report["runs"]) else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
