"""What every sink promises (see `metaexpert.logger.journal.sink`), held against each of them."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.schema import backup_number
from metaexpert.logger.system.locks import DirectoryLock


class Subject:
    """A sink with a way to see what it has taken, and to make its system fail."""

    def __init__(
        self,
        sink: Sink,
        taken: Callable[[], bytes],
        fail: Callable[[pytest.MonkeyPatch], None],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.sink = sink
        self.taken = taken
        self.fail = fail
        self.end = end


def file_subject(directory: Path, max_size: int, hold_open: bool) -> Subject:
    """Return a rotating file."""
    lock = DirectoryLock(directory / "lock")
    sink = RotatingFile(directory / "expert.log", RotationPolicy(max_size, 9999), lock, hold_open=hold_open)
    lock.close()

    def taken() -> bytes:
        paths = sorted(directory.glob("expert.log*"), key=lambda path: -(backup_number(path.name, "expert.log") or 0))
        return b"".join(path.read_bytes() for path in paths)

    def fail(patch: pytest.MonkeyPatch) -> None:
        def write(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", write)

    return Subject(sink, taken, fail)


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "file": lambda directory: file_subject(directory, 10**6, True),
    "file of few lines": lambda directory: file_subject(directory, 100, True),
    "file opened for each batch": lambda directory: file_subject(directory, 100, False),
}


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each sink in turn."""
    made = SUBJECTS[request.param](tmp_path)
    yield made
    made.sink.close()
    made.end()


LINES = [json.dumps({"message": "Grüße → 日本", "n": n}, ensure_ascii=False).encode() + b"\n" for n in range(40)]


def write(sink: Sink, data: bytes) -> int:
    """Write everything, as the queue does. Return how many calls it took."""
    calls = 0
    while data:
        taken = sink.write(memoryview(data))
        assert taken > 0, "at least a line is taken"
        assert data[:taken].endswith(b"\n"), "what is taken ends at a line's end"
        data = data[taken:]
        calls += 1
    return calls


def test_what_is_offered_is_taken_once_in_order(subject: Subject) -> None:
    """In a batch or line by line, every byte arrives as it was."""
    write(subject.sink, b"".join(LINES[:20]))
    for line in LINES[20:]:
        write(subject.sink, line)
    subject.sink.flush()
    assert subject.taken() == b"".join(LINES)


def test_a_batch_is_the_callers_again_when_write_returns(subject: Subject) -> None:
    """A sink keeps no view of it: the buffer may be reused."""
    buffer = bytearray(LINES[0])
    subject.sink.write(memoryview(buffer))
    buffer.extend(b"x")  # raises BufferError while a view is held
    subject.sink.flush()
    assert subject.taken() == LINES[0]


def test_an_empty_batch_is_taken_and_writes_nothing(subject: Subject) -> None:
    """It only makes sure that the next can be taken."""
    assert subject.sink.write(memoryview(b"")) == 0
    write(subject.sink, LINES[0])
    assert subject.sink.write(memoryview(b"")) == 0
    subject.sink.flush()
    assert subject.taken() == LINES[0]


def test_a_line_longer_than_anything_is_taken_whole(subject: Subject) -> None:
    """However small the file may be."""
    line = json.dumps({"message": "x" * 300_000}).encode() + b"\n"
    assert subject.sink.write(memoryview(line)) == len(line)
    subject.sink.flush()
    assert subject.taken() == line


def test_close_may_be_repeated_and_a_later_write_opens_again(subject: Subject) -> None:
    """A late entry is not lost."""
    subject.sink.close()
    write(subject.sink, LINES[0])
    subject.sink.close()
    subject.sink.close()
    write(subject.sink, LINES[1])
    subject.sink.flush()
    assert subject.taken() == LINES[0] + LINES[1]


def test_flush_of_nothing_is_allowed(subject: Subject) -> None:
    """Before the first write and twice in a row."""
    subject.sink.flush()
    write(subject.sink, LINES[0])
    subject.sink.flush()
    subject.sink.flush()
    assert subject.taken() == LINES[0]


def test_a_failure_is_an_oserror_or_none_and_loses_nothing_taken_before(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that fails raises OSError and has taken nothing of the batch; one that never fails takes it."""
    write(subject.sink, LINES[0])
    subject.sink.flush()
    before = subject.taken()
    with monkeypatch.context() as patch:
        subject.fail(patch)
        try:
            assert subject.sink.write(memoryview(LINES[1])) == len(LINES[1])
        except OSError:
            assert subject.taken() == before


def test_any_thread_may_write_one_at_a_time(subject: Subject) -> None:
    """Nothing belongs to the thread that came first."""
    for line in LINES[:5]:
        thread = threading.Thread(target=write, args=(subject.sink, line))
        thread.start()
        thread.join()
    subject.sink.flush()
    assert subject.taken() == b"".join(LINES[:5])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_close_leaves_nothing_open(subject: Subject) -> None:
    """As many descriptors as before, however often it was written."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for line in LINES:
        write(subject.sink, line)
    subject.sink.flush()
    subject.sink.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
