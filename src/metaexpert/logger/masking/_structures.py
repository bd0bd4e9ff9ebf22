"""Secrets whose name does not stand right before them: ``{"name": "API_KEY", "value": "…"}``, arguments by position.

Pure functions; safe to use from any thread. Every pattern takes linear time.

Sources of the calls with positional arguments: the pages on authentication of Bybit's (``op: auth``), BitMEX'
(``op: authKeyExpires``), Phemex' (``method: user.auth``) and CoinEx' (``method: server.sign``) WebSocket references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking import _values
from metaexpert.logger.masking._pairs import Span
from metaexpert.logger.masking.names import ACCOUNT, PLAIN, Names

_QUOTE: Final = r"""\\*+["']"""
_NAMED_VALUE: Final = lazy_pattern(
    rf"""[KkNnHh](?<![A-Za-z][KkNnHh])(?:ey|ame|eader)(?:{_QUOTE})?+\s{{0,4}}+[:=]\s{{0,4}}+b?(?:{_QUOTE})?+
        ([\w.\-]{{2,80}}+)(?:{_QUOTE})?+(?:[,;]\s{{0,40}}+|\s{{1,40}}+)b?(?:{_QUOTE})?+[Vv]al(?:ue)?(?:{_QUOTE})?+
        \s{{0,4}}+[:=]\s{{0,4}}+b?({_QUOTE})?+""",
    re.VERBOSE,
)
#: ``{"key": "…", "secret": "…"}``, as configurations of exchanges have it.
_KEY_BESIDE: Final = lazy_pattern(
    rf"""[Kk]ey(?<![\w\-]...)(?:{_QUOTE})?+\s{{0,4}}+[:=]\s{{0,4}}+{_QUOTE}(?=[^"'\\\r\n\d]*+\d)([^\s"'\\]{{8,128}}+){_QUOTE},
        \s{{0,40}}+(?:{_QUOTE})?+(?:api[_]?)?[Ss]ecret(?![A-Za-z])""",
    re.VERBOSE,
)
_BARE: Final = lazy_pattern(r"""[^\s"',;}\]<>]++""")
#: Calls by which a client signs in, their arguments in a list without names.
SIGN_IN: Final = lazy_pattern(
    r"(?:[a-z]++\.)?auth(?:KeyExpires|enticate|orize)?|(?:[a-z]++\.)?login|server\.sign|logon", re.IGNORECASE
)
CALLS: Final = frozenset(("op", "method", "event", "action", "cmd"))
ARGUMENTS: Final = frozenset(("args", "params", "arguments"))
_CALL: Final = lazy_pattern(
    rf"""{_QUOTE}(?:{"|".join(sorted(CALLS))}){_QUOTE}\s?:\s?{_QUOTE}([\w.]{{4,20}}+){_QUOTE}"""
)
_ARGUMENTS: Final = lazy_pattern(rf"""{_QUOTE}(?:{"|".join(sorted(ARGUMENTS))}){_QUOTE}\s?:\s?(\[\s?{_QUOTE})""")
_NEAR: Final = 400
_LIST: Final = lazy_pattern(r"""\[(?:[^\[\]"'\\]|\\*+"[^"\r\n]*+"|\\*+'[^'\r\n]*+'|\\)*+\]?""")
#: Names of fields that hold a name, and of those that hold its value.
NAME_FIELDS: Final = frozenset(("name", "key", "header", "Name", "Key"))
VALUE_FIELDS: Final = frozenset(("value", "val", "Value"))


def find_structures(text: str, names: Names) -> Iterator[Span]:
    """Yield the secrets in *text* that a structure around them tells."""
    if "alue" in text or "val" in text:
        yield from _named_values(text, names)
    if "ecret" in text:
        for match in _KEY_BESIDE.finditer(text):
            if not _values.is_nothing(match[1]):
                yield Span(*match.span(1), "name key")
    if "args" in text or "params" in text or "arguments" in text:
        for call in _CALL.finditer(text):
            if SIGN_IN.fullmatch(call[1]) is not None:
                yield from _arguments(text, call.start(), call.end())


def _named_values(text: str, names: Names) -> Iterator[Span]:
    for match in _NAMED_VALUE.finditer(text):
        if (kind := names.kind(match[1])) == PLAIN or kind == ACCOUNT:
            continue
        begin = match.end()
        if match[2]:
            end = text.find(match[2], begin)
            end = min((e for e in (end, text.find("\n", begin)) if e >= 0), default=len(text))
        else:
            bare = _BARE.match(text, begin)
            end = begin if bare is None else bare.end()
        found = text[begin:end]
        plain = _values.is_nothing(found) or _values.is_plain(kind, found) or _values.is_word(found)
        if not plain and not found.replace(".", "").isdigit():
            yield Span(begin, end, f"name {match[1]}")


def _arguments(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the list of arguments before or after a call that stands from *start* to *end*."""
    match = _ARGUMENTS.search(text, end, end + _NEAR)
    if match is None:
        for match in _ARGUMENTS.finditer(text, max(0, start - _NEAR), start):  # noqa: B007 - the last one is meant
            pass
    if match is not None and (found := _LIST.match(text, match.start(1))) is not None:
        yield Span(found.start(), found.end(), "arguments of a sign-in")


def named_value(fields: Mapping[Any, Any]) -> tuple[str, str] | None:
    """Return the name that an object of a name and its value holds, and the field of the value; None if it is none."""
    if len(fields) > 12:
        return None
    value = next((key for key in fields if type(key) is str and key in VALUE_FIELDS), None)
    if value is None:
        return None
    for key, name in fields.items():
        if type(key) is str and key in NAME_FIELDS and type(name) is str:
            return name, value
    return None


def sign_in(fields: Mapping[Any, Any]) -> str | None:
    """Return the field with the positional arguments of a sign-in; None if *fields* are none."""
    if len(fields) > 12:
        return None
    arguments = next((key for key in fields if type(key) is str and key in ARGUMENTS), None)
    if arguments is None or not isinstance(fields[arguments], list | tuple):
        return None
    if not any(type(item) is str for item in fields[arguments]):
        return None
    called = (fields[key] for key in fields if type(key) is str and key in CALLS)
    return arguments if any(type(name) is str and SIGN_IN.fullmatch(name) for name in called) else None
