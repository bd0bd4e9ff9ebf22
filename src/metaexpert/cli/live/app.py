"""The screen: the experts above, their log below, filters as chips between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from metaexpert.cli.live.chips import LEVELS, Chip, command, filtered
from metaexpert.cli.live.details import Ask, Page, entry_text, life_text
from metaexpert.cli.live.feed import Feed
from metaexpert.cli.live.panel import MOST, panel
from metaexpert.cli.live.records import Records
from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import escape
from metaexpert.logs import Entry, Logs, Record
from metaexpert.logs.orders import order_life
from metaexpert.logs.reading.times import parse_time, parse_zone
from metaexpert.logs.runs.names import orders_in

#: Records that a look into the files brings.
PAGE: Final = 2000
#: Seconds between two looks at what has come: quick at first, then rarely enough to cost next to nothing. When more
#: comes than the screen holds, nobody can read it, and only each second look paints it.
SOON, LOOK = 0.02, 0.5
KEYS: Final = """\
↑ ↓ PgUp PgDn Home End   move; at the end it follows
Enter      details, and the life of the order
n  N       next error, previous error
l          level: all, info, warning, error
f  s  o    only this expert, symbol, order
/          only with this text
Backspace  lift the last filter
c          lift all filters, and stay at this line
t          go to a time: 14:05, 15m, yesterday 14:00
Space      pause, and go on
y          copy the entry as JSON
Y          copy the metaexpert logs command that shows the same
q          quit
"""


class Live(App[None]):
    """The experts and their log.

    Args:
        logs: The logs, without filters.
        chips: Filters to begin with.
        settled: See `Feed`.
        zone: Name of the time zone of what is shown and typed.
    """

    TITLE = "metaexpert logs live"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #experts { max-height: 9; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #chips { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("q,ctrl+c", "quit", "quit"),
        Binding("n", "error(1)", "next error"),
        Binding("N", "error(-1)", "previous error"),
        Binding("l", "level", "level"),
        Binding("f", "only('expert')", "expert"),
        Binding("s", "only('symbol')", "symbol"),
        Binding("o", "only('order')", "order"),
        Binding("slash", "grep", "text"),
        Binding("backspace", "lift(False)", "lift one"),
        Binding("c", "lift(True)", "lift all"),
        Binding("t", "time", "time"),
        Binding("space", "pause", "pause"),
        Binding("y", "copy('json')", "copy JSON"),
        Binding("Y", "copy('command')", "copy command"),
        Binding("question_mark,h", "keys", "keys"),
    ]

    def __init__(
        self, logs: Logs, chips: list[Chip], settled: Callable[[], object] = lambda: None, *, zone: str = "UTC"
    ) -> None:
        # The terminal's own colours, like those of the log: legible on any ground, dark or light. Said here, because
        # for NO_COLOR Textual decides at once how it takes the colours away: from others it makes black on black.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._logs = logs
        self._feed = Feed(logs, settled)
        self.chips = chips
        self._zone, self._tz = zone, parse_zone(zone)
        self._criteria = self._filtered().criteria
        #: The last records, filtered or not, as they came.
        self._latest: list[Record] = []
        #: Whether older records than the last are shown.
        self._away = False
        self.paused = False
        #: Height of the panel: only another one makes Textual lay out the screen anew, which paints all of it.
        self._lines = 0
        self._odd = self._busy = False

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(Text("reading…", "dim"), id="experts")
        yield Static(id="chips")
        yield Records(self._tz)

    def on_mount(self) -> None:
        """Begin to read."""
        self._list = self.query_one(Records)
        # Kept, because the timers may come once more when the screen is gone.
        self._panel, self._bar = self.query_one("#experts", Static), self.query_one("#chips", Static)
        self._list.focus()
        self._feed.start()
        self._tell()
        self._beginning = self.set_interval(SOON, self._begin)

    def on_unmount(self) -> None:
        """Stop reading."""
        self._feed.stop()

    def _begin(self) -> None:
        if self._feed.begun or self._feed.problem:
            self._beginning.stop()
            self._look()
            self.set_interval(LOOK, self._tick)
            if self.chips:
                self._search(None)

    def _tick(self) -> None:
        self._odd = not self._odd
        if self._odd and self._busy:
            return
        self._look()
        if not self._odd:
            self._show_experts()

    def _look(self) -> None:
        new = self._feed.take()
        self._busy = len(new) > self._list.size.height
        if not new:
            return
        self._latest += new
        del self._latest[: max(len(self._latest) - PAGE * 10, 0)]
        if not self.paused and not self._away:
            self._list.add([record for record in new if self._criteria.accept(record)])
        self._tell()

    def _show_experts(self) -> None:
        experts = self._feed.experts
        many = len(experts) > 1
        if many != self._list.many:
            self._list.many = many
            self._list.refresh()
        lines = min(max(len(experts), 1), MOST)
        self._panel.update(panel(experts, read=self._feed.read, width=self.size.width - 2), layout=lines != self._lines)
        self._lines = lines
        self._tell()

    def _tell(self) -> None:
        """Show the chips, and how the list stands."""
        text = Text(no_wrap=True, overflow="ellipsis")
        for name, value in self.chips:
            text.append(f" {name}: {escape(value)} ", "reverse")
            text.append(" ")
        state = self._feed.problem or ("paused" if self.paused else "older" if self._away else "")
        following = self._list.follows
        text.append(
            f"{state or ('following' if following else 'at a line; End follows')}  ", "yellow" if state else "dim"
        )
        count = len(self._list.records)
        text.append(f"{count:,} {'entry' if count == 1 else 'entries'}   ? keys", "dim")
        self._bar.update(text, layout=False)

    def on_records_chosen(self, chosen: Records.Chosen) -> None:
        """Show the details of a record, and then the life of its order."""
        record = chosen.record
        page = Page(entry_text(record), escape(record.text)[:60])
        self.push_screen(page)
        if isinstance(record, Entry) and (mentions := orders_in(record.flat)):
            self._show_life(page, mentions[0].names[0][1].text)

    @work(thread=True, exclusive=True, group="life")
    def _show_life(self, page: Page, order_id: str) -> None:
        self.call_from_thread(page.add, Text(f"\nlooking for order {escape(order_id)}…", "dim"))
        life = order_life(self._logs, order_id)
        if page.is_attached:
            self.call_from_thread(page.add, life_text(life, self._tz))

    def action_error(self, way: int) -> None:
        """Go to the next error, or the one before; where none is loaded, the files are asked."""
        records, at = self._list.records, self._list.cursor
        rows = range(at + 1, len(records)) if way > 0 else range(at - 1, -1, -1)
        found = next((row for row in rows if _is_error(records[row])), None)
        if found is not None:
            self._list.go(found)
            self._list.follows = False
        elif self._list.current is not None:
            self._search(self._list.current, error=way)
        self._tell()

    def action_level(self) -> None:
        """Show only from the next level on; after error, all."""
        now = next((value for name, value in self.chips if name == "level"), "")
        level = LEVELS[(LEVELS.index(now) + 1) % len(LEVELS)] if now in LEVELS else ""
        others = [chip for chip in self.chips if chip[0] != "level"]
        self._filter([*others, ("level", level)] if level else others)

    def action_only(self, name: str) -> None:
        """Show only what has the expert, symbol or order of this line."""
        record = self._list.current
        if not isinstance(record, Entry):
            return
        value = record.expert if name == "expert" else str(record.get(name, "") or "")
        if name == "order" and (mentions := orders_in(record.flat)):
            value = mentions[0].names[0][1].text
        if value:
            self._filter([*(chip for chip in self.chips if chip[0] != name), (name, value)])
        else:
            self.notify(f"this entry has no {name}")

    @work
    async def action_grep(self) -> None:
        """Ask for a text, and show only what has it."""
        if text := await self.push_screen_wait(Ask("only with this text")):
            self._filter([*self.chips, ("grep", text)])

    @work
    async def action_time(self) -> None:
        """Ask for a time, and go there."""
        text = await self.push_screen_wait(Ask("time: 14:05, 15m, yesterday 14:00, 2026-11-22T14:00Z"))
        if text:
            try:
                self._go_to(parse_time(text, tz=self._tz))
            except ValueError as error:
                self.notify(str(error), severity="error")

    def action_lift(self, all_of_them: bool) -> None:
        """Lift the last filter, or all; the cursor stays at its record."""
        if self.chips:
            self._filter([] if all_of_them else self.chips[:-1])

    def action_pause(self) -> None:
        """Hold the list, or show what came meanwhile."""
        self.paused = not self.paused
        if not self.paused:
            self._back()
        self._tell()

    def action_copy(self, what: str) -> None:
        """Copy the entry as its line, or the command that shows the same, through the terminal (OSC 52)."""
        record = self._list.current
        if record is None:
            return
        last = None if self._list.follows else record
        text = (
            record.line.decode("utf-8", "backslashreplace")
            if what == "json"
            else command(self._logs, self.chips, last, max(self._list.size.height, 1), self._zone)
        )
        self.copy_to_clipboard(text)
        self.notify(escape(text[:200]), title="copied", markup=False)

    def action_keys(self) -> None:
        """Show the keys."""
        self.push_screen(Page(Text(KEYS), "keys"))

    def _filtered(self) -> Logs:
        return filtered(self._logs, self.chips, self._tz)

    def _filter(self, chips: list[Chip]) -> None:
        at = None if self._list.follows else self._list.current
        self.chips = chips
        self._criteria = self._filtered().criteria
        if not self._away:
            self._list.show([record for record in self._latest if self._criteria.accept(record)], at)
        self._tell()
        self._search(at)

    def _back(self) -> None:
        """Show the last records again, and follow."""
        self._away = False
        self._list.show([record for record in self._latest if self._criteria.accept(record)])
        if self.chips:
            self._search(None)

    @work(thread=True, exclusive=True, group="search")
    def _search(self, at: Record | None, error: int = 0) -> None:
        """Look into the files for what passes the filters: at the end, around *at*, or the error after or before it."""
        logs = self._filtered()
        if error:
            errors = logs.filter(level="error")
            near = errors.filter(since=at.time) if error > 0 else errors.filter(until=at.time)  # type: ignore[union-attr]
            found = list(islice((r for r in near if r.key > at.key), 1)) if error > 0 else near.last(2)  # type: ignore[union-attr]
            found = [r for r in found if r.key < at.key or error > 0]  # type: ignore[union-attr]
            if not found:
                self.call_from_thread(self.notify, "no further error")
                return
            at = found[-1]
        if at is None:
            self.call_from_thread(self._take_last, logs, logs.last(PAGE))
        else:
            records = [*logs.filter(until=at.time).last(PAGE // 2), *islice(logs.filter(since=at.time), PAGE // 2)]
            once = {record.identity if isinstance(record, Entry) else id(record): record for record in records}
            self.call_from_thread(self._take_around, logs, list(once.values()), at)

    def _take_last(self, logs: Logs, records: list[Record]) -> None:
        """Show what was found, and what has come since."""
        if logs.criteria == self._criteria and self._list.follows and not self._away and not self.paused:
            last = records[-1].key if records else (b"", 0, 0)
            self._list.show([*records, *(r for r in self._latest if r.key > last and self._criteria.accept(r))])
            self._tell()

    def _take_around(self, logs: Logs, records: list[Record], at: Record) -> None:
        if logs.criteria == self._criteria:
            self._away = True
            self._list.show(records, at)
            self._tell()

    @work(thread=True, exclusive=True, group="search")
    def _go_to(self, time: Any) -> None:
        logs = self._filtered()
        after = list(islice(logs.filter(since=time), PAGE // 2))
        before = logs.filter(until=time).last(PAGE // 2)
        at = after[0] if after else before[-1] if before else None
        if at is None:
            self.call_from_thread(self.notify, "there are no entries")
        else:
            once = {r.identity if isinstance(r, Entry) else id(r): r for r in [*before, *after]}
            self.call_from_thread(self._take_around, logs, list(once.values()), at)

    async def on_key(self, event: Any) -> None:
        """End goes back to the last records when older ones are shown."""
        if event.key in ("end", "G") and self._away:
            self._back()


def _is_error(record: Record) -> bool:
    return isinstance(record, Entry) and schema.LEVEL_NUMBERS[record.level] >= schema.ERROR
