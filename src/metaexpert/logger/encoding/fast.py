"""The chain of `metaexpert.logger.encoding.processors` in one call: the same bytes, a tenth of the time.

Pieces that stay the same over calls are encoded once: the header of a level (`Route`), the context of a bound logger
(`BoundContext`), the text of a second, and messages that come again. A call encodes its own fields, joins the pieces,
and appends the line to the journal of each of its files. Unusual values and names, `%` arguments, exceptions and a
user's processors go through the plain chain. It is the reference: a property test holds both to the same bytes.

Where the core was compiled (`system/core`), it replaces the function that `Encoder.method` makes, and calls that
function for the rare cases.

Threads: everything here may be called by any thread at any time. Caches are replaced or filled by single operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.encoding._screen import screen
from metaexpert.logger.encoding.bound_context import LONGEST_NAME, BoundContext, may_be_encoded
from metaexpert.logger.encoding.context_frames import ContextFrame, current_frame
from metaexpert.logger.encoding.line import SECOND, Clock
from metaexpert.logger.entry.values import MAX_DEPTH, TEXTS, dumps, escape_c1
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import RULES, Rules
from metaexpert.logger.system.lazy_structlog import contextvars as _foreign
from metaexpert.logger.system.native import core

_OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_APPEND_NEWLINE
)
MOST_MESSAGES: Final = 1024
_LONGEST_MESSAGE: Final = 256
MOST_CONTEXTS: Final = 64
_THOUSANDTHS: Final = tuple(b"%03d" % number for number in range(1000))
#: An integer is found in bytes four times as fast as a piece of bytes is.
_EQUALS: Final = ord("=")
_LIST: Final = ord("]")
_OBJECT: Final = ord("{")

Emit = Callable[..., None]


class Route:
    """The route of one level's entries of a pipeline, which replaces the attributes while calls run.

    The core reads the slots, so their names stand in `system/core/module.c` too.

    Attributes:
        word: The level as it stands in the line.
        trade: Whether they are trades.
        head: The line from behind the microseconds to the number.
        number: Returns the next sequence number.
        lanes: Journal lanes that take them.
        count: Counts an entry that was taken.
        check: None while every entry is taken; otherwise returns whether this one may go the fast way.
        after: Does what is left to do with an entry that was taken (console, waking, waiting), if anything.
        lost: Told of an entry, and how many lanes took it, when a lane did not.
        failed: Told of an error that nothing else could be done with; needs no room on the stack.
    """

    __slots__ = ("after", "check", "count", "failed", "head", "lanes", "lost", "number", "trade", "word")

    def __init__(
        self,
        word: str,
        *,
        trade: bool,
        count: Callable[[], int],
        lost: Callable[[bytes, int], None],
        failed: Callable[[Exception], object],
    ) -> None:
        self.word = word
        self.trade = trade
        self.count = count
        self.lost = lost
        self.failed = failed
        self.head = b""
        self.number: Callable[[], int] = lambda: 0
        self.lanes: tuple[Any, ...] = ()
        self.check: Callable[[], bool] | None = never
        self.after: Callable[[bytes], None] | None = None


def never() -> bool:
    """Stand in for `Route.check` where every entry goes the plain way."""
    return False


class Encoder:
    """Makes the bound contexts and log methods of one pipeline.

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
        self._messages: dict[Any, bytes] = {}
        self._generation = registered.generation

    def context(self, name: str | None, fields: Mapping[str, Any]) -> BoundContext:
        """Return the context of a logger of that *name* with those bound *fields*."""
        trade = fields.get(schema.CATEGORY) == schema.TRADE
        generation = registered.generation  # read first: a secret that comes in meanwhile makes this context stale
        if generation != self._generation:
            self._messages.clear()
            self._generation = generation
        if not may_be_encoded(fields):
            return BoundContext(None, (), trade=trade, generation=generation)
        named = {schema.LOGGER_KEY: self._rules.mask(name)[0]} if name else {}
        clean = self._clean(dict(fields))
        encoded = b"," + dumps({**named, "expert_name": self._expert_name, **clean})[1:-1]
        own_names = frozenset((*fields, *clean))
        return BoundContext(encoded, own_names, trade=trade, generation=generation, rules=self._rules)

    def context_in(self, frame: ContextFrame, logger: Any) -> BoundContext:
        """Return the context of *logger* inside *frame*."""
        encoded = frame.encoded
        context: BoundContext | None = encoded.get(logger._bound_context)
        if context is None:
            if len(encoded) >= MOST_CONTEXTS:  # loggers come and go, the block stays
                encoded.clear()
            context = self.context(logger._logger.name, {**frame.fields, **logger._context})
            encoded[logger._bound_context] = context
        return context

    def _renewed(self, logger: Any, frame: ContextFrame | None) -> BoundContext:
        """Return the context of *logger* inside *frame*, made anew because a secret was registered."""
        context = logger.__dict__["_bound_context"] = self.context(logger._logger.name, logger._context)
        return context if frame is None else self.context_in(frame, logger)

    def _encode_message(self, message: object) -> bytes | None:
        """Return *message* as it stands in a line; None if only the plain chain can."""
        generation = registered.generation
        if type(message) is not str or len(message) > self._limit or not self._rules.harmless(message):
            return None
        piece = b',"message":' + escape_c1(orjson.dumps(message))
        if len(message) <= _LONGEST_MESSAGE:
            if len(self._messages) >= MOST_MESSAGES:
                self._messages.clear()
            self._messages[message] = piece
            if registered.generation != generation:  # the message may hold what has just become a secret
                self._messages.pop(message, None)
        return piece

    def method(self, route: Route, other: Route, emit: Emit) -> Emit:
        """Return the log method of *route*, for a class of bound loggers.

        Args:
            route: Where entries go.
            other: Where they go when the context makes trades of them, or the reverse.
            emit: The plain chain: takes the logger, the level's word, message, arguments and fields.
        """
        plain = self._python_method(route, other, emit)
        if core is None:
            return plain
        clock = self._clock
        now = None if clock.now is time.time_ns else clock.now  # the core reads the system's clock without a call
        pieces = self._messages, current_frame, _foreign._CONTEXT_VARS, self.context_in, clock.new_second
        method: Emit = core.Method(plain, route, other, *pieces, now, screen, TEXTS, self._limit)
        return method

    def _python_method(self, route: Route, other: Route, emit: Emit) -> Emit:
        own, now, limit, clock = route, self._clock.now, self._limit, self._clock
        messages, frame_now, foreign = self._messages, current_frame.get, _foreign._CONTEXT_VARS
        word, rules, encode_message = route.word, self._rules, self._encode_message
        context_in, renewed = self.context_in, self._renewed

        def log(self: Any, event: object = None, /, *args: Any, **fields: Any) -> None:
            line, route = None, own
            try:
                context, frame = self._bound_context, frame_now()
                if frame is not None:
                    context = context_in(frame, self)
                    route = own if context.trade is own.trade else other
                if context.generation != registered.generation:
                    context = renewed(self, frame)
                usual = not args and context.alone is not None and not (foreign and foreign_is_set())
                free = usual and (route.check is None or route.check())
                if free and (context.known.issuperset(fields) or context.judge(fields)):
                    rest = orjson.dumps(fields, text_of, _OPTIONS)[1:]
                    plain = rest.isascii() and _LIST not in rest and _OBJECT not in rest and not rest.count(b"null")
                    message = messages.get(event) or encode_message(event)
                    clear = is_clear(fields, rest, rules, plain=plain)
                    if message is not None and clear and (plain or (rest := ordinary(fields, rest))):
                        nanoseconds, (second, start) = now(), clock.second
                        if not 0 <= nanoseconds - second < SECOND:
                            second, start = clock.new_second(nanoseconds)
                        micro = (nanoseconds - second) // 1000
                        ms, us = _THOUSANDTHS[micro // 1000], _THOUSANDTHS[micro % 1000]
                        encoded = context.before_fields if fields else context.alone
                        if len(encoded) + len(message) + len(rest) < limit:
                            line = b"".join((start, ms, us, route.head, b"%d" % route.number(), message, encoded, rest))
            except Exception:  # the plain chain meets the same error, and tells it
                line = None
            try:
                if line is None:
                    emit(self, word, event, args, fields)
                else:
                    deliver(route, line)
            except Exception as error:  # no room on the stack even to call it
                route.failed(error.with_traceback(None))

        return log


if core is not None:
    core.read_slots(Route, BoundContext, ContextFrame)


def deliver(route: Route, line: bytes) -> None:
    """Append *line* to the journal of each of its files, count it, and do what is due. Raises no `Exception`."""
    taken = 0
    try:
        for lane in route.lanes:
            try:
                lane.write(line)
            except ValueError:  # the segment is full: on to the next one
                if not lane.append(line, reserve=True):
                    continue
            taken += 1
        if taken < len(route.lanes):
            route.lost(line, taken)
        if taken or not route.lanes:
            route.count()
        if route.after is not None:
            route.after(line)
    except Exception as error:  # no memory, or no room on the stack: another try would log it twice
        route.failed(error.with_traceback(None))


def text_of(value: Any) -> str:
    """Return the text of a value that orjson does not know. Raises KeyError for one that is for the plain chain."""
    return TEXTS[type(value)](value)


def is_clear(fields: Mapping[str, Any], rest: bytes, rules: Rules, *, plain: bool) -> bool:
    """Return whether there is no secret in the values of *fields*, whose names are known to be none.

    Args:
        fields: Fields of a call.
        rest: The same as JSON.
        rules: What is masked.
        plain: Whether there are no containers among them and ASCII alone.
    """
    if plain and _EQUALS not in rest and rest.count(b":") == len(fields) and not registered.numbers:
        reach = registered.reach
        clear = rules.clear_value
        return all(
            clear(value, "")
            for value in fields.values()
            if (len(value) >= reach if type(value) is str else type(value) in TEXTS)
        )
    return rules.clear(fields)


def ordinary(fields: Mapping[str, Any], rest: bytes) -> bytes:
    """Return *rest* as it may stand in a line, or nothing when the plain chain has to encode *fields*.

    orjson writes NaN as null, nests deeper, and leaves characters as they are that a terminal obeys.
    """
    return escape_c1(rest) if all(_is_ordinary(value, MAX_DEPTH - 1) for value in fields.values()) else b""


def _is_ordinary(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is float:
        return bool(value - value == 0)  # neither NaN nor infinite
    if kind is dict:
        return depth > 0 and all(
            len(key) <= LONGEST_NAME and _is_ordinary(item, depth - 1) for key, item in value.items()
        )
    if kind is list or kind is tuple:
        return depth > 0 and all(_is_ordinary(item, depth - 1) for item in value)
    return kind is str or kind is int or kind is bool or value is None or kind in TEXTS


def foreign_is_set() -> bool:
    """Return whether structlog's own contextvars hold something: its registry of variables is never emptied."""
    return any(variable.get(Ellipsis) is not Ellipsis for variable in list(_foreign._CONTEXT_VARS.values()))
