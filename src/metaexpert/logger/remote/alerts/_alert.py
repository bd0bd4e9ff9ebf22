"""An alert, as it waits in the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from metaexpert.logger import schema
from metaexpert.logger.entry.line import decode_line

Kind = Literal["alert", "heartbeat", "test"]


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

    @property
    def is_seal(self) -> bool:
        """Whether it is a seal of the trade log, whose checkpoint is to arrive in full."""
        return is_seal(self.entry)

    def described(self) -> dict[str, Any]:
        """Return the entry, and for how many it stands, as JSON types."""
        return {"count": self.count, "first": self.first, "last": self.last, "entry": self.entry}


def is_seal(entry: Mapping[str, Any]) -> bool:
    """Return whether *entry* tells of a seal."""
    return entry.get("message") == schema.SEALED and schema.CHECKPOINT in entry
