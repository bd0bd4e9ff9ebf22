"""The writing thread: one for all, served in passes, gone when nobody needs it, and told when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import MetaLogger
from metaexpert.logger.files import writing_thread as module
from metaexpert.logger.files._passes import Passes, Turn
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.writing_thread import WritingThread
from metaexpert.logger.system import threads as our_threads


class Served(LogDirectory):
    """A directory's double: counts how often it was served; `work` is done each time."""

    def __init__(self, work: Callable[[], Any] = bool) -> None:
        self.work = work
        self.passes = 0
        self.threads: set[int] = set()
        self.lost: list[BaseException] = []
        self.found = 0
        self.closed: list[str] = []

    def serve(self) -> bool:
        """Count and work."""
        self.passes += 1
        self.threads.add(threading.get_ident())
        return bool(self.work())

    def thread_lost(self, error: BaseException) -> None:
        """Keep it."""
        self.lost.append(error)

    def thread_changed(self) -> None:
        """Count it."""
        self.found += 1

    def close(self) -> None:
        """Count it."""
        self.closed.append("closed")

    def has_work(self) -> bool:
        """Have none."""
        return False

    def rest(self) -> bool:
        """Have the next entry stir the thread."""
        return not self.has_work()

    def give_back_locks(self) -> None:
        """Hold none."""

    def regular_files(self) -> list[tuple[Any, ...]] | None:
        """Leave all passes to Python."""
        return None


class Hanging(Served):
    """A directory whose first pass hangs until `leave` is set; `inside` tells that it does."""

    def __init__(self) -> None:
        super().__init__(self.hang)
        self.inside, self.leave = threading.Event(), threading.Event()

    def hang(self) -> None:
        """Wait."""
        self.inside.set()
        self.leave.wait(10)


@pytest.fixture
def writing_thread() -> Iterator[WritingThread]:
    """A thread of the test's own, without hooks, that wakes only when it is asked to."""
    made = WritingThread(interval=60)
    made._hooked = True
    yield made
    for directory in made._directories:
        made.remove(directory)


def log_threads() -> int:
    """Return how many writing threads run."""
    return sum(thread.name == "metaexpert-log" for thread in threading.enumerate())


def test_one_thread_serves_all_and_ends_with_the_last(writing_thread: WritingThread) -> None:
    """Fifty directories, one thread; none when the last has gone."""
    before = log_threads()
    directories = [Served() for _ in range(50)]
    for directory in directories:
        writing_thread.add(directory)
    assert writing_thread.wait_for_pass()
    assert log_threads() == before + 1
    assert len(set().union(*(directory.threads for directory in directories))) == 1
    for directory in directories:
        writing_thread.remove(directory)
    assert log_threads() == before
    assert not writing_thread.running


def test_a_pass_covers_everything_that_was_there_before_it(writing_thread: WritingThread) -> None:
    """When the wait is over, each directory was served from beginning to end since the call."""
    begun, seen = [0], []

    def work() -> None:
        number = begun[0]
        time.sleep(0)
        seen.append(number)

    writing_thread.add(Served(work))
    for number in range(50):
        begun[0] = number
        assert writing_thread.wait_for_pass()
        assert seen[-1] == number


def test_passes_are_shared_by_many_threads(writing_thread: WritingThread) -> None:
    """Each caller's entry is served by the time its wait is over."""
    queued: list[tuple[int, int]] = []
    done: set[tuple[int, int]] = set()
    failures: list[tuple[int, int]] = []
    writing_thread.add(Served(lambda: done.update(list(queued))))

    def call(name: int) -> None:
        for number in range(50):
            queued.append((name, number))
            if not writing_thread.wait_for_pass() or (name, number) not in done:
                failures.append((name, number))

    threads = [threading.Thread(target=call, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_wait_gives_up_after_its_time(writing_thread: WritingThread) -> None:
    """The thread hangs in a write: the caller does not."""
    directory = Hanging()
    writing_thread.add(directory)
    writing_thread.wake()
    assert directory.inside.wait(10)
    began = time.monotonic()
    assert writing_thread.wait_for_pass(0.05) is False
    assert time.monotonic() - began < 5
    directory.leave.set()


def test_a_disk_that_stalls_holds_up_no_new_logger_elsewhere(writing_thread: WritingThread) -> None:
    """Another thread serves who waits for another directory; who asks for that one waits, and for all of them, too."""
    stalled, other = Hanging(), Served()
    writing_thread.add(stalled)
    writing_thread.add(other)
    writing_thread.wake()
    assert stalled.inside.wait(10)
    for _ in range(5):
        assert writing_thread.wait_for_pass(8, other) is True
    assert writing_thread.wait_for_pass(0.3, stalled) is False
    assert writing_thread.wait_for_pass(0.3) is False
    assert not other.threads & stalled.threads
    served = len(stalled.threads)
    threading.Timer(0.6, stalled.leave.set).start()
    assert writing_thread.wait_for_pass(30, stalled) is True
    assert len(stalled.threads) == served + 1
    assert writing_thread.wait_for_pass(30) is True
    eventually(lambda: log_threads() == 1)


def test_who_waits_already_when_a_disk_stalls_is_served_by_another_thread(writing_thread: WritingThread) -> None:
    """They came for the pass that stalls: what they wait for is done without it."""
    stalled, other = Hanging(), Served()
    writing_thread.add(stalled)
    writing_thread.add(other)
    done: list[bool | None] = []
    waits = [threading.Thread(target=lambda: done.append(writing_thread.wait_for_pass(8, other))) for _ in range(3)]
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join()
    assert done == [True] * 3
    assert not stalled.leave.is_set()
    stalled.leave.set()


def test_an_entry_elsewhere_is_enough_to_replace_a_thread_that_is_held_up(writing_thread: WritingThread) -> None:
    """Nobody waits; a journal that fills or an error wakes the thread for its directory, and is served."""
    stalled, other = Hanging(), Served()
    writing_thread.add(stalled)
    writing_thread.add(other)
    writing_thread.wake()
    assert stalled.inside.wait(10)

    def woken() -> bool:
        writing_thread.wake(other)
        return bool(other.threads)

    eventually(woken)
    stalled.leave.set()


def test_a_directory_that_stalls_again_and_again_is_given_back_each_time(writing_thread: WritingThread) -> None:
    """The others are served meanwhile, and no thread is left over in the end."""
    slow, other = Served(lambda: time.sleep(0.4)), Served()
    writing_thread.add(slow)
    writing_thread.add(other)
    for _ in range(3):
        assert writing_thread.wait_for_pass(8, other) is True
        assert writing_thread.wait_for_pass(8, slow) is True
    writing_thread.remove(slow)
    assert writing_thread.wait_for_pass(8) is True
    eventually(lambda: log_threads() == 1)


def test_without_another_thread_the_old_one_goes_on(
    writing_thread: WritingThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives none: the wait is as long as the disk stalls, and nothing is lost."""
    stalled, other = Hanging(), Served()
    writing_thread.add(stalled)
    writing_thread.add(other)
    writing_thread.wake()
    assert stalled.inside.wait(10)
    monkeypatch.setattr(
        our_threads.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
    )
    assert writing_thread.wait_for_pass(0.5, other) is False
    threading.Timer(0.3, stalled.leave.set).start()
    assert writing_thread.wait_for_pass(30, other) is True
    assert writing_thread.wait_for_pass(30, stalled) is True


def test_a_turn_without_a_time_waits_as_long_as_it_gets_on(
    writing_thread: WritingThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that does not return is waited for once; slow ones that do are waited for to the end."""
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 0.3)
    directory = Hanging()
    writing_thread.add(directory)
    writing_thread.wake()
    assert directory.inside.wait(10)
    assert writing_thread.wait_for_pass() is False
    assert writing_thread.hangs
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 30.0)
    began = time.monotonic()
    assert writing_thread.wait_for_pass() is False
    assert time.monotonic() - began < 5, "known to hang"
    monkeypatch.setattr("metaexpert.logger.files.writing_thread.LONGEST_HANG", 1.0)
    directory.leave.set()
    assert writing_thread.wait_for_pass(10) is True
    assert not writing_thread.hangs

    def slow() -> None:
        for _ in range(12):
            time.sleep(0.1)
            writing_thread.writes += 1

    directory.work = slow
    assert writing_thread.wait_for_pass() is True


def test_the_thread_never_waits_for_itself(writing_thread: WritingThread) -> None:
    """A __del__ that logs on the writing thread is told that there is nobody to wait for."""
    results: list[object] = []
    writing_thread.add(Served(lambda: results.append(writing_thread.wait_for_pass())))
    assert writing_thread.wait_for_pass()
    assert set(results) == {None}


def test_more_work_is_done_without_a_pause(writing_thread: WritingThread) -> None:
    """A directory that has more to do is asked again at once, not after the interval."""
    left = [20]

    def work() -> bool:
        left[0] -= 1
        return left[0] > 0

    writing_thread.add(Served(work))
    writing_thread.wake()
    eventually(lambda: left[0] <= 0)


def test_a_client_that_raises_is_the_threads_end_and_everybody_is_told(writing_thread: WritingThread) -> None:
    """Whoever waits is released with the news that nobody serves; later calls know at once."""
    broken, other = Served(lambda: 1 / 0), Served()
    writing_thread.add(other)
    writing_thread.add(broken)
    assert writing_thread.wait_for_pass() is None
    eventually(lambda: not writing_thread.running)
    assert writing_thread.lost
    assert [type(error) for error in broken.lost] == [ZeroDivisionError]
    assert len(other.lost) == 1
    assert writing_thread.wait_for_pass() is None
    writing_thread.ensure()
    assert not writing_thread.running


def test_a_thread_that_cannot_start_is_told_and_tried_again_by_the_next_logger(
    writing_thread: WritingThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more threads: everybody writes by himself, until a new logger finds that there are some again."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = Served(), Served()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        writing_thread.add(first)
    assert (len(first.lost), writing_thread.lost, writing_thread.running) == (1, True, False)
    writing_thread.add(second)
    assert (first.found, second.lost, writing_thread.lost) == (1, [], False)
    assert writing_thread.wait_for_pass()


def test_closing_all_begins_with_the_latest(writing_thread: WritingThread) -> None:
    """As with any stack of resources."""
    order: list[Served] = []

    class Ordered(Served):
        def close(self) -> None:
            order.append(self)
            super().close()

    directories = [Ordered() for _ in range(3)]
    for directory in directories:
        writing_thread.add(directory)
    writing_thread.close_all()
    assert order == directories[::-1]


def test_removing_while_the_thread_hangs_does_not_hang(writing_thread: WritingThread) -> None:
    """close returns although the disk does not."""
    directory = Hanging()
    writing_thread.add(directory)
    writing_thread.wake()
    assert directory.inside.wait(10)
    began = time.monotonic()
    writing_thread.remove(directory, 0.05)
    assert time.monotonic() - began < 4
    directory.leave.set()


def test_a_process_forked_behind_pythons_back_is_not_fooled(writing_thread: WritingThread) -> None:
    """There the thread object exists and the thread does not: whoever waits finds out."""
    writing_thread.add(Served())
    mail, writing_thread._mail = writing_thread._mail, type(writing_thread._mail)()  # nobody reads this one
    writing_thread._pid = -1
    assert writing_thread.wait_for_pass() is None
    writing_thread._mail = mail


def test_many_threads_may_add_and_remove(writing_thread: WritingThread) -> None:
    """No directory is forgotten, none is left, and the thread has ended."""
    failures = []

    def run() -> None:
        for _ in range(20):
            directory = Served()
            writing_thread.add(directory)
            if writing_thread.wait_for_pass() is False:
                failures.append(directory)
            writing_thread.remove(directory)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert writing_thread._directories == ()
    eventually(lambda: not writing_thread.running)


class TestRest:
    """A thread that has had no work for long."""

    @pytest.fixture
    def resting(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WritingThread, Served]]:
        """A thread at rest, which would look again in a minute."""
        monkeypatch.setattr("metaexpert.logger.files.writing_thread._IDLE", 0.05)
        monkeypatch.setattr("metaexpert.logger.files.writing_thread._REST", 60.0)
        thread, directory = WritingThread(0.01), Served()
        thread.add(directory)
        eventually(lambda: thread._resting)
        yield thread, directory
        thread.remove(directory)

    def test_it_does_not_wake(self, resting: tuple[WritingThread, Served]) -> None:
        """No pass comes by itself."""
        _, directory = resting
        passes = directory.passes
        time.sleep(0.3)  # thirty passes of a thread that does not rest
        assert directory.passes == passes

    def test_an_entry_stirs_it(self, resting: tuple[WritingThread, Served]) -> None:
        """The next pass comes in the usual time, and only one stirs it."""
        thread, directory = resting
        passes = directory.passes
        thread.stir()
        eventually(lambda: directory.passes > passes, 5.0)

    def test_a_flush_is_served_at_once(self, resting: tuple[WritingThread, Served]) -> None:
        """It asks for a pass, as ever."""
        thread, _ = resting
        assert thread.wait_for_pass(5.0)

    def test_a_directory_with_work_keeps_it_awake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What fails now is tried again."""
        monkeypatch.setattr("metaexpert.logger.files.writing_thread._IDLE", 0.05)
        thread, directory = WritingThread(0.01), Served()
        monkeypatch.setattr(directory, "has_work", lambda: True)
        thread.add(directory)
        eventually(lambda: directory.passes > 30)
        assert not thread._resting
        thread.remove(directory)


def test_a_turn_that_was_taken_in_the_passes_of_the_core_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast they were by their own clock: whoever took it may have slept between two looks."""
    thread, directory, taken = WritingThread(0.01), Served(), threading.Event()
    monkeypatch.setattr(directory, "regular_files", list)
    turns: list[Turn] = []

    def make(*_: object) -> None:
        if not taken.is_set():
            turns[-1].claim.pop()
            thread._stalled[directory] = time.monotonic()
            taken.set()

    def turn(of: LogDirectory) -> Turn:
        turns.append(Turn(of))
        return turns[-1]

    monkeypatch.setattr("metaexpert.logger.files.writing_thread.Turn", turn)
    monkeypatch.setattr(Passes, "possible", True)
    monkeypatch.setattr(Passes, "make", make)
    thread.add(directory)
    try:
        assert taken.wait(20)
        passes = directory.passes
        eventually(lambda: directory.passes > passes)
        assert not thread._stalled
    finally:
        thread.remove(directory)


def test_a_thread_that_ends_in_the_middle_gives_its_locks_back(tmp_path: Path) -> None:
    """An exception was injected into it when it had just taken them."""
    with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
        logger.info("first")
        assert logger.flush()
        (directory,) = [one for one in module.writing_thread._directories if one.path == tmp_path]
        serve, lock = directory.serve, directory.lock._threads

        def dies() -> None:
            directory._drain_lock.acquire()
            lock.acquire()
            lock.acquire()
            raise SystemExit

        directory.serve = dies  # type: ignore[method-assign]
        module.writing_thread.wake()
        eventually(lambda: module.writing_thread.lost)
        directory.serve = serve  # type: ignore[method-assign]
        for one in (directory._drain_lock, lock):
            assert one.acquire(timeout=5.0)
            one.release()
        logger.info("m")
        assert logger.flush()
        assert (tmp_path / "expert.log").read_bytes().count(b'"message":"m"') == 1


def test_a_flush_that_another_thread_keeps_from_writing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no writing thread, and whoever writes in its place does not come to an end."""
    monkeypatch.setattr("metaexpert.logger.files.directory._PATIENCE", 0.05)
    with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
        logger.info("first")
        assert logger.flush()
        (directory,) = [one for one in module.writing_thread._directories if one.path == tmp_path]
        monkeypatch.setattr(module.writing_thread, "wait_for_pass", lambda *_: None)
        holds, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with directory._drain_lock:
                holds.set()
                leave.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        assert holds.wait(20)
        assert logger.flush(0.2) is False
        leave.set()
        holder.join()
        assert logger.flush()
