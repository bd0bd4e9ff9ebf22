r"""A decoded entry as text for people, in the form and the colours of structlog's console.

``2026-11-22 10:31:00.123 [info ] Position opened  side=BUY size=0.1``, with a traceback indented below. Control
characters are escaped and all further lines are indented, so that values cannot inject entries or terminal escapes.
`TerminalText` fits the same into the lines of a terminal. Console and reader share both. Made without structlog, whose
import takes longer than showing the last entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry.patterns import lazy_pattern

#: Fields that a console line leaves out.
_HIDDEN: Final = frozenset(
    {*schema.HEADER_KEYS, schema.EXCEPTION_KEY, schema.STACK_KEY, schema.CATEGORY, "expert_name"}
)
_INDENT: Final = "    "
_NEEDS_QUOTES: Final = lazy_pattern(r"""[\s="'\\]""")
#: A time as our writer has it.
_OURS: Final = lazy_pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
#: The two long level words stick out, so that the other lines need no padding.
_LEVEL_WIDTH: Final = len("debug")
#: Field names that structlog's renderer handles by itself. They are shown with our prefix.
_RENDERER_KEYS: Final = frozenset({"stack", "exception", "exc_info"})

#: Escape sequences of a terminal (ECMA-48, SGR), as structlog's console has them.
_RESET, _BRIGHT, _DIM, _REVERSE, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN = (
    f"\x1b[{code}m" for code in (0, 1, 2, 7, 31, 32, 33, 34, 35, 36)
)
_LEVEL_COLORS: Final = {"debug": _GREEN, "info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _RED}
#: On a terminal: the level stands in a column; a word in the terminal's own colour is legible on any ground. Blue is
#: not: on black it is the darkest of all.
_WIDEST_LEVEL: Final = len("warning")
_TERMINAL_COLORS: Final = {
    "debug": _DIM, "info": _GREEN, "warning": _YELLOW + _BRIGHT, "error": _RED + _BRIGHT,
    "critical": _RED + _BRIGHT + _REVERSE,
}  # fmt: skip
#: Further lines of an entry begin below its level.
_HANGING: Final = " " * len("10:31:00.123 ")
_FURTHER: Final = [_HANGING[1:]]
#: Fields that mostly stay as they are from entry to entry of an expert.
_SETTING: Final = frozenset({"symbol", "strategy_id", "account_id", "bar_time", schema.DECISION_ID, schema.LOGGER_KEY})
#: Numbers that mostly are those of another field.
_REPEATS: Final = {"order_size": "size", "filled_size": "size", "requested_price": "price"}
#: Fields that the message mostly tells.
_IN_MESSAGE: Final = ("status", schema.DECISION)
#: Fields that are looked at last.
_LAST: Final = ("trade_id", "order_type", "strategy_id", schema.DECISION_ID, "bar_time")


class ConsoleText:
    """Turns entries into console lines.

    Args:
        colors: Whether to use ANSI colours.
        tz: Time zone of the printed times.
        show_expert: Whether each line names its expert, for a view of several. It may change.
    """

    def __init__(self, colors: bool, tz: tzinfo = UTC, *, show_expert: bool = False) -> None:
        self._colors = colors
        self._tz = tz
        self.show_expert = show_expert

    def __call__(self, entry: Mapping[str, Any]) -> str:
        """Return *entry*, of either layout, as text without a final newline."""
        return "\n".join([self.line(entry, _fields_of(entry)), *_below(entry)])

    def line(self, entry: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
        """Return *entry* with these *fields* after its message, on one line."""
        level = str(entry.get("level", "?"))
        color = _LEVEL_COLORS[level] + _BRIGHT if level in _LEVEL_COLORS else ""
        parts = [
            self._color(_DIM, time_text(entry.get("timestamp"), self._tz)),
            f"[{self._color(color, f'{escape(level):{_LEVEL_WIDTH}}')}]",
        ]
        if self.show_expert:
            parts.append(self._color(_BLUE, escape(_expert(entry))))
        parts.append(self._color(_BRIGHT, escape(str(entry.get("message", "")))) + self._color("", " "))
        for name, value in fields.items():
            parts.append(_key(name, self._colors)[1] + self._color(_MAGENTA, value_text(value)))
        return " ".join(parts).rstrip(" ")

    def _color(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colors else text


class TerminalText(ConsoleText):
    """Turns entries into the lines of a terminal: an entry stays on one line where it can.

    A line with the date stands before the first entry of each day, and the others have the time alone. After the
    message come the fields that say something new. Left out are `_SETTING` fields that are as in the expert's entry
    before, a status or decision that is in the message, and a ``filled_size`` that is the ``size`` (`_REPEATS`). The
    rest of a long entry follows on lines with a hanging indent. Keeps a state: one for each stream of lines.

    Args:
        width: Columns of the terminal.
    """

    def __init__(self, colors: bool, tz: tzinfo = UTC, *, width: int, show_expert: bool = False) -> None:
        super().__init__(colors, tz, show_expert=show_expert)
        self.width = width
        self._day = ""
        self._settings: dict[object, dict[str, object]] = {}

    def __call__(self, entry: Mapping[str, Any]) -> str:
        """Return *entry*, of either layout, as text without a final newline."""
        line = self.line(entry, self._news(entry, _fields_of(entry)))
        return "\n".join([line, *(part for text in _below(entry) for part in self._fitted(text))])

    def _fitted(self, text: str) -> list[str]:
        """Return a line of a traceback, folded; marks below a line of code that is folded itself show nothing."""
        room = max(self.width, 2 * len(_HANGING))
        if cells(text) > room and not text.strip(" ^~"):
            return []
        return fold(text, room, len(text) - len(text.lstrip()) + len(_INDENT))

    def line(self, entry: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
        """Return *entry* with these *fields*, folded; the date on a line before it where a day begins."""
        day, _, time = time_text(entry.get("timestamp"), self._tz).rpartition(" ")
        level = str(entry.get("level", "?"))
        color = self._color
        shown = f"{escape(level):{_WIDEST_LEVEL}}"
        words = [(time, color(_DIM, time)), (shown, color(_TERMINAL_COLORS.get(level, ""), shown))]
        if self.show_expert:
            expert = escape(_expert(entry))
            words.append((expert, color(_MAGENTA, expert)))
        words += [(word, color(_BRIGHT, word)) for word in escape(str(entry.get("message", ""))).split(" ")]
        if fields:
            words.append(("", ""))
        for name, value in fields.items():
            key, text = _key(name, self._colors), value_text(value)
            words.append((key[0] + text, key[1] + text))
        text = self._folded(words)
        if day in ("", self._day):
            return text
        self._day = day
        return f"{color(_DIM, day)}\n{text}"

    def _news(self, entry: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return those *fields* that say something new, `_LAST` ones at the end."""
        expert = entry.get("expert_name") or _field(entry, "expert_name")
        told = self._settings.setdefault(expert, {})
        news: dict[str, Any] = {}
        for name, value in fields.items():
            if name in _SETTING:
                if told.get(name, told) == value:
                    continue
                told[name] = value
            elif name in _REPEATS and news.get(_REPEATS[name]) == value:
                continue
            news[name] = value
        for name in _IN_MESSAGE:
            if name in news and str(news[name]).replace("_", " ").lower() in str(entry.get("message")).lower():
                del news[name]
        for name in _LAST:
            if name in news:
                news[name] = news.pop(name)
        return news

    def _folded(self, words: list[tuple[str, str]]) -> str:
        """Return *words*, each as it is and as it is painted, between spaces; further lines take what does not fit."""
        room = max(self.width, 2 * len(_HANGING))
        lines: list[str] = []
        line: list[str] = []
        used = -1
        for plain, painted in words:
            size = len(plain) if plain.isascii() else cells(plain)
            if used + 1 + size <= room:
                line.append(painted)
                used += 1 + size
                continue
            if used >= len(_HANGING):
                lines.append(" ".join(line).rstrip(" "))
                line, used = _FURTHER[:], len(_HANGING) - 1
            *full, rest = _pieces(plain, room, used + 1)
            if full:
                lines.append(" ".join([*line, full[0]]))
                lines += [_HANGING + piece for piece in full[1:]]
                line, used = _FURTHER[:], len(_HANGING) - 1
            line.append(rest if full else painted)
            used += 1 + cells(rest)
        return "\n".join([*lines, " ".join(line).rstrip(" ")])


@lru_cache(maxsize=1024)
def _key(name: str, colors: bool = False) -> tuple[str, str]:
    """Return the name of a field before its value: as it is, and as it is painted."""
    key = schema.RESERVED_PREFIX + name if name in _RENDERER_KEYS else escape(name)
    return f"{key}=", f"{_CYAN}{key}{_RESET}=" if colors else f"{key}="


def _pieces(text: str, room: int, used: int) -> list[str]:
    """Cut *text* where lines of *room* columns end, the first of which is *used* so far."""
    if used + cells(text) <= room:
        return [text]
    head, rest = _split(text, room - used)
    return [head, *_chunks(rest, room - len(_HANGING))]


def cells(text: str) -> int:
    """Return how many columns of a terminal *text* takes: two for a wide East Asian character or an emoji."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415 - for such texts only

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def _split(text: str, room: int) -> tuple[str, str]:
    """Return as much of *text* as fits into *room* columns, at least a character, and the rest."""
    if text.isascii():
        return text[:room], text[room:]
    used, at = 0, 0
    while at < len(text) and (used := used + cells(text[at])) <= room:
        at += 1
    return text[: max(at, 1)], text[max(at, 1) :]


def fold(text: str, room: int, hanging: int = 0) -> list[str]:
    """Return *text* as lines of at most *room* columns, broken between words where it can be.

    Further lines begin with *hanging* spaces, at most half of the room.
    """
    if cells(text) <= room:
        return [text]
    hanging = min(hanging, room // 2)
    lines: list[str] = []
    line = ""
    for number, word in enumerate(text.split(" ")):
        longer = f"{line} {word}" if number else word
        if cells(longer) <= room:
            line = longer
            continue
        lines += [line.rstrip(" ")] if line.strip(" ") else []
        *full, rest = _chunks(word, room - hanging)
        lines += [" " * hanging + chunk for chunk in full]
        line = " " * hanging + rest
    return [*lines, line]


def _chunks(text: str, room: int) -> list[str]:
    """Cut *text* into pieces of *room* columns."""
    if text.isascii():
        return [text[at : at + room] for at in range(0, len(text), room)] or [""]
    chunks, used = [""], 0
    for character in text:
        size = cells(character)
        if used + size > room and chunks[-1]:
            chunks.append("")
            used = 0
        chunks[-1] += character
        used += size
    return chunks


def shortened(text: str, room: int) -> str:
    """Return *text* in at most *room* columns, "…" in the place of its middle: names differ at their ends."""
    if cells(text) <= room:
        return text
    head, _ = _split(text, max(room // 2, 1))
    tail, rest = "", max(room - 1 - cells(head), 0)
    for character in reversed(text):
        if cells(character + tail) > rest:
            break
        tail = character + tail
    return f"{head}…{tail}"


#: Where a `time_text` ends that tells no fraction of a second.
TO_THE_SECOND: Final = len("2026-11-22 10:31:00")


def time_text(timestamp: object, tz: tzinfo) -> str:
    """Return an ISO 8601 *timestamp* for people, in the time zone *tz* and to the millisecond."""
    if tz is UTC and isinstance(timestamp, str) and _OURS.fullmatch(timestamp):
        return f"{timestamp[:10]} {timestamp[11:23]}"
    try:
        moment = datetime.fromisoformat(str(timestamp)).astimezone(tz)
    except (ValueError, OverflowError):
        return escape(str(timestamp))
    # Not by strftime: it imports a module at each call, and at the end of a program imports fail.
    return moment.isoformat(" ", "milliseconds")[: len("2026-11-22 10:31:00.123")]


def escape(text: str) -> str:
    r"""Return *text* with each unprintable character escaped: ``\n``, ``\x1b``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def value_text(value: object) -> str:
    """Return the *value* of a field as text to follow ``key=``: bare if simple, else as JSON."""
    if isinstance(value, str):
        if value.isalnum():
            return value
        bare = value and value.isprintable() and not _NEEDS_QUOTES.search(value)
        return value if bare else escape(_json(value))
    return escape(_json(value))


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, read by another parser
        return str(value)


def _fields_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of *entry*, of either layout, to print after the message: all but `_HIDDEN`."""
    parameters = entry.get(schema.STRUCTURED_DATA_KEY)
    if not isinstance(parameters, Mapping):
        return {name: value for name, value in entry.items() if name not in _HIDDEN}
    grouped = (group for sd_id, group in parameters.items() if sd_id.startswith(("context@", "fields@")))
    fields = {name: value for group in grouped for name, value in group.items() if name not in _HIDDEN}
    return {**({schema.LOGGER_KEY: entry[schema.LOGGER_KEY]} if schema.LOGGER_KEY in entry else {}), **fields}


def _expert(entry: Mapping[str, Any]) -> str:
    return str(_field(entry, "expert_name") or entry.get("appname", ""))


def _field(entry: Mapping[str, Any], name: str) -> object:
    parameters = entry.get(schema.STRUCTURED_DATA_KEY)
    groups = parameters.values() if isinstance(parameters, Mapping) else (entry,)
    return next((group[name] for group in groups if isinstance(group, Mapping) and name in group), None)


def _below(entry: Mapping[str, Any]) -> list[str]:
    """Return the indented lines below the line of *entry*: its stack and its traceback."""
    exception = entry.get(schema.EXCEPTION_KEY)
    texts = [entry.get(schema.STACK_KEY), exception.get("text") if isinstance(exception, Mapping) else exception]
    if isinstance(exception, Mapping) and not exception.get("text"):
        texts[1] = f"{exception.get('type', '')}: {exception.get('value', '')}"
    return [_INDENT + escape(line) for text in texts if isinstance(text, str) for line in text.rstrip("\n").split("\n")]
