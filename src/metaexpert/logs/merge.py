"""Many chains of files as one stream of records in order of time, each entry once.

Within a chain the order of its files stands, even where the clock stepped back; between chains, time decides, then
the sequence id. One record per chain is in memory, and a window of identities.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry, Key, Record, Unparsed, parse
from metaexpert.logs.files import Counts, LogFile

#: Lines that are no entries and wait for one to be placed by; a longer stretch is placed by what is known.
_LOOKAHEAD: Final = 1000
#: Trades and errors remembered. Copies of an entry meet within a few records unless the clock stepped back.
_WINDOW: Final = 65_536
_KEY: Final = operator.attrgetter("key")


def chain_records(files: Iterable[LogFile], counts: Counts, *, backward: bool = False) -> Iterator[Record]:
    """Yield the records of a chain (oldest file first; last first when *backward*)."""
    return placed(_records(files, counts, backward=backward), backward=backward)


def _records(files: Iterable[LogFile], counts: Counts, *, backward: bool) -> Iterator[Record]:
    for file in files:
        yield from records(file.lines(counts, backward=backward), file.name.path.name, file.modified)


def records(lines: Iterable[bytes], file: str, modified: datetime) -> Iterator[Record]:
    """Yield each of *lines* as a record; one that is no entry stands at *modified* for the time being."""
    for line in lines:
        yield parse(line, file) or Unparsed(line, file, (modified, 0))


def placed(stream: Iterable[Record], *, backward: bool = False) -> Iterator[Record]:
    """Give each unparsed line the place of the entry before it in its file, else of the one after it."""
    last: Key | None = None
    waiting: list[Unparsed] = []
    for record in stream:
        if isinstance(record, Entry):
            last = record.key
            if waiting:
                yield from _at(waiting, last)
                waiting = []
            yield record
        elif last is not None and not backward:
            record.key = last
            yield record
        else:
            waiting.append(record)
            if len(waiting) >= _LOOKAHEAD:
                yield from _at(waiting, last)
                waiting = []
    yield from _at(waiting, last)


def _at(waiting: list[Unparsed], key: Key | None) -> Iterator[Unparsed]:
    for record in waiting:
        record.key = key or record.key
        yield record


def merged(streams: Iterable[Iterable[Record]], *, backward: bool = False) -> Iterator[Record]:
    """Merge *streams* by time; *backward* gives the exact mirror image."""
    ordered = list(streams)
    if backward:
        ordered.reverse()
    return heapq.merge(*ordered, key=_KEY, reverse=backward)


class Once:
    """Knows the copies of an entry: a trade or an error stands in two or three files, other entries in one.

    Remembers the last 65,536 trades and errors. Beyond that a copy is shown again rather than an entry lost.

    Args:
        everything: Remember all entries. While files are followed, one may be written twice: a writer that
            could write only a part of a batch takes it back and tries again.
        window: How many are remembered.
    """

    __slots__ = ("_everything", "_seen", "_window")

    def __init__(self, *, everything: bool = False, window: int = _WINDOW) -> None:
        self._everything = everything
        self._window = window
        self._seen: dict[tuple[Any, ...], None] = {}

    def is_copy(self, entry: Entry) -> bool:
        """Tell whether *entry* was asked about before."""
        if not (self._everything or _may_have_copies(entry)) or (identity := entry.identity) is None:
            return False
        if identity in self._seen:
            return True
        self._seen[identity] = None
        if len(self._seen) > self._window:
            del self._seen[next(iter(self._seen))]
        return False


def _may_have_copies(entry: Entry) -> bool:
    return entry.data.get("msgid") == schema.MSGID_TRADE or schema.LEVEL_NUMBERS[entry.level] >= schema.ERROR
