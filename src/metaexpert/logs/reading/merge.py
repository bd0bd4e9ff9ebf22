"""Each entry once, though it stands in several files, and new records of several logs in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry, Key, Record
from metaexpert.logs.reading.search import KEY
from metaexpert.logs.reading.window import Window

#: Trades and errors remembered. Copies of an entry have the same time, so that they come together.
_WINDOW: Final = 65_536


def placed(stream: Iterable[Record]) -> Iterator[Record]:
    """Give each unparsed line the place of the entry before it; the first ones keep theirs."""
    last: Key | None = None
    for record in stream:
        if isinstance(record, Entry):
            last = record.key
        elif last is not None:
            record.key = last
        yield record


def merged(streams: Iterable[Iterable[Record]]) -> Iterator[Record]:
    """Merge *streams* by time; within one, its order stands."""
    return heapq.merge(*streams, key=KEY)


class Once:
    """Knows the copies of an entry: a trade or an error stands in two or three files, other entries in one.

    Remembers at least the last 65,536 trades and errors. Beyond that a copy is shown again rather than an entry lost.

    Args:
        everything: Remember all entries. While files are followed, one may be written twice: a writer that
            could write only a part of a batch takes it back and tries again.
        window: How many are remembered at least.
    """

    __slots__ = ("_everything", "_seen")

    def __init__(self, *, everything: bool = False, window: int = _WINDOW) -> None:
        self._everything = everything
        self._seen = Window(window)

    def is_copy(self, entry: Entry) -> bool:
        """Tell whether *entry* was asked about before."""
        if not (self._everything or _may_have_copies(entry)) or (identity := entry.identity) is None:
            return False
        return self._seen.met(identity)


def _may_have_copies(entry: Entry) -> bool:
    return entry.data.get("msgid") == schema.MSGID_TRADE or schema.LEVEL_NUMBERS[entry.level] >= schema.ERROR
