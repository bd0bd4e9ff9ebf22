"""The filters of the screen, as chips, and the `metaexpert logs` command that shows the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any, Final

from metaexpert.logs import Logs
from metaexpert.logs.entry import Entry, Record
from metaexpert.logs.reading.times import parse_time

#: A filter of `metaexpert logs` and its value.
Chip = tuple[str, str]
#: Filters that take several values, of which one must match.
_SEVERAL: Final = ("expert", "symbol", "order", "trade_id")
LEVELS: Final = ("", "info", "warning", "error")


def given(filters: dict[str, Any]) -> list[Chip]:
    """Return the filters of the command line as chips."""
    chips = []
    for name in ("level", *_SEVERAL, "since", "until", "grep"):
        value = filters.get(name)
        chips += [(name, text) for text in ([value] if isinstance(value, str) else value or [])]
    return chips


def filtered(logs: Logs, chips: Sequence[Chip], tz: tzinfo = UTC) -> Logs:
    """Return *logs* narrowed to what passes all *chips*, whose times are of the time zone *tz*.

    Raises:
        ValueError: A level or a time cannot be read.
    """
    for name in dict.fromkeys(name for name, _ in chips):
        values = [text for other, text in chips if other == name]
        if name in _SEVERAL:
            logs = logs.filter(**{name: values})  # type: ignore[arg-type]
            continue
        for text in values:
            is_time = name in ("since", "until")
            value = parse_time(text, tz=tz, last=name == "until") if is_time else text
            logs = logs.filter(**{name: value})  # type: ignore[arg-type]
    return logs


def command(logs: Logs, chips: Sequence[Chip], last: Record | None, limit: int, zone: str = "UTC") -> str:
    """Return the command that shows the last *limit* records up to *last*, with times of a *zone*."""
    words = ["metaexpert", "logs", *map(str, logs.directories)]
    for name, text in [*chips, *([("tz", zone)] if zone != "UTC" else [])]:
        words += [f"--{name.replace('_', '-')}", text]
    if last is not None and not any(name == "until" for name, _ in chips):
        words += ["--until", last.timestamp if isinstance(last, Entry) else last.time.isoformat()]
    return shlex.join([*words, "--limit", str(limit)])
