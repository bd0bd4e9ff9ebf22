"""The fast log call gives the bytes of the plain chain, takes the fast way when it can, and never loses its way."""

from __future__ import annotations

import base64
import copy
import dataclasses
import enum
import functools
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from keyword import iskeyword
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples
from sinks import FakeClock
from structlog.testing import capture_logs

from metaexpert.logger import BoundLogger, LoggerConfig, MetaLogger, log_context, register_secret, trade_context
from metaexpert.logger.encoding import fast
from metaexpert.logger.encoding.context_frames import current_frame
from metaexpert.logger.encoding.route import never
from metaexpert.logger.hub.pipeline import Pipeline
from metaexpert.logger.logger_classes import bound_logger
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.system.native import core
from metaexpert.logger.testing import reset

FILES = ("expert.log", "trades.log", "errors.log")
needs_core = pytest.mark.skipif(core is None, reason="the fast call is the compiled core's")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


class Side(enum.StrEnum):
    """A text of a kind of its own."""

    BUY = "buy"


class Text(str):
    """A subclass of str."""

    __slots__ = ()


@dataclasses.dataclass
class Order:
    """A dataclass, which orjson would write by itself."""

    price: float
    side: str = "BUY"


class Fill(NamedTuple):
    """A named tuple, which becomes an object."""

    size: float


def nested(depth: int) -> Any:
    """Return lists inside lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(), max_size=30),
    st.sampled_from(["null", "]", "}", "\u2028", "\x9b31m", "\ud800", 'quote " \\ \n', "x" * 300, "ü" * 90]),
    st.sampled_from([Side.BUY, Text("text"), Order(1.5), Fill(2.0), Decimal("1.10"), uuid.UUID(int=7), b"bytes"]),
    st.sampled_from([datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), {1, 2}, Path("a/b"), 1j, nested(62)]),
    st.sampled_from([datetime(2026, 1, 1).date(), datetime(2026, 1, 1, 12).time(), Decimal("NaN"), [Decimal("1E+3")]]),
    st.sampled_from([nested(63), nested(64), nested(70), nested(260), {"a": {}}, {1: 2}, {"k" * 300: 1}, ()]),
)
KNOWN = ("kn0wn+s3cr3t/1", "48151623", "7f3a91bc55de")
NEW = "n3w-s3cr3t"
CODED = base64.b64encode(f"user:{KNOWN[0]}".encode()).decode()
HOLDERS = [f"a{KNOWN[0]}b", CODED, int(KNOWN[1]), {KNOWN[2]: 1}, Decimal(KNOWN[1]), f"x{KNOWN[2]}" * 9]
SHAPES = [
    "token=abc",
    "pin:1234",
    "a: b",
    "12:30",
    "Bearer abc12345",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    "AKIA" + "B" * 16,
]
SPELT = [
    "größer",
    "é" * 14,
    "ключ: значение",
    "日本語のテキストです。とても長い",
    "\x7f\x80\x9f\xa0ÿĀ߿ࠀ\u2029\ud7ff\ue000",
    "😀",
    "a\x00\b\t\f\r",
    "=é",
]
PACKED = [
    {"key": 1},
    {"ключ": "ü", "k": (1, 2.5)},
    {"api": {"ΚEY": 1}},
    [["token", "t"]],
    ("Bid", 1.5),
    ("ask", "ü"),
    [float("nan")],
]
PACKED += [
    {"x": 1 / 3, "y": [2**63, -(2**63), 2**64 - 1]},
    [True, None, 0.1, Decimal("1.50")],
    {"a=b": 1},
    {Text("k"): 1},
    [Text("t")],
]
PACKED += [
    {"": []},
    [-0.0, 1e22, 1e-7, 5e-324],
    ["--quick", "pin code", "side"],
    {"x" * 201: 1},
    [48151623],
    {"n": 48151623},
]
NAMED = ["--password hunter2", {"token": 1}, {"api": {"key": "k"}}, ["--token", "t"], ("apiKey", "k"), ["pin"]]
IDS = ["550e8400-e29b-41d4-a716-446655440000", "GET /bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/x", "</a>" * 5]
URLS = [
    "discord.com/api/webhooks/1/a-B_c",
    "https://u:p@h/",
    "ghp_" + "aB3" * 12,
    "account_id=123456789",
    "acc-123456789",
]
secretive = st.sampled_from([*KNOWN, NEW, *HOLDERS, *SHAPES, *NAMED, *IDS, *URLS, "x" * 15 + "=", *SPELT])
scalars = st.one_of(scalars, secretive, st.sampled_from(PACKED))
inner_names = st.one_of(
    st.text(max_size=3), st.sampled_from(["key", "api", "token", "price", NEW, "…", "level", *KNOWN])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(inner_names, inner, max_size=3), st.tuples(inner, inner)
    ),
)
names = st.one_of(
    st.sampled_from(["a", "b", "side", "price", "symbol", "order_id", "expert_name", "category", "message", "event"]),
    st.sampled_from(["level", "field_level", "field_a", "self", "exc_info", "stack_info", "logger", "timestamp", "…"]),
    st.sampled_from(
        ["api_key", "token", "account_id", "masked", "field_masked", "sign", "secrets", NEW, f"x{KNOWN[2]}"]
    ),
    st.text(min_size=1, max_size=5),
).filter(lambda name: name not in ("stack_info", "exc_info"))
fields = st.dictionaries(names, values, max_size=5)
categories = st.dictionaries(st.just("category"), st.sampled_from(["trade", "other", None]))
messages = st.one_of(
    st.text(st.characters(), max_size=20),
    st.sampled_from(["Order filled", "", None, Text("subclass"), Side.BUY, 7, "100 %", "%s", "\x9b", "x" * 3000]),
    secretive,
)
steps = st.one_of(
    st.tuples(st.just("log"), st.sampled_from(["debug", "info", "warning", "error", "critical"]), messages, fields),
    st.tuples(st.just("again"), st.sampled_from(["info", "error"]), messages, fields),
    st.tuples(st.just("args"), st.just("info"), messages, st.lists(values, max_size=2)),
    st.tuples(st.just("bind"), st.none(), st.none(), st.one_of(fields, categories)),
    st.tuples(
        st.just("enter"), st.sampled_from([log_context, trade_context]), st.none(), st.one_of(fields, categories)
    ),
    st.tuples(st.just("foreign"), st.none(), st.none(), fields),
    st.tuples(st.sampled_from(["leave", "clear", "new", "trade"]), st.none(), st.none(), st.none()),
    st.tuples(st.just("register"), st.sampled_from([NEW, "BTCUSDT", "48151624"]), st.none(), st.none()),
    st.tuples(st.just("level"), st.sampled_from(["DEBUG", "INFO", "ERROR"]), st.none(), st.none()),
    st.tuples(st.just("time"), st.none(), st.none(), st.sampled_from([0.25, 1, -3, 86_400, 10**12])),
)


@functools.cache
def site(names: tuple[str, ...]) -> Callable[..., None]:
    """Return a place in the code that logs fields of these *names*: it hands over one tuple of names at each call."""
    fields = ", ".join(f"{name}=values[{number}]" for number, name in enumerate(names))
    made: dict[str, Any] = {}
    exec(f"def log(method, message, values): method(message, {fields})", made)
    return cast("Callable[..., None]", made["log"])


class Player:
    """Does steps with a logger."""

    def __init__(self, logger: Any, clock: FakeClock) -> None:
        self.first = self.logger = logger
        self.clock = clock
        self.entered: list[ExitStack] = []

    def play(self, played: list[Any]) -> None:
        """Do *played*, and leave every context."""
        for what, detail, message, data in played:
            getattr(self, what)(detail, message, data)
        while self.entered:
            self.entered.pop().close()
        structlog.contextvars.clear_contextvars()

    def log(self, level: str, message: Any, data: Any) -> None:
        """Log with fields."""
        getattr(self.logger, level)(message, **data)

    def again(self, level: str, message: Any, data: Any) -> None:
        """Log by one place in the code, three times; its first step may have been with another logger."""
        sound = {n: value for n, value in data.items() if n.isascii() and n.isidentifier() and not iskeyword(n)}
        for _ in range(3):
            site(tuple(sound))(getattr(self.logger, level), message, list(sound.values()))

    def args(self, _: Any, message: Any, data: Any) -> None:
        """Log with positional arguments."""
        self.logger.info(message, *data)

    def bind(self, _: Any, __: Any, data: Any) -> None:
        """Go on with a logger that has more bound."""
        self.logger = self.logger.bind(**data)

    def trade(self, *_: Any) -> None:
        """Go on with the trade logger."""
        self.logger = self.logger.trade

    def new(self, *_: Any) -> None:
        """Go back to the first logger."""
        self.logger = self.first

    def enter(self, context: Any, _: Any, data: Any) -> None:
        """Enter a context."""
        self.entered.append(ExitStack())
        self.entered[-1].enter_context(context(**data))

    def leave(self, *_: Any) -> None:
        """Leave the innermost context."""
        if self.entered:
            self.entered.pop().close()

    def foreign(self, _: Any, __: Any, data: Any) -> None:
        """Bind structlog's contextvars."""
        structlog.contextvars.bind_contextvars(**data)

    def clear(self, *_: Any) -> None:
        """Clear structlog's contextvars."""
        structlog.contextvars.clear_contextvars()

    def register(self, secret: str, *_: Any) -> None:
        """Register a secret, which may have been logged before."""
        register_secret(secret)

    def level(self, level: str, *_: Any) -> None:
        """Set the level."""
        self.logger.set_level(level)

    def time(self, _: Any, __: Any, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)


def lines_of(
    played: list[Any], directory: Path, *, plain: bool = False, compiled: Any = core, **options: Any
) -> dict[str, bytes]:
    """Return the files that *played* makes, by the fast call (*compiled* or not) or by the plain chain alone."""
    clock = FakeClock(NOON)
    registered.forget()
    for secret in KNOWN:
        register_secret(secret)
    config = LoggerConfig(
        **{"log_dir": directory, "log_to_console": False, "expert_name": "Bot", "fsync": "never", **options}
    )
    with (
        patch("metaexpert.logger.files.directory._sequences", {}),
        patch("metaexpert.logger.logger_classes.core", compiled),
    ):
        pipeline = Pipeline(config, clock.ns)
        logger = bound_logger(pipeline, {"symbol": "BTCUSDT"})
        if plain:
            really = pipeline.refresh

            def refresh() -> None:
                really()
                for route in pipeline.routes.values():
                    route.check = never

            refresh()
            pipeline.refresh = pipeline.processors.on_change = refresh  # type: ignore[method-assign]
        Player(logger, clock).play(played)
        assert logger.close()
        assert logger.stats()["failed"] == 0
    found = {name: (directory / name).read_bytes() for name in FILES}
    for name in FILES:
        (directory / name).unlink()
    assert not [secret for secret in (*KNOWN, CODED) if secret.encode() in b"".join(found.values())]
    return found


@pytest.fixture
def logger() -> Iterator[BoundLogger]:
    """A quiet logger in `logs`."""
    made = MetaLogger(log_to_console=False, log_level="DEBUG", symbol="BTCUSDT")
    yield made
    made.close()


@pytest.fixture
def plain_calls() -> Iterator[list[str]]:
    """The levels of the calls that went the plain way."""
    calls: list[str] = []
    really = BoundLogger._run

    def run(self: BoundLogger, processors: Any, method: str, *rest: Any) -> None:
        calls.append(method)
        really(self, processors, method, *rest)

    with patch.object(BoundLogger, "_run", run):
        yield calls


class TestEqualToThePlainChain:
    """Byte for byte, in all three files."""

    @settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(played=st.lists(steps, max_size=12))
    def test_whatever_is_logged(self, tmp_path: Path, played: list[Any]) -> None:
        """Any messages, fields, contexts, levels and times."""
        expected = lines_of(played, tmp_path / "logs", plain=True)
        assert lines_of(played, tmp_path / "logs") == expected
        assert lines_of(played, tmp_path / "logs", compiled=None) == expected

    @settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(played=st.lists(steps, max_size=8))
    def test_without_names_and_shapes(self, tmp_path: Path, played: list[Any]) -> None:
        """With `mask_secrets=False`, and with more names that are secret."""
        for options in ({"mask_secrets": False}, {"extra_secret_keys": ["side", "a"]}):
            expected = lines_of(played, tmp_path / "logs", plain=True, **options)
            assert lines_of(played, tmp_path / "logs", **options) == expected
            assert lines_of(played, tmp_path / "logs", compiled=None, **options) == expected

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(played=st.lists(steps, max_size=8))
    def test_under_small_limits(self, tmp_path: Path, played: list[Any]) -> None:
        """Texts and lines that have to be cut."""
        limits: dict[str, Any] = {"max_value_length": 64, "max_entry_size": 2048}
        expected = lines_of(played, tmp_path / "logs", plain=True, **limits)
        assert lines_of(played, tmp_path / "logs", **limits) == expected
        assert lines_of(played, tmp_path / "logs", compiled=None, **limits) == expected

    def test_what_is_most_usual(self, tmp_path: Path) -> None:
        """The entry that everybody logs, at every level, inside contexts and outside, and without fields."""
        data = {"side": "BUY", "size": 0.1, "price": 70000.0, "order_id": "ord-1", "attempt": 3, "ok": True}
        played: list[Any] = []
        for level in ("debug", "info", "warning", "error", "critical"):
            played += [("log", level, "Order filled", data), ("log", level, "Order filled", {})]
        played = [*played, ("enter", trade_context, None, {"trade_id": 7}), *played, ("leave", None, None, None)]
        played = [*played, ("enter", log_context, None, {"symbol": "ETH", "x": "ü"}), *played]
        played = [*played, ("trade", None, None, None), *played]
        expected = lines_of(played, tmp_path / "logs", plain=True)
        assert lines_of(played, tmp_path / "logs") == expected
        assert lines_of(played, tmp_path / "logs", compiled=None) == expected
        assert all(expected.values())


class TestTheFastWay:
    """When it is taken, and when not."""

    @needs_core
    def test_ordinary_calls_take_it(self, logger: BoundLogger, plain_calls: list[str]) -> None:
        """At every level; with decimals, containers, None, non-ASCII text; bound, in contexts, as trades, by `log`."""
        data = {"side": "BUY", "size": Decimal("0.1"), "none": None, "list": [1, {"a": "ü"}], "n": 2**60}
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(logger, level)("m", **data)
        logger.bind(strategy_id=7).info("größer", **data)
        book = {"bids": [(64250.5, 0.25), (64250.0, 1 / 3)], "kind": "ü", "side": ("buy", "sell"), "x": {"y": ()}}
        logger.info("m", book=book, text="größer als geplant: " * 9, escaped='a "b"\n', when=NOON, n=2**64 - 1)
        logger.trade.info("m", **data)
        with log_context(order_id="o"), trade_context(trade_id=3):
            logger.info("m", **data)
            logger.log(25, "m")
        assert plain_calls == []

    @pytest.mark.parametrize(
        "call",
        [
            lambda log: log.info("%s", 1),
            lambda log: log.info("m", exc_info=True),
            lambda log: log.info("m", message="mine"),
            lambda log: log.info("m", category="trade"),
            lambda log: log.info("m", symbol="another"),
            lambda log: log.info("m", price=float("nan")),
            lambda log: log.info("m", order=Order(1.0)),
            lambda log: log.info("m", n=2**64),
            lambda log: log.info(7),
            lambda log: log.bind(mutable=[1]).info("m"),
            lambda log: log.exception("m"),
        ],
    )
    def test_unusual_calls_do_not(
        self, logger: BoundLogger, plain_calls: list[str], call: Callable[[Any], None]
    ) -> None:
        """What the fast way cannot do to the same bytes it leaves to the chain."""
        call(logger)
        assert len(plain_calls) == 1

    @needs_core
    def test_a_place_in_the_code_that_logs_again(
        self, logger: BoundLogger, plain_calls: list[str], read_log: Any
    ) -> None:
        """Its names are judged anew for a logger that binds one of them, and when one becomes a secret."""
        again = site(("side", "price"))
        for number in range(4):
            again(logger.info, "m", ["BUY", number])
            again(logger.error, "m", ["SELL", -number])
        assert plain_calls == []
        again(logger.bind(side="bound").info, "m", ["call", 4])
        assert plain_calls == ["info"]
        register_secret("price")
        again(logger.info, "m", ["BUY", 5])
        assert logger.flush()
        entries = read_log("logs/expert.log")
        found = [(entry["side"], entry.get("price")) for entry in entries]
        pairs = [pair for number in range(4) for pair in (("BUY", number), ("SELL", -number))]
        assert found == [*pairs, ("call", 4), ("BUY", None)]
        assert entries[-1]["***"] == 5

    @needs_core
    def test_more_places_than_a_logger_remembers(
        self, logger: BoundLogger, plain_calls: list[str], read_log: Any
    ) -> None:
        """Places that take turns, without fields too, never get each other's names."""
        places = [tuple(f"n{place}_{number}" for number in range(place)) for place in range(40)]
        for turn in range(3):
            for names in places:
                site(names)(logger.info, "m", [turn, *range(1, 40)])
        assert logger.flush()
        assert plain_calls == []
        written = [
            {name: entry[name] for name in entry if "_" in name and name[0] == "n"}
            for entry in read_log("logs/expert.log")
        ]
        expected = [dict(zip(names, [turn, *range(1, 40)], strict=False)) for turn in range(3) for names in places]
        assert written == expected

    def test_what_is_bound_may_change_afterwards(self, logger: BoundLogger, read_log: Any) -> None:
        """A list in the context is written as it is when the call is made."""
        positions: list[int] = []
        bound = logger.bind(positions=positions)
        bound.info("m")
        positions.append(1)
        bound.info("m")
        logger.flush()
        assert [entry["positions"] for entry in read_log("logs/expert.log")] == [[], [1]]

    @needs_core
    def test_structlogs_own_context_is_honoured_and_forgotten(
        self, logger: BoundLogger, plain_calls: list[str], read_log: Any
    ) -> None:
        """While something is bound there; afterwards the way is fast again although the registry keeps the name."""
        with structlog.contextvars.bound_contextvars(foreign=1):
            logger.info("m")
        logger.info("m")
        logger.flush()
        assert [entry.get("foreign") for entry in read_log("logs/expert.log")] == [1, None]
        assert len(plain_calls) == 1

    @needs_core
    def test_captured_logs_come_from_the_plain_chain(self, logger: BoundLogger, plain_calls: list[str]) -> None:
        """Loggers and methods that were there before are captured too; then all is as it was."""
        method, bound = logger.info, logger.bind(x=1)
        with capture_logs() as captured:
            method("m", a=1)
            bound.info("m")
        assert [entry["event"] for entry in captured] == ["m", "m"]
        assert len(plain_calls) == 2
        method("m")
        assert len(plain_calls) == 2

    def test_processors_of_the_user_run(self, read_log: Any, plain_calls: list[str]) -> None:
        """Those of the configuration, and those that structlog is given later for loggers of its own."""

        def add(_: Any, __: str, event: Any) -> Any:
            return {**event, "added": 1}

        with MetaLogger(log_to_console=False, processors=[add]) as logger:
            logger.info("m")
        own = MetaLogger(log_to_console=False, log_dir="others")
        structlog.configure(processors=[add, *own._processors])
        structlog.get_logger().info("m")
        own.info("m")
        own.flush()
        assert read_log("logs/expert.log")[0]["added"] == 1
        assert [entry.get("added") for entry in read_log("others/expert.log")] == [1, None]

    def test_a_method_that_was_kept_follows_the_level(self, logger: BoundLogger, read_log: Any) -> None:
        """`info = logger.info` once: its entries stop and go on with set_level."""
        info = logger.info
        for number, level in enumerate(("DEBUG", "ERROR", "INFO")):
            logger.set_level(level)
            info("m", number=number)
        logger.close()
        info("closed")
        assert [entry["number"] for entry in read_log("logs/expert.log")] == [0, 2]
        assert logger.stats()["dropped"] == 1

    def test_it_works_from_within_a_call(self, logger: BoundLogger, read_log: Any) -> None:
        """A clock, a value's __repr__ and a __del__ that log in the middle of a call: every entry is there, once."""

        class Chatty:
            def __repr__(self) -> str:
                logger.info("inner")
                return "chatty"

            def __del__(self) -> None:
                logger.info("deleted")

        logger.info("outer", value=Chatty())
        logger.flush()
        found = sorted(entry["message"] for entry in read_log("logs/expert.log"))
        assert found == ["deleted", "inner", "outer"]

    def test_copies_and_pickles_log(self, logger: BoundLogger, read_log: Any) -> None:
        """What was encoded for the original is not taken along where it does not belong."""
        bound = logger.bind(a=1)
        bound.info("1")
        copy.deepcopy(bound).info("2")
        pickle.loads(pickle.dumps(bound)).info("3")
        logger.flush()
        assert [entry["a"] for entry in read_log("logs/expert.log")] == [1, 1, 1]

    @pytest.mark.storm
    def test_threads_share_numbers_without_gap(self, logger: BoundLogger, read_log: Any) -> None:
        """Eight threads, every entry once, numbers from one to the last."""

        def run(name: int) -> None:
            for number in range(2000):
                logger.info("m", thread=name, number=number)

        threads = [threading.Thread(target=run, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert logger.close()
        found = read_log("logs/expert.log")
        assert sorted(entry["sequence_id"] for entry in found) == list(range(1, 16_001))
        assert {(entry["thread"], entry["number"]) for entry in found} == {
            (t, n) for t in range(8) for n in range(2000)
        }


@needs_core
class TestBounds:
    """Nothing grows with what is logged."""

    def test_messages(self, logger: BoundLogger) -> None:
        """A message with a number in it, ten thousand times; long ones are not kept at all."""
        encoder = logger._logger.pipeline.encoder
        for number in range(3 * fast.MOST_MESSAGES):
            logger.debug(f"message {number}")
            assert len(encoder._messages) <= fast.MOST_MESSAGES
        kept = len(encoder._messages)
        logger.info("x" * 1000)
        assert len(encoder._messages) == kept

    def test_names(self, logger: BoundLogger) -> None:
        """Fields with a name of their own each."""
        for number in range(3 * fast.MOST_NAMES):
            logger.debug("m", **{f"name{number}": 1})
        assert len(logger._bound_context.names) <= fast.MOST_NAMES + 1

    def test_loggers_in_a_context(self, logger: BoundLogger) -> None:
        """A logger bound anew for each call inside one long block."""
        with log_context(a=1) as context:
            for number in range(3 * fast.MOST_CONTEXTS):
                logger.bind(number=number).info("m")
            frame = current_frame.get()
            assert frame is not None
            assert len(frame.encoded) <= fast.MOST_CONTEXTS
        assert context is not None


def test_no_room_at_all_is_told(logger: BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither disk nor memory for a segment: the entry is counted and, if it is grave, shown; the call returns."""
    with patch("metaexpert.logger.journal.journal.Journal.new_segment", return_value=None):
        logger.info("lost")
        logger.error("lost error")
    assert "lost error" in capsys.readouterr().err
    assert logger.stats()["dropped_by_level"] == {"info": 1, "error": 1}
    logger.info("kept")
    assert logger.flush()
    reset()
