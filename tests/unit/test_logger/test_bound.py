"""The bound logger: structlog's native behaviours hold, and ours on top of them."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import FilteringBoundLogger

from metaexpert.logger import BoundLogger, MetaLogger, get_logger, log_context, trade_context

LEVELS = ["debug", "info", "warning", "error", "critical"]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def logger() -> BoundLogger:
    """A logger at INFO that writes synchronously and prints nothing."""
    return MetaLogger(expert_name="Ema", log_to_console=False, async_logging=False)


@pytest.fixture
def lines(read_log: Read) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that reads expert.log."""
    return lambda: read_log("logs/expert.log")


class TestLikeStructlog:
    def test_has_every_method_of_the_protocol(self, logger: BoundLogger) -> None:
        """All that structlog's FilteringBoundLogger names is there and callable."""
        names = [name for name in dir(FilteringBoundLogger) if not name.startswith("_")]
        assert len(names) > 20
        assert [name for name in names if not callable(getattr(logger, name))] == []
        assert isinstance(logger, structlog.BoundLoggerBase)

    @pytest.mark.parametrize("gate", LEVELS)
    def test_levels(self, gate: str, read_log: Read) -> None:
        """At each log_level exactly the methods at or above it write, and introspection says so."""
        logger = MetaLogger(log_level=gate, log_to_console=False, async_logging=False)
        number = getattr(logging, gate.upper())
        for level in LEVELS:
            getattr(logger, level)(level)
            assert logger.is_enabled_for(getattr(logging, level.upper())) == (getattr(logging, level.upper()) >= number)
        assert logger.get_effective_level() == number
        assert [entry["level"] for entry in read_log("logs/expert.log")] == LEVELS[LEVELS.index(gate) :]

    @pytest.mark.parametrize(
        ("method", "level"),
        [("msg", "info"), ("warn", "warning"), ("fatal", "critical"), ("err", "error"), ("exception", "error")],
    )
    def test_aliases(self, logger: BoundLogger, lines: Any, method: str, level: str) -> None:
        """msg, warn, fatal, err and exception are other names of levels."""
        getattr(logger, method)("m")
        assert (lines()[0]["level"], lines()[0]["message"]) == (level, "m")

    def test_bind_returns_another_logger(self, logger: BoundLogger, lines: Any) -> None:
        """bind adds for the new logger alone; the later value wins."""
        child = logger.bind(a=1).bind(a=2, b=3)
        child.info("child")
        logger.info("parent")
        assert [(e.get("a"), e.get("b")) for e in lines()] == [(2, 3), (None, None)]

    def test_unbind(self, logger: BoundLogger, lines: Any) -> None:
        """unbind takes away, and refuses what is not there."""
        bound = logger.bind(a=1, b=2)
        bound.unbind("a").info("x")
        assert ("a" in lines()[0], lines()[0]["b"]) == (False, 2)
        with pytest.raises(KeyError, match="z"):
            bound.unbind("z")

    def test_try_unbind(self, logger: BoundLogger, lines: Any) -> None:
        """try_unbind takes away what is there."""
        logger.bind(a=1).try_unbind("a", "z").info("x")
        assert "a" not in lines()[0]

    def test_new_clears(self, logger: BoundLogger, lines: Any) -> None:
        """new starts from nothing, and leaves the old logger as it was."""
        old = logger.bind(a=1)
        old.new(b=2).info("new")
        old.info("old")
        assert [(e.get("a"), e.get("b")) for e in lines()] == [(None, 2), (1, None)]

    def test_positional_arguments(self, logger: BoundLogger, lines: Any) -> None:
        """Arguments are put in by %, a single mapping by name; without arguments a % stays."""
        logger.info("%s is %d", "x", 3)
        logger.info("%(a)s", {"a": 1})
        logger.info("100 %")
        assert [e["message"] for e in lines()] == ["x is 3", "1", "100 %"]

    def test_exception_takes_the_current_one(self, logger: BoundLogger, lines: Any) -> None:
        """exception logs at ERROR with type, value, text and frames of what is being handled."""
        try:
            raise ValueError("boom")
        except ValueError:
            logger.exception("failed", order_id="o")
        entry = lines()[0]
        assert (entry["level"], entry["order_id"]) == ("error", "o")
        assert (entry["exception"]["type"], entry["exception"]["value"]) == ("ValueError", "boom")
        assert "Traceback (most recent call last)" in entry["exception"]["text"]
        assert entry["exception"]["frames"][-1]["function"] == "test_exception_takes_the_current_one"

    @pytest.mark.parametrize("form", ["instance", "tuple", "true"])
    def test_exc_info(self, logger: BoundLogger, lines: Any, form: str) -> None:
        """exc_info may be an exception, a tuple or True, at any level."""
        try:
            raise KeyError("k")
        except KeyError as error:
            value: Any = {"instance": error, "tuple": (KeyError, error, None), "true": True}[form]
            logger.info("x", exc_info=value)
        assert lines()[0]["exception"]["type"] == "KeyError"

    def test_no_exception_no_field(self, logger: BoundLogger, lines: Any) -> None:
        """exc_info without an exception writes no exception."""
        logger.exception("nothing is wrong")
        logger.info("x", exc_info=False)
        assert all("exception" not in entry for entry in lines())

    def test_stack_info(self, logger: BoundLogger, lines: Any) -> None:
        """stack_info=True writes the caller's stack, without our own frames."""
        logger.info("x", stack_info=True)
        stack = lines()[0]["stack"]
        assert stack.startswith("Stack (most recent call last):")
        assert stack.splitlines()[-1].strip() == 'logger.info("x", stack_info=True)'

    def test_async_twins(self, logger: BoundLogger, lines: Any) -> None:
        """Every a… method writes what its twin writes, context and exception included."""

        async def main() -> None:
            with log_context(order_id="o"):
                for name in ("ainfo", "amsg", "awarning", "awarn", "aerror", "acritical", "afatal", "adebug"):
                    await getattr(logger, name)("%s", name, a=1)
                await logger.alog(logging.ERROR, "%s", "alog")
            try:
                raise ValueError("boom")
            except ValueError:
                await logger.aexception("aexception")

        asyncio.run(main())
        entries = lines()
        assert [e["message"] for e in entries] == [
            *("ainfo", "amsg", "awarning", "awarn", "aerror", "acritical", "afatal"),
            *("alog", "aexception"),
        ]
        assert {e.get("order_id") for e in entries[:-1]} == {"o"}
        assert entries[-1]["exception"]["value"] == "boom"

    def test_async_twins_of_an_asynchronous_logger(self, read_log: Read) -> None:
        """With a writing thread the twins need no executor and write the same."""
        logger = MetaLogger(log_to_console=False)

        async def main() -> None:
            await logger.ainfo("x", a=1)
            try:
                raise ValueError("boom")
            except ValueError:
                await logger.aexception("y")

        asyncio.run(main())
        logger.flush()
        entries = read_log("logs/expert.log")
        assert [(e["message"], e.get("a")) for e in entries] == [("x", 1), ("y", None)]
        assert entries[1]["exception"]["value"] == "boom"

    def test_equality_is_that_of_contexts(self, logger: BoundLogger) -> None:
        """As with structlog, loggers of equal context are equal."""
        assert logger.bind(a=1) == logger.bind(a=1)
        assert logger.bind(a=1) != logger.bind(a=2)

    def test_methods_are_really_methods(self, logger: BoundLogger) -> None:
        """Signatures are positional-only, so that every name is free for fields."""
        for name in ("info", "debug", "log", "bind"):
            method = getattr(BoundLogger, name)
            kinds = [p.kind for p in inspect.signature(method).parameters.values()]
            assert inspect.Parameter.POSITIONAL_OR_KEYWORD not in kinds, name


class TestLevels:
    def test_between_the_standard_ones(self, logger: BoundLogger, lines: Any) -> None:
        """log takes any number, filters by it and names it by the level below."""
        for number in (19, 20, 25, 39, 45, 99):
            logger.log(number, str(number))
        assert [(e["message"], e["level"]) for e in lines()] == [
            ("20", "info"),
            ("25", "info"),
            ("39", "warning"),
            ("45", "error"),
            ("99", "critical"),
        ]

    def test_by_name(self, logger: BoundLogger, lines: Any) -> None:
        """log takes names too; an unknown one is taken for INFO rather than raised."""
        logger.log("ERROR", "a")
        logger.log("debug", "b")
        logger.log("nonsense", "c")
        logger.log("WARN", "d")
        logger.log(" Fatal", "e")
        assert [(e["message"], e["level"]) for e in lines()] == [
            ("a", "error"),
            ("c", "info"),
            ("d", "warning"),
            ("e", "critical"),
        ]

    def test_set_level_reaches_every_logger_of_the_pipeline(self, logger: BoundLogger, lines: Any) -> None:
        """set_level works at once on loggers that were bound before, and not on another pipeline."""
        child = logger.bind(a=1)
        other = MetaLogger(log_dir="other", log_to_console=False, async_logging=False)
        child.debug("no")
        logger.set_level("DEBUG")
        child.debug("yes")
        other.debug("no")
        logger.set_level(logging.ERROR)
        child.warning("no")
        child.error("yes")
        assert [e["level"] for e in lines()] == ["debug", "error"]
        assert child.get_effective_level() == logging.ERROR
        assert other.get_effective_level() == logging.INFO

    def test_set_level_takes_what_the_configuration_takes(self, logger: BoundLogger) -> None:
        """WARN and FATAL are known here as they are in log_level."""
        logger.set_level(" warn")
        assert logger.get_effective_level() == logging.WARNING
        logger.set_level("FATAL")
        assert logger.get_effective_level() == logging.CRITICAL

    @pytest.mark.parametrize("level", ["LOUD", 25, None, 0, True, [], 20.5])
    def test_set_level_refuses(self, logger: BoundLogger, level: Any) -> None:
        """Anything but a standard level is a ValueError that says what would be right."""
        with pytest.raises(ValueError, match=r"level: .* should be DEBUG, INFO, WARNING, ERROR or CRITICAL"):
            logger.set_level(level)


class TestTrades:
    def test_a_bound_category_lifts_the_gate(self, logger: BoundLogger, lines: Any, read_log: Read) -> None:
        """Every way to bind the category writes trades at every level; expert.log keeps its own."""
        for trade in (logger.trade, logger.bind(category="trade"), logger.trade.bind(a=1)):
            trade.debug("t")
            trade.log(5, "t5")
            assert trade.is_enabled_for(5)
        with trade_context(order_id="o"):
            logger.debug("t")
            logger.log(10, "t")
        MetaLogger(category="trade", log_to_console=False, async_logging=False).debug("t")
        assert lines() == []
        trades = read_log("logs/trades.log")
        assert len(trades) == 9
        assert {e["msgid"] for e in trades} == {"trade"}
        assert [e["sequence_id"] for e in trades] == list(range(1, 10))

    def test_a_category_in_the_call_is_routed_but_gated(self, logger: BoundLogger, lines: Any, read_log: Read) -> None:
        """category="trade" in the call goes to trades.log if the level passes."""
        logger.debug("no", category="trade")
        logger.info("yes", category="trade")
        assert [e["message"] for e in read_log("logs/trades.log")] == ["yes"]
        assert [e["message"] for e in lines()] == ["yes"]

    def test_unbinding_the_category_gates_again(self, logger: BoundLogger, read_log: Read) -> None:
        """Without the category the level counts again."""
        logger.trade.unbind("category").debug("no")
        logger.trade.new().debug("no")
        logger.trade.bind(category="other").debug("no")
        assert read_log("logs/trades.log") == []

    def test_the_call_may_override_the_category(self, logger: BoundLogger, lines: Any, read_log: Read) -> None:
        """The call's own category decides where the entry goes."""
        logger.trade.info("x", category="audit")
        assert read_log("logs/trades.log") == []
        assert (lines()[0]["category"], lines()[0]["msgid"]) == ("audit", "log")

    def test_errors_of_trades_are_errors_too(self, logger: BoundLogger, lines: Any, read_log: Read) -> None:
        """One failed trade stands in all three files, with the same number."""
        logger.trade.error("x")
        numbers = [read_log(f"logs/{name}.log")[0]["sequence_id"] for name in ("expert", "trades", "errors")]
        assert numbers == [1, 1, 1]


class TestFields:
    def test_any_name_is_a_field(self, logger: BoundLogger, lines: Any) -> None:
        """event, self, level, method_name and friends are fine; a reserved key moves aside, none is lost."""
        logger.info("m", event=1, self=2, level=3, message=4, exception=5, stack=6, logger=7, method=8, **{"a b": 9})
        entry = lines()[0]
        assert (entry["event"], entry["self"], entry["field_level"], entry["field_message"]) == (1, 2, 3, 4)
        assert (entry["field_exception"], entry["field_stack"], entry["field_logger"], entry["a b"]) == (5, 6, 7, 9)
        assert (entry["level"], entry["message"]) == ("info", "m")

    def test_reserved_keys_when_bound(self, logger: BoundLogger, lines: Any) -> None:
        """A bound field of a reserved name moves aside too, beside one of that other name."""
        logger.bind(timestamp="t", self=1, event="e").info("m", field_timestamp="u")
        entry = lines()[0]
        assert (entry["field_field_timestamp"], entry["field_timestamp"]) == ("t", "u")
        assert (entry["self"], entry["event"], entry["message"]) == (1, "e", "m")

    def test_precedence(self, logger: BoundLogger, lines: Any) -> None:
        """The call beats the bound logger, which beats log_context, which beats structlog's contextvars."""
        with structlog.contextvars.bound_contextvars(a="s", b="s", c="s", d="s"), log_context(a="c", b="c", c="c"):
            logger.bind(a="l", b="l").info("m", a="call")
        assert [lines()[0][key] for key in "abcd"] == ["call", "l", "c", "s"]

    def test_domain_fields(self, lines: Any) -> None:
        """The factory's domain fields are on every entry, expert_name included (SC-004)."""
        logger = MetaLogger(
            expert_name="Ema",
            symbol="BTCUSDT",
            strategy_id=1,
            account_id="acc-12345",
            trade_id="t",
            order_id="o",
            log_to_console=False,
            async_logging=False,
        )
        for _ in range(50):
            logger.info("x")
        for entry in lines():
            assert [entry[k] for k in ("expert_name", "symbol", "strategy_id", "trade_id", "order_id")] == [
                "Ema",
                "BTCUSDT",
                1,
                "t",
                "o",
            ]

    def test_bytes_are_a_snapshot(self, read_log: Read) -> None:
        """What changes after the call does not change the entry."""
        logger = MetaLogger(log_to_console=False)
        data = {"a": [1]}
        logger.info("x", data=data)
        data["a"].append(2)
        logger.flush()
        assert read_log("logs/expert.log")[0]["data"] == {"a": [1]}


class TestNeverRaises:
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("%s %s", "one"), "%s %s"),
            (("%d", "x"), "%d"),
            (("no placeholder", 1), "no placeholder"),
            ((None,), ""),
            ((), ""),
            ((42,), "42"),
            ((b"bytes",), "b'bytes'"),
        ],
    )
    def test_bad_messages(self, logger: BoundLogger, lines: Any, args: Any, message: str) -> None:
        """Messages of any type and arguments that do not fit are written with what could be had."""
        logger.info(*args)
        entry = lines()[0]
        assert entry["message"] == message
        if len(args) > 1:
            assert entry["positional_args"] == list(args[1:])
            assert entry["format_error"].startswith("TypeError")

    def test_a_hostile_message(self, logger: BoundLogger, lines: Any) -> None:
        """A message whose __str__ raises is named by its type."""

        class Bad:
            def __str__(self) -> str:
                raise RuntimeError

        logger.info(Bad())
        assert lines()[0]["message"] == "<unserialisable Bad: RuntimeError>"

    @pytest.mark.parametrize("bad", ["raise", "string", "none"])
    def test_a_bad_processor(self, lines: Any, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A user's processor that raises or returns nonsense costs a diagnosis, not the entry."""

        def processor(_: Any, __: str, event_dict: Any) -> Any:
            if bad == "raise":
                raise ZeroDivisionError
            return "text" if bad == "string" else None

        logger = MetaLogger(processors=[processor], log_to_console=False, async_logging=False)
        logger.info("kept %s", 1, a=1)
        assert (lines()[0]["message"], lines()[0]["a"]) == ("kept 1", 1)
        assert logger.stats()["failed"] == 1
        assert "processed" in capsys.readouterr().err

    def test_a_users_processor_works(self, lines: Any) -> None:
        """Own processors see the event before it is stamped, may change it and may drop it."""

        def double(_: Any, __: str, event_dict: Any) -> Any:
            if event_dict["event"] == "drop":
                raise structlog.DropEvent
            return {**event_dict, "doubled": event_dict["a"] * 2}

        logger = MetaLogger(processors=[double], log_to_console=False, async_logging=False)
        logger.info("drop", a=1)
        logger.info("x", a=2)
        assert [(e["doubled"], e["sequence_id"]) for e in lines()] == [(4, 1)]

    def test_a_repr_that_logs(self, logger: BoundLogger, lines: Any) -> None:
        """A __repr__ that logs while it is being logged neither hangs nor loses an entry."""

        class Chatty:
            def __repr__(self) -> str:
                logger.info("inner")
                return "<chatty>"

        logger.info("outer", value=Chatty())
        assert [(e["message"], e.get("value")) for e in lines()] == [("inner", None), ("outer", "<chatty>")]


class TestCaptureLogs:
    def test_captures_ours_and_structlogs(self, logger: BoundLogger, lines: Any) -> None:
        """structlog's capture_logs sees bound loggers that existed before, and everything is as before after it."""
        child = logger.bind(a=1)
        with capture_logs() as entries:
            child.info("x %s", "y", b=2)
            structlog.get_logger().warning("z")
            get_logger("n").error("e")
        child.info("after")
        assert entries == [
            {"a": 1, "b": 2, "event": "x y", "log_level": "info"},
            {"event": "z", "log_level": "warning"},
            {"event": "e", "log_level": "error"},
        ]
        assert [e["message"] for e in lines()] == ["after"]


class TestIdentity:
    def test_pickles_as_name_and_context(self, logger: BoundLogger, lines: Any) -> None:
        """An unpickled logger finds the installed one and keeps its context."""
        other = pickle.loads(pickle.dumps(logger.bind(a=1)))
        other.info("x")
        assert lines()[0]["a"] == 1

    def test_copies_are_itself(self, logger: BoundLogger) -> None:
        """A copy writes through the same pipeline."""
        assert copy.copy(logger) is logger
        assert copy.deepcopy({"logger": logger})["logger"] is logger

    def test_the_repr_shows_names_only(self, logger: BoundLogger) -> None:
        """A bound value may be a secret."""
        text = repr(logger.bind(token="s3cr3t"))
        assert "token" in text
        assert "s3cr3t" not in text

    def test_context_manager(self, lines: Any) -> None:
        """Leaving the block closes."""
        with MetaLogger(log_to_console=False) as logger:
            logger.info("x")
        assert logger.health == "closed"
        assert lines()[0]["message"] == "x"

    def test_close_is_idempotent_and_calls_after_it_are_safe(
        self, logger: BoundLogger, lines: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """After close WARNING and above go to stderr, the rest is counted, nothing raises."""
        logger.info("x")
        assert logger.close()
        assert logger.close()
        logger.info("quiet")
        logger.bind(a=1).warning("loud")
        assert "loud" in capsys.readouterr().err
        assert [e["message"] for e in lines()] == ["x"]
        assert logger.stats()["dropped_by_level"] == {"info": 1, "warning": 1}


class TestCancelledCoroutines:
    """`ainfo` and its like in a task that is cancelled while it waits for the disk."""

    @pytest.mark.parametrize(
        "options", [{"fsync": "trades"}, {"async_logging": False}, {"overflow": "block", "journal_size": "16KB"}]
    )
    def test_have_made_their_entry(
        self, make: Callable[..., BoundLogger], read_log: Read, options: dict[str, Any]
    ) -> None:
        """It has the time of the call; only the wait is given up, also at the end of `asyncio.run`."""
        logger = make(**options)
        called: list[str] = []

        async def trade(number: int) -> None:
            called.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
            await logger.trade.ainfo("t", number=number)

        async def main() -> None:
            tasks = [asyncio.create_task(trade(number)) for number in range(20)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            tasks += [asyncio.create_task(trade(number)) for number in range(20, 40)]
            await asyncio.sleep(0)

        asyncio.run(main())
        assert logger.close()
        entries = read_log("logs/trades.log")
        if "overflow" in options:  # such an entry is made when there is room, or refused and counted
            assert len(entries) + logger.stats()["dropped"] == 40
            return
        assert [entry["number"] for entry in entries] == list(range(40))
        between = zip(called, [*called[1:], "~"], strict=True)
        assert all(low <= entry["timestamp"] <= high for entry, (low, high) in zip(entries, between, strict=True))

    def test_need_no_executor(self, make: Callable[..., BoundLogger], read_log: Read) -> None:
        """At the end of a program the loop's executor is shut down: the call waits itself, and raises nothing."""
        logger = make(async_logging=False)

        async def main() -> None:
            await asyncio.get_running_loop().shutdown_default_executor()
            await logger.aerror("late")
            assert [entry["message"] for entry in read_log("logs/errors.log")] == ["late"]

        asyncio.run(main())
