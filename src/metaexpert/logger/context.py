"""`log_context` and `trade_context`: fields for all entries of a block, in one `ContextVar` of immutable frames.

A frame also holds the fields of its enclosing frames, so that reading the context is one lookup. Leaving a block
restores the frame's parent rather than resetting a token, so that several tasks may enter one `log_context` object, and
one task may enter it again. Context follows tasks and `asyncio.to_thread`. A new thread starts without context, as
Python's context variables do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Self, cast

from metaexpert.logger.encoding.context_frames import current_frame, enter_frame
from metaexpert.logger.schema import CATEGORY, TRADE


class log_context:  # noqa: N801 - used like a function: `with log_context(symbol="BTCUSDT"):`
    """Add fields to every entry logged inside the block, by any logger.

    A context manager (``with`` and ``async with``) and a decorator (functions, coroutines, generators and
    asynchronous generators). Nested blocks add their fields, and an inner value wins. Fields of the bound logger and
    of the call win over both. Raises nothing of its own.

    Args:
        **fields: Fields of any name and value.
    """

    _lifts = False

    def __init__(self, /, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> Self:
        enter_frame(self._fields, lifts=self._lifts)
        return self

    def __exit__(self, *_: object) -> None:
        frame = current_frame.get()
        if frame is not None:
            current_frame.set(frame.parent)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

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

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # The context applies to the generator's own code, not to its consumer's.
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            inner = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, inner)
            while True:
                try:
                    with self:
                        value = step()
                except StopIteration as stop:
                    return stop.value
                try:
                    step = functools.partial(inner.send, (yield value))
                except GeneratorExit:
                    with self:
                        inner.close()
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
                    with self:
                        value = await step()
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(inner.asend, (yield value))
                except GeneratorExit:
                    with self:
                        await inner.aclose()
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
