"""Texts that whatever an expression matches must contain, so that most lines need not be searched with it.

Only texts that JSON writes as they are: no quotes, backslashes, slashes and control characters. Where case does not
count, neither are there letters that other characters than ASCII's can stand for.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

# The parser of `re`. It has no public name, so whatever is unknown in its trees yields no text.
_parser: Final[Any] = import_module("re._parser")
_constants: Final[Any] = import_module("re._constants")
#: More alternatives than this are not searched for.
_MOST: Final = 6
#: A shorter text is in too many lines.
_SHORTEST: Final = 2
_ESCAPED: Final = frozenset('"\\/\x7f') | frozenset(map(chr, range(0x20)))
_FOLDING_GROUP: Final = re.compile(r"\(\?[a-zA-Z]*i")
# Without regard to case, these match a character that is not ASCII: U+0130, U+0131, U+017F and U+212A.
_FOLDED: Final = frozenset("iksIKS")


def required(pattern: re.Pattern[str]) -> tuple[bytes, ...]:
    """Return texts of which each match of *pattern* contains one; empty when there are no such texts.

    In lower case where the pattern ignores case (`ignores_case`).
    """
    return next(iter(all_required(pattern)), ())


def all_required(pattern: re.Pattern[str]) -> list[tuple[bytes, ...]]:
    """Return all such groups of texts that are known, the best one first: each match has a text of each."""
    try:
        tree = _parser.parse(pattern.pattern, pattern.flags)
    except (re.error, RecursionError):  # pragma: no cover - it was compiled before
        return []
    groups = sorted(_each_of(tree, fold=ignores_case(pattern)), key=_worth, reverse=True)
    return [texts for group in groups if 0 < len(texts := _shortest(group)) <= _MOST]


def _shortest(texts: frozenset[str]) -> tuple[bytes, ...]:
    kept = [one for one in texts if not any(other != one and other in one for other in texts)]
    return tuple(sorted(text.encode() for text in kept))


def ignores_case(pattern: re.Pattern[str]) -> bool:
    """Return whether *pattern* ignores case anywhere: as a whole, or within a group."""
    return bool(pattern.flags & re.IGNORECASE) or _FOLDING_GROUP.search(pattern.pattern) is not None


def _of(tree: Any, *, fold: bool) -> frozenset[str] | None:
    """Return the best set of texts of a sequence; None when nothing is certain."""
    return max(_each_of(tree, fold=fold), key=_worth, default=None)


def _each_of(tree: Any, *, fold: bool) -> list[frozenset[str]]:
    """Return all sets of texts of a sequence: whatever it matches has one of each."""
    found: list[frozenset[str]] = []
    run = ""
    for kind, value in tree:
        if kind is _constants.LITERAL and _is_plain(chr(value), fold=fold):
            run += chr(value).lower() if fold else chr(value)
            continue
        found += [frozenset({run})] if len(run) >= _SHORTEST else []
        run = ""
        inner = _inside(kind, value, fold=fold)
        found += [inner] if inner else []
    found += [frozenset({run})] if len(run) >= _SHORTEST else []
    return found


def _inside(kind: Any, value: Any, *, fold: bool) -> frozenset[str] | None:
    if kind is _constants.SUBPATTERN:
        return _of(value[3], fold=fold)
    if kind is _constants.ATOMIC_GROUP:
        return _of(value, fold=fold)
    if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT) and value[0] > 0:
        return _of(value[2], fold=fold)
    if kind is _constants.BRANCH:
        branches = [_of(branch, fold=fold) or frozenset() for branch in value[1]]
        return frozenset().union(*branches) if all(branches) else None
    return None


def _is_plain(character: str, *, fold: bool) -> bool:
    if character in _ESCAPED or "\ud800" <= character <= "\udfff":
        return False
    return not fold or (character.isascii() and character not in _FOLDED)


def _worth(texts: frozenset[str]) -> tuple[int, int]:
    """The longest text counts, then that there are few."""
    return min(map(len, texts)), -len(texts)
