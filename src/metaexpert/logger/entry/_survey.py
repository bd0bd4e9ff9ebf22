"""What is in a large container, so that it can be judged as a whole instead of value by value.

Pure functions; any thread may use them.
"""

from __future__ import annotations

from itertools import chain, islice
from math import isfinite
from typing import Any, Final

from metaexpert.logger.entry.scalars import MAX_U64, MIN_I64, TEXTS

CONTAINERS: Final = frozenset({dict, list, tuple})
#: Levels of containers that are looked at.
_MOST_LEVELS: Final = 10
#: Longer texts are left to a look at each value.
_LONGEST: Final = 200
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_USUAL: Final = _PLAIN | CONTAINERS | TEXTS.keys()


class Survey:
    """What is in a large container.

    Attributes:
        names: Names of fields.
        texts: Texts among the values, short ones.
        count: How many names and values there are.
        converted: Whether some of them are written as texts (see `TEXTS`).
        usual: Whether all of it is JSON's or of `TEXTS`, and was looked at.
    """

    __slots__ = ("converted", "count", "names", "texts", "usual")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.texts: set[str] = set()
        self.count = 0
        self.converted = False
        self.usual = True


def survey(value: Any, room: int) -> Survey:
    """Return what is in a dict, list or tuple, of at most *room* names and values."""
    found = Survey()
    level = [value]
    for _ in range(_MOST_LEVELS):
        dicts = [container for container in level if type(container) is dict]
        found.count += sum(map(len, level)) + sum(map(len, dicts))
        if found.count > room:
            found.usual = False
            return found
        found.names.update(_short(list(chain.from_iterable(dicts)), found))
        values = list(chain.from_iterable(c.values() if type(c) is dict else c for c in level))
        kinds = set(map(type, values))
        found.usual = found.usual and kinds <= _USUAL
        found.converted = found.converted or not kinds.isdisjoint(TEXTS)
        _look_at(values, kinds, found)
        level = [child for child in values if type(child) in CONTAINERS] if kinds & CONTAINERS else []
        if not level:
            return found
    found.usual = False
    return found


def _look_at(values: list[Any], kinds: set[type], found: Survey) -> None:
    """Collect the texts of a level, and see whether its numbers are JSON's."""
    if str in kinds:
        found.texts.update(_short(values if len(kinds) == 1 else [v for v in values if type(v) is str], found))
    if float in kinds:
        found.usual = found.usual and all(map(isfinite, values if len(kinds) == 1 else _of(values, float)))
    if int in kinds:
        numbers = values if len(kinds) == 1 else _of(values, int)
        found.usual = found.usual and min(numbers) >= MIN_I64 and max(numbers) <= MAX_U64


def _of(values: list[Any], kind: type) -> list[Any]:
    return [value for value in values if type(value) is kind]


def _short(texts: list[Any], found: Survey) -> list[str]:
    """Return the short texts among *texts*; nothing is usual that holds others."""
    if set(map(type, texts)) <= {str} and max(map(len, texts), default=0) <= _LONGEST:
        return texts
    found.usual = False
    return [text for text in texts if type(text) is str and len(text) <= _LONGEST]


def first_of(value: Any, count: int) -> Any:
    """Return a dict, list or tuple with the first *count* of the values of *value*."""
    return dict(islice(value.items(), count)) if type(value) is dict else value[:count]
