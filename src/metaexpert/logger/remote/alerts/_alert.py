"""Alerts, and which of them report the same trouble again: pure.

Two entries have the same fingerprint when expert, symbol, level, logger, type of exception and message are the same,
apart from numbers and long identifiers in the message: "Order 17 failed" and "Order 18 failed" are one trouble.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from metaexpert.logger import schema
from metaexpert.logger.entry.line import decode_line

Kind = Literal["alert", "heartbeat", "test"]

#: Numbers, and words of eight or more characters that look like an identifier.
_VARIABLE: Final = re.compile(r"\b(?=[\w-]*\d)[0-9A-Za-z][\w-]{7,}\b|\d+")


@dataclass(frozen=True)
class Alert:
    """An alert of the outbox, which may stand for several entries.

    Attributes:
        number: Its row in the outbox.
        key: Identifies it over restarts; receivers may drop repeats by it.
        fingerprint: The same for all repeats of one trouble.
        kind: An alert, a heartbeat, or a test.
        line: The first entry, as it stands in a file.
        count: Number of entries that it stands for.
        first: Timestamp of the first entry, RFC 3339.
        last: Timestamp of the last entry, RFC 3339.
        repeat: Whether an earlier attempt may have arrived.
    """

    number: int
    key: str
    fingerprint: str
    kind: Kind
    line: bytes
    count: int
    first: str
    last: str
    repeat: bool

    @cached_property
    def entry(self) -> dict[str, Any]:
        """The first entry, flat."""
        return decode_line(self.line)

    def described(self) -> dict[str, Any]:
        """Return the entry, and for how many it stands, as JSON types."""
        return {"count": self.count, "first": self.first, "last": self.last, "entry": self.entry}


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
