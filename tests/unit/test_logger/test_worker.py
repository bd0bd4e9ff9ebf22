"""The thread behind each endpoint: bound, errors, end, fork."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from metaexpert.logger.remote.worker import Job, Worker
from metaexpert.logger.system import forks

_PATIENCE = 20.0


class Note(Job):
    """A job that notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.errors: list[Exception] = []
        self.taken = threading.Event()
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.raises: Exception | None = None
        self.told: list[str] = []

    def take(self, lines: list[bytes]) -> None:
        self.entered.set()
        self.go_on.wait(_PATIENCE)
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        self.lines += lines
        self.taken.set()

    def hurry(self) -> None:
        self.told.append("hurry")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def close(self) -> None:
        self.told.append("close")

    def before_fork(self) -> None:
        self.told.append("before")

    def after_fork(self) -> None:
        self.told.append("after")


@pytest.fixture
def job() -> Iterator[Note]:
    """Return a job; whatever waits in it may go on at the end."""
    note = Note()
    yield note
    note.go_on.set()


def test_lines_are_taken_on_another_thread(job: Note) -> None:
    """A line is handed over at once, and taken by the thread; at the end the job is hurried and closed."""
    worker = Worker("test-worker", job, 1000)
    assert worker.put(b"one")
    assert job.taken.wait(_PATIENCE)
    assert worker.flush(_PATIENCE)
    worker.finish(_PATIENCE)
    worker.finish(_PATIENCE)
    assert job.lines == [b"one"]
    assert job.told == ["hurry", "close"]
    assert not worker.put(b"late")
    assert worker.dropped.value == 1


def test_a_hanging_job_costs_the_caller_nothing(job: Note) -> None:
    """While the job hangs lines wait, up to the bound; the rest is dropped and counted, and the end does not hang."""
    job.go_on.clear()
    worker = Worker("test-worker", job, 100)
    worker.put(b"first")
    assert job.entered.wait(_PATIENCE)
    taken = sum(worker.put(b"x" * 10) for _ in range(50))
    assert taken == 11
    assert worker.dropped.value == 39
    assert worker.waiting == 11
    assert not worker.flush(0.05)
    worker.finish(0.05)
    assert "close" not in job.told


def test_a_fault_of_the_job_is_told_and_goes_by(job: Note) -> None:
    """An exception neither ends the thread nor reaches anybody."""
    job.raises = RuntimeError("a fault")
    worker = Worker("test-worker", job, 1000)
    worker.put(b"one")
    assert job.entered.wait(_PATIENCE)
    worker.put(b"two")
    assert job.taken.wait(_PATIENCE)
    worker.finish(_PATIENCE)
    assert [str(error) for error in job.errors] == ["a fault"]
    assert job.lines == [b"two"]


def test_without_a_thread_the_end_does_the_work(job: Note, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started (the interpreter is ending), what waits is done by who closes."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    worker = Worker("test-worker", job, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert worker.put(b"one")
        assert worker.flush(_PATIENCE)
        worker.finish(_PATIENCE)
    assert job.lines == [b"one"]


def test_around_a_fork_there_is_no_thread(job: Note) -> None:
    """Before a fork the thread ends; the parent starts it again when something comes, the child starts anew."""
    worker = Worker("test-worker", job, 1000)
    worker.put(b"one")
    assert job.taken.wait(_PATIENCE)
    forks._before_fork()
    assert "test-worker" not in [thread.name for thread in threading.enumerate()]
    forks._after_fork_in_parent()
    assert worker.asleep
    job.taken.clear()
    worker.put(b"two")
    assert job.taken.wait(_PATIENCE)
    assert not worker.asleep
    forks._before_fork()
    worker.put(b"lost on the child")
    forks._after_fork_in_child()
    assert job.told == ["before", "before", "after"]
    assert worker.waiting == 0
    worker.finish(_PATIENCE)


def test_a_request_that_hangs_delays_a_fork_for_half_a_second(job: Note) -> None:
    """A fork waits no longer than that; the job, which is still at work, is not asked to close anything."""
    job.go_on.clear()
    worker = Worker("test-worker", job, 1000)
    worker.put(b"one")
    assert job.entered.wait(_PATIENCE)
    began = time.monotonic()
    forks._before_fork()
    took = time.monotonic() - began
    forks._after_fork_in_parent()
    assert 0.4 < took < 5.0
    assert job.told == []
    job.go_on.set()
    worker.put(b"two")
    assert worker.flush(_PATIENCE)
    worker.finish(_PATIENCE)
    assert job.lines == [b"one", b"two"]


def test_a_worker_that_is_gone_takes_no_part_in_forks(job: Note) -> None:
    """After its end nothing holds it: a program may make and close loggers for ever."""
    worker = Worker("test-worker", job, 1000)
    worker.put(b"one")
    worker.finish(_PATIENCE)
    held = weakref.ref(worker)
    del worker
    gc.collect()
    assert held() is None
    forks._before_fork()
    forks._after_fork_in_parent()
    assert job.told == ["hurry", "close"]
