"""What VictoriaLogs keeps of an entry, and the entry again: all values are texts there, objects are flattened.

Three ways lead in, and each has its names: OTLP (``host.name``, ``process.pid``, the level as ``severity``), syslog
(``hostname``, ``proc_id``, ``fields@N.…``, with the types of values told) and JSON lines (our own names). Of syslog the
message of RFC 5424 is put together again and parsed as any. Elsewhere a value is what it looks like: text that is
written as JSON writes a number, true, false or a list is that, unless its name is one of a text. Not kept by the
store, and so lost: empty texts, null and empty objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import MessageError, escape_value, parse_message
from metaexpert.logger.entry.values import escape_c1
from metaexpert.logs.entry import Entry

_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z")
#: What the store says where an entry has no message.
_NO_MESSAGE: Final = "missing _msg field;"
#: The store's own fields, and where each part of a header stands by the way in.
_OWN: Final = frozenset({"_time", "_msg", "_stream", "_stream_id"})
_HOST: Final = ("hostname", "host.name")
_APP: Final = ("appname", "service.name")
_PROCESS: Final = ("procid", "process.pid")
_LEVEL: Final = ("level", "severity")
_HEADER: Final = _OWN | {*_HOST, *_APP, *_PROCESS, *_LEVEL, "facility", "version", "msgid", "sequence_id", "timestamp"}
#: Names of texts, whatever they look like.
_TEXTS: Final = frozenset({"expert_name", "symbol", "trade_id", "order_id", "account_id", schema.LOGGER_KEY,
                           schema.STACK_KEY, "exception.type", "exception.value", "exception.text"})  # fmt: skip
#: The names that OpenTelemetry has for parts of an exception.
_EXCEPTION: Final = {"exception.message": "exception.value", "exception.stacktrace": "exception.text"}
_SYSLOG: Final = "meta.sequenceId"
_ELEMENT: Final = re.compile(r"((?:context|fields|types|names)@[0-9]+|meta|origin)\.(.+)", re.DOTALL)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,4000})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def entry_of(line: bytes, store: str) -> Entry | None:
    """Return the entry of one *line* of an answer, in the form of our writer; None when it is no entry of ours.

    Args:
        line: A JSON object of texts.
        store: Where it comes from, for `Entry.file`.
    """
    try:
        row = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or {*map(type, row.values())} != {str}:
        return None
    time = _TIME.fullmatch(row.get("_time", ""))
    if time is None:
        return None
    timestamp = f"{time[1]}.{(time[2] or '')[:6]:0<6}Z"
    data = _from_syslog(row, timestamp) if _SYSLOG in row else _from_fields(row, timestamp)
    if data is None:
        return None
    number = data.get("sequence_id", 0)
    return Entry(_line(data), store, (timestamp[:-1].encode(), number, 0), data)


def _line(data: Mapping[str, Any]) -> bytes:
    try:
        return escape_c1(orjson.dumps(data))
    except TypeError:  # an integer beyond 64 bits
        return escape_c1(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def _message(row: Mapping[str, str]) -> str:
    text = row.get("_msg", "")
    return "" if text.startswith(_NO_MESSAGE) else text


def _from_syslog(row: Mapping[str, str], timestamp: str) -> dict[str, Any] | None:
    """Return the entry of a message, put together again in the form of RFC 5424."""
    elements: dict[str, list[str]] = {"origin": ['software="metaexpert"']}
    for name, value in row.items():
        part = _ELEMENT.fullmatch(name)
        if part is not None and part[1] != "origin":
            elements.setdefault(part[1], []).append(f'{part[2]}="{escape_value(value)}"')
    priority = row.get("priority") or str(int(_number(row, "facility", 16)) * 8 + int(_number(row, "severity", 6)))
    header = [row.get(name) or schema.NILVALUE for name in ("hostname", "app_name", "proc_id", "msg_id")]
    groups = "".join(f"[{sd_id} {' '.join(parameters)}]" for sd_id, parameters in elements.items())
    text = f"<{priority}>1 {timestamp} {' '.join(header)} {groups} {_message(row)}"
    try:
        return parse_message(text.encode("utf-8", "replace"))
    except MessageError:
        return None


def _number(row: Mapping[str, str], name: str, default: int) -> int:
    text = row.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _from_fields(row: Mapping[str, str], timestamp: str) -> dict[str, Any] | None:
    """Return the entry of JSON lines or of OTLP."""
    level = _level(row)
    if level is None or not row.get("sequence_id", "").isdecimal():
        return None
    number, fields = _INTEGER.fullmatch(row["sequence_id"]), _fields(row)
    first, last = (schema.LOGGER_KEY,), (schema.EXCEPTION_KEY, schema.STACK_KEY)
    logger, rest = ({name: fields.pop(name) for name in names if name in fields} for names in (first, last))
    msgid = schema.MSGID_TRADE if fields.get(schema.CATEGORY) == schema.TRADE else schema.MSGID_LOG
    return {
        "timestamp": timestamp,
        "level": level,
        "severity": schema.SEVERITIES[level],
        "facility": _number(row, "facility", schema.FACILITY_LOCAL0),
        "version": schema.RFC5424_VERSION,
        "hostname": _first(row, _HOST),
        "appname": _first(row, _APP),
        "procid": _first(row, _PROCESS),
        "msgid": row.get("msgid", msgid),
        "sequence_id": int(row["sequence_id"]) if number and len(row["sequence_id"]) < 19 else 0,
        "message": _message(row),
        **logger,
        **fields,
        **rest,
    }


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name)), schema.NILVALUE)


def _level(row: Mapping[str, str]) -> str | None:
    for text in (row.get(name, "") for name in _LEVEL):
        if (number := schema.level_named(text)) is not None:
            return schema.LEVEL_WORDS[number]
        if text.isdecimal() and len(text) == 1:
            return min(schema.SEVERITIES, key=lambda word: abs(schema.SEVERITIES[word] - int(text)))
    return None


def _fields(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields beside the header, their values as they look, their objects put together again."""
    fields: dict[str, Any] = {}
    for name, text in row.items():
        if name not in _HEADER:
            plain = _EXCEPTION.get(name, name)
            _put(fields, plain, text if plain in _TEXTS else value_of(text))
    return fields


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Add a value under its dotted name: ``a.b`` is b of the object a, unless a is something else."""
    parts, inner = name.split("."), fields
    if all(parts):
        for part in parts[:-1]:
            found = inner.setdefault(part, {})
            if not isinstance(found, dict):
                break
            inner = found
        else:
            if parts[-1] not in inner:
                inner[parts[-1]] = value
                return
    fields[name] = value


def value_of(text: str) -> Any:
    """Return the value that the store keeps as *text*, as far as it can be told; a number only if it is exactly that.

    So ``0.10``, ``007`` and ``1e400`` stay texts: no number is written like that.
    """
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and text != "-0":
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if _is_exact(number, text) else text
    if text.startswith("[") and text.endswith("]"):
        return _loaded(text)
    return text


def _is_exact(number: float, text: str) -> bool:
    spelled: Callable[[float], bytes] = orjson.dumps
    return text in (repr(number), spelled(number).decode(), f"{number:.0f}")


def _loaded(text: str) -> Any:
    try:
        return json.loads(text) if re.search(r"[0-9]{19}", text) else orjson.loads(text)
    except (ValueError, RecursionError):
        return text
