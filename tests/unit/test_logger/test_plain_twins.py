"""What the compiled core replaces does the same without it."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metaexpert.logger.system import count, interrupts, native


@pytest.fixture(params=["as installed", "plain"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], Any]:
    """A function that returns a module as it is, or as it would be without the core."""

    def load(module: ModuleType) -> ModuleType:
        if request.param == "as installed":
            return module
        monkeypatch.setattr(native, "core", None)
        spec = importlib.util.spec_from_file_location(module.__name__, Path(str(module.__file__)))
        assert spec is not None
        assert spec.loader is not None
        plain = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plain)
        return plain

    return load


class TestCount:
    """`Count`."""

    def test_it_counts_from_its_start(self, twin: Callable[[ModuleType], Any]) -> None:
        """The next number is known beforehand; one that was the last is given back, another is not."""
        numbers = twin(count).Count(5)
        assert iter(numbers) is numbers
        assert (next(numbers), next(numbers), numbers.value) == (5, 6, 7)
        numbers.give_back(6)
        numbers.give_back(3)
        assert (next(numbers), twin(count).Count().value) == (6, 0)

    def test_threads_get_each_number_once(self, twin: Callable[[ModuleType], Any]) -> None:
        """Without a lock."""
        numbers, found = twin(count).Count(), list[int]()
        threads = [threading.Thread(target=lambda: found.extend(next(numbers) for _ in range(500))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == list(range(2000))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no signals to put off")
class TestUndisturbed:
    """`undisturbed`."""

    @pytest.fixture
    def raised(self) -> Any:
        """The numbers of the signals whose handler ran."""
        numbers: list[int] = []
        before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
        yield numbers
        signal.signal(signal.SIGUSR1, before)

    def test_a_handler_waits(self, twin: Callable[[ModuleType], Any], raised: list[int]) -> None:
        """Until the signals are put back; those that the program put off itself stay so."""
        module, meanwhile = twin(interrupts), list[int]()

        def work() -> None:
            signal.raise_signal(signal.SIGUSR1)
            meanwhile.extend(raised)

        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        try:
            module.undisturbed(work)
            assert meanwhile == []
            assert raised == [signal.SIGUSR1]
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])

    def test_faults_are_not_put_off(self, twin: Callable[[ModuleType], Any]) -> None:
        """A thread does them to itself, and would stand still for ever."""
        module = twin(interrupts)
        mask = module.undisturbed(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert not mask & {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
        assert {signal.SIGTERM, signal.SIGINT, signal.SIGALRM} <= mask

    def test_no_exception_leaves_them_put_off(self, twin: Callable[[ModuleType], Any]) -> None:
        """Not even of a signal that another thread received, between two of our steps: nobody could end the program."""
        module, end = twin(interrupts), threading.Event()
        other = threading.Thread(target=end.wait)  # the system gives it what the main thread puts off
        other.start()
        before = signal.signal(signal.SIGALRM, late)
        try:
            masks = [interrupted(module, 0.00002 + number % 100 * 0.000001) for number in range(3000)]
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
            signal.signal(signal.SIGALRM, before)
            end.set()
            other.join()
        assert not any(masks)


def late(number: int, frame: Any) -> None:
    """Raise."""
    raise TimeoutError


def interrupted(module: Any, after: float) -> set[Any]:
    """Return what is put off when an exception has ended a row of `undisturbed`, *after* so many seconds."""
    with contextlib.suppress(TimeoutError):
        signal.setitimer(signal.ITIMER_REAL, after)
        while True:
            module.undisturbed(int)
    return signal.pthread_sigmask(signal.SIG_SETMASK, ())
