"""The way of lines into a file, and the directory that its loggers share."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from metaexpert.logger import schema
from metaexpert.logger.formatters import Header
from metaexpert.logger.handlers.base import Note, ignore
from metaexpert.logger.handlers.locking import DirectoryLock
from metaexpert.logger.handlers.rotation import RotationPolicy
from metaexpert.logger.journal import Journal
from metaexpert.logger.lanes import Lane, LogDirectory, leave_directory, open_directory
from metaexpert.logger.testing import FailingSink, FakeClock, MemorySink

POLICY = RotationPolicy(2**20, 5)
HEADER = Header("bot", schema.FACILITY_LOCAL0)


SIZE = 2**20


def lane_to(
    sink: MemorySink, clock: Callable[[], float] = time.monotonic, on_stranded: Callable[..., None] = lambda _: None
) -> Lane:
    """Return a lane with a journal in memory."""
    return Lane(sink, Journal(None, SIZE).lane("expert.log"), on_stranded, clock)


class Watching:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.told = 0
        self.shown: list[bytes] = []

    def grown(self) -> None:
        """Count it."""
        self.told += 1

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Keep them."""
        self.shown += lines


class TestLane:
    """`Lane`."""

    @pytest.mark.parametrize("room", [None, 1, 25])
    def test_lines_leave_in_order(self, room: int | None) -> None:
        """However little a file takes at once (it rotates), each line goes once."""
        sink = MemorySink(room)
        lane = lane_to(sink)
        for number in range(10):
            assert lane.put(b"line %d\n" % number)
        assert not lane.empty
        assert lane.lines() == [b"line %d" % number for number in range(10)]
        assert lane.drain()
        assert bytes(sink.data) == b"".join(b"line %d\n" % number for number in range(10))
        assert lane.empty
        assert lane.lines() == []

    def test_what_a_file_does_not_take_is_offered_again_after_growing_pauses(self) -> None:
        """No pause is longer than five seconds; nothing is lost, doubled or swapped."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = lane_to(sink, clock)
        lane.put(b"1\n")
        pauses: list[float] = []
        since = clock()
        assert not lane.drain()
        while len(pauses) < 10:
            attempts = sink.attempts
            clock.advance(0.05)
            lane.drain()
            if sink.attempts > attempts:
                pauses.append(clock() - since)
                since = clock()
        assert pauses[0] == pytest.approx(0.1, abs=0.06)
        assert pauses == sorted(pauses)
        assert max(pauses) == pytest.approx(5.0, abs=0.06)
        lane.put(b"2\n")
        sink.broken = False
        clock.advance(5)
        assert lane.drain()
        assert bytes(sink.data) == b"1\n2\n"
        assert lane.error is None

    def test_whoever_insists_does_not_wait_for_the_pause(self) -> None:
        """flush and close try at once."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = lane_to(sink, clock)
        lane.put(b"1\n")
        lane.drain()
        sink.broken = False
        assert not lane.drain()
        assert lane.drain(insist=True)

    def test_a_batch_that_fails_in_the_middle_goes_on_where_it_stopped(self) -> None:
        """The file rotates in the middle of a batch and then fails: what it took is not offered again."""

        class Once(MemorySink):
            broken = False

            def write(self, batch: memoryview, note: Note = ignore) -> int:
                if self.broken:
                    raise OSError(errno.ENOSPC, "full")
                self.broken = True
                return super().write(batch, note)

        sink = Once(room=4)
        lane = lane_to(sink)
        for line in (b"1\n", b"2\n", b"3\n", b"4\n"):
            lane.put(line)
        assert not lane.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n"
        for _ in range(4):
            sink.broken = False
            lane.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n3\n4\n"

    def test_the_first_failure_shows_what_waits_once(self) -> None:
        """All that waits is shown at the first error and not at each retry; again after it had healed."""
        sink, shown = FailingSink(), list[bytes]()
        lane = lane_to(sink, on_stranded=shown.extend)
        lane.put(b"1\n")
        lane.put(b"2\n")
        lane.drain(insist=True)
        lane.drain(insist=True)
        assert shown == [b"1", b"2"]
        sink.broken = False
        lane.drain(insist=True)
        sink.broken = True
        lane.put(b"3\n")
        lane.drain(insist=True)
        assert shown == [b"1", b"2", b"3"]

    def test_a_drain_ends_although_lines_keep_coming(self) -> None:
        """It writes what waits when it begins; another file must get its turn."""

        class Busy(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                lane.put(b"more\n")
                return super().write(batch, note)

        lane = lane_to(Busy())
        lane.put(b"first\n")
        assert lane.drain()
        assert bytes(lane.sink.data) == b"first\n"  # type: ignore[attr-defined]
        assert not lane.empty

    def test_an_idle_lane_heals_too(self) -> None:
        """A file that could not be made is tried again although nothing waits for it."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = lane_to(sink, clock)
        lane.look()
        assert isinstance(lane.error, OSError)
        sink.broken = False
        assert not lane.drain()
        clock.advance(1)
        assert lane.drain()
        assert lane.error is None

    def test_sync_reaches_a_file_only_when_something_was_written(self) -> None:
        """An fsync of nothing would cost a disk turn a second."""
        sink = MemorySink()
        lane = lane_to(sink)
        lane.sync()
        lane.put(b"1\n")
        lane.drain()
        lane.sync()
        lane.sync()
        assert sink.flushed == 1

    def test_segments_go_as_they_are_and_are_used_again(self) -> None:
        """A large backlog goes a segment at a time, and its memory is given back or used again."""
        sizes = []

        class Measured(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                sizes.append(len(batch))
                return super().write(batch, note)

        lane = lane_to(Measured())
        for _ in range(100):
            assert lane.put(b"x" * 5_000 + b"\n")
        before = lane.journal.allocated
        lane.drain()
        assert len(sizes) > 3
        assert sum(sizes) == 100 * 5_001
        assert lane.journal.allocated < before

    def test_a_full_journal_takes_nothing_until_it_is_drained(self) -> None:
        """put says so; what was taken before is not touched."""
        lane = lane_to(MemorySink())
        taken = 0
        while lane.put(b"x" * 5_000 + b"\n"):
            taken += 1
        assert SIZE <= taken * 5_001 <= 2 * SIZE
        lane.drain()
        assert lane.put(b"x\n")
        lane.drain()
        assert len(lane.sink.data) == taken * 5_001 + 2  # type: ignore[attr-defined]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[LogDirectory]:
    """An open log directory."""
    opened = open_directory(tmp_path / "logs", HEADER, SIZE)
    yield opened
    if opened.users:
        leave_directory(opened)


class TestDirectory:
    """`LogDirectory`, `open_directory`, `leave_directory`."""

    def test_loggers_of_one_place_share_it_however_they_spell_it(
        self, directory: LogDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relative path, a detour and a link lead to the same files and the same numbers."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "link").symlink_to(tmp_path / "logs", target_is_directory=True)
        for spelling in ("logs", "logs/../logs", "link"):
            assert open_directory(Path(spelling), HEADER, SIZE) is directory
            leave_directory(directory)

    def test_numbers_go_on_in_a_directory_that_is_opened_again(self, tmp_path: Path) -> None:
        """A process never gives a number twice, and two directories do not share theirs."""
        first = open_directory(tmp_path / "a", HEADER, SIZE)
        assert [next(first.sequence) for _ in range(3)] == [1, 2, 3]
        leave_directory(first)
        again, other = open_directory(tmp_path / "a", HEADER, SIZE), open_directory(tmp_path / "b", HEADER, SIZE)
        assert (next(again.sequence), next(other.sequence)) == (4, 1)
        leave_directory(again)
        leave_directory(other)

    def test_files_are_made_by_the_first_drain(self, directory: LogDirectory) -> None:
        """A new directory shows its files before the first entry."""
        for name in ("expert.log", "trades.log"):
            directory.lane(name, POLICY)
        directory.drain()
        assert sorted(path.name for path in directory.path.glob("*.log")) == ["expert.log", "trades.log"]

    @pytest.mark.skipif(os.name == "nt", reason="files in use cannot be deleted")
    def test_a_deleted_idle_file_is_noticed(self, tmp_path: Path) -> None:
        """Within a second a new one is there, and the deleted one's space is given back."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        directory.lane("expert.log", POLICY)
        directory.drain()
        (tmp_path / "expert.log").unlink()
        clock.advance(0.9)
        directory.drain()
        assert (tmp_path / "expert.log").exists()
        directory.release()

    def test_other_settings_for_an_open_file_are_told(self, directory: LogDirectory, capsys: object) -> None:
        """The first settings stay; the second logger is not left in the belief that its own count."""
        lane = directory.lane("expert.log", POLICY)
        assert directory.lane("expert.log", POLICY) is lane
        assert directory.diagnostics.count == 0
        assert directory.lane("expert.log", RotationPolicy(7, 1)) is lane
        assert "stay in force" in (directory.path / "logging_errors.log").read_text()

    def test_one_failing_file_does_not_stop_the_others(self, directory: LogDirectory) -> None:
        """A directory stands where trades.log should be: expert.log goes on, and the error names why."""
        (directory.path / "trades.log").mkdir()
        expert, trades = directory.lane("expert.log", POLICY), directory.lane("trades.log", POLICY)
        trades.put(b"t\n")
        expert.put(b"e\n")
        directory.drain()
        assert (directory.path / "expert.log").read_bytes() == b"e\n"
        assert isinstance(directory.error, IsADirectoryError | PermissionError)
        (directory.path / "trades.log").rmdir()
        directory.request(insist=True)
        directory.drain()
        assert directory.error is None
        assert (directory.path / "trades.log").read_bytes() == b"t\n"

    def test_a_failure_is_told_for_each_attempt_not_for_each_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fifty looks a second during a pause are no fifty troubles."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        sink = FailingSink()
        directory.lanes["expert.log"] = lane_to(sink, clock)
        directory.lanes["expert.log"].put(b"1\n")
        for _ in range(100):
            clock.advance(0.02)
            directory.drain()
        assert directory.diagnostics.count == sink.attempts < 8

    def test_an_entry_from_within_a_write_is_left_to_the_outer_drain(self, tmp_path: Path) -> None:
        """A signal handler that logs and flushes during a write: nothing is written twice or lost, in order."""
        directory = LogDirectory(tmp_path, HEADER, SIZE)

        class Interrupted(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                if not self.data:
                    self.data += b"<"
                    lane.put(b"inner\n")
                    directory.request(insist=True)
                    directory.drain()
                    self.data += b">"
                return super().write(batch, note)

        lane = directory.lanes["expert.log"] = lane_to(Interrupted())
        lane.put(b"outer\n")
        directory.drain()
        assert bytes(lane.sink.data) == b"<>outer\ninner\n"  # type: ignore[attr-defined]

    def test_sync_is_done_by_the_next_drain_and_its_failure_told(
        self, directory: LogDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device that does not answer costs a report, not an exception."""
        lane = directory.lane("expert.log", POLICY)
        lane.put(b"1\n")
        directory.request(sync=True)

        def fsync(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            directory.drain()
        assert "forced to the device" in (directory.path / "logging_errors.log").read_text()
        assert (directory.path / "expert.log").read_bytes() == b"1\n"

    def test_a_file_system_without_locks_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One warning that only one process should log there; writing goes on."""
        directory = LogDirectory(tmp_path, HEADER, SIZE)

        def try_lock(fd: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        directory.lock = DirectoryLock(tmp_path / "lock", on_unsupported=directory._lock_trouble, try_lock=try_lock)
        directory.lane("expert.log", POLICY).put(b"1\n")
        directory.drain()
        directory.release()
        assert (tmp_path / "expert.log").read_bytes() == b"1\n"
        assert "only one process" in (tmp_path / "logging_errors.log").read_text()

    def test_nothing_is_left_open_or_running(self, tmp_path: Path) -> None:
        """A hundred times opened, written and left: as many descriptors and threads as before."""
        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        for _ in range(100):
            opened = open_directory(tmp_path / "logs", HEADER, SIZE)
            opened.lane("expert.log", RotationPolicy(100, 2, compress=True)).put(b"12345678\n" * 5)
            opened.drain()
            opened.archivist.wait(10)
            leave_directory(opened)
        assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before

    def test_what_came_last_is_written_when_it_is_released(self, tmp_path: Path) -> None:
        """A call that was on its way when the last logger closed: in the file, and no journal is left."""
        opened = open_directory(tmp_path / "logs", HEADER, SIZE)
        lane = opened.lane("expert.log", POLICY)
        opened.drain()
        lane.put(b"late\n")
        leave_directory(opened)
        assert (tmp_path / "logs/expert.log").read_bytes() == b"late\n"
        assert not lane.put(b"later\n")
        assert [path.name for path in (tmp_path / "logs/.metaexpert").iterdir()] == ["lock"]

    def test_what_no_file_took_waits_in_the_journal_for_the_next_start(self, tmp_path: Path) -> None:
        """The next one to open the directory brings it in, once."""
        entry = b'{"timestamp":"2026-11-24T10:00:00.000000Z","sequence_id":1}\n'
        opened = open_directory(tmp_path / "logs", HEADER, SIZE)
        opened.lane("expert.log", POLICY)
        lane = opened.lanes["expert.log"]
        lane.sink = FailingSink()
        lane.put(entry)
        opened.drain()
        leave_directory(opened)
        for recovered in (1, 0):
            again = open_directory(tmp_path / "logs", HEADER, SIZE)
            again.lane("expert.log", POLICY)
            again.drain()
            assert again.recovery is not None
            assert again.recovery.entries == recovered
            leave_directory(again)
        assert (tmp_path / "logs/expert.log").read_bytes() == entry

    def test_a_recovery_that_fails_is_told_and_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk is full at the start: seconds later what the dead left is brought in."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        directory.lane("expert.log", POLICY)

        def fails(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("metaexpert.logger.lanes.recover", fails)
            directory.drain()
            directory.drain()
        assert directory.diagnostics.count == 1
        assert directory.recovery is None
        clock.advance(5)
        directory.drain()
        assert directory.recovery is not None
        directory.release()

    def test_watchers_are_told_of_what_waits_and_of_what_is_stranded(self, tmp_path: Path) -> None:
        """Of a new segment, of each drain, and of lines that no file takes; until they are forgotten."""
        directory, watcher = LogDirectory(tmp_path, HEADER, SIZE), Watching()
        directory.watch(watcher)
        lane = directory.lane("expert.log", POLICY)
        lane.sink = FailingSink()
        lane.put(b"1\n")
        assert watcher.told == 1
        directory.drain()
        assert watcher.told == 2
        assert watcher.shown == [b"1"]
        directory.forget(watcher)
        directory.drain()
        assert watcher.told == 2
        directory.release()

    def test_each_line_is_shown_once_while_files_fail(self, directory: LogDirectory) -> None:
        """A line of two files, or one seen when it came, is not shown again; after healing it is another matter."""
        lane = directory.lane("expert.log", POLICY)
        lane.error = OSError()
        assert directory.unshown([b"1", b"2"]) == [b"1", b"2"]
        assert directory.unshown([b"2", b"3"]) == [b"3"]
        lane.error = None
        assert directory.unshown([b"2"]) == [b"2"]

    def test_one_file_may_use_the_whole_reserve_whatever_the_others_keep(self, tmp_path: Path) -> None:
        """Two had a burst and keep grown segments to spare: the third still takes twice the journal's size."""
        size = 65_536
        directory = LogDirectory(tmp_path, HEADER, size)
        lanes = [directory.lane(name, POLICY) for name in ("expert.log", "trades.log", "errors.log")]
        line = b"x" * 299 + b"\n"
        for lane in lanes[:2]:
            for _ in range(2):
                while lane.journal.waiting < size:
                    assert lane.put(line)
                directory.drain()
        while lanes[2].journal.waiting < 2 * size:
            assert lanes[2].put(line), lanes[2].journal.waiting
        directory.release()

    def test_the_largest_wish_for_the_journal_counts(self, directory: LogDirectory) -> None:
        """A second logger may let more wait, never less."""
        before = directory.journal.limit
        directory.allow(SIZE // 2)
        assert directory.journal.limit == before
        directory.allow(2 * SIZE)
        assert directory.journal.limit > before + SIZE // 2
