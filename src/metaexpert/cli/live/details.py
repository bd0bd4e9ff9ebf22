"""What stands above the log for a while: an entry with the life of its order, a line to type in, the keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from metaexpert.logger.entry.console_text import ConsoleText, escape, time_text, value_text
from metaexpert.logs import Entry, Record
from metaexpert.logs.orders import OrderLife
from metaexpert.logs.vocabulary import SIDES, amounts, money, plain, seconds


class Page(ModalScreen[None]):
    """A page of text, closed by Escape, Enter or q."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape,enter,q", "dismiss", "back")]
    DEFAULT_CSS = """
    Page { align: center middle; }
    Page > VerticalScroll { width: 96%; height: 90%; border: round $primary; background: $surface; padding: 0 1; }
    """

    def __init__(self, text: Text, title: str) -> None:
        super().__init__()
        self._text, self._title = text, title

    def compose(self) -> ComposeResult:
        """Show the text."""
        box = VerticalScroll(Static(self._text, id="first"), Static(id="more"))
        box.border_title = self._title
        yield box

    def add(self, text: Text) -> None:
        """Show more text below."""
        self.query_one("#more", Static).update(text)


class Ask(ModalScreen[str]):
    """A line to type in; returns the text, empty for none."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "leave", "back")]
    DEFAULT_CSS = "Ask { align: center bottom; } Ask > Input { width: 100%; border: round $primary; }"

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self._prompt = prompt

    def compose(self) -> ComposeResult:
        """Show the line."""
        yield Input(placeholder=self._prompt)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return what was typed."""
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Return nothing."""
        self.dismiss("")


def entry_text(record: Record) -> Text:
    """Return a record with all of its fields, one on a line, and its traceback."""
    if not isinstance(record, Entry):
        return Text(escape(record.text))
    text = Text()
    for name, value in record.flat.items():
        if name not in ("exception", "stack"):
            text.append(f"{escape(name)}  ", "cyan")
            text.append(f"{value_text(value)}\n")
    below = ConsoleText(False)(record.data).partition("\n")[2]
    return text.append(f"\n{below}" if below else "", "red")


def life_text(life: OrderLife, tz: tzinfo) -> Text:
    """Return the life of an order, with times of *tz*."""
    return Text("\n".join(["", *map(escape, _life(life, tz))]))


def _life(life: OrderLife, tz: tzinfo) -> Iterator[str]:
    of = " ".join(filter(None, [life.order_id, SIDES.get(life.side, ""), plain(life.size), life.symbol]))
    yield f"Order {of}: {life.status or 'unknown'}" + (f", result {money(life.pnl, sign=True)}" if life.pnl else "")
    for step in life.steps:
        done = f" {money(step.size)} at {money(step.price)}" if step.size is not None else ""
        fees = f", fee {amounts(step.fees)}" if step.fees else ""
        time = time_text(step.entry.timestamp, tz)
        yield f"  {time}  {seconds(step.after):>10}  {step.step}{done}{fees}"
