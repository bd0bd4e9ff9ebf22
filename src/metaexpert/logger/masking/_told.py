"""Secrets that follow a name without a sign between them: "my api key is AKx9…", and the columns of a table.

The value has to look like one, since words follow such names in sentences: "the password is wrong".

Pure functions; safe to use from any thread. Every pattern takes linear time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.work import Work
from metaexpert.logger.masking._pairs import UNREAD, Span
from metaexpert.logger.masking._values import PROSE, is_path
from metaexpert.logger.masking.names import ACCOUNT, AMBIGUOUS, PLAIN, Names

_TOLD: Final = lazy_pattern(r"""([ ](?i:is|was)(?i: now)?)?[ ]["'`]?([^\s"'`,;<>]{6,}+)""")
#: As many words as a mnemonic has.
_SEED: Final = lazy_pattern(r"[ ](?i:is|was)[ ]((?:[A-Za-z]{3,8},?[ ]){11,23}+[A-Za-z]{3,8})(?![\w.])")
#: Last words of names, each with the words of which one has to stand before it where the value follows at once, and
#: the shortest value there.
_NAMES: Final = (
    ("key", lazy_pattern(r"(?:^|[^a-z])(?:api|secret|access|private|listen|signing)[ _\-]?\Z"), 6),
    ("secret", lazy_pattern(r"(?:^|[^a-z])(?:api|client)[ _\-]?\Z"), 6),
    ("token", lazy_pattern(r"(?:^|[^a-z])(?:api|access|refresh|auth|bot|session|bearer|id)[ _\-]\Z"), 16),
    ("password", lazy_pattern(r"(?:^|[^a-z])\Z"), 6),
    ("passwd", lazy_pattern(r"(?:^|[^a-z])\Z"), 6),
    ("pwd", lazy_pattern(r"(?:^|[^a-z])\Z"), 6),
    ("phrase", lazy_pattern(r"(?:pass|seed |recovery |backup |mnemonic )\Z"), 6),
    ("mnemonic", lazy_pattern(r"(?:^|[^a-z])\Z"), 6),
    ("cookie", lazy_pattern(r"(?:^|[^a-z])\Z"), 20),
    # Ids of web sessions have twenty characters or more; those of the sessions of an exchange have fewer.
    ("id", lazy_pattern(r"(?:^|[^a-z])session[ _\-]?\Z"), 20),
)
#: Names that mean a secret by themselves where "is" follows.
_ALONE: Final = ("secret", "token")
#: Characters before the last word that are looked at.
_BEFORE: Final = 10
_COLUMN: Final = lazy_pattern(r"""(?:\t|[ ]{3})[ \t]{0,80}+["'`]?([^\s"'`]{6,}+)""")
_NAME: Final = lazy_pattern(r"(?:([A-Za-z]{1,12})[ ])?([A-Za-z][\w.\-]{1,60})\Z")
_LONGEST_NAME: Final = 80
_JOINTS: Final = lazy_pattern(r"[-/_.]")
#: Values with letters and digits that are none: quantities and algorithms.
_NO_VALUE: Final = lazy_pattern(
    r"\d[\d.,]*+[A-Za-z]{1,5}|(?i:base|sha|md|aes|ed|rsa|hmac|utf|oauth|erc|bep|[hre]s)[\-_]?\d.*+"
)
#: A coin or its address, behind "token is".
_COIN: Final = lazy_pattern(r"0x[0-9A-Fa-f]{40,64}|[1-9A-HJ-NP-Za-km-z]{32,44}|[EU]Q[\w\-]{46}|[A-Z0-9]{2,15}")
_SHORTEST: Final = 12
_SHORTEST_PART: Final = 6


def may_be_told(text: str) -> bool:
    """Return whether one of the names may stand in *text*, with a blank behind it."""
    # Written out: a loop takes three times as long.
    return (
        "ey " in text
        or "ord " in text
        or "wd " in text
        or "ken " in text
        or "ase " in text
        or "cret " in text
        or "onic " in text
        or "okie " in text
        or "on id " in text
        or "on ID " in text
        or "ON ID " in text
        or "EY " in text
        or "ORD " in text
        or "WD " in text
        or "KEN " in text
        or "ASE " in text
        or "CRET " in text
    )


def find_columns(text: str, names: Names, work: Work) -> Iterator[Span]:
    """Yield the secrets in *text* that tabs or blanks part from their names; the rest without *work* is `UNREAD`."""
    for match in _COLUMN.finditer(text):
        work.left -= 1
        if work.left <= 0:
            yield Span(match.start(), len(text), UNREAD)
            return
        name = _secret_name(text, match.start(), names) if _is_mixed(match[1]) else ""
        if name and _is_value(match[1], ambiguous=name in AMBIGUOUS):
            yield Span(*match.span(1), f"name {name}")


def _secret_name(text: str, end: int, names: Names) -> str:
    """Return the name that ends at *end* of a text, if it is a secret one."""
    found = _NAME.search(text[max(0, end - _LONGEST_NAME) : end].rstrip(" "))
    if found is None:
        return ""
    if names.kind(found[2]) not in (PLAIN, ACCOUNT):
        return found[2].lower()
    both = f"{found[1]} {found[2]}" if found[1] else ""
    return both.lower() if both and names.kind(both) not in (PLAIN, ACCOUNT) else ""


def find_told(text: str, work: Work) -> Iterator[Span]:
    """Yield the secrets in the sentences of *text*. Where *work* ends, the rest is `UNREAD`."""
    lowered = text.lower()
    if len(lowered) != len(text):  # İ has two characters in lower case
        lowered = text.replace("\u0130", "i").lower()
    for word, before, shortest in _NAMES:
        position = lowered.find(f"{word} ")
        while position >= 0:
            if work.left <= 0:
                yield Span(position, len(text), UNREAD)
                break
            work.left -= 2
            end = position + len(word)
            named = before.search(lowered, max(0, position - _BEFORE), position) is not None
            if (named or word in _ALONE) and (span := _told(text, end, shortest if named else 0)) is not None:
                yield span
            position = lowered.find(f"{word} ", end)


def _told(text: str, end: int, shortest: int) -> Span | None:
    """Return the secret behind the name that ends at *end*; behind one with a *shortest* value, "is" may be missing."""
    if shortest and (seed := _SEED.match(text, end)) is not None and _is_seed(seed[1]):
        return Span(*seed.span(1), "named in a sentence")
    match = _TOLD.match(text, end)
    if match is None or not (shortest or match[1]) or len(match[2]) < shortest:
        return None
    return Span(*match.span(2), "named in a sentence") if _is_value(match[2], ambiguous=not shortest) else None


def _is_seed(phrase: str) -> bool:
    said = phrase.lower().replace(",", " ").split()
    return 3 * sum(word in PROSE for word in said) <= len(said)


def _is_value(found: str, *, ambiguous: bool) -> bool:
    """Return whether *found* is a value rather than a word; behind an *ambiguous* name it has to be one for certain."""
    if "=" in found.rstrip("=") or ":" in found or not _is_mixed(found):
        return False
    if is_path(found) or _NO_VALUE.fullmatch(found) is not None:
        return False
    if not ambiguous:
        return True
    parts = _JOINTS.split(found)
    certain = any(len(part) >= _SHORTEST_PART and _is_mixed(part) for part in parts)
    return certain and len(found) >= _SHORTEST and _COIN.fullmatch(found) is None


def _is_mixed(found: str) -> bool:
    return any(map(str.isdigit, found)) and any(map(str.isalpha, found))
