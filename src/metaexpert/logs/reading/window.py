"""What was met lately, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


class Window:
    """Remembers the last *size* things at least, and twice as many at most.

    Two sets that take turns: forgetting one thing at a time from a dict takes longer the more were forgotten.

    Args:
        size: How many are remembered.
    """

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def met(self, thing: Hashable) -> bool:
        """Tell whether *thing* is remembered, and remember it."""
        if thing in self._new or thing in self._old:
            return True
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()
        self._new.add(thing)
        return False

    def take_new(self, things: Sequence[Hashable]) -> bool:
        """Remember *things*, if all of them are new; tell whether they are."""
        new = set(things)
        if len(new) < len(things) or not (self._new.isdisjoint(new) and self._old.isdisjoint(new)):
            return False
        if len(self._new) + len(new) > self._size:
            self._old, self._new = self._new, set()
        self._new |= new
        return True
