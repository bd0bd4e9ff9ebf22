"""Repeats of an alert: which of those that came together are the same one again, and when the next is told.

The first alert of a fingerprint goes out at once. Those of the next minute are counted and told in one message, then
those of two minutes, of four, up to an hour; after as long a silence it begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.remote.alerts._alert import Kind, decoded, fingerprint

#: Seconds in which repeats are counted before they are told: the first time, and at most.
FIRST_WINDOW: Final = 60.0
LONGEST_WINDOW: Final = 3600.0
#: Fingerprints whose windows are remembered.
_MOST_WINDOWS: Final = 10_000


class Window(NamedTuple):
    """For how long repeats of one fingerprint are counted, and until when."""

    interval: float
    until: float


class Windows:
    """When the next message of a fingerprint may go out."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def due(self, mark: str, now: float) -> float:
        """Return when an alert that comes *now* is to be told."""
        window = self._windows.get(mark)
        return now if window is None else max(window.until, now)

    def sent(self, mark: str, now: float) -> None:
        """Note that a message of it has gone out."""
        window = self._windows.pop(mark, None)
        if window is None or now > window.until + window.interval:
            interval = FIRST_WINDOW
        else:
            interval = min(window.interval * 2, LONGEST_WINDOW)
        self._windows[mark] = Window(interval, now + interval)
        if len(self._windows) > _MOST_WINDOWS:  # the one that was told longest ago
            del self._windows[next(iter(self._windows))]


@dataclass
class Group:
    """Repeats that came together."""

    line: bytes
    kind: Kind
    first: str
    count: int = 1
    last: str = ""

    def __post_init__(self) -> None:
        self.last = self.last or self.first


def alone(line: bytes, kind: Kind) -> Group:
    """Return the group of an entry that is not collapsed with others."""
    return Group(line, kind, _time(decoded(line)))


def grouped(lines: Sequence[bytes]) -> dict[str, Group]:
    """Return the groups of alerts in *lines* by their fingerprints, without entries that want to be none."""
    groups: dict[str, Group] = {}
    for line in lines:
        entry = decoded(line)
        if entry.get(schema.ALERT) is False:
            continue
        mark, moment = fingerprint(entry), _time(entry)
        group = groups.get(mark)
        if group is None:
            groups[mark] = Group(line, "alert", moment)
        else:
            group.count += 1
            group.last = max(group.last, moment)
    return groups


def _time(entry: Mapping[str, Any]) -> str:
    return str(entry.get("timestamp", ""))
