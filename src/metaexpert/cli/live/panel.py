"""The panel of the experts: one line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from metaexpert.cli.tables import GAP, across, column_widths
from metaexpert.logger.entry.console_text import cells, escape, shortened
from metaexpert.logs.runs.present import ExpertState
from metaexpert.logs.vocabulary import amounts, counted, plain

#: Seconds without an entry after which a living expert is marked.
SILENCE: Final = 60
_HEADERS: Final = ("expert", "state", "last", "/s", "drops", "errors", "today", "open")
_RIGHT: Final = frozenset({"last", "/s", "drops", "errors", "today"})
_SHORT: Final = {"running": "alive", "killed or power lost": "killed", "replaced by another program": "replaced"}
#: Columns that a name keeps however narrow the screen is.
_LEAST_NAME: Final = 8
_MOST_HELD: Final = 3
#: Experts that are listed; of more, the last line tells.
MOST: Final = 8


def panel(experts: Sequence[ExpertState], *, read: bool, width: int) -> Text:
    """Return the lines of *experts*, at most *width* columns wide where that is possible without cutting a number.

    What the whole files tell is left out until they are *read*. Where there is too little room, columns that are
    empty go, then names lose their middle, then positions are counted instead of listed; at last "…" stands for them.
    """
    if not experts:
        return Text("no experts yet" if read else "reading…", "dim")
    if len(experts) <= MOST:
        return _painted(experts, _fitted(experts, width))
    # What needs a look stands above, whatever the order in which they came.
    experts = sorted(experts, key=lambda state: (not state.end.is_bad, _word(state) != "silent"))
    shown, rest = experts[: MOST - 1], experts[MOST - 1 :]
    told = ", ".join(f"{count} {word}" for word, count in Counter(map(_word, rest)).items())
    return _painted(shown, _fitted(shown, width)).append(f"\n… and {len(rest)} more: {told}", "dim")


def _painted(experts: Sequence[ExpertState], rows: Sequence[Sequence[str]]) -> Text:
    widths = column_widths(rows)
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(rows):
        state = experts[number - 1] if number else None
        for name, cell, room in zip(rows[0], row, widths, strict=True):
            rest = " " * (room - cells(cell))
            text.append((rest + cell if name in _RIGHT else cell + rest) + " " * GAP, _style(name, state))
        text.rstrip()
        text.append("\n" if number < len(rows) - 1 else "")
    return text


def _fitted(experts: Sequence[ExpertState], width: int) -> list[list[str]]:
    """Return the cells of all lines, headers first, fitted into *width* columns."""
    names = Counter(state.name for state in experts)
    rows = [list(_HEADERS), *(list(_cells(state, alone=names[state.name] == 1)) for state in experts)]
    if across(rows) > width:
        full = [any(row[at] for row in rows[1:]) for at in range(len(_HEADERS))]
        rows = [[cell for cell, keep in zip(row, full, strict=True) if keep] for row in rows]
    if (over := across(rows) - width) > 0:
        room = max(max(cells(row[0]) for row in rows) - over, _LEAST_NAME)
        for row in rows[1:]:
            row[0] = shortened(row[0], room)
    for name, told in (("open", _open), ("today", _today)):
        if (over := across(rows) - width) > 0 and name in rows[0]:
            at = rows[0].index(name)
            room = max(cells(row[at]) for row in rows) - over
            for row, state in zip(rows[1:], experts, strict=True):
                row[at] = told(state, room)
    return rows


def _cells(state: ExpertState, *, alone: bool) -> Iterator[str]:
    yield escape(state.name if alone else f"{state.name} in {state.directory.name}") or "-"
    yield f"{'●' if state.end.how == 'running' else '✖' if state.end.is_bad else '○'} {_word(state)}"
    yield age(_silence(state))
    yield f"{state.rate:,.0f}" if state.end.how == "running" else ""
    yield str(state.dropped or "")
    yield str(state.errors or "")
    yield _today(state)
    yield _open(state)


def _open(state: ExpertState, room: int | None = None) -> str:
    """Return what is open: as many positions as fit into *room* columns, three at most, and the count of orders."""
    held = [f"{plain(size)} {escape(symbol)}".rstrip() for symbol, size in state.positions]
    orders = [counted(state.orders, "order")] if state.orders else []
    texts = [held[:most] + (["…"] if len(held) > most else []) + orders for most in range(_MOST_HELD, 0, -1)]
    texts.append([counted(len(held), "position"), *orders] if held else orders)
    return _first_in(room, map(", ".join, texts))


def _today(state: ExpertState, room: int | None = None) -> str:
    """Return the result of today: as many currencies as fit into *room* columns, each with all of its digits."""
    texts = [text.rstrip() for text in amounts(state.today).split(" + ")]
    fewer = (texts[:most] + ["…"] * (len(texts) > most) for most in range(len(texts), 0, -1))
    return _first_in(room, map(" + ".join, fewer))


def _first_in(room: int | None, texts: Iterable[str]) -> str:
    return next((text for text in texts if not text or room is None or cells(text) <= room), "…")


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
