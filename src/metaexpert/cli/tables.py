"""Tables, folded lines and bars as text for terminals and pipes; and tables as CSV.

Cells are escaped, so that no value can send control characters to the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from metaexpert.cli import output
from metaexpert.logger.entry.console_text import cells, escape, fold, shortened
from metaexpert.logs.render import csv_row, guard

#: Spaces between two columns.
GAP: Final = 2
#: Characters of a day before a time, with the space between them.
DAY: Final = len("2026-11-22 ")
#: Before the further lines of a row.
_INDENT: Final = "    "
#: Columns that a name keeps where it has to give some, or this part of the terminal's width.
_LEAST_NAME, _NAME_PART = 12, 4
#: A last column of texts is folded rather than put into a line of its own where it has so many columns.
_LEAST_TEXT: Final = 24
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Iterable[str] = (),
    *,
    width: int = 0,
    names: Iterable[str] = (),
) -> str:
    """Return rows under their headers, each column as wide as its widest cell; columns in *right* are right-aligned.

    What is wider than a terminal's *width* loses empty columns and the middle of its *names*; then columns stand in
    further lines of their rows, and the texts of a last column that is not in *right* are folded. 0 keeps each row in
    one line.
    """
    lines = [[escape(header) for header in headers]]
    lines += [[escape("" if cell is None else str(cell)) for cell in row] for row in rows]
    if width and across(lines) > width:
        lines = list(_narrowed(lines, set(map(escape, names)), max(_LEAST_NAME, width // _NAME_PART)))
    widths = column_widths(lines)
    to_right = set(map(escape, right))
    at_right = {n for n, header in enumerate(lines[0]) if header in to_right}
    room = width or sys.maxsize
    parts = list(_parts(widths, room, text=len(widths) - 1 not in at_right))
    return "".join(
        f"{text}\n"
        for line in lines
        for part in parts
        for text in _line(line, part, widths, at_right, room)
        if text or not part[0]
    )


def day_column(times: Sequence[str], header: str) -> tuple[str, list[str]]:
    """Return a header and cells for a column of *times*: on a terminal their day is the header if all are of one.

    Elsewhere and for several days they are as they were, below *header*.
    """
    days = {time[:DAY] for time in times}
    if not output.to_terminal() or len(days) != 1:
        return header, list(times)
    return days.pop().strip(), [time[DAY:] for time in times]


def _narrowed(lines: Sequence[Sequence[str]], names: set[str], room: int) -> Iterator[list[str]]:
    """Yield *lines* without columns that are empty, and their *names* in *room* columns."""
    kept = [n for n in range(len(lines[0])) if any(line[n] for line in lines[1:])]
    for line in lines:
        yield [shortened(line[n], room) if lines[0][n] in names else line[n] for n in kept]


def column_widths(lines: Iterable[Sequence[str]]) -> list[int]:
    """Return how wide the widest cell of each column is."""
    return [max(map(cells, column)) for column in zip(*lines, strict=True)]


def across(lines: Iterable[Sequence[str]]) -> int:
    """Return how many columns of a terminal *lines* take side by side."""
    return sum(width + GAP for width in column_widths(lines)) - GAP


def _parts(widths: Sequence[int], room: int, *, text: bool) -> Iterator[range]:
    """Yield the columns of each line of a row: as many as fit into *room*, at least one.

    The last column may be narrower if it is a *text*.
    """
    begin, used = 0, -GAP
    for at, column in enumerate(widths):
        needed = min(column, _LEAST_TEXT) if text and at == len(widths) - 1 else column
        if used + GAP + needed > room and at > begin:
            yield range(begin, at)
            begin, used = at, len(_INDENT) - GAP
        used += GAP + column
    yield range(begin, len(widths))


def _line(line: Sequence[str], part: range, widths: Sequence[int], right: set[int], room: int) -> Iterator[str]:
    """Yield what *line* has in the columns of *part*; a last text that does not fit has further lines."""
    text = _INDENT * bool(part[0])
    for n in part:
        if n == len(widths) - 1 and n not in right:
            first, *more = fold(line[n], max(room - cells(text), 1))
            yield (text + first).rstrip()
            yield from (" " * cells(text) + further for further in more)
            return
        rest = " " * (widths[n] - cells(line[n]))
        text += (rest + line[n] if n in right else line[n] + rest) + " " * GAP
    yield text.rstrip()


def csv_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their headers as CSV (RFC 4180 quoting, LF at line ends).

    Text that a spreadsheet would take for a formula gets a leading apostrophe, as in `metaexpert.logs.render`.
    """
    guarded = ([guard(cell) if isinstance(cell, str) else cell for cell in row] for row in [headers, *rows])
    return "".join(f"{csv_row(row)}\n" for row in guarded)


def bar(value: float, most: float, width: int) -> str:
    """Return a bar of *value* where *most* fills *width* characters, in eighths of a character."""
    eighths = round(value / most * width * 8) if most else 0
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
