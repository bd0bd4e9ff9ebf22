"""Tables and bars as text for terminals and pipes; and tables as CSV.

Cells are escaped, so that no value can send control characters to the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.render import csv_row, guard

#: Between two columns, and before the further lines of a row.
_GAP, _INDENT = 2, "    "
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = (), *, width: int = 0
) -> str:
    """Return rows under their headers, each column as wide as its widest cell; columns in *right* are right-aligned.

    Columns beyond a terminal's *width* stand in further lines of their rows; 0 keeps each row in one line.
    """
    headers = [escape(header) for header in headers]
    cells = [[escape("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [headers, *cells]) for n in range(len(headers))]
    right = set(map(escape, right))
    aligned = [str.rjust if header in right else str.ljust for header in headers]
    folded = list(_folded(widths, width or sys.maxsize))
    lines = (
        _INDENT * bool(part[0]) + "  ".join(aligned[n](line[n], widths[n]) for n in part).rstrip()
        for line in [headers, *cells]
        for part in folded
    )
    return "".join(f"{line}\n" for line in lines if not line or line.strip())


def _folded(widths: Sequence[int], width: int) -> Iterator[range]:
    """Yield the columns of each line of a row: as many as fit, at least one."""
    begin, used = 0, -_GAP
    for at, column in enumerate(widths):
        used += _GAP + column
        if used > width and at > begin:
            yield range(begin, at)
            begin, used = at, len(_INDENT) + column
    yield range(begin, len(widths))


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
