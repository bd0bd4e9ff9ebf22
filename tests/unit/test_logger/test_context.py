"""Context: it follows the call, through tasks and threads, and never outlives its block."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import structlog

from metaexpert.logger.context import log_context, trade_context
from metaexpert.logger.encoding.context_frames import current_fields, lifts_gate


def fields() -> dict[str, Any]:
    """Return the current context fields as a dict."""
    return dict(current_fields())


def test_is_empty_at_first() -> None:
    """Outside any block there is no context."""
    assert fields() == {}
    assert not lifts_gate()


def test_nesting_adds_and_the_inner_value_wins() -> None:
    """Inner fields come on top of outer ones and go with their block."""
    with log_context(symbol="BTCUSDT", order_id="1"):
        with log_context(order_id="2", trade_id="t"):
            assert fields() == {"symbol": "BTCUSDT", "order_id": "2", "trade_id": "t"}
        assert fields() == {"symbol": "BTCUSDT", "order_id": "1"}
    assert fields() == {}


def test_leaves_by_an_exception() -> None:
    """An exception ends the block like anything else, and passes."""
    with pytest.raises(KeyError), log_context(a=1):
        raise KeyError
    assert fields() == {}


def test_one_object_may_be_entered_again_inside_itself() -> None:
    """The same object nests."""
    context = log_context(a=1)
    with context:
        with context:
            assert fields() == {"a": 1}
        assert fields() == {"a": 1}
    assert fields() == {}


def test_names_of_any_kind() -> None:
    """`self` and names that are no identifiers are fields like others."""
    with log_context(self=1, **{"a b": 2}):
        assert fields() == {"self": 1, "a b": 2}


def test_trade_context_marks_and_lifts() -> None:
    """Inside a trade context the category is set and every level counts, also in nested blocks."""
    with trade_context(order_id="o"):
        assert fields() == {"category": "trade", "order_id": "o"}
        with log_context(a=1):
            assert lifts_gate()
    assert not lifts_gate()


def test_the_repr_shows_no_value() -> None:
    """A value may be a secret."""
    assert "s3cr3t" not in repr(log_context(token="s3cr3t"))


def test_structlog_contextvars_are_below_ours() -> None:
    """Both kinds count; ours wins."""
    with structlog.contextvars.bound_contextvars(symbol="theirs", other=1), log_context(symbol="ours"):
        assert fields() == {"symbol": "ours", "other": 1}


def test_decorated_function() -> None:
    """A decorated function runs inside the context and keeps its name."""

    @log_context(a=1)
    def work(x: int) -> tuple[int, dict[str, Any]]:
        return x, fields()

    assert work(3) == (3, {"a": 1})
    assert work.__name__ == "work"
    assert fields() == {}


def test_decorated_method() -> None:
    """A decorated method keeps its self."""

    class Strategy:
        name = "s"

        @trade_context(order_id="o")
        def on_bar(self) -> tuple[str, dict[str, Any]]:
            return self.name, fields()

    assert Strategy().on_bar() == ("s", {"category": "trade", "order_id": "o"})


def test_decorated_coroutine() -> None:
    """A decorated coroutine has the context over its awaits, and its caller does not."""

    @log_context(a=1)
    async def work() -> dict[str, Any]:
        await asyncio.sleep(0)
        return fields()

    async def main() -> None:
        assert await work() == {"a": 1}
        assert fields() == {}

    asyncio.run(main())


def test_async_with() -> None:
    """The block may be entered by `async with`."""

    async def main() -> None:
        async with log_context(a=1):
            assert fields() == {"a": 1}
        assert fields() == {}

    asyncio.run(main())


def test_decorated_object_that_is_called_as_a_coroutine() -> None:
    """An object whose __call__ is a coroutine has the context until it has ended, not only until it has begun."""

    class Handler:
        async def __call__(self) -> dict[str, Any]:
            await asyncio.sleep(0)
            return fields()

    assert asyncio.run(log_context(a=1)(Handler())()) == {"a": 1}
    assert fields() == {}


def test_decorated_generator() -> None:
    """A generator's own code has the context, its consumer's does not; send, throw and return work."""

    @log_context(a=1)
    def work() -> Generator[Any, Any, str]:
        got = yield fields()
        try:
            yield got
        except KeyError:
            yield ("caught", fields())
        return "done"

    generator = work()
    assert next(generator) == {"a": 1}
    assert fields() == {}
    assert generator.send("x") == "x"
    assert generator.throw(KeyError()) == ("caught", {"a": 1})
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done"


def test_a_closed_generator_cleans_up_inside_the_context() -> None:
    """Closing runs the generator's finally block inside the context."""
    seen = []

    @log_context(a=1)
    def work() -> Generator[int]:
        try:
            yield 1
        finally:
            seen.append(fields())

    generator = work()
    next(generator)
    generator.close()
    assert seen == [{"a": 1}]


def test_decorated_async_generator() -> None:
    """An asynchronous generator works likewise."""
    seen = []

    @log_context(a=1)
    async def work() -> AsyncGenerator[Any]:
        try:
            yield fields()
            try:
                yield 2
            except KeyError:
                yield "caught"
        finally:
            seen.append(fields())

    async def main() -> None:
        generator = work()
        assert await anext(generator) == {"a": 1}
        assert fields() == {}
        assert await anext(generator) == 2
        assert await generator.athrow(KeyError()) == "caught"
        await generator.aclose()
        assert [item async for item in work()] == [{"a": 1}, 2]

    asyncio.run(main())
    assert seen == [{"a": 1}, {"a": 1}]


def test_tasks_have_contexts_of_their_own() -> None:
    """A thousand tasks share one object and loop, and each sees its own fields at every step."""

    async def task(number: int) -> None:
        for _ in range(3):
            with log_context(number=number):
                await asyncio.sleep(0)
                assert fields() == {"shared": True, "number": number}

    async def main() -> None:
        with log_context(shared=True):
            await asyncio.gather(*(task(number) for number in range(1000)))

    asyncio.run(main())


def test_to_thread_takes_it_along() -> None:
    """`asyncio.to_thread` carries the context into the thread."""

    async def main() -> dict[str, Any]:
        with log_context(a=1):
            return await asyncio.to_thread(fields)

    assert asyncio.run(main()) == {"a": 1}


def test_a_new_thread_starts_without() -> None:
    """A bare thread starts empty, and what it sets stays its own."""
    results = []

    def work() -> None:
        results.append(fields())
        with log_context(b=2):
            results.append(fields())

    with log_context(a=1):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert fields() == {"a": 1}
    assert results == [{}, {"b": 2}]


def test_threads_do_not_mix() -> None:
    """Many threads through one shared object see their own nesting only."""
    shared = log_context(shared=1)

    def work(number: int) -> bool:
        for _ in range(200):
            with shared, log_context(n=number):
                if fields() != {"shared": 1, "n": number}:
                    return False
        return fields() == {}

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
