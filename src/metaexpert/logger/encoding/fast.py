"""The fast call: the compiled core (`system/core`) makes the bytes of the plain chain, in a fiftieth of the time.

Pieces that stay the same over calls are encoded once: the header of a level (`Route.head`), the context of a bound
logger, the text of a second, names, and messages that come again. A call of the core encodes its own fields, joins the
pieces, and appends the line to the journal of each of its files. Here is what it asks Python for: pieces that are new,
and whether a text may hold a secret. Unusual values and names, secrets, `%` arguments, exceptions and a user's
processors go through the plain chain (`processors`). It is the reference: a property test holds both to the same
bytes. Without the core every call goes that way.

Threads: everything here may be called by any thread at any time. Caches are replaced or filled by single operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.encoding._screen import screen
from metaexpert.logger.encoding.context_frames import ContextFrame, current_frame
from metaexpert.logger.encoding.line import Clock
from metaexpert.logger.encoding.processors import POSITIONAL
from metaexpert.logger.encoding.route import Route
from metaexpert.logger.entry.scalars import TEXTS
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import RULES, TELLING, Rules
from metaexpert.logger.system.lazy_structlog import contextvars as _foreign
from metaexpert.logger.system.native import core

MOST_MESSAGES: Final = 1024
MOST_NAMES: Final = 4096
MOST_CONTEXTS: Final = 64
_LONGEST_MESSAGE: Final = 256
_LONGEST_NAME: Final = 200
#: Names of fields that mean something to a processor.
_UNUSUAL_NAMES: Final = schema.RESERVED_KEYS | {
    POSITIONAL,
    "event",
    "exc_info",
    "stack_info",
    "expert_name",
    schema.ALERT,
}
#: Types of values that cannot change after `bind`, so that they may be encoded there.
_FIXED: Final = frozenset({str, int, float, bool, type(None), *TEXTS})


class Encoder:
    """Makes the bound contexts and fast methods of one pipeline, and answers them.

    Args:
        expert_name: As it stands in the entries.
        limit: Longer lines, in bytes, go the plain way, where they are cut.
        clean: The plain chain's way to make JSON types of fields, without secrets.
        now: Returns nanoseconds since the epoch.
        rules: What is masked, by the plain chain: an entry with secrets is left to it.
    """

    def __init__(
        self,
        expert_name: str,
        limit: int,
        clean: Callable[[dict[str, Any]], MutableMapping[str, Any]],
        now: Callable[[], int] = time.time_ns,
        rules: Rules = RULES,
    ) -> None:
        self._limit = limit
        self._rules = rules
        self._clock = Clock(now)
        self._expert_name = expert_name
        self._clean = clean
        self._messages: dict[str, bytes | None] = {}
        self._keys: dict[str, bytes | None] = {}
        self._generation = registered.generation
        #: What a text in a list means as the name of what follows it.
        self.word = rules.names.kind
        #: Returns whether a text, a number or one of `TEXTS` holds no secret.
        self.clear = rules.clear

    # -- contexts -----------------------------------------------------------------------------------------------

    def context(self, name: str | None, fields: Mapping[str, Any] | None) -> Any:
        """Return the context of a logger of that *name* with those bound *fields*, a `BoundContext` of the core.

        The *fields* are None for a logger with other processors, all of whose calls go the plain way.

        Its attributes: *before_fields*, as they stand in a line before the fields of a call, and *alone*, when there
        are none; *names* that calls gave to fields, each with its piece of a line, or None; *own_names*, which no field
        of a call may have; *trade*, whether its entries are trades; *generation* of the registered secrets, in another
        one of which it has to be made anew. The first two are None where only the plain chain can lay them out.
        """
        generation = registered.generation  # read first: a secret that comes in meanwhile makes this context stale
        if generation != self._generation:
            self._messages.clear()
            self._keys.clear()
            self._generation = generation
        if fields is None or not all(type(value) in _FIXED and _is_usual(key) for key, value in fields.items()):
            return core.BoundContext(before_fields=None, alone=None, generation=generation)
        named = {schema.LOGGER_KEY: self._rules.mask(name)[0]} if name else {}
        clean = self._clean(dict(fields))
        alone = b"," + dumps({**named, "expert_name": self._expert_name, **clean})[1:-1]
        return core.BoundContext(
            before_fields=alone + b",",
            alone=alone,
            names={},
            own_names={*fields, *clean},
            trade=fields.get(schema.CATEGORY) == schema.TRADE,
            generation=generation,
        )

    def context_in(self, frame: ContextFrame, logger: Any) -> Any:
        """Return the context of *logger* inside *frame*."""
        encoded, bound = frame.encoded, logger._bound_context
        context = bound if bound.alone is None else encoded.get(bound)
        if context is None:
            if len(encoded) >= MOST_CONTEXTS:  # loggers come and go, the block stays
                encoded.clear()
            context = self.context(logger._logger.name, {**frame.fields, **logger._context})
            encoded[bound] = context
        return context

    def renewed(self, frame: ContextFrame | None, logger: Any) -> Any:
        """Return the context of *logger* inside *frame*, made anew because a secret was registered."""
        logger.__dict__.pop("_bound_context", None)
        return logger._bound_context if frame is None else self.context_in(frame, logger)

    # -- pieces that are new ------------------------------------------------------------------------------------

    def message(self, message: str) -> bytes | None:
        """Return *message* as it stands in a line; None if only the plain chain can."""
        generation = registered.generation
        if len(message) > self._limit or not self.clear(message):
            return None
        piece = b',"message":' + dumps(message)
        if len(message) <= _LONGEST_MESSAGE:
            _keep(self._messages, message, piece, generation, MOST_MESSAGES)
        return piece

    def name(self, name: str, context: Any) -> bytes | None:
        """Return the *name* of a field of a call in *context*, as `key` does."""
        generation = registered.generation
        usual = _is_usual(name) and name != schema.CATEGORY and name not in context.own_names
        piece = self._piece(name, "") if usual else None
        _keep(context.names, name, piece, generation, MOST_NAMES)
        return piece

    def key(self, name: str) -> bytes | None:
        """Return *name*, a key of a dict, as it stands in a line; None if only the plain chain can tell."""
        generation = registered.generation
        # Under "api", `key` is secret; and the value of `value` is where another field names a secret.
        piece = None if name in TELLING else self._piece(name, "api")
        _keep(self._keys, name, piece, generation, MOST_NAMES)
        return piece

    def _piece(self, name: str, parent: str) -> bytes | None:
        usual = len(name) <= _LONGEST_NAME and self.clear(name) and not self._rules.kind(parent, name)
        return dumps(name) + b":" if usual else None

    # -- the method ---------------------------------------------------------------------------------------------

    def method(self, plain: Callable[..., None], route: Route, other: Route) -> Callable[..., None]:
        """Return the log method of *route*, for a class of bound loggers.

        Args:
            plain: The function that runs the plain chain.
            route: Where entries go.
            other: Where they go when the context makes trades of them, or the reverse.
        """
        clock, words = self._clock, self._rules.names.judged if self._rules.shapes else None
        now = None if clock.now is time.time_ns else clock.now  # the core reads the system's clock without a call
        caches = self._messages, self._keys, words, TEXTS, orjson.dumps, _foreign._CONTEXT_VARS
        method: Callable[..., None] = core.Method(
            plain, current_frame, route, other, self, *caches, clock.new_second, now, screen, self._limit
        )
        return method


def _is_usual(name: str) -> bool:
    return (
        type(name) is str
        and len(name) <= _LONGEST_NAME
        and name not in _UNUSUAL_NAMES
        and not name.startswith(schema.RESERVED_PREFIX)
    )


def _keep(cache: dict[str, bytes | None], text: str, piece: bytes | None, generation: int, most: int) -> None:
    """Remember the *piece* of a *text* that was judged in that *generation* of the registered secrets."""
    if len(cache) >= most:
        cache.clear()
    cache[text] = piece
    if registered.generation != generation:  # the text may hold what has just become a secret
        cache.pop(text, None)
