"""The first difference between the lines of a log and the leaves of its tree: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference.

    Attributes:
        kind: ``changed``, ``removed``, ``inserted``, ``reordered`` or ``cut off``.
        place: Index of the line where it shows, among the lines that are there; their number for the end.
        leaf: Index of the leaf that is not there as it was; of the copied one for a copy.
        count: How many lines are concerned in one piece.
        copied: Whether what was inserted is a copy of a sealed line.
    """

    kind: str
    place: int
    leaf: int
    count: int = 1
    copied: bool = False


def first_difference(sealed: Sequence[bytes], lines: Sequence[bytes]) -> Difference | None:
    """Return the first difference; None when *lines* begin with all that was *sealed*, and hold none of it again.

    Args:
        sealed: The leaf hashes in the tree.
        lines: Those of the lines that are there. Lines beyond the sealed ones are not sealed yet.
    """
    place_of = {leaf: index for index, leaf in enumerate(sealed)}
    common = next((at for at, pair in enumerate(zip(sealed, lines, strict=False)) if pair[0] != pair[1]), None)
    if common is not None:
        return _mismatch(sealed, lines, place_of, common)
    if len(lines) < len(sealed):
        return Difference("cut off", len(lines), len(lines), len(sealed) - len(lines))
    for place in range(len(sealed), len(lines)):
        if lines[place] in place_of:
            return Difference("inserted", place, place_of[lines[place]], copied=True)
    return None


def _mismatch(sealed: Sequence[bytes], lines: Sequence[bytes], place_of: dict[bytes, int], at: int) -> Difference:
    found = place_of.get(lines[at])
    stands_later = sealed[at] in set(lines[at:])
    if found is not None and found < at:
        return Difference("inserted", at, found, copied=True)
    if found is not None:
        return Difference("reordered", at, at) if stands_later else Difference("removed", at, at, found - at)
    # A run of lines that nobody sealed, up to one that was.
    end = next((place for place in range(at, len(lines)) if lines[place] in place_of), len(lines))
    unknown = end - at
    missing = (place_of[lines[end]] if end < len(lines) else len(sealed)) - at
    if missing <= 0 or stands_later:
        return Difference("inserted", at, at, unknown)
    return Difference("changed", at, at, min(unknown, missing))
