"""Turns any Python value into JSON types, within bounds and without exceptions.

`Cleaner` handles every value, and is the reference for faster ways. Nothing here keeps state between calls, so any
thread may use it.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from itertools import islice
from typing import Any, Final, Protocol

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry._survey import CONTAINERS, first_of, survey
from metaexpert.logger.entry._value_objects import Masks, masked_table, member_value, object_value, stands_for
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.scalars import (
    SCALARS,
    TEXTS,
    Encoded,
    bytes_text,
    field_names,
    fragment,
    integer,
    number,
    shape_text,
)
from metaexpert.logger.entry.work import Work
from metaexpert.logger.system.interrupts import let_pass

#: Levels of containers. orjson stops at 254.
MAX_DEPTH: Final = 64
#: Values from which on a container is looked at as a whole, and how many of them are the work of one.
_LARGE: Final = 64
_TOGETHER: Final = 4
#: The longest text that may be known as harmless.
_LONGEST_HARMLESS: Final = 200
#: Longer texts are cleaned after the other fields of an entry.
_SHORT: Final = 1000
#: The least work of a large field that is looked at.
_LEAST_SHARE: Final = 300
_SMALL: Final = frozenset({int, float, bool, type(None), *TEXTS})
_SIZED: Final = frozenset({str, bytes, bytearray, set, frozenset, *CONTAINERS})
#: Bytes of an array that become Python objects.
_MOST_BYTES: Final = 1 << 20
#: Bytes beyond the longest text of bytes that are searched for the end of a secret.
_MOST_SECRET: Final = 1 << 13
_SURROGATE: Final = lazy_pattern("[\ud800-\udfff]")
_PAIR: Final = lazy_pattern("[\ud800-\udbff][\udc00-\udfff]")
_REPLACED: Final = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
#: C1 controls, since a terminal may obey U+009B like ESC [, and the line separators that JSON does not escape.
_C1_OR_SEPARATOR: Final = lazy_pattern(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_C1_OR_SEPARATOR_STARTS: Final = (b"\xc2", b"\xe2\x80\xa8", b"\xe2\x80\xa9")


def cut(text: str, limit: int) -> str:
    """Return *text*, or its first *limit* characters and ``…[cut N]`` when it is longer (N characters)."""
    return text if len(text) <= limit else marked(text[:limit], len(text) - limit)


def marked(text: str, left_out: int) -> str:
    """Return *text*, with a mark at its end if *left_out* characters are missing."""
    return f"{text}…[cut {left_out}]" if left_out else text


def no_surrogates(text: str) -> str:
    """Return *text* with each lone surrogate as U+FFFD, since UTF-8 cannot hold one."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    text = _PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
    return text.translate(_REPLACED)


def dumps(cleaned: Any) -> bytes:
    """Return a value made by `Cleaner` as JSON, without a newline and without characters that a terminal obeys."""
    return escape_c1(orjson.dumps(cleaned, default=fragment))


def escape_c1(line: bytes) -> bytes:
    r"""Return the JSON text *line* with C1 controls and U+2028/2029 as ``\uXXXX``."""
    if line.isascii() or not any(start in line for start in _C1_OR_SEPARATOR_STARTS):
        return line
    return _C1_OR_SEPARATOR.sub(lambda m: b"\\u%04x" % ord(m[0].decode()), line)


def failed(value: object, error: BaseException) -> str:
    """Return the text to write for a *value* that cannot be written. It names its type and the error's."""
    return f"<unserialisable {type(value).__name__}: {type(error).__name__}>"


def safe_str(value: object) -> str:
    """Return ``str(value)``, or a text that names the failure when that raises."""
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception as error:  # a hostile __str__ may raise anything
        let_pass(error)
        return failed(value, error)


class _Masker(Masks, Protocol):
    """Masks the secrets of an entry while it is cleaned: `metaexpert.logger.masking.rules.Masker`, which says how."""

    def text(self, text: str, limit: int, work: Work) -> tuple[str, int]: ...
    def option(self, word: Any) -> int: ...
    def pair(self, first: Any, second: Any, *, listed: bool) -> int: ...
    def told(self, fields: Mapping[Any, Any]) -> object: ...
    def number(self, number: int) -> bool: ...
    def known(self, text: str) -> bool: ...
    def secret(self) -> str: ...
    def harmless(self, texts: Set[str], limit: int, work: Work) -> Set[str]: ...
    def unnamed(self, names: Set[str], texts: Set[str]) -> bool: ...


class Cleaner:
    """Turns values into JSON types (str, int, float, bool, None, list, dict with str keys).

    Args:
        max_length: Longest text, in characters. A longer one is cut and marked.
        max_items: Most values over all levels; one that is hard to write or to search counts more. The rest is cut and
            marked.
        masker: Masks the secrets among them.
    """

    __slots__ = ("_encodes", "_harmless", "_masker", "_max_length", "_parent", "_path", "_work")

    def __init__(self, max_length: int, max_items: int, masker: _Masker | None = None) -> None:
        self._max_length = max_length
        self._work = Work(max_items)
        self._path: set[int] = set()
        self._masker = masker
        #: Texts of a large container that were searched together.
        self._harmless: Set[str] = frozenset()
        #: Whether large containers may be left as their JSON.
        self._encodes = False
        #: Name of the field that is being cleaned.
        self._parent = ""

    def clean(self, value: object) -> Any:
        """Return *value* as JSON types. Never raises an `Exception`."""
        self._work.left -= 1
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._integer(value)  # type: ignore[arg-type]
        if kind is float:
            return number(value)  # type: ignore[arg-type]
        try:
            return self._container(value) if kind in CONTAINERS else self._other(value)
        except Exception as error:  # hostile properties and iterators may raise anything
            let_pass(error)
            return self._last_resort(value)

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the *fields* of an entry, as `clean` does. Large ones come last and share the work that is left.

        Of their values, some may be `Encoded`, for `dumps`.
        """
        self._path.add(id(fields))
        masker = self._masker
        whole = self._whole(fields, masker) if masker is not None and len(fields) >= _LARGE else None
        self._encodes = True
        result = self._one_by_one(fields) if whole is None else whole
        left: dict[str, Any] = {
            name: fields[name] for name in schema.DOMAIN_FIELDS if name in fields and name not in result
        }
        return result | Cleaner(_SHORT, _SHORT, masker).fields(left) if left else result

    def _one_by_one(self, fields: dict[str, Any]) -> dict[str, Any]:
        work = self._work
        result: dict[str, Any] = {}
        large: list[tuple[int, str, str]] = []
        for done, (name, value) in enumerate(fields.items()):
            if work.left <= 0:
                result["…"] = f"…[cut {len(fields) - done}]"
                break
            key = self._new_key(name, result)
            if type(value) in _SMALL or (type(value) is str and len(value) <= _SHORT):
                result[key] = self._masked(name, key, value)
            else:
                result[key] = None  # its place
                large.append((len(value) if type(value) in _SIZED else _SHORT, key, name))
        large.sort(key=lambda field: field[0])
        for place, (_, key, name) in enumerate(large):
            share = max(max(work.left, 0) // (len(large) - place), min(work.left, _LEAST_SHARE))
            kept, work.left = work.left - share, share
            result[key] = self._masked(name, key, fields[name])
            work.left += kept
        return result

    def _last_resort(self, value: object) -> str:
        try:
            return self._text(repr(value))
        except Exception as error:  # a hostile __repr__ too
            let_pass(error)
            return self._text(failed(value, error))

    def key(self, key: object) -> str:
        """Return *key* as text: JSON's words for booleans and None, otherwise as the value would be written."""
        if type(key) is str:
            return self._text(key)
        if key is None or isinstance(key, bool):
            return {True: "true", False: "false", None: "null"}[key]
        cleaned = self.clean(key)
        return cleaned if isinstance(cleaned, str) else self._text(safe_str(key))

    def _new_key(self, raw: object, taken: dict[str, Any]) -> str:
        """Return the text of the key *raw* that is not *taken*: 1 and "1" are two keys."""
        key = self.key(raw)
        if key in taken:
            key += "_"
            number = 1
            while key in taken:
                number = max(number + 1, len(taken) // 2)
                key = f"{key}{number}_"
        return key

    def _text(self, text: str, beyond: int = 0) -> str:
        """Return *text* masked and cut; *beyond* its end, so much was cut off before."""
        if len(text) <= _LONGEST_HARMLESS and text in self._harmless:
            return text
        if self._masker is None:
            left_out = max(len(text) - self._max_length, 0) + beyond
            return no_surrogates(marked(text[: self._max_length], left_out) if left_out else text)
        text, left_out = self._masker.text(text, self._max_length, self._work)
        return marked(text, left_out + beyond)

    def _integer(self, value: int) -> Any:
        if self._masker is not None and self._masker.number(value):
            return self._masker.secret()
        self._work.left -= value.bit_length() >> 5
        return integer(value)

    def _bytes(self, value: bytes | bytearray | memoryview) -> str:
        room = self._max_length + _MOST_SECRET
        view = memoryview(value)
        if view.nbytes <= room or not view.c_contiguous:
            return self._text(bytes_text(value))
        return self._text(bytes_text(view.cast("B")[:room]), view.nbytes - room)

    def _other(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        for kinds, convert in SCALARS:
            if isinstance(value, kinds):
                self._work.left -= 2
                result = convert(value)
                return self._text(result) if isinstance(result, str) else result
        if hasattr(type(value), "get_secret_value"):  # pydantic's SecretStr and SecretBytes, by their interface
            return schema.MASK if self._masker is None else self._masker.secret()
        if isinstance(value, enum.Enum):
            return self.clean(member_value(value))
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self._integer(int.__int__(value))
        if isinstance(value, float):
            return number(float.__float__(value))
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._path:
            return self._text(f"<circular reference: {type(value).__name__}>")
        if len(self._path) >= MAX_DEPTH:
            return self._text(f"<nested too deep: {type(value).__name__}>")
        self._path.add(id(value))
        try:
            if type(value) in CONTAINERS:
                return self._usual(value)
            return self._inside(value)
        finally:
            self._path.discard(id(value))
            self._work.left -= 3

    def _usual(self, value: Any) -> Any:
        """Return a dict, list or tuple as JSON types."""
        masker, inner = self._masker, len(self._path) > 1
        large = masker is not None and len(value) >= _LARGE and inner and not self._harmless
        if large and masker and (whole := self._whole(value, masker)) is not None:
            return whole
        if type(value) is dict:
            # The fields of an entry itself are judged apart: some were bound before.
            return self._pairs(value.items(), len(value), masker.told(value) if inner and masker else None)
        if len(value) == 2 and masker is not None:
            return self._pair(value, masker)
        return self._items(value, len(value))

    def _whole(self, value: Any, masker: _Masker) -> Any:
        """Return a large dict, list or tuple, judged and written as a whole; None if each value has to be looked at."""
        count, room = len(value), max(self._work.left, 0) * _TOGETHER
        found = survey(value, room)
        if found.count > room:
            value = first_of(value, len(value) * room // (found.count * 2))
            found = survey(value, room)
        self._work.left -= found.count // (4 * _TOGETHER)
        texts = found.texts | found.names
        search = Work(self._work.left // 2)
        self._work.left -= search.left
        self._harmless = masker.harmless(texts, self._max_length, search)
        self._work.left += max(search.left, 0)
        if not (found.usual and self._harmless >= texts and masker.unnamed(found.names, found.texts)):
            return None
        if type(value) is dict and found.count == 2 * len(value) and not found.converted and not self._encodes:
            return value | (
                {"…": f"…[cut {count - len(value)}]"} if len(value) < count else {}
            )  # nothing in it can change
        data = orjson.dumps(value, _text_of, orjson.OPT_PASSTHROUGH_DATETIME)
        if found.converted and masker.known(data.decode()):
            return None
        self._work.left -= found.count // (2 * _TOGETHER)
        if self._encodes and len(value) == count:
            return Encoded(data)
        whole = orjson.loads(data)
        if len(value) < count:
            cut_off = f"…[cut {count - len(value)}]"
            if type(value) is dict:
                whole["…"] = cut_off
            else:
                whole.append(cut_off)
        return whole

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._pairs(value.items(), len(value))
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._pairs(zip(getattr(value, "_fields", ()), value, strict=False), len(value))
        if isinstance(value, Set) and not isinstance(value, KeysView | ItemsView):
            return self._items(_ordered(islice(value, max(self._work.left, 0) + 1)), len(value))
        if isinstance(value, tuple | list) and len(value) == 2 and self._masker is not None:
            return self._pair(value, self._masker)
        if isinstance(value, Sequence | deque | KeysView | ItemsView | ValuesView):
            return self._items(value, len(value))
        if (names := field_names(value)) is not None:
            if len(names) == 1 and stands_for(value, only := getattr(value, names[0], None)):
                return self.clean(only)
            return self._pairs(((n, getattr(value, n)) for n in names if hasattr(value, n)), len(names))
        if any(base.__module__ == "numpy" for base in type(value).__mro__):
            return self._array(value)
        self._work.left -= 15
        if (table := shape_text(value)) is not None:
            return self._text(table)
        if self._masker is not None and hasattr(type(value), "columns"):
            value = masked_table(value, self._masker)
        found = object_value(value, repr(value))
        return self._text(found) if type(found) is str else self.clean(found)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], count: int, told: object = None) -> dict[str, Any]:
        """Return *pairs* clean. The value of the field *told* is a secret."""
        result: dict[str, Any] = {}
        for done, (raw, value) in enumerate(pairs):
            if self._work.left <= 0:
                result["…"] = f"…[cut {max(count - done, 1)}]"
                break
            key = self._new_key(raw, result)
            if count >= _LARGE:  # there are names that look like those of secrets
                self._work.left -= 4
            if told is not None and raw is told and self._masker is not None:
                result[key] = self._named(1, value, self._masker)
            else:
                result[key] = self._masked(raw, key, value)
        return result

    def _masked(self, raw: object, key: str, value: object) -> Any:
        """Return the clean *value* of a field, masked when its name is secret."""
        masker = self._masker
        if masker is None:
            return self.clean(value)
        name = raw if type(raw) is str else bytes_text(raw) if isinstance(raw, bytes) else key
        if kind := masker.kind(self._parent, name):
            return self._named(kind, value, masker)
        before, self._parent = self._parent, name
        try:
            return self.clean(value)
        finally:
            self._parent = before

    def _named(self, kind: int, value: object, masker: _Masker) -> Any:
        """Return the text or value to write for a *value* whose name means *kind*."""
        before, self._masker = self._masker, None  # a value that is masked as a whole counts once
        try:
            cleaned = self.clean(value)
        finally:
            self._masker = before
        self._work.left -= 5
        return masker.named(kind, cleaned)

    def _items(self, values: Iterable[Any], count: int) -> list[Any]:
        result: list[Any] = []
        option, work = 0, self._work
        for value in values:
            if work.left <= 0:
                result.append(f"…[cut {max(count - len(result), 1)}]")
                break
            kind = type(value)
            if kind is float and not option and value - value == 0:
                work.left -= 1
                result.append(value)
                continue
            result.append(self._named(option, value, self._masker) if option and self._masker else self.clean(value))
            option = self._masker.option(value) if self._masker and kind is str and value[:1] == "-" else 0
        return result

    def _pair(self, pair: Sequence[Any], masker: _Masker) -> list[Any]:
        first, second = pair
        named = isinstance(first, str | bytes) and isinstance(second, str | bytes)
        kind = masker.pair(first, second, listed=isinstance(pair, list)) if named else 0
        if not kind:
            return self._items(pair, 2)
        return [self.clean(pair[0]), self._named(kind, pair[1], masker)]

    def _array(self, value: Any) -> Any:
        """Return NumPy scalars and arrays, by their interface and without an import of NumPy."""
        if value.dtype.kind in "mM":
            if not getattr(value, "ndim", 0) and value != value:  # noqa: PLR0124 - NaT is not equal to itself
                return "NaT"
            # NumPy returns units finer than microseconds as integers.
            unit = f"{'datetime64' if value.dtype.kind == 'M' else 'timedelta64'}[us]"
        else:
            unit = None
        if getattr(value, "ndim", 0):
            # Cut first, so that a million numbers do not become a million objects.
            room, count = min(max(self._work.left, 0), _MOST_BYTES // max(value.itemsize, 1)), value.size
            shown = value if count <= room else value.flat[: room + 1]
            return self._items((shown if unit is None else shown.astype(unit)).tolist(), count)
        item = (value if unit is None else value.astype(unit)).item()
        return self._text(repr(value)) if type(item) is type(value) else self.clean(item)


def _text_of(value: Any) -> str:
    """Return a value of `TEXTS` as its text, for orjson."""
    return TEXTS[type(value)](value)


def _ordered(values: Iterable[Any]) -> list[Any]:
    found = list(values)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=repr)
