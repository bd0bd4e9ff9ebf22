"""Lines of JSON, and of ``key=value``, that other loggers write: one entry each.

Recognised by their keys: a time, a level and a message, each under one of its usual names and with a value that can be
nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from metaexpert.logs.foreign import _values as values

#: The usual names, folded (see `_folded`), the surest first.
_TIMES: Final = (
    "timestamp", "time", "ts", "asctime", "datetime", "eventtime", "logtime", "loggedat", "timemillis", "timestampms",
    "date", "created", "t",
)  # fmt: skip
_LEVELS: Final = (
    "level", "levelname", "severity", "severitytext", "lvl", "loglevel", "logseverity", "levelno", "l",
)  # fmt: skip
_MESSAGES: Final = (
    "message", "msg", "event", "text", "body", "shortmessage", "textpayload", "logmessage", "m", "mt",
)  # fmt: skip
#: By these a number on the scale 10 to 60 is one of Python's, not of pino's.
_PYTHON: Final = frozenset({"levelno", "levelname", "asctime", "funcName", "lineno", "taskName", "event"})
_TRACEBACK: Final = "Traceback (most recent call last):"
_LAST_LINE: Final = re.compile(r"^((?:\w+\.)*\w+)(?:: (.*))?\Z", re.MULTILINE | re.DOTALL)
_PAIR: Final = re.compile(r'([\w.@/-]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
#: Wider lines are no log.
_MOST_PAIRS: Final = 200


@dataclass(slots=True)
class Parsed:
    """A line of another logger.

    Attributes:
        time: When; aware.
        level: The level word of ours.
        message: The message.
        fields: All else, by the names that it had, or by those of our header.
        shape: How the logger is called that writes such lines.
        stamp: The time as it stood there.
    """

    time: datetime
    level: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    shape: str = "json"
    stamp: Any = None


def parse_json(line: bytes) -> Parsed | None:
    """Return what a line of JSON says; None if it is not certainly an entry."""
    if not (line.startswith(b"{") and line.endswith(b"}")):
        return None
    try:
        data = orjson.loads(line)
    except ValueError:
        try:  # what Python's own encoder writes beyond JSON
            data = json.loads(line, parse_constant=str)
        except (ValueError, RecursionError):
            return None
    return parsed(data, "json") if type(data) is dict else None


def parse_pairs(line: bytes) -> Parsed | None:
    """Return what a line of ``key=value`` says, as logrus and slog write them; None if it is not certainly an entry."""
    data: dict[str, Any] = {}
    text, end = line.decode("utf-8", "backslashreplace"), 0
    while (pair := _PAIR.match(text, end)) and len(data) < _MOST_PAIRS:
        key, value = pair.groups()
        try:
            data[key] = json.loads(value, strict=False) if value.startswith('"') else value
        except ValueError:
            data[key] = value[1:-1]
        end = pair.end()
    return parsed(data, "logfmt") if data and end == len(text) else None


def parsed(data: dict[str, Any], shape: str) -> Parsed | None:
    """Return what an object says; None if it is not certainly an entry. Takes from *data* what it returns."""
    if type(record := data.get("record")) is dict and "text" in data:
        return _loguru(data, record)
    if type(payload := data.get("jsonPayload")) is dict:
        data = {**data, **payload}
        del data["jsonPayload"]
    keys = _keys_of(tuple(data))
    if keys is None:
        return None
    time_key, levels, message_key = keys
    time, level, said = values.time_of(data[time_key]), None, data.get(message_key)
    level_key = levels[0]
    for level_key in levels:
        level = values.level_of(_nested(data, level_key), _scale(data, level_key))
        if level is not None:
            break
    shape = _name(data, time_key, level_key, message_key) if shape == "json" else shape
    if time is None or level is None or (said is None and shape not in ("pino", "bunyan")):
        return None
    fields = {name: value for name, value in data.items() if name not in (time_key, message_key)}
    _take_level(fields, level_key, _nested(data, level_key))
    message = said if isinstance(said, str) else "" if said is None else json.dumps(said, ensure_ascii=False)
    return Parsed(time, level, values.without_colours(message), _header(fields, shape), shape, data[time_key])


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


@lru_cache(maxsize=4096)
def _keys_of(names: tuple[str, ...]) -> tuple[str, tuple[str, ...], str] | None:
    """Return under which names an object with these has its time, its level (one of several), and its message."""
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(_folded(name), name)
    levels = tuple(folded[name] for name in _LEVELS if name in folded)
    time = next((folded[name] for name in _TIMES if name in folded), None)
    message = next((folded[name] for name in _MESSAGES if name in folded), "")
    if not levels and "log" in names:
        levels = ("log",)
    return (time, levels, message) if time is not None and levels else None


def _nested(data: Mapping[str, Any], key: str) -> Any:
    value = data[key]
    return value.get("level") if key == "log" and isinstance(value, Mapping) else value


def _scale(data: Mapping[str, Any], key: str) -> str:
    """Return on which scale a number is under this key; empty when that is not certain."""
    number = data[key]
    if isinstance(number, str):
        return values.SYSLOG if number.isdecimal() and _folded(key) == "severity" else ""
    if type(number) is not int:
        return ""
    if _folded(key) == "levelno":
        return values.PYTHON
    if _folded(key) == "severity" and number >= 100:
        return values.CLOUD
    if _folded(key) == "severity" or "short_message" in data:
        return values.SYSLOG
    if number in range(10, 70, 10) and ("msg" in data or "message" in data or {"pid", "hostname"} <= data.keys()):
        python = not _PYTHON.isdisjoint(data) or ("message" in data and not {"pid", "hostname"} <= data.keys())
        return values.PYTHON if python else values.PINO
    return ""


def _take_level(fields: dict[str, Any], key: str, value: Any) -> None:
    if key != "log":
        del fields[key]
    _note_word(fields, value)


def _name(data: Mapping[str, Any], time: str, level: str, message: str) -> str:
    """Return how the logger is called that writes such keys; ``json`` when several do."""
    names = data.keys()
    if type(data[level]) is int and level == "level" and "short_message" not in names:
        return "bunyan" if "v" in names and "name" in names else "pino" if {"pid", "hostname"} <= names else "json"
    for name, needed in _BY_KEYS:
        if needed <= names:
            return name
    return _BY_MAIN_KEYS.get((time, level, message), "json")


_BY_KEYS: Final = (
    ("nautilus", {"timestamp", "trader_id", "level", "component", "message"}),
    ("ecs", {"@timestamp", "ecs.version"}),
    ("gelf", {"version", "host", "short_message"}),
)
_BY_MAIN_KEYS: Final = {
    ("timestamp", "level", "event"): "structlog",
    ("asctime", "levelname", "message"): "python-json-logger",
    ("ts", "level", "msg"): "zap",
    ("time", "level", "message"): "zerolog",
    ("time", "level", "msg"): "logrus or slog",
    ("timestamp", "severity", "message"): "google cloud",
    ("time", "severity", "message"): "google cloud",
}


def _loguru(data: Mapping[str, Any], record: dict[str, Any]) -> Parsed | None:
    level = record.get("level")
    said, time = record.get("message"), values.time_of(record.get("time"))
    if not isinstance(level, Mapping) or not isinstance(said, str) or time is None:
        return None
    word = values.level_of(level.get("name")) or values.level_of(level.get("no"), values.PYTHON)
    if word is None:
        return None
    fields = {name: record.get(name) for name in ("name", "function", "line")}
    if isinstance(extra := record.get("extra"), dict):
        fields |= extra
    if isinstance(process := record.get("process"), Mapping):
        fields.setdefault("pid", process.get("id"))
    if record.get("exception") and _TRACEBACK in str(data["text"]):
        fields["exc_info"] = _TRACEBACK + str(data["text"]).partition(_TRACEBACK)[2].rstrip()
    _note_word(fields, level.get("name"))
    return Parsed(time, word, said, _header(fields, "loguru"), "loguru", record["time"])


def _note_word(fields: dict[str, Any], word: Any) -> None:
    if isinstance(word, str) and word.strip().lower() not in values.PLAIN and not word.isdecimal():
        fields.setdefault("level_name", word)


#: Where the logger's name is ``name``; elsewhere that may be a field of the caller's.
_NAMED: Final = frozenset({"bunyan", "pino", "python-json-logger", "loguru"})


def _header(fields: dict[str, Any], shape: str) -> dict[str, Any]:
    """Return *fields* with what has a place in our header under its name there."""
    if shape == "nautilus" and isinstance(fields["trader_id"], str):  # its files are called by the run, too
        fields["appname"] = fields.pop("trader_id")
    for name in ("logger", "logger_name", "component", *(("name",) if shape in _NAMED else ())):
        if isinstance(fields.get(name), str) and "logger" not in fields.keys() - {name}:
            fields["logger"] = fields.pop(name)
    for name in ("pid", "process"):
        if type(fields.get(name)) is int and "procid" not in fields:
            fields["procid"] = str(fields.pop(name))
    for name in ("exc_info", "exception", "err", "error", "stack_trace", "stacktrace"):
        if (found := exception_of(fields.get(name))) is not None:
            del fields[name]
            fields["exception"] = found
            break
    return fields


def exception_of(value: Any) -> dict[str, Any] | None:
    """Return a traceback, or an error of JavaScript, as our lines have exceptions; None if *value* is none of them."""
    if isinstance(value, Mapping):
        text, said = value.get("stack"), value.get("message")
        if not isinstance(text, str) or not isinstance(said, str):
            return None
        return {"type": str(value.get("type") or value.get("name") or "Error"), "value": said, "text": text}
    if not isinstance(value, str) or _TRACEBACK not in value[:1000]:
        return None
    last = value.rstrip().rpartition("\n")[2]
    found = _LAST_LINE.search(last)
    kind, said = found.groups() if found else ("", last)
    return {"type": kind, "value": said or "", "text": value.rstrip("\n")}
