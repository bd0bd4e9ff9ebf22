"""Repeats of an alert: which entries report the same trouble, and when the next message about it may go out.

Two entries have the same fingerprint when expert, symbol, level, logger, type of exception and message are the same,
apart from numbers and long identifiers in the message: "Order 17 failed" and "Order 18 failed" are one trouble.

The first alert of a fingerprint goes out at once. Repeats of the next minute are counted and sent as one message, then
those of two minutes, of four, and so on up to an hour. After a silence as long as the last window, the next one goes
out at once.

Seals of the trade log are no trouble: each goes out at once, and of those that have to wait the newest, which covers
the lines of all before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.alerts._alert import Kind, is_seal

#: The first and the longest window in which repeats are counted, in seconds.
FIRST_WINDOW: Final = 60.0
LONGEST_WINDOW: Final = 3600.0
#: Number of fingerprints whose windows are remembered.
_MOST_WINDOWS: Final = 10_000
#: Numbers, and words of eight or more characters that look like an identifier.
_VARIABLE: Final = re.compile(r"\b(?=[\w-]*\d)[0-9A-Za-z][\w-]{7,}\b|\d+")


class Window(NamedTuple):
    """For how many seconds repeats of one fingerprint are counted, and until when."""

    interval: float
    until: float


class Windows:
    """When the next message of a fingerprint may go out. Used by one thread at a time."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def due(self, mark: str, now: float) -> float:
        """Return when an alert of the fingerprint *mark* that comes *now* is to be sent."""
        window = self._windows.get(mark)
        return now if window is None else max(window.until, now)

    def sent(self, mark: str, now: float) -> None:
        """Note that a message of the fingerprint *mark* has gone out *now*."""
        window = self._windows.pop(mark, None)
        if window is None or now > window.until + window.interval:
            interval = FIRST_WINDOW
        else:
            interval = min(window.interval * 2, LONGEST_WINDOW)
        self._windows[mark] = Window(interval, now + interval)
        if len(self._windows) > _MOST_WINDOWS:  # forget the one that was sent longest ago
            del self._windows[next(iter(self._windows))]


@dataclass
class Group:
    """Entries of one fingerprint that came together: one line (the first; of seals the last), times, and number."""

    kind: Kind
    line: bytes
    first: str
    last: str
    count: int = 1
    seals: bool = False


def grouped(lines: Sequence[bytes]) -> dict[str, Group]:
    """Return groups of the alerts in *lines* by fingerprint, without entries that ask for no alert."""
    groups: dict[str, Group] = {}
    for line in lines:
        entry = decode_line(line)
        if entry.get(schema.ALERT) is False:
            continue
        mark, moment = fingerprint(entry), str(entry.get("timestamp", ""))
        if (group := groups.get(mark)) is None:
            groups[mark] = Group("alert", line, moment, moment, seals=is_seal(entry))
        else:
            group.count += 1
            group.last = max(group.last, moment)
            group.line = line if group.seals else group.line
    return groups


def fingerprint(entry: Mapping[str, Any]) -> str:
    """Return what *entry* has in common with its repeats, as a hash."""
    error = entry.get(schema.EXCEPTION_KEY)
    parts = (
        entry.get("expert_name") or entry.get("appname"),
        entry.get("symbol"),
        entry.get("level"),
        entry.get(schema.LOGGER_KEY),
        error.get("type") if isinstance(error, Mapping) else None,
        _VARIABLE.sub("#", str(entry.get("message", ""))),
    )
    return hashlib.blake2b(repr(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()
