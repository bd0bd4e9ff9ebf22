r"""A decoded entry as text for people, by structlog's console renderer with our own columns.

``2026-11-22 10:31:00.123 [info ] Position opened  side=BUY size=0.1``, with a traceback indented below. Control
characters are escaped and all further lines are indented, so that values cannot inject entries or terminal escapes.
Console and reader share this. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

import orjson

from metaexpert.logger import schema

if TYPE_CHECKING:
    from structlog.dev import ConsoleRenderer

#: Fields that a console line leaves out.
HIDDEN: Final = frozenset({*schema.HEADER_KEYS, schema.EXCEPTION_KEY, schema.STACK_KEY, schema.CATEGORY, "expert_name"})
_INDENT: Final = "    "
_NEEDS_QUOTES: Final = re.compile(r"""[\s="'\\]""")
_LEVEL_WIDTH: Final = len("debug")
# Column keys that no escaped field name equals.
_TIME, _LEVEL, _EXPERT, _MESSAGE = "\0time", "\0level", "\0expert", "\0message"
#: Keys that structlog's renderer handles by itself.
RENDERER_KEYS: Final = frozenset({"stack", "exception", "exc_info"})


class ConsoleText:
    """Turns entries into console lines.

    Args:
        colors: Whether to use ANSI colours.
        tz: Time zone of the printed times.
        show_expert: Whether each line names its expert, for a view of several.
    """

    def __init__(self, colors: bool, tz: tzinfo = UTC, *, show_expert: bool = False) -> None:
        self._tz = tz
        self._show_expert = show_expert
        self._render = _renderer(colors)

    def __call__(self, entry: Mapping[str, Any]) -> str:
        """Return *entry*, of either layout, as text without a final newline."""
        shown: dict[str, Any] = {
            _TIME: time_text(entry.get("timestamp"), self._tz),
            _LEVEL: escape(str(entry.get("level", "?"))),
            **({_EXPERT: escape(str(_field(entry, "expert_name") or ""))} if self._show_expert else {}),
            _MESSAGE: escape(str(entry.get("message", ""))),
        }
        for name, value in fields_of(entry).items():
            key = schema.RESERVED_PREFIX + name if name in RENDERER_KEYS else escape(name)
            shown[key] = value
        text = self._render(None, "", shown)
        return "\n".join([text, *below(entry)])


def time_text(timestamp: object, tz: tzinfo) -> str:
    """Return an ISO 8601 *timestamp* for people, in the time zone *tz* and to the millisecond."""
    try:
        moment = datetime.fromisoformat(str(timestamp)).astimezone(tz)
    except (ValueError, OverflowError):
        return escape(str(timestamp))
    # Not by strftime: it imports a module at each call, and at the end of a program imports fail.
    day = f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"
    return f"{day} {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}.{moment.microsecond // 1000:03d}"


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


def fields_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of *entry*, of either layout, to print after the message: all but `HIDDEN`."""
    parameters = entry.get(schema.STRUCTURED_DATA_KEY)
    if not isinstance(parameters, Mapping):
        return {name: value for name, value in entry.items() if name not in HIDDEN}
    grouped = (group for sd_id, group in parameters.items() if sd_id.startswith(("context@", "fields@")))
    fields = {name: value for group in grouped for name, value in group.items() if name not in HIDDEN}
    return {**({schema.LOGGER_KEY: entry[schema.LOGGER_KEY]} if schema.LOGGER_KEY in entry else {}), **fields}


def _field(entry: Mapping[str, Any], name: str) -> object:
    parameters = entry.get(schema.STRUCTURED_DATA_KEY)
    groups = parameters.values() if isinstance(parameters, Mapping) else (entry,)
    return next((group[name] for group in groups if isinstance(group, Mapping) and name in group), None)


def below(entry: Mapping[str, Any]) -> list[str]:
    """Return the indented lines below the line of *entry*: its stack and its traceback."""
    exception = entry.get(schema.EXCEPTION_KEY)
    texts = [entry.get(schema.STACK_KEY), exception.get("text") if isinstance(exception, Mapping) else exception]
    if isinstance(exception, Mapping) and not exception.get("text"):
        texts[1] = f"{exception.get('type', '')}: {exception.get('value', '')}"
    return [_INDENT + escape(line) for text in texts if isinstance(text, str) for line in text.rstrip("\n").split("\n")]


def _renderer(colors: bool) -> ConsoleRenderer:
    # Imported late: it takes half as long as all other imports together, and the reader does not need it.
    from structlog.dev import (  # noqa: PLC0415
        Column,
        ConsoleRenderer,
        KeyValueColumnFormatter,
        LogLevelColumnFormatter,
    )

    styles = ConsoleRenderer.get_default_column_styles(colors)
    levels = {
        "debug": styles.level_debug,
        "info": styles.level_info,
        "warning": styles.level_warn,
        "error": styles.level_error,
        "critical": styles.level_critical,
    }
    level = LogLevelColumnFormatter({name: style + styles.bright for name, style in levels.items()}, styles.reset)
    level.width = _LEVEL_WIDTH  # the two long words stick out, so that the other lines need no padding

    def column(style: str, postfix: str = "") -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(None, style, styles.reset, str, postfix=postfix)

    return ConsoleRenderer(
        columns=[
            Column(_TIME, column(styles.timestamp)),
            Column(_LEVEL, level),
            Column(_EXPERT, column(styles.logger_name)),
            Column(_MESSAGE, column(styles.bright, postfix=" ")),
            Column("", KeyValueColumnFormatter(styles.kv_key, styles.kv_value, styles.reset, value_text)),
        ],
        sort_keys=False,
    )
