"""`repeat_limit`: which entries are equal, what is written and what is counted, and that the sum is exact."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger import (
    BoundLogger,
    ConfigurationError,
    LoggerConfig,
    MetaLogger,
    get_logger,
    register_secret,
    trade_context,
)
from metaexpert.logger.config.settings import command_line
from metaexpert.logger.encoding.processors import CleanValues
from metaexpert.logger.encoding.route import never
from metaexpert.logger.hub import _repeats
from metaexpert.logger.hub._repeats import template

Make = Callable[..., BoundLogger]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock of the minutes stand still, and return a function that moves it."""
    now = [1000.0]
    monkeypatch.setattr(_repeats, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def found(logger: BoundLogger, read_log: Read, file: str = "expert.log") -> tuple[list[str], list[dict[str, Any]]]:
    """Return the messages of the entries, and those that tell of repeats."""
    logger.flush()
    entries = read_log(f"logs/{file}")
    told = [entry for entry in entries if entry["message"] == "log.repeated"]
    return [entry["message"] for entry in entries if entry not in told], told


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order 17 failed", "Order 1234567890123 failed"),
        ("price 70000.5", "price 0.1"),
        ("slippage -3", "slippage 1e-7"),
        ("id 550e8400-e29b-41d4-a716-446655440000", "id 123e4567-e89b-12d3-a456-426614174000"),
        ("order ord-4711-x lost", "order ord-12 lost"),
        ("at 0x7f00aa", "at 0x1"),
        ("sha 3f2a9c1", "sha aa10bb2"),
        ("took 12ms", "took 9ms"),
        ("12:30:45 tick", "01:02:03 tick"),
        ("2026-11-28 gone", "2026-11-29 gone"),
    ],
)
def test_equal_apart_from_numbers_and_ids(one: str, other: str) -> None:
    """These report the same thing."""
    assert template(one)[0] == template(other)[0] != one


@pytest.mark.parametrize(
    ("one", "other"),
    [("Order failed", "Order filled"), ("BTCUSDT gap", "ETHUSDT gap"), ("a 1", "a 1 2"), ("deadbeef", "facade")],
)
def test_not_equal(one: str, other: str) -> None:
    """Words tell entries apart."""
    assert template(one)[0] != template(other)[0]


def test_a_storm_is_written_up_to_the_limit_and_told_once(make: Make, read_log: Read, clock: Any) -> None:
    """Three of ten come; one entry at the end of the minute has count, first, last and ranges of the others."""
    logger = make(repeat_limit=3)
    for number in range(10):
        logger.warning(f"Gap of {number} bars", symbol="BTCUSDT", bars=number * 1.5, ok=True)
    logger.info("Gap of 1 bars")
    clock(59)
    logger._logger.pipeline.serve()
    assert len(found(logger, read_log)[1]) == 0
    clock(1)
    logger._logger.pipeline.serve()
    messages, (told,) = found(logger, read_log)
    assert [entry["sequence_id"] for entry in read_log("logs/expert.log")] == [1, 2, 3, 4, 5]
    assert messages == ["Gap of 0 bars", "Gap of 1 bars", "Gap of 2 bars", "Gap of 1 bars"]
    assert (told["level"], told["template"], told["count"]) == ("warning", "Gap of # bars", 7)
    assert told["first"] <= told["last"] <= told["timestamp"]
    assert told["range"] == {"#1": [3, 9], "bars": [4.5, 13.5]}
    assert "source" not in told
    assert logger.stats()["repeated"] == 7
    logger.warning("Gap of 7 bars")
    assert found(logger, read_log)[0][-1] == "Gap of 7 bars"


def test_levels_and_loggers_have_counts_of_their_own(read_log: Read, clock: Any) -> None:
    """The same text of another logger or level is another entry; records of logging count as well."""
    logger = MetaLogger(log_to_console=False, repeat_limit=1)
    for _ in range(3):
        get_logger("a").info("m %d", 5)
        get_logger("b").info("m 6")
        get_logger("a").warning("m 7")
        logging.getLogger("lib").warning("m %s", 8)
        logger.info("m 9")
    clock(60)
    logger._logger.pipeline.serve()
    messages, told = found(logger, read_log)
    assert messages == ["m 5", "m 6", "m 7", "m 8", "m 9"]
    assert {(t.get("source"), t["level"], t["count"]) for t in told} == {
        ("a", "info", 2), ("b", "info", 2), ("a", "warning", 2), ("lib", "warning", 2), (None, "info", 2)
    }  # fmt: skip


@pytest.mark.parametrize("asked", [False, True])
def test_trades_errors_and_alerts_are_exempt_unless_asked(make: Make, read_log: Read, asked: bool) -> None:
    """A trade however it is marked, and an error, are written each time; an entry with alert=True always is."""
    logger = make(repeat_limit=1, repeat_limit_errors=asked, repeat_limit_trades=asked)
    for _ in range(3):
        logger.trade.info("bound")
        logger.info("in the call", category="trade")
        with trade_context():
            logger.debug("in the context")
        logger.error("error")
        logger.info("alert", alert=True)
    messages = found(logger, read_log)[0]
    kept = 1 if asked else 3
    assert [messages.count(text) for text in ("bound", "in the call", "error", "alert")] == [kept, kept, kept, 3]
    assert found(logger, read_log, "trades.log")[0].count("in the context") == kept
    logger.close()
    entries = read_log("logs/expert.log")
    assert sum(entry.get("count", 0) for entry in entries if entry["message"] == "log.repeated") == (8 if asked else 0)


def test_close_tells_of_all_that_was_counted(make: Make, read_log: Read) -> None:
    """Nothing is forgotten at the end, and a closed logger is as ever."""
    logger = make(repeat_limit=2)
    for number in range(100):
        logger.info("tick %d", number)
    logger.close()
    entries = read_log("logs/expert.log")
    assert [entry.get("count", 1) for entry in entries] == [1, 1, 98]


def test_the_table_is_bounded(make: Make, read_log: Read, monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    """The kind that came least recently is told of and forgotten; the sum stays."""
    monkeypatch.setattr(_repeats, "_MOST_KINDS", 2)
    logger = make(repeat_limit=1)
    for text in ("a", "a", "b", "b", "a", "c", "b"):
        logger.info(text)
    assert len(logger._logger.pipeline._repeats._groups) == 2  # type: ignore[union-attr]
    logger.close()
    entries = read_log("logs/expert.log")
    assert sum(entry.get("count", 1) for entry in entries) == 7


@pytest.mark.parametrize("threads", [4])
def test_the_sum_is_exact_over_threads(make: Make, read_log: Read, threads: int) -> None:
    """Exactly so many are written as the limit says, and each other one is counted."""
    logger, each = make(repeat_limit=7), 300

    def storm(which: int) -> None:
        for number in range(each):
            logger.info("Reconnect %d", number, which=which)
            logger.warning("Other %d", number)

    running = [threading.Thread(target=storm, args=(which,)) for which in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    logger.close()
    entries = read_log("logs/expert.log")
    for word, level in (("Reconnect", "info"), ("Other", "warning")):
        written = [entry for entry in entries if entry["message"].startswith(word)]
        told = [entry["count"] for entry in entries if entry["message"] == "log.repeated" and entry["level"] == level]
        assert (len(written), sum(told)) == (7, threads * each - 7)


def test_a_signal_handler_that_logs_in_the_midst_of_it_is_written(
    make: Make, read_log: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither waits nor is lost, and the sum stays exact."""
    logger = make(repeat_limit=1)
    pipeline = logger._logger.pipeline
    calls, inner = [0], pipeline._repeats._group  # type: ignore[union-attr]

    def interrupted(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] % 2:
            logger.info("storm")
        return inner(*args)

    monkeypatch.setattr(pipeline._repeats, "_group", interrupted)
    for _ in range(10):
        logger.info("storm")
    made = 10 + (calls[0] + 1) // 2
    logger.close()
    entries = read_log("logs/expert.log")
    assert sum(entry.get("count", 1) for entry in entries) == made


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_its_own(make: Make, read_log: Read) -> None:
    """The parent tells of what it counted, the child of what it did, none of both twice."""
    logger = make(repeat_limit=1)
    for _ in range(10):
        logger.info("storm")
    if not (child := os.fork()):
        try:
            for _ in range(5):
                logger.info("storm")
            logger.close()
        finally:
            os._exit(0)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    logger.close()
    entries = [entry for entry in read_log("logs/expert.log") if entry["message"] in ("storm", "log.repeated")]
    counted = {entry["procid"]: 0 for entry in entries}
    for entry in entries:
        counted[entry["procid"]] += entry.get("count", 1)
    assert counted == {str(os.getpid()): 10, str(child): 5}


def test_it_costs_nothing_when_it_is_off(make: Make) -> None:
    """No call goes another way; with it, trades and errors do not."""

    def plainly(logger: BoundLogger) -> set[tuple[str, bool]]:
        return {kind for kind, route in logger._logger.pipeline.routes.items() if route.check is never}

    assert plainly(make(log_level="DEBUG")) == set()
    limited = {("info", False), ("warning", False), ("debug", False)}
    assert plainly(make(log_level="DEBUG", repeat_limit=5, log_dir="others")) == limited


HARD: list[dict[str, Any]] = [
    {"price": 1.5, "symbol": "BTCUSDT", "ok": True, "note": None},
    {"api_key": 12345678, "size": 2},  # a secret by its name
    {"pin": 987654321, "size": 3},  # one by its value
    {"name": "api_key", "value": 12345678.5},
    {"size": float("nan")},
    {"size": Decimal(4), "level": 5},
    {"items": [1, 2], "size": 10**30},
    {"token": "abc", "masked": 7},
    {"alert": True, "size": 1},
]


@pytest.mark.parametrize("fields", HARD, ids=str)
def test_counting_before_the_values_are_clean_tells_the_same(
    make: Make, read_log: Read, fields: dict[str, Any]
) -> None:
    """Whatever is in an entry, `log.repeated` says what it says when all entries are cleaned first."""
    register_secret("987654321")
    told = []
    for early in (True, False):
        logger = make(repeat_limit=2, log_dir=f"logs/{early}")
        if not early:
            vars(logger._logger.pipeline._repeats)["_counts"] = lambda *_: False
        for number in range(5):
            logger.warning(f"Gap of {number} by 987654321, api_key=abcd{number}\ud800", **fields)
        logger.close()
        entries = read_log(f"logs/{early}/expert.log")
        ends = [entry for entry in entries if entry["message"] == "log.repeated"]
        told.append([{key: end[key] for key in ("level", "template", "count", "range")} for end in ends])
    assert told[0] == told[1]
    assert len(told[0]) == (not fields.get("alert"))
    assert "987654321" not in str(told)


def test_an_entry_too_many_is_not_cleaned(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dearest part of a call is left out for those that are counted only."""
    logger = make(repeat_limit=2)
    cleaned: list[object] = []
    clean = CleanValues.__call__

    def counted(*args: Any) -> Any:
        cleaned.append(args)
        return clean(*args)

    monkeypatch.setattr(CleanValues, "__call__", counted)
    for number in range(10):
        logger.warning("Gap of %d bars", number, symbol="BTCUSDT", bars=number)
    assert len(cleaned) == 2
    assert logger.stats()["repeated"] == 8


@pytest.mark.parametrize("value", ["0", "-1", "many", 1.5, ""])
def test_a_wrong_limit_is_one_line(value: object) -> None:
    """It names field, value and what would be right."""
    with pytest.raises(ConfigurationError, match=r"^repeat_limit: .* should be .*\(argument in code\)$"):
        LoggerConfig(repeat_limit=value)


def test_every_source_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, environment, .env and pyproject.toml."""
    Path("pyproject.toml").write_text("[tool.metaexpert.logger]\nrepeat_limit = 1\nrepeat_limit_trades = true\n")
    assert (LoggerConfig().repeat_limit, LoggerConfig().repeat_limit_trades) == (1, True)
    Path(".env").write_text("METAEXPERT_REPEAT_LIMIT=2\n")
    assert LoggerConfig().repeat_limit == 2
    monkeypatch.setenv("METAEXPERT_REPEAT_LIMIT", "3")
    assert LoggerConfig().repeat_limit == 3
    with command_line({"repeat_limit": "4"}):
        assert LoggerConfig(repeat_limit=9).repeat_limit == 4


@given(st.text(max_size=200), st.integers())
def test_any_text_has_a_template(text: str, number: int) -> None:
    """A number that stands by itself never tells two messages apart, and comes back exactly."""
    one, numbers = template(f"{text} {number} ")
    other, _ = template(f"{text} 0 ")
    assert one == other
    assert numbers[-1] == number
