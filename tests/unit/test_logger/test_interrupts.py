"""An exception that a signal handler or another thread raises inside a log call belongs to the program."""

from __future__ import annotations

import ctypes
import functools
import re
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from log_files import Logs

from metaexpert.logger import BoundLogger, MetaLogger
from metaexpert.logger.encoding.fast import Encoder
from metaexpert.logger.system.interrupts import is_injected, undisturbed
from metaexpert.logger.system.native import core

needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


class Late(Exception):
    """What a handler raises."""


class Handler:
    """A handler that is an object, with one that is a method."""

    def __call__(self, number: int, frame: Any) -> None:
        raise TimeoutError

    def method(self, number: int, frame: Any) -> None:
        """Raise."""
        raise TimeoutError


def handler(number: int, frame: Any) -> None:
    """Raise."""
    raise TimeoutError


@pytest.fixture
def alarm() -> Iterator[Callable[[Any], None]]:
    """A function that sets the handler of SIGALRM; all is put back after the test."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda found: signal.signal(signal.SIGALRM, found)  # type: ignore[misc]
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no signals to put off")
class TestUndisturbed:
    """`undisturbed`."""

    def test_a_handler_waits_for_the_end_of_the_work(self, alarm: Callable[[Any], None]) -> None:
        """And its exception comes out then."""
        done: list[int] = []

        def work() -> None:
            signal.raise_signal(signal.SIGALRM)
            done.append(1)

        alarm(handler)
        with pytest.raises(TimeoutError):
            undisturbed(work)
        assert done == [1]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()

    def test_other_threads_have_nothing_to_put_off(self) -> None:
        """Python runs its handlers in the main thread only."""
        found: list[Any] = []
        thread = threading.Thread(
            target=lambda: found.append(undisturbed(signal.pthread_sigmask, signal.SIG_BLOCK, ()))
        )
        thread.start()
        thread.join()
        assert found == [set()]

    def test_it_costs_a_fraction_of_what_the_signal_module_takes(self) -> None:
        """Each plain call does it; `signal.pthread_sigmask` makes an enumeration of each mask."""

        def ours() -> None:
            undisturbed(nothing)

        def nothing() -> None:
            pass

        def theirs() -> None:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

        def cost(function: Callable[[], None]) -> float:
            began = time.thread_time()
            for _ in range(200):
                function()
            return time.thread_time() - began

        assert min(cost(ours) for _ in range(5)) < min(cost(theirs) for _ in range(5)) / 4


class TestJudgement:
    """`is_injected`."""

    @needs_timers
    @pytest.mark.parametrize("found", [handler, Handler(), Handler().method, functools.partial(handler)])
    def test_what_a_handler_raises(self, alarm: Callable[[Any], None], found: Any) -> None:
        """However the program has made its handler."""
        alarm(found)
        with pytest.raises(TimeoutError) as caught:
            signal.raise_signal(signal.SIGALRM)
        assert is_injected(caught.value)

    def test_errors_of_a_call_are_not(self) -> None:
        """Neither ours nor those of a value that is logged, whatever their type."""
        for error in (ValueError(), TimeoutError(), Late(), re.error("m"), RecursionError(), MemoryError()):
            with pytest.raises(type(error)) as caught:
                raise error
            assert not is_injected(caught.value)

    def test_what_interrupts_the_making_of_a_named_tuple_is(self) -> None:
        """Its function belongs to no module."""
        with pytest.raises(Late) as caught:
            exec("raise Late", {"__name__": "namedtuple_State", "Late": Late})
        assert is_injected(caught.value)

    @pytest.mark.parametrize(("importing", "injected"), [("metaexpert.logger.encoding.plain", True), ("bot", False)])
    def test_what_interrupts_an_import_of_ours_is(
        self, monkeypatch: pytest.MonkeyPatch, importing: str, injected: bool
    ) -> None:
        """A finder of modules that another library has put in (pytest, an editable package) runs in the middle of it.

        Where a value's own method imports something, the error is the value's, and the entry's to tell.
        """

        class Finder:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "not_there_at_all":
                    raise Late

        monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
        ours: dict[str, Any] = {"__name__": "metaexpert.logger.encoding.plain"}
        exec("def call(work):\n    work()", ours)
        theirs: dict[str, Any] = {"__name__": importing}
        exec("def work():\n    import not_there_at_all", theirs)
        with pytest.raises(Late) as caught:
            ours["call"](theirs["work"])
        assert is_injected(caught.value) is injected

    def test_what_is_no_exception_is(self) -> None:
        """KeyboardInterrupt and the like always pass."""
        assert is_injected(KeyboardInterrupt())


@needs_timers
@pytest.mark.storm
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
@pytest.mark.parametrize("kind", ["usual", "nested", "arguments", "exception", "new names"])
def test_a_storm_of_signals(alarm: Callable[[Any], None], kind: str, synchronous: bool) -> None:
    """The exceptions reach the program; no entry is doubled or half there, no number burnt, no fault reported."""
    options: dict[str, Any] = {"overflow": "block", "backup_count": 9999, "journal_size": "64MB"}
    logger = MetaLogger(log_dir="logs", log_to_console=False, install=False, async_logging=not synchronous, **options)
    raised = reached = 0

    def late(number: int, frame: Any) -> None:
        nonlocal raised
        raised += 1
        raise TimeoutError

    calls: dict[str, Callable[[int], None]] = {
        "usual": lambda number: logger.info("m", number=number, side="BUY"),
        "nested": lambda number: logger.info("m", number=number, book={"bids": [[1.0, 2]], "note": "größe"}),
        "arguments": lambda number: logger.info("m %s", "x", number=number),
        "exception": lambda number: logger.error("m", number=number, exc_info=ZeroDivisionError("x")),
        "new names": lambda number: logger.info("m", **{f"name{number}": 1}, number=number),
    }
    call, done, number = calls[kind], set(), 0
    logger.info("warm", number=-1)
    alarm(late)
    end = time.monotonic() + 1.5
    while time.monotonic() < end and number < 50_000:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0004)
            while time.monotonic() < end + 1:  # longer only if an exception went astray
                call(number)
                done.add(number)
                number += 1
        except TimeoutError:
            reached += 1
            number += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    stats = logger.stats()
    logger.close()
    assert raised  # how many there are in this time depends on the machine
    # Python itself drops one that is raised in a weak reference's callback or a finalizer, wherever that runs.
    assert raised - reached <= 1 + raised // 100
    assert stats["failed"] == 0
    assert not Path("logs/logging_errors.log").exists()
    found = Counter(Logs().numbers())
    assert [one for one, times in found.items() if times > 1] == []
    assert done - set(found) == set()
    # A signal that the system hands to another thread interrupts the plain chain nevertheless, and may burn a number.
    assert len(Logs().gaps()) <= 1 + raised // 50


@pytest.mark.storm
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_of_another_thread(
    read_log: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libraries for time limits raise it: it passes, and the log goes on."""
    forgiven: list[str] = []
    plainly = BoundLogger._emit_plainly

    def emit_plainly(self: BoundLogger, method: str, message: str, fields: dict[str, Any], cause: Exception) -> None:
        forgiven.append("".join(traceback.format_exception(cause)))
        plainly(self, method, message, fields, cause)

    monkeypatch.setattr(BoundLogger, "_emit_plainly", emit_plainly)
    logger: BoundLogger = MetaLogger(log_dir="logs", log_to_console=False, install=False)
    reached: list[type] = []
    started, end = threading.Event(), time.monotonic() + 20

    def work() -> None:
        started.set()
        try:
            while time.monotonic() < end:
                logger.error("m", exc_info=ValueError("x"))
        except Late as error:
            reached.append(type(error))

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        time.sleep(0.002)
        # Once more if Python dropped it, as it does with one that is raised in a callback of the collector's.
        while thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Late))
            thread.join(0.05)
    assert forgiven == []
    assert logger.stats()["failed"] == 0
    logger.error("after")
    logger.close()
    assert reached == [Late] * 20
    assert read_log("logs/expert.log")[-1]["message"] == "after"


def test_an_entry_that_took_no_number_gives_none_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry for the console alone repeats the last number; its failure must not hand that out a second time."""
    logger = MetaLogger(log_dir="logs", log_to_console=False, install=False)
    stamper = logger._logger.pipeline.stamper

    def fail(entry: Any) -> bytes:
        raise ValueError

    logger.info("m", number=1)
    for _ in range(2):
        logger.info("%s", "plain", number=2)
    with monkeypatch.context() as patch:
        patch.setattr(stamper, "_encode", fail)
        with pytest.raises(ValueError):  # noqa: PT011 - its own
            stamper.line(None, "debug", {"event": "m"}, trade=False, counted=False)
    logger.info("m", number=3)
    logger.close()
    numbers = [entry["sequence_id"] for entry in Logs().entries()]
    assert numbers == [1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(core, "on_error"), reason="nothing is compiled")
def test_what_interrupts_the_question_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the core asks whose an error is, another thread raises one: that is certainly the program's."""
    logger = MetaLogger(log_dir="logs", log_to_console=False, install=False)

    def fail(*_: object) -> bytes:
        raise ValueError

    def interrupted(error: BaseException) -> bool:
        raise Late

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "message", fail)
        core.on_error(interrupted)
        try:
            with pytest.raises(Late):
                logger.info("a message that is new")
        finally:
            core.on_error(is_injected)
    logger.info("after")
    assert (logger.stats()["failed"], logger.close()) == (0, True)
    assert [entry["message"] for entry in Logs().entries()] == ["after"]
