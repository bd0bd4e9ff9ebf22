"""Levels of single loggers: by name and the names below it, from every source, for our loggers and those of logging."""

from __future__ import annotations

import io
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from metaexpert.logger import BoundLogger, ConfigurationError, LoggerConfig, MetaLogger, get_logger, trade_context
from metaexpert.logger.config.settings import command_line
from metaexpert.logger.system.native import core

Read = Callable[..., list[dict[str, Any]]]
LEVELS = {"strategy": "DEBUG", "strategy.feed": "ERROR", "noisy": "CRITICAL"}


def make(**options: Any) -> BoundLogger:
    """Return a quiet synchronous logger with levels of its own for three names."""
    return MetaLogger(**{"log_to_console": False, "async_logging": False, "levels": LEVELS, **options})


@pytest.fixture
def lines(read_log: Read) -> Callable[[], list[tuple[Any, str]]]:
    """Return a function that reads the logger and level of each entry of expert.log."""
    return lambda: [(entry.get("logger"), entry["level"]) for entry in read_log("logs/expert.log")]


def each_level(logger: Any) -> None:
    """Log once at each level."""
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)(level)


class TestBoundLoggers:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("strategy", 5),
            ("strategy.ema.fast", 5),
            ("strategy.feed", 2),
            ("strategy.feed.ws", 2),
            ("strategyx", 4),
            ("noisy", 1),
            ("other", 4),
            (None, 4),
        ],
    )
    @pytest.mark.parametrize("get", [get_logger, structlog.get_logger])
    def test_the_longest_name_counts(self, get: Any, name: str | None, kept: int, lines: Any) -> None:
        """A logger has the level of its name, else of the nearest name above it, else log_level."""
        make()
        each_level(get(name) if name else get())
        assert len(lines()) == kept

    def test_what_is_bound_of_it_has_it_too(self, lines: Any) -> None:
        """bind, new, copies and pickles keep the level."""
        make()
        logger = get_logger("strategy").bind(a=1)
        logger.new().debug("m")
        pickle.loads(pickle.dumps(logger)).debug("m")
        assert lines() == [("strategy", "debug")] * 2
        assert (logger.get_effective_level(), logger.is_enabled_for(10)) == (10, True)

    def test_trades_and_alerts_pass(self, read_log: Read) -> None:
        """A level above ERROR keeps neither trades from their file nor what a trade context lifts."""
        make()
        get_logger("noisy").trade.debug("trade")
        with trade_context(trade_id="t-1"):
            get_logger("noisy").info("lifted")
        assert [entry["message"] for entry in read_log("logs/trades.log")] == ["trade", "lifted"]

    def test_set_level_leaves_them(self, lines: Any) -> None:
        """set_level changes the loggers without a level of their own; closing lets all through to be counted."""
        logger = make()
        logger.set_level("ERROR")
        get_logger("strategy").debug("m")
        get_logger("other").warning("m")
        logger.set_level("DEBUG")
        get_logger("noisy").error("m")
        assert lines() == [("strategy", "debug")]

    def test_after_the_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        """After close, a level of its own still decides what is counted or printed."""
        logger = make()
        noisy, strategy = get_logger("noisy"), get_logger("strategy")
        noisy.info("bound before the end")
        strategy.debug("bound before the end")
        logger.close()
        noisy._resolve().error("late noise")
        strategy._resolve().error("late error")
        assert ("late noise" in capsys.readouterr().err, logger.stats()["written"]) == (False, 1)

    def test_the_console_follows(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The console shows them from the same level on, unless it has a level of its own."""
        make(log_to_console=True)
        get_logger("strategy").debug("shown")
        get_logger("noisy").error("hidden")
        make(log_to_console=True, console_level="WARNING", log_dir="others", install=True)
        get_logger("strategy").debug("too low")
        for logger in (get_logger(), get_logger("strategy")):
            logger.flush()
        printed = capsys.readouterr().err
        assert "shown" in printed
        assert "hidden" not in printed
        assert "too low" not in printed

    def test_the_journal_being_full_loses_none_in_silence(self) -> None:
        """An entry of such a logger that finds no room is counted, as any other."""
        logger = make(journal_size="4KB", async_logging=True)
        strategy = get_logger("strategy")
        for number in range(2000):
            strategy.debug("m", number=number, text="x" * 50)
        logger.close()
        stats = logger.stats()
        assert stats["written_by_level"]["debug"] + stats["dropped_by_level"]["debug"] == 2000

    @pytest.mark.skipif(core is None, reason="needs the compiled core")
    def test_a_disabled_call_is_the_same_no_op(self) -> None:
        """A call below the level of its own is no method of Python: nothing looks the name up."""
        make()
        assert type(type(get_logger("noisy")._resolve()).__dict__["info"]) is core.Method


class TestRecordsOfLogging:
    def test_of_libraries(self, lines: Any) -> None:
        """A record counts by the name of its logger, below the root logger's level too."""
        make(levels={"lib": "DEBUG", "lib.loud": "ERROR", "httpx": "DEBUG"})
        for name in ("lib", "lib.x", "lib.loud.y", "httpx", "other"):
            logging.getLogger(name).debug("m")
            logging.getLogger(name).warning("m")
        expected = [(name, level) for name in ("lib", "lib.x") for level in ("debug", "warning")]
        assert lines() == [*expected, ("httpx", "debug"), ("httpx", "warning"), ("other", "warning")]

    def test_levels_are_put_back(self) -> None:
        """After the end each logger of logging has the level that it had, unless somebody has changed it since."""
        mine, changed = logging.getLogger("mine.before"), logging.getLogger("changed.since")
        mine.setLevel(logging.ERROR)
        logger = make(levels={"mine.before": "DEBUG", "changed.since": "DEBUG", "httpx": "INFO"})
        assert (mine.level, changed.level) == (logging.DEBUG, logging.DEBUG)
        changed.setLevel(logging.CRITICAL)
        logger.close()
        assert (mine.level, changed.level) == (logging.ERROR, logging.CRITICAL)
        assert logging.getLogger("httpx").level == logging.NOTSET
        mine.setLevel(logging.NOTSET)
        changed.setLevel(logging.NOTSET)

    def test_no_line_is_printed_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A handler of the program's does not print what the console shows at that level."""
        printed = io.StringIO()
        monkeypatch.setattr(sys, "stderr", printed)
        handler = logging.StreamHandler()
        logging.getLogger().addHandler(handler)
        logger = make(log_to_console=True, levels={"lib": "DEBUG"})
        logging.getLogger("lib").debug("once only")
        logger.close()
        logging.getLogger().removeHandler(handler)
        assert printed.getvalue().count("once only") == 1


class TestSources:
    WANTED: ClassVar = {"strategy": "DEBUG", "feed.ws": "WARNING"}

    @pytest.mark.parametrize(
        "text",
        [
            '{"strategy": "debug", "feed.ws": 30}',
            "strategy=DEBUG,feed.ws=warning",
            " strategy = debug , feed.ws : warn,",
        ],
    )
    def test_variables_and_options(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable, .env and an option hold JSON, or names and levels."""
        monkeypatch.setenv("METAEXPERT_LEVELS", text)
        assert LoggerConfig().levels == self.WANTED
        monkeypatch.delenv("METAEXPERT_LEVELS")
        Path(".env").write_text(f"METAEXPERT_LEVELS='{text}'\n")
        assert LoggerConfig().levels == self.WANTED
        with command_line({"levels": text}):
            assert LoggerConfig(levels={"other": "INFO"}).levels == self.WANTED

    def test_pyproject(self) -> None:
        """A table in pyproject.toml is a table of levels."""
        Path("pyproject.toml").write_text('[tool.metaexpert.logger.levels]\nstrategy = "DEBUG"\n"feed.ws" = "warn"\n')
        config = LoggerConfig()
        assert config.levels == self.WANTED
        assert config.sources()["levels"].value == self.WANTED

    @pytest.mark.parametrize(
        ("value", "part"),
        [
            ({"strategy": "LOUD"}, "'strategy'"),
            ({"strategy": None}, "'strategy'"),
            ({"": "DEBUG"}, "''"),
            ({7: "DEBUG"}, "7"),
            ("strategy", "'strategy'"),
            ("a=DEBUG,b", "'b'"),
            ("{broken", "{broken"),
            (["strategy"], "strategy"),
            (5, "5"),
        ],
    )
    def test_a_wrong_value_is_told(self, value: Any, part: str) -> None:
        """The error names the field, the value and what is right."""
        with pytest.raises(ConfigurationError) as caught:
            LoggerConfig(levels=value)
        text = str(caught.value)
        assert text.startswith("levels: ")
        assert part in text
        assert 'such as {"strategy": "DEBUG"}' in text
        assert "(argument in code)" in text
