"""The list of records on the screen: one line each, a line that is chosen, and what comes at its end is followed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from metaexpert.logger.entry.console_text import TerminalText, escape
from metaexpert.logs import Entry, Record

#: Records that are kept; when there are a tenth more, the oldest go.
MOST: Final = 20_000
#: Columns of a line that is never folded.
_ENDLESS: Final = 1_000_000
_PAINT: Final = re.compile(r"\x1b\[(\d+)m")


class Records(ScrollView, can_focus=True):
    """Records, one on a line; the cursor stays on its record while others come and go."""

    BINDINGS = [  # noqa: RUF012 - as Textual has it
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "move(-1000000000)", "first", show=False),
        Binding("end,G", "end", "last", show=False),
        Binding("enter", "choose", "details", show=False),
    ]
    DEFAULT_CSS = "Records { height: 1fr; overflow-x: hidden; }"

    class Chosen(Message):
        """Enter was pressed on a record."""

        def __init__(self, record: Record) -> None:
            super().__init__()
            self.record = record

    def __init__(self, tz: tzinfo) -> None:
        super().__init__()
        self._tz = tz
        self.records: list[Record] = []
        self.cursor = 0
        #: Whether the cursor stays at the end.
        self.follows = True
        self.many = False
        self._style, self._width = Style(), 0
        self._strips: LRUCache[Any, Strip] = LRUCache(500)

    @property
    def current(self) -> Record | None:
        """The record at the cursor."""
        return self.records[self.cursor] if self.cursor < len(self.records) else None

    def show(self, records: Sequence[Record], at: Record | None = None) -> None:
        """Show *records* instead, the cursor on *at* or on the next after it; at the end without it."""
        self.records = list(records)
        self.follows = at is None
        last = max(len(self.records) - 1, 0)
        if at is None:
            self.cursor = last
        else:
            # Without the number of the log: a copy may be of another file.
            place = at.key[:2]
            self.cursor = next((n for n, one in enumerate(self.records) if one is at or one.key[:2] >= place), last)
        self._changed()

    def add(self, records: Sequence[Record]) -> None:
        """Add *records* at the end."""
        if not records:
            return
        self.records += records
        if len(self.records) > MOST * 1.1:
            gone = len(self.records) - MOST
            del self.records[:gone]
            self.cursor = max(self.cursor - gone, 0)
        if self.follows:
            self.cursor = len(self.records) - 1
        self._changed()

    def go(self, row: int) -> None:
        """Put the cursor on a row; at the last one it follows what comes."""
        self.cursor = min(max(row, 0), max(len(self.records) - 1, 0))
        self.follows = self.cursor == len(self.records) - 1
        self._changed()

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.go(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self.go(self.cursor + pages * max(self.size.height - 1, 1))

    def action_end(self) -> None:
        """Go to the end, and follow."""
        self.go(len(self.records) - 1)

    def action_choose(self) -> None:
        """Tell that the record at the cursor is chosen."""
        if (record := self.current) is not None:
            self.post_message(self.Chosen(record))

    def on_click(self, event: Any) -> None:
        """Put the cursor where the mouse is."""
        self.go(self.scroll_offset.y + event.y)

    def on_resize(self) -> None:
        """Lines have another width, and another number of them fits."""
        self.call_after_refresh(self._changed)

    def _changed(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.records))
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True, immediate=True)
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines of a part of the window."""
        # Once, because Textual puts them together anew each time. `size` counts the columns below the scroll bar.
        self._style, self._width = self.rich_style, self.scrollable_content_region.width
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Return the line at *y* of the window."""
        row, width = self.scroll_offset.y + y, self._width
        if row >= len(self.records):
            return Strip.blank(width, self._style)
        strip = self._strip(self.records[row])
        if strip.cell_length > width:  # half a number looks like another one
            strip = Strip([*strip.crop_extend(0, width - 1, self._style), Segment("…")])
        strip = strip.crop_extend(0, width, self._style)
        # Without its colours, which would make a motley bar.
        return Strip([Segment(strip.text, Style(reverse=True))], width) if row == self.cursor else strip

    def _strip(self, record: Record) -> Strip:
        key = id(record), self.many
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = Strip(_segments(line_of(record, self._tz, many=self.many)))
        return strip


def _segments(line: str) -> Iterator[Segment]:
    """Yield the parts of a painted *line*: a tenth of the time of `Text.from_ansi`, and most of what the list costs."""
    text, *rest = _PAINT.split(line)
    codes = ""
    yield Segment(text)
    for code, part in zip(rest[::2], rest[1::2], strict=True):
        codes = f"{codes};{code}" if code != "0" else ""
        if part:
            yield Segment(part, _style(codes))


@lru_cache(64)
def _style(codes: str) -> Style:
    """Return the style that these codes of a terminal set, one after the other."""
    return Text.from_ansi(f"\x1b[0{codes}mx").get_style_at_offset(Console(), 0)


def line_of(record: Record, tz: tzinfo, *, many: bool) -> str:
    """Return *record* on one line, in colour and with the time of *tz*; *many* for a view of several experts."""
    if not isinstance(record, Entry):
        return escape(record.text)
    # A renderer for each: what a line says must not depend on what was drawn before it.
    lines = TerminalText(True, tz, width=_ENDLESS, show_expert=many)(record.data).split("\n")
    return lines[1] if len(lines) > 1 else lines[0]
