"""A run: the order of events, what happens when a handler fails, and how a run ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert import MetaExpert
from metaexpert.trading import Bar, BarError, Order, PaperConfig, Position, Tick

MakeExpert = Callable[..., MetaExpert]
ReadLog = Callable[..., list[dict[str, Any]]]
FREE = PaperConfig(starting_equity=10_000, fee_bps=0, slippage_bps=0)


def recorded(expert: MetaExpert) -> list[str]:
    """Answer every event by a line in the returned list."""
    seen: list[str] = []
    expert.on_init(lambda: seen.append("init"))
    expert.on_tick(lambda tick: seen.append(f"tick {tick.bid:g}"))
    expert.on_bar(lambda bar: seen.append(f"bar {bar.close:g}"))
    expert.on_order(lambda order: seen.append(f"{order.id} {order.status}"))
    expert.on_trade(lambda fill: seen.append(f"{fill.id} {fill.price:g}"))
    expert.on_position(lambda position: seen.append(f"position {position.size:g}"))
    expert.on_error(lambda error: seen.append(f"error {error}"))
    expert.on_deinit(lambda reason: seen.append(f"deinit {reason}"))
    return seen


def test_events_come_in_the_documented_order(make: MakeExpert, bars: list[Bar]) -> None:
    """What was filled is told first, then the tick, then the bar; init is first and deinit last."""
    expert = make(paper=FREE)
    seen = recorded(expert)

    def trade(bar: Bar) -> None:
        seen.append(f"bar {bar.close:g}")
        if bar is bars[0]:
            expert.buy(1)

    expert.on_bar.handler = trade
    expert.run(bars[:2])
    assert seen == [
        "init",
        "tick 100.5",
        "bar 100.5",
        "ord-1 accepted",
        "ord-1 filled",
        "trd-1 101",
        "position 1",
        "tick 101.5",
        "bar 101.5",
        "deinit end of data",
    ]


def test_handlers_may_be_coroutines_and_plain_functions_side_by_side(make: MakeExpert, bars: list[Bar]) -> None:
    """An async handler is awaited to its end before the next event."""
    expert = make(paper=FREE)
    seen: list[str] = []

    @expert.on_bar
    async def slow(bar: Bar) -> None:
        seen.append("begin")
        await asyncio.sleep(0)
        expert.buy(1)
        seen.append("end")

    @expert.on_order()
    def told(order: Order) -> None:
        seen.append(order.status.value)

    expert.run(bars[:1])
    assert seen == ["begin", "end", "accepted", "cancelled"]


def test_a_tick_is_the_close_with_half_the_spread_on_either_side(make: MakeExpert, bars: list[Bar]) -> None:
    """The only price that a bar allows to tell without inventing one is its close."""
    expert = make(paper=PaperConfig(spread_bps=100))
    ticks: list[Tick] = []
    expert.on_tick(ticks.append)
    expert.run(bars[:1])
    assert ticks == [Tick(bars[0].time, 99.9975, 101.0025)]


def test_a_decision_on_a_bar_is_filled_at_the_next_open(make: MakeExpert, bars: list[Bar]) -> None:
    """The whole way through the host: no fill on the bar of the decision, the next open after it."""
    expert = make(paper=FREE)
    expert.on_bar(lambda bar: bar is bars[0] and expert.buy(2))
    result = expert.run(bars)
    assert [(fill.price, fill.time) for fill in result.fills] == [(101, bars[1].time)]
    assert (result.equity, result.pnl) == (10_007, 7)


def test_a_rejected_order_is_returned_logged_and_handed_to_on_order(
    make: MakeExpert, bars: list[Bar], log: ReadLog
) -> None:
    """A refusal is no exception: the order says why, and so do the log and on_order."""
    expert = make()
    told: list[Order] = []
    returned: list[Order] = []
    expert.on_order(told.append)
    expert.on_bar(lambda bar: returned.append(expert.buy(0)))
    expert.run(bars[:1])
    assert told == returned
    assert returned[0].reason == "the size must be above zero"
    [entry] = log("trades.log", "Order rejected")
    assert (entry["order_id"], entry["status"], entry["level"]) == ("ord-1", "rejected", "warning")
    assert entry["reason"] == "the size must be above zero"


def test_close_position_closes_and_does_nothing_without_a_position(make: MakeExpert, bars: list[Bar]) -> None:
    """A long position is sold whole; when there is none, None is returned and no order made."""
    expert = make(paper=FREE)
    closed: list[Order | None] = []

    @expert.on_bar
    def trade(bar: Bar) -> None:
        closed.append(expert.close_position())
        if bar is bars[0]:
            expert.buy(3)

    result = expert.run(bars[:3])
    assert [order and (order.side.value, order.size) for order in closed] == [None, ("SELL", 3), None]
    assert expert.position.size == result.position.size == 0


def test_an_order_can_be_cancelled_and_a_late_cancel_is_logged(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """Cancelling works while the order is open; afterwards the order stays as it is, with a warning."""
    expert = make(paper=FREE)

    @expert.on_bar
    def trade(bar: Bar) -> None:
        if bar is bars[0]:
            order = expert.buy(1, 50)
            assert [o.id for o in expert.open_orders] == [order.id]
            assert expert.cancel(order.id).status == "cancelled"
            assert expert.order(order.id).reason == "cancelled by the strategy"
            expert.cancel(order.id)

    result = expert.run(bars)
    assert result.errors == 0
    assert [entry["reason"] for entry in log("trades.log", "Order cancelled")] == ["cancelled by the strategy"]
    [warning] = log("trades.log", "Cancel refused")
    assert (warning["order_id"], warning["status"], warning["level"]) == ("ord-1", "cancelled", "warning")


@pytest.mark.parametrize("name", ["on_tick", "on_bar", "on_order", "on_trade", "on_position"])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_failing_handler_is_logged_handed_to_on_error_and_the_run_goes_on(
    make: MakeExpert, bars: list[Bar], log: ReadLog, name: str, kind: str
) -> None:
    """No exception of a handler is silent, and none of these ends the run."""
    expert = make(paper=FREE)
    seen: list[Exception] = []
    expert.on_error(seen.append)
    if name != "on_bar":
        expert.on_bar(lambda bar: bar is bars[0] and expert.buy(1))

    def fail(_: object) -> None:
        raise LookupError("no such thing")

    async def fail_later(_: object) -> None:
        raise LookupError("no such thing")

    getattr(expert, name)(fail if kind == "plain" else fail_later)
    result = expert.run(bars)
    assert (result.bars, result.reason, result.failed) == (5, "end of data", False)
    assert result.errors == len(seen) >= 1
    assert all(isinstance(error, LookupError) for error in seen)
    entries = log("errors.log", "Handler failed")
    assert len(entries) == result.errors
    assert {(e["handler"], e["exception"]["value"]) for e in entries} == {(name, "no such thing")}


def test_a_failing_on_init_ends_the_run_before_the_first_bar(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """An expert that is not set up must not trade; on_deinit is still told."""
    expert = make()
    seen = recorded(expert)
    expert.on_init.handler = lambda: 1 / 0
    result = expert.run(bars)
    assert seen == ["error division by zero", "deinit on_init failed"]
    assert (result.bars, result.failed, result.errors) == (0, True, 1)
    assert log("expert.log", "Expert stopped")[0]["reason"] == "on_init failed"


def test_a_failing_on_error_ends_the_run(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """When nobody is left to answer an error, both are logged and the run ends."""
    expert = make()
    expert.on_bar(lambda bar: 1 / 0)

    @expert.on_error
    def answer(error: Exception) -> None:
        raise RuntimeError("the answer fails as well")

    result = expert.run(bars)
    assert (result.bars, result.reason, result.failed, result.errors) == (1, "on_error failed", True, 2)
    assert [entry["handler"] for entry in log("errors.log")] == ["on_bar", "on_error"]


def test_a_failing_on_deinit_is_logged_and_the_run_still_ends(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """The last handler's failure is an error like the others; the summary follows it."""
    expert = make()

    @expert.on_deinit
    def end(reason: str) -> None:
        raise OSError("disk gone")

    assert expert.run(bars).errors == 1
    assert [entry["message"] for entry in log()][-2:] == ["Handler failed", "Expert stopped"]


def test_stop_ends_the_run_after_the_current_event(make: MakeExpert, bars: list[Bar]) -> None:
    """stop() in on_tick leaves out the on_bar of the same bar; the first reason reaches on_deinit and the result."""
    expert = make()
    seen = recorded(expert)

    def stop(tick: Tick) -> None:
        expert.stop("enough")
        expert.stop("more than enough")

    expert.on_tick.handler = stop
    result = expert.run(bars)
    assert seen == ["init", "deinit enough"]
    assert (result.bars, result.reason, result.failed) == (1, "enough", False)


def test_open_orders_are_cancelled_at_the_end_and_later_ones_rejected(make: MakeExpert, bars: list[Bar]) -> None:
    """No order is left working after a run; one made in on_deinit is rejected, not lost."""
    expert = make(paper=FREE)
    expert.on_bar(lambda bar: bar is bars[0] and expert.buy(1, 10))
    expert.on_deinit(lambda reason: expert.sell(1))
    result = expert.run(bars)
    assert [(o.status.value, o.reason) for o in result.orders] == [
        ("cancelled", "end of data"),
        ("rejected", "the run is over: end of data"),
    ]


def test_an_endless_answer_to_rejections_is_stopped(make: MakeExpert, bars: list[Bar]) -> None:
    """on_order that answers each rejection with an order ends in an error, not in a hang."""
    expert = make()
    expert.on_bar(lambda bar: expert.buy(0))
    expert.on_order(lambda order: expert.buy(0))
    result = expert.run(bars[:1])
    assert (len(result.orders), result.errors) == (1000, 1)


def test_log_calls_in_handlers_bear_the_bar_the_order_and_the_trade(
    make: MakeExpert, bars: list[Bar], log: ReadLog
) -> None:
    """A plain logger.info in a handler is found under its order, its trade and its bar."""
    expert = make(paper=FREE, symbol="EURUSD")

    @expert.on_bar
    def trade(bar: Bar) -> None:
        if bar is bars[0]:
            expert.logger.info("from bar")
            expert.buy(1)

    expert.on_trade(lambda fill: expert.logger.debug("from trade"))
    expert.run(bars[:2])
    [from_bar] = log("expert.log", "from bar")
    assert (from_bar["bar_time"], from_bar["symbol"]) == ("2024-01-01T00:00:00Z", "EURUSD")
    assert "order_id" not in from_bar
    [from_trade] = log("trades.log", "from trade")
    assert (from_trade["order_id"], from_trade["trade_id"]) == ("ord-1", "trd-1")
    assert from_trade["bar_time"] == "2024-01-01T01:00:00Z"


def test_bars_are_logged_at_debug_and_life_at_info(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """At DEBUG every bar is an entry; the first and the last entries are the expert's life."""
    result = make(log_level="DEBUG").run(bars)
    entries = [entry for entry in log() if "logger" not in entry]  # without asyncio's own
    assert [entry["message"] for entry in entries] == [
        "Expert started",
        *["Bar closed"] * result.bars,
        "Expert stopped",
    ]
    assert [entry["close"] for entry in log(message="Bar closed")] == [bar.close for bar in bars]
    assert (entries[0]["exchange"], entries[0]["mode"]) == ("paper-exchange", "backtest")


def test_the_summary_is_the_result(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """The numbers of the last entry are those of the returned record."""
    expert = make()
    expert.on_bar(lambda bar: expert.buy(1) if bar.close < 102 else expert.sell(2))
    result = expert.run(bars)
    [entry] = log(message="Expert stopped")
    assert entry["orders"] == len(result.orders) == 5
    assert entry["fills"] == len(result.fills) == 4
    for name in ("bars", "errors", "pnl", "fees", "equity", "max_drawdown", "reason"):
        assert entry[name] == getattr(result, name)
    assert result.fees > 0
    assert (result.first_bar, result.last_bar) == (bars[0].time, bars[-1].time)


def test_paper_mode_takes_bars_as_they_arrive(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """An asynchronous source is awaited bar by bar; the mode is in the log and the result."""

    async def feed() -> AsyncIterator[Bar]:
        for bar in bars:
            await asyncio.sleep(0)
            yield bar

    result = make().run(feed(), mode="paper")
    assert (result.bars, result.mode) == (5, "paper")
    assert log(message="Expert started")[0]["mode"] == "paper"


def test_a_wrong_file_of_bars_is_found_before_anything_runs(make: MakeExpert, tmp_path: Path) -> None:
    """A bad row at the end of a file raises before on_init and before the first entry."""
    path = tmp_path / "bars.csv"
    path.write_text("timestamp,open,high,low,close,volume\n2024-01-01,1,1,1,1,1\n2024-01-02,1,1,1,x,1\n")
    expert = make()
    seen = recorded(expert)
    with pytest.raises(BarError, match=r"bars\.csv, line 3, column close: 'x'"):
        expert.run(path)
    assert seen == []
    assert not Path("logs").exists()


def test_a_file_named_when_the_expert_was_made_is_the_default(make: MakeExpert, tmp_path: Path) -> None:
    """run() without data plays the expert's own file, run(data) another one."""
    path = tmp_path / "bars.csv"
    path.write_text("timestamp,open,high,low,close,volume\n2024-01-01,1,1,1,1,1\n")
    assert make(data=path).run().bars == 1
    with pytest.raises(ValueError, match="needs data"):
        make().run()


@pytest.mark.parametrize("error", [ConnectionError("feed lost"), None])
def test_a_failing_source_of_bars_ends_the_run_and_is_raised(
    make: MakeExpert, bars: list[Bar], log: ReadLog, error: Exception | None
) -> None:
    """A feed that raises, or goes back in time, is logged, told to on_deinit and given to the caller."""

    def feed() -> Iterator[Bar]:
        yield from bars[:2]
        if error is not None:
            raise error
        yield bars[0]

    expert = make()
    seen = recorded(expert)
    with pytest.raises(BarError if error is None else ConnectionError):
        expert.run(feed())
    assert seen[-1] == "deinit run failed"
    assert [entry["message"] for entry in log()][-2:] == ["Run failed", "Expert stopped"]
    assert log("errors.log")[0]["exception"]["type"].endswith("BarError" if error is None else "ConnectionError")


def test_bars_of_another_type_are_refused(make: MakeExpert) -> None:
    """Data that yields something else than bars is a TypeError that says so."""
    with pytest.raises(TypeError, match="must yield Bar objects, not float"):
        make().run([1.0])  # type: ignore[list-item]


def test_cancelling_a_run_ends_it_in_order(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """A cancelled task still calls on_deinit and logs its end, then is cancelled."""
    expert = make()
    seen = recorded(expert)

    async def main() -> None:
        task = asyncio.create_task(expert.arun(bars))
        expert.on_bar.handler = lambda bar: task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert seen[-1] == "deinit interrupted"
    assert log(message="Expert stopped")[0]["reason"] == "interrupted"


def test_an_interrupt_in_a_handler_ends_the_run_in_order(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """SystemExit passes through, after on_deinit and the last entry."""
    expert = make()
    seen = recorded(expert)

    def leave(bar: Bar) -> None:
        raise SystemExit(3)

    expert.on_bar.handler = leave
    with pytest.raises(SystemExit):
        expert.run(bars)
    assert seen[-1] == "deinit interrupted"
    assert log(message="Expert stopped")[0]["reason"] == "interrupted"


def test_ctrl_c_ends_the_run_in_order(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """The handler that is at work is finished, on_deinit is told, the end is logged, then KeyboardInterrupt."""
    expert = make(paper=FREE)
    seen = recorded(expert)

    def interrupted(bar: Bar) -> None:
        signal.raise_signal(signal.SIGINT)
        expert.buy(1)

    expert.on_bar.handler = interrupted
    with pytest.raises(KeyboardInterrupt):
        expert.run(bars)
    assert seen[-2:] == ["ord-1 cancelled", "deinit interrupted"]
    assert log(message="Expert stopped")[0]["bars"] == 1


def test_a_second_run_starts_with_a_fresh_account_and_goes_on_counting(make: MakeExpert, bars: list[Bar]) -> None:
    """Ids stay unique in the log of one expert; cash and position start anew."""
    expert = make(paper=FREE)
    expert.on_bar(lambda bar: bar is bars[0] and expert.buy(1))
    first, second = expert.run(bars), expert.run(bars)
    assert [order.id for order in first.orders + second.orders] == ["ord-1", "ord-2"]
    assert first.equity == second.equity


def test_two_runs_of_one_expert_at_once_are_refused(make: MakeExpert, bars: list[Bar]) -> None:
    """One expert runs once at a time."""
    expert = make()
    errors: list[Exception] = []

    @expert.on_init
    async def again() -> None:
        with pytest.raises(RuntimeError, match="is running already"):
            await expert.arun(bars)

    expert.on_error(errors.append)
    expert.run(bars)
    assert errors == []


def test_run_inside_an_event_loop_points_to_arun(make: MakeExpert, bars: list[Bar]) -> None:
    """A blocking run would stop the loop; the error names the coroutine."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"await expert\.arun"):
            make().run(bars)

    asyncio.run(main())


@pytest.mark.parametrize("call", ["buy", "sell", "close_position", "cancel"])
def test_orders_outside_a_run_are_refused(make: MakeExpert, bars: list[Bar], call: str) -> None:
    """Before and after a run there is no account to trade on."""
    expert = make()
    arguments = [] if call == "close_position" else ["ord-1"] if call == "cancel" else [1]
    with pytest.raises(RuntimeError, match="only while the expert runs"):
        getattr(expert, call)(*arguments)
    expert.run(bars)
    with pytest.raises(RuntimeError, match="only while the expert runs"):
        getattr(expert, call)(*arguments)


def test_an_unknown_mode_is_refused(make: MakeExpert, bars: list[Bar]) -> None:
    """Live trading is not promised by silence."""
    with pytest.raises(ValueError, match="one of backtest, paper, not 'live'"):
        make().run(bars, mode="live")  # type: ignore[arg-type]


def test_position_equity_and_orders_can_be_asked_at_any_time(make: MakeExpert, bars: list[Bar]) -> None:
    """Before a run they are the start's, during it the account's, afterwards the end's."""
    expert = make(paper=FREE, symbol="X")
    assert (expert.position, expert.equity, expert.balance) == (Position("X"), 10_000, 10_000)
    assert expert.open_orders == ()
    with pytest.raises(LookupError):
        expert.order("ord-1")
    seen: list[tuple[float, float]] = []
    expert.on_init(lambda: expert.buy(2, 200) and None)
    expert.on_bar(lambda bar: seen.append((expert.equity, expert.balance)))
    expert.run(bars[:2])
    assert seen == [(10_001, 10_000), (10_003, 10_000)]
    assert (expert.equity, expert.position.size, expert.order("ord-1").average_price) == (10_003, 2, 100)
