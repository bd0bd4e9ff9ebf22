"""structlog set-ups that are not ours, made before or after the first MetaLogger: their events arrive as entries."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from waiting import eventually

from metaexpert.logger import MetaLogger, get_logger

Read = Callable[..., list[dict[str, Any]]]
JSON = structlog.processors.JSONRenderer
STAMPED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
]


pytestmark = pytest.mark.usefixtures("logging_as_before")


def make(**options: Any) -> Any:
    """Return a quiet logger."""
    return MetaLogger(**{"log_to_console": False, **options})


@pytest.fixture
def entries(read_log: Read) -> Callable[[Any], list[dict[str, Any]]]:
    """Return a function that flushes a logger and reads its expert.log."""

    def read(logger: Any, name: str = "logs") -> list[dict[str, Any]]:
        logger.flush(5)
        return read_log(f"{name}/expert.log")

    return read


def check(logger: Any) -> None:
    """Have the capture looked after now rather than within a second."""
    logger._logger.pipeline.on_serve()


def over_logging(processors: list[Any]) -> None:
    """Configure structlog as a shell over `logging`, with a cache, as its documentation does."""
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class TestAfterUs:
    @pytest.mark.parametrize(
        "options",
        [
            {"logger_factory": structlog.PrintLoggerFactory()},
            {"logger_factory": structlog.stdlib.LoggerFactory()},
            {"wrapper_class": structlog.make_filtering_bound_logger(20)},
            {"wrapper_class": structlog.stdlib.BoundLogger},
            {"wrapper_class": structlog.BoundLogger},
            {"wrapper_class": structlog.stdlib.BoundLogger, "logger_factory": structlog.stdlib.LoggerFactory()},
            {"processors": [*STAMPED, JSON()]},
            {"processors": [*STAMPED, structlog.processors.KeyValueRenderer()]},
            {"wrapper_class": structlog.make_filtering_bound_logger(20), "processors": [*STAMPED, JSON()]},
            {"processors": (*STAMPED, JSON())},
            {"cache_logger_on_first_use": True},
            {"context_class": dict},
        ],
        ids=lambda options: "+".join(options),
    )
    def test_a_part_of_the_configuration_is_replaced(self, options: dict[str, Any], entries: Any) -> None:
        """Whatever part somebody replaces, a call raises nothing, and its event arrives with its fields."""
        logger = make()
        structlog.configure(**options)
        structlog.get_logger("early").info("at once", a=1)
        check(logger)
        bound = structlog.get_logger("later").bind(b=2)
        bound.warning("bound", a=1)
        try:
            raise ValueError("x")
        except ValueError:
            bound.exception("failed")
        found = entries(logger)
        assert [(e["message"], e["level"], e.get("a"), e.get("b")) for e in found] == [
            ("at once", "info", 1, None),
            ("bound", "warning", 1, 2),
            ("failed", "error", None, 2),
        ]
        assert found[2]["exception"]["value"] == "x"
        assert not [name for entry in found for name in entry if name.startswith("field_")]
        assert logger.stats()["failed"] == 0

    @pytest.mark.parametrize("cached", [False, True])
    def test_the_whole_of_it_is_replaced(self, cached: bool, entries: Any) -> None:
        """Another chain keeps its own output, and its events arrive from the next look on, cached loggers included."""
        logger = make()
        out = io.StringIO()
        structlog.configure(
            processors=[*STAMPED, structlog.processors.format_exc_info, JSON()],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            logger_factory=structlog.PrintLoggerFactory(out),
            cache_logger_on_first_use=cached,
        )
        log = structlog.get_logger()
        log.info("first")
        check(logger)
        with structlog.contextvars.bound_contextvars(run=7):
            log.info("second", a=1)
        try:
            raise ValueError("x")
        except ValueError:
            log.exception("third")
        found = entries(logger)
        assert [(e["message"], e.get("a"), e.get("run")) for e in found] == [("second", 1, 7), ("third", None, None)]
        assert (found[1]["exception"]["type"], found[1]["exception"]["value"]) == ("ValueError", "x")
        assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["first", "second", "third"]
        assert not [name for entry in found for name in entry if name.startswith("field_")]

    def test_what_other_steps_have_renamed_and_rendered(self, entries: Any) -> None:
        """A renamed message is the message, and an exception as dictionaries is the exception, without locals."""
        logger = make()
        structlog.configure(
            processors=[
                *STAMPED,
                structlog.processors.dict_tracebacks,
                structlog.processors.EventRenamer("msg", "_event"),
                JSON(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            logger_factory=structlog.PrintLoggerFactory(io.StringIO()),
        )
        check(logger)

        async def fail() -> None:
            try:
                try:
                    raise KeyError("inner")
                except KeyError as error:
                    raise ValueError("outer") from error
            except ValueError:
                await structlog.get_logger().aexception("failed", _event="theirs")

        asyncio.run(fail())
        entry = entries(logger)[0]
        assert (entry["message"], entry["event"]) == ("failed", "theirs")
        assert (entry["exception"]["type"], entry["exception"]["value"]) == ("ValueError", "outer")
        assert entry["exception"]["text"].index("KeyError") < entry["exception"]["text"].index("ValueError: outer")
        assert "locals" not in json.dumps(entry)

    def test_within_a_second_by_itself(self, entries: Any) -> None:
        """The writing thread looks by itself."""
        logger = make()
        structlog.reset_defaults()
        before = structlog.get_logger().bind(a=1)
        eventually(structlog.is_configured)
        structlog.get_logger().info("proxy")
        before.info("bound meanwhile")
        assert [e["message"] for e in entries(logger)] == ["proxy", "bound meanwhile"]

    def test_a_level_that_the_program_means(self, entries: Any) -> None:
        """A class that filters events from our level up stays; one warning and the health say so."""
        logger = make()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        logger.flush(5)
        logger.flush(5)
        assert "structlog below ERROR" in logger.health
        structlog.get_logger().info("gone")
        structlog.get_logger().error("kept")
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
        logger.flush(5)
        assert logger.health == "ok"
        assert [e["message"] for e in entries(logger)] == ["log.uncaptured", "kept", "log.captured"]

    @pytest.mark.parametrize("before", [True, False])
    def test_structlogs_defaults_for_logging(self, before: bool, entries: Any) -> None:
        """`structlog.stdlib.recreate_defaults`, before us or after."""
        logger = None if before else make()
        structlog.stdlib.recreate_defaults()
        if logger is None:
            log = structlog.get_logger("feed").bind(b=2)
            logger = make()
        else:
            check(logger)
            log = structlog.get_logger("feed").bind(b=2)
        log.info("m", a=1)
        assert [(e["message"], e["a"], e["b"]) for e in entries(logger)] == [("m", 1, 2)]

    def test_a_second_set_up_that_comes_too_late(self, entries: Any) -> None:
        """`configure_once` finds structlog configured, and changes nothing."""
        logger = make()
        with pytest.warns(RuntimeWarning, match="Repeated"):
            structlog.configure_once(processors=[JSON()])
        structlog.get_logger().info("m")
        assert [e["message"] for e in entries(logger)] == ["m"]

    def test_a_console_line_is_not_doubled(self, entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """A chain that prints where our console does prints no second line."""
        logger = MetaLogger()
        structlog.configure(
            processors=[*STAMPED, JSON()],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        check(logger)
        structlog.get_logger().info("once")
        logger.close()
        assert capsys.readouterr().err.count("once") == 1

    @pytest.mark.parametrize("renderer", ["json", "text", "wrap", "kwargs"])
    def test_a_chain_into_logging(self, renderer: str, entries: Any) -> None:
        """structlog over logging arrives once, with its fields, however its last step renders."""
        last: Any = {
            "json": JSON(),
            "text": structlog.processors.KeyValueRenderer(),
            "wrap": structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            "kwargs": structlog.stdlib.render_to_log_kwargs,
        }[renderer]
        logger = make()
        over_logging(
            [
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_logger_name,
                *STAMPED,
                structlog.stdlib.PositionalArgumentsFormatter(),
                last,
            ]
        )
        check(logger)
        structlog.get_logger("feed").warning("tick %d", 3, price=1.5)
        found = entries(logger)
        assert [(e["message"], e["logger"], e["level"], e["price"]) for e in found] == [
            ("tick 3", "feed", "warning", 1.5)
        ]
        assert not [name for entry in found for name in entry if name.startswith(("field_", "_"))]

    @pytest.mark.parametrize("before", [True, False])
    def test_an_asynchronous_logger_over_logging(self, before: bool, entries: Any) -> None:
        """structlog's AsyncBoundLogger logs on another thread, where the exception is not known any more."""

        def configure() -> None:
            structlog.configure(
                processors=[*STAMPED, JSON()],
                wrapper_class=structlog.stdlib.AsyncBoundLogger,
                logger_factory=structlog.stdlib.LoggerFactory(),
            )

        async def log() -> None:
            logger = structlog.get_logger("feed").bind(b=2)
            await logger.info("m", a=1)
            try:
                raise ValueError("x")
            except ValueError:
                await logger.exception("failed")

        if before:
            configure()
        logger = make()
        configure()
        check(logger)
        asyncio.run(log())
        first, second = entries(logger)
        assert (first["message"], first["a"], first["b"]) == ("m", 1, 2)
        assert (second["level"], second["exception"]["value"]) == ("error", "x")

    @pytest.mark.parametrize(
        "factory", [structlog.BytesLoggerFactory(io.BytesIO()), structlog.WriteLoggerFactory(io.StringIO())]
    )
    def test_other_outputs(self, factory: Any, entries: Any) -> None:
        """A chain into bytes, or into a file that it writes itself."""
        logger = make()
        render = JSON(serializer=lambda *args, **_: json.dumps(args[0]).encode())
        last = render if isinstance(factory, structlog.BytesLoggerFactory) else JSON()
        structlog.configure(processors=[*STAMPED, last], logger_factory=factory)
        check(logger)
        structlog.get_logger().info("m", a=1)
        assert [(e["message"], e["a"]) for e in entries(logger)] == [("m", 1)]

    def test_capture_logs_is_not_disturbed(self, entries: Any) -> None:
        """While a test collects events, a look changes nothing."""
        logger = make()
        structlog.configure(processors=[*STAMPED, JSON()], wrapper_class=structlog.make_filtering_bound_logger(20))
        with capture_logs() as events:
            check(logger)
            structlog.get_logger().info("collected")
        assert [event["event"] for event in events] == ["collected"]
        assert entries(logger) == []

    def test_a_logger_of_ones_own_prints_where_it_should(self, entries: Any) -> None:
        """A logger that was wrapped with a chain and an output of its own is not ours."""
        logger = make()
        out = io.StringIO()
        structlog.wrap_logger(
            structlog.PrintLogger(out), processors=[JSON()], wrapper_class=structlog.BoundLogger
        ).info("mine")
        assert "mine" in out.getvalue()
        assert entries(logger) == []


class TestBeforeUs:
    def test_bound_at_import_time(self, entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """A logger bound before the first MetaLogger prints until then, and is in the files afterwards."""
        early = structlog.get_logger().bind(module="feed")
        early.info("printed")
        logger = make()
        early.info("written", a=1)
        early.bind(c=3).warning("also")
        found = entries(logger)
        assert [(e["message"], e["level"], e["module"], e.get("a"), e.get("c")) for e in found] == [
            ("written", "info", "feed", 1, None),
            ("also", "warning", "feed", None, 3),
        ]
        out = capsys.readouterr().out
        assert "printed" in out
        assert "written" not in out

    def test_cached_at_its_first_use(self, entries: Any) -> None:
        """A logger that structlog's own set-up has cached before us is in the files, too."""
        structlog.configure(cache_logger_on_first_use=True)
        log = structlog.get_logger("n", a=1)
        log.info("printed")
        logger = make()
        log.info("m")
        log.bind(b=1).info("n")
        assert [(e["message"], e["a"], e.get("b")) for e in entries(logger)] == [("m", 1, None), ("n", 1, 1)]

    def test_it_follows_the_installed_logger(self, entries: Any) -> None:
        """So it does through a second run of the process."""
        early = structlog.get_logger().bind(a=1)
        first = make(log_dir="first")
        early.info("one")
        first.close()
        second = make(log_dir="second")
        early.info("two")
        assert [e["message"] for e in entries(second, "first")] == ["one"]
        assert [e["message"] for e in entries(second, "second")] == ["two"]

    @pytest.mark.parametrize("formatter", [True, False])
    def test_a_cached_logger_over_logging(self, formatter: bool, entries: Any) -> None:
        """With ProcessorFormatter, or a renderer, and a cache, a logger used before us is data afterwards."""
        last = structlog.stdlib.ProcessorFormatter.wrap_for_formatter if formatter else JSON()
        over_logging([structlog.stdlib.add_logger_name, *STAMPED, last])
        log = structlog.get_logger("feed")
        log.warning("before")
        logger = make()
        log.warning("after", price=1.5)
        try:
            raise ValueError("x")
        except ValueError:
            log.exception("failed", a=1)
        found = entries(logger)
        assert [(e["message"], e["logger"], e.get("price")) for e in found] == [
            ("after", "feed", 1.5),
            ("failed", "feed", None),
        ]
        assert found[1]["exception"]["value"] == "x"
        assert not [name for entry in found for name in entry if name.startswith(("field_", "_"))]

    def test_a_handler_with_processor_formatter_still_works(self, entries: Any) -> None:
        """The program's own handler renders what it rendered before."""
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[JSON()], foreign_pre_chain=STAMPED))
        logging.getLogger().addHandler(handler)
        over_logging([*STAMPED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter])
        log = structlog.get_logger("feed")
        log.warning("before")
        logger = make()
        log.warning("after", price=1.5)
        logging.getLogger("plain").warning("record")
        assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["before", "after", "record"]
        assert [e["message"] for e in entries(logger)] == ["after", "record"]


class TestProcessorsOfTheUser:
    def test_known_processors_leave_no_trace(self, entries: Any) -> None:
        """Level, time, name, exception and stack of structlog's own processors do not come a second time."""
        logger = make(
            processors=[
                *STAMPED,
                structlog.stdlib.add_logger_name,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
            ]
        )
        try:
            raise ValueError("x")
        except ValueError:
            get_logger("a").exception("m", stack_info=True)
        entry = entries(logger)[0]
        assert (entry["exception"]["value"], entry["exception"]["frames"][-1]["function"]) == (
            "x",
            "test_known_processors_leave_no_trace",
        )
        assert "test_known_processors_leave_no_trace" in entry["stack"]
        assert not [name for name in entry if name.startswith("field_")]

    @pytest.mark.parametrize("way", ["bound", "lazy", "structlog", "logging", "async"])
    def test_the_call_site_is_the_users(self, way: str, entries: Any) -> None:
        """CallsiteParameterAdder finds the program's function, whichever way the call comes."""
        parameter = structlog.processors.CallsiteParameter
        adder = structlog.processors.CallsiteParameterAdder({parameter.FUNC_NAME, parameter.MODULE})
        logger = make(processors=[adder])
        loggers = {
            "bound": logger,
            "lazy": get_logger("a"),
            "structlog": structlog.get_logger("a"),
            "logging": logging.getLogger("a"),
        }
        if way == "async":

            async def call() -> None:
                await logger.awarning("m")

            asyncio.run(call())
        else:
            loggers[way].warning("m")
        entry = entries(logger)[0]
        assert entry["module"] == "test_structlog_chains"
        assert entry["func_name"] == ("call" if way == "async" else "test_the_call_site_is_the_users")

    def test_one_that_fails_does_not_take_the_exceptions_place(self, entries: Any) -> None:
        """When a processor fails, the entry keeps the exception that was logged."""

        def failing(_: Any, __: str, event: Any) -> Any:
            return event["level"]  # as structlog-sentry does: KeyError

        logger = make(processors=[failing])
        for log in (logger, get_logger("a")):
            try:
                raise ValueError("the real one")
            except ValueError:
                log.exception("m")
                log.error("m", exc_info=True)
        try:
            raise ValueError("the real one")
        except ValueError:
            logging.getLogger("b").exception("m")
        found = entries(logger)
        assert [e["exception"]["value"] for e in found] == ["the real one"] * 5
        assert logger.stats()["failed"] == 5


class TestTwoRuns:
    def test_a_bound_logger_goes_on(self, entries: Any) -> None:
        """Loggers bound in the first run write into the second one, at its level."""
        first = make(log_dir="first")
        bound = [get_logger("g").bind(x=1), structlog.get_logger("s").bind(x=1), get_logger("t").trade]
        for log in bound:
            log.info("one")
            log.debug("hidden")
        first.close()
        second = make(log_dir="second", log_level="DEBUG")
        for log in bound:
            log.info("two")
            log.debug("two")
            log.bind(y=2).log(10, "two %s", "and")
        one, two = entries(second, "first"), entries(second, "second")
        assert [(e["message"], e["logger"]) for e in one] == [("one", "g"), ("one", "s"), ("one", "t")]
        assert [(e["message"], e["level"]) for e in two] == [
            ("two", "info"),
            ("two", "debug"),
            ("two and", "debug"),
        ] * 3
        assert [e.get("x") for e in two] == [1] * 6 + [None] * 3
        assert second.stats()["dropped"] == first.stats()["dropped"] == 0

    def test_a_logger_of_its_own_does_not(self, entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """A closed MetaLogger stays closed: what is below its level is nothing, the rest is counted or shown."""
        first = make(log_dir="first")
        first.close()
        second = make(log_dir="second")
        first.debug("nothing")
        first.info("counted")
        first.warning("shown")
        assert first.stats()["dropped_by_level"] == {"info": 1, "warning": 1}
        assert "shown" in capsys.readouterr().err
        assert entries(second, "second") == []

    def test_without_a_second_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With nobody to go on to, WARNING and above go to standard error."""
        first = make()
        log = get_logger("g").bind(x=1)
        first.close()
        log.info("counted")
        log.warning("shown")
        assert "shown" in capsys.readouterr().err
        assert first.stats()["dropped"] == 2
