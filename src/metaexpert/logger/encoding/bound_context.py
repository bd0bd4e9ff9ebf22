"""The context of a bound logger, encoded once instead of at each call.

Threads: caches are replaced or filled by single operations, while calls of other threads read them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

    Args:
        encoded: Its fields as JSON, behind a comma; None if they cannot be encoded beforehand.
        own_names: Their names, which no field of a call may have.
        trade: Whether its entries are trades.
        generation: Of the registered secrets, when it was made; in another one it has to be made anew.
        rules: Which names are secret.

    Attributes:
        before_fields: Its fields as they stand in a line before those of the call.
        alone: The same when the call has none. Both are None where only the plain chain can lay it out.
        known: Names of fields that calls gave and that may follow.
        names: The same, each with its piece of a line.
        trade, generation: As given.
    """

    __slots__ = ("_own_names", "_rules", "alone", "before_fields", "generation", "known", "names", "trade")

    def __init__(
        self, encoded: bytes | None, own_names: Collection[str], *, trade: bool, generation: int, rules: Rules = RULES
    ) -> None:
        self.before_fields = None if encoded is None else encoded + b","
        self.alone = encoded
        self.known: set[str] = set()
        self.names: dict[str, bytes] = {}
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
        self.names.update((name, dumps(name) + b":") for name in fields)
        return True
