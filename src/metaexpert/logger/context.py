"""`log_context` and `trade_context`: fields for all entries of a block, in one `ContextVar` of immutable frames.

A frame also holds the fields of its enclosing frames, so that reading the context is one lookup. Leaving a block
removes its own frame rather than resetting a token, so that several tasks may enter one `log_context` object, one task
may enter it again, and blocks may end in any order. Context follows tasks and `asyncio.to_thread`. A new thread starts
without context, as Python's context variables do.

A block that a generator enters belongs to the generator (see `context_frames`), whichever task or thread runs or closes
it. A generator that `contextlib`, or a package of `_DRIVERS`, runs is a context manager or a fixture: its block belongs
to the code that enters it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from sys import _getframe
from types import FrameType
from typing import Any, Final, Self, cast

from metaexpert.logger.encoding.context_frames import (
    ContextFrame,
    active_in,
    current_frame,
    own_blocks,
    running_over,
)
from metaexpert.logger.schema import CATEGORY, TRADE

_CONTEXTLIB: Final = vars(contextlib)
_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
#: Packages that run generators up to their `yield` on behalf of other code: context managers, fixtures, hooks.
_DRIVERS: Final = frozenset({"contextlib", "_pytest", "pluggy", "pytest_asyncio", "anyio"})


class log_context:  # noqa: N801 - used like a function: `with log_context(symbol="BTCUSDT"):`
    """Add fields to every entry logged inside the block, by any logger.

    A context manager (``with`` and ``async with``) and a decorator (functions, coroutines, generators and
    asynchronous generators). Nested blocks add their fields, and an inner value wins. Fields of the bound logger and
    of the call win over both. Around a ``yield`` it applies to the generator, not to its consumer, unless
    ``contextlib.contextmanager`` or pytest runs the generator. Raises nothing of its own.

    Args:
        **fields: Fields of any name and value.
    """

    _lifts = False

    def __init__(self, /, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> Self:
        at = _getframe(1)
        if own_blocks or at.f_code.co_flags & _GENERATORS or at.f_globals is _CONTEXTLIB:
            _enter(self, at)
        else:
            current_frame.set(_inner(current_frame.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        frame = current_frame.get()
        if frame is not None and frame.source is self and not own_blocks:
            current_frame.set(frame.parent)
        else:
            _leave(self, _getframe(1))

    async def __aenter__(self) -> Self:
        _enter(self, _getframe(1))
        return self

    async def __aexit__(self, *_: object) -> None:
        _leave(self, _getframe(1))

    def __call__[F: Callable[..., Any]](self, function: F) -> F:
        """Return *function* wrapped so that its body runs inside this context."""
        return cast(F, functools.wraps(function)(self._wrapper(function)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._fields)})"  # names only: values may be secret

    def _wrapper(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(function):
            return self._around_async_generator(function)
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)
        called = getattr(type(function), "__call__", None)  # noqa: B004 - an object may be called as a coroutine
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):

            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return coroutine

        def plain(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return plain

    # Steps have functions of their own, because what a generator enters is its own.

    def _step[T](self, step: Callable[[], T]) -> T:
        with self:
            return step()

    async def _awaited[T](self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self:
            return await step()

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # The context applies to the generator's own code, not to its consumer's.
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            inner = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, inner)
            while True:
                try:
                    value = self._step(step)
                except StopIteration as stop:
                    return stop.value
                try:
                    step = functools.partial(inner.send, (yield value))
                except GeneratorExit:
                    self._step(inner.close)
                    raise
                except BaseException as error:
                    step = functools.partial(inner.throw, error)

        return generator

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            inner = function(*args, **kwargs)
            step: Callable[[], Any] = inner.__anext__
            while True:
                try:
                    value = await self._awaited(step)
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(inner.asend, (yield value))
                except GeneratorExit:
                    await self._awaited(inner.aclose)
                    raise
                except BaseException as error:
                    step = functools.partial(inner.athrow, error)

        return generator


class trade_context(log_context):  # noqa: N801 - used like a function
    """A `log_context` whose entries are trades, which go to the trade file at every level.

    Args:
        **fields: Usually ``trade_id``, ``order_id``, ``symbol``.
    """

    _lifts = True

    def __init__(self, /, **fields: Any) -> None:
        super().__init__(**{CATEGORY: TRADE, **fields})


def _inner(frame: ContextFrame | None, source: log_context) -> ContextFrame:
    """Return the frame of *source* inside *frame*."""
    fields, lifts = source._fields, source._lifts
    if frame is not None:
        fields, lifts = {**frame.fields, **fields}, lifts or frame.lifts
    return ContextFrame(frame, fields, lifts, {}, source)


def _enter(source: log_context, at: FrameType) -> None:
    *_, owner = _callers(at)
    if owner.f_code.co_flags & _GENERATORS:
        own_blocks[owner] = _inner(own_blocks.get(owner), source)
        return
    frame = current_frame.get()
    inner = _inner(active_in(frame), source)
    running = running_over(frame)
    inner.parent, inner.inside = frame, running[0] if running else getattr(frame, "inside", None)
    current_frame.set(inner)


def _leave(source: log_context, at: FrameType) -> None:
    if own_blocks and any(_left(source, caller) for caller in _callers(at)):  # `closing` ends a generator of another
        return
    frame = current_frame.get()
    rest = _without(source, frame)
    if rest is not frame:
        current_frame.set(rest)


def _left(source: log_context, owner: FrameType) -> bool:
    """Remove a block of the generator *owner*; return whether it was there."""
    own = own_blocks.get(owner)
    rest = _without(source, own)
    if rest is own:
        return False
    if rest is None:
        del own_blocks[owner]
    else:
        own_blocks[owner] = rest
    return True


def _without(source: log_context, frame: ContextFrame | None) -> ContextFrame | None:
    """Return *frame* without the innermost block of *source*; *frame* itself if there is none."""
    above, at = [], frame
    while at is not None and at.source is not source:
        above.append(at)
        at = at.parent
    if at is None:
        return frame
    rest = at.parent
    for block in reversed(above):
        rest = _inner(rest, block.source)
    return rest


def _callers(at: FrameType | None) -> Iterator[FrameType]:
    """Yield *at* and the code on whose behalf it runs; a block entered at *at* belongs to the last one."""
    while at is not None:
        yield at
        driver = at.f_back
        if at.f_globals is not _CONTEXTLIB:  # such as ExitStack, which enters a block for its caller
            package = str(driver.f_globals.get("__name__")).partition(".")[0] if driver is not None else ""
            if not at.f_code.co_flags & _GENERATORS or package not in _DRIVERS:
                return
        at = driver
