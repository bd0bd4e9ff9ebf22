"""The text of an alert, before any channel's markup, and how long text is cut into messages: pure.

Lengths are counted as the services count them, in UTF-16 units. Text is cut at the end of a line if one is near, and
never inside an emoji that consists of several characters.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import value_text
from metaexpert.logger.remote.alerts._alert import Alert

#: Most pieces of one text. The middle of a longer one is left out and counted.
MOST_PARTS: Final = 16
#: Begins a message that may have arrived before.
REPEAT_MARK: Final = "♻️ possible repeat: "
_ICONS: Final = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵", "debug": "⚪"}
_TRACES: Final = {schema.EXCEPTION_KEY, schema.STACK_KEY}
#: Keys that are not shown as fields.
_HIDDEN: Final = frozenset({*schema.HEADER_KEYS, *_TRACES, schema.CATEGORY, schema.ALERT, "expert_name", "symbol"})
#: Longest message and value in the head of a message, in characters, and most fields.
_MESSAGE: Final = 600
_VALUE: Final = 160
_MOST_FIELDS: Final = 12
#: Controls, lone surrogates, and marks that change the direction of text: none of them belongs in a message.
_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_JOINER: Final = "\u200d"


@dataclass(frozen=True, slots=True)
class Content:
    """The text of one alert.

    Attributes:
        title: Icon, level, expert and symbol.
        message: The entry's message, one line, cut.
        fields: The entry's fields as names and texts, cut.
        origin: Time, number of repeats, machine and process.
        body: Everything long: a message or value that was cut, traceback, stack.
    """

    title: str
    message: str
    fields: tuple[tuple[str, str], ...]
    origin: str
    body: str


def fit(text: str) -> str:
    r"""Return *text* with characters that do not belong in a message as ``\x1b``, ``\u202e`` and so on."""
    return _UNFIT.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str, limit: int) -> str:
    """Return *text* as one line of at most about *limit* characters."""
    flat = fit(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: cut_point(flat, limit)].rstrip() + "…"


def units(text: str) -> int:
    """Return the length of *text* in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def content(alert: Alert) -> Content:
    """Return the text of *alert* in full."""
    entry = alert.entry
    level = str(entry.get("level", "info"))
    label = level.upper() if alert.kind == "alert" else alert.kind.upper()
    title = " · ".join([f"{_icon(alert)} {label}", *_expert(entry)])
    message = str(entry.get("message", ""))
    fields, long = _fields(entry)
    body = [message] if len(message) > _MESSAGE or "\n" in message.strip() else []
    body += [*long, *_traces(entry)]
    origin = one_line(f"{entry.get('hostname', '?')} · process {entry.get('procid', '?')}", 120)
    return Content(
        title=one_line(title, 120),
        message=one_line(message, _MESSAGE) or "(no message)",
        fields=fields,
        origin=f"{_times(alert, date=True)} · {origin}",
        body="\n\n".join(fit(text.expandtabs(4).rstrip()) for text in body),
    )


def summary(alert: Alert, limit: int) -> str:
    """Return *alert* as one line, with at most about *limit* characters of its text, for a list of several."""
    entry, error = alert.entry, alert.entry.get(schema.EXCEPTION_KEY)
    text = f"{' '.join(_expert(entry))}: {entry.get('message', '')}"
    if isinstance(error, Mapping):
        text += f" ({error.get('type')}: {error.get('value')})"
    mark = REPEAT_MARK if alert.repeat else ""
    return f"{_icon(alert)} {mark}{one_line(text, limit)} [{_times(alert, date=False)}]"


def _icon(alert: Alert) -> str:
    return _ICONS.get(str(alert.entry.get("level")), "🔵") if alert.kind == "alert" else "ℹ️"


def _expert(entry: Mapping[str, Any]) -> list[str]:
    """Return expert and symbol, as far as there are any."""
    expert = str(entry.get("expert_name") or entry.get("appname") or "")
    return list(filter(None, (expert, str(entry.get("symbol") or ""))))


def _fields(entry: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Return the fields for the head of a message, and the texts that are too long or too many for it."""
    fields: list[tuple[str, str]] = []
    long: list[str] = []
    error = entry.get(schema.EXCEPTION_KEY)
    if isinstance(error, Mapping):
        fields.append(("exception", one_line(f"{error.get('type')}: {error.get('value')}", 2 * _VALUE)))
    for name, value in entry.items():
        if name in _HIDDEN:
            continue
        text = value if isinstance(value, str) else value_text(value)
        if len(fields) >= _MOST_FIELDS or len(text) > _VALUE:
            long.append(f"{name}: {text}")
        if len(fields) < _MOST_FIELDS:
            fields.append((one_line(name, 60), one_line(text, _VALUE)))
    return tuple(fields), long


def _traces(entry: Mapping[str, Any]) -> list[str]:
    error, stack = entry.get(schema.EXCEPTION_KEY), entry.get(schema.STACK_KEY)
    text = error.get("text") if isinstance(error, Mapping) else None
    return [str(trace) for trace in (text, stack) if trace]


def _times(alert: Alert, *, date: bool) -> str:
    """Return when an alert happened; if it has repeats, how often, in which time, and when first and last."""
    first = clock(alert.first, date=date)
    if alert.count > 1:
        span = duration(alert.first, alert.last)
        first = f"×{alert.count:,} in {span}, first {first}, last {clock(alert.last)}"
    return f"{first} UTC" if date else first


def clock(timestamp: str, *, date: bool = False) -> str:
    """Return the time of day of *timestamp*, with the date if *date* is set."""
    text = fit(timestamp[:19].replace("T", " "))
    return text if date else text[11:] or text


def duration(first: str, last: str) -> str:
    """Return the time between two timestamps for people: ``56 s``, ``2 min``, ``1.5 h``."""
    seconds = max((_moment(last) - _moment(first)).total_seconds(), 0.0)
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.0f} s"


def _moment(timestamp: str) -> datetime:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# -- cutting ----------------------------------------------------------------------------------------------------


def pieces(text: str, first: int, rest: int, size: Callable[[str], int]) -> list[str]:
    """Cut *text* into pieces of at most *rest*, the first of at most *first*, as *size* measures them.

    A line end at which *text* is cut is left out. The middle of a text of more than `MOST_PARTS` pieces is left out.
    """
    found = list(_pieces(text, first, rest, size))
    if len(found) <= MOST_PARTS:
        return found
    head, tail = found[: MOST_PARTS // 2], found[-(MOST_PARTS // 2 - 1) :]
    left_out = sum(map(len, found)) - sum(map(len, head)) - sum(map(len, tail))
    return [*head, f"… [{left_out:,} characters left out; the log has them]", *tail]


def _pieces(text: str, first: int, rest: int, size: Callable[[str], int]) -> Iterator[str]:
    limit, start = first, 0
    while start < len(text):
        end = _farthest(text, start, limit, size)
        if end < len(text):
            line = text.rfind("\n", start, end)
            end = line if line > start + (end - start) // 3 else max(cut_point(text, end), start + 1)
        if (piece := text[start:end]).strip("\n"):
            yield piece.strip("\n")
        start = end
        limit = rest


def _farthest(text: str, start: int, limit: int, size: Callable[[str], int]) -> int:
    """Return the farthest end of a piece that begins at *start*; *size* grows with the text."""
    ends = range(start + 1, min(start + max(limit, 1), len(text)) + 1)
    return start + max(bisect_right(ends, limit, key=lambda end: size(text[start:end])), 1)


def cut_point(text: str, end: int) -> int:
    """Return the last index up to *end* at which *text* may be cut without splitting a character."""
    if end >= len(text):
        return len(text)
    index = end
    while index > max(end - 64, 0) and _belongs(text[index - 1], text[index]):
        index -= 1
    return index or end


def _belongs(before: str, after: str) -> bool:
    """Return whether a reader sees *before* and *after* as one character."""
    if _JOINER in (before, after) or unicodedata.combining(after) or "\ufe00" <= after <= "\ufe0f":
        return True
    regional = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    return regional or "\U0001f3fb" <= after <= "\U0001f3ff"


def listed(alerts: Sequence[Alert], room: int, size: Callable[[str], int], limit: int = 300) -> list[str]:
    """Return the lines of the first of *alerts* that fit into *room* together, but at least one."""
    lines: list[str] = []
    used = 0
    for alert in alerts:
        line = summary(alert, limit)
        used += size(line) + 1
        if lines and used > room:
            break
        lines.append(line)
    return lines
