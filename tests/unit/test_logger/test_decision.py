"""Decisions: one entry with its reasons, whose id is on everything that is logged inside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metaexpert import MetaExpert
from metaexpert.logger import BoundLogger, MetaLogger, get_logger

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def logger() -> Iterator[BoundLogger]:
    """An installed logger that writes synchronously."""
    made = MetaLogger(log_to_console=False, async_logging=False, install=True, symbol="BTCUSDT")
    yield made
    made.close()


def test_a_decision_is_an_entry(logger: BoundLogger, read_log: Read) -> None:
    """At INFO, with what was decided, its reasons, the bound context, and an id of its own."""
    logger.decision("skip", because="spread too wide", signal={"ema": "up"})
    get_logger("strategy").decision("skip", symbol="ETHUSDT")
    first, second = read_log("logs/expert.log")
    assert (first["level"], first["message"], first["decision"]) == ("info", "Decision: skip", "skip")
    assert (first["because"], first["signal"], first["symbol"]) == ("spread too wide", {"ema": "up"}, "BTCUSDT")
    assert (second["logger"], second["symbol"]) == ("strategy", "ETHUSDT")
    assert len(first["decision_id"]) == 16
    assert first["decision_id"] != second["decision_id"]


def test_orders_inside_bear_its_id(logger: BoundLogger, read_log: Read) -> None:
    """From any logger, in tasks and threads that inherit context; not outside; an inner decision has its own."""
    trade = logger.trade

    async def enter() -> None:
        async with logger.decision("enter") as decision:
            await asyncio.gather(asyncio.to_thread(trade.debug, "in a thread"), order())
            with logger.decision("hedge"):
                trade.info("inner")
            trade.info("last", outer=decision.id)

    async def order() -> None:
        trade.info("in a task")

    trade.info("before")
    asyncio.run(enter())
    trade.info("after")
    found = {entry["message"]: entry.get("decision_id") for entry in read_log("logs/trades.log")}
    decided = {entry["decision"]: entry["decision_id"] for entry in read_log("logs/expert.log") if "decision" in entry}
    outer, inner = decided["enter"], decided["hedge"]
    assert found == {
        "before": None, "in a thread": outer, "in a task": outer, "inner": inner, "last": outer, "after": None,
    }  # fmt: skip
    assert read_log("logs/trades.log")[-2]["outer"] == outer


def test_it_raises_nothing(logger: BoundLogger, read_log: Read) -> None:
    """Hostile words and fields of any name are taken as by every log call; an id of the caller's is kept."""

    class Hostile:
        def __str__(self) -> str:
            raise ValueError

        __repr__ = __str__

    logger.decision(Hostile(), self=1, what=2, log=3, fields=4, event=5)
    with pytest.raises(KeyError), logger.decision("100 %", decision_id="d-1"):
        raise KeyError
    with logger.decision("exit", decision_id=7):
        logger.info("inside")
    first, second, _, inside = read_log("logs/expert.log")
    assert (first["self"], first["what"], first["log"]) == (1, 2, 3)
    assert (second["message"], second["decision_id"]) == ("Decision: 100 %", "d-1")
    assert inside["decision_id"] == 7


def test_below_the_level_its_orders_bear_the_id_still(read_log: Read) -> None:
    """Only its own entry is left out."""
    with MetaLogger(log_to_console=False, log_level="ERROR") as logger, logger.decision("enter") as decision:
        logger.trade.info("Order submitted")
    assert [entry["decision_id"] for entry in read_log("logs/trades.log")] == [decision.id]
    assert read_log("logs/expert.log") == []


def test_without_a_logger_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A lazy logger prints it as any other entry."""
    with get_logger("strategy").decision("skip", because="no signal") as decision:
        pass
    err = capsys.readouterr().err
    assert "Decision: skip" in err
    assert decision.id in err


def test_an_experts_orders_bear_it(read_log: Read) -> None:
    """The paper broker logs inside the handler's context, but not on another thread's."""
    expert = MetaExpert("x", symbol="BTCUSDT", log_to_console=False)
    with expert, expert.logger.decision("enter") as decision:
        expert.logger.trade.info("Order submitted", order_id="ord-1")
        thread = threading.Thread(target=expert.logger.trade.info, args=("elsewhere",))
        thread.start()
        thread.join()
    first, second = read_log("logs/trades.log")
    assert (first["decision_id"], second.get("decision_id")) == (decision.id, None)
