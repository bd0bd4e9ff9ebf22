"""Events: how handlers are registered and what is refused at registration."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from metaexpert.trading.events import Event, Events

NAMES = ["on_init", "on_deinit", "on_tick", "on_bar", "on_order", "on_trade", "on_position", "on_error"]


@pytest.fixture
def event() -> Event[[object]]:
    return Event("on_bar", "bar")


def test_an_expert_has_the_eight_events() -> None:
    """Each event exists under its name and has no handler at first."""
    events = Events()
    assert sorted(vars(events)) == sorted(NAMES)
    assert all(vars(events)[name].name == name and vars(events)[name].handler is None for name in NAMES)


def test_a_decorator_works_with_and_without_parentheses(event: Event[[object]]) -> None:
    """Both spellings register the function and leave it as it is."""

    def handler(bar: object) -> object:
        return bar

    assert event(handler) is handler
    assert event.handler is handler
    other: Event[[object]] = Event("on_bar", "bar")
    assert other()(handler) is handler
    assert other.handler is handler


class Strategy:
    def on_bar(self, bar: object) -> None: ...

    async def on_bar_later(self, bar: object) -> None: ...

    def __call__(self, bar: object) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        lambda bar: None,
        lambda bar, extra=1: None,
        lambda *args: None,
        Strategy().on_bar,
        Strategy().on_bar_later,
        Strategy(),
        functools.partial(lambda account, bar: None, "account"),
        print,
        [].append,
        {}.update,
    ],
)
def test_anything_that_can_be_called_with_the_arguments_is_a_handler(event: Event[[object]], handler: Any) -> None:
    """Functions, methods, coroutines, callable objects, partials and built-ins are taken."""
    event(handler)
    assert event.handler == handler


@pytest.mark.parametrize(
    "handler",
    [lambda: None, lambda bar, account: None, lambda bar, *, account: None, lambda *, bar: None, Strategy.on_bar],
)
def test_a_handler_of_another_signature_is_refused_with_the_right_one(event: Event[[object]], handler: Any) -> None:
    """The error shows how the handler looks and how it would be called."""
    with pytest.raises(TypeError, match=r"cannot answer this event: it is called as on_bar\(bar\)"):
        event(handler)
    assert event.handler is None


def test_something_that_is_no_function_is_refused(event: Event[[object]]) -> None:
    """A value in the decorator's parentheses is a mistake, and named as one."""
    with pytest.raises(TypeError, match=r"on_bar needs a function that is called as on_bar\(bar\), not 15"):
        event(15)  # type: ignore[call-overload]


def test_a_second_handler_is_refused_and_the_first_stays(event: Event[[object]]) -> None:
    """One event, one function: the second registration names the first."""

    @event
    def first(bar: object) -> None: ...

    with pytest.raises(ValueError, match=r"on_bar is answered by .*first already"):
        event(lambda bar: None)
    assert event.handler is first
    assert repr(event) == "<event on_bar(bar)>"
