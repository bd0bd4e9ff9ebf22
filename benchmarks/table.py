"""The report as Markdown: the whole page of results, and the short table of README. Medians over the rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.figures import ratios

_NONE: Final = "–"
#: The subject whose rows of defeat are listed.
OURS: Final = "ours-async"

#: How late (p99.9) a main thread that only calls a no-op may get on a machine that is quiet, in microseconds.
QUIET_US: Final = 1000


@dataclass(frozen=True)
class Column:
    """One figure of one measure, as a median over the rounds.

    Args:
        head: Text of the column's head.
        measure: Name of the measure.
        figure: Name of the figure; what stands in the cell is this divided by *unit*.
        unit: Divisor.
        better: Which values are better, or None when the figure is no contest.
        against: Subject; then the cell is the ratio to its figure, taken within each round.
    """

    head: str
    measure: str
    figure: str
    unit: float = 1.0
    better: Literal["low", "high"] | None = "low"
    against: str | None = None


#: README's rows: our two modes, and the peers that most readers know.
BEST_KNOWN: Final = (
    OURS,
    "ours-sync",
    "stdlib-json",
    "stdlib-json-queue",
    "structlog-native",
    "loguru",
    "nautilus",
    "spdlog",
)
#: README's columns: the cost of a call, of the work behind it, and of having the library, also where others are better.
README: Final = (
    Column("burst, p50 µs", "burst", "p50_us"),
    Column("paced, p50 µs", "paced", "p50_us"),
    Column("paced, p99.9 µs", "paced", "p999_us"),
    Column("1,000 entries/s", "throughput", "entries_per_s", unit=1000, better="high"),
    Column("CPU s per 100k", "throughput", "cpu_s_per_100k"),
    Column("loop lag p99.9, ms", "loop-lag", "lag_p999_us", unit=1000),
    Column("import, ms", "imports", "import_ms"),
)
MAIN: Final = (
    Column("burst p50 µs", "burst", "p50_us"),
    Column("× structlog native", "burst", "p50_us", better=None, against="structlog-native"),
    Column("× C floor", "burst", "p50_us", better=None, against="floor-c"),
    Column("× mmap floor", "burst", "p50_us", better=None, against="floor-mmap"),
    Column("paced p50 µs", "paced", "p50_us"),
    Column("paced p99 µs", "paced", "p99_us"),
    Column("paced p99.9 µs", "paced", "p999_us"),
    Column("main late p99.9 ms", "paced", "late_p999_us", unit=1000),
    Column("1,000 entries/s", "throughput", "entries_per_s", unit=1000, better="high"),
    Column("CPU s per 100k", "throughput", "cpu_s_per_100k"),
)
CALLS: Final = (
    Column("burst p50 µs", "burst", "p50_us"),
    Column("burst p99", "burst", "p99_us"),
    Column("burst p99.9", "burst", "p999_us"),
    Column("burst max", "burst", "max_us"),
    Column("idle p50 µs", "idle", "p50_us"),
    Column("idle p99", "idle", "p99_us"),
    Column("idle p99.9", "idle", "p999_us"),
    Column("idle × structlog native", "idle", "p50_us", better=None, against="structlog-native"),
    Column("idle × mmap floor", "idle", "p50_us", better=None, against="floor-mmap"),
    Column("timer itself ns", "burst", "timer_ns", better=None),
)
REST: Final = (
    Column("disabled call ns", "disabled", "call_ns"),
    Column("loop lag p50 ms", "loop-lag", "lag_p50_us", unit=1000),
    Column("loop lag p99 ms", "loop-lag", "lag_p99_us", unit=1000),
    Column("loop lag p99.9 ms", "loop-lag", "lag_p999_us", unit=1000),
    Column("stands still p50 µs", "holds", "hold_p50_us"),
    Column("stands still p99 µs", "holds", "hold_p99_us"),
    Column("stands still max ms", "holds", "hold_max_us", unit=1000),
    Column("lock held p50 µs", "locks", "lock_p50_us"),
    Column("lock held p99 µs", "locks", "lock_p99_us"),
    Column("lock held max ms", "locks", "lock_max_us", unit=1000),
    Column("fork p50 ms", "forks", "fork_p50_ms"),
    Column("fork max ms", "forks", "fork_max_ms"),
    Column("import ms", "imports", "import_ms"),
    Column("first entry ms", "imports", "ready_ms"),
    Column("import + first entry, CPU ms", "imports", "start_cpu_ms"),
    Column("MiB after burst", "memory", "logged_mib"),
    Column("MiB after close", "memory", "closed_mib"),
)
SCALE: Final = (
    Column("50 experts: p50 µs", "experts", "p50_us"),
    Column("50 experts: p99", "experts", "p99_us"),
    Column("× one expert's p99", "experts", "p99_ratio"),
    Column("× one expert's p99, same total rate", "experts", "p99_ratio_same_rate"),
    Column("8 processes: p50 µs", "processes", "p50_us"),
    Column("8 processes: p99", "processes", "p99_us"),
    Column("× one process's p99", "processes", "p99_ratio"),
    Column("200 loggers: idle ms/s", "crowd", "idle_all_ms_per_s"),
    Column("idle × one logger", "crowd", "idle_ratio"),
    Column("one more, ms", "crowd", "make_last_ms"),
    Column("one more × the second", "crowd", "make_ratio"),
    Column("sealed: call × unsealed", "seal", "call_ratio"),
    Column("sealed: trade call × unsealed", "seal", "trade_ratio"),
    Column("sealed: CPU µs per trade", "seal", "seal_cpu_us_per_trade"),
    Column("sealed: bytes per trade", "seal", "seal_bytes_per_trade"),
)

HEAD: Final = """\
# Benchmark results

`python -m benchmarks` writes this page. [How it is measured, and how to read it](README.md).
"""

Row = tuple[str, list[str]]


def render(report: Mapping[str, Any]) -> str:
    """Return *report* as a page of its own, with all tables."""
    sections: list[tuple[str, Iterable[str]]] = [
        ("Side by side", _table(report, MAIN, lost=True)),
        ("Where another is better", _defeats(report, (*MAIN, *REST))),
        ("The distribution of a call's cost", _table(report, CALLS)),
        ("Everything else", _table(report, REST)),
        ("Many at once", _table(report, SCALE, lost_of=("experts", "processes"))),
        ("Killed and recovered", _crash(report)),
        ("Versions and remarks", _notes(report)),
        ("What was measured", _measures(report)),
    ]
    parts = [HEAD, "\n".join(_setting(report)) + "\n"]
    for title, lines in sections:
        if text := "\n".join(lines):
            parts.append(f"## {title}\n\n{text}\n")
    return "\n".join(parts)


def summary(report: Mapping[str, Any]) -> str:
    """Return README's table: the best-known subjects, the best figure of each column in bold, the machine below.

    Subjects that were not measured have no row.
    """
    subjects = {name: report["subjects"][name] for name in BEST_KNOWN if name in report["subjects"]}
    chosen = {**report, "subjects": subjects}
    machine = report["machine"]
    below = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}, {report['began'][:10]}. Medians over the "
        "rounds; the best figure of each column is marked."
    )
    parts = ["\n".join(_table(chosen, README, lost=True, mark=True)), below]
    if disturbed := disturbance(report):
        parts.append(disturbed)
    return "\n\n".join(parts) + "\n"


def cell(report: Mapping[str, Any], column: Column, subject: str) -> float | None:
    """Return what stands in the *column* for *subject*, or None when it was not measured."""
    if column.against is not None:
        return ratios(report["runs"], column.measure, column.figure, column.against).get(subject)
    spread = report["summary"].get(column.measure, {}).get(subject, {}).get(column.figure)
    return None if spread is None else spread["median"] / column.unit


def disturbance(report: Mapping[str, Any]) -> str:
    """Return a warning when something else kept the processor: then a call that does nothing comes late, too."""
    spread = report["summary"].get("paced", {}).get("floor-noop", {}).get("late_p999_us")
    if spread is None or spread["median"] <= QUIET_US:
        return ""
    late = spread["median"] / 1000
    return (
        f"**The machine was busy**: even with calls that do nothing the main thread was {late:.1f} ms late (p99.9). "
        "Medians stand; percentiles above p99 say little in this run."
    )


def number(value: float | None) -> str:
    """Return *value* with about three significant digits."""
    if value is None:
        return _NONE
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _setting(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}, {machine['kernel']}, {machine['python']}; "
        f"{report['mode']} mode, seed {report['seed']}, {report['began'][:10]}, {report['seconds'] / 60:.0f} minutes, "
        f"load before {machine['load_before']}. Medians over the rounds; ratios are taken within each round."
    )
    if "cut_short" in report:
        yield f"The run was cut short: {report['cut_short']}."
    if disturbed := disturbance(report):
        yield disturbed


def _table(
    report: Mapping[str, Any],
    columns: Sequence[Column],
    *,
    lost: bool = False,
    lost_of: Sequence[str] = (),
    mark: bool = False,
) -> Iterator[str]:
    """Yield the lines of a table; with *mark* the best figure of each column is bold."""
    rows: list[Row] = []
    best = [_best(report, column) if mark else None for column in columns]
    for name, subject in report["subjects"].items():
        if "skipped" in subject:
            continue
        values = [cell(report, column, name) for column in columns]
        cells = [
            f"**{number(value)}**" if value is not None and value == leader else number(value)
            for value, leader in zip(values, best, strict=True)
        ]
        if lost:
            cells.append(_kills(report, name))
        cells += [_losses(report, measure, name) for measure in lost_of]
        if any(text != _NONE for text in cells):
            rows.append((subject["title"], cells))
    if not rows:
        return
    heads = [column.head for column in columns] + ["lost by SIGKILL"] * lost + [f"lost, {name}" for name in lost_of]
    shown = [index for index in range(len(heads)) if any(cells[index] != _NONE for _, cells in rows)]
    yield "| | " + " | ".join(heads[index] for index in shown) + " |"
    yield "| --- |" + " ---: |" * len(shown)
    for title, cells in rows:
        yield f"| {title} | " + " | ".join(cells[index] for index in shown) + " |"


def _best(report: Mapping[str, Any], column: Column) -> float | None:
    """Return the best figure of *column*, or None when the figure is no contest or was not measured."""
    values = [value for name in report["subjects"] if (value := cell(report, column, name)) is not None]
    if column.better is None or not values:
        return None
    return min(values) if column.better == "low" else max(values)


def _kills(report: Mapping[str, Any], subject: str) -> str:
    """Return how many entries were lost of those whose call had returned, over all kills."""
    lost = returned = doubled = 0
    for measure in ("kill-burst", "kill-paced"):
        figures = report["summary"].get(measure, {}).get(subject)
        if figures:
            lost += int(figures["lost"]["total"])
            doubled += int(figures["doubled"]["total"])
            returned += int(figures["returned"]["total"])
    if not returned:
        return _NONE
    return f"{lost:,} of {returned:,}" + (f", {doubled:,} doubled" if doubled else "")


def _losses(report: Mapping[str, Any], measure: str, subject: str) -> str:
    figures = report["summary"].get(measure, {}).get(subject, {})
    found = figures.get("lost", figures.get("missing"))
    return _NONE if found is None else f"{found['total']:,.0f}"


def _defeats(report: Mapping[str, Any], columns: Iterable[Column]) -> Iterator[str]:
    """Yield a line for each column in which a peer is better than ours, with the peers and their figures."""
    if not any(OURS in subjects for subjects in report["summary"].values()):
        return
    found = False
    for column in columns:
        ours = cell(report, column, OURS)
        if ours is None or column.better is None:
            continue
        beats: Callable[[float], bool] = ours.__gt__ if column.better == "low" else ours.__lt__
        others = [(title, value) for title, value in _peers(report, column) if beats(value)]
        if others:
            found = True
            listed = "; ".join(f"{title} ({number(value)})" for title, value in others)
            yield f"- {column.head}, ours {number(ours)}: {listed}"
    if not found:
        yield "Nowhere in this run, in the columns above and below."


def _peers(report: Mapping[str, Any], column: Column) -> Iterator[tuple[str, float]]:
    for name, subject in report["subjects"].items():
        value = cell(report, column, name)
        if subject["kind"] == "peer" and value is not None:
            yield subject["title"], value


def _crash(report: Mapping[str, Any]) -> Iterator[str]:
    for name, figures in report["summary"].get("crash", {}).items():
        totals = {key: int(spread["total"]) for key, spread in figures.items()}
        yield (
            f"- {report['subjects'][name]['title']}: {figures['returned']['rounds']} kills of two, "
            f"{totals['returned']:,} calls "
            f"returned; missing before recovery {totals['lost_before_recovery']:,}, after it lost {totals['lost']:,} "
            f"(expert.log {totals['lost_expert']:,}, trades.log {totals['lost_trades']:,}, errors.log "
            f"{totals['lost_errors']:,}), doubled {totals['doubled']:,}"
        )


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    for subject in report["subjects"].values():
        versions = ", ".join(f"{name} {version}" for name, version in subject["versions"].items())
        remarks = [versions] if versions else []
        if "skipped" in subject:
            remarks.append(f"skipped: {subject['skipped']}")
        if subject.get("lacks"):
            remarks.append("lacks " + ", ".join(subject["lacks"]))
        if subject["note"]:
            remarks.append(subject["note"])
        if remarks:
            yield f"- {subject['title']}: {'; '.join(remarks)}"
    for run in report["runs"]:
        if "error" in run:
            yield f"- failed in round {run['round'] + 1}: {run['measure']} of {run['subject']}: {run['error']}"
    yield from _incomplete(report)


def _incomplete(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each subject that left entries out where it had time to write them."""
    for measure, subjects in report["summary"].items():
        for name, figures in subjects.items():
            gone = figures.get("missing", {"total": 0})["total"]
            if gone:
                title = report["subjects"][name]["title"]
                yield f"- {title}: {gone:,.0f} entries of {measure} never came into its files"


def _measures(report: Mapping[str, Any]) -> Iterator[str]:
    for name, measure in report["measures"].items():
        yield f"- {name}: {measure['about']}"
