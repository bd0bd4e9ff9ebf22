"""Check a report against what the engine has to show.

    python -m benchmarks.targets FILE

Prints each target with the measured figure; the exit code is 1 when one is not met. A peer that was skipped cannot
be compared and fails nothing; a figure of ours that was not measured does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import differences, ratios
from benchmarks.table import OURS, disturbance

#: Ours with the entry in the file when the call returns.
SYNCHRONOUS: Final = "ours-sync"
#: Ours without its compiled core.
PLAIN: Final = "ours-plain"
#: "Near" spdlog, whose caller formats no structure.
_NEAR: Final = 1.5
#: A sealed log may cost a call no more than what two equal ones differ by on a busy machine.
_NOISE: Final = 1.10
#: Entries a second are to be so many times those of the best peer.
_AHEAD: Final = 1.3
_MET, _MISSED, _SKIPPED = "met", "NOT MET", "no peer"

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One target: what was wanted, what was measured, and whether that is enough (None: cannot be said)."""

    target: str
    limit: str
    measured: str
    met: bool | None


def outcomes(report: Report) -> Iterator[Outcome]:
    """Yield the outcome of each target, in the order of the requirement."""
    yield from _burst(report)
    yield from _paced(report)
    yield from _throughput(report)
    yield from _killed(report)
    yield from _limits(report)
    yield from _busy(report)
    yield from _scale(report)


def median_of(report: Report, measure: str, subject: str, figure: str, part: str = "median") -> float | None:
    """Return a figure's median over the rounds, or another *part* of its spread; None when it was not measured."""
    spread = report["summary"].get(measure, {}).get(subject, {}).get(figure)
    return None if spread is None else float(spread[part])


def _burst(report: Report) -> Iterator[Outcome]:
    for reference, limit in (
        ("structlog-native", 0.40),
        ("stdlib-json", 0.10),
        ("nautilus", 1.0),
        ("logxide", 1.0),
        ("spdlog", _NEAR),
        ("floor-mmap", 1.6),
        ("floor-c", 1.5),
    ):
        yield _ratio(report, "burst", "p50_us", reference, limit)
    for reference, limit in (("structlog-native", 1.0), ("stdlib-json", 0.2)):
        yield _ratio(report, "burst", "p50_us", reference, limit, subject=SYNCHRONOUS)
    yield _ratio(report, "burst", "p50_us", "stdlib-json", 1.0, subject=PLAIN)


def _paced(report: Report) -> Iterator[Outcome]:
    for figure in ("p50_us", "p99_us"):
        yield _best(report, "paced", figure, lambda subject: subject["structured"] and subject["rotates"], min)
    yield _ratio(report, "paced", "p999_us", "floor-mmap", 1.5)
    gap = differences(report["runs"], "paced", "late_p999_us", "floor-noop").get(OURS)
    measured = "not measured" if gap is None else f"{gap / 1000:+.3f} ms"
    met = gap is not None and gap <= 500
    yield Outcome("paced: main thread's lateness p99.9 above the no-op floor's", "≤ 0.5 ms", measured, met)


def _throughput(report: Report) -> Iterator[Outcome]:
    yield _best(report, "throughput", "entries_per_s", lambda subject: subject["structured"], max)
    yield _best(report, "throughput", "entries_per_s", lambda _: True, max, _AHEAD)
    yield _best(report, "throughput", "cpu_s_per_100k", lambda subject: subject["structured"], min)


def _killed(report: Report) -> Iterator[Outcome]:
    for measure in ("kill-burst", "kill-paced", "crash"):
        for figure in ("lost", "doubled"):
            total = median_of(report, measure, OURS, figure, "total")
            runs = median_of(report, measure, OURS, figure, "rounds")
            measured = "not measured" if total is None else f"{total:.0f} in {runs:.0f} runs"
            yield Outcome(f"{measure}: entries {figure}, after recovery", "0", measured, total == 0)


def _limits(report: Report) -> Iterator[Outcome]:
    yield _ratio(report, "disabled", "call_ns", "structlog-native", 0.4)
    yield _ratio(report, "loop-lag", "lag_p99_us", "floor-mmap", 1.3)
    yield _ratio(report, "imports", "import_ms", "structlog-native", 1.25)
    yield _ratio(report, "imports", "start_cpu_ms", "structlog-native", 1.25)


def _busy(report: Report) -> Iterator[Outcome]:
    """While files rotate; and while, besides, hundreds of backups are compressed and threads compute."""
    hold = median_of(report, "holds", OURS, "hold_p99_us")
    floor = median_of(report, "holds", "floor-noop", "hold_p99_us")
    beside = "" if floor is None else f" (the no-op floor: {floor:.0f})"
    yield _at_most("holds: main thread stands still, p99", hold, 50, "µs", beside)
    processor = median_of(report, "locks", OURS, "lock_cpu_p99_us")
    beside = "" if processor is None else f" ({processor:.0f} of processor time)"
    held = median_of(report, "locks", OURS, "lock_p99_us")
    yield _at_most("locks: writing thread holds the interpreter lock, p99", held, 50, "µs", beside)
    floor = median_of(report, "forks", "floor-noop", "fork_max_ms")
    beside = "" if floor is None else f" (the no-op floor: {floor:.0f})"
    yield _at_most("forks: the longest", median_of(report, "forks", OURS, "fork_max_ms"), 100, "ms", beside)


def _at_most(target: str, value: float | None, limit: float, unit: str, beside: str = "") -> Outcome:
    measured = "not measured" if value is None else f"{value:.4g} {unit}{beside}"
    return Outcome(target, f"≤ {limit:g} {unit}", measured, value is not None and value <= limit)


def _scale(report: Report) -> Iterator[Outcome]:
    for measure, loss in (("experts", "missing"), ("processes", "lost")):
        gone = median_of(report, measure, OURS, loss, "total")
        measured = "not measured" if gone is None else f"{gone:.0f}"
        yield Outcome(f"{measure}: entries lost", "0", measured, gone == 0)
        times = median_of(report, measure, OURS, "p99_ratio")
        measured = "not measured" if times is None else f"{times:.2f}{_beside(report, measure)}"
        yield Outcome(
            f"{measure}: p99 of a call × a single one's", "≤ 2.00", measured, times is not None and times <= 2
        )
    yield from _crowd(report)


def _crowd(report: Report) -> Iterator[Outcome]:
    for figure, what, limit in (
        ("idle_ratio", "idle, × one logger", 10.0),
        ("make_ratio", "one more, × the second", 2.0),
    ):
        times = median_of(report, "crowd", OURS, figure)
        measured = "not measured" if times is None else f"{times:.2f}"
        yield Outcome(f"crowd: {what}", f"≤ {limit:.2f}", measured, times is not None and times <= limit)
    for figure, what in (("call_ratio", "a call"), ("trade_ratio", "a trade call")):
        times = median_of(report, "seal", OURS, figure)
        measured = "not measured" if times is None else f"{times:.2f}"
        target = f"seal: {what}, × without"
        yield Outcome(target, f"≤ {_NOISE:.2f}", measured, times is not None and times <= _NOISE)


def _beside(report: Report, measure: str) -> str:
    """Return what helps to judge the ratio: one expert at the total rate, or what the scheduler alone does."""
    if measure == "experts":
        same_rate = median_of(report, measure, OURS, "p99_ratio_same_rate")
        return "" if same_rate is None else f" ({same_rate:.2f} against one expert at the rate of all)"
    floor = median_of(report, measure, "floor-noop", "p99_ratio")
    return "" if floor is None else f" (the no-op floor: {floor:.2f})"


def _ratio(report: Report, measure: str, figure: str, reference: str, limit: float, *, subject: str = OURS) -> Outcome:
    """Compare one *subject* of ours with another one: the median of the ratios within each round."""
    which = "" if subject == OURS else f"{subject} "
    target, wanted = f"{measure}: {which}{figure} × {reference}", f"≤ {limit:.2f}"
    found = ratios(report["runs"], measure, figure, reference)
    if subject not in found:
        skipped = "skipped" in report["subjects"].get(reference, {})
        return Outcome(target, wanted, "peer skipped" if skipped else "not measured", None if skipped else False)
    ours, other = (median_of(report, measure, name, figure) or 0.0 for name in (subject, reference))
    return Outcome(target, wanted, f"{found[subject]:.2f} ({ours:.4g} against {other:.4g})", found[subject] <= limit)


def _best(
    report: Report,
    measure: str,
    figure: str,
    contest: Callable[[Mapping[str, Any]], bool],
    best_of: Callable[[list[float]], float],
    ahead: float = 1.0,
) -> Outcome:
    """Compare ours with the best of all peers that are in the *contest*: *ahead* times as much, or less of a cost."""
    rivals = [name for name, subject in report["subjects"].items() if subject["kind"] == "peer" and contest(subject)]
    values = {name: value for name in rivals if (value := median_of(report, measure, name, figure)) is not None}
    word = "lowest" if best_of is min else "highest"
    which = f"{word} of all with a structured API" if ahead == 1 else f"{ahead:.2f} × the best of all"
    target, ours = f"{measure}: {figure}, {which}", median_of(report, measure, OURS, figure)
    if ours is None or not values:
        return Outcome(target, word, "not measured", met=False)
    best = best_of(list(values.values()))
    name = next(name for name, value in values.items() if value == best)
    ratio = ours / best
    met = ratio <= 1 / ahead if best_of is min else ratio >= ahead
    return Outcome(target, f"{word}: {best:.4g} ({name})", f"{ours:.4g}, ratio {ratio:.2f}", met)


def main(argv: Sequence[str] | None = None) -> int:
    """Print every target. Returns 0 when all are met, 1 when one is not."""
    parser = argparse.ArgumentParser("python -m benchmarks.targets")
    parser.add_argument("file", type=Path, help="report that --json wrote")
    report = json.loads(parser.parse_args(argv).file.read_text("utf-8"))
    found = list(outcomes(report))
    words = {True: _MET, False: _MISSED, None: _SKIPPED}
    width = max(len(outcome.target) for outcome in found)
    for outcome in found:
        sys.stdout.write(
            f"{words[outcome.met]:8} {outcome.target:{width}}  wanted {outcome.limit}  measured {outcome.measured}\n"
        )
    if disturbed := disturbance(report):
        sys.stdout.write(f"{disturbed}\n")
    missed = sum(outcome.met is False for outcome in found)
    sys.stdout.write(f"{len(found) - missed} of {len(found)} targets met or without a peer, {missed} not met\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
