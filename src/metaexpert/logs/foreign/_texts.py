"""Lines of text that other loggers write, by the layouts that are usual.

An entry begins with a line that has a time and a level at certain places. Lines below it that have none (a traceback, a
message of several lines) belong to it.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

from metaexpert.logs.foreign import _values as values
from metaexpert.logs.foreign._json_lines import Parsed

_TIME: Final = (
    r"(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d[:.]\d\d(?:[.,]\d{1,9})?"
    r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)(?=[^\w]))?)"
)
#: In brackets or between signs a level may have any name; between spaces only a well-known one in capitals.
_LEVEL: Final = r"(?P<level>[A-Za-z]{1,14}\d?)"
_CAPITALS: Final = r"(?P<level>" + "|".join(w.upper() for w in values.LEVELS if len(w) > 2) + r")"
_LOGGER: Final = r"(?P<logger>[\w.$/:<>-]+)"
_PID: Final = r"(?P<pid>\d{1,9})"


class Layout(NamedTuple):
    """How a logger writes a line of text; the groups of *pattern* are the parts of an entry."""

    name: str
    pattern: re.Pattern[str]


def _layout(name: str, pattern: str) -> Layout:
    for macro, part in (("{T}", _TIME), ("{L}", _LEVEL), ("{U}", _CAPITALS), ("{N}", _LOGGER), ("{P}", _PID)):
        pattern = pattern.replace(macro, part)
    return Layout(name, re.compile(pattern + r"(?P<message>.*)", re.DOTALL))


#: The surest first.
LAYOUTS: Final = (
    _layout("loguru", r"{T} \| {L}\s*\| (?P<logger>[^\s:]*):(?P<function>[^\s:]*):(?P<line>\d+) - "),
    _layout("zap", r"{T}\t{U}\t(?:{N}\t)?(?P<caller>[^\s:]+:\d+)\t"),
    _layout("logging", r"{T} - {P} - {N} - {L} - "),
    _layout("logging", r"{T} - {N} - {L} - "),
    _layout("logging", r"{T} - {U} - (?:{N} - )?"),
    _layout("celery", r"\[{T}: {L}/(?P<process_name>[^\]\s]+)\] "),
    _layout("gunicorn", r"\[{T}\] \[{P}\] \[{L}\] "),
    _layout("flask", r"\[{T}\] {U} in {N}: "),
    _layout("nautilus", r"(?=\S+T\S+Z ){T} \[{L}\] (?P<appname>[\w-]+-[\w-]+)\.(?P<logger>[^\s:]+): "),
    _layout("structlog", r"{T} \[(?P<level>[a-z]+)\s*\] "),
    _layout("spring", r"{T}\s+{U}\s+{P} --- \[\s*(?P<thread>[^\]]*)\] (?P<logger>\S+)\s*: "),
    _layout("log4j", r"{T} \[(?P<thread>[^\]]*)\] {U}\s+{N} - "),
    _layout("logging", r"\[?{T}\]? \[{L}\s*\](?: {N}:)?\s+"),
    _layout("logging", r"\[?{T}\]? \[{N}\] \[?{U}\]?:?\s+(?:- )?"),
    _layout("logging", r"\[?{T}\]?\s*\|\s*{L}\s*\|\s*(?:(?P<logger>[\w.:-]+)\s*\|\s*)?"),
    _layout("env_logger", r"\[{T}\s+{U}\s+(?P<logger>[\w:.-]+)\] "),
    _layout("logging", r"\[?{T}\]?[ :,]\s*{U}\s*[:,]\s*(?:(?P<logger>[\w.-]+)[:,]\s*)?"),
    _layout("logging", r"\[?{T}\]?\s+{U}\s+(?:\[(?P<logger>[\w.-]+)\]:?\s+|(?P<name>[\w.]+(?:::[\w:]+)?):\s+|- )?"),
    _layout("logging", r"\[?{T}\]?\s+{N}:?\s+\[?{U}\]?:?\s+(?:- )?"),
    _layout("django", r"{U} {T} {N} {P} (?P<thread>\d+) "),
    _layout("logging", r"\[?{U}\]?:?\s+\[?{T}\]?:?\s+(?:- )?"),
)
#: The fields that structlog's console writes behind the message.
_FIELD: Final = re.compile(r"([A-Za-z_][\w.]*)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"\[{(]\S*)(?:\s+|$)")
_BEFORE_FIELDS: Final = re.compile(r"(?<!\s)\s+(?=[A-Za-z_][\w.]*=)")
#: A line longer than this is no beginning of an entry; it costs no search.
_LONGEST: Final = 1 << 20


def decoded(line: bytes) -> str:
    """Return a line as text without the codes of colours; bytes that are not UTF-8 as hexadecimal escapes."""
    return values.without_colours(line.decode("utf-8", "backslashreplace"))


def parse_text(line: bytes, layout: Layout) -> Parsed | None:
    """Return what the first line of an entry says; None if it is none of this *layout*."""
    if len(line) > _LONGEST or (found := layout.pattern.match(decoded(line))) is None:
        return None
    parts = {name: part for name, part in found.groupdict().items() if part}
    word = parts.pop("level")
    stamp = parts.pop("time")
    time = values.time_of(stamp)
    if time is None:
        return None
    level = values.level_of(word)
    message = parts.pop("message", "")
    fields: dict[str, Any] = dict(parts)
    fields |= {"logger": fields.pop("name")} if "name" in fields else {}
    fields |= {"procid": fields.pop("pid")} if "pid" in fields else {}
    if level is None or word.lower() not in values.PLAIN:
        fields["level_name"] = word
    if layout.name == "structlog":
        message = _with_fields(message, fields)
    elif layout.name == "zap" and message.endswith("}"):
        message = _with_object(message, fields)
    return Parsed(time, level or "info", message, fields, layout.name, stamp)


def is_certain(found: Parsed) -> bool:
    """Return whether the level of a line of text is a well-known one."""
    return values.level_of(found.fields.get("level_name", found.level)) is not None


def _with_fields(message: str, fields: dict[str, Any]) -> str:
    """Take the fields behind a message into *fields*, and return the message; all of it if it is not certain."""
    begin = _BEFORE_FIELDS.search(message)
    if begin is None:
        return message.rstrip()
    at, taken = begin.end(), {}
    while pair := _FIELD.match(message, at):
        name, value = pair.groups()
        taken[name] = value[1:-1] if value[0] in "'\"" else value
        at = pair.end()
    if at < len(message):
        return message.rstrip()
    fields |= taken
    return message[: begin.start()].rstrip()


def _with_object(message: str, fields: dict[str, Any]) -> str:
    text, tab, rest = message.rpartition("\t")
    try:
        fields |= orjson.loads(rest) if tab and rest.startswith("{") else {}
    except ValueError:
        return message
    return text if tab else message
