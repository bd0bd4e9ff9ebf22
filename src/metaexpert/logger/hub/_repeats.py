"""Repeats of an entry: beyond `repeat_limit` a minute they are counted, and one ``log.repeated`` tells of them.

Entries are equal if level, logger and message are the same apart from numbers and ids. The minute begins with the first
of them; when it is over, ``log.repeated`` has how many were counted, when the first and the last came, and the range of
each number, in the message and in the fields. Written and counted entries add up to the calls, also at `close`.
After a fork each process counts its own; a kill takes along what was counted since the last ``log.repeated``.

An ordinary entry beyond the limit is counted before its values are cleaned (`Repeats.step`), which is the dearest part
of a call on the plain way. Whatever could be changed by cleaning goes on, and is counted at the end of the chain.

Bound: a thousand kinds of entries; the one that came least recently is told of and forgotten.

Threads: any thread may ask, and a signal handler or ``__del__`` that comes in the midst of it has its entry written.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger import schema
from metaexpert.logger.encoding.foreign_steps import EVENT
from metaexpert.logger.entry.values import no_surrogates
from metaexpert.logger.hub._routing import RECORDER
from metaexpert.logger.masking.names import PLAIN
from metaexpert.logger.schema import CATEGORY, TRADE
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.forks import catch_up
from metaexpert.logger.system.lazy_structlog import DropEvent, EventDict
from metaexpert.logger.system.threads import RLock

if TYPE_CHECKING:
    from metaexpert.logger.hub.pipeline import Pipeline

#: Seconds for which entries are counted together.
WINDOW: Final = 60.0
_MOST_KINDS: Final = 1000
#: Characters of a message that count, and ranges that are kept for a kind.
_MOST_TEXT: Final = 500
#: Fields of an entry that is counted before it is clean, at most.
_MOST_FIELDS: Final = 50
_MOST_RANGES: Final = 50
#: A number that stands by itself; a hexadecimal number; a word of six or more characters with a digit; other digits.
_VARIABLE: Final = re.compile(
    r"(?<![\w.])[+-]?(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)(?![\w-]|\.\d)"
    r"|0[xX][0-9a-fA-F]+|\b(?=[\w-]*\d)[0-9A-Za-z][\w-]{5,}\b|\d+"
)


@functools.lru_cache(maxsize=1024)
def template(text: str) -> tuple[str, tuple[float, ...]]:
    """Return *text* with ``#`` for each number and id, and the numbers that stand by themselves."""
    numbers: list[float] = []

    def variable(found: re.Match[str]) -> str:
        if found[1]:
            numbers.append(float(found[0]) if {*".eE"} & {*found[0]} else int(found[0]))
        return "#"

    return _VARIABLE.sub(variable, text), tuple(numbers)


class _Group:
    """Equal entries of one minute.

    Attributes:
        end: When the minute is over, in seconds (monotonic).
        seen: How many came.
        count: How many of them were not written.
        first: When the first of those came, as text.
        last: When the last did.
        ranges: The smallest and the largest of each number in them, by its name; ``#1`` is the first in the message.
    """

    __slots__ = ("count", "end", "first", "last", "ranges", "seen")

    def __init__(self, end: float) -> None:
        self.end = end
        self.seen = self.count = 0
        self.first = self.last = ""
        self.ranges: dict[str, tuple[float, float]] = {}

    def add(self, moment: str, numbers: tuple[float, ...], fields: Mapping[str, Any]) -> None:
        self._widen(((f"#{place}", number) for place, number in enumerate(numbers, 1)))
        self._widen(
            (name, value) for name, value in fields.items() if type(value) in (int, float) and name != schema.MASKED_KEY
        )
        self.first = self.first or moment
        self.last = max(self.last, moment)
        self.count += 1  # last: what was begun and is not counted was not taken

    def _widen(self, found: Any) -> None:
        for name, number in found:
            low, high = self.ranges.get(name, (number, number))
            if name in self.ranges or len(self.ranges) < _MOST_RANGES:
                self.ranges[name] = min(low, number), max(high, number)


#: Level, logger, and template of equal entries, and whether they are trades.
_Kind = tuple[str, str | None, str, bool]


class Repeats:
    """The repeats of one logger's entries.

    Args:
        pipeline: The logger's, whose parts are there once an entry comes.
        announce: Logs an entry of the logger's own: level, message, and fields as keywords. Returns whether it is kept.
    """

    def __init__(self, pipeline: Pipeline, announce: Callable[..., bool]) -> None:
        config = pipeline.config
        self._pipeline, self._announce = pipeline, announce
        self._limit = config.repeat_limit
        self._errors = config.repeat_limit_errors
        self._trades = config.repeat_limit_trades
        self._longest = min(config.max_value_length, _MOST_TEXT)
        #: Entries that were counted and not written.
        self.count = 0
        self._start()

    def _start(self) -> None:
        self._lock = RLock()
        self._busy = False
        self._groups: OrderedDict[_Kind, _Group] = OrderedDict()
        self._due: deque[tuple[_Kind, _Group]] = deque()
        self._closed = False

    def concern(self, level: str, *, trade: bool) -> bool:
        """Return whether entries of this kind are limited."""
        if self._limit is None or (trade and not self._trades):
            return False
        return self._errors or schema.LEVEL_NUMBERS[level] < schema.ERROR

    def takes(self, name: str | None, level: str, event: Mapping[str, Any], *, trade: bool) -> bool:
        """Return whether an entry is to be written; if not, it is counted."""
        if not self.concern(level, trade=trade) or event.get(schema.ALERT) is True:
            return True
        text, numbers = template(str(event.get(EVENT, ""))[:_MOST_TEXT])
        with self._lock:
            if self._busy or self._closed:
                return True
            self._busy = True
            try:
                group = self._group((level, name, text, trade), monotonic())
                group.seen += 1
                if self._limit is None or group.seen <= self._limit:
                    return True
                self._count(group, numbers, event)
                return False
            finally:
                self._busy = False

    def step(self, output: Any, method: str, event: EventDict) -> EventDict:
        """Count an entry that is not clean yet, if it is beyond the limit and needs no cleaning for that.

        Raises:
            DropEvent: It was counted.
        """
        catch_up()
        level, trade, name = (
            schema.WORDS.get(method, "info"),
            event.get(CATEGORY) == TRADE,
            getattr(output, "name", None),
        )
        to = self._pipeline.levels.of(name).destinations[level, trade]
        if to and not to & RECORDER and self.concern(level, trade=trade) and self._counts(name, level, event, trade):
            raise DropEvent
        return event

    def _counts(self, name: str | None, level: str, event: Mapping[str, Any], trade: bool) -> bool:
        message, rules = event.get(EVENT), self._pipeline.rules
        if type(message) is not str or len(message) > self._longest or not self._is_plain(event):
            return False
        text, numbers = template(no_surrogates(rules.mask(message)[0]))
        with self._lock:
            group = self._groups.get((level, name, text, trade))
            if self._busy or self._closed or group is None or group.seen < (self._limit or 0):
                return False
            if monotonic() >= group.end:
                return False
            self._busy = True
            try:
                group.seen += 1
                self._groups.move_to_end((level, name, text, trade))
                self._count(group, numbers, event)
                return True
            finally:
                self._busy = False

    def _is_plain(self, event: Mapping[str, Any]) -> bool:
        """Return whether cleaning would leave the numbers of *event* as they are, and make no other field a number."""
        rules = self._pipeline.rules
        if len(event) > _MOST_FIELDS or event.get(schema.ALERT) is True:
            return False
        if schema.MASKED_KEY in event or rules.told(event) is not None:
            return False
        for name, value in event.items():
            kind = type(value)
            if kind is int or kind is float:
                if type(name) is not str or rules.kind("", name) != PLAIN or not rules.harmless(name):
                    return False
                if not (rules.clear(value) if kind is int else math.isfinite(value)):
                    return False
            elif kind is not str and kind is not bool and value is not None:
                return False
        return True

    def _count(self, group: _Group, numbers: tuple[float, ...], event: Mapping[str, Any]) -> None:
        group.add(self._pipeline.stamper.clock(), numbers, event)
        self.count += 1

    def _group(self, kind: _Kind, now: float) -> _Group:
        group = self._groups.get(kind)
        if group is None or now >= group.end:
            if group is not None:
                self._settle(kind)
            elif len(self._groups) >= _MOST_KINDS:
                self._settle(next(iter(self._groups)))
            group = self._groups[kind] = _Group(now + WINDOW)
        self._groups.move_to_end(kind)
        return group

    def _settle(self, kind: _Kind) -> None:
        group = self._groups.pop(kind)
        if group.count:
            self._due.append((kind, group))

    def serve(self, *, final: bool = False) -> None:
        """Tell of minutes that are over, or at the *final* call of all; then every entry is written."""
        with self._lock:
            busy, self._busy, self._closed = self._busy, True, self._closed or final
            now = monotonic()
            for kind in [kind for kind, group in self._groups.items() if final or now >= group.end]:
                self._settle(kind)
            self._busy = busy
        for due in self._taken():
            kind, group = due
            level, name, text, _ = kind
            source = {"source": name} if name else {}
            told = {"count": group.count, "first": group.first, "last": group.last, "range": group.ranges}
            if not self._announce(level, "log.repeated", template=text, **source, **told):
                self._due.append(due)  # no room now

    def _taken(self) -> Iterator[tuple[_Kind, _Group]]:
        with contextlib.suppress(IndexError):  # another thread tells of them
            for _ in range(len(self._due)):
                yield self._due.popleft()

    def after_fork(self) -> None:
        """Start anew in a child: what was counted is the parent's."""
        self.count = 0
        self._start()
