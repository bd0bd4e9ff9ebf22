"""What an alert is, and which alerts are the same one again: pure.

Two entries have one fingerprint when expert, symbol, level, logger, type of exception and message are the same,
numbers and long identifiers in the message aside: "Order 17 failed" and "Order 18 failed" are one trouble.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import from_layout

Kind = Literal["alert", "heartbeat", "test"]

_LONG_INTEGER: Final = re.compile(rb"\d{19}")
#: Numbers, and words of eight or more characters that look like an identifier.
_VARIABLE: Final = re.compile(r"\b(?=[\w-]*\d)[0-9A-Za-z][\w-]{7,}\b|\d+")


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell, which may have happened more than once.

    Attributes:
        number: Its row in the outbox.
        key: Identifies it over restarts; receivers may drop repeats by it.
        kind: Whether it is an entry, a sign of life, or a test.
        entry: The first entry, flat.
        count: How many entries it stands for.
        first: Timestamp of the first one, RFC 3339.
        last: Timestamp of the last one.
        repeat: Whether an earlier try may have arrived.
    """

    number: int
    key: str
    kind: Kind
    entry: Mapping[str, Any]
    count: int
    first: str
    last: str
    repeat: bool


def decoded(line: bytes) -> dict[str, Any]:
    """Return the flat entry of a *line* of either layout."""
    # orjson reads an integer beyond 64 bits as a float.
    load = json.loads if _LONG_INTEGER.search(line) else orjson.loads
    return from_layout(load(line))


def fingerprint(entry: Mapping[str, Any]) -> str:
    """Return what *entry* has in common with its repeats."""
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
