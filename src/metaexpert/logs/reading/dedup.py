"""Each entry once, although several files may have it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import orjson

from metaexpert.logs.entry import Entry, Record, is_ordinary

#: Trades and errors remembered. Copies of an entry have the same time, so they come close together.
_WINDOW: Final = 65_536


class Recent:
    """Remembers at least the last *size* things, and at most twice as many.

    Two sets: when the new one is full it becomes the old one. Deleting single things from a dict gets slower with each.

    Args:
        size: How many are remembered.
    """

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def __contains__(self, thing: Hashable) -> bool:
        """Return whether *thing* is remembered."""
        return thing in self._new or thing in self._old

    def seen(self, thing: Hashable) -> bool:
        """Return whether *thing* is remembered, and remember it."""
        if thing in self._new or thing in self._old:
            return True
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()
        self._new.add(thing)
        return False


class Once:
    """Recognises copies of an entry: a trade or an error is in two or three files, other entries are in one.

    Remembers at least the last 65,536 trades and errors. Beyond that a copy is shown again; no entry is lost.

    Args:
        everything: Remember all entries. While files are followed, one may be written twice: a writer that
            could write only a part of a batch takes it back and tries again.
        window: How many are remembered at least.
    """

    __slots__ = ("_everything", "_last", "_recent")

    def __init__(self, *, everything: bool = False, window: int = _WINDOW) -> None:
        self._everything = everything
        self._recent = Recent(window)
        self._last = b""

    def is_repeated(self, record: Record) -> bool:
        """Return whether *record* is certainly a copy: copies mostly come one behind the other. Decodes nothing."""
        return record.line == self._last

    def is_single(self, record: Record) -> bool:
        """Return whether *record* certainly is an entry without copies. Decodes nothing."""
        if not isinstance(record, Entry) or not is_ordinary(record.line):
            return False
        return not self._everything or not self._recent.seen(_beginning(record.line))

    def is_copy(self, entry: Entry) -> bool:
        """Return whether *entry* was asked about before."""
        self._last = b""
        if not (self._everything or entry.has_copies):
            return False
        identity = _beginning(entry.line) if is_ordinary(entry.line) else entry.identity
        if identity is None:
            return False
        self._last = entry.line
        return self._recent.seen(identity)


def _beginning(line: bytes) -> bytes:
    """Return an ordinary line up to its message: time, process and number, which no other entry has."""
    return line[: line.find(b',"message":')]


def header_of(entry: Entry) -> bytes:
    """Return the line of an entry from its time to its number, as our writer writes it."""
    keys = ("level", "severity", "facility", "version", "hostname", "appname", "procid", "msgid", "sequence_id")
    return entry.key[0] + b'Z",' + orjson.dumps({key: entry.data.get(key) for key in keys})[1:-1]
