"""Tables and bars as text for terminals and pipes; and tables as CSV.

Cells are escaped, so that no value can send control characters to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.render import csv_row, guard

_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> str:
    """Return rows under their headers, each column as wide as its widest cell; columns in *right* are right-aligned."""
    headers = [escape(header) for header in headers]
    cells = [[escape("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [headers, *cells]) for n in range(len(headers))]
    right = set(map(escape, right))
    aligned = [str.rjust if header in right else str.ljust for header in headers]
    lines = (
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True)).rstrip()
        for line in [headers, *cells]
    )
    return "".join(f"{line}\n" for line in lines)


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
