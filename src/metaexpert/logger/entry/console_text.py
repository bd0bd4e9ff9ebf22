r"""A decoded entry as text for people, in the form and the colours of structlog's console.

``2026-11-22 10:31:00.123 [info ] Position opened  side=BUY size=0.1``, with a traceback indented below. Control
characters are escaped and all further lines are indented, so that values cannot inject entries or terminal escapes.
Console and reader share this. Made without structlog,
whose import takes longer than showing the last entries. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
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
#: The two long level words stick out, so that the other lines need no padding.
_LEVEL_WIDTH: Final = len("debug")
#: Field names that structlog's renderer handles by itself. They are shown with our prefix.
_RENDERER_KEYS: Final = frozenset({"stack", "exception", "exc_info"})

#: Escape sequences of a terminal (ECMA-48, SGR), as structlog's console has them.
_RESET, _BRIGHT, _DIM, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN = (
    f"\x1b[{code}m" for code in (0, 1, 2, 31, 32, 33, 34, 35, 36)
)
_LEVEL_COLORS: Final = {"debug": _GREEN, "info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _RED}


class ConsoleText:
    """Turns entries into console lines.

    Args:
        colors: Whether to use ANSI colours.
        tz: Time zone of the printed times.
        show_expert: Whether each line names its expert, for a view of several.
    """

    def __init__(self, colors: bool, tz: tzinfo = UTC, *, show_expert: bool = False) -> None:
        self._colors = colors
        self._tz = tz
        self._show_expert = show_expert

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
        if self._show_expert:
            parts.append(self._color(_BLUE, escape(str(_field(entry, "expert_name") or ""))))
        parts.append(self._color(_BRIGHT, escape(str(entry.get("message", "")))) + self._color("", " "))
        for name, value in fields.items():
            key = schema.RESERVED_PREFIX + name if name in _RENDERER_KEYS else escape(name)
            parts.append(f"{self._color(_CYAN, key)}={self._color(_MAGENTA, value_text(value))}")
        return " ".join(parts).rstrip(" ")

    def _color(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colors else text


def time_text(timestamp: object, tz: tzinfo) -> str:
    """Return an ISO 8601 *timestamp* for people, in the time zone *tz* and to the millisecond."""
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
