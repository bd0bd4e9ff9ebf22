"""The run: check every subject, then rounds in which measures and, inside each, subjects come in random order.

The subjects of one measure follow one another directly, so that figures which are compared were taken within seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from benchmarks import machine
from benchmarks.figures import summarize
from benchmarks.host import CaseError
from benchmarks.measures.base import Measure
from benchmarks.measures.check import check
from benchmarks.subjects.base import Subject

FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """What to run.

    Args:
        mode: Which settings of the measures to use.
        seed: Decides every order and every moment of a kill.
        rounds: Number of rounds instead of each measure's own, or None.
        budget: Seconds after which no further case begins.
    """

    mode: Literal["quick", "full"]
    seed: int
    measures: Sequence[Measure]
    subjects: Sequence[type[Subject]]
    rounds: int | None
    budget: float


@dataclass(frozen=True)
class Case:
    """One measure of one subject in one round."""

    round: int
    measure: Measure
    subject: type[Subject]


def settings_of(measure: Measure, plan: Plan) -> dict[str, float]:
    """Return the settings of *measure* in the mode of *plan*."""
    settings = dict(measure.quick if plan.mode == "quick" else measure.full)
    if plan.rounds is not None:
        settings["rounds"] = plan.rounds
    return settings


def cases(plan: Plan, subjects: Sequence[type[Subject]], order: random.Random) -> Iterator[Case]:
    """Yield the cases of *plan* round by round, in an order that *order* decides."""
    last = max((int(settings_of(measure, plan)["rounds"]) for measure in plan.measures), default=0)
    for number in range(last):
        due = [measure for measure in plan.measures if number < settings_of(measure, plan)["rounds"]]
        for measure in order.sample(due, len(due)):
            fitting = [subject for subject in subjects if takes_part(subject, measure)]
            for subject in order.sample(fitting, len(fitting)):
                yield Case(number, measure, subject)


def takes_part(subject: type[Subject], measure: Measure) -> bool:
    """Return whether *measure* is made of *subject*."""
    return measure.applies(subject) and (not subject.only or measure.name in subject.only)


def execute(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run *plan* and return the report, ready for JSON. *say* is told of progress."""
    began = time.monotonic()
    report: dict[str, Any] = {
        "format": FORMAT,
        "mode": plan.mode,
        "seed": plan.seed,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "measures": {measure.name: {"about": measure.about, **settings_of(measure, plan)} for measure in plan.measures},
        "subjects": {subject.name: _introduce(subject) for subject in plan.subjects},
        "runs": [],
    }
    working = [subject for subject in plan.subjects if _works(subject, report["subjects"][subject.name], say)]
    random.seed(plan.seed)
    try:
        for case in cases(plan, working, random.Random(plan.seed)):  # noqa: S311
            if time.monotonic() - began > plan.budget:
                report["cut_short"] = f"the budget of {plan.budget:.0f} s was used up in round {case.round + 1}"
                break
            report["runs"].append(_run(case, settings_of(case.measure, plan), say))
    except KeyboardInterrupt:  # what was measured so far is worth keeping
        report["cut_short"] = "it was interrupted"
    if "cut_short" in report:
        say(f"cut short: {report['cut_short']}")
    report["seconds"] = round(time.monotonic() - began, 1)
    report["summary"] = summarize(report["runs"])
    return report


def _introduce(subject: type[Subject]) -> dict[str, Any]:
    return {
        "title": subject.title,
        "kind": subject.kind,
        "structured": subject.structured,
        "rotates": subject.rotates,
        "writes": subject.writes,
        "note": subject.note,
        "versions": machine.versions(subject.packages),
    }


def _works(subject: type[Subject], introduction: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Note what the entries of *subject* lack, or why it is skipped. Returns whether it takes part."""
    try:
        introduction["lacks"] = check(subject)
    except CaseError as error:
        introduction["skipped"] = str(error)
        say(f"skip   {subject.name}: {error}")
        return False
    lacks = ", ".join(introduction["lacks"])
    same = "the same work" if subject.writes else "writes nothing"
    say(f"check  {subject.name}: {f'lacks {lacks}' if lacks else same}")
    return True


def _run(case: Case, settings: dict[str, float], say: Callable[[str], None]) -> dict[str, Any]:
    run: dict[str, Any] = {"round": case.round, "measure": case.measure.name, "subject": case.subject.name}
    began = time.monotonic()
    try:
        run["figures"] = case.measure.outside(case.subject, settings)
        outcome = " ".join(f"{name}={value:.6g}" for name, value in run["figures"].items())
    except CaseError as error:
        run["error"] = str(error)
        outcome = f"FAILED: {error}"
    run["seconds"] = round(time.monotonic() - began, 2)
    say(f"round {case.round + 1} {case.measure.name:11} {case.subject.name:22} {run['seconds']:5.1f} s  {outcome}")
    return run
