"""`metaexpert logs runs`: each run, how it ended, and what it earned."""

from __future__ import annotations

from typing import Any, Final

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json, reading, with_filters, zone
from metaexpert.cli.tables import DAY, table
from metaexpert.logger.entry.console_text import time_text
from metaexpert.logs.runs.reading import read_runs
from metaexpert.logs.runs.why import reason_of
from metaexpert.logs.vocabulary import amounts

_TO_THE_SECOND: Final = len("2026-11-22 10:31:00")


@with_filters
def runs(as_json: Json = False, **filters: Any) -> None:
    """List the runs: expert, start, end, how it ended, entries, errors, trades, realised result.

    A run is a process from its first entry to its end. The result is before
    fees, one figure for each currency.

    Example:
      metaexpert logs runs
      metaexpert logs runs --since 7d --expert EmaBot --json
    """
    with reading(filters, "reading", stores=True) as logs:
        found = read_runs(logs)
    if as_json:
        output.write_json([{"directory": str(one.path), **run.as_dict()} for one in found for run in one.runs])
        return
    tz = zone(filters.get("tz"))
    headers = ("expert", "start", "end", "ended", "entries", "errors", "trades", "result", "fees")
    rows = [
        (
            ", ".join(run.experts),
            *_times(time_text(figures["start"], tz), time_text(figures["end"], tz) if figures["end"] else ""),
            ": ".join(filter(None, [run.end.how, reason_of(run)])),
            run.entries,
            run.error_count,
            run.trades,
            amounts(run.results),
            amounts(run.fees),
        )
        for one in found
        for run in one.runs
        for figures in [run.as_dict()]
    ]
    if rows:
        output.write(table(headers, rows, right=headers[4:], width=output.width(), names=("expert", "ended")))
    else:
        output.complain("note", ["there are no runs"])


def _times(start: str, end: str) -> tuple[str, str]:
    """Return start and end; on a terminal to the second, and an end on the day of the start without its date."""
    if not output.to_terminal():
        return start, end
    start, end = start[:_TO_THE_SECOND], end[:_TO_THE_SECOND]
    return start, end.removeprefix(start[:DAY])
