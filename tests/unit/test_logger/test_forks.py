"""Threads that end before a fork, and the registry that tells of forks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from waiting import eventually

from metaexpert.logger.system import forks
from metaexpert.logger.system.forks import ForkAware, ForkSafeThread, on_fork

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Loop:
    """A loop that waits until it is stopped; counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0
        self.again = False
        self.wake = threading.Event()
        self.thread = ForkSafeThread("test-loop", self, stop=self.wake.set, more=self.more, patience=5.0)

    def __call__(self) -> None:
        """Run until asked to end."""
        self.runs += 1
        while self.thread.current and not self.again:
            self.wake.wait(5)

    def more(self) -> bool:
        """Return, once, whether to run again."""
        again, self.again = self.again, False
        self.wake.clear()
        return again


def child_says(report: str) -> bool:
    """Fork; return whether the child's *report* is true: an expression over `loop`."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if eval(report) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_one_thread_at_a_time_which_ends_when_dismissed() -> None:
    """Starting twice starts one; after dismissal another may start."""
    loop = Loop()
    loop.thread.start()
    loop.thread.start()
    eventually(lambda: loop.runs == 1)
    first = loop.thread.dismiss()
    assert first is not None
    loop.thread.join(5)
    assert not first.is_alive()
    assert not loop.thread.running


def test_work_that_comes_at_the_end_is_not_forgotten() -> None:
    """The loop has returned, and there is more to do: it runs again instead of ending."""
    loop = Loop()
    loop.thread.start()
    eventually(lambda: loop.runs == 1)
    loop.again = True
    loop.wake.set()
    eventually(lambda: loop.runs == 2)
    assert loop.thread.running
    loop.thread.dismiss()
    loop.thread.join(5)


def test_a_system_without_threads_is_told_and_may_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the caller's; the next start tries anew."""
    loop = Loop()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            loop.thread.start()
    assert not loop.thread.running
    loop.thread.start()
    assert loop.thread.running
    loop.thread.dismiss()
    loop.thread.join(5)


def test_a_start_inside_a_start_leaves_it_to_the_outer_one() -> None:
    """A signal handler that logs in the middle of a start must not wait for what it has interrupted."""
    loop = Loop()
    held = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with loop.thread._lock:
            held.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    loop.thread.start()
    assert not loop.thread.running
    leave.set()
    other.join()


@needs_fork
def test_no_thread_lives_over_a_fork() -> None:
    """It has ended when the process forks; the child has none and may start its own; so may the parent."""
    loop = Loop()
    loop.thread.start()
    globals()["loop"] = loop
    assert child_says("not loop.thread.running and not loop.thread.forking and threading.active_count() == 1")
    assert not loop.thread.running
    loop.thread.start()
    assert loop.thread.running
    loop.thread.dismiss()
    loop.thread.join(5)


@needs_fork
def test_participants_are_called_in_order_and_forgotten_with_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step reaches all of them, also when one fails; a participant that nobody holds is gone."""
    calls: list[str] = []

    class Participant(ForkAware):
        def __init__(self, name: str, error: Exception | None = None) -> None:
            self.name, self.error = name, error

        def before_fork(self) -> None:
            calls.append(f"{self.name} before")
            if self.error is not None:
                raise self.error

        def after_fork_in_parent(self) -> None:
            calls.append(f"{self.name} parent")

        def after_fork_in_child(self) -> None:
            calls.append(f"{self.name} child")

    failing, second = Participant("failing", ValueError("broken")), Participant("second")
    on_fork(failing)
    on_fork(Participant("forgotten"))
    on_fork(second)
    with pytest.raises(ValueError, match="broken"):
        forks._before_fork()
    forks._after_fork_in_parent()
    assert calls == ["failing before", "second before", "failing parent", "second parent"]
    failing.error = None  # the frames in its traceback hold the participant, and the next fork would call it


def test_all_threads_are_asked_to_end_before_one_is_waited_for() -> None:
    """They end at the same time: a fork waits for the slowest, not for one after the other."""
    asked = [threading.Event(), threading.Event()]
    met: list[bool] = []

    def made(number: int) -> ForkSafeThread:
        def run() -> None:
            asked[number].wait(10)
            met.append(asked[1 - number].wait(3))

        return ForkSafeThread(f"test-{number}", run, stop=asked[number].set, patience=5.0)

    threads = [made(0), made(1)]
    for thread in threads:
        thread.start()
    forks._before_fork()
    forks._after_fork_in_parent()
    assert met == [True, True]


def test_busy_threads_give_way_around_a_fork_and_only_then() -> None:
    """While threads end and start, others hold the interpreter lock for short; then as long as the program wants."""
    seen: list[float] = []

    class Looks(ForkAware):
        def before_fork(self) -> None:
            seen.append(sys.getswitchinterval())

        def start_again(self) -> None:
            seen.append(sys.getswitchinterval())

    looks, usual = Looks(), sys.getswitchinterval()
    on_fork(looks)
    forks._before_fork()
    between = sys.getswitchinterval()
    forks._after_fork_in_parent()
    forks._start_again()
    assert seen
    assert max(seen) < 0.1 * usual
    assert between == sys.getswitchinterval() == usual


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_thread_takes_no_signal_of_the_program() -> None:
    """A signal to the process never interrupts its writes; one that stands for a fault of its own still ends it."""
    blocked: list[str] = []

    def look() -> None:
        status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
        blocked.extend(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))

    thread = ForkSafeThread("looks", look, patience=1.0)
    thread.start()
    thread.join(5.0)
    mask = int(blocked[0], 16)
    assert all(mask >> (number - 1) & 1 for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
    assert not any(mask >> (number - 1) & 1 for number in (signal.SIGSEGV, signal.SIGBUS))
