"""What an alert says, before any channel's markup, and how long text is cut into messages: pure.

Lengths are counted as the services count them, in UTF-16 units. Text is cut at the end of a line when there is one
near, never inside an emoji made of several characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.console_text import value_text
from metaexpert.logger.remote.alerts._alert import Alert

#: Most messages that one alert becomes; of a longer one the middle is left out and counted.
MOST_PARTS: Final = 16
#: Said before a message that may have arrived before.
REPEAT_MARK: Final = "♻️ possible repeat: "
_ICONS: Final = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵", "debug": "⚪"}
_HIDDEN: Final = frozenset(
    {
        *schema.HEADER_KEYS,
        schema.EXCEPTION_KEY,
        schema.STACK_KEY,
        schema.CATEGORY,
        schema.ALERT,
        "expert_name",
        "symbol",
    }
)
_MESSAGE: Final = 600
_VALUE: Final = 160
_MOST_FACTS: Final = 12
#: Controls, lone surrogates, and what turns the direction of text: none of them belongs into a message.
_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_JOINER: Final = "\u200d"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one alert says.

    Attributes:
        title: Icon, level, expert and symbol.
        message: The entry's message, one line, cut.
        times: When, and how often.
        facts: The entry's fields as names and texts, cut.
        place: Machine and process.
        body: What is long: the whole message or value when it was cut, traceback, stack.
    """

    title: str
    message: str
    times: str
    facts: tuple[tuple[str, str], ...]
    place: str
    body: str


def fit(text: str) -> str:
    r"""Return *text* with what does not belong into a message as ``\x1b``, ``\u202e`` and so on."""
    return _UNFIT.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str, limit: int) -> str:
    """Return *text* as one line of at most about *limit* characters."""
    flat = fit(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: cut_point(flat, limit)].rstrip() + "…"


def units(text: str) -> int:
    """Return the length of *text* in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def sheet(alert: Alert) -> Sheet:
    """Return what *alert* says."""
    entry = alert.entry
    level = str(entry.get("level", "info"))
    words = [str(entry.get("expert_name") or entry.get("appname") or ""), str(entry.get("symbol") or "")]
    icon = _ICONS.get(level, "🔵") if alert.kind == "alert" else "ℹ️"
    label = level.upper() if alert.kind == "alert" else alert.kind.upper()
    message = str(entry.get("message", ""))
    facts, long = _facts(entry)
    body = [message] if len(message) > _MESSAGE or "\n" in message.strip() else []
    body += [*long, *_traces(entry)]
    return Sheet(
        title=one_line(" · ".join([f"{icon} {label}", *filter(None, words)]), 120),
        message=one_line(message, _MESSAGE) or "(no message)",
        times=when(alert),
        facts=facts,
        place=one_line(f"{entry.get('hostname', '?')} · process {entry.get('procid', '?')}", 120),
        body="\n\n".join(fit(text.expandtabs(4).rstrip()) for text in body),
    )


def _facts(entry: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    facts: list[tuple[str, str]] = []
    long: list[str] = []
    error = entry.get(schema.EXCEPTION_KEY)
    if isinstance(error, Mapping):
        facts.append(("exception", one_line(f"{error.get('type')}: {error.get('value')}", 2 * _VALUE)))
    for name, value in entry.items():
        if name in _HIDDEN:
            continue
        text = value if isinstance(value, str) else value_text(value)
        if len(facts) >= _MOST_FACTS or len(text) > _VALUE:
            long.append(f"{name}: {text}")
        if len(facts) < _MOST_FACTS:
            facts.append((one_line(name, 60), one_line(text, _VALUE)))
    return tuple(facts), long


def _traces(entry: Mapping[str, Any]) -> list[str]:
    error, stack = entry.get(schema.EXCEPTION_KEY), entry.get(schema.STACK_KEY)
    texts = [str(error.get("text") or "")] if isinstance(error, Mapping) else []
    return [text for text in (*texts, str(stack or "")) if text]


def when(alert: Alert) -> str:
    """Return when it happened; of repeats how often, in which time, the first and the last one."""
    if alert.count == 1:
        return f"{clock(alert.first, date=True)} UTC"
    span = duration(alert.first, alert.last)
    first, last = clock(alert.first, date=True), clock(alert.last)
    return f"×{alert.count:,} in {span}, first {first}, last {last} UTC"


def summary(alert: Alert, limit: int) -> str:
    """Return *alert* as one line, for a list of several."""
    entry = alert.entry
    icon = _ICONS.get(str(entry.get("level")), "🔵") if alert.kind == "alert" else "ℹ️"
    who = " ".join(filter(None, (str(entry.get("expert_name") or entry.get("appname") or ""), entry.get("symbol"))))
    error = entry.get(schema.EXCEPTION_KEY)
    what = str(entry.get("message", ""))
    if isinstance(error, Mapping):
        what += f" ({error.get('type')}: {error.get('value')})"
    if alert.count == 1:
        times = clock(alert.first)
    else:
        span = duration(alert.first, alert.last)
        times = f"×{alert.count:,} in {span}, first {clock(alert.first)}, last {clock(alert.last)}"
    mark = REPEAT_MARK if alert.repeat else ""
    return f"{icon} {mark}{one_line(f'{who}: {what}', limit)} [{times}]"


def clock(timestamp: str, *, date: bool = False) -> str:
    """Return the time of day of *timestamp*, with the date when wanted."""
    text = fit(timestamp[:19].replace("T", " "))
    return text if date else text[11:] or text


def duration(first: str, last: str) -> str:
    """Return the time between two timestamps as people say it."""
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
    """Cut *text* into pieces, the first of at most *first*, the others of at most *rest*, as *size* measures them.

    Line ends at which it is cut are left out. At most `MOST_PARTS` pieces; the middle of a longer text is left out.
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
    low, high = start + 1, min(start + max(limit, 1), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[start:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def cut_point(text: str, end: int) -> int:
    """Return the last place at or before *end* where *text* may be cut without tearing a character apart."""
    if end >= len(text):
        return len(text)
    place = end
    while place > max(end - 64, 0) and _belongs(text[place - 1], text[place]):
        place -= 1
    return place or end


def _belongs(before: str, after: str) -> bool:
    """Return whether *after* is one character with *before* to the reader."""
    if _JOINER in (before, after) or unicodedata.combining(after) or "\ufe00" <= after <= "\ufe0f":
        return True
    regional = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    return regional or "\U0001f3fb" <= after <= "\U0001f3ff"


def listed(alerts: Sequence[Alert], room: int, size: Callable[[str], int], limit: int = 300) -> list[str]:
    """Return the lines of the first of *alerts* that fit *room* together, but at least one."""
    lines: list[str] = []
    used = 0
    for alert in alerts:
        line = summary(alert, limit)
        used += size(line) + 1
        if lines and used > room:
            break
        lines.append(line)
    return lines
