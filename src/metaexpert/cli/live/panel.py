"""The panel of the experts: one line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from metaexpert.logger.entry.console_text import cells, escape
from metaexpert.logs.runs.present import ExpertState
from metaexpert.logs.vocabulary import amounts, plain

#: Seconds without an entry after which a living expert is marked.
SILENCE: Final = 60
_HEADERS: Final = ("expert", "state", "last", "/s", "drops", "errors", "today", "open")
_RIGHT: Final = frozenset({"last", "/s", "drops", "errors", "today"})
_SHORT: Final = {"running": "alive", "killed or power lost": "killed", "replaced by another program": "replaced"}


def panel(experts: Sequence[ExpertState], *, read: bool) -> Text:
    """Return the lines of *experts*; what the whole files tell is left out until they are *read*."""
    if not experts:
        return Text("no experts yet" if read else "reading…", "dim")
    names = Counter(state.name for state in experts)
    rows = [_HEADERS, *(tuple(_cells(state, alone=names[state.name] == 1)) for state in experts)]
    widths = [max(cells(row[n]) for row in rows) for n in range(len(_HEADERS))]
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(rows):
        state = experts[number - 1] if number else None
        for name, cell, width in zip(_HEADERS, row, widths, strict=True):
            room = " " * (width - cells(cell))
            text.append(f"{room}{cell}  " if name in _RIGHT else f"{cell}{room}  ", _style(name, state))
        text.append("\n" if number < len(rows) - 1 else "")
    return text


def _cells(state: ExpertState, *, alone: bool) -> Iterator[str]:
    yield escape(state.name if alone else f"{state.name} in {state.directory.name}") or "-"
    yield f"{'●' if state.end.how == 'running' else '✖' if state.end.is_bad else '○'} {_word(state)}"
    yield age(_silence(state))
    yield f"{state.rate:,.0f}" if state.end.how == "running" else ""
    yield str(state.dropped or "")
    yield str(state.errors or "")
    yield amounts(state.today)
    held = [f"{plain(size)} {escape(symbol)}".rstrip() for symbol, size in state.positions]
    orders = [f"{state.orders} order{'s' if state.orders > 1 else ''}"] if state.orders else []
    yield ", ".join(held[:3] + (["…"] if len(held) > 3 else []) + orders)


def _word(state: ExpertState) -> str:
    silent = state.end.how == "running" and _silence(state) > SILENCE
    return "silent" if silent else _SHORT.get(state.end.how, state.end.how)


def _silence(state: ExpertState) -> float:
    return (datetime.now(UTC) - state.last).total_seconds()


def _style(name: str, state: ExpertState | None) -> str:
    if state is None:
        return "dim"
    if name == "state":
        if state.end.how == "running":
            return "yellow" if _silence(state) > SILENCE else "green"
        return "bold red" if state.end.is_bad else "dim"
    if name == "today" and state.today:
        return "red" if any(amount < 0 for amount in state.today.values()) else "green"
    return "red" if name in ("drops", "errors") else "bold" if name == "expert" else ""


def age(seconds: float) -> str:
    """Return a span for people, in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(seconds, 0):.0f} s"
