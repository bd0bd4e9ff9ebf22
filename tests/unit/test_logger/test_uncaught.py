"""The hooks for exceptions that nobody caught, called as Python calls them."""

from __future__ import annotations

import faulthandler
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import BoundLogger, MetaLogger
from metaexpert.logger.uncaught import Uncaught


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the hooks that were there before have been called with."""
    calls: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: calls.append(args))
    monkeypatch.setattr(threading, "excepthook", calls.append)
    monkeypatch.setattr(sys, "unraisablehook", calls.append)
    return calls


@pytest.fixture
def logger(called: list[Any]) -> Iterator[BoundLogger]:
    """An installed logger with all its hooks."""
    with MetaLogger(log_to_console=False) as made:
        yield made


Read = Callable[[str], list[dict[str, Any]]]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for the writing thread to have looked."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def fail_in(place: str) -> None:
    """Have a thread or a finalizer raise."""

    def fail(*_: Any) -> None:
        raise LookupError("no such symbol")

    if place == "thread":
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    else:
        type("Order", (), {"__del__": fail})()
        gc.collect()


def uncaught(read_log: Read) -> list[dict[str, Any]]:
    """Return the entries of uncaught exceptions."""
    return [entry for entry in read_log("logs/errors.log") if entry["message"] == "log.uncaught"]


def test_one_of_the_program_is_in_its_files_before_the_hook_that_was_there(
    logger: BoundLogger, called: list[Any], read_log: Read
) -> None:
    """Without a flush, with the traceback, its secrets masked."""
    with pytest.raises(ValueError, match="password") as caught:
        raise ValueError("password=hunter2")
    given = ValueError, caught.value, caught.value.__traceback__
    sys.excepthook(*given)
    assert called == [given]
    (entry,) = uncaught(read_log)
    assert entry["level"] == "critical"
    assert "test_uncaught.py" in str(entry["exception"])
    assert "hunter2" not in str(entry)


def test_an_interrupt_by_the_user_is_none(logger: BoundLogger, called: list[Any], read_log: Read) -> None:
    """Ctrl-C ends the program as before; so does SystemExit in a thread."""
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    assert len(called) == 2
    assert uncaught(read_log) == []


def test_one_of_a_thread_bears_its_name(logger: BoundLogger, called: list[Any], read_log: Read) -> None:
    """A thread that is gone by then is unknown."""

    def fail() -> None:
        raise LookupError("no such symbol")

    thread = threading.Thread(target=fail, name="feed")
    thread.start()
    thread.join()
    error = OSError("late")
    threading.excepthook(threading.ExceptHookArgs((OSError, error, None, None)))
    assert [entry["thread"] for entry in uncaught(read_log)] == ["feed", "unknown"]
    assert len(called) == 2


def test_one_of_a_finalizer_tells_where(logger: BoundLogger, called: list[Any], read_log: Read) -> None:
    """It waits for nothing, since it may come in the middle of anything."""

    class Order:
        def __del__(self) -> None:
            raise RuntimeError("half gone")

    Order()
    gc.collect()
    assert len(called) == 1
    assert logger.flush(10)
    (entry,) = uncaught(read_log)
    assert "Order.__del__" in entry["ignored"]


@pytest.mark.parametrize("hook", ["thread", "finalizer"])
@pytest.mark.parametrize("chains", [False, True], ids=["alone", "chains"])
def test_a_hook_that_takes_our_place_is_called_after_us(
    hook: str, chains: bool, called: list[Any], read_log: Read
) -> None:
    """One entry, one call, also of a hook that calls ours in turn; at the end it stays, and none of ours does."""
    place, name = (threading, "excepthook") if hook == "thread" else (sys, "unraisablehook")
    with MetaLogger(log_to_console=False) as logger:
        ours = getattr(place, name)

        def theirs(args: Any) -> None:
            called.append("theirs")
            if chains:
                ours(args)

        setattr(place, name, theirs)
        wait_until(lambda: getattr(place, name) is not theirs)
        fail_in(hook)
        assert logger.flush(10)
        assert called[0] == "theirs"
        assert len(called) == (2 if chains else 1)
        assert [entry["exception"]["value"] for entry in uncaught(read_log)] == ["no such symbol"]
    assert getattr(place, name) is theirs


def test_a_hook_for_some_time_leaves_ours_as_it_was(called: list[Any], read_log: Read) -> None:
    """A library that puts back what it found finds the one hook of ours, however often it does so."""
    before = threading.excepthook
    with MetaLogger(log_to_console=False, capture_uncaught=False) as logger:
        hooks = Uncaught(logger)
        ours = threading.excepthook
        for _ in range(2):
            threading.excepthook = theirs = called.append
            hooks.check()
            assert threading.excepthook is not theirs
            threading.excepthook = ours
            hooks.check()
            assert threading.excepthook is ours
        fail_in("thread")
        assert len(called) == len(uncaught(read_log)) == 1
        hooks.release()
    assert threading.excepthook is before


def test_one_of_a_task_is_critical(logger: BoundLogger, read_log: Read) -> None:
    """Asyncio reports it by `logging`; its other records stay what they are."""
    try:
        raise ValueError("of a task")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    logging.getLogger("asyncio").error("slow callback")
    assert logger.flush(10)
    (entry,) = uncaught(read_log)
    assert (entry["level"], entry["asyncio"]) == ("critical", "Task exception was never retrieved")
    assert read_log("logs/errors.log")[-1]["message"] == "slow callback"


def test_one_while_another_is_logged_is_left_to_the_hook_before(
    called: list[Any], read_log: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logger whose own call fails must not call itself for ever."""
    with MetaLogger(log_to_console=False) as logger:
        really = BoundLogger.flush

        def fails_within(self: BoundLogger, *args: Any) -> bool:
            error = RuntimeError("within")
            sys.excepthook(RuntimeError, error, None)
            return really(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(BoundLogger, "flush", fails_within)
            sys.excepthook(ValueError, ValueError("first"), None)
        assert logger.flush(10)
    assert [args[0] for args in called] == [RuntimeError, ValueError]
    assert len(uncaught(read_log)) == 1


def test_close_puts_back_what_was_there(called: list[Any]) -> None:
    """A hook that somebody set since stays."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    with MetaLogger(log_to_console=False):
        assert sys.excepthook is not before[0]
        sys.unraisablehook = other = print
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == (*before[:2], other)


def test_after_close_a_hook_that_calls_ours_prints_nothing_more(
    called: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As Sentry's does: it keeps ours, which then only passes on."""
    with MetaLogger(log_to_console=False):
        kept = sys.excepthook, threading.excepthook, sys.unraisablehook
        sys.excepthook = lambda *args: kept[0](*args)
        threading.excepthook = lambda args: kept[1](args)
        sys.unraisablehook = lambda args: kept[2](args)
    sys.excepthook(ValueError, ValueError("late"), None)
    fail_in("thread")
    fail_in("finalizer")
    assert len(called) == 3
    assert capsys.readouterr().err == ""


def test_faulthandler_writes_into_the_private_directory_unless_it_is_in_use(called: list[Any]) -> None:
    """The file goes when the logger is closed."""
    was = faulthandler.is_enabled()
    faulthandler.disable()
    try:
        with MetaLogger(log_to_console=False):
            assert faulthandler.is_enabled()
            assert list(Path("logs/.metaexpert").glob("*.crash"))
        assert not faulthandler.is_enabled()
        assert not list(Path("logs/.metaexpert").glob("*.crash"))
        faulthandler.enable(2)
        with MetaLogger(log_to_console=False):
            assert not list(Path("logs/.metaexpert").glob("*.crash"))
        assert faulthandler.is_enabled()
    finally:
        faulthandler.disable()
        if was:
            faulthandler.enable(2)
