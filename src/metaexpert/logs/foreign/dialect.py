"""`recognise`: what another logger's file is, by its first lines; `Dialect`: its lines as lines of ours.

A file is recognised when it certainly is a log: lines of JSON with a time, a level and a message under their usual
names, or lines of text in one of the usual layouts. Its lines are then made into lines as our writer writes them, so
that everything else in the reader treats them alike. Their ``msgid`` says how the logger is called, and their
``sequence_id`` is 0. A line that is no entry stays as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logs.entry import glance, regular_number
from metaexpert.logs.foreign import _values as values
from metaexpert.logs.foreign._json_lines import Parsed, exception_of, parse_json, parse_pairs
from metaexpert.logs.foreign._texts import LAYOUTS, Layout, decoded, is_certain, parse_text

#: Bytes at the beginning of a file by which it is recognised, and the most lines of them.
HEAD: Final = 1 << 16
_MOST_LINES: Final = 400
#: Of the lines of a text log, at least this part begins an entry; the others are tracebacks.
_FEWEST: Final = 0.05
#: Most bytes of the lines below the first one of an entry that are taken into it.
MOST_BELOW: Final = 1 << 18
_BOM: Final = b"\xef\xbb\xbf"

_Parse = Callable[[bytes], Parsed | None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What another logger's file is.

    Attributes:
        name: How the logger is called that writes such lines, and whether they are JSON or text.
        layouts: Layouts of its lines of text; none when all are JSON.
        certain: Whether it is a log beyond doubt, whatever the file is called.
        zoned: Whether its times name their zone, or need none. Others are of the machine's local zone.
    """

    name: str
    layouts: tuple[Layout, ...]
    parsers: tuple[_Parse, ...]
    certain: bool
    zoned: bool

    def begins(self, line: bytes) -> bool:
        """Return whether a line begins an entry; others may belong to the one before them."""
        return self._parsed(_bare(line)) is not None or _is_ours(line)

    def translate(self, data: bytes, appname: str) -> bytes:
        """Return whole lines as lines of ours.

        Args:
            data: The lines; they begin with an entry, or with lines that belong to none.
            appname: Of entries that name no program.
        """
        made: list[bytes] = []
        held: Parsed | None = None
        below: list[bytes] = []
        room = MOST_BELOW
        for line in data.removesuffix(b"\n").split(b"\n") if data else ():
            bare = _bare(line)
            found = None if _is_ours(bare) else self._parsed(bare)
            if found is None and held is not None and (room := room - len(line) - 1) > 0:
                below.append(bare)
                continue
            if held is not None:
                made.append(_line_of(_with_lines(held, below), appname))
                held, below = None, []
            if found is None:
                made.append(line)
            elif found.shape in _TEXTS and self.layouts:
                held, room = found, MOST_BELOW
            else:
                made.append(_line_of(found, appname))
        if held is not None:
            made.append(_line_of(_with_lines(held, below), appname))
        return b"\n".join(made) + b"\n" * data.endswith(b"\n")

    def first_beginning(self, data: bytes) -> int:
        """Return where the first entry in whole lines begins; their length when there is none."""
        start = 0
        while start < len(data):
            end = data.find(b"\n", start)
            end = len(data) if end < 0 else end
            if self.begins(data[start:end]):
                return start
            start = end + 1
        return len(data)

    def last_beginning(self, data: bytes) -> int:
        """Return where the last entry in whole lines begins; 0 when there is none."""
        end = len(data)
        while end > 0:
            start = data.rfind(b"\n", 0, end - 1) + 1
            if self.begins(data[start:end].rstrip(b"\n")):
                return start
            end = start
        return 0

    def _parsed(self, line: bytes) -> Parsed | None:
        for parse in self.parsers:
            if (found := parse(line)) is not None:
                return found
        return None


#: Programs that are known by the names of their loggers.
_BOTS: Final = frozenset({"freqtrade", "hummingbot"})
_TEXTS: Final = frozenset(layout.name for layout in LAYOUTS)


#: Our writer's own keys: one of them shows that an entry without a number is a line of ours that was rewritten.
_HEADER: Final = frozenset(schema.HEADER_KEYS) - {"timestamp", "level", "message", "hostname", "version", "severity"}


def recognise(head: bytes) -> Dialect | None:
    """Return what a file of another logger is, by its first lines; None if it is ours, or no log for certain.

    Args:
        head: The beginning of the file, up to `HEAD` bytes.
    """
    whole = head if len(head) < HEAD else head[: head.rfind(b"\n") + 1]
    lines = [bare for line in whole.split(b"\n")[:_MOST_LINES] if (bare := _bare(line))]
    if not lines or regular_number(lines[0]) or all(map(_is_ours, lines)):
        return None
    objects = [line for line in lines if line.startswith(b"{")]
    others = [line for line in lines if not line.startswith(b"{")]
    found = [one for line in objects if (one := parse_json(line)) is not None]
    if 2 * len(found) < len(objects):  # what a log of text shows, or no log
        found = []
    pairs = [one for line in others if (one := parse_pairs(line)) is not None]
    texts, layouts = ([], ()) if pairs else _texts_in(others)
    parsers: list[_Parse] = [parse_json] if found else []
    parsers += [parse_pairs] if pairs else []
    parsers += [partial(parse_text, layout=layout) for layout in layouts]
    entries = found + pairs + texts
    if len(entries) < max(1.0, _FEWEST * len(lines)):
        return None
    zoned = all(values.is_zoned(one.stamp) for one in entries)
    return Dialect(_name(found, pairs + texts), layouts, tuple(parsers), len(found) == len(objects), zoned)


def _texts_in(lines: list[bytes]) -> tuple[list[Parsed], tuple[Layout, ...]]:
    """Return the entries of text among *lines*, and their layouts."""
    used: set[Layout] = set()
    found = []
    for line in lines:
        for layout in LAYOUTS:
            if (one := parse_text(line, layout)) is not None and is_certain(one):
                used.add(layout)
                found.append(one)
                break
    return found, tuple(layout for layout in LAYOUTS if layout in used)


def _name(objects: list[Parsed], texts: list[Parsed]) -> str:
    """Return how the loggers are called that wrote these entries, in words."""
    names = []
    for found, kind in ((objects, "JSON"), (texts, "text")):
        if found:
            shape = Counter(one.shape for one in found).most_common(1)[0][0]
            bots = {str(one.fields.get(schema.LOGGER_KEY)).partition(".")[0] for one in found} & _BOTS
            name = shape if shape != "logging" or not bots else min(bots)
            names.append(f"{name} {kind}" if name != "json" else kind)
    return " and ".join(names)


def _bare(line: bytes) -> bytes:
    return line.removeprefix(_BOM).removesuffix(b"\r")


def _is_ours(line: bytes) -> bool:
    """Return whether a line is an entry as it stands, of ours or as good as ours."""
    if regular_number(line):
        return True
    if b'"timestamp"' not in line or b'"message"' not in line or (entry := glance(line, "")) is None:
        return False
    return bool(entry.sequence_id) or not _HEADER.isdisjoint(entry.data)


def _with_lines(entry: Parsed, below: list[bytes]) -> Parsed:
    """Return *entry* with the lines below its first one: a traceback, or more of its message."""
    text = "\n".join(map(decoded, below)).rstrip()
    if text and (exception := exception_of(text)) is not None:
        entry.fields["exception"] = exception
    elif text:
        entry.message = f"{entry.message}\n{text}"
    return entry


def _line_of(entry: Parsed, appname: str) -> bytes:
    fields = entry.fields
    line: dict[str, Any] = {
        "timestamp": schema.timestamp(entry.time),
        "level": entry.level,
        "hostname": _taken(fields, "hostname", schema.MAX_HOSTNAME),
        "appname": _taken(fields, "appname", schema.MAX_APPNAME) or appname[: schema.MAX_APPNAME],
        "procid": _taken(fields, "procid", schema.MAX_PROCID),
        "msgid": entry.shape,
        "sequence_id": 0,
        "message": entry.message,
        schema.LOGGER_KEY: _taken(fields, schema.LOGGER_KEY, schema.MAX_HOSTNAME),
    }
    line = {name: value for name, value in line.items() if value is not None}
    exception = fields.pop(schema.EXCEPTION_KEY, None) if isinstance(fields.get(schema.EXCEPTION_KEY), dict) else None
    for name, value in fields.items():
        line[schema.RESERVED_PREFIX + name if name in schema.RESERVED_KEYS else name] = value
    if exception is not None:
        line[schema.EXCEPTION_KEY] = exception
    try:
        return orjson.dumps(line)
    except (TypeError, ValueError):  # integers beyond 64 bits
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _taken(fields: dict[str, Any], name: str, most: int) -> str | None:
    value = fields.get(name)
    if not isinstance(value, str) or not value or len(value) > most:
        return None
    del fields[name]
    return value
