"""Appending without a lock: no line is lost, doubled or torn, however threads and the writing thread meet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sinks import MemorySink

from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.segment import Segment

THREADS = 8


class SleepyLane(JournalLane):
    """A lane whose callers are put to sleep between fetching `write` and calling it."""

    #: What happens meanwhile.
    meanwhile: Callable[[], object] = staticmethod(lambda: time.sleep(0))

    @property
    def write(self) -> Callable[[bytes], Any]:
        """Return a `write` that comes late; the same one for the same segment, as callers compare them."""
        return self._late

    @write.setter
    def write(self, really: Callable[[bytes], Any]) -> None:
        def late(line: bytes) -> Any:
            self.meanwhile()
            return really(line)

        self._late = late


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal of the smallest segments."""
    made = Journal(tmp_path, 64 * 1024)
    made.largest_segment = made.segment_size
    yield made
    made.close()


@pytest.fixture
def hurry() -> Iterator[None]:
    """Have threads change places a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def storm(file: LogFile, count: int) -> None:
    """Put *count* lines from several threads while another one drains."""
    done = threading.Event()

    def put(name: int) -> None:
        for number in range(count // THREADS):
            while not file.put(b"%d %d %s\n" % (name, number, b"x" * (number % 200))):
                time.sleep(0)

    def drain() -> None:
        while not done.is_set():
            file.drain()
            time.sleep(0)

    threads = [threading.Thread(target=put, args=(name,)) for name in range(THREADS)]
    drainer = threading.Thread(target=drain)
    for thread in [*threads, drainer]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    drainer.join()
    assert file.drain()


def check(data: bytes, count: int) -> None:
    """Assert that every line of `storm` is there once, whole, and each thread's in their order."""
    by_thread: dict[int, list[int]] = {name: [] for name in range(THREADS)}
    for line in data.splitlines():
        name, number, rest = line.split(b" ", 2)
        assert rest == b"x" * (int(number) % 200)
        by_thread[int(name)].append(int(number))
    for numbers in by_thread.values():
        assert numbers == list(range(count // THREADS))


@pytest.mark.storm
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("kind", "count"), [(JournalLane, 400_000), (SleepyLane, 120_000)])
def test_threads_in_a_hurry(journal: Journal, hurry: None, kind: type[JournalLane], count: int) -> None:
    """Eight threads and a drain on segments of 4 KB, also when each caller is interrupted at the worst place."""
    file = LogFile(MemorySink(), journal.lanes.setdefault("expert.log", kind(journal, "expert.log")))
    storm(file, count)
    check(bytes(file.sink.data), count)  # type: ignore[attr-defined]


def append_late(journal: Journal) -> bytes:
    """Append a line whose caller sleeps until its segment has been filled, drained, and put aside.

    Returns:
        What the file has in the end.
    """
    sleepy = SleepyLane(journal, "expert.log")
    journal.lanes["expert.log"] = sleepy
    file = LogFile(MemorySink(), sleepy)
    file.put(b"first\n")
    active = sleepy._segments[-1]

    def meanwhile() -> None:
        sleepy.meanwhile = lambda: None
        while sleepy._segments[-1] is active:
            file.put(b"x" * 500 + b"\n")
        file.drain()
        assert active in sleepy._spare

    sleepy.meanwhile = meanwhile
    assert file.put(b"late\n")
    file.drain()
    return bytes(file.sink.data)  # type: ignore[attr-defined]


def test_a_caller_that_slept_while_its_segment_was_recycled(journal: Journal) -> None:
    """Its line goes to the segment that is active by then, once."""
    assert append_late(journal).count(b"late\n") == 1


def test_the_test_sees_that_sealing_is_what_protects(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the seal taken out the same line is written into the recycled segment, and lost."""
    monkeypatch.setattr(Segment, "seal", lambda self: None)
    assert append_late(journal).count(b"late\n") == 0
