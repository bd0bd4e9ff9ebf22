"""Cuts an entry that is too large for a file, a datagram or a console: the largest values, and those alone.

Pure functions; any thread may use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry.scalars import Encoded
from metaexpert.logger.entry.values import dumps, marked

#: Bytes that a cut value needs at least: what is left of it, and the mark.
_SMALLEST: Final = 48
#: Values of a container that are cut at most; of more the last ones are left out.
_MOST_SHARING: Final = 256
#: Tries to make an entry as large as it may be; each comes closer.
_TRIES: Final = 8
#: Names in an exception, and parts of it that its text tells again.
_EXCEPTION: Final = frozenset(("type", "value", "text"))
_TOLD_AGAIN: Final = ("frames", "causes", "groups")
_PLENTY: Final = 4096


def fitted(entry: Mapping[str, Any], encode: Callable[[dict[str, Any]], bytes], limit: int) -> bytes:
    """Return what *encode* makes of *entry*, shorter than *limit* bytes: its largest values are cut until it is.

    Args:
        entry: A clean entry of the flat layout.
        encode: Returns an entry as bytes.
        limit: More than a header needs.
    """
    header = {key: entry[key] for key in schema.HEADER_KEYS if key in entry}
    rest = {"message": header.pop("message"), **{key: entry[key] for key in entry if key not in header}}
    room = limit - len(encode({**header, "message": ""}))
    for _ in range(_TRIES):
        cut = _shortened(rest, room)
        encoded = encode({**header, **cut})
        if len(encoded) < limit:
            return encoded
        room = min(room - (len(encoded) - limit) - 1, room * limit // len(encoded) - 1)
    text = marked("", len(rest["message"]))
    return encode({**header, "message": text, "…": f"…[cut {len(rest) - 1}]"})


def _shortened(value: Any, room: int) -> Any:
    """Return *value* so that its JSON has at most *room* bytes, if these are enough for anything."""
    size = len(dumps(value))
    if size <= room:
        return value
    if isinstance(value, Encoded):
        value = orjson.loads(value.json) if value.json[:1] in (b"[", b"{") else str(value.json)
    if isinstance(value, str):
        return _text(value, size, room)
    if isinstance(value, dict):
        return _dict(value, room)
    return _list(value, room) if isinstance(value, list) else value


def _text(text: str, size: int, room: int) -> str:
    kept = len(text)
    while kept and size > room:
        kept = min(kept * max(room - _SMALLEST // 2, 0) // size, kept - 1)
        size = len(dumps(marked(text[:kept], len(text) - kept)))
    return marked(text[:kept], len(text) - kept)


def _dict(fields: dict[str, Any], room: int) -> dict[str, Any]:
    """Cut the largest values. Where there are too many, the last ones are left out, apart from domain fields."""
    if room < _PLENTY and fields.keys() >= _EXCEPTION:
        fields = {name: value for name, value in fields.items() if name not in _TOLD_AGAIN}
    names, cut_off = list(fields), 0
    least = sum(min(len(name), _SMALLEST) + _SMALLEST // 2 for name in names)
    if least > room or _many_to_cut(fields, room):
        domain: list[str] = [name for name in schema.DOMAIN_FIELDS if name in fields] if "message" in fields else []
        names = [name for name in names if name not in domain]
        kept = _most(lambda count: _size(fields, names[:count]), len(names), room - _SMALLEST - _size(fields, domain))
        names, cut_off = [*names[: max(kept, 1)], *domain], len(names) - max(kept, 1)
    keys = _keys(names, max(room // 4, _SMALLEST))
    if cut_off > 0 and len(names) > _MOST_SHARING:  # these fit
        return {name: fields[name] for name in names} | {"…": f"…[cut {cut_off}]"}
    values = _shared([fields[name] for name in names], room - len(dumps(keys)) - len(keys) - _SMALLEST * bool(cut_off))
    return dict(zip(keys, values, strict=True)) | ({"…": f"…[cut {cut_off}]"} if cut_off > 0 else {})


def _many_to_cut(fields: dict[str, Any], room: int) -> bool:
    """Return whether more values would have to be cut than a call has the time for."""
    if len(fields) <= _MOST_SHARING:
        return False
    share = room // len(fields)
    return sum(type(value) is str and len(name) + len(value) > share for name, value in fields.items()) > _MOST_SHARING


def _keys(names: list[str], longest: int) -> list[str]:
    """Return *names*, long ones cut, each one once."""
    keys: dict[str, None] = {}
    for name in names:
        short = name if len(name) < _SMALLEST else _shortened(name, longest)
        while short in keys:
            short += "_"
        keys[short] = None
    return list(keys)


def _size(fields: dict[str, Any], names: list[str]) -> int:
    return len(dumps({name: fields[name] for name in names}))


def _list(values: list[Any], room: int) -> list[Any]:
    if len(values) <= _MOST_SHARING and room >= 4 * _SMALLEST * len(values):
        return _shared(values, room - 2)
    count = _most(lambda count: len(dumps(values[:count])), len(values), room - _SMALLEST)
    shown = values[:count]
    left = room - _SMALLEST - len(dumps(shown))
    if left > 2 * _SMALLEST and isinstance(values[count], str | list | dict):
        shown.append(_shortened(values[count], left))
    return [*shown, f"…[cut {len(values) - len(shown)}]"]


def _most(size: Callable[[int], int], count: int, room: int) -> int:
    """Return how many of *count* values fit into *room* bytes, about; *size* says how many bytes so many need."""
    while count and (needed := size(count)) > room:
        count = min(count * max(room, 0) // needed, count - 1)
    return count


def _shared(values: list[Any], room: int) -> list[Any]:
    """Return *values* so that together they have *room* bytes: the largest ones are cut to the same size."""
    sizes = [len(dumps(value)) + 1 for value in values]
    left, share = room, 0
    for place, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - place)
        if size > share:
            break
        left -= size
    return [
        value if size <= share else _shortened(value, max(share - 1, 1))
        for value, size in zip(values, sizes, strict=True)
    ]
