"""Context around `yield`: it belongs to the generator, and neither leaks to the consumer nor takes the consumer's."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, closing, contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from metaexpert.logger import log_context, trade_context
from metaexpert.logger.encoding.context_frames import current_fields, lifts_gate, own_blocks


def fields() -> dict[str, Any]:
    """Return the current context fields as a dict."""
    return dict(current_fields())


@pytest.fixture(autouse=True)
def _nothing_remains() -> Iterator[None]:
    assert fields() == {}
    yield
    gc.collect()
    assert fields() == {}
    assert not own_blocks


@pytest.fixture
def composed() -> Iterator[None]:
    """A fixture gives its context to the test."""
    with log_context(fixture=1):
        yield


def ticks(symbol: str, count: int = 3) -> Generator[dict[str, Any]]:
    """Yield what an entry of the generator would have."""
    with log_context(symbol=symbol):
        for _ in range(count):
            yield fields()


async def async_ticks(symbol: str, count: int = 3) -> AsyncGenerator[dict[str, Any]]:
    """Do the same asynchronously."""
    async with log_context(symbol=symbol):
        for _ in range(count):
            await asyncio.sleep(0)
            yield fields()


def test_interleaved_generators() -> None:
    """Each has its own symbol, and the consumer its own fields, at every step and after."""
    with log_context(who="me", symbol="mine"):
        for btc, eth in zip(ticks("BTC"), ticks("ETH"), strict=True):
            assert btc == {"who": "me", "symbol": "BTC"}
            assert eth == {"who": "me", "symbol": "ETH"}
            assert fields() == {"who": "me", "symbol": "mine"}
    assert fields() == {}


def test_a_block_of_the_consumer_that_begins_and_ends_between() -> None:
    """The consumer's block goes with the consumer, in any order of begin and end."""
    generator = ticks("BTC", 2)
    with log_context(first=1):
        assert next(generator) == {"first": 1, "symbol": "BTC"}
    with log_context(symbol="mine"):
        assert next(generator) == {"symbol": "BTC"}
        assert next(generator, None) is None
        assert fields() == {"symbol": "mine"}


def test_trades() -> None:
    """A trade context around `yield` lifts the levels of the generator alone."""

    def work() -> Iterator[bool]:
        with trade_context(order_id="o"):
            yield lifts_gate()

    generator = work()
    assert next(generator)
    assert not lifts_gate()
    assert list(generator) == []


def test_blocks_inside_a_generator() -> None:
    """Inner values win: of the generator's own blocks, and of functions that it calls."""

    def helper() -> dict[str, Any]:
        with log_context(symbol="helper", deep=1):
            return fields()

    def work() -> Iterator[dict[str, Any]]:
        with log_context(symbol="outer", a=1):
            yield helper()
            with log_context(symbol="inner"):
                yield fields()
            yield fields()

    with log_context(symbol="consumer"):
        generator = work()
        assert next(generator) == {"symbol": "helper", "a": 1, "deep": 1}
        assert next(generator) == {"symbol": "inner", "a": 1}
        assert next(generator) == {"symbol": "outer", "a": 1}
        assert list(generator) == []


def test_a_generator_inside_a_generator() -> None:
    """`yield from` and a loop: the inner one has the fields of both, the outer one its own."""

    def outer() -> Iterator[dict[str, Any]]:
        with log_context(outer=1, symbol="outer"):
            yield from ticks("BTC", 1)
            for tick in ticks("ETH", 1):
                yield tick
                yield fields()

    both = {"outer": 1, "symbol": "BTC"}
    assert list(outer()) == [both, both | {"symbol": "ETH"}, {"outer": 1, "symbol": "outer"}]


def test_closed_early() -> None:
    """Its clean-up has its context, and the consumer's stays, whatever closes it."""
    seen = []

    def work() -> Generator[int]:
        with log_context(a=1):
            try:
                yield 1
            finally:
                seen.append(fields())

    generator = work()
    with log_context(b=2):
        next(generator)
        generator.close()
        assert fields() == {"b": 2}
        with closing(work()) as other:
            next(other)
        thrown = work()
        next(thrown)
        with pytest.raises(KeyError):
            thrown.throw(KeyError())
        assert fields() == {"b": 2}
    assert seen == [{"a": 1, "b": 2}] * 3


def test_collected_late_elsewhere() -> None:
    """A generator that another thread or context drops takes its own block along, and no other of the same object."""
    shared = log_context(shared=1)

    def work() -> Iterator[int]:
        with shared:
            yield 1

    kept: list[Any] = []

    def begin() -> None:
        kept.append(work())
        next(kept[-1])
        assert fields() == {}

    def drop() -> None:
        with shared:
            kept.clear()
            gc.collect()
            assert fields() == {"shared": 1}
        assert fields() == {}

    copy_context().run(begin)
    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert not own_blocks
    copy_context().run(begin)
    drop()


def test_driven_by_several_threads() -> None:
    """A generator has its context in whichever thread runs it."""
    generator, seen = ticks("BTC", 3), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(next(generator)))
        thread.start()
        thread.join()
    generator.close()
    assert seen == [{"symbol": "BTC"}] * 3


def test_ends_out_of_order() -> None:
    """A block that ends before the inner one takes only its own fields; one that is not here takes none."""
    first, second, third = log_context(a=1), log_context(b=2), log_context(c=3)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert fields() == {"b": 2}
    third.__exit__()
    assert fields() == {"b": 2}
    second.__exit__()


def test_context_managers_compose() -> None:
    """The body of a context manager that is made of a generator has the context, also in an exit stack."""

    @contextmanager
    def inner() -> Iterator[None]:
        with trade_context(order_id="o"):
            yield

    @contextmanager
    def outer() -> Iterator[None]:
        with log_context(outer=1), inner():
            yield

    expected = {"outer": 1, "order_id": "o", "category": "trade"}
    with outer():
        assert fields() == expected
    with ExitStack() as stack:
        stack.enter_context(outer())
        assert fields() == expected
        assert lifts_gate()
    assert outer()(fields)() == expected  # as a decorator

    def work() -> Iterator[dict[str, Any]]:
        with outer(), ExitStack() as stack:
            stack.enter_context(log_context(stack=1))
            yield fields()

    generator = work()
    assert next(generator) == expected | {"stack": 1}
    assert fields() == {}
    del generator


@pytest.mark.usefixtures("composed")
def test_fixtures_compose() -> None:
    """Pytest runs a fixture on behalf of the test."""
    assert fields() == {"fixture": 1}
    assert not own_blocks
    # `_nothing_remains` looks at the end of the fixture, too.


def test_async_generators_interleaved() -> None:
    """In one task, in several, and when each step has a task of its own."""

    async def consume(name: str) -> None:
        with log_context(who=name):
            async for tick in async_ticks(name):
                assert tick == {"who": name, "symbol": name}
                assert fields() == {"who": name}
            assert fields() == {"who": name}

    async def main() -> None:
        await asyncio.gather(*(consume(str(number)) for number in range(20)))
        with log_context(symbol="mine"):
            async with aclosing(async_ticks("BTC")) as btc, aclosing(async_ticks("ETH")) as eth:
                for _ in range(2):
                    assert await anext(btc) == {"symbol": "BTC"}
                    step = asyncio.ensure_future(eth.__anext__())
                    assert await step == {"symbol": "ETH"}
                    assert fields() == {"symbol": "mine"}
                    assert await asyncio.create_task(in_task()) == {"symbol": "mine"}
            assert fields() == {"symbol": "mine"}

    async def in_task() -> dict[str, Any]:
        return fields()

    asyncio.run(main())


def test_async_generator_dropped() -> None:
    """The loop closes it later, in a task of its own."""

    async def main() -> None:
        with log_context(b=1):
            async for _ in async_ticks("BTC"):
                break
            assert fields() == {"b": 1}
            gc.collect()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert fields() == {"b": 1}

    asyncio.run(main())


def test_async_context_managers_compose() -> None:
    """As with the plain ones."""

    @asynccontextmanager
    async def operation() -> AsyncIterator[None]:
        async with log_context(a=1):
            with log_context(b=2):
                yield

    async def work() -> AsyncIterator[dict[str, Any]]:
        async with operation():
            yield fields()

    async def main() -> None:
        async with operation():
            assert fields() == {"a": 1, "b": 2}
            assert await asyncio.to_thread(fields) == {"a": 1, "b": 2}
        assert fields() == {}
        async for seen in work():
            assert seen == {"a": 1, "b": 2}
            assert fields() == {}

    asyncio.run(main())


def test_decorated_generators_interleaved() -> None:
    """The decorator does the same, and what the generator starts meanwhile inherits its context."""

    @log_context(kind="plain")
    def plain(symbol: str) -> Iterator[dict[str, Any]]:
        yield from ticks(symbol, 2)

    @log_context(kind="async")
    async def asynchronous(symbol: str) -> AsyncIterator[dict[str, Any]]:
        yield await asyncio.to_thread(fields)
        async for tick in async_ticks(symbol, 1):
            yield tick

    assert (
        list(zip(plain("a"), plain("b"), strict=True))
        == [({"kind": "plain", "symbol": "a"}, {"kind": "plain", "symbol": "b"})] * 2
    )

    async def main() -> None:
        a, b = asynchronous("a"), asynchronous("b")
        assert await anext(a) == await anext(b) == {"kind": "async"}
        assert await anext(a) == {"kind": "async", "symbol": "a"}
        assert await anext(b) == {"kind": "async", "symbol": "b"}
        assert fields() == {}
        await a.aclose()  # type: ignore[attr-defined]
        await b.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


_PROGRAM = """
import json
from pathlib import Path
from metaexpert.logger import MetaLogger, log_context, trade_context

logger = MetaLogger(log_to_console=False, log_level="info")

def work(symbol, make):
    with make(symbol=symbol):
        for step in range(2):
            logger.info("own", expected=symbol)
            logger.debug("lifted")
            logger.info("own %s", "plainly", expected=symbol)
            yield

with log_context(who="me"):
    for _ in zip(work("a", log_context), work("b", trade_context)):
        logger.info("consumer")
        logger.debug("off")
logger.close()
entries = [json.loads(line) for name in ("expert", "trades") for line in Path(f"logs/{name}.log").open()]
own = [entry for entry in entries if "expected" in entry]
assert len(own) == 12, own
assert all(entry["symbol"] == entry["expected"] and entry["who"] == "me" for entry in own), own
consumer = [entry for entry in entries if entry["message"] == "consumer"]
assert len(consumer) == 2, consumer
assert all(entry["who"] == "me" and "symbol" not in entry for entry in consumer), consumer
lifted = [entry for entry in entries if entry["level"] == "debug"]
assert [(entry["message"], entry["symbol"]) for entry in lifted] == [("lifted", "b")] * 2, lifted
"""


@pytest.mark.parametrize("pure", ["0", "1"])
def test_entries(pure: str, tmp_path: Any) -> None:
    """The entries of the fast call and of the plain chain bear it, and a level that is off stays off outside."""
    environment = os.environ | {"METAEXPERT_PURE_PYTHON": pure}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
