"""Arithmetic on samples and runs: percentiles, medians over rounds, ratios within a round. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

#: Figures of one run of one subject, by name; the name ends with the unit (``_us``, ``_ms``, ``_mib`` …).
Figures = Mapping[str, float]

#: What everything is compared with: the fastest Python peer that keeps its entries, and the bare work.
REFERENCES: Final = ("structlog-native", "floor-mmap")

_PERCENTILES: Final = (("p50", 50.0), ("p99", 99.0), ("p999", 99.9))


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the nearest-rank percentile of *ordered*, which is sorted and not empty."""
    rank = math.ceil(round(percent * len(ordered) / 100, 9))
    return ordered[max(rank, 1) - 1]


def latency(nanoseconds: Iterable[int], prefix: str = "") -> dict[str, float]:
    """Return p50, p99, p99.9 and the maximum of *nanoseconds* in microseconds, each named with *prefix*."""
    ordered = sorted(nanoseconds)
    if not ordered:
        return {}
    found = {f"{prefix}{name}_us": percentile(ordered, percent) / 1000 for name, percent in _PERCENTILES}
    return {**found, f"{prefix}max_us": ordered[-1] / 1000}


def summarize(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return for each measure, subject and figure its median, lowest, highest, total and number of rounds.

    Args:
        runs: Each with ``measure``, ``subject`` and ``figures``; a run that failed has no ``figures``.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        subject = found.setdefault(run["measure"], {}).setdefault(run["subject"], {})
        for name, value in run.get("figures", {}).items():
            subject.setdefault(name, []).append(value)
    return {
        measure: {
            subject: {name: _spread(values) for name, values in figures.items()}
            for subject, figures in subjects.items()
        }
        for measure, subjects in found.items()
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": median(values),
        "low": min(values),
        "high": max(values),
        "total": sum(values),
        "rounds": len(values),
    }


def ratios(runs: Iterable[Mapping[str, Any]], measure: str, figure: str, reference: str) -> dict[str, float]:
    """Return for each subject the median, over rounds, of its *figure* divided by the reference's of that round.

    A machine that is busy in one round slows both, so that this moves less than the ratio of two medians.
    """
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        value = run.get("figures", {}).get(figure)
        if run["measure"] == measure and value is not None:
            by_round.setdefault(run["round"], {})[run["subject"]] = value
    quotients: dict[str, list[float]] = {}
    for values in by_round.values():
        base = values.get(reference)
        for subject, value in values.items():
            if base:
                quotients.setdefault(subject, []).append(value / base)
    return {subject: median(found) for subject, found in quotients.items()}


def differences(runs: Iterable[Mapping[str, Any]], measure: str, figure: str, reference: str) -> dict[str, float]:
    """Return what `ratios` returns, with subtraction in the place of division."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        value = run.get("figures", {}).get(figure)
        if run["measure"] == measure and value is not None:
            by_round.setdefault(run["round"], {})[run["subject"]] = value
    found: dict[str, list[float]] = {}
    for values in by_round.values():
        for subject, value in values.items():
            if reference in values:
                found.setdefault(subject, []).append(value - values[reference])
    return {subject: median(gaps) for subject, gaps in found.items()}
