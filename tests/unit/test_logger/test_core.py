"""The compiled log call gives the bytes of the plain chain, or leaves the call to it."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import mmap
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from datetime import UTC
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from sinks import FakeClock

from metaexpert.logger import BoundLogger, MetaLogger, log_context
from metaexpert.logger.encoding._screen import screen
from metaexpert.logger.encoding.context_frames import current_frame
from metaexpert.logger.encoding.fast import Encoder
from metaexpert.logger.encoding.foreign_steps import EVENT
from metaexpert.logger.encoding.line import Clock
from metaexpert.logger.encoding.processors import CleanValues
from metaexpert.logger.encoding.route import Route, deliver
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.masking.rules import RULES
from metaexpert.logger.system.count import Count
from metaexpert.logger.system.native import core

pytestmark = pytest.mark.skipif(core is None, reason="the log call was not compiled on this machine")

prices = st.builds(lambda number, places: number / 10**places, st.integers(-(10**16), 10**16), st.integers(0, 13))
texts = st.text(st.characters(max_codepoint=0x2100), max_size=12)
scalars = st.one_of(
    prices,
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    texts,
    st.decimals(),
    st.uuids(),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.sampled_from(["x" * 254, "x" * 255, "é" * 999]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner), st.tuples(inner, inner)),
    max_leaves=6,
)
names = st.one_of(st.sampled_from(["side", "price", "ü", 'quote"', "message"]), st.text(min_size=1, max_size=4))


class Lane:
    """A journal lane that keeps what it takes."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.write: Callable[[bytes], Any] = self.lines.append
        self.has_room = self.make_room = bool  # there always is

    def append(self, line: bytes, *, reserve: bool) -> bool:
        """Take it, after `write` has refused."""
        assert reserve
        self.lines.append(b"appended " + line)
        return True


class Bench:
    """One log method, compiled and as the plain chain would do it, with what stands around it."""

    def __init__(self, now: Callable[[], int] | None = None) -> None:
        self.clock = FakeClock(1_700_000_000.123456)
        self.encoder = Encoder("Bot", 60_000, dict, now or self.clock.ns)
        self.lane = Lane()
        self.left: list[tuple[Any, ...]] = []
        self.lost: list[tuple[bytes, int]] = []
        self.errors: list[Exception] = []
        self.route, self.other = (self._route(trade=trade) for trade in (False, True))
        self.compiled = self.encoder.method(self._leave, self.route, self.other)
        self.logger = type("Logger", (), {})()
        self.logger._bound_context = self.encoder.context("bench", {"symbol": "BTCUSDT"})
        self.logger._context, self.logger._logger = {"symbol": "BTCUSDT"}, type("Output", (), {"name": "bench"})

    def _route(self, *, trade: bool) -> Route:
        return Route(
            trade=trade,
            count=Count(),
            lost=lambda *lost: self.lost.append(lost),
            failed=self.errors.append,
            check=None,
            head=b'Z","number":',
            lanes=(self.lane,),
            numbers=Count(1),
            after=None,
        )

    def _leave(self, _: Any, /, *args: Any, **fields: Any) -> None:
        self.left.append((args, fields))

    def plain(self, logger: Any, message: str, /, **fields: Any) -> None:
        """Log as the plain chain does, but for the order in which it comes to the same line."""
        context, frame = logger._bound_context, current_frame.get()
        if frame is not None:
            context = self.encoder.context_in(frame, logger)
        route = self.other if context.trade else self.route
        clean = CleanValues(60_000, 60_000, RULES)(None, "", {**fields, EVENT: message})
        start = b'{"timestamp":"' + Clock(self.clock.ns)()[:-1].encode()
        head = start + route.head + b'%d,"message":' % route.numbers.value + dumps(clean.pop(EVENT))
        deliver(route, head + (context.before_fields if fields else context.alone) + dumps(clean)[1:] + b"\n")

    def restart(self) -> None:
        """Count from 1 again, and forget what was written."""
        for route in (self.route, self.other):
            route.numbers = Count(1)
        self.lane.lines.clear()
        self.left.clear()

    def both(self, /, *args: Any, **fields: Any) -> tuple[list[bytes], list[bytes]]:
        """Return the lines of two equal calls, by the compiled method and by the plain chain.

        A call that the compiled method leaves to the chain stands for its line.
        """
        found = []
        for method in (self.compiled, self.plain):
            left = list(self.left)
            self.restart()
            for _ in range(2):  # the second time its names and its message are known
                if method == self.plain and left:
                    self.left.append(left.pop())
                else:
                    method(self.logger, *args, **fields)
            found.append([*self.lane.lines, *(repr(call).encode() for call in self.left)])
        return found[0], found[1]


@pytest.fixture
def bench() -> Bench:
    """One log method."""
    return Bench()


@settings(max_examples=examples(400), deadline=None)
@given(message=st.one_of(texts, st.none(), st.integers()), fields=st.dictionaries(names, values, max_size=6))
def test_lines_equal_those_of_the_plain_chain(message: Any, fields: dict[str, Any]) -> None:
    """Any message, names and plain values make the same lines, or the same call of the plain chain."""
    compiled, python = Bench().both(message, **fields)
    assert compiled == python


@settings(max_examples=examples(1000), deadline=None)
@given(value=st.one_of(prices, st.floats(), st.floats(1e-5, 1e-3), st.floats(1e14, 1e17)))
def test_numbers_equal_those_of_orjson(value: float) -> None:
    """A fraction is written in its shortest form, as orjson writes it."""
    compiled, python = Bench().both("Order filled", value=value)
    assert compiled == python


NUMBERS = [
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**64,
    0.0,
    -0.0,
    0.1,
    1e-4,
    9.999e-5,
    1e14,
    999999999999999.0,
    1e15,
    5e-324,
    1e22,
]
NUMBERS += [
    1.7976931348623157e308,
    0.30000000000000004,
    2**53 + 1.0,
    123456.789012,
    70000.0,
    1 / 3,
    4.35,
    1.2345e-7,
    -2.5,
]


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_at_the_edges(bench: Bench, value: float) -> None:
    """Zeros, the ends of each range, and numbers of many digits."""
    compiled, python = bench.both("Order filled", value=value)
    assert compiled == python


def test_the_usual_entry_never_reaches_python(bench: Bench) -> None:
    """Once names and message are known, a call with ordinary values is the compiled method's alone."""
    fields = {"order_id": "ord-1", "side": "BUY", "size": 0.25, "price": 64250.5, "n": 7, "ok": True, "none": None}
    fields |= {"note": "größer", "book": {"bids": [(64250.5, 1 / 3)], "side": ["buy", "sell"]}, "n": 2**64 - 1}
    structlog.contextvars.bind_contextvars(request_id=1)
    structlog.contextvars.clear_contextvars()  # its registry of names is never emptied
    for _ in range(2):
        bench.compiled(bench.logger, "Order filled", **fields)
    bench.lane.lines.clear()
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        bench.compiled(bench.logger, "Order filled", **fields)
    finally:
        sys.setprofile(None)
    # The clock of this test is a Python function; the real one is not.
    assert set(calls) == {"ns"}
    assert len(bench.lane.lines) == 1


def test_a_full_segment_is_left_to_append(bench: Bench) -> None:
    """A lane whose `write` raises ValueError is asked to find another segment."""

    def full(_: bytes) -> None:
        raise ValueError("full")

    bench.lane.write = full
    compiled, python = bench.both("Order filled", n=1)
    assert compiled == python
    assert all(line.startswith(b"appended ") for line in compiled)


def test_a_line_that_no_lane_takes_is_told(bench: Bench) -> None:
    """`Route.lost` hears of the line and of how many lanes took it."""

    def full(_: bytes) -> None:
        raise ValueError("full")

    bench.lane.write = full
    bench.lane.append = lambda line, *, reserve: False  # type: ignore[method-assign]
    bench.both("Order filled", n=1)
    assert len(bench.lost) == 4
    assert {taken for _, taken in bench.lost} == {0}


def test_a_line_goes_straight_into_the_map(bench: Bench) -> None:
    """To the same bytes, where there is room; then it is left to `append`. What hears of the line gets it as bytes."""
    mapped = mmap.mmap(-1, 4096)
    told: list[bytes] = []
    tail = core.Tail(mapped)
    bench.lane.write = tail.write
    _, plain = bench.both("Order filled", n=1)
    assert [line.startswith(b"appended ") for line in plain] == [True, True]  # it is sealed at first
    expected = [line.removeprefix(b"appended ") for line in plain]
    tail.seek(512)
    bench.restart()
    for after in (None, told.append):
        bench.route.after = after
        bench.compiled(bench.logger, "Order filled", n=1)
    assert mapped[512 : tail.tell()] == b"".join(expected)
    assert (told, bench.lane.lines) == (expected[1:], [])
    tail.seek(4096 - len(expected[0]))
    for _ in range(2):
        bench.compiled(bench.logger, "Order filled", n=1)
    assert tail.tell() == 4096
    assert len(bench.lane.lines) == 1


def test_a_tail_is_as_good_as_its_map() -> None:
    """It takes what fits, holds the memory only while it takes lines, and refuses all else like a map."""
    mapped = mmap.mmap(-1, 4096)
    tail = core.Tail(mapped)
    with pytest.raises(ValueError, match="full"):
        tail.write(b"x")
    tail.seek(4094)
    tail.write(b"ab")
    for refused, error in ((b"c", ValueError), ("c", TypeError), (bytearray(b"c"), TypeError)):
        with pytest.raises(error):
            tail.write(refused)
    assert (tail.tell(), mapped[4094:]) == (4096, b"ab")
    for position in (-1, 4097, 1 << 70):
        with pytest.raises((ValueError, OverflowError)):
            tail.seek(position)
    tail.seek(0)
    with pytest.raises(BufferError):
        mapped.close()
    tail.seek(4096)
    mapped.close()
    with pytest.raises(ValueError, match="closed"):
        tail.seek(0)
    with pytest.raises(ValueError, match="full"):
        tail.write(b"x")


def test_a_check_that_raises_leaves_the_call_to_python(bench: Bench) -> None:
    """An error while a line is made never reaches the caller."""

    def check() -> bool:
        raise RuntimeError("broken")

    bench.route.check = check
    compiled, python = bench.both("Order filled", n=1)
    assert compiled == python == [b"(('Order filled',), {'n': 1})"] * 2


def test_an_interrupt_reaches_the_caller(bench: Bench) -> None:
    """KeyboardInterrupt is not an error of ours and is not swallowed."""

    def check() -> bool:
        raise KeyboardInterrupt

    bench.compiled(bench.logger, "Order filled", n=1)
    bench.route.check = check
    with pytest.raises(KeyboardInterrupt):
        bench.compiled(bench.logger, "Order filled", n=1)


def test_a_context_is_followed(bench: Bench) -> None:
    """Inside `log_context` the fields of the block come first, and a trade takes the route of trades."""
    with log_context(strategy_id=7):
        compiled, python = bench.both("Order filled", n=1)
    assert compiled == python
    assert b'"strategy_id":7' in compiled[0]
    bench.other.head = b'T","number":'
    with log_context(category="trade"):
        compiled, python = bench.both("Order filled", n=1)
    assert compiled == python
    assert b'T","number":' in compiled[0]


def test_it_looks_like_a_method() -> None:
    """Name, signature and documentation are those of the method that it stands for."""
    with MetaLogger(log_to_console=False, install=False) as logger:
        method = type(logger).info
        assert isinstance(method, core.Method)
        assert (method.__name__, method.__qualname__) == ("info", "BoundLogger.info")
        assert method.__doc__ == BoundLogger.info.__doc__
        assert str(inspect.signature(logger.info)).startswith("(event")
        assert logger.info.__self__ is logger  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            method()


def test_each_module_has_a_state_of_its_own() -> None:
    """As each interpreter needs it: a second module knows neither the types nor the generation of the first."""
    spec = importlib.util.spec_from_file_location("_core", core.__file__)
    assert spec is not None
    assert spec.loader is not None
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    with pytest.raises(TypeError):
        second.Method(print, current_frame, Bench().route)
    second.begin_generation(object())
    compiled, python = Bench().both("Order filled", n=1)
    assert compiled == python
    assert second.Method is not core.Method


def test_it_can_be_collected() -> None:
    """A logger that nobody holds goes with its classes and their compiled methods."""
    with MetaLogger(log_to_console=False, install=False) as logger:
        logger.info("Order filled", n=1)
        seen = weakref.ref(type(logger))
    del logger
    gc.collect()
    assert seen() is None


def test_many_threads_share_one_method(bench: Bench) -> None:
    """Calls of several threads make whole lines whose numbers go up without a gap."""
    turns = 5000

    def log(thread: int) -> None:
        for turn in range(turns):
            bench.compiled(bench.logger, "Order filled", thread=thread, turn=turn, text="x" * (turn % 200))

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [int(line.split(b'"number":')[1].split(b",")[0]) for line in bench.lane.lines]
    assert sorted(numbers) == list(range(1, 4 * turns + 1))
    assert all(line.endswith(b"}\n") for line in bench.lane.lines)


def test_no_reference_is_lost_or_kept(bench: Bench) -> None:
    """Whatever way a call takes, the counts of what it was given stay as they were."""
    message, text, big = "Order filled", "BUY" * 3, 2**70
    given = (message, text, big, bench.logger, bench.logger._bound_context, bench.route, bench.encoder._messages)
    bench.compiled(bench.logger, message, text=text, big=1)
    before = [sys.getrefcount(thing) for thing in given]
    for _ in range(100):
        bench.compiled(bench.logger, message, text=text, big=1.5)
        bench.compiled(bench.logger, message, text=text, big=big)
        bench.compiled(bench.logger, message)
    bench.restart()
    assert [sys.getrefcount(thing) for thing in given] == before


REPLACED_MEANWHILE = """
import datetime as dt
from metaexpert.logger import MetaLogger

logger = MetaLogger(log_to_console=False, journal_size="64MB")
pipeline = logger._logger.pipeline


class Zone(dt.tzinfo):
    busy = True

    def utcoffset(self, moment):
        if not Zone.busy:
            Zone.busy = True
            for number in range(4200):  # more names than a context keeps: it begins a new dictionary
                logger.info("other", **{f"name{number}": 1})
            pipeline.refresh()  # another check
            Zone.memory = [dict.fromkeys(range(5)) for _ in range(1000)], [bytes(99) for _ in range(1000)]
        return dt.timedelta(0)


when = dt.datetime(2026, 1, 1, tzinfo=Zone())
for calm in (pipeline._state[0], frozenset()):
    pipeline._state = (calm, *pipeline._state[1:])
    pipeline.refresh()
    for _ in range(5):
        logger.info("m", when=when, second=1, third=2)
        Zone.busy = False
        logger.info("m", when=when, second=1, third=2)
logger.close()
"""


def test_a_listener_that_replaces_itself_lives_until_it_has_returned(bench: Bench) -> None:
    """The route may hold the only reference to what is told of an entry, and let it go while it runs."""

    def replacing() -> Generator[None, bytes]:
        told.append((yield))
        bench.route.after = told.append
        yield

    told: list[Any] = []
    listener = replacing()
    next(listener)
    bench.route.after = listener.send
    del listener
    bench.compiled(bench.logger, "Order filled", n=1)
    bench.compiled(bench.logger, "Order filled", n=2)
    assert told == bench.lane.lines[:2]
    assert bench.errors == []


def test_what_hears_of_a_lost_line_lives_until_it_has_returned(bench: Bench) -> None:
    """A method of an object that nothing else holds, and that is replaced meanwhile."""

    class Replacing:
        def __eq__(self, line: object) -> bool:
            bench.route.lost = lambda *lost: bench.lost.append(lost)
            return False

        __hash__ = None  # type: ignore[assignment]

    bench.compiled(bench.logger, "Order filled", n=1)
    bench.lane.write = [].index  # type: ignore[assignment]
    bench.lane.append = lambda line, *, reserve: False  # type: ignore[method-assign]
    bench.route.lost = [Replacing(), *range(1000)].index  # type: ignore[assignment]
    bench.compiled(bench.logger, "Order filled", n=1)
    bench.compiled(bench.logger, "Order filled", n=1)
    assert [type(error) for error in bench.errors] == [ValueError]  # no line is in that list
    assert [taken for _, taken in bench.lost] == [0]


@pytest.mark.parametrize("slot", ["trade", "head", "lanes", "numbers", "count", "check", "after", "lost", "failed"])
def test_a_slot_that_is_empty_is_an_error_like_another(bench: Bench, slot: str) -> None:
    """Nothing is read that is not there, and nothing reaches the caller."""
    bench.compiled(bench.logger, "Order filled", n=1)
    delattr(bench.route, slot)
    if slot == "failed":
        bench.lane.write = None  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            bench.compiled(bench.logger, "Order filled", n=1)
    else:
        bench.compiled(bench.logger, "Order filled", n=1)


def test_the_screen_cannot_be_moved_under_a_call() -> None:
    """Its bytes may change, never its place: a call of another thread may be reading it."""
    bench = Bench()
    with pytest.raises(BufferError):
        screen.extend(b"x")
    screen[:] = bytes(screen)
    assert bench.both("Order filled", n=1)[0] == bench.both("Order filled", n=1)[1]


def test_a_second_that_passes_within_a_call_does_not_tear_its_time() -> None:
    """An entry bears the time at which it was made, though another second began before it was joined."""
    inner = False

    def now() -> int:
        nonlocal inner
        made = told.clock.ns()
        if inner:
            inner = False
            told.clock.advance(1.5)
            told.compiled(told.logger, "inner")
        return made

    told = Bench(now)
    told.compiled(told.logger, "before")
    told.lane.lines.clear()
    inner = True
    told.compiled(told.logger, "outer")
    times = [line[14:41] for line in told.lane.lines]
    assert times == [b"2023-11-14T22:13:21.623456Z", b"2023-11-14T22:13:20.123456Z"]


@pytest.mark.parametrize("seconds", [0, 5e9, 9.2e9, -4e9])
def test_the_first_entry_may_be_of_any_time(seconds: float) -> None:
    """A clock far from today is taken as it is by both."""
    bench = Bench()
    bench.clock.advance(seconds - 1_700_000_000.123456)
    compiled, python = bench.both("Order filled", n=1)
    assert compiled == python


def test_what_a_call_reads_lives_until_it_has_returned(python: str) -> None:
    """The code of a value may replace names and check under the call, as other threads may meanwhile."""
    done = subprocess.run(
        [python, "-X", "faulthandler", "-c", REPLACED_MEANWHILE],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
