"""`metaexpert logs stats`: statistics and a small chart."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, number, reading, with_filters, zone
from metaexpert.cli.tables import bar, table
from metaexpert.logger.entry.console_text import escape, fold, time_text
from metaexpert.logs.stats import Stats, collect_stats

#: Lines of the chart of entries over time, and its width in characters.
_CHART_LINES: Final = 20
_CHART_WIDTH: Final = 40
#: Columns of the times and counts beside it.
_CHART_LABELS: Final = 30
_TO_THE_MINUTE: Final = len("2026-11-22 10:31")


@with_filters
def stats(
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME", help="Percentiles of a numeric field (latency_ms); may be repeated."),
    ] = None,
    top: Annotated[str, typer.Option("--top", metavar="N", help="How many messages and errors to list.")] = "10",
    as_json: Json = False,
    **filters: Any,
) -> None:
    """Count entries by level, expert and minute; list top messages and errors.

    Messages that differ only in numbers, ids and quoted text count as one.
    A gap is a range of sequence ids that no entry of a process has: entries
    were lost or rotated away, or a file is missing (all files of a directory
    share one sequence).

    Example:
      metaexpert logs stats --since today
      metaexpert logs stats --field latency_ms --field slippage_bps
    """
    most = number("--top", top)
    with reading(filters, "counting", files=True, stores=True) as logs:
        found = collect_stats(logs, field or ())
    if as_json:
        output.write_json(found.as_dict(most))
    elif found.entries:
        output.write("\n".join(_sections(found, most, zone(filters.get("tz")))))
    else:
        output.complain("note", ["there are no entries to count"])
    if logs.counts.unreadable:
        raise typer.Exit(1)


def _sections(found: Stats, top: int, tz: tzinfo) -> Iterator[str]:
    figures = found.as_dict(top)
    rate = figures["per_second"]
    per_second = f", {rate:.1f} per second" if rate else ""
    first, last = _exact(found.first, tz), _exact(found.last, tz)
    told = f"{found.entries} entries from {first} to {last}{per_second}"
    yield "".join(f"{line}\n" for line in fold(told, output.width() or sys.maxsize))
    yield _counted("level", figures["levels"], found.entries)
    yield _counted("expert", dict(found.experts.most_common(top)), found.entries)
    yield _chart(_minutes(figures["minutes"], tz))
    if found.messages:
        yield _most("message", found.messages, top)
    if found.errors:
        yield _most("error", found.errors, top)
    if found.fields:
        yield _distributions(figures["fields"])
    yield _gaps(figures)


def _exact(timestamp: str, tz: tzinfo) -> str:
    """Return a time to the microsecond, with its distance from UTC."""
    if tz is not UTC:
        with suppress(OverflowError):  # the first or the last day that Python knows
            return datetime.fromisoformat(timestamp).astimezone(tz).isoformat(timespec="microseconds")
    return timestamp


def _counted(name: str, counts: dict[str, int], total: int) -> str:
    most = max(counts.values(), default=0)
    rows = [(key, count, f"{count / total:.1%}", bar(count, most, _CHART_WIDTH // 2)) for key, count in counts.items()]
    return table((name, "entries", "share", ""), rows, ["entries", "share"], width=output.width(), names=[name])


def _most(name: str, counts: Counter[str], top: int) -> str:
    rows = [(count, text) for text, count in counts.most_common(top)]
    return table(("count", name), rows, ["count"], width=output.width())


def _minutes(minutes: dict[str, int], tz: tzinfo) -> Counter[str]:
    """Return *minutes*, told in UTC, as they are in *tz*; those of an hour that comes twice there count together."""
    found: Counter[str] = Counter()
    for minute, count in minutes.items():
        local = minute.replace("T", " ") if tz is UTC else time_text(f"{minute}Z", tz)[:_TO_THE_MINUTE]
        found[local] += count
    return found


def _chart(minutes: dict[str, int]) -> str:
    """Return entries over time, in the finest unit that fits."""
    width = next(w for w in (16, 15, 13, 10, 7, 4) if len({m[:w] for m in minutes}) <= _CHART_LINES or w == 4)
    counts: dict[str, int] = {}
    for minute, count in minutes.items():
        counts[minute[:width]] = counts.get(minute[:width], 0) + count
    most = max(counts.values(), default=0)
    unit = {16: "minute", 15: "10 minutes", 13: "hour", 10: "day", 7: "month", 4: "year"}[width]
    ending = {15: "0", 13: ":00"}.get(width, "")
    columns = min(_CHART_WIDTH, max(output.width() - _CHART_LABELS, 1)) if output.width() else _CHART_WIDTH
    rows = [(key + ending, count, bar(count, most, columns)) for key, count in counts.items()]
    return table((unit, "entries", ""), rows, ["entries"])


def _distributions(fields: dict[str, dict[str, float]]) -> str:
    names = ("count", "min", "mean", "p50", "p90", "p95", "p99", "p999", "max")
    rows = [[name, *(f"{found[key]:.6g}" if key in found else "" for key in names)] for name, found in fields.items()]
    return table(("field", *names), rows, names, width=output.width(), names=["field"])


def _gaps(figures: dict[str, Any]) -> str:
    if figures["missing"] is None:
        return "gaps in sequence_id are told only when all entries are counted\n"
    if not figures["missing"]:
        return "no gaps in sequence_id\n"
    first = figures["gaps"][:10]
    lines = [
        f"  {escape(gap['hostname'])} process {escape(gap['procid'])}: "
        f"{gap['from']} to {gap['to']} ({gap['missing']})\n"
        for gap in first
    ]
    more = f"  and {len(figures['gaps']) - len(first)} more\n" if len(figures["gaps"]) > len(first) else ""
    return f"{figures['missing']} numbers are missing in sequence_id:\n{''.join(lines)}{more}"
