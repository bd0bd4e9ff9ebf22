"""Source code after a secret name: ``password=config.password``, ``token = get_token()``, ``secret: Optional[str]``.

Code names where a secret is and does not show it, except in literals. A value without quotes is code if it is an
attribute, a call or an index, or repeats the name before it. In the source line of a traceback, it always is.

Pure functions; safe to use from any thread. Every pattern takes linear time, and no expression is followed for more
than a few hundred characters.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking.names import PLAIN, Names, word_set, words

#: Characters of an expression, and of the lines before it, that are looked at.
_LONGEST: Final = 400
_MOST_PARTS: Final = 8
_PATH: Final = lazy_pattern(r"(?:(?:await|not|return|yield|lambda:)[ ])?[&*!]?[A-Za-z_]\w*+(?:\??\.[A-Za-z_]\w*+)*+")
_MORE: Final = lazy_pattern(r"\??\.[A-Za-z_]\w*+")
_END: Final = lazy_pattern(r"[\s,;)\]}]|\Z|:(?=\s|\Z)|\.(?=\s|\Z)|[\"'`](?=[\s,;)\]}]|\Z)")
_OPERATION: Final = lazy_pattern(r"[ ](?:[+%|&]|or|and|if|is|in|else|for|==|!=)[ ]")
_STRING: Final = lazy_pattern(r"""[bBrRuUfF]{0,2}(?:"((?:[^"\\\r\n]|\\.)*+)"|'((?:[^'\\\r\n]|\\.)*+)')""")
_DEFAULT: Final = lazy_pattern(r"""[ ](?:or|else|\?\?|\|\|)[ ][bBrRuU]?["']([^"'\r\n]*+)["']""")
_NAMES_ALONE: Final = lazy_pattern(r"\(?\[?[A-Za-z_][\w.]*+(?:, ?[A-Za-z_][\w.]*+)*+,?\]?\)?")
_TYPE: Final = lazy_pattern(
    r"""(?:typing\.|t\.|pydantic\.)?(?:(?:Optional|Union|Annotated|Final|Literal|List|Dict|Sequence|list|dict|tuple|type)
        \[[^\r\n=]{0,100}?\]|Secret(?:Str|Bytes)|Any|None|str|bytes|int|SecretKey)(?:[ ]\|[ ](?:None|str|bytes))*+
        (?=[ ]?[,)=]|[ ]*+(?:\#|$))|(?:[A-Z]\w{1,40}[ ]\|[ ]){1,4}None""",
    re.VERBOSE | re.MULTILINE,
)
_DEFINITION: Final = lazy_pattern(r"[ \t]{0,40}+(?:async[ ])?def[ ]\w++\(")
_SOURCE: Final = lazy_pattern(r"""[ \t]*+File "[^"\r\n]*+", line \d""")
#: Names at the beginning of a path in code.
_ROOTS: Final = word_set("""
    self cls this config cfg conf settings setting args kwargs os sys env environ params param options opts ctx context
    request req response resp res session app client exchange process data payload row user account credentials creds
    secrets keys auth obj parser state constants vault props configuration configparser keyring getpass hmac hashlib
    base64 secrets jwt json parsed ns namespace event message msg bot st web request parameters headers
    """)
#: Words that name a secret in code.
_WHOLE: Final = frozenset(
    ("signature", "secret", "token", "credentials", "auth", "key", "sign", "sig", "passphrase", "otp")
)
_ALGORITHM: Final = lazy_pattern(
    r"(?:b(?=64|32)|sha|md|base|secp|[hre]s|aes|ed|x|utf|hmac|rsa|pbkdf)[\-_]?\d", re.IGNORECASE
)
_UNCLOSED: Final = lazy_pattern(r"[(\[{][ \t]*+(?:[\r\n]|\Z|\\n)")


class Code(NamedTuple):
    """An expression in a text: its literals that may be secrets, and all of them, in which no names are sought."""

    literals: list[tuple[int, int]]
    strings: list[tuple[int, int]]


class Before(Protocol):
    """What stands before a value."""

    @property
    def name(self) -> str:
        """The secret name."""

    @property
    def separator(self) -> str:
        """What stands between the name and the value."""

    @property
    def quoted_name(self) -> bool:
        """Whether the name stands in quotes."""


def code_at(text: str, start: int, before: Before, names: Names) -> Code | None:
    """Return the expression that begins at *start*, *before* which a secret name stands; None if this is a value."""
    name = before.name
    path = _PATH.match(text, start, start + _LONGEST)
    if path is None:
        return _bracketed(text, start, names)
    first, bare = path[0].lstrip("&*!"), path[0].rpartition(" ")[2].lstrip("&*!")
    if _TYPE.match(text, start) is not None:
        return Code([], [])
    end, parts, found = path.end(), 0, Code([], [])
    if _UNCLOSED.match(text, end) is not None and (parts_of(bare) > 1 or "_" in bare):
        return found
    while end < len(text) and text[end] in "([" and parts < _MOST_PARTS:
        closed = _closed(text, end)
        if closed == 0 or not _is_argument(text, end, closed, bare, found):
            break
        more = _MORE.match(text, closed)
        end, parts = (closed if more is None else more.end()), parts + 1
    if _END.match(text, end) is None:
        return None
    if (default := _DEFAULT.match(text, end)) is not None and _is_random(default[1]):
        found.literals.append(default.span(1))
    known = (
        parts > 0
        or first != bare
        or _is_known(bare, name, names, text[start - 1 : start] + text[end : end + 1])
        or _is_operation(text, end, bare, name)
    )
    known = known or (before.quoted_name and before.separator in (":", "=") and _is_compound(bare))
    return found if known or in_source(text, start) else None


def parts_of(path: str) -> int:
    """Return how many names a *path* has."""
    return path.count(".") + 1


def _is_compound(path: str) -> bool:
    """Return whether *path* is a name of code rather than a word: ``secretKey``, ``_key``, ``BadRequest``."""
    compound = "_" in path or (not path.islower() and not path.isupper() and not path.istitle())
    return path in _WHOLE or (compound and not any(c.isdigit() for c in path))


def in_source(text: str, position: int) -> bool:
    """Return whether *position* is in the source line of a traceback, and there outside of a string."""
    line = text.rfind("\n", max(0, position - _LONGEST), position)
    if _DEFINITION.match(text, line + 1) is not None:
        return True
    if line < 0 or not text.startswith("    ", line + 1):
        return False
    before = text.rfind("\n", max(0, line - _LONGEST), line)
    if _SOURCE.match(text, before + 1, line) is None:
        return False
    strings = _STRING.finditer(text, line + 1, position + _LONGEST)
    return not any(string.start() < position < string.end() for string in strings)


def _bracketed(text: str, start: int, names: Names) -> Code | None:
    """Return the names in brackets that begin at *start*: ``(self.key, self.secret)``."""
    match = _NAMES_ALONE.match(text, start, start + _LONGEST)
    if match is None or match[0][-1] not in ")]" or any(c.isdigit() for c in match[0]):
        return None
    found = match[0].strip("([])").replace(" ", "").strip(",").split(",")
    if any("." in path or names.kind(path) != PLAIN for path in found):
        return Code([], [])
    return Code([], []) if in_source(text, start) else None


def _is_known(path: str, name: str, names: Names, around: str) -> bool:
    """Return whether the *path* names a secret rather than to be one; *around* are the characters beside it."""
    if any(c.isdigit() for c in path.rpartition(".")[2]) and name != path:
        return False
    root, dot, last = path.partition(".")[0], "." in path, path.rpartition(".")[2]
    if dot:
        member = root[:1].isupper() and path.replace(".", "").replace("_", "").isalpha() and len(path) <= 40
        return member or root.lstrip("_").lower() in _ROOTS or names.kind(last) != PLAIN
    if path in ("credentials", "creds"):
        return True
    said, own = words(path), words(name)
    size = min(len(said), len(own))
    if len(said) != len(own) and not set(around) & set(" ,)"):
        return False
    return bool(size) and said[-size:] == own[-size:] and not (path.isalpha() and path.istitle())


def _is_operation(text: str, end: int, path: str, name: str) -> bool:
    """Return whether an operator follows, and the name before is one of code."""
    plain = not any(c.isdigit() for c in path) and (
        "_" in path + name or text[end - len(path) - 2 : end - len(path)] == "= "
    )
    return plain and _OPERATION.match(text, end) is not None


def _closed(text: str, start: int) -> int:
    """Return where the bracket that opens at *start* is closed, on its line; 0 if it is not."""
    depth, position = 0, start
    last = min(len(text), start + _LONGEST)
    while position < last:
        character = text[position]
        if character in "\"'":
            literal = _STRING.match(text, position, last)
            if literal is None:
                return 0
            position = literal.end()
            continue
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position + 1
        if character in "\r\n":
            return 0
        position += 1
    return 0


def _is_argument(text: str, start: int, end: int, path: str, found: Code) -> bool:
    """Return whether the brackets from *start* to *end* behind *path* are a call or an index; collect its literals."""
    last = path.rpartition(".")[2]
    if "." not in path and any(c.isdigit() for c in path) and _ALGORITHM.search(path) is None:
        return False
    strings = list(_STRING.finditer(text, start, end))
    found.strings.extend(s.span() for s in strings)
    if last[:1].isupper() and text[start] == "(":  # a class: in a ``repr`` its arguments are values
        if not strings and any(c.isdigit() for c in text[start:end]):
            return False
        found.literals.extend(s.span(s.lastindex or 0) for s in strings)
        return all(s.lastindex for s in strings)
    if not strings and "." not in path and any(c.isdigit() for c in text[start:end] + path) and text[start] == "[":
        return text[start + 1 : end - 1].isdigit() and not any(c.isdigit() for c in path)
    found.literals.extend(s.span(s.lastindex) for s in strings if s.lastindex and _is_random(s[s.lastindex]))
    return True


def _is_random(literal: str) -> bool:
    return (
        len(literal) >= 8
        and _ALGORITHM.match(literal) is None
        and any(c.isdigit() for c in literal)
        and any(c.isalpha() for c in literal)
    )
