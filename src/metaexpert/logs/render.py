"""Records as text for people, as JSON Lines, and as CSV. Pure; the caller writes what it gets.

A format is called with a batch of records and returns their text, each line with its end; `start` stands before
the first batch. Bytes of a torn line that are no UTF-8 are kept as surrogates (``errors="surrogateescape"``), so
that a pipe gets them back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, Protocol

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import RENDERER_KEYS, below, escape, fields_of, time_text, value_text
from metaexpert.logs.entry import Entry, Record

FormatName = Literal["text", "json", "csv"]

#: Columns of the CSV; whatever else an entry holds stands in the last one as JSON.
CSV_COLUMNS: Final = (
    "timestamp",
    "level",
    "expert_name",
    "message",
    "symbol",
    "order_id",
    "trade_id",
    "side",
    "size",
    "price",
    "fields",
)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
#: A spreadsheet takes a cell that begins with one of these for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Format(Protocol):
    """Turns records into text.

    Attributes:
        start: What stands before everything else.
    """

    start: str

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as text."""
        ...


def make_format(
    name: FormatName,
    *,
    colors: bool = False,
    tz: tzinfo = UTC,
    terminal: bool = False,
    fields: Sequence[str] = (),
) -> Format:
    """Return the format of that name.

    Args:
        name: ``"text"``, ``"json"`` or ``"csv"``.
        colors: Whether text is coloured.
        tz: Time zone of the times in text and CSV; JSON is what stands in the files, UTC.
        terminal: Whether the output goes to a terminal, where control characters must not act. Text never
            holds any.
        fields: What is shown of each entry: fields, context, header keys. In text, time, level and message stand
            before them. All when empty.
    """
    if name == "text":
        return TextFormat(colors, tz, fields)
    if name == "json":
        return JsonFormat(terminal=terminal, fields=fields)
    return CsvFormat(terminal=terminal, tz=tz, fields=fields)


#: Escape sequences of a terminal (ECMA-48, SGR), as structlog's console has them.
_RESET, _BRIGHT, _DIM, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN = (
    f"\x1b[{code}m" for code in (0, 1, 2, 31, 32, 33, 34, 35, 36)
)
_LEVEL_COLORS: Final = {"debug": _GREEN, "info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _RED}


class TextFormat:
    """Text for people: the console's lines. Names the expert on each line as soon as it has met two.

    A line that is no entry is shown as it is, with control characters escaped. Made without structlog, whose import
    takes longer than showing the last entries; a test holds both to the same characters.
    """

    start = ""

    def __init__(self, colors: bool, tz: tzinfo = UTC, fields: Sequence[str] = ()) -> None:
        self._experts: set[str] = set()
        self._tz = tz
        self._fields = fields
        self._color = (lambda code, text: f"{code}{text}{_RESET}") if colors else (lambda _, text: text)

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as text."""
        self._experts.update(str(r.get("expert_name", "")) for r in batch if isinstance(r, Entry))
        return "".join(f"{self._line(r) if isinstance(r, Entry) else escape(r.text)}\n" for r in batch)

    def _line(self, entry: Entry) -> str:
        color, data, level = self._color, entry.data, entry.level
        parts = [
            color(_DIM, time_text(data["timestamp"], self._tz)),
            f"[{color(_LEVEL_COLORS[level] + _BRIGHT, f'{level:5}')}]",
        ]
        if len(self._experts) > 1:
            parts.append(color(_BLUE, escape(str(entry.get("expert_name") or ""))))
        parts.append(color(_BRIGHT, escape(entry.text)) + color("", " "))
        for name, value in self._shown(entry).items():
            key = schema.RESERVED_PREFIX + name if name in RENDERER_KEYS else escape(name)
            parts.append(f"{color(_CYAN, key)}={color(_MAGENTA, value_text(value))}")
        return "\n".join([" ".join(parts).rstrip(" "), *([] if self._fields else below(data))])

    def _shown(self, entry: Entry) -> dict[str, Any]:
        if not self._fields:
            return fields_of(entry.data)
        flat = entry.flat
        return {name: flat[name] for name in self._fields if name in flat and name not in _ALWAYS}


#: What stands on each line of text in any case.
_ALWAYS: Final = ("timestamp", "level", "message")


class JsonFormat:
    """The lines as they stand in the files, entries or not; of some *fields*, flat objects with these."""

    start = ""

    def __init__(self, *, terminal: bool = False, fields: Sequence[str] = ()) -> None:
        self._terminal = terminal
        self._fields = fields

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as JSON Lines."""
        lines = map(self._line, batch)
        return "".join(f"{escape(line) if self._terminal else line}\n" for line in lines)

    def _line(self, record: Record) -> str:
        if not self._fields or not isinstance(record, Entry):
            return record.line.decode("utf-8", "surrogateescape")
        flat = record.flat
        return compact({name: flat[name] for name in self._fields if name in flat})


class CsvFormat:
    """A table of `CSV_COLUMNS`, or of *fields* (RFC 4180 quoting, LF at line ends); empty where there is no such field.

    Lists and objects stand as JSON text. A text that a spreadsheet would take for a formula gets an apostrophe in
    front; a number, also one written as text (an exact Decimal), never does. A line that is no entry has only its
    ``message``, or stands in the first column when there is none.
    """

    def __init__(self, *, terminal: bool = False, tz: tzinfo = UTC, fields: Sequence[str] = ()) -> None:
        self._terminal = terminal
        self._tz = tz
        self._fields = fields
        self._columns = tuple(fields) or CSV_COLUMNS
        self.start = _row([_cell(column) for column in self._columns])

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as CSV rows."""
        rows = (self._cells(record) for record in batch)
        return "".join(_row([escape(cell) for cell in row] if self._terminal else row) for row in rows)

    def _cells(self, record: Record) -> list[str]:
        if not isinstance(record, Entry):
            line = _cell(record.line.decode("utf-8", "surrogateescape"))
            place = self._columns.index("message") if "message" in self._columns else 0
            return [line if number == place else "" for number in range(len(self._columns))]
        rest = record.flat
        if self._tz is not UTC:
            rest["timestamp"] = record.time.astimezone(self._tz).isoformat(timespec="microseconds")
        if self._fields:
            return [_cell(rest.get(column)) for column in self._columns]
        cells = [_cell(rest.pop(column, None)) for column in CSV_COLUMNS[:-1]]
        return [*cells, _cell(rest)]


def _row(cells: Sequence[str]) -> str:
    import csv  # noqa: PLC0415 - this and the others only for their format
    import io  # noqa: PLC0415

    # With CRLF as its line end the writer quotes both characters in values; with LF alone it forgets CR.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2] + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return compact(value)
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value


def compact(value: Any) -> str:
    """Return *value* as JSON without spaces; integers of any size."""
    import json  # noqa: PLC0415

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
