"""The context of a bound logger, encoded once instead of at each call.

Threads: caches are replaced or filled by single operations, while calls of other threads read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.values import TEXTS, dumps
from metaexpert.logger.masking.rules import RULES, Rules

#: Names of fields that mean something to a processor.
_UNUSUAL_NAMES: Final = schema.RESERVED_KEYS | {"event", "exc_info", "stack_info", "expert_name", schema.ALERT}
LONGEST_NAME: Final = 200
#: Types of values that cannot change after `bind`, so that they may be encoded there.
_FIXED: Final = frozenset({str, int, float, bool, type(None), *TEXTS})
MOST_NAMES: Final = 4096


def may_be_encoded(context: Mapping[str, Any]) -> bool:
    """Return whether *context* may be encoded now, for entries to come: no value can change, no name is unusual."""
    return all(type(value) in _FIXED and type(name) is str and _is_usual(name) for name, value in context.items())


def _is_usual(name: str) -> bool:
    return len(name) <= LONGEST_NAME and name not in _UNUSUAL_NAMES and not name.startswith(schema.RESERVED_PREFIX)


class BoundContext:
    """What a bound logger, inside a context or not, adds to each of its entries. The core reads its slots.

    Attributes:
        before_fields: Its fields as they stand in a line before those of the call.
        alone: The same when the call has none.
        known: Names of fields that calls gave and that may follow.
        names: The same, each with its piece of a line; None when only the plain chain can lay out the context.
        trade: Whether its entries are trades.
        generation: Of the registered secrets, when it was made; in another one it has to be made anew.
    """

    __slots__ = ("_own_names", "_rules", "alone", "before_fields", "generation", "known", "names", "trade")

    def __init__(
        self, encoded: bytes, own_names: frozenset[str], *, trade: bool, generation: int = 0, rules: Rules = RULES
    ) -> None:
        self.before_fields = encoded + b","
        self.alone = encoded
        self.known: set[str] = set()
        self.names: dict[str, bytes] | None = {}
        self.trade = trade
        self.generation = generation
        self._own_names = own_names
        self._rules = rules

    def judge(self, fields: Mapping[str, Any]) -> bool:
        """Return whether *fields* may follow as they are, and remember their names."""
        for name in fields:
            usual = _is_usual(name) and name != schema.CATEGORY and name not in self._own_names
            if not usual or not self._rules.clear({name: None}):
                return False
        if len(self.known) > MOST_NAMES:
            self.known, self.names = set(), {}
        self.known.update(fields)
        if self.names is not None:
            self.names.update((name, dumps(name) + b":") for name in fields)
        return True


class _NoNames(set[str]):
    """The known names of a context that only the plain chain can lay out: not even no field may follow."""

    def issuperset(self, other: Any) -> bool:
        return False


class PlainContext(BoundContext):
    """Such a context."""

    def __init__(self, *, trade: bool, generation: int) -> None:
        super().__init__(b"", frozenset(), trade=trade, generation=generation)
        self.known = _NoNames()
        self.names = None

    def judge(self, fields: Mapping[str, Any]) -> bool:
        """Return that no entry may go the fast way."""
        return False
