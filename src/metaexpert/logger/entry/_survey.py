"""What is in a large container, so that it can be judged as a whole instead of value by value.

Pure functions; any thread may use them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

CONTAINERS: Final = frozenset({dict, list, tuple})
#: Levels of containers that are looked at.
_MOST_LEVELS: Final = 32
_MIN_I64: Final = -(2**63)
_MAX_U64: Final = 2**64 - 1


class Survey:
    """What is in a large container.

    Attributes:
        names: Names of fields.
        texts: Texts among the values.
        count: How many values there are.
        usual: Whether all of it is JSON's, as it stands, and was looked at.
    """

    __slots__ = ("count", "names", "texts", "usual")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.texts: set[str] = set()
        self.count = 0
        self.usual = True


def survey(value: Any, room: int) -> Survey:
    """Return what is in a dict, list or tuple, of at most *room* values."""
    found = Survey()
    level = [value]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for container in level:
            found.count += len(container)
            if found.count > room:
                found.usual = False
                return found
            children = container
            if type(container) is dict:
                children = container.values()
                _add_names(container, found)
            _add_values(children, found, below)
        level = below
    found.usual = found.usual and not level
    return found


def _add_names(container: dict[Any, Any], found: Survey) -> None:
    names = [name for name in container if type(name) is str]
    found.names.update(names)
    found.usual = found.usual and len(names) == len(container)


def _add_values(children: Iterable[Any], found: Survey, below: list[Any]) -> None:
    add, usual = found.texts.add, True
    for child in children:
        kind = type(child)
        if kind is float:
            usual = usual and child - child == 0
        elif kind is str:
            add(child)
        elif kind is int:
            usual = usual and _MIN_I64 <= child <= _MAX_U64
        elif kind in CONTAINERS:
            below.append(child)
        else:
            usual = usual and (child is None or kind is bool)
    found.usual = found.usual and usual
