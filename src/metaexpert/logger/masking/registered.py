"""Known values: the secrets that were registered, as they are and in every form that a log may show.

The forms are those encoded for a URL, in Base64 and in hexadecimal, and escaped as in JSON. There is one register for
the process, and a value stays in it.

Threads: any thread may call everything here. A search sees a value that is being registered in all its forms or not
at all.
"""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import quote, quote_plus

from metaexpert.logger.masking._pairs import Span
from metaexpert.logger.masking.shapes import SHORTEST
from metaexpert.logger.system.threads import RLock

#: Shorter values are refused. They would mask half of the log.
MIN_LENGTH: Final = 4
#: Shorter values, in bytes, are not looked for in hexadecimal or inside the Base64 of a longer text.
_MIN_ENCODED: Final = 8
#: Shortest line of a secret of several lines (a key in PEM) that is a form too: a log may show it line by line.
_MIN_LINE: Final = 16
#: A length that no text has.
_NEVER: Final = 1 << 62
#: By default, CPython reads no longer number.
_LONGEST_NUMBER: Final = 4000
_LONGEST_BITS: Final = 4 * _LONGEST_NUMBER
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


class SecretLike(Protocol):
    """Pydantic's SecretStr and SecretBytes, by their interface."""

    def get_secret_value(self) -> Any:
        """Return the hidden value."""


class Registered:
    """The known values of this process.

    Attributes:
        generation: Grows with each new value. Text that was searched in an earlier generation may hold one.
        shortest: Length of the shortest form; larger than any text while there is none.
        longest: Length of the longest form.
        forms: All forms of all values, shortest first.
        numbers: Known values that are whole numbers, and may be logged as such.
        reach: A shorter text without ``=`` and ``:`` holds no secret of any kind.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self.generation = 0
        #: Called after each change.
        self.watchers: list[Callable[[], None]] = []
        self._clear()

    def _clear(self) -> None:
        #: The values themselves.
        self.values: set[str | bytes] = set()
        self.forms: tuple[str, ...] = ()
        #: The forms inside Base64, whose neighbours go with them.
        self._encoded: frozenset[str] = frozenset()
        self.numbers: frozenset[int] = frozenset()
        self.shortest, self.longest, self.reach = _NEVER, 0, SHORTEST

    def add(self, value: str | bytes) -> bool:
        """Register *value*. Returns False if it is too short."""
        if len(value) < MIN_LENGTH:
            return False
        if value not in self.values:
            plain, encoded = forms_of(value)
            with self._lock:
                self.values.add(value)
                self._encoded |= frozenset(encoded)
                # Shortest first, so that a search can stop at the first form that is longer than the text.
                self.forms = tuple(sorted({*self.forms, *plain, *encoded}, key=len))
                self.shortest, self.longest = len(self.forms[0]), len(self.forms[-1])
                self.reach = min(self.shortest, SHORTEST)
                self.numbers |= {int(form) for form in plain if _is_number(form)}
                self._changed()
        return True

    def knows(self, number: float) -> bool:
        """Return whether *number* is a known value. To look up one of a million digits would take long."""
        return (
            bool(self.numbers)
            and (isinstance(number, float) or number.bit_length() < _LONGEST_BITS)
            and (number in self.numbers)
        )

    def forget(self) -> None:
        """Forget all values. Only for tests."""
        with self._lock:
            self._clear()
            self._changed()

    def _changed(self) -> None:
        self.generation += 1
        for watcher in self.watchers:
            watcher()

    def find(self, text: str) -> list[Span]:
        """Return where known values stand in *text*, in no order; they may overlap."""
        size = len(text)
        spans: list[Span] = []
        for form in self.forms:
            if len(form) > size:
                break
            if form in text:
                spans.extend(_whole_runs(text, form) if form in self._encoded else _occurrences(text, form))
        return spans


def _is_number(form: str) -> bool:
    return form.isascii() and form.isdecimal() and len(form) <= _LONGEST_NUMBER


def _occurrences(text: str, form: str) -> Iterable[Span]:
    position = text.find(form)
    while position >= 0:
        yield Span(position, position + len(form), "registered value")
        position = text.find(form, position + len(form))


def _whole_runs(text: str, form: str) -> Iterable[Span]:
    """Yield occurrences with the Base64 around them, which holds the ends of the secret."""
    position, done = text.find(form), 0
    while position >= 0:
        start, end = position, position + len(form)
        while start > done and text[start - 1] in _BASE64:
            start -= 1
        while end < len(text) and text[end] in _BASE64:
            end += 1
        while end < len(text) and text[end] == "=":
            end += 1
        yield Span(start, end, "registered value")
        position, done = text.find(form, end), end


registered: Final = Registered()


def register_secret(value: str | bytes | SecretLike) -> None:
    """Mask *value* from now on in everything that this process logs.

    The value and its URL-encoded, Base64, hexadecimal and JSON-escaped forms are masked in messages, names, values,
    tracebacks and the records of other libraries, even with ``mask_secrets=False``. Entries that were logged before
    stay as they are. White space around the value is ignored. A value cannot be unregistered.

    Args:
        value: A text, bytes, or a pydantic SecretStr or SecretBytes. A value of fewer than 4 characters would mask
            half of the log; it is not registered, and a warning says so.

    Raises:
        TypeError: For a value of another type. The message names the type, never the value.
    """
    if not add_secret(value):
        warnings.warn(
            f"a secret of fewer than {MIN_LENGTH} characters cannot be told from other text and is not masked",
            UserWarning,
            stacklevel=2,
        )


def add_secret(value: str | bytes | SecretLike) -> bool:
    """Register *value* as `register_secret` does, but return False instead of warning if it is too short."""
    hidden: Any = value
    if hasattr(type(value), "get_secret_value"):
        hidden = hidden.get_secret_value()
    if isinstance(hidden, str):
        return registered.add(str.__str__(hidden).strip())
    if isinstance(hidden, bytes | bytearray):
        raw = bytes(hidden).strip()
        try:
            return registered.add(raw.decode())
        except UnicodeDecodeError:
            return registered.add(raw)
    raise TypeError(f"a secret should be a str, bytes or SecretStr, not {type(hidden).__name__}")


def forms_of(value: str | bytes) -> tuple[list[str], list[str]]:
    """Return the forms of *value*: those that stand alone, and those that are a part of longer Base64."""
    if isinstance(value, bytes):
        text, raw = value.decode("utf-8", "backslashreplace"), value
    else:
        text, raw = value, value.encode("utf-8", "surrogatepass")
    exact = [text, *_quoted(text), *_escaped(text), repr(raw)[2:-1]]
    if len(raw) >= _MIN_ENCODED:
        exact += [raw.hex(), raw.hex().upper()]
    exact += [line for part in text.splitlines() if len(line := part.strip()) >= _MIN_LINE and line[:5] != "-----"]
    return [form for form in dict.fromkeys(exact) if len(form) >= MIN_LENGTH], _base64_forms(raw)


def _quoted(text: str) -> list[str]:
    quoted = partial(quote, text, errors="replace")  # lone surrogates, which UTF-8 cannot hold
    forms = [quoted(safe=""), quoted(), quote_plus(text, errors="replace"), quoted(safe="~()*!.'")]
    return [*forms, *(re.sub("%..", lambda code: code[0].lower(), form) for form in forms)]


def _escaped(text: str) -> list[str]:
    inner = json.dumps(text)[1:-1]
    forms = [inner, json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]]
    # Escaped twice, as JSON inside JSON is; and with escaped slashes, as some encoders write them.
    return [*forms, json.dumps(inner)[1:-1], inner.replace("/", "\\/")]


def _base64_forms(raw: bytes) -> list[str]:
    """Return the part of the Base64 of *raw* that does not depend on the bytes around it, for each of three offsets."""
    forms = []
    for shift in range(3 if len(raw) >= _MIN_ENCODED else 1):
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=").decode()
        first = -(-shift * 8 // 6)
        last = (shift + len(raw)) * 8 // 6
        core = encoded[first:last]
        if len(core) >= MIN_LENGTH:
            forms += [core, core.replace("+", "-").replace("/", "_")]
    return forms
