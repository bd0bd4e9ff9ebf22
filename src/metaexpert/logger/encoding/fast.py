"""The chain of `metaexpert.logger.encoding.processors` in one call: the same bytes, a tenth of the time.

Whatever is the same over many calls is encoded once: the header of a level (`Route`), the context of a bound logger
(`BoundContext`), the text of a second, and messages that come again. A call encodes its own fields, joins the pieces,
and appends the line to the journal of each of its files. Unusual values and names, `%` arguments, exceptions and a
user's processors go through the plain chain. It is the reference: a property test holds both to the same bytes.

Where `_fast.c` could be compiled, it stands for the function that `Encoder.method` makes, and leaves to it what is
rare.

Threads: everything here may be called by any thread at any time. Caches are replaced or filled by single operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import orjson
from structlog import contextvars as _foreign

from metaexpert.logger import schema
from metaexpert.logger.encoding.context_frames import ContextFrame, current_frame
from metaexpert.logger.entry.values import MAX_DEPTH, TEXTS, dumps, escape_c1
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import RULES, Rules
from metaexpert.logger.masking.shapes import HINTS
from metaexpert.logger.schema import CATEGORY, TRADE
from metaexpert.logger.system.native import load

OPTIONS: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_APPEND_NEWLINE
)
#: Names of fields that mean something to a processor.
UNUSUAL_NAMES: Final = schema.RESERVED_KEYS | {"event", "exc_info", "stack_info", "expert_name", schema.ALERT, CATEGORY}
_LONGEST_NAME: Final = 200
#: Values of a context that cannot change after `bind`, so that they may be encoded there.
_FIXED: Final = frozenset({str, int, float, bool, type(None), *TEXTS})
_MOST_NAMES: Final = 4096
_MOST_MESSAGES: Final = 1024
_LONGEST_MESSAGE: Final = 256
_MOST_FORMS: Final = 64
_SECOND: Final = 1_000_000_000
THOUSANDTHS: Final = tuple(b"%03d" % number for number in range(1000))

#: An integer is found in bytes four times as fast as a piece of bytes is.
_EQUALS: Final = ord("=")
_LIST: Final = ord("]")
_OBJECT: Final = ord("{")

Emit = Callable[..., None]

compiled: Final[Any] = load("metaexpert.logger.encoding._fast")

#: By what the compiled call sees that only Python can say whether a text holds a secret (its layout is in `_fast.c`).
screen: Final = bytearray(258 + 16384)


_begin_generation: Final[Callable[[int], Any]] = compiled.begin_generation if compiled is not None else bool


def _watch() -> None:
    """Fill the screen, after a secret was registered."""
    escaped = (character in b'"\\' or not 32 <= character < 127 for character in range(256))
    new = bytearray(flag | (character in b"=:<%'") << 1 for character, flag in enumerate(escaped))
    new += bytes((min(registered.reach, 255), bool(registered.numbers), *bytes(16384)))
    for characters in (*HINTS, *(form[:4] for form in registered.forms)):
        if characters.isascii():  # the compiled call takes ASCII alone
            bit = ((int.from_bytes(characters.encode()) * 2_654_435_761) & 0xFFFF_FFFF) >> 15
            new[258 + (bit >> 3)] |= 1 << (bit & 7)
    screen[:] = new  # at once: calls of other threads look at it meanwhile
    _begin_generation(registered.generation)


class Route:
    """The route of one level's entries of a pipeline. Its attributes are replaced while calls run.

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
        self.failed = failed
        self.trade = trade
        self.count = count
        self.lost = lost
        self.head = b""
        self.number: Callable[[], int] = lambda: 0
        self.lanes: tuple[Any, ...] = ()
        self.check: Callable[[], bool] | None = never
        self.after: Callable[[bytes], None] | None = None


def never() -> bool:
    """Stand in for `Route.check` where every entry goes the plain way."""
    return False


class BoundContext:
    """What a bound logger, inside a context or not, adds to each of its entries.

    Attributes:
        comma: Its fields as they stand in a line before those of the call.
        bare: The same when the call has none.
        known: Names of fields that calls gave and that may follow.
        names: The same, each with its piece of a line; None when only the plain chain can lay out the context.
        trade: Whether its entries are trades.
        generation: Of which state of the register of secrets it is; in another one it has to be made anew.
    """

    __slots__ = ("_rules", "bare", "comma", "generation", "known", "names", "taken", "trade")

    def __init__(
        self, fixed: bytes, taken: frozenset[str], *, trade: bool, generation: int = 0, rules: Rules = RULES
    ) -> None:
        self.generation = generation
        self._rules = rules
        self.comma = fixed + b","
        self.bare = fixed
        self.known: set[str] = set()
        self.names: dict[str, bytes] | None = {}
        self.taken = taken
        self.trade = trade

    def judge(self, fields: Mapping[str, Any]) -> bool:
        """Return whether *fields* may follow as they are, and remember their names."""
        for name in fields:
            unusual = name in UNUSUAL_NAMES or name.startswith(schema.RESERVED_PREFIX)
            if unusual or name in self.taken or len(name) > _LONGEST_NAME or not self._rules.clear({name: None}):
                return False
        if len(self.known) > _MOST_NAMES:
            self.known, self.names = set(), {}
        self.known.update(fields)
        if self.names is not None:
            self.names.update((name, dumps(name) + b":") for name in fields)
        return True


class _Nothing(set[str]):
    """The known names of a context that only the plain chain can lay out: not even no field may follow."""

    def issuperset(self, other: Any) -> bool:
        return False


class Unfit(BoundContext):
    """The form of such a context."""

    def __init__(self, *, trade: bool, generation: int) -> None:
        super().__init__(b"", frozenset(), trade=trade, generation=generation)
        self.known = _Nothing()
        self.names = None

    def judge(self, fields: Mapping[str, Any]) -> bool:
        """Return that no entry may go the fast way."""
        return False


class Encoder:
    """Makes the forms and log methods of one pipeline.

    Args:
        expert_name: As it stands in the entries.
        limit: Lines that are longer go the plain way, which knows how to cut.
        clean: The plain chain's way to make JSON types of fields, without secrets.
        now: Nanoseconds since the epoch.
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
        self.limit = limit
        self.rules = rules
        self.now = now
        self._expert_name = expert_name
        self._clean = clean
        self._messages: dict[Any, bytes] = {}
        self._generation = registered.generation
        #: The second that was last logged in: when it began, and how a line of it begins.
        self._second = (-_SECOND, b"")

    def form(self, name: str | None, context: Mapping[str, Any]) -> BoundContext:
        """Return the form of a logger of that *name* with that *context*."""
        trade = context.get(CATEGORY) == TRADE
        generation = registered.generation  # read first: a secret that comes in meanwhile makes this form stale
        if generation != self._generation:
            self._messages.clear()
            self._generation = generation
        usual = all(
            type(value) in _FIXED
            and type(key) is str
            and len(key) <= _LONGEST_NAME
            and (key == CATEGORY or key not in UNUSUAL_NAMES)
            and not key.startswith(schema.RESERVED_PREFIX)
            for key, value in context.items()
        )
        if not usual:
            return Unfit(trade=trade, generation=generation)
        named = {schema.LOGGER_KEY: self.rules.mask(name)[0]} if name else {}
        clean = self._clean(dict(context))
        fixed = dumps({**named, "expert_name": self._expert_name, **clean})
        return BoundContext(
            b"," + fixed[1:-1], frozenset((*context, *clean)), trade=trade, generation=generation, rules=self.rules
        )

    def renewed(self, logger: Any, frame: ContextFrame | None) -> BoundContext:
        """Return the form of *logger* inside *frame*, made anew because a secret was registered."""
        form: BoundContext = self.form(logger._logger.name, logger._context)
        logger.__dict__["_bound_context"] = form
        return form if frame is None else self.form_in(frame, logger)

    def form_in(self, frame: ContextFrame, logger: Any) -> BoundContext:
        """Return the form of *logger* inside *frame*."""
        forms = frame.encoded
        form: BoundContext | None = forms.get(logger._bound_context)
        if form is None:
            if len(forms) >= _MOST_FORMS:  # loggers come and go, the block stays
                forms.clear()
            form = forms[logger._bound_context] = self.form(logger._logger.name, {**frame.fields, **logger._context})
        return form

    def learn(self, message: object) -> bytes | None:
        """Return *message* as it stands in a line; None if that is for the plain chain to say."""
        generation = registered.generation
        if type(message) is not str or len(message) > self.limit or not self.rules.harmless(message):
            return None
        piece = b',"message":' + escape_c1(orjson.dumps(message))
        if len(message) <= _LONGEST_MESSAGE:
            if len(self._messages) >= _MOST_MESSAGES:
                self._messages.clear()
            self._messages[message] = piece
            if registered.generation != generation:  # the message may hold what has just become a secret
                self._messages.pop(message, None)
        return piece

    def turn(self, second: int) -> tuple[int, bytes]:
        """Return, and keep, when *second* began and how a line of it begins."""
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second if 0 <= second < 253_402_300_800 else 0))
        self._second = turned = (second * _SECOND, b'{"timestamp":"%s.' % text.encode())
        return turned

    def method(self, route: Route, other: Route, emit: Emit) -> Emit:
        """Return the log method of *route*, for a class of bound loggers.

        Args:
            route: Where entries go.
            other: Where they go when the context makes trades of them, or the reverse.
            emit: The plain chain: takes the logger, the level's word, message, arguments and fields.
        """
        now, limit, form_in, learn, turn = self.now, self.limit, self.form_in, self.learn, self.turn
        messages, frame_now, foreign = self._messages, current_frame.get, _foreign._CONTEXT_VARS
        word, rules = route.word, self.rules
        encoder = self

        def fused(self: Any, event: object = None, /, *args: Any, **fields: Any) -> None:
            line, path = None, route
            try:
                form, frame = self._bound_context, frame_now()
                if frame is not None:
                    form = form_in(frame, self)
                    path = route if form.trade is route.trade else other
                if form.generation != registered.generation:
                    form = encoder.renewed(self, frame)
                free = not args and (path.check is None or path.check()) and not (foreign and foreign_is_set())
                if free and (form.known.issuperset(fields) or form.judge(fields)):
                    rest = orjson.dumps(fields, text_of, OPTIONS)[1:]
                    plain = rest.isascii() and _LIST not in rest and _OBJECT not in rest and not rest.count(b"null")
                    message = messages.get(event) or learn(event)
                    clear = is_clear(fields, rest, rules, plain=plain)
                    if message is not None and clear and (plain or (rest := ordinary(fields, rest))):
                        moment, (start, text) = now(), encoder._second
                        if not 0 <= moment - start < _SECOND:
                            start, text = turn(moment // _SECOND)
                        micro = (moment - start) // 1000
                        ms, us = THOUSANDTHS[micro // 1000], THOUSANDTHS[micro % 1000]
                        fixed = form.comma if fields else form.bare
                        if len(fixed) + len(message) + len(rest) < limit:
                            line = b"".join((text, ms, us, path.head, b"%d" % path.number(), message, fixed, rest))
            except Exception:  # whatever it was, the plain chain meets it too, and tells
                line = None
            try:
                if line is None:
                    emit(self, word, event, args, fields)
                else:
                    deliver(path, line)
            except Exception as error:  # no room on the stack even to call it
                path.failed(error.with_traceback(None))

        if compiled is None:
            return fused
        clock = None if now is time.time_ns else now  # the system's is read without a call
        stand_in: Emit = compiled.Method(
            fused, route, other, messages, current_frame, foreign, form_in, turn, clock, screen, TEXTS, limit
        )
        return stand_in


if compiled is not None:
    compiled.learn(Route, BoundContext, ContextFrame)
registered.watchers.append(_watch)
_watch()


def deliver(path: Route, line: bytes) -> None:
    """Put *line* into the journal of each of its files, count it, and do what is due."""
    taken = 0
    try:
        for lane in path.lanes:
            try:
                lane.write(line)
            except ValueError:  # the segment is full: on to the next one
                if not lane.append(line, reserve=True):
                    continue
            taken += 1
        if taken < len(path.lanes):
            path.lost(line, taken)
        if taken or not path.lanes:
            path.count()
        if path.after is not None:
            path.after(line)
    except Exception as error:  # no memory, or no room on the stack: who tried again would log it twice
        path.failed(error.with_traceback(None))


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
    """Return *rest* mended, or nothing when the plain chain has to encode *fields*.

    orjson writes NaN as null, nests deeper, and leaves characters as they are that a terminal obeys.
    """
    return escape_c1(rest) if all(_is_ordinary(value, MAX_DEPTH - 1) for value in fields.values()) else b""


def _is_ordinary(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is float:
        return bool(value - value == 0)  # neither NaN nor infinite
    if kind is dict:
        return depth > 0 and all(
            len(key) <= _LONGEST_NAME and _is_ordinary(item, depth - 1) for key, item in value.items()
        )
    if kind is list or kind is tuple:
        return depth > 0 and all(_is_ordinary(item, depth - 1) for item in value)
    return kind is str or kind is int or kind is bool or value is None or kind in TEXTS


def foreign_is_set() -> bool:
    """Return whether structlog's own contextvars hold something: its registry of variables is never emptied."""
    return any(variable.get(Ellipsis) is not Ellipsis for variable in list(_foreign._CONTEXT_VARS.values()))
