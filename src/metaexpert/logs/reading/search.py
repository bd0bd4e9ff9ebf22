"""The wanted records among whole lines of a file.

`found_in` decodes only lines that may pass, and gives a line that is not an entry a place in time. `merge` calls it
for each piece of each file and puts the results in order.
"""

from __future__ import annotations

from collections.abc import Callable

from metaexpert.logs.entry import TIME_BEGIN, TIME_END, Entry, Key, Record, Unparsed, by_time, checked, glance, time_key
from metaexpert.logs.reading.files import LogFile
from metaexpert.logs.reading.filters import Criteria

#: Returns the key of the entry before a piece of a file, if there is one; may have to read for it.
Before = Callable[[], Key | None]


def found_in(
    data: bytes,
    file: LogFile,
    log: int,
    criteria: Criteria,
    before: Before,
    after: Key | None = None,
) -> list[Record]:
    """Return the wanted records of these whole lines, in order of time; they hold no decoded data yet.

    A line that is not an entry gets the place in time of the entry before it, else of the one after it, else the time
    when the file was modified. *before* returns the last entry of earlier pieces, *after* is the first of later ones.
    """
    selection, by_content, sure = criteria.select(data), criteria.by_content, criteria.sure_text
    if selection.regular and (sure or not by_content):  # most of all
        label = file.label
        found = [_entry(data[start:stop], number, label, log) for start, stop, number in selection.each()]
        if all(sure in entry.line for entry in found):
            return sorted(found, key=by_time)
    records: list[Record] = []
    place = _Places(data, file, log, before, after)
    for start, stop, number in selection.each():
        line = data[start : abs(stop)]
        passes = not by_content or criteria.glance(line)
        if passes is False:
            continue
        record: Record | None
        record = _entry(line, number, file.label, log) if number >= 0 else glance(line, file.label, log)
        if record is None:
            record = Unparsed(line, file.label, place.of(start))
        else:
            place.note(start + len(line), record.key)
        if number < 0 and not criteria.in_time(record.key[0]):  # that of a regular line was looked at
            continue
        if passes is None:
            record = checked(record)
            if not criteria.accept(record):
                continue
            if isinstance(record, Entry):
                record.forget()
        records.append(record)
    records.sort(key=by_time)
    return records


def _entry(line: bytes, number: int, file: str, log: int) -> Entry:
    return Entry(line, file, (line[TIME_BEGIN:TIME_END], number, log))


class _Places:
    """Finds the place of lines that are not entries. Looks at each line once, so garbage costs no more than text."""

    def __init__(self, data: bytes, file: LogFile, log: int, before: Before, after: Key | None) -> None:
        self._data = data
        self._file = file
        self._log = log
        self._before = before
        self._after = after
        self._end = 0
        self._key: Key | None = None

    def note(self, end: int, key: Key) -> None:
        """Remember that the line that ends at *end* is an entry with *key*."""
        self._end, self._key = end, key

    def of(self, start: int) -> Key:
        """Return the place of the line that begins at *start*."""
        key = last_key(self._data[self._end : start], self._log) or self._key or self._before() or self._first()
        self.note(start, key)
        return key

    def _first(self) -> Key:
        for line in self._data.split(b"\n"):
            if (entry := glance(line, "", self._log)) is not None:
                return entry.key
        return self._after or (time_key(self._file.modified), 0, self._log)


def last_key(data: bytes, log: int) -> Key | None:
    """Return the key of the last entry in these whole lines."""
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if (entry := glance(data[start:end].rstrip(b"\n"), "", log)) is not None:
            return entry.key
        end = start
    return None
