"""Turns any Python value into JSON types, within bounds and without exceptions.

`Cleaner` handles every value, and is the reference for faster ways. Nothing here keeps state between calls, so any
thread may use it.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import uuid
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sequence, Set, ValuesView
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

import orjson

from metaexpert.logger import schema
from metaexpert.logger.entry._survey import CONTAINERS, survey
from metaexpert.logger.entry._value_objects import member_value, object_value, stands_for
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.system.interrupts import let_pass

#: Levels of containers. orjson stops at 254.
MAX_DEPTH: Final = 64
#: By default, CPython does not print longer integers, and `json.loads` does not read them.
MAX_INT_BITS: Final = 14_000
_MIN_I64: Final = -(2**63)
_MAX_U64: Final = 2**64 - 1
#: Values from which on the texts of a container are searched together.
_LARGE: Final = 64
_LONE_SURROGATE: Final = lazy_pattern("[\ud800-\udfff]")
#: C1 controls, since a terminal may obey U+009B like ESC [, and the line separators that JSON does not escape.
_C1_OR_SEPARATOR: Final = lazy_pattern(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def cut(text: str, limit: int) -> str:
    """Return *text*, or its first *limit* characters and ``…[cut N]`` when it is longer (N characters)."""
    return text if len(text) <= limit else marked(text[:limit], len(text) - limit)


def marked(text: str, left_out: int) -> str:
    """Return *text*, with a mark at its end if *left_out* characters are missing."""
    return f"{text}…[cut {left_out}]" if left_out else text


def no_surrogates(text: str) -> str:
    """Return *text* with each lone surrogate as U+FFFD, since UTF-8 cannot hold one."""
    if text.isascii() or not _LONE_SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class BigInteger:
    """An integer beyond 64 bits, as its digits in a line. orjson does not accept one."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits


def dumps(cleaned: Any) -> bytes:
    """Return a value made by `Cleaner` as JSON, without a newline and without characters that a terminal obeys."""
    return escape_c1(orjson.dumps(cleaned, default=_digits))


def escape_c1(line: bytes) -> bytes:
    r"""Return the JSON text *line* with C1 controls and U+2028/2029 as ``\uXXXX``."""
    if line.isascii():
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


class _Masker(Protocol):
    """Masks the secrets of an entry while it is cleaned: `metaexpert.logger.masking.rules.Masker`, which says how."""

    def text(self, text: str, limit: int) -> tuple[str, int]: ...
    def kind(self, parent: str, name: str) -> int: ...
    def named(self, kind: int, value: Any) -> Any: ...
    def option(self, word: Any) -> int: ...
    def pair(self, first: Any, second: Any, *, listed: bool) -> int: ...
    def told(self, fields: Mapping[Any, Any]) -> object: ...
    def number(self, number: int) -> bool: ...
    def secret(self) -> str: ...
    def harmless(self, texts: Set[str], limit: int) -> Set[str]: ...
    def unnamed(self, names: Set[str], texts: Set[str]) -> bool: ...


class Cleaner:
    """Turns values into JSON types (str, int, float, bool, None, list, dict with str keys).

    Args:
        max_length: Longest text, in characters. A longer one is cut and marked.
        max_items: Most values in one entry over all levels. The rest is cut and marked.
        masker: Masks the secrets among them.
    """

    __slots__ = ("_harmless", "_left", "_masker", "_max_length", "_parent", "_path")

    def __init__(self, max_length: int, max_items: int, masker: _Masker | None = None) -> None:
        self._max_length = max_length
        self._left = max_items
        self._path: set[int] = set()
        self._masker = masker
        #: Texts of a large container that were searched together.
        self._harmless: Set[str] = frozenset()
        #: Name of the field that is being cleaned.
        self._parent = ""

    def clean(self, value: object) -> Any:
        """Return *value* as JSON types. Never raises an `Exception`."""
        self._left -= 1
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._integer(value)  # type: ignore[arg-type]
        if kind is float:
            return _number(value)  # type: ignore[arg-type]
        try:
            return self._container(value) if kind in CONTAINERS else self._other(value)
        except Exception as error:  # hostile properties and iterators may raise anything
            let_pass(error)
            return self._last_resort(value)

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

    def _text(self, text: str) -> str:
        if text in self._harmless:
            return text
        if self._masker is None:
            return no_surrogates(cut(text, self._max_length))
        if not text.isascii():  # surrogates first: two of them may become one character, and part of a secret
            text = no_surrogates(text)
        text, left_out = self._masker.text(text, self._max_length)
        return marked(text, left_out) if left_out else text

    def _integer(self, value: int) -> Any:
        if self._masker is not None and self._masker.number(value):
            return self._masker.secret()
        return _integer(value)

    def _other(self, value: Any) -> Any:
        for kinds, convert in _SCALARS:
            if isinstance(value, kinds):
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
            return _number(float.__float__(value))
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, BigInteger):  # cleaned before
            return value if len(value.digits) <= self._max_length else self._text(value.digits)
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

    def _usual(self, value: Any) -> Any:
        """Return a dict, list or tuple as JSON types."""
        masker = self._masker
        if masker is not None and len(value) >= _LARGE and len(self._path) > 1 and not self._harmless:
            found = survey(value, self._left)
            texts = found.texts | found.names
            self._harmless = masker.harmless(texts, self._max_length)
            if found.usual and self._harmless >= texts and masker.unnamed(found.names, found.texts):
                self._left -= found.count
                return orjson.loads(orjson.dumps(value))
        if type(value) is dict:
            # The fields of an entry itself are judged apart: some were bound before.
            inner = masker is not None and len(self._path) > 1
            return self._pairs(value.items(), len(value), masker.told(value) if inner and masker else None)
        if len(value) == 2 and masker is not None:
            return self._pair(value, masker)
        return self._items(value, len(value))

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._pairs(value.items(), len(value))
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._pairs(zip(getattr(value, "_fields", ()), value, strict=False), len(value))
        if isinstance(value, Set) and not isinstance(value, KeysView | ItemsView):
            return self._items(_ordered(value), len(value))
        if isinstance(value, tuple | list) and len(value) == 2 and self._masker is not None:
            return self._pair(value, self._masker)
        if isinstance(value, Sequence | deque | KeysView | ItemsView | ValuesView):
            return self._items(value, len(value))
        if (names := _field_names(value)) is not None:
            if len(names) == 1 and stands_for(value, only := getattr(value, names[0], None)):
                return self.clean(only)
            return self._pairs(((n, getattr(value, n)) for n in names if hasattr(value, n)), len(names))
        if any(base.__module__ == "numpy" for base in type(value).__mro__):
            return self._array(value)
        found = object_value(value, repr(value))
        return self._text(found) if type(found) is str else self.clean(found)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], count: int, told: object = None) -> dict[str, Any]:
        """Return *pairs* clean. The value of the field *told* is a secret."""
        result: dict[str, Any] = {}
        for done, (raw, value) in enumerate(pairs):
            if self._left <= 0:
                result["…"] = f"…[cut {count - done}]"
                break
            key = self.key(raw)
            while key in result:  # 1 and "1" are two keys
                key += "_"
            if self._masker is None:
                result[key] = self.clean(value)
            elif told is not None and raw == told:
                result[key] = self._named(1, value, self._masker)
            else:
                result[key] = self._masked(raw, key, value, self._masker)
        return result

    def _masked(self, raw: object, key: str, value: object, masker: _Masker) -> Any:
        """Return the clean *value* of a field, masked when its name is secret."""
        name = raw if type(raw) is str else _bytes(raw) if isinstance(raw, bytes) else key
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
        return masker.named(kind, cleaned)

    def _items(self, values: Iterable[Any], count: int) -> list[Any]:
        result: list[Any] = []
        option = 0
        for value in values:
            if self._left <= 0:
                result.append(f"…[cut {count - len(result)}]")
                break
            kind = type(value)
            if kind is float and not option and value - value == 0:
                self._left -= 1
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
            value = value.astype(f"{'datetime64' if value.dtype.kind == 'M' else 'timedelta64'}[us]")
        if getattr(value, "ndim", 0):
            # Cut first, so that a million numbers do not become a million objects.
            room = max(self._left, 0)
            return self._items((value if value.size <= room else value.ravel()[: room + 1]).tolist(), value.size)
        item = value.item()
        return self._text(repr(value)) if type(item) is type(value) else self.clean(item)


def _integer(value: int) -> Any:
    if _MIN_I64 <= value <= _MAX_U64:
        return value
    return BigInteger(str(value)) if value.bit_length() <= MAX_INT_BITS else hex(value)


def _digits(value: object) -> orjson.Fragment:
    if isinstance(value, BigInteger):
        return orjson.Fragment(value.digits)
    raise TypeError(type(value).__name__)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")  # noqa: PLR0124


def _datetime(value: datetime) -> str:
    if value != value:  # noqa: PLR0124 - pandas.NaT is a datetime that is not equal to itself
        return "NaT"
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # year 1 or 9999 with an offset that leaves the calendar
        return value.isoformat()
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


def _ordered(values: Set[Any]) -> Iterable[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _field_names(value: Any) -> list[str] | None:
    """Return the fields of a dataclass, Pydantic, attrs or msgspec object that its `repr` shows."""
    kind = type(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    if isinstance(fields := getattr(kind, "__pydantic_fields__", None), dict):
        return [name for name, field in fields.items() if field.repr] + list(getattr(value, "model_extra", None) or ())
    if isinstance(attributes := getattr(kind, "__attrs_attrs__", None), tuple):
        return [attribute.name for attribute in attributes if attribute.repr]
    if isinstance(names := getattr(kind, "__struct_fields__", None), tuple):
        return list(names)
    return None


#: Types whose values are written as a short ASCII text. A log call finds them by their exact type, without trying the
#: others.
TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    Decimal: str,
    datetime: _datetime,
    date: date.isoformat,
    time: time.isoformat,
    uuid.UUID: str,
}

#: The same and more by their classes, most frequent in a trading log first.
_SCALARS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    *TEXTS.items(),
    (timedelta, lambda v: _number(v.total_seconds())),
    (os.PathLike, lambda v: _bytes(p) if isinstance(p := os.fspath(v), bytes) else p),
    ((bytes, bytearray, memoryview), _bytes),
    (Fraction, str),
)
