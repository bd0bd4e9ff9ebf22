"""What a child process is handed, and what it makes of it, both in the process of the test."""

from __future__ import annotations

import logging
import multiprocessing.process
import multiprocessing.util
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from metaexpert.logger import MetaLogger, children, get_logger, inheritance, lazy, register_secret
from metaexpert.logger.bound import BoundLogger
from metaexpert.logger.console import stderr
from metaexpert.logger.logger_classes import open_loggers
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.testing import reset

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def parent() -> Callable[..., BoundLogger]:
    """A function that makes the parent's logger."""
    return lambda **options: MetaLogger(**{"log_to_console": False, "capture_uncaught": False, **options})


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A function that makes this process a child of what it was: without loggers, with what was handed over."""
    monkeypatch.setattr(logging.Logger, "callHandlers", logging.Logger.callHandlers)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    config = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]

    def change() -> None:
        data = pickle.dumps(config["metaexpert"])
        reset()
        registered.forget()
        inheritance._making.tried.clear()
        assert pickle.loads(data) is config["metaexpert"]

    yield change
    reset()
    assert logging.getLogger().level == logging.WARNING
    children._carrier.received = children.Handover()


def messages(read_log: Read, path: str = "logs/expert.log") -> list[str]:
    lazy_logger = lazy.installed()
    assert lazy_logger is not None
    lazy_logger.flush()
    return [entry["message"] for entry in read_log(path)]


class TestFirstEntry:
    @pytest.mark.parametrize(
        "log",
        [
            lambda: get_logger().info("x"),
            lambda: get_logger().bind(a=1).info("x"),
            lambda: logging.getLogger("a.b").info("x"),
            lambda: structlog.get_logger("n").bind(a=1).info("x"),
            lambda: warnings.warn("x", stacklevel=1),
        ],
        ids=["get_logger", "bind", "logging", "structlog", "warnings"],
    )
    def test_any_of_them_makes_the_logger(
        self, parent: Any, born: Any, log: Callable[[], None], read_log: Read
    ) -> None:
        """Until then there is none, and afterwards nothing waits any more."""
        untouched = logging.Logger.callHandlers, warnings.showwarning
        parent(symbol="BTCUSDT").info("parent")
        born()
        assert lazy.installed() is None
        assert not list(Path("logs/.metaexpert").glob("*.owner"))
        warnings.simplefilter("always")
        log()
        assert messages(read_log) == ["parent", "x"]
        assert children._waiting == []
        logging.getLogger("again").info("y")
        assert messages(read_log) == ["parent", "x", "y"]
        reset()
        assert (logging.Logger.callHandlers, warnings.showwarning) == untouched

    def test_it_holds_when_warnings_are_put_back(self, parent: Any, born: Any, read_log: Read) -> None:
        """The first entry may come within `warnings.catch_warnings`, which afterwards puts back what waited."""
        parent()
        born()
        with warnings.catch_warnings():
            get_logger().info("x")
        warnings.simplefilter("always")
        warnings.warn("y", stacklevel=1)
        warnings.warn("z", stacklevel=1)
        assert messages(read_log) == ["x", "y", "z"]

    def test_records_below_the_level_make_none(self, parent: Any, born: Any) -> None:
        """The root logger has the parent's level; talkative libraries start at WARNING."""
        parent(log_level="WARNING")
        born()
        logging.getLogger("a").info("x")
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
        assert lazy.installed() is None
        assert logging.getLogger().level == logging.WARNING

    def test_a_wrapped_function_is_called_once(
        self, parent: Any, born: Any, read_log: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another library may have put itself before what waits."""
        parent()
        born()
        inner, calls = logging.Logger.callHandlers, list[str]()

        def wrapper(logger: logging.Logger, record: logging.LogRecord) -> None:
            calls.append(record.getMessage())
            inner(logger, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", wrapper)
        logging.getLogger("a").info("x")
        logging.getLogger("a").info("y")
        assert calls == ["x", "y"]
        assert messages(read_log) == ["x", "y"]

    def test_what_is_not_captured_is_not_waited_for(self, parent: Any, born: Any) -> None:
        """With capture_stdlib and capture_warnings off, logging and warnings are left alone."""
        before = logging.Logger.callHandlers, warnings.showwarning
        parent(capture_stdlib=False, capture_warnings=False)
        born()
        assert (logging.Logger.callHandlers, warnings.showwarning) == before
        assert logging.getLogger().level == logging.WARNING

    def test_secrets_are_masked_before_it(self, parent: Any, born: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """Registered values come first, also where no logger is to be had."""
        parent().close()
        register_secret("s3cr3t-value")
        born()
        get_logger().warning("it is s3cr3t-value")
        assert "it is ***" in capsys.readouterr().err

    def test_an_own_logger_takes_the_place(self, parent: Any, born: Any, read_log: Read) -> None:
        """Made before the first entry it is the only one, made after it it is installed all the same."""
        parent()
        born()
        own = parent(log_dir="own")
        logging.getLogger("a").info("x")
        assert messages(read_log, "own/expert.log") == ["x"]
        own.close()
        born()
        get_logger().info("parent's")
        second = parent(log_dir="second")
        get_logger().info("y")
        second.flush()
        assert messages(read_log, "second/expert.log") == ["y"]

    def test_a_child_that_cannot_make_it(
        self, parent: Any, born: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It says so once, and logs as a program without a logger."""

        def broken(*_: object) -> None:
            raise RuntimeError("another version")

        parent()
        born()
        monkeypatch.setattr(inheritance, "_new", broken)
        get_logger().warning("x")
        get_logger().warning("y")
        stderr.stream.push(5.0)
        shown = capsys.readouterr().err
        assert shown.count("cannot log like its parent: RuntimeError('another version')") == 1
        assert ("x" in shown, "y" in shown) == (True, True)

    def test_another_thread_that_makes_it_is_waited_for(
        self, parent: Any, born: Any, read_log: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """First entries of several threads at once make one logger, and all arrive."""
        parent()
        born()
        made, new = list[int](), inheritance._new

        def slow(*args: Any) -> BoundLogger:
            made.append(1)
            threading.Event().wait(0.1)
            return new(*args)

        monkeypatch.setattr(inheritance, "_new", slow)
        threads = [threading.Thread(target=get_logger().info, args=(f"{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(messages(read_log)) == ["0", "1", "2", "3"]
        assert made == [1]

    def test_an_entry_while_it_is_made(
        self,
        parent: Any,
        born: Any,
        read_log: Read,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A signal handler or a processor that logs meanwhile does not make a second one, nor wait for itself."""
        parent()
        born()
        new = inheritance._new

        def interrupted(*args: Any) -> BoundLogger:
            get_logger().warning("inner")
            return new(*args)

        monkeypatch.setattr(inheritance, "_new", interrupted)
        get_logger().info("outer")
        assert messages(read_log) == ["outer"]
        assert "inner" in capsys.readouterr().err


class TestSettings:
    def test_it_is_like_the_parents(self, parent: Any, born: Any) -> None:
        """The same settings, place, context and level; the heartbeat of alerts is the parent's alone."""
        logger = parent(expert_name="e", symbol="S", max_file_size="1MB", alert_heartbeat=True)
        logger.set_level("DEBUG")
        directory = Path("logs").resolve()
        born()
        os.chdir("/")
        get_logger().debug("x")
        made = lazy.installed()
        assert made is not None
        assert (made.config.log_dir, made.config.max_file_size) == (directory, 1024 * 1024)
        assert made._context == {"symbol": "S"}
        assert not made.config.alert_heartbeat
        assert made.is_enabled_for(10)
        assert made.config.is_default("console_level")

    def test_parts_that_cannot_be_pickled(self, parent: Any, born: Any, read_log: Read) -> None:
        """The child goes on without them, and the parent reports it."""
        logger = parent(processors=[lambda *args: args[2]]).bind()
        object.__setattr__(logger, "_context", {})
        logger._context["lock"] = threading.Lock()
        born()
        get_logger().info("x")
        assert messages(read_log) == ["x"]
        troubles = read_log("logs/logging_errors.log")
        assert "processors: cannot be pickled" in troubles[0]["message"]

    def test_processors_that_cannot_be_found(self, parent: Any, born: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child that cannot import them goes on without, and counts it."""
        monkeypatch.setitem(globals(), "passing", passing := _passing)
        parent(processors=[passing])
        data = children._carrier.__reduce__()[1][0]
        reset()
        inheritance._making.tried.clear()
        monkeypatch.delitem(globals(), "_passing")
        children.receive(data)
        get_logger().info("x")
        made = lazy.installed()
        assert made is not None
        made.flush()
        assert made.config.processors is None
        assert made.stats()["failed"] == 1
        born()


def _passing(_: Any, __: str, event: Any) -> Any:
    return event


class TestPickledLoggers:
    def test_one_of_a_pipeline_that_is_open_here(self, parent: Any, read_log: Read) -> None:
        """It logs where the original does, whichever is installed."""
        parent()
        other = parent(log_dir="other", expert_name="o")
        pickle.loads(pickle.dumps(other.bind(a=1))).info("x")
        other.flush()
        assert [(e["message"], e["a"]) for e in read_log("other/expert.log")] == [("x", 1)]

    def test_it_stays_where_it_comes_from(self, parent: Any, born: Any, read_log: Read) -> None:
        """Bound further, unbound, as a trade, and pickled once more."""
        parent()
        data = pickle.dumps(parent(log_dir="other", expert_name="o").bind(a=1, b=2))
        born()
        logger = pickle.loads(pickle.dumps(pickle.loads(data)))
        logger.unbind("b").bind(c=3).info("x")
        logger.trade.debug("t")
        pickle.loads(pickle.dumps(logger.new(d=4))).error("y")
        made = inheritance.home(logger._origin)
        assert made is not None
        made.flush()
        assert [(e["message"], e.get("a"), e.get("c"), e.get("d")) for e in read_log("other/expert.log")] == [
            ("x", 1, 3, None),
            ("y", None, None, 4),
        ]
        assert [e["message"] for e in read_log("other/trades.log")] == ["t"]
        assert lazy.installed() is None

    def test_in_a_process_that_got_nothing(self, parent: Any, born: Any, read_log: Read) -> None:
        """The settings of its files come with it, and no secret."""
        logger = parent(
            log_dir="other",
            expert_name="o",
            log_file="all.log",
            webhook_url="https://example.test/hook-1234",
            webhook_token="t0ken-1234567",
            secrets=["s3cr3t-value"],
        )
        data = pickle.dumps(logger)
        assert not any(text in data for text in (b"hook-1234", b"t0ken", b"s3cr3t"))
        born()
        children._carrier.received = children.Handover()
        pickle.loads(data).info("x")
        made = open_loggers[logger._logger.classes.key]
        made.flush()
        assert [e["expert_name"] for e in read_log("other/all.log")] == ["o"]
        assert made.stats().keys().isdisjoint({"alerts"})

    def test_on_another_machine(self, parent: Any, born: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It makes no directory there: it finds the installed logger, or prints."""
        data = pickle.dumps(parent(log_dir="other"))
        born()
        children._carrier.received = children.Handover()
        monkeypatch.setattr(inheritance, "hostname", lambda: "elsewhere")
        assert inheritance.home(pickle.loads(data)._origin) is None

    def test_of_a_closed_logger(self, parent: Any) -> None:
        """It has no origin, and finds the installed one."""
        logger = parent()
        logger.close()
        assert pickle.loads(pickle.dumps(logger))._origin is None

    def test_an_own_logger_of_the_same_place_is_used(self, parent: Any, born: Any) -> None:
        """A child that makes its MetaLogger as the parent did has one pipeline, not two."""
        data = pickle.dumps(parent(expert_name="e"))
        born()
        own = parent(expert_name="e")
        assert inheritance.home(pickle.loads(data)._origin) is own


class TestEnds:
    def test_an_exception_that_ends_the_process_is_logged(self, parent: Any, born: Any, read_log: Read) -> None:
        """It goes on to multiprocessing, which prints it; an exit is no exception."""
        parent(capture_uncaught=True)
        born()

        def end(error: BaseException) -> None:
            def run() -> None:
                raise error

            with pytest.raises(type(error)):
                children._run(multiprocessing.Process(name="child"), run)

        end(SystemExit(1))
        end(KeyboardInterrupt())
        assert lazy.installed() is None
        end(ValueError("kaputt"))
        errors = read_log("logs/errors.log")
        assert [(e["message"], e["exception"]["value"]) for e in errors] == [("log.uncaught", "kaputt")]
        assert errors[0]["process"] == "child"

    def test_grandchildren(self, parent: Any, born: Any, read_log: Read) -> None:
        """A child that has logged nothing hands on what it got."""
        parent(expert_name="e")
        born()
        born()
        logging.getLogger("a").info("x")
        assert messages(read_log) == ["x"]
        assert [e["expert_name"] for e in read_log("logs/expert.log")] == ["e"]
