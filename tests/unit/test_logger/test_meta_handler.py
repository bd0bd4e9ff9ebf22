"""`MetaHandler`: the files of a MetaLogger, as a handler of `logging` that a dictConfig can name."""

from __future__ import annotations

import copy
import logging
import logging.config
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_records import RaisingRecord

from metaexpert.logger import ConfigurationError, MetaHandler, MetaLogger
from metaexpert.logger.capture.handlers import shared_loggers

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put `logging` back as a test has found it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for name in ("bot", "bot.orders"):
        for handler in logging.getLogger(name).handlers[:]:
            logging.getLogger(name).removeHandler(handler)
            handler.close()
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).propagate = True
    root.handlers[:] = handlers
    root.setLevel(level)
    assert shared_loggers.all == []


def configure(**options: Any) -> None:
    """Configure a logger `bot` with a MetaHandler by dictConfig."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(message)s"}},
            "handlers": {"meta": {"class": "metaexpert.logger.MetaHandler", "formatter": "plain", **options}},
            "loggers": {"bot": {"handlers": ["meta"], "level": "DEBUG"}},
        }
    )


def test_a_dict_config_names_it(read_log: Read, capsys: pytest.CaptureFixture[str]) -> None:
    """The fields of LoggerConfig are its keywords, in any form that a YAML file has; records become entries."""
    configure(expert_name="Ema", log_dir="bot", max_file_size="1MB", log_level="DEBUG", symbol="BTCUSDT", level="INFO")
    log = logging.getLogger("bot.orders")
    log.debug("below the handler's level")
    log.info("placed", extra={"order_id": "o-1"})
    try:
        raise ValueError("no funds")
    except ValueError:
        log.exception("refused")
    logging.getLogger("bot").handlers[0].flush()
    entries = read_log("bot/expert.log")
    assert [(e["message"], e["appname"], e["symbol"], e["logger"]) for e in entries] == [
        ("placed", "Ema", "BTCUSDT", "bot.orders"),
        ("refused", "Ema", "BTCUSDT", "bot.orders"),
    ]
    assert [e["exception"]["value"] for e in read_log("bot/errors.log")] == ["no funds"]
    assert "placed" not in capsys.readouterr().err


def test_a_dict_config_with_filters_and_a_factory(read_log: Read) -> None:
    """Filters and the form with ``()`` do what they do for other handlers."""

    def refuse(record: logging.LogRecord) -> bool:
        return "no" not in record.getMessage()

    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"polite": {"()": lambda: refuse}},
            "handlers": {
                "one": {"class": "metaexpert.logger.MetaHandler", "filters": ["polite"], "log_dir": "one"},
                "two": {"()": "metaexpert.logger.MetaHandler", "log_dir": "two", "secrets": ["hushhush1234"]},
            },
            "loggers": {"bot": {"handlers": ["one", "two"], "level": "INFO"}},
        }
    )
    for message in ("yes", "no hushhush1234"):
        logging.getLogger("bot").info(message)
    for handler in logging.getLogger("bot").handlers:
        handler.flush()
    assert [e["message"] for e in read_log("one/expert.log")] == ["yes"]
    assert [e["message"] for e in read_log("two/expert.log")] == ["yes", "no ***"]


def test_two_sets_of_files_in_one_directory(read_log: Read) -> None:
    """Handlers of one directory with other file names have their own entry of a record."""
    other = {"log_file": "b.log", "log_error_file": "b-errors.log", "log_trade_file": "b-trades.log"}
    for options in ({}, other):
        logging.getLogger("bot").addHandler(MetaHandler(log_dir="bot", **options))
    logging.getLogger("bot").error("m")
    for handler in logging.getLogger("bot").handlers:
        handler.flush()
    assert [[e["message"] for e in read_log(f"bot/{name}")] for name in ("expert.log", "b.log")] == [["m"], ["m"]]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"log_levl": "INFO"}, "log_level"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"max_file_size": "many"}, "max_file_size"),
        ({"log_to_file": False, "log_to_console": False}, "log_to_console"),
    ],
)
def test_a_wrong_keyword_is_an_error_at_once(options: dict[str, Any], word: str, tmp_path: Path) -> None:
    """It names the field; nothing is created, and a dictConfig fails with it."""
    with pytest.raises(ConfigurationError, match=word):
        MetaHandler(log_dir="bot", **options)
    with pytest.raises(ValueError, match="meta") as caught:
        configure(log_dir="bot", **options)
    assert isinstance(caught.value.__cause__, ConfigurationError)
    assert not (tmp_path / "bot").exists()


def test_a_wrong_level_is_an_error_at_once(tmp_path: Path) -> None:
    """A level that logging does not know creates nothing either."""
    with pytest.raises(ValueError, match="LOUD"):
        MetaHandler(level="LOUD", log_dir="bot")
    assert not (tmp_path / "bot").exists()


def test_handlers_of_one_directory_share_it(read_log: Read) -> None:
    """Two handlers of one directory on the way of a record write it once, with equal settings and with others."""
    for options in ({}, {"log_level": "DEBUG"}):
        first, second = MetaHandler(log_dir="bot"), MetaHandler(log_dir="bot", **options)
        logging.getLogger("bot").addHandler(first)
        logging.getLogger("bot.orders").addHandler(second)
        logging.getLogger("bot.orders").error("m")
        for handler in (first, second):
            logging.getLogger("bot").removeHandler(handler)
            logging.getLogger("bot.orders").removeHandler(handler)
            handler.close()
    assert [e["message"] for e in read_log("bot/expert.log")] == ["m", "m"]
    assert [e["sequence_id"] for e in read_log("bot/expert.log")] == [1, 2]


def test_beside_a_meta_logger(read_log: Read) -> None:
    """A record that reaches a MetaHandler and the installed logger is once in each of their files."""
    logger = MetaLogger(log_to_console=False)
    same, other = MetaHandler(), MetaHandler(log_dir="other")
    logging.getLogger("bot").addHandler(same)
    logging.getLogger("bot").addHandler(other)
    logging.getLogger("bot").error("m")
    logging.getLogger("bot").propagate = False
    logging.getLogger("bot").error("n")
    for handler in (same, other):
        handler.flush()
    logger.flush(5)
    assert [e["message"] for e in read_log("logs/expert.log")] == ["m", "n"]
    assert [e["message"] for e in read_log("other/expert.log")] == ["m", "n"]


def test_close_and_flush(read_log: Read, capsys: pytest.CaptureFixture[str]) -> None:
    """The last handler closes the logger; both calls may come twice; a record after that raises nothing."""
    before = logging.Logger.callHandlers
    first, second = MetaHandler(log_dir="bot"), MetaHandler(log_dir="bot")
    logger = first._logger
    assert second._logger is logger
    first.close()
    first.close()
    second.handle(logging.makeLogRecord({"msg": "m", "levelno": 40}))
    assert logger.health == "ok"
    second.close()
    assert logger.health == "closed"
    second.flush()
    second.handle(logging.makeLogRecord({"msg": "late", "levelno": 40}))
    assert "late" in capsys.readouterr().err
    assert [e["message"] for e in read_log("bot/expert.log")] == ["m"]
    assert logging.Logger.callHandlers is before


def test_a_second_configuration_takes_over(read_log: Read) -> None:
    """dictConfig again closes the old handlers and makes new ones on the same files."""
    for number in range(2):
        configure(log_dir="bot")
        logging.getLogger("bot").error("m%d", number)
    logging.getLogger("bot").handlers[0].flush()
    assert [e["message"] for e in read_log("bot/expert.log")] == ["m0", "m1"]


WAYS: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda handler: pickle.loads(pickle.dumps(handler)),
}


@pytest.mark.parametrize("way", WAYS)
def test_copies_and_pickles(way: str, read_log: Read) -> None:
    """A copy shares the logger, and outlives the handler that it was made of."""
    handler = MetaHandler(level="ERROR", log_dir="bot", symbol="BTCUSDT")
    other = WAYS[way](handler)
    assert other is not handler
    assert (other.level, other._logger) == (logging.ERROR, handler._logger)
    handler.close()
    other.handle(logging.makeLogRecord({"msg": "m", "levelno": 40}))
    other.close()
    assert [(e["message"], e["symbol"]) for e in read_log("bot/expert.log")] == [("m", "BTCUSDT")]


def test_filters_of_logging_work(read_log: Read) -> None:
    """A filter may refuse a record, or put another in its place."""
    handler = MetaHandler(log_dir="bot")
    handler.addFilter(lambda record: "no" not in record.msg)
    for message in ("yes", "no"):
        handler.handle(logging.makeLogRecord({"msg": message, "levelno": 40}))
    handler.close()
    assert [e["message"] for e in read_log("bot/expert.log")] == ["yes"]


def test_it_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """A record whose attributes raise is counted, and the caller hears nothing."""
    handler = MetaHandler(log_dir="bot")

    handler.handle(RaisingRecord("a", 30, "f", 1, "m", None, None))
    assert handler._logger.stats()["failed"] == 1
    handler.close()
