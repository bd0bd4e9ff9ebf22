"""Loops of standard error: it may lead back into the log, through a pipe and threads that log what they read.

Each printed entry would then make another one, without end and longer each time. A printed line begins with its time,
which stays readable in a message or a field. So an entry that holds the beginning of a line printed here earlier is
recognised, and is not printed; it stays in the files.

Bound: `MOST_KNOWN` lines are known at least, twice as many at most. *Limits.* A reader that takes the time
and the first words apart is not recognised.

Threads: any may call; sets of integers are changed in single steps.
"""

from __future__ import annotations

import re
from typing import Final

#: Lines that are known. A pipe holds 64 KiB, some hundred lines, before its reader comes.
MOST_KNOWN: Final = 20_000
#: Letters and digits that tell a line: its time, its level and the beginning of its message.
_LENGTH: Final = 80
#: Bytes that surely hold them, escapes and all.
_ENOUGH: Final = 320
#: An entry's own time ends before this byte.
_OWN_TIME: Final = 40
#: Where the date is in a line of JSON, after ``{"timestamp":"``.
_DATE: Final = slice(14, 24)
#: Where the hour is, to look for lines without a date. One that comes back in the next hour does so once more.
_HOUR: Final = slice(25, 28)
#: Where a time begins at least that has a date before it.
_DATED: Final = len("2026-11-22 ")
_TIME: Final = rb"\d\d:\d\d:\d\d\.\d{3}"
_PRINTED: Final = re.compile(_TIME)
#: A time in a string of JSON, with all that follows on its line.
_WITHIN: Final = re.compile(_TIME + rb'(?:[^"\\]|\\[^nr]){0,%d}' % _ENOUGH)
_COLOR: Final = re.compile(rb"(?:\x1b|\\+u001b)\[[\d;]*m")
_OTHERS: Final = bytes(b for b in range(128) if not chr(b).isalnum())


class PrintedLines:
    """The lines that this process has printed lately, by their beginnings."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._before: set[int] = set()
        #: Whether a line without the date was printed, as on a terminal.
        self._dateless = False

    def add(self, text: str) -> None:
        """Remember the first line of a printed entry."""
        beginning = text[: _ENOUGH + _OWN_TIME].encode("utf-8", "replace")
        time = _PRINTED.search(beginning, 0, _OWN_TIME)
        if time is not None:
            if len(self._known) >= MOST_KNOWN:
                self._known, self._before = set(), self._known
            self._dateless = self._dateless or time.start() < _DATED or b"\n" in beginning[: time.start()]
            self._known.add(_key(beginning[time.start() : time.start() + _ENOUGH].partition(b"\n")[0]))

    def within(self, entry: bytes) -> bool:
        """Return whether *entry*, a line of JSON, holds a printed line in its message or in a field."""
        if entry.find(entry[_HOUR if self._dateless else _DATE], _OWN_TIME) < 0:
            return False
        keys = (_key(found[0]) for found in _WITHIN.finditer(entry, _OWN_TIME))
        return any(key in self._known or key in self._before for key in keys)


def _key(text: bytes) -> int:
    if b"[" in text:
        text = _COLOR.sub(b"", text)
    return hash(text.translate(None, _OTHERS)[:_LENGTH])


#: The lines on the standard error of this process.
printed_lines: Final = PrintedLines()
