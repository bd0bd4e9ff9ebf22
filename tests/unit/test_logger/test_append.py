"""The regular way of a batch in the core writes what the Python way writes, and leaves to it what is not regular."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.segment import HEADER_SIZE, NO_INTENT, Intent, Segment, read_slot
from metaexpert.logger.system.calls import QUICK
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.system.native import core

fcntl = pytest.importorskip("fcntl", reason="POSIX")
pytestmark = pytest.mark.skipif(not hasattr(core, "Appender"), reason="the core is not compiled, or has no such way")

SMALL = RotationPolicy(max_size=600, backups=3)
NEVER = RotationPolicy(max_size=2**40, backups=5)


class Side:
    """A log file with its journal and lock in a directory, written by the core or by Python."""

    def __init__(self, directory: Path, policy: RotationPolicy, *, compiled: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.path = directory / "expert.log"
        self.lock = DirectoryLock(directory / "lock")
        self.rotated: list[Path] = []
        self.sink = RotatingFile(self.path, policy, self.lock, calls=QUICK, on_rotated=self.rotated.append)
        self.file = LogFile(self.sink, Journal(None, 2**20).lane("expert.log"))
        self._compiled = compiled

    def drain(self) -> None:
        """Write what waits."""
        if not self._compiled:
            self.sink.appender = None
        assert self.file.drain(insist=True)

    def put(self, line: bytes) -> None:
        """Add a line to the journal."""
        assert self.file.put(line)

    @property
    def segment(self) -> Segment:
        """The one segment."""
        segment = self.file.lane.only
        assert segment is not None
        return segment

    def append(self) -> bool:
        """Have the core write, in the regular way alone. Returns whether it did."""
        segment = self.segment
        return bool(self.sink.appender.append(self.file.lock, segment.tail, segment.numbers, segment.epoch, False))

    def files(self) -> dict[str, bytes]:
        """Return what its files hold."""
        return {path.name: path.read_bytes() for path in sorted(self.directory.glob("expert.log*"))}

    def close(self) -> None:
        """Release what is held."""
        self.sink.close()
        self.lock.close()
        self.file.lane.close()


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A file of 3 lines that the core may append to."""
    made = Side(tmp_path, NEVER)
    made.put(b"1\n2\n3\n")
    made.drain()
    assert made.sink.appender is not None
    yield made
    made.close()


def test_a_batch_that_failed_is_settled_before_another_is_written(side: Side) -> None:
    """A part of it may be in the file, and end with a line: only Python looks what is there."""
    for text in (b"4\n", b"5\n"):
        side.put(text)
    start, status = side.segment.drained, side.path.stat()
    with side.path.open("ab") as file:  # the disk took one line, and would not let it be taken back
        file.write(b"4\n")
    side.segment.intend(Intent(start, side.segment.end(), status.st_dev, status.st_ino, status.st_size))
    assert not side.append()
    assert not side.file.write_now()
    settling = LogFile(side.sink, side.file.lane, already=side.sink.already)
    assert settling.drain(insist=True)
    assert side.path.read_bytes() == b"1\n2\n3\n4\n5\n"
    side.put(b"6\n")
    assert side.append()


def test_a_segment_used_again_is_not_written_before_what_stands_before_it(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synchronous call may be put to sleep after it has found one segment, until that has another epoch."""
    side.put(b"4\n")
    segment, lane, really = side.segment, side.file.lane, Segment.epoch

    def meanwhile(self: Segment) -> int:
        monkeypatch.setattr(Segment, "epoch", really)
        numbers = iter(range(5, 999))
        while lane._segments[-1] is segment:
            side.put(b"%d\n" % next(numbers) * 1_000)
        side.drain()
        while lane._segments[-1] is not segment:
            side.put(b"%d\n" % next(numbers) * 1_000)
        return self.epoch

    monkeypatch.setattr(Segment, "epoch", property(meanwhile))
    side.file.write_now()
    side.drain()
    numbers = [int(line) for line in side.path.read_bytes().split()]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 5


def step_line(side: Side, length: int) -> None:
    side.put(b"x" * length + b"\n")


def step_drain(side: Side, _: int) -> None:
    side.drain()


def step_foreign(side: Side, length: int) -> None:
    with side.path.open("ab") as file:
        file.write(b"someone else's\n" if length % 2 else b"half a li")


def step_truncate(side: Side, _: int) -> None:
    side.path.open("wb").close()


def step_delete(side: Side, _: int) -> None:
    side.path.unlink(missing_ok=True)


def step_rename(side: Side, length: int) -> None:
    if side.path.exists():
        side.path.rename(side.path.with_name(f"expert.log-{length}"))


def step_touch(side: Side, length: int) -> None:
    os.utime(side.directory / "lock", (time.time() + length, time.time() + length))


STEPS: tuple[Callable[[Side, int], None], ...] = (
    step_line,
    step_line,
    step_line,
    step_drain,
    step_drain,
    step_foreign,
    step_truncate,
    step_delete,
    step_rename,
    step_touch,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 300)), max_size=40),
    policy=st.sampled_from([SMALL, NEVER, RotationPolicy(max_size=300, backups=0)]),
)
def test_both_ways_write_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Callable[[Side, int], None], int]], policy: Any
) -> None:
    """Whatever comes, and whatever others do to the file: the same bytes and backups, and nothing waits."""
    root = tmp_path_factory.mktemp("append")
    sides = [Side(root / "compiled", policy), Side(root / "python", policy, compiled=False)]
    for number, (step, argument) in enumerate([*steps, (step_drain, 0)]):
        for side in sides:
            if number == 0:
                side.drain()
            step(side, argument)
    one, other = sides
    assert one.files() == other.files()
    assert len(one.rotated) == len(other.rotated)
    assert [s.drained - s.end() for s in one.file.lane.segments()] == [0] * len(one.file.lane.segments())
    for side in sides:
        side.close()


def open_descriptors() -> int:
    """Return how many this process has."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


class TestRotation:
    """A batch that does not fit: the core rotates, and goes on in the new file."""

    @pytest.fixture
    def small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
        """A file of 12 bytes at most, which holds 6. Python does not rotate it."""
        made = Side(tmp_path, RotationPolicy(max_size=12, backups=3))
        made.put(b"1\n2\n3\n")
        made.drain()
        monkeypatch.setattr(made.sink, "_rotate", lambda _: pytest.fail("Python has rotated"))
        yield made
        made.close()

    def test_one_batch_fills_several_files(self, small: Side) -> None:
        """Each is filled to its limit, with whole lines, and each rotation is told."""
        small.put(b"4444444\n5\n6\n7\n8\n9\n666666\n")
        small.drain()
        assert small.files() == {
            "expert.log": b"666666\n",
            "expert.log.1": b"7\n8\n9\n",
            "expert.log.2": b"4444444\n5\n6\n",
            "expert.log.3": b"1\n2\n3\n",
        }
        assert small.rotated == [small.path] * 3

    def test_the_file_before_is_closed(self, small: Side) -> None:
        """A backup that is deleted gives its bytes back: nobody holds it open."""
        before = open_descriptors()
        for _ in range(20):
            small.put(b"4444444\n")
            small.drain()
        assert len(small.rotated) == 20
        assert open_descriptors() == before
        assert os.path.samestat(os.fstat(small.sink._fd), small.path.stat())

    def test_what_was_not_taken_is_closed_with_the_appender(self, small: Side) -> None:
        """An exception may come between the rotation and its account: no descriptor stays, no line is lost."""
        before = open_descriptors()
        small.put(b"4444444\n")
        segment = small.segment
        assert small.sink.appender.append(small.file.lock, segment.tail, segment.numbers, segment.epoch, True)
        small.sink.appender = None
        small.put(b"5\n")
        small.drain()
        assert small.files() == {"expert.log": b"4444444\n5\n", "expert.log.1": b"1\n2\n3\n"}
        assert open_descriptors() == before

    def test_a_rotation_is_left_to_python(self, small: Side) -> None:
        """By a call that does not drain, before a forced write or a seal, and in the pause after one that failed."""
        small.put(b"4444444\n")
        segment = small.segment
        assert not small.sink.append(small.file.lock, segment, segment.epoch, rotates=False)
        small.sink.durable = True
        assert not small.sink.append(small.file.lock, segment, segment.epoch, rotates=True)
        small.sink.durable, small.sink._retry_rotation_at = False, time.time() + 5
        assert not small.sink.append(small.file.lock, segment, segment.epoch, rotates=True)
        small.sink._retry_rotation_at = 0.0
        assert small.sink.append(small.file.lock, segment, segment.epoch, rotates=True)

    def test_what_stands_in_the_way_is_left_to_python(self, side: Side, tmp_path: Path) -> None:
        """A backup that cannot be deleted: the entry goes into the file, and the trouble is told."""
        troubles: list[OSError] = []
        path = tmp_path / "other.log"
        sink = RotatingFile(path, RotationPolicy(4, 1), side.lock, calls=QUICK, on_trouble=troubles.append)
        file = LogFile(sink, Journal(None, 2**20).lane(path.name))
        (tmp_path / "other.log.1").mkdir()
        for line in (b"1\n", b"222\n"):
            file.put(line)
            assert file.drain()
        assert path.read_bytes() == b"1\n222\n"
        assert [error.errno for error in troubles] == [errno.EISDIR]
        sink.close()
        file.lane.close()


class TestSlot:
    """The numbers of a segment."""

    def test_a_batch_is_committed_in_the_map_and_in_the_numbers(self, side: Side) -> None:
        """The newest slot says that the file has everything, with a checksum that Python accepts."""
        before = side.segment.state
        side.put(b"4\n")
        assert side.append()
        state = side.segment.state
        assert read_slot(side.segment.map) == state
        assert state == (before.generation + 2, before.epoch, HEADER_SIZE + 8, NO_INTENT)
        assert side.files() == {"expert.log": b"1\n2\n3\n4\n"}

    def test_nothing_is_written_where_nothing_waits(self, side: Side) -> None:
        """The slot stays as it is."""
        before = side.segment.state
        assert side.append()
        assert side.segment.state == before

    def test_a_segment_of_another_epoch_is_left_alone(self, side: Side) -> None:
        """It was emptied and filled again meanwhile: its lines may not be the next ones."""
        side.put(b"4\n")
        segment = side.segment
        assert not side.sink.appender.append(side.file.lock, segment.tail, segment.numbers, segment.epoch + 1, False)
        assert side.files() == {"expert.log": b"1\n2\n3\n"}

    def test_a_sealed_segment_is_written_to_its_last_line(self, side: Side) -> None:
        """Its position is lost; the last newline is found."""
        side.put(b"4\n5\n")
        side.segment.seal()
        assert side.append()
        assert side.files() == {"expert.log": b"1\n2\n3\n4\n5\n"}

    @pytest.mark.parametrize("numbers", [b"", bytes(64), b"\xff" * 64])
    def test_numbers_that_are_none_are_refused(self, side: Side, numbers: bytes) -> None:
        """A wrong buffer is an error, not a crash."""
        with pytest.raises(ValueError, match="not a segment of a journal"):
            side.sink.appender.append(side.file.lock, side.segment.tail, bytearray(numbers), 1, False)


class TestIrregular:
    """Left to Python, with nothing changed."""

    @pytest.fixture(autouse=True)
    def _waiting(self, side: Side) -> None:
        side.put(b"4\n")

    def unchanged(self, side: Side) -> bool:
        """Return whether the line still waits and the file is as it was."""
        return side.segment.drained == HEADER_SIZE + 6 and side.segment.state.intent == NO_INTENT

    def test_a_lock_that_another_process_holds(self, side: Side) -> None:
        """It never waits for one."""
        with (side.directory / "lock").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            assert not side.append()
            assert self.unchanged(side)
        assert side.append()

    def test_a_lock_whose_number_is_another_file_by_now(self, side: Side) -> None:
        """The lock was closed while the directory was hidden: two processes must not write at once."""
        number = side.lock._file.fd  # type: ignore[union-attr]
        with (side.directory / "lock").open("rb") as held, (side.directory / "other").open("wb") as other:
            fcntl.flock(held, fcntl.LOCK_EX)
            side.lock.close()
            os.dup2(other.fileno(), number)
            try:
                assert not side.append()
            finally:
                os.close(number)
        assert self.unchanged(side)

    def test_a_lock_file_that_is_another_one(self, side: Side) -> None:
        """Another process would not be kept off by ours."""
        (side.directory / "lock").unlink()
        (side.directory / "lock").touch()
        assert not side.append()
        assert self.unchanged(side)

    def test_a_process_that_waits_goes_first(self, side: Side) -> None:
        """It has touched the lock file; the next time is ours again."""
        os.utime(side.directory / "lock", (1, 1))
        assert not side.append()
        assert self.unchanged(side)
        assert side.append()

    def test_a_file_that_was_moved(self, side: Side) -> None:
        """What comes next belongs into a new one."""
        side.path.rename(side.path.with_name("moved"))
        assert not side.append()
        assert self.unchanged(side)
        side.drain()
        assert side.files() == {"expert.log": b"4\n"}

    def test_a_descriptor_that_is_someone_else_s(
        self, side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The program has closed ours, and its own file got the number."""
        monkeypatch.setattr(Descriptor, "stolen", False)
        number, own = side.sink._fd, os.open(tmp_path / "own", os.O_RDWR | os.O_CREAT)
        os.dup2(own, number)
        assert not side.append()
        assert self.unchanged(side)
        assert (tmp_path / "own").read_bytes() == b""
        side.sink.close()
        os.close(own)

    def test_a_lock_between_threads_that_is_not_to_be_had(self, side: Side) -> None:
        """Its holder may have been interrupted by the caller, so the wait has an end."""
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with side.lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        assert not side.append()
        done.set()
        thread.join()
        assert self.unchanged(side)
        assert side.append()

    def test_a_disk_that_takes_nothing(self, side: Side) -> None:
        """What was written of the batch is taken back."""
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))
            assert not side.append()
            assert side.segment.drained == HEADER_SIZE + 6
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert side.files() == {"expert.log": b"1\n2\n3\n"}
        assert side.append()
        assert side.files() == {"expert.log": b"1\n2\n3\n4\n"}
