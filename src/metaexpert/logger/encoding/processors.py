"""The structlog chain that each entry goes through, one plain processor per step.

It is the reference: the fast call (`metaexpert.logger.encoding.fast`) gives the same bytes. `chain` puts the steps
together:

1. `merge_context`: fields of `log_context` and structlog's contextvars, below those of the logger and the call;
2. the user's own processors;
3. `add_stack`, `add_exception`: the stack and the exception that ``stack_info`` and ``exc_info`` ask for, as data;
4. `keep_reserved_keys`: a caller's field of a reserved name moves aside;
5. `CleanValues`: everything becomes JSON types, masked and bounded.

The pipeline stamps and routes the entry then (`Pipeline.finish`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.encoding import _tracebacks
from metaexpert.logger.encoding.context_frames import current_fields
from metaexpert.logger.encoding.foreign_steps import (
    CALLER_EVENT,
    EVENT,
    EXC_INFO,
    STACK_INFO,
    ExceptionText,
    prepared,
)
from metaexpert.logger.entry.values import Cleaner, safe_str
from metaexpert.logger.masking.rules import RULES, Masker, Rules
from metaexpert.logger.system.lazy_structlog import EventDict, Processor, WrappedLogger

#: Arguments that do not fit into the message.
POSITIONAL: Final = "positional_args"
#: Exception and stack are ours by the time that callers' fields move aside.
_KEPT_KEYS: Final = schema.RESERVED_KEYS - {schema.EXCEPTION_KEY, schema.STACK_KEY}
#: Module names whose frames are never the caller's.
_INNER: Final = ("metaexpert.logger", "structlog", "logging")


def merge_context(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Add the fields of the active contexts, unless the logger or the call has the same name."""
    fields = current_fields()
    return {**aside(dict(fields)), **event_dict} if fields else event_dict


def add_stack(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Replace ``stack_info=True`` by the caller's stack as text; a text given instead is kept."""
    wanted = event_dict.pop(STACK_INFO, None)
    event_dict = _set_aside(event_dict, schema.STACK_KEY)
    if wanted is not None and _tracebacks.is_wanted(wanted):
        event_dict = _kept(event_dict, STACK_INFO, wanted, (str,))
        event_dict[schema.STACK_KEY] = wanted if isinstance(wanted, str) else _stack_text()
    return event_dict


def add_exception(_: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    """Replace ``exc_info`` (True, an exception, or a tuple) by the exception, which `CleanValues` makes data of."""
    exc_info = event_dict.pop(EXC_INFO, True if method == "exception" else None)
    error: object = exc_info if isinstance(exc_info, ExceptionText) else None
    if error is None and exc_info is not None:
        error = _tracebacks.exception_of(exc_info)
    meant = (BaseException, tuple, ExceptionText)
    event_dict = _kept(_set_aside(event_dict, schema.EXCEPTION_KEY), EXC_INFO, exc_info, meant)
    if error is not None:
        event_dict[schema.EXCEPTION_KEY] = error
    return event_dict


def keep_reserved_keys(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Move a caller's field that bears a reserved key to ``field_<key>``; nothing of ours is overwritten."""
    for key in _KEPT_KEYS & event_dict.keys():
        event_dict = _set_aside(event_dict, key)
    return event_dict


#: Work (see `Work`) of one entry: of its fields, of its message, of its exception and its stack.
_FIELDS_WORK: Final = 8_000
_TEXT_WORK: Final = 4_000


class CleanValues:
    """Turn message, fields and exception into JSON types, without secrets and cut to their limits.

    Args:
        max_length: Longest text of one value, in characters.
        max_items: Most values in one entry.
        rules: What is masked. How many secrets there were is the field ``masked``, before the others.
    """

    def __init__(self, max_length: int, max_items: int, rules: Rules) -> None:
        self._max_length = max_length
        self._max_items = min(max_items, _FIELDS_WORK)
        self._rules = rules

    def __call__(self, _: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        """Return the event with clean keys and values."""
        masker = Masker(self._rules)
        message = event_dict.pop(EVENT, None)
        own = {key: event_dict.pop(key) for key in (schema.EXCEPTION_KEY, schema.STACK_KEY) if key in event_dict}
        if POSITIONAL in event_dict:
            event_dict[POSITIONAL] = masker.arguments(safe_str(message), event_dict[POSITIONAL])
        result: EventDict = Cleaner(self._max_length, self._max_items, masker).fields(dict(event_dict))
        text = Cleaner(self._max_length, _TEXT_WORK, masker).key("" if message is None else safe_str(message))
        own = self._own(own, masker)
        return {EVENT: text, **_counted(result, masker), **own}

    def fields(self, fields: dict[str, Any]) -> EventDict:
        """Return clean *fields* alone."""
        masker = Masker(self._rules)
        return _counted(Cleaner(self._max_length, self._max_items, masker).fields(fields), masker)

    def _own(self, own: dict[str, Any], masker: Masker) -> dict[str, Any]:
        """Return exception and stack, with limits of their own: the caller's must not cut a traceback."""
        limit = _tracebacks.MAX_TEXT + 64
        if schema.EXCEPTION_KEY in own:
            error = own[schema.EXCEPTION_KEY]
            text = isinstance(error, ExceptionText)
            described = _tracebacks.describe_text(error, masker) if text else _tracebacks.describe(error, masker)
            own[schema.EXCEPTION_KEY] = Cleaner(limit, sys.maxsize).clean(described)
        if schema.STACK_KEY in own:
            own[schema.STACK_KEY] = Cleaner(limit, _TEXT_WORK, masker).clean(own[schema.STACK_KEY])
        return own


def _counted(fields: EventDict, masker: Masker) -> EventDict:
    return {schema.MASKED_KEY: masker.count, **_set_aside(fields, schema.MASKED_KEY)} if masker.count else fields


class ProcessorList(list[Any]):
    """The chain as structlog's configuration holds it: `capture_logs` empties and refills this very object.

    Args:
        steps: The chain.
        plain: Whether there is nothing of the user's in it.
    """

    def __init__(self, steps: Iterable[Any], *, plain: bool = False) -> None:
        super().__init__(steps)
        self._original = tuple(self) if plain else None
        #: Called after each change of the list.
        self.on_change: Callable[[], None] = lambda: None

    @property
    def untouched(self) -> bool:
        """Whether it is our own chain and nothing else, so that the fast call may stand for it."""
        return self._original is not None and tuple(self) == self._original


def _telling(name: str) -> Callable[..., Any]:
    change = getattr(list, name)

    @functools.wraps(change)
    def method(self: ProcessorList, *args: Any, **options: Any) -> Any:
        result = change(self, *args, **options)
        self.on_change()
        return result

    return method


_CHANGES: Final = "append clear extend insert pop remove reverse sort __setitem__ __delitem__ __iadd__ __imul__"
for _name in _CHANGES.split():
    setattr(ProcessorList, _name, _telling(_name))


def chain(
    own: Iterable[Processor],
    max_length: int,
    max_items: int,
    finish: Processor,
    rules: Rules = RULES,
    first: Iterable[Processor] = (),
    unclean: Iterable[Processor] = (),
) -> ProcessorList:
    """Return the whole chain: *own* are the user's processors, *finish* stamps and routes.

    Of ours are also *first*, and *unclean*, which comes before the values are cleaned.
    """
    clean = CleanValues(max_length, max_items, rules)
    steps = [add_stack, add_exception, keep_reserved_keys, *unclean, clean, finish]
    own = prepared(own)
    return ProcessorList([merge_context, *first, *own, *steps], plain=not own)


def aside(fields: dict[str, Any]) -> dict[str, Any]:
    """Return *fields* with the caller's own field ``event`` out of the way of the message, in its place."""
    return {CALLER_EVENT if key == EVENT else key: fields[key] for key in fields} if EVENT in fields else fields


def _set_aside(event_dict: EventDict, key: str) -> EventDict:
    """Rename a caller's *key*, in its place, to the first free ``field_<key>``."""
    if key not in event_dict:
        return event_dict
    name = schema.RESERVED_PREFIX + key
    while name in event_dict:
        name = schema.RESERVED_PREFIX + name
    return {name if k == key else k: value for k, value in event_dict.items()}


def _kept(event_dict: EventDict, key: str, value: object, meant: tuple[type, ...]) -> EventDict:
    """Keep a *value* given as ``exc_info`` or ``stack_info`` that is neither a flag nor of the kind that is *meant*."""
    if value is None or isinstance(value, (int, *meant)):
        return event_dict
    return _set_aside({**event_dict, key: value}, key)


def _stack_text() -> str:
    import traceback  # noqa: PLC0415 - rare, and not needed to start

    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(_INNER):
        frame = frame.f_back
    return "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame)).rstrip("\n")
