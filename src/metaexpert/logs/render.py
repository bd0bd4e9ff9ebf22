"""Records as text for people, as JSON Lines, and as CSV. Pure; the caller writes what it gets.

A format is called with a batch of records and returns their text, each line with its end; `start` stands before
the first batch. Bytes of a torn line that are no UTF-8 are kept as surrogates (``errors="surrogateescape"``), so
that a pipe gets them back as they were.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, Protocol

from metaexpert.logger.text import ConsoleText, escape
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


def make_format(name: FormatName, *, colors: bool = False, tz: tzinfo = UTC, terminal: bool = False) -> Format:
    """Return the format of that name.

    Args:
        name: ``"text"``, ``"json"`` or ``"csv"``.
        colors: Whether text is coloured.
        tz: Time zone of the times in text; JSON and CSV keep UTC.
        terminal: Whether the output goes to a terminal, where control characters must not act. Text never
            holds any.
    """
    if name == "text":
        return TextFormat(colors, tz)
    return JsonFormat(terminal=terminal) if name == "json" else CsvFormat(terminal=terminal)


class TextFormat:
    """Text for people: the console's lines. Names the expert on each line as soon as it has met two.

    A line that is no entry is shown as it is, with control characters escaped.
    """

    start = ""

    def __init__(self, colors: bool, tz: tzinfo = UTC) -> None:
        self._experts: set[str] = set()
        self._of_one = ConsoleText(colors, tz)
        self._of_many = ConsoleText(colors, tz, show_expert=True)

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as text."""
        self._experts.update(str(r.flat.get("expert_name", "")) for r in batch if isinstance(r, Entry))
        show = self._of_many if len(self._experts) > 1 else self._of_one
        return "".join(f"{show(r.data) if isinstance(r, Entry) else escape(r.text)}\n" for r in batch)


class JsonFormat:
    """The lines as they stand in the files, entries or not."""

    start = ""

    def __init__(self, *, terminal: bool = False) -> None:
        self._terminal = terminal

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as JSON Lines."""
        lines = (record.line.decode("utf-8", "surrogateescape") for record in batch)
        return "".join(f"{escape(line) if self._terminal else line}\n" for line in lines)


class CsvFormat:
    """A table of `CSV_COLUMNS` (RFC 4180 quoting, LF at line ends); empty where an entry has no such field.

    Lists and objects stand as JSON text. A text that a spreadsheet would take for a formula gets an apostrophe in
    front; a number, also one written as text (an exact Decimal), never does. A line that is no entry has only its
    ``message``.
    """

    start = ",".join(CSV_COLUMNS) + "\n"

    def __init__(self, *, terminal: bool = False) -> None:
        self._terminal = terminal

    def __call__(self, batch: Sequence[Record]) -> str:
        """Return *batch* as CSV rows."""
        rows = (_cells(record) for record in batch)
        return "".join(_row([escape(cell) for cell in row] if self._terminal else row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    # With CRLF as its line end the writer quotes both characters in values; with LF alone it forgets CR.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2] + "\n"


def _cells(record: Record) -> list[str]:
    if not isinstance(record, Entry):
        line = record.line.decode("utf-8", "surrogateescape")
        return [_cell(line) if column == "message" else "" for column in CSV_COLUMNS]
    rest = dict(record.flat)
    cells = [_cell(rest.pop(column, None)) for column in CSV_COLUMNS[:-1]]
    return [*cells, _cell(rest)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value
