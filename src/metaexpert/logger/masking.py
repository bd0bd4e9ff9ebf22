"""No secret gets out: known values, secret names and shapes become ``***``.

Three layers, in one go over a text (`mask_text`) or over the fields of an entry (`Guard`, used by
`metaexpert.logger.values.Cleaner`):

1. *Known values*, wherever they stand: what was registered, as it is and encoded for a URL, in Base64, in
   hexadecimal, and escaped as in JSON. The register is the process's; nothing is ever taken out of it.
2. *Names* of fields at any depth (`metaexpert.logger.secret_names`).
3. *Shapes* inside texts (`metaexpert.logger.secret_shapes`).

With `mask_secrets=False` only the first layer is left, and what is a SecretStr.

Threads: everything may be called by any thread. Readers see the register as it was or as it is, never in between.
"""

from __future__ import annotations

import base64
import json
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote, quote_plus

from metaexpert.logger.secret_names import ACCOUNT, AMBIGUOUS, NAMES, PLAIN, SECRETS, SIGN, Names, is_secret_name
from metaexpert.logger.secret_pairs import ACCOUNT_RULE, ACCOUNT_SHORT, ACCOUNT_TAIL, Span
from metaexpert.logger.secret_shapes import SHORTEST, find_shapes
from metaexpert.logger.values import TEXTS, Cleaner

__all__ = [
    "ACCOUNT_RULE",
    "MASK",
    "Guard",
    "Rules",
    "is_secret_name",
    "mask_text",
    "mask_tree",
    "register_secret",
    "registered",
]

MASK: Final = "***"
#: Shorter values are not registered: they would mask half of the log.
MIN_LENGTH: Final = 4
#: Shorter values have no hexadecimal form and no Base64 form inside that of a longer text.
_MIN_ENCODED: Final = 8
#: Lines of a longer secret (a key in PEM) that are registered too, since a log may show it line by line.
_MIN_LINE: Final = 16
#: A length that no text has.
_NEVER: Final = 1 << 62
#: CPython reads no longer number by default.
_LONGEST_NUMBER: Final = 4000
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
#: How much more than its limit of a text is searched, so that a secret across the limit is seen whole.
_MARGIN: Final = 4096


class SecretLike(Protocol):
    """Pydantic's SecretStr and SecretBytes, by their interface."""

    def get_secret_value(self) -> Any:
        """Return what is hidden."""
        ...


class Registered:
    """The known values of this process.

    Attributes:
        era: Grows whenever a value comes in; what was made before may hold it.
        shortest: Length of the shortest form of a value; larger than any text while there is none.
        longest: Length of the longest one.
        forms: The forms that are masked as they are.
        encoded: Those inside Base64, whose neighbours go with them.
        numbers: Those that are numbers: they might be logged as such.
        reach: A text that is shorter, and has neither ``=`` nor ``:``, holds no secret of any kind.
    """

    __slots__ = ("_lock", "_values", "encoded", "era", "forms", "longest", "numbers", "reach", "shortest", "watchers")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.era = 0
        self._values: set[str | bytes] = set()
        self.forms: tuple[str, ...] = ()
        self.encoded: tuple[str, ...] = ()
        self.numbers: frozenset[int] = frozenset()
        self.shortest, self.longest, self.reach = _NEVER, 0, SHORTEST
        #: Called after each change.
        self.watchers: list[Callable[[], None]] = []

    def add(self, value: str | bytes) -> bool:
        """Register *value*. Returns False when it is too short."""
        if len(value) < MIN_LENGTH:
            return False
        if value not in self._values:
            plain, encoded = forms_of(value)
            with self._lock:
                self._values.add(value)
                # By length, so that a search ends with those that are longer than the text.
                self.forms = tuple(sorted({*self.forms, *plain}, key=len))
                self.encoded = tuple(sorted({*self.encoded, *encoded}, key=len))
                lengths = [len(form) for form in (*self.forms, *self.encoded)]
                self.shortest, self.longest = min(lengths), max(lengths)
                self.reach = min(self.shortest, SHORTEST)
                self.numbers = frozenset(int(form) for form in self.forms if _is_number(form))
                self._changed()
        return True

    def forget(self) -> None:
        """Forget everything. For tests alone."""
        with self._lock:
            self._values.clear()
            self.forms = self.encoded = ()
            self.numbers = frozenset()
            self.shortest, self.longest, self.reach = _NEVER, 0, SHORTEST
            self._changed()

    def _changed(self) -> None:
        self.era += 1
        for watcher in self.watchers:
            watcher()

    def find(self, text: str) -> list[Span]:
        """Return where known values stand in *text*, in no order; they may overlap."""
        size = len(text)
        if size < self.shortest:
            return []
        spans: list[Span] = []
        for forms, look in ((self.forms, _occurrences), (self.encoded, _whole_runs)):
            for form in forms:
                if len(form) > size:
                    break
                if form in text:
                    spans.extend(look(text, form))
        return spans


def _is_number(form: str) -> bool:
    return form.isascii() and form.isdecimal() and len(form) <= _LONGEST_NUMBER


def _occurrences(text: str, form: str) -> Iterable[Span]:
    position = text.find(form)
    while position >= 0:
        yield Span(position, position + len(form), "registered value")
        position = text.find(form, position + len(form))


def _whole_runs(text: str, form: str) -> Iterable[Span]:
    """Yield occurrences with the Base64 around them: its neighbours hold the ends of the secret."""
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
    """Have *value* masked from now on, wherever it stands in whatever is logged in this process.

    Masked are the value itself and its URL-encoded, Base64, hexadecimal and JSON-escaped forms, in messages, names,
    values, tracebacks, and records of other libraries; also with ``mask_secrets=False``. What was logged before stays
    as it is. White space around the value does not belong to it. It cannot be taken back.

    Args:
        value: A text, bytes, or a pydantic SecretStr or SecretBytes. One of fewer than 4 characters is not
            registered, with a warning: it would mask half of the log.

    Raises:
        TypeError: For a value of another type; its type is named, never the value.
    """
    if not add_secret(value):
        warnings.warn(
            f"a secret of fewer than {MIN_LENGTH} characters cannot be told from other text and is not masked",
            UserWarning,
            stacklevel=2,
        )


def add_secret(value: str | bytes | SecretLike) -> bool:
    """Do what `register_secret` does, but return False for a value that is too short instead of warning."""
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
    """Return the texts by which *value* is recognised: those that are exact, and those within Base64."""
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
    safe = no_lone(text)
    forms = [quote(safe, safe=""), quote(safe), quote_plus(safe), quote(safe, safe="~()*!.'")]
    return [*forms, *(_lower_percent(form) for form in forms)]


def no_lone(text: str) -> str:
    """Return *text* without lone surrogates, which no encoding holds."""
    return text.encode("utf-8", "replace").decode()


def _lower_percent(text: str) -> str:
    first, *rest = text.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _escaped(text: str) -> list[str]:
    inner = json.dumps(text)[1:-1]
    forms = [inner, json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]]
    # Once more, for JSON inside JSON; and with the slash that some encoders escape.
    return [*forms, json.dumps(inner)[1:-1], inner.replace("/", "\\/")]


def _base64_forms(raw: bytes) -> list[str]:
    """Return what of the Base64 of *raw* does not depend on its neighbours, for each of the three ways it may begin."""
    forms = []
    for shift in range(3 if len(raw) >= _MIN_ENCODED else 1):
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=").decode()
        first = -(-shift * 8 // 6)
        last = (shift + len(raw)) * 8 // 6
        core = encoded[first:last]
        if len(core) >= MIN_LENGTH:
            forms += [core, core.replace("+", "-").replace("/", "_")]
    return forms


class Rules:
    """What is masked besides known values. Safe to share between threads.

    Args:
        shapes: Whether names and shapes are masked (`mask_secrets`).
        extra_keys: More secret names (`extra_secret_keys`).
    """

    __slots__ = ("names", "shapes")

    def __init__(self, *, shapes: bool = True, extra_keys: Iterable[str] = ()) -> None:
        self.shapes: Final = shapes
        extra = tuple(extra_keys)
        self.names: Final = Names(extra) if extra else NAMES

    def find(self, text: str) -> list[Span]:
        """Return the secrets in *text*, merged and in order."""
        spans = registered.find(text)
        if self.shapes:
            spans += find_shapes(text, self.names)
        return _merged(spans) if spans else spans

    def mask(self, text: str) -> tuple[str, int]:
        """Return *text* with each secret in it as ``***``, and how many there were. Never raises an `Exception`."""
        spans = self.find(text)
        return (_replaced(text, spans), len(spans)) if spans else (text, 0)

    def harmless(self, text: str) -> bool:
        """Return whether nothing in *text* is a secret."""
        return not self.find(text)

    def clear(self, fields: Mapping[str, Any], parent: str = "") -> bool:
        """Return whether there is nothing to mask in *fields*, of JSON types; False when that is hard to tell."""
        kind_below, harmless = self.names.kind_below, self.harmless
        return all(
            harmless(name) and not (self.shapes and kind_below(parent, name)) and self.clear_value(value, name)
            for name, value in fields.items()
        )

    def clear_value(self, value: Any, parent: str) -> bool:
        """Return the same for the value of the field *parent*."""
        kind = type(value)
        if kind is str:
            return self.harmless(value)
        if kind is int:
            return value not in registered.numbers
        if kind is dict:
            return self.clear(value, parent)
        if kind is list or kind is tuple:
            return all(self.clear_value(item, parent) for item in value) and not (
                self.shapes and self._is_paired(value)
            )
        # Numbers and times that are written as text have no shape, but may be known.
        return kind not in TEXTS or not registered.find(TEXTS[kind](value))

    def _is_paired(self, values: Sequence[Any]) -> bool:
        """Return whether one of *values* may be a name or an option whose value is the next one."""
        return any(type(value) is str and self.names.kind(value.lstrip("-")) for value in values)


#: The rules where there is no configuration.
RULES: Final = Rules()


def _merged(spans: list[Span]) -> list[Span]:
    spans.sort()
    merged = [spans[0]]
    for span in spans[1:]:
        last = merged[-1]
        if span.start <= last.end:
            if span.end > last.end:
                merged[-1] = Span(last.start, span.end, last.rule)
        else:
            merged.append(span)
    return merged


def _replaced(text: str, spans: list[Span]) -> str:
    parts, position = [], 0
    for span in spans:
        parts += [text[position : span.start], MASK]
        position = span.end
    return "".join([*parts, text[position:]])


def mask_text(text: str) -> str:
    """Return *text* with every secret in it as ``***``: known values, and shapes.

    Total and linear in the length of the text; never raises an `Exception`. Safe to call from any thread.

    Args:
        text: Any text: a message, a traceback, a line of a file.
    """
    return RULES.mask(text)[0]


def mask_tree(value: Any, rules: Rules = RULES) -> tuple[Any, int]:
    """Return a decoded JSON *value* with the secrets in it masked, and how many there were.

    Args:
        value: str, int, float, bool, None, and lists and dicts of them.
        rules: What is masked.
    """
    guard = Guard(rules)
    return Cleaner(_NEVER, _NEVER, guard).clean(value), guard.count


class Guard:
    """Masks what belongs to one entry, and counts. Not shared between threads.

    Args:
        rules: What is masked.
    """

    __slots__ = ("count", "rules")

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules: Final = rules
        self.count = 0

    def text(self, text: str, limit: int) -> tuple[str, int]:
        """Return *text* masked, and how many of its characters are not in it since they are beyond *limit*.

        It is masked first and cut afterwards: a part of a secret is one too.
        """
        beyond = len(text) - limit - max(_MARGIN, registered.longest)
        if beyond > 0:
            text = text[:-beyond]
        text, count = self.rules.mask(text)
        self.count += count
        left_out = max(beyond, 0) + max(len(text) - limit, 0)
        return (text[:limit] if left_out else text), left_out

    def kind(self, parent: str, name: str) -> int:
        """Return what a field's *name* means (see `secret_names`), in the object under *parent*."""
        return self.rules.names.kind_below(parent, name) if self.rules.shapes else PLAIN

    def option(self, word: Any) -> int:
        """Return what the option *word* of a command line (``--api-key``) means."""
        return self.kind("", word.lstrip("-")) if type(word) is str and word[:1] == "-" else PLAIN

    def pair(self, first: Any, second: Any) -> int:
        """Return what *first* means as the name of *second*, in a tuple of both such as a header."""
        if not (isinstance(first, str | bytes) and isinstance(second, str | bytes)):
            return PLAIN
        name = first.decode("utf-8", "replace") if isinstance(first, bytes) else first
        # ("token", "price") are two words; a header's value is more than that.
        word = isinstance(second, str) and second.isalpha() and second.islower() and name.lower() in AMBIGUOUS
        return PLAIN if word else self.kind("", name)

    def secret(self) -> str:
        """Count a secret, and return what stands in for it."""
        self.count += 1
        return MASK

    def number(self, number: int) -> bool:
        """Return whether an integer is a known value."""
        return number in registered.numbers

    def named(self, kind: int, value: Any) -> Any:
        """Return what to write of a clean *value* under a name that means *kind*."""
        if value is None or isinstance(value, bool) or value in ("", MASK) or value in ([], {}):
            return value
        if kind == ACCOUNT and not isinstance(value, list | dict):
            text = str(value)
            if text.startswith(MASK) and len(text) <= len(MASK) + ACCOUNT_TAIL:  # masked before
                return value
            if self.rules.harmless(text):
                return MASK if len(text) <= ACCOUNT_SHORT else MASK + text[-ACCOUNT_TAIL:]
        counts = kind == SECRETS or (kind == SIGN and value in (-1, 0, 1))
        if counts and isinstance(value, int | float) and value not in registered.numbers:
            return value
        return self.secret()
