"""One line of a log file as a typed value: an `Entry`, or `Unparsed`.

An entry is a JSON object with a ``timestamp`` in ISO 8601, one of our ``level`` words and a ``message``. Any other line
(a torn write, another program's output) is passed on as it is.

A line of our own writer has its time at a fixed offset, so it can be sorted before it is decoded, and most lines that a
filter drops are never decoded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.system.native import core

#: Place of a record in time: when, as ``2026-11-22T10:31:00.123456`` in UTC (such bytes sort as the times do), then
#: the number within its process, then the number of the log it was read from.
Key = tuple[bytes, int, int]
#: Sort key of records: their place in time.
by_time: Final = operator.attrgetter("key")

#: The beginning of a line of our writer, and the ends of its time.
START: Final = b'{"timestamp":"'
TIME_BEGIN: Final = len(START)
TIME_END: Final = TIME_BEGIN + len("2026-11-22T10:31:00.123456")
_AFTER_TIME: Final = b'Z",'
#: Where the level begins.
HEADER_END: Final = TIME_END + len(_AFTER_TIME)
_SEQUENCE: Final = b',"sequence_id":'
#: The header's sequence id begins within so many bytes: the RFC's limits of the names before it, and their keys.
_HEADER_LENGTH: Final = 1024

# orjson silently reads integers beyond 64 bits as floats; the shortest such number has 20 digits, or 19 and a minus.
# Replacing all digits by 0 and searching literally takes a tenth of the time of a regular expression. Ids of orders
# often have 19 digits, and fit.
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * 20
_LONG_NEGATIVE: Final = b"-" + b"0" * 19
_LONG_INTEGER: Final = re.compile(rb"(?:\A|[:,\[])\s*(?:\d{20}|-\d{19})")
#: More do not fit into 64 bits.
_MOST_SEQUENCE_DIGITS: Final = 18
_OUR_KINDS: Final = (schema.MSGID_LOG, schema.MSGID_TRADE)
#: Errors of decoding a line that is not an entry.
_NO_ENTRY: Final = (ValueError, TypeError, LookupError, RecursionError)
# Python does not convert longer text to a number (sys.set_int_max_str_digits); such a number stays text.
_MOST_DIGITS: Final = 4300


@dataclass(slots=True, unsafe_hash=True)
class Entry:
    """One log entry.

    Attributes:
        line: The line as it is in the file, without its end.
        file: Name of the file that it was read from (several files may have it).
        key: Place in time, see `Key`.
    """

    line: bytes
    file: str
    key: Key
    #: `data`, once it was asked for. It is looked at first in the others, which are asked for several times per entry.
    _data: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def data(self) -> dict[str, Any]:
        """The decoded JSON object, in the layout of the file."""
        if self._data is None:
            data = _decode(self.line)
            datetime.fromisoformat(data["timestamp"])
            if data["level"] not in schema.LEVEL_NUMBERS or type(data["message"]) is not str:
                raise ValueError("it is no entry")
            self._data = data
        return self._data

    def forget(self) -> None:
        """Release the decoded object; `data` decodes it again."""
        self._data = None

    @property
    def time(self) -> datetime:
        """When the call was made; aware."""
        return moment(self.key[0])

    @property
    def timestamp(self) -> str:
        """The same as text: RFC 3339, UTC, microseconds."""
        text = self.key[0].decode()
        if text[4:20:3] == "--T::.":  # as our writer and `time_key` write it
            return f"{text}Z"
        return schema.timestamp(self.time)

    @property
    def sequence_id(self) -> int:
        """Number of the entry within its process; 0 when the line has none."""
        return self.key[1]

    @property
    def level(self) -> str:
        """Level word in lower case, such as ``"warning"``."""
        return str((self._data or self.data)["level"])

    @property
    def text(self) -> str:
        """The message."""
        return str((self._data or self.data)["message"])

    @property
    def flat(self) -> dict[str, Any]:
        """The entry in the flat layout: header, context, the call's own fields, exception and stack last."""
        return dict(self.fields)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The same, not to be changed: `flat` is a copy."""
        data = self._data or self.data
        if schema.STRUCTURED_DATA_KEY not in data:
            return data
        from metaexpert.logger.entry.rfc5424 import from_layout  # noqa: PLC0415 - for one layout, and slow to import

        return from_layout(data)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of the header key, context or field of that name, in either layout."""
        data = self._data or self.data
        if name in data or schema.STRUCTURED_DATA_KEY not in data:
            return data.get(name, default)
        groups = data[schema.STRUCTURED_DATA_KEY]
        if isinstance(groups, Mapping):
            for sd_id, group in groups.items():
                if sd_id.startswith(("context@", "fields@")) and isinstance(group, Mapping) and name in group:
                    return group[name]
        return default

    @property
    def expert(self) -> str:
        """Name of the expert: its ``expert_name``, or the program's name in the header."""
        return str(self.get("expert_name", None) or self.data.get("appname", ""))

    @property
    def process(self) -> tuple[str, str]:
        """Host and process id of the writer, as the header has them."""
        data = self._data or self.data
        return str(data.get("hostname", "")), str(data.get("procid", ""))

    @property
    def foreign(self) -> bool:
        """Whether another logger wrote it, see `metaexpert.logs.foreign`; its ``msgid`` says which."""
        return self.key[1] == 0 and self.data.get("msgid", schema.MSGID_LOG) not in _OUR_KINDS

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """Distinguishes this entry from every other; None for a line of another program, which has no number.

        The time is part of it because a restarted process counts from 1 again, maybe under the same process id.
        """
        return (*self.key[:2], *self.process) if self.key[1] else None

    @property
    def has_copies(self) -> bool:
        """Whether several files have it: trades and errors have files of their own besides."""
        data = self._data or self.data
        return data.get("msgid") == schema.MSGID_TRADE or schema.LEVEL_NUMBERS[data["level"]] >= schema.ERROR


@dataclass(slots=True)
class Unparsed:
    """A line that is not an entry: torn, foreign or damaged.

    Attributes:
        line: The line as it is in the file, without its end.
        file: Name of the file that it was read from.
        key: Place in time: that of the entry before it in its file, or the nearest thing known.
    """

    line: bytes
    file: str
    key: Key

    @property
    def time(self) -> datetime:
        """Approximate time of writing."""
        return moment(self.key[0])

    @property
    def text(self) -> str:
        """The line as text; bytes that are not UTF-8 become hexadecimal escapes."""
        return self.line.decode("utf-8", "backslashreplace")


Record = Entry | Unparsed


def parse(line: bytes, file: str, log: int = 0) -> Entry | None:
    """Return *line* as a decoded entry, or None when it is not one. Never raises."""
    found = glance(line, file, log)
    return found if found is not None and isinstance(checked(found), Entry) else None


def glance(line: bytes, file: str, log: int = 0) -> Entry | None:
    """Return *line* as an entry, judged by its beginning and end; only an odd line is decoded.

    Such a line may still not be an entry: then `Entry.data` raises (see `checked`).
    """
    number = regular_number(line)
    if number:
        return Entry(line, file, (line[TIME_BEGIN:TIME_END], int(number), log))
    return _odd(line, file, log)


def written_by(host: str, *processes: str) -> re.Pattern[str]:
    """Return what is found in each line of our writer by one of these processes, given by their ids, on *host*."""
    where, *names = (re.escape(orjson.dumps(name).decode()) for name in (host, *processes))
    return re.compile(f'"hostname":{where},"appname":"[^"]*","procid":(?:{"|".join(names)}),')


def regular_number(line: bytes) -> bytes:
    """Return the digits of the sequence id of a line that is *regular*: it begins and ends as our writer's do.

    Empty for any other line. The compiled core has the same rule (`system/core/scan.c`).
    """
    if line.startswith(START) and line[TIME_END:HEADER_END] == _AFTER_TIME and line.endswith(b"}"):
        at = line.find(_SEQUENCE, HEADER_END, _HEADER_LENGTH) + len(_SEQUENCE)
        number = line[at : line.find(b",", at)] if at >= len(_SEQUENCE) else b""
        if number.isdigit() and len(number) <= _MOST_SEQUENCE_DIGITS:
            return number
    return b""


def is_ordinary(line: bytes) -> bool:
    """Return whether *line* certainly conforms to the schema of an entry, and is neither a trade nor an error.

    Only the compiled core can tell without decoding; where it is missing, the answer is False.
    """
    return core is not None and bool(core.is_ordinary(line))


def kinds_of(line: bytes) -> bytes | None:
    """Return the fields behind the message of such a line; None for any other.

    For each a name, a tab, a letter and a line end. The letter is s for a text, i for an integer of at most 64 bits,
    f for another number, b for true and false, n for null, and j for a list or an object.
    """
    found: bytes | None = core.kinds_of(line) if core is not None else None
    return found


def checked(record: Record) -> Record:
    """Return *record*, an entry decoded, or as `Unparsed` when it only looked like an entry."""
    if isinstance(record, Entry):
        try:
            _ = record.data
        except _NO_ENTRY:
            return Unparsed(record.line, record.file, record.key)
    return record


def _odd(line: bytes, file: str, log: int) -> Entry | None:
    """Return an entry in another form than ours: spaces, another order, another time zone, a BOM, CRLF."""
    line = line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")
    if b"{" not in line[:64]:  # text of other programs: the quick answer
        return None
    try:
        data = _decode(line)
        key = time_key(datetime.fromisoformat(data["timestamp"]))
        known = data["level"] in schema.LEVEL_NUMBERS and type(data["message"]) is str
    except (*_NO_ENTRY, OverflowError):
        return None
    if not known:
        return None
    number = data.get("sequence_id", 0)
    return Entry(line, file, (key, number if type(number) is int else 0, log), data)


def time_key(time: datetime) -> bytes:
    """Return *time* as the first part of a `Key`; a naive time is UTC."""
    utc = time.replace(tzinfo=None) if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds").encode()


def moment(key: bytes) -> datetime:
    """Return the time of a key, aware; `datetime.min` if it is not a time."""
    try:
        return datetime.fromisoformat(key.decode()).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def as_json(fields: Mapping[str, Any]) -> bytes:
    """Return decoded *fields* as JSON for other programs: NaN becomes null, half a surrogate pair a question mark."""
    try:
        return orjson.dumps(fields)
    except TypeError:  # such a half, or an integer beyond 64 bits
        import json  # noqa: PLC0415 - for such values only

        finite = json.loads(json.dumps(fields), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _decode(line: bytes) -> Any:
    alike = line.translate(_DIGITS_ALIKE)
    if (_LONG_NUMBER in alike or _LONG_NEGATIVE in alike) and _LONG_INTEGER.search(line):
        import json  # noqa: PLC0415 - for such numbers only

        return json.loads(line.decode("utf-8"), parse_int=_integer)
    return orjson.loads(line)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MOST_DIGITS else text
