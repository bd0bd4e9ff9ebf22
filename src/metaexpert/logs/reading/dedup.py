"""Each entry once, although several files may have it, the logger's own or a copy that someone made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import closing, suppress
from typing import Final

import orjson

from metaexpert.logs.entry import START, Entry, Record, checked, is_ordinary
from metaexpert.logs.reading.files import Counts, LogFile
from metaexpert.logs.reading.tally import tally

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

    def take(self, record: Record) -> Record | None:
        """Return *record*, checked (see `metaexpert.logs.entry.checked`); None for a copy of one that was taken.

        Neither most copies, which come one behind the other, nor entries that can have none are decoded.
        """
        if record.line == self._last:
            return None
        if isinstance(record, Entry) and is_ordinary(record.line):
            return None if self._everything and self._recent.seen(_beginning(record.line)) else record
        record = checked(record)
        return None if isinstance(record, Entry) and self._is_copy(record) else record

    def _is_copy(self, entry: Entry) -> bool:
        self._last = b""
        identity = entry.identity if self._everything or entry.has_copies else None
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


def copied(files: Sequence[LogFile], owner: Callable[[LogFile], object] | None = None) -> list[tuple[LogFile, LogFile]]:
    """Return the files that are copies of another one, or of its beginning, each with that one.

    Only files with entries of the logger that are in one file alone: trades and errors are in several files anyway.
    With an *owner*, all files that are copies of a file that another one owns.
    """
    alike: dict[bytes, list[LogFile]] = {}
    for file in sorted(files, key=lambda one: one.modified):  # of two equal ones the older is the original
        with suppress(OSError):  # reported when it is read
            if (first := file.beginning()).startswith(START):
                alike.setdefault(first, []).append(file)
    found: list[tuple[LogFile, LogFile]] = []
    for group in (group for group in alike.values() if len(group) > 1):
        longest: list[LogFile] = []
        for file in group:
            others = (one for one in longest if owner is None or owner(one) != owner(file))
            pairs = ((other, _within(file, other)) for other in others)
            other, copy = next(((other, copy) for other, copy in pairs if copy), (file, None))
            longest = [one for one in longest if one is not copy] + ([] if copy is file else [file])
            if copy is not None and (owner is not None or _has_ordinary(copy)):
                found.append((copy, file if copy is other else other))
    return found


def _within(one: LogFile, other: LogFile) -> LogFile | None:
    """Return which of two files the other one begins with, *one* if they are equal; None for neither."""
    counts = Counts()
    with closing(_bytes_of(one, counts)) as mine, closing(_bytes_of(other, counts)) as others:
        left, right = next(mine, b""), next(others, b"")
        while left and right:
            size = min(len(left), len(right))
            if left[:size] != right[:size]:
                return None
            left, right = left[size:] or next(mine, b""), right[size:] or next(others, b"")
    return None if counts.unreadable else other if left else one


def _has_ordinary(file: LogFile) -> bool:
    with closing(_bytes_of(file, Counts())) as pieces:
        return any(count for data in pieces for *_, count in tally(data).kinds)


def _bytes_of(file: LogFile, counts: Counts) -> Generator[bytes]:
    try:
        yield from (piece.data for piece in file.pieces(counts))
    finally:
        file.rest()
