"""The writing thread: one for all, served in turns, gone when nobody needs it, and told when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger.files.writing_thread import Drainer


class Client:
    """A pipeline's double: counts ticks; `work` is done in each."""

    def __init__(self, work: Callable[[], Any] = bool) -> None:
        self.work = work
        self.ticks = 0
        self.threads: set[int] = set()
        self.lost: list[BaseException] = []
        self.found = 0
        self.closed: list[str] = []

    def tick(self) -> bool:
        """Count and work."""
        self.ticks += 1
        self.threads.add(threading.get_ident())
        return bool(self.work())

    def thread_lost(self, error: BaseException) -> None:
        """Keep it."""
        self.lost.append(error)

    def thread_found(self) -> None:
        """Count it."""
        self.found += 1

    def close(self, timeout: float | None = None) -> bool:
        """Count it."""
        self.closed.append("closed")
        return True

    def has_work(self) -> bool:
        """Have none."""
        return False

    def before_fork(self) -> threading.Thread | None:
        """Have no thread."""
        return None

    def after_fork_in_parent(self) -> None:
        """Do nothing."""

    def after_fork_in_child(self) -> None:
        """Do nothing."""


class Hanging(Client):
    """A client whose first tick hangs until `leave` is set; `inside` tells that it does."""

    def __init__(self) -> None:
        super().__init__(self.hang)
        self.inside, self.leave = threading.Event(), threading.Event()

    def hang(self) -> None:
        """Wait."""
        self.inside.set()
        self.leave.wait(10)


@pytest.fixture
def drainer() -> Iterator[Drainer]:
    """A drainer of the test's own, without hooks, that wakes only when it is asked to."""
    made = Drainer(interval=60)
    made._hooked = True
    yield made
    for client in made._clients:
        made.remove(client)


def log_threads() -> int:
    """Return how many writing threads run."""
    return sum(thread.name == "metaexpert-log" for thread in threading.enumerate())


def test_one_thread_serves_all_and_ends_with_the_last(drainer: Drainer) -> None:
    """Fifty clients, one thread; none when the last has gone."""
    before = log_threads()
    clients = [Client() for _ in range(50)]
    for client in clients:
        drainer.add(client)
    assert drainer.turn()
    assert log_threads() == before + 1
    assert len(set().union(*(client.threads for client in clients))) == 1
    for client in clients:
        drainer.remove(client)
    assert log_threads() == before
    assert not drainer.running


def test_a_turn_covers_everything_that_was_there_before_it(drainer: Drainer) -> None:
    """When turn returns, each client was served from beginning to end since the call."""
    begun, seen = [0], []

    def work() -> None:
        number = begun[0]
        time.sleep(0)
        seen.append(number)

    drainer.add(Client(work))
    for number in range(50):
        begun[0] = number
        assert drainer.turn()
        assert seen[-1] == number


def test_turns_of_many_threads_are_shared(drainer: Drainer) -> None:
    """Each caller's entry is served by the time its turn returns."""
    queued: list[tuple[int, int]] = []
    done: set[tuple[int, int]] = set()
    failures: list[tuple[int, int]] = []
    drainer.add(Client(lambda: done.update(list(queued))))

    def call(name: int) -> None:
        for number in range(50):
            queued.append((name, number))
            if not drainer.turn() or (name, number) not in done:
                failures.append((name, number))

    threads = [threading.Thread(target=call, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_turn_gives_up_after_its_time(drainer: Drainer) -> None:
    """The thread hangs in a write: the caller does not."""
    client = Hanging()
    drainer.add(client)
    drainer.wake()
    assert client.inside.wait(10)
    began = time.monotonic()
    assert drainer.turn(0.05) is False
    assert time.monotonic() - began < 5
    client.leave.set()


def test_a_turn_without_a_time_waits_as_long_as_it_gets_on(drainer: Drainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that does not return is waited for once; slow ones that do are waited for to the end."""
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 0.3)
    client = Hanging()
    drainer.add(client)
    drainer.wake()
    assert client.inside.wait(10)
    assert drainer.turn() is False
    assert drainer.hangs
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 30.0)
    began = time.monotonic()
    assert drainer.turn() is False
    assert time.monotonic() - began < 5, "known to hang"
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 1.0)
    client.leave.set()
    assert drainer.turn(10) is True
    assert not drainer.hangs

    def slow() -> None:
        for _ in range(12):
            time.sleep(0.1)
            drainer.beats += 1

    client.work = slow
    assert drainer.turn() is True


def test_the_thread_never_waits_for_itself(drainer: Drainer) -> None:
    """A __del__ that logs on the writing thread is told that there is nobody to wait for."""
    results: list[object] = []
    drainer.add(Client(lambda: results.append(drainer.turn())))
    assert drainer.turn()
    assert set(results) == {None}


def test_more_work_is_done_without_a_pause(drainer: Drainer) -> None:
    """A client that has more to do is asked again at once, not after the interval."""
    left = [20]

    def work() -> bool:
        left[0] -= 1
        return left[0] > 0

    drainer.add(Client(work))
    drainer.wake()
    eventually(lambda: left[0] <= 0)


def test_a_client_that_raises_is_the_threads_end_and_everybody_is_told(drainer: Drainer) -> None:
    """Whoever waits is released with the news that nobody serves; later calls know at once."""
    broken, other = Client(lambda: 1 / 0), Client()
    drainer.add(other)
    drainer.add(broken)
    assert drainer.turn() is None
    eventually(lambda: not drainer.running)
    assert drainer.lost
    assert [type(error) for error in broken.lost] == [ZeroDivisionError]
    assert len(other.lost) == 1
    assert drainer.turn() is None
    drainer.ensure()
    assert not drainer.running


def test_a_thread_that_cannot_start_is_told_and_tried_again_by_the_next_logger(
    drainer: Drainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more threads: everybody writes by himself, until a new logger finds that there are some again."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = Client(), Client()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        drainer.add(first)
    assert (len(first.lost), drainer.lost, drainer.running) == (1, True, False)
    drainer.add(second)
    assert (first.found, second.lost, drainer.lost) == (1, [], False)
    assert drainer.turn()


def test_closing_all_begins_with_the_latest(drainer: Drainer) -> None:
    """As with any stack of resources."""
    order: list[Client] = []

    class Ordered(Client):
        def close(self, timeout: float | None = None) -> bool:
            order.append(self)
            return super().close(timeout)

    clients = [Ordered() for _ in range(3)]
    for client in clients:
        drainer.add(client)
    drainer.close_all()
    assert order == clients[::-1]


def test_removing_while_the_thread_hangs_does_not_hang(drainer: Drainer) -> None:
    """close returns although the disk does not."""
    client = Hanging()
    drainer.add(client)
    drainer.wake()
    assert client.inside.wait(10)
    began = time.monotonic()
    drainer.remove(client, 0.05)
    assert time.monotonic() - began < 4
    client.leave.set()


def test_a_process_forked_behind_pythons_back_is_not_fooled(drainer: Drainer) -> None:
    """There the thread object exists and the thread does not: whoever waits finds out."""
    drainer.add(Client())
    mail, drainer._mail = drainer._mail, type(drainer._mail)()  # nobody reads this one
    drainer._pid = -1
    assert drainer.turn() is None
    drainer._mail = mail


def test_many_threads_may_add_and_remove(drainer: Drainer) -> None:
    """No client is forgotten, none is left, and the thread has ended."""
    failures = []

    def run() -> None:
        for _ in range(20):
            client = Client()
            drainer.add(client)
            if drainer.turn() is False:
                failures.append(client)
            drainer.remove(client)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert drainer._clients == ()
    eventually(lambda: not drainer.running)
