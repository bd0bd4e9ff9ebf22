"""Records as text for people, as JSON Lines, and as CSV. Pure; the caller writes the text.

A format is called with a batch of records and returns their text; `Format.start` goes before the first batch. Bytes of
a torn line that are not UTF-8 are kept as surrogates (``errors="surrogateescape"``): a pipe gets the same bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

from metaexpert.logger.entry.console_text import ConsoleText, TerminalText, escape
from metaexpert.logs.entry import Entry, Record

FormatName = Literal["text", "json", "csv"]

#: Columns of the CSV; the last one holds all other fields as JSON.
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


@dataclass(slots=True)
class Format(ABC):
    """Turns records into text.

    Attributes:
        colors: Whether text is coloured.
        tz: Time zone of the times in text and CSV; JSON keeps the lines of the files, in UTC.
        terminal: Whether a terminal shows the output, where control characters must have no effect. Text never has any.
        fields: The fields, context and header keys to show of each entry; all when empty. Text always begins with
            time, level and message.
        start: Text before the first record.
        width: Columns of a terminal into which text is fitted, see `TerminalText`; 0 for none.
    """

    colors: bool = False
    tz: tzinfo = UTC
    terminal: bool = False
    fields: Sequence[str] = ()
    start: str = ""
    width: int = 0

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as text, each line with its end."""
        return "".join(f"{self.line(record)}\n" for record in batch)

    @abstractmethod
    def line(self, record: Record) -> str:
        """Return one record, without its line end."""

    def chosen(self, entry: Entry) -> dict[str, Any]:
        """Return those of the wanted fields that *entry* has, in the order in which they are wanted."""
        flat = entry.flat
        return {name: flat[name] for name in self.fields if name in flat}


#: Shown on each line of text in any case.
_ALWAYS: Final = frozenset({"timestamp", "level", "message"})


@dataclass(slots=True)
class TextFormat(Format):
    """Text for people: the console's lines. Names the expert on each line once there have been two.

    A line that is not an entry is shown as it is, with control characters escaped.
    """

    _experts: set[str] = field(default_factory=set)
    _text: ConsoleText = field(init=False)

    def __post_init__(self) -> None:
        terminal = self.width > 0
        self._text = (
            TerminalText(self.colors, self.tz, width=self.width) if terminal else ConsoleText(self.colors, self.tz)
        )

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as text; its experts count from its first line on."""
        self._experts.update(record.expert for record in batch if isinstance(record, Entry))
        return Format.__call__(self, batch)

    def line(self, record: Record) -> str:
        """Return one record; a traceback follows on lines of its own."""
        if not isinstance(record, Entry):
            return escape(record.text)
        self._text.show_expert = len(self._experts) > 1
        if not self.fields:
            return self._text(record.data)
        chosen = self.chosen(record)
        return self._text.line(record.data, {name: chosen[name] for name in chosen if name not in _ALWAYS})


@dataclass(slots=True)
class JsonFormat(Format):
    """The lines as they are in the files, entries or not; with *fields*, flat objects of these."""

    def line(self, record: Record) -> str:
        """Return one record."""
        if self.fields and isinstance(record, Entry):
            line = compact(self.chosen(record))
        else:
            line = record.line.decode("utf-8", "surrogateescape")
        return escape(line) if self.terminal else line


@dataclass(slots=True)
class CsvFormat(Format):
    """A table of `CSV_COLUMNS`, or of *fields* (RFC 4180 quoting, LF at line ends); a missing field is empty.

    Lists and objects are JSON text. Text that a spreadsheet would take for a formula gets a leading apostrophe; a
    number, also one written as text (an exact Decimal), never does. A line that is not an entry fills only the column
    ``message``, or the first one when there is none.
    """

    def __post_init__(self) -> None:
        self.start = csv_row([_cell(column) for column in self.fields or CSV_COLUMNS]) + "\n"

    def line(self, record: Record) -> str:
        """Return one record as a row."""
        cells = self._cells(record)
        return csv_row([escape(cell) for cell in cells] if self.terminal else cells)

    def _cells(self, record: Record) -> list[str]:
        columns = self.fields or CSV_COLUMNS
        if not isinstance(record, Entry):
            line = _cell(record.line.decode("utf-8", "surrogateescape"))
            at = columns.index("message") if "message" in columns else 0
            return [line if number == at else "" for number in range(len(columns))]
        rest = record.flat
        if self.tz is not UTC:
            rest["timestamp"] = record.time.astimezone(self.tz).isoformat(timespec="microseconds")
        if self.fields:
            return [_cell(rest.get(column)) for column in columns]
        cells = [_cell(rest.pop(column, None)) for column in CSV_COLUMNS[:-1]]
        return [*cells, _cell(rest)]


_FORMATS: Final[dict[FormatName, type[Format]]] = {"text": TextFormat, "json": JsonFormat, "csv": CsvFormat}


def make_format(
    name: FormatName,
    *,
    colors: bool = False,
    tz: tzinfo = UTC,
    terminal: bool = False,
    fields: Sequence[str] = (),
    width: int = 0,
) -> Format:
    """Return the format of that name; see `Format`."""
    return _FORMATS[name](colors, tz, terminal, fields, width=width)


def csv_row(cells: Sequence[object]) -> str:
    """Return *cells* as a row of CSV (RFC 4180 quoting), without its line end."""
    import csv  # noqa: PLC0415 - this and the others only for their format
    import io  # noqa: PLC0415

    # With CRLF as its line end the writer quotes both characters in values; with LF alone it forgets CR.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return compact(value)
    return guard(value)


def guard(text: str) -> str:
    """Return *text* with an apostrophe before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def compact(value: Any) -> str:
    """Return *value* as JSON without spaces; integers of any size."""
    import json  # noqa: PLC0415

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
