"""One run of one expert: bars in, events out, everything that happens logged.

Per bar, in this order: the broker fills what the bar fills; the account is valued at the close; the bar is
logged; on_order, on_trade and on_position report the fills; on_tick; on_bar. So every handler runs at the
bar's close and knows nothing beyond it. The effects of a handler's orders are reported after it has returned.

A backtest plays years in seconds and would outrun any disk: every `BARS_PER_FLUSH` bars it waits until its log is
in the files, so that the logger's buffer does not fill and drop entries. In paper mode nothing waits for the log.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger import log_context, trade_context

from . import entries
from .bars import Bar, check_order
from .events import Event, Events, Tick
from .orders import Fill, Order, OrderStatus, Position, money
from .paper import BrokerEvent, OrderChanged, PaperBroker, Traded

if TYPE_CHECKING:
    from metaexpert.logger import BoundLogger

END_OF_DATA: Final = "end of data"
INIT_FAILED: Final = "on_init failed"
ERROR_HANDLER_FAILED: Final = "on_error failed"
RUN_FAILED: Final = "run failed"
INTERRUPTED: Final = "interrupted"

#: With a hundred entries of half a kilobyte per bar this keeps the default buffer below the mark at which
#: DEBUG entries are refused, and with a few it costs a backtest next to nothing.
BARS_PER_FLUSH: Final = 50

type Bars = Iterable[Bar] | AsyncIterable[Bar]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The strategy's own record of a run, made from the broker's records and not from the log.

    Attributes:
        expert_name: As in the log.
        mode: ``backtest`` or ``paper``.
        reason: Why the run ended, as passed to on_deinit.
        failed: True when a failure ended it (on_init, on_error, the source of the bars).
        bars: How many bars were played.
        first_bar: Opening time of the first one, None when there was none.
        last_bar: Opening time of the last one.
        orders: All orders as they ended, in the order of submission, rejected ones included.
        fills: All executions, in the order in which they happened.
        position: The position at the end; it is not closed by force.
        starting_equity: Equity before the first bar, in the quote currency.
        equity: Equity at the last close: cash plus the position's worth, without the cost of closing it.
        fees: Fees of all fills.
        max_drawdown: Deepest fall of the equity below an earlier peak, as a share of that peak, at closes.
        errors: How many handlers failed (plus one when the source of the bars did).
    """

    expert_name: str
    mode: str
    reason: str
    failed: bool
    bars: int
    first_bar: datetime | None
    last_bar: datetime | None
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    position: Position
    starting_equity: float
    equity: float
    fees: float
    max_drawdown: float
    errors: int

    @property
    def pnl(self) -> float:
        """Result of the run after fees, the open position included."""
        return money(self.equity - self.starting_equity)

    @property
    def rejected(self) -> tuple[Order, ...]:
        """The orders that were rejected."""
        return tuple(order for order in self.orders if order.status is OrderStatus.REJECTED)


class Session:
    """A run in progress. Handlers and everything else run on the loop and thread that await `run`."""

    def __init__(self, name: str, mode: str, events: Events, logger: BoundLogger) -> None:
        self.name = name
        self.mode = mode
        self._events = events
        self._logger = logger
        self._trade = logger.trade
        self._broker: PaperBroker
        self._happened: deque[BrokerEvent] = deque()
        #: How many bars were played.
        self.bars = 0
        self._first: Bar | None = None
        self._last: Bar | None = None
        self._errors = 0
        self._reason: str | None = None
        self._failed = False

    def stop(self, reason: str) -> None:
        """End the run after the current event. The first reason stays."""
        self._reason = self._reason or reason

    def record(self, event: BrokerEvent) -> None:
        """Log what the broker reports, at once, and keep it for the handlers."""
        if isinstance(event, OrderChanged):
            entry = entries.order_entry(event.order)
        elif isinstance(event, Traded):
            entry = entries.fill_entry(event.fill, event.order)
        else:
            entry = entries.position_entry(event.position, event.before, event.fill)
        self._trade.log(entry.level, entry.message, **entry.fields)
        self._happened.append(event)

    async def run(self, broker: PaperBroker, bars: Bars, **described: Any) -> RunResult:
        """Play *bars* to *broker* and the handlers. *described* are further fields of the first entry.

        An exception of the source of the bars, and KeyboardInterrupt, SystemExit and cancellation, are raised
        again after on_deinit has run and the end is logged.
        """
        self._broker = broker
        self._logger.info(entries.EXPERT_STARTED, mode=self.mode, **described)
        try:
            await self._play(bars)
        except Exception:
            self._errors += 1
            self._fail(RUN_FAILED)
            self._logger.exception(entries.RUN_FAILED)
            raise
        except BaseException:
            self.stop(INTERRUPTED)
            raise
        finally:
            result = await self._finish()
        return result

    async def _play(self, bars: Bars) -> None:
        if not await self._call(self._events.on_init):
            self._fail(INIT_FAILED)
        await self._deliver()
        async with aclosing(_each(bars)) as source:
            while self._reason is None:
                bar = await anext(source, None)
                if bar is None:
                    return self.stop(END_OF_DATA)
                await self._step(bar)
        return None

    async def _step(self, bar: Bar) -> None:
        check_order(bar, self._last)
        self._first = self._first or bar
        self._last = bar
        self.bars += 1
        with log_context(bar_time=bar.time):
            self._broker.on_bar(bar)
            self._logger.debug(
                entries.BAR_CLOSED,
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.close,
                volume=bar.volume,
                equity=self._broker.equity,
            )
            await self._deliver()
            if self._reason is None:
                await self._call(self._events.on_tick, Tick(bar.time, *self._broker.quotes(bar.close)))
                await self._deliver()
            if self._reason is None:
                await self._call(self._events.on_bar, bar)
                await self._deliver()
        if self.mode == "backtest" and self.bars % BARS_PER_FLUSH == 0:
            self._logger.flush()

    async def _finish(self) -> RunResult:
        reason = self._reason or RUN_FAILED
        self._broker.close(reason)
        await self._deliver()
        await self._call(self._events.on_deinit, reason)
        await self._deliver()
        result = self._result(reason)
        self._logger.info(
            entries.EXPERT_STOPPED,
            reason=reason,
            bars=result.bars,
            orders=len(result.orders),
            fills=len(result.fills),
            rejected=len(result.rejected),
            errors=result.errors,
            pnl=result.pnl,
            fees=result.fees,
            equity=result.equity,
            max_drawdown=result.max_drawdown,
        )
        return result

    def _result(self, reason: str) -> RunResult:
        broker = self._broker
        return RunResult(
            expert_name=self.name,
            mode=self.mode,
            reason=reason,
            failed=self._failed,
            bars=self.bars,
            first_bar=self._first.time if self._first else None,
            last_bar=self._last.time if self._last else None,
            orders=broker.orders,
            fills=broker.fills,
            position=broker.position,
            starting_equity=broker.config.starting_equity,
            equity=broker.equity,
            fees=broker.fees,
            max_drawdown=broker.max_drawdown,
            errors=self._errors,
        )

    async def _deliver(self) -> None:
        """Report events to the handlers until there are no new ones."""
        while self._happened:
            event = self._happened.popleft()
            if isinstance(event, OrderChanged):
                if event.order.status is not OrderStatus.SUBMITTED:  # the handler that submitted it knows
                    context = trade_context(order_id=event.order.id)
                    await self._call(self._events.on_order, event.order, context=context)
                continue
            context = trade_context(order_id=event.fill.order_id, trade_id=event.fill.id)
            if isinstance(event, Traded):
                await self._call(self._events.on_order, event.order, context=context)
                await self._call(self._events.on_trade, event.fill, context=context)
            else:
                await self._call(self._events.on_position, event.position, context=context)

    async def _call[**P](
        self,
        event: Event[P],
        /,
        *args: Any,
        context: AbstractContextManager[object] | None = None,
    ) -> bool:
        """Call the event's handler, if there is one, and return whether it came back without an exception."""
        if event.handler is None:
            return True
        with context or nullcontext():
            try:
                await _settle(event.handler(*args))  # type: ignore[call-arg]
            except Exception as error:
                await self._complain(event.name, error)
                return False
        return True

    async def _complain(self, handler: str, error: Exception) -> None:
        self._errors += 1
        self._logger.exception(entries.HANDLER_FAILED, handler=handler, exc_info=error)
        answer = self._events.on_error.handler
        if answer is None:
            return
        try:
            await _settle(answer(error))
        except Exception as second:
            self._errors += 1
            self._logger.exception(entries.HANDLER_FAILED, handler="on_error", exc_info=second)
            self._fail(ERROR_HANDLER_FAILED)

    def _fail(self, reason: str) -> None:
        self._failed = True
        self.stop(reason)


async def _settle(answer: object) -> None:
    if inspect.isawaitable(answer):
        await answer


async def _each(bars: Bars) -> AsyncGenerator[Bar]:
    """Yield bars of either kind, letting other tasks (and Ctrl-C) in after each one."""
    if isinstance(bars, AsyncIterable):
        async for bar in bars:
            yield _checked(bar)
        return
    for bar in bars:
        yield _checked(bar)
        await asyncio.sleep(0)


def _checked(bar: object) -> Bar:
    if not isinstance(bar, Bar):
        raise TypeError(f"data must yield Bar objects, not {type(bar).__name__}")
    return bar
