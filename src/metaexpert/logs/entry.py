"""One line of a log file as a typed value: an `Entry`, or `Unparsed` when it is none.

An entry is a JSON object with a ``timestamp`` in ISO 8601, a ``level`` word of ours and a ``message``; whatever else
stands on a line (a torn write, another program's output) is passed on as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.rfc5424 import from_layout

#: Place of a record in time: when, and within one instant the sequence id.
Key = tuple[datetime, int]

# orjson reads integers beyond 64 bits as floats, without a word; 19 digits are the shortest that may be such.
# Digits made alike and searched literally: a tenth of the time of a regular expression.
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 19
# Python refuses to convert longer texts (sys.set_int_max_str_digits); such a number stays text.
_MOST_DIGITS: Final = 4300


@dataclass(slots=True)
class Entry:
    """One log entry.

    Attributes:
        line: The line as it stands in the file, without its end.
        data: The decoded JSON object, in the layout of the file.
        file: Name of the file that it was read from (an entry may stand in several).
        key: Place in time: when the call was made, then the number within its process (0 when it has none).
    """

    line: bytes
    data: dict[str, Any]
    file: str
    key: Key

    @property
    def time(self) -> datetime:
        """When the call was made; aware."""
        return self.key[0]

    @property
    def sequence_id(self) -> int:
        """Number of the entry within its process; 0 when the line has none."""
        return self.key[1]

    @property
    def level(self) -> str:
        """Level word in lower case, such as ``"warning"``."""
        return str(self.data["level"])

    @property
    def text(self) -> str:
        """The message."""
        return str(self.data["message"])

    @property
    def flat(self) -> dict[str, Any]:
        """The entry in the flat layout: header, context, the call's own fields, exception and stack last."""
        return from_layout(self.data)

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """What tells this entry from every other, or None when nothing does (a foreign line).

        The time is part of it because a restarted process begins to count again, maybe under the same id.
        """
        return (self.key, self.data.get("procid"), self.data.get("hostname")) if self.key[1] else None


@dataclass(slots=True)
class Unparsed:
    """A line that is no entry: torn, foreign or damaged.

    Attributes:
        line: The line as it stands in the file, without its end.
        file: Name of the file that it was read from.
        key: Place in time: that of the entry before it in its file, or the nearest thing known.
    """

    line: bytes
    file: str
    key: Key

    @property
    def time(self) -> datetime:
        """About when it was written."""
        return self.key[0]

    @property
    def text(self) -> str:
        """The line as text; bytes that are no UTF-8 are shown as hexadecimal escapes."""
        return self.line.decode("utf-8", "backslashreplace")


Record = Entry | Unparsed


def parse(line: bytes, file: str) -> Entry | None:
    """Return the entry that *line* holds, or None when it holds none. Never raises."""
    try:
        data = _decode(line)
        time = datetime.fromisoformat(data["timestamp"])
        known = data["level"] in schema.LEVEL_NUMBERS and type(data["message"]) is str
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if not known:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    number = data.get("sequence_id", 0)
    return Entry(line, data, file, (time, number if type(number) is int else 0))


def _decode(line: bytes) -> Any:
    if _LONG_NUMBER in line.translate(_DIGITS_ALIKE):
        return json.loads(line.decode("utf-8"), parse_int=_integer)
    return orjson.loads(line)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MOST_DIGITS else text
