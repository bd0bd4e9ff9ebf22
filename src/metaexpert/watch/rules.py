"""The rules of a watcher: after how long without a heartbeat or an entry it tells."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from metaexpert.logger import schema
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.times import parse_span

#: Seconds without a heartbeat after which a process stands still, when no rule says otherwise.
STANDS_STILL: Final = 30.0
#: A heartbeat comes each second: less would tell of processes that only wait for the processor.
LEAST: Final = 3.0


@dataclass(frozen=True)
class Silence:
    """No entry of a kind for some time.

    Attributes:
        kind: ``any``, ``trade``, ``decision``, a level, or a part of the message.
        span: Seconds.
    """

    kind: str
    span: float

    @property
    def mark(self) -> str:
        """What tells this rule from others, as a part of a file name."""
        return f"{zlib.crc32(f'{self.kind}={self.span}'.encode()):08x}"

    def narrow(self, logs: Logs) -> Logs:
        """Return *logs* narrowed to entries of the kind."""
        kind = self.kind.lower()
        if kind == "any":
            return logs
        if kind == "trade":
            return logs.filter(grep=f'","msgid":"{schema.MSGID_TRADE}","sequence_id":')
        if kind == "decision":
            return logs.filter(grep=f'"{schema.DECISION}":')
        if kind in schema.LEVEL_NUMBERS:
            return logs.filter(level=kind)
        return logs.filter(grep=re.compile(rf'"message":"(?:[^"\\]|\\.)*?{re.escape(self.kind)}', re.IGNORECASE))

    def __str__(self) -> str:
        """Return what is missing, in words."""
        if self.kind.lower() == "any":
            return "entry"
        return self.kind.lower() if self.kind.lower() in ("trade", "decision") else f"entry {self.kind!r}"


@dataclass(frozen=True)
class Rules:
    """What a watcher tells beside bad ends.

    Attributes:
        still: Seconds without a heartbeat of a process.
        hang: Seconds without an entry of a process that shows heartbeats; None: not looked at.
        silences: See `Silence`.
    """

    still: float = STANDS_STILL
    hang: float | None = None
    silences: tuple[Silence, ...] = field(default=())


def read_rules(hang: str | None, silences: Iterable[str]) -> Rules:
    """Return the rules that texts like ``60s`` and ``trade=30m`` name.

    Raises:
        ValueError: One cannot be understood; says which.
    """
    limit = None
    if hang is not None:
        limit = _span("--hang", hang)
    found = []
    for text in silences:
        kind, equals, span = text.rpartition("=")
        if not equals or not kind.strip():
            raise ValueError(f"--silence: {text!r} should be like trade=30m: what is missed, and for how long")
        found.append(Silence(kind.strip(), _span("--silence", span)))
    return Rules(min(limit or STANDS_STILL, STANDS_STILL), limit, tuple(found))


def _span(option: str, text: str) -> float:
    try:
        span = parse_span(text).total_seconds()
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if span < LEAST:
        raise ValueError(f"{option}: {text!r} should be {LEAST:g} s or more")
    return span
