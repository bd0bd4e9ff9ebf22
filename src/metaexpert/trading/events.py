"""Events: how a strategy's functions are registered, checked when they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from .bars import Bar
from .orders import Fill, Order, Position


@dataclass(frozen=True, slots=True)
class Tick:
    """A price at a moment. A bar gives one: its close, with half the spread on either side.

    Attributes:
        time: The opening time of the bar that it closes, UTC.
        bid: Price for a seller.
        ask: Price for a buyer.
    """

    time: datetime
    bid: float
    ask: float


class Event[**P]:
    """One event of an expert, and the function that answers it.

    Use it as a decorator, ``@expert.on_bar`` or ``@expert.on_bar()``, or call it with a function or a bound
    method. The function may be plain or ``async``; it is returned unchanged. Not safe to register from several
    threads.
    """

    def __init__(self, name: str, *parameters: str) -> None:
        self.name = name
        self.parameters = parameters
        self.handler: Callable[P, object] | None = None

    @overload
    def __call__[R](self, handler: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__[F: Callable[..., object]](self) -> Callable[[F], F]: ...
    def __call__(self, handler: Any = None, /) -> Any:  # type: ignore[misc]  # mypy and ParamSpec in overloads
        """Register *handler*.

        Raises:
            TypeError: when it cannot be called with the event's arguments.
            ValueError: when the event has a handler already: an expert answers an event in one place.
        """
        return self._register if handler is None else self._register(handler)

    def __repr__(self) -> str:
        return f"<event {self.name}({', '.join(self.parameters)})>"

    def _register[R](self, handler: Callable[P, R]) -> Callable[P, R]:
        wanted = f"{self.name}({', '.join(self.parameters)})"
        if not callable(handler):
            raise TypeError(f"{self.name} needs a function that is called as {wanted}, not {handler!r}")
        if not _takes(handler, len(self.parameters)):
            given = f"{_name(handler)}{inspect.signature(handler)}"
            raise TypeError(f"{given} cannot answer this event: it is called as {wanted}")
        if self.handler is not None:
            raise ValueError(f"{self.name} is answered by {_name(self.handler)} already; one function each")
        self.handler = handler
        return handler


class Events:
    """The eight events of an expert. All handlers run one after another, never at the same time.

    A handler that raises is logged as ``Handler failed`` with its traceback, its exception is handed to
    ``on_error``, and the run goes on with the next event. Two failures end the run: one in ``on_init``, because
    the expert is not set up, and one in ``on_error`` itself, because no handler is left for it.

    Attributes:
        on_init: ``on_init()``, once, before the first bar.
        on_tick: ``on_tick(tick: Tick)``, for each price; a bar gives one tick, its close, just before on_bar.
        on_bar: ``on_bar(bar: Bar)``, when a bar has closed.
        on_order: ``on_order(order: Order)``, when an order was accepted, rejected, filled (also in part) or
            cancelled, after the handler that caused it has returned.
        on_trade: ``on_trade(fill: Fill)``, for each execution, after its on_order.
        on_position: ``on_position(position: Position)``, after each execution's on_trade.
        on_error: ``on_error(error: Exception)``, for each exception of another handler.
        on_deinit: ``on_deinit(reason: str)``, once, when the run ends for any reason, a failed on_init and
            Ctrl-C included.
    """

    def __init__(self) -> None:
        self.on_init: Event[[]] = Event("on_init")
        self.on_tick: Event[[Tick]] = Event("on_tick", "tick")
        self.on_bar: Event[[Bar]] = Event("on_bar", "bar")
        self.on_order: Event[[Order]] = Event("on_order", "order")
        self.on_trade: Event[[Fill]] = Event("on_trade", "fill")
        self.on_position: Event[[Position]] = Event("on_position", "position")
        self.on_error: Event[[Exception]] = Event("on_error", "error")
        self.on_deinit: Event[[str]] = Event("on_deinit", "reason")


def _takes(handler: Callable[..., object], arguments: int) -> bool:
    try:
        inspect.signature(handler).bind(*range(arguments))
    except ValueError:  # some built-in functions have no signature; a wrong one shows itself when it is called
        return True
    except TypeError:
        return False
    return True


def _name(handler: Callable[..., object]) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
