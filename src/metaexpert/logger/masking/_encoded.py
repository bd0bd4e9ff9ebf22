"""Secrets in text that is percent-encoded (RFC 3986, section 2.1), as in a form or a query: ``%22api_key%22%3A%22…``.

The text is decoded, searched, and what was found is mapped back. Twice encoded text is decoded twice.

Pure functions; safe to use from any thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking._pairs import Span

#: Encoded characters that may stand between a name and its value, around a user's password, or before a shape.
_TELLING: Final = lazy_pattern(r"%(?:3[AaDd]|2[027]|40|25(?:3[AaDd]|2[027]|40))")
_ESCAPE: Final = lazy_pattern(r"%[0-9A-Fa-f]{2}")
#: A form writes a blank as ``+``. Elsewhere, it is a character of Base64.
_BLANK: Final = lazy_pattern(r"(?<=%3[Aa]|%2[Cc])\+")
#: How often a text is decoded.
LEVELS: Final = 2


def is_encoded(text: str) -> bool:
    """Return whether something in *text* may be encoded that tells a secret."""
    return _TELLING.search(text) is not None


def find_encoded(text: str, search: Callable[[str], Iterable[Span]], levels: int = LEVELS) -> list[Span]:
    """Return what *search* finds in the decoded *text*, at its places in *text*."""
    if not is_encoded(text):
        return []
    decoded = unquote(_BLANK.sub(" ", text), "latin-1")  # each escape becomes one character
    spans = list(search(decoded))
    if levels > 1:
        spans += find_encoded(decoded, search, levels - 1)
    if not spans:
        return []
    places = [match.start() - 2 * count for count, match in enumerate(_ESCAPE.finditer(text))]
    return [Span(_raw(places, span.start), _raw(places, span.end), span.rule) for span in spans]


def _raw(places: list[int], position: int) -> int:
    """Return where a *position* of the decoded text is in the raw one; *places* are those of decoded escapes."""
    return position + 2 * bisect_left(places, position)
