"""The queue of a file, and the directory that its loggers share."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from metaexpert.logger import lanes, schema
from metaexpert.logger.formatters import Header
from metaexpert.logger.handlers.base import Note, ignore
from metaexpert.logger.handlers.locking import DirectoryLock
from metaexpert.logger.handlers.rotation import RotationPolicy
from metaexpert.logger.lanes import Lane, LogDirectory, leave_directory, open_directory
from metaexpert.logger.testing import FailingSink, FakeClock, MemorySink

POLICY = RotationPolicy(2**20, 5)
HEADER = Header("bot", schema.FACILITY_LOCAL0)


class Ledger:
    """An owner that keeps what it is told."""

    def __init__(self) -> None:
        self.levels: list[str] = []
        self.size = 0
        self.shown: list[bytes] = []

    def written(self, levels: Iterable[str], size: int) -> None:
        """Keep it."""
        self.levels += levels
        self.size += size

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Keep them."""
        self.shown += lines


@pytest.fixture
def ledger() -> Ledger:
    """An owner."""
    return Ledger()


class TestLane:
    """`Lane`."""

    @pytest.mark.parametrize("room", [None, 1, 25])
    def test_lines_leave_in_order_and_their_owner_is_told(self, ledger: Ledger, room: int | None) -> None:
        """However little a file takes at once (it rotates), each line goes once and is counted once."""
        sink = MemorySink(room)
        lane = Lane(sink)
        for number in range(10):
            lane.put(b"line %d\n" % number, ledger, "info")
        assert not lane.empty
        assert lane.drain()
        assert bytes(sink.data) == b"".join(b"line %d\n" % number for number in range(10))
        assert (ledger.levels, ledger.size) == (["info"] * 10, len(sink.data))
        assert lane.empty

    def test_each_owner_is_told_of_its_own(self) -> None:
        """Two loggers in one file: neither pays for the other."""
        first, second, lane = Ledger(), Ledger(), Lane(MemorySink())
        for owner in (first, second, first):
            lane.put(b"12345\n", owner, "info")
        lane.put(b"12\n", second, "")
        lane.drain()
        assert (first.levels, first.size) == (["info"] * 2, 12)
        assert (second.levels, second.size) == (["info"], 9)

    def test_what_a_file_does_not_take_is_offered_again_after_growing_pauses(self, ledger: Ledger) -> None:
        """No pause is longer than five seconds; nothing is lost, doubled or swapped."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = Lane(sink, clock)
        lane.put(b"1\n", ledger, "info")
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
        lane.put(b"2\n", ledger, "info")
        sink.broken = False
        clock.advance(5)
        assert lane.drain()
        assert bytes(sink.data) == b"1\n2\n"
        assert lane.error is None

    def test_whoever_insists_does_not_wait_for_the_pause(self, ledger: Ledger) -> None:
        """flush and close try at once."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = Lane(sink, clock)
        lane.put(b"1\n", ledger, "info")
        lane.drain()
        sink.broken = False
        assert not lane.drain()
        assert lane.drain(insist=True)

    def test_a_batch_that_fails_in_the_middle_goes_on_where_it_stopped(self, ledger: Ledger) -> None:
        """The file rotates in the middle of a batch and then fails: what it took is not offered again."""

        class Once(MemorySink):
            broken = False

            def write(self, batch: memoryview, note: Note = ignore) -> int:
                if self.broken:
                    raise OSError(errno.ENOSPC, "full")
                self.broken = True
                return super().write(batch, note)

        sink = Once(room=4)
        lane = Lane(sink)
        for line in (b"1\n", b"2\n", b"3\n", b"4\n"):
            lane.put(line, ledger, "info")
        assert not lane.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n"
        for _ in range(4):
            sink.broken = False
            lane.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n3\n4\n"

    def test_the_first_failure_shows_what_waits_once(self, ledger: Ledger) -> None:
        """Head and queue are shown at the first error and not at each retry; each entry in one lane only."""
        lane = Lane(FailingSink())
        lane.put(b"1\n", ledger, "error")
        lane.put(b"2\n", ledger, "")
        lane.drain(insist=True)
        lane.drain(insist=True)
        assert ledger.shown == [b"1\n"]

    def test_a_drain_ends_although_lines_keep_coming(self, ledger: Ledger) -> None:
        """It writes what waits when it begins; another file must get its turn."""

        class Busy(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                lane.put(b"more\n", ledger, "info")
                return super().write(batch, note)

        lane = Lane(Busy())
        lane.put(b"first\n", ledger, "info")
        assert lane.drain()
        assert bytes(lane.sink.data) == b"first\n"  # type: ignore[attr-defined]
        assert not lane.empty

    def test_an_idle_lane_heals_too(self) -> None:
        """A file that could not be made is tried again although nothing waits for it."""
        sink, clock = FailingSink(), FakeClock(100)
        lane = Lane(sink, clock)
        lane.look()
        assert isinstance(lane.error, OSError)
        sink.broken = False
        assert not lane.drain()
        clock.advance(1)
        assert lane.drain()
        assert lane.error is None

    def test_sync_reaches_a_file_only_when_something_was_written(self, ledger: Ledger) -> None:
        """An fsync of nothing would cost a disk turn a second."""
        sink = MemorySink()
        lane = Lane(sink)
        lane.sync()
        lane.put(b"1\n", ledger, "info")
        lane.drain()
        lane.sync()
        lane.sync()
        assert sink.flushed == 1

    def test_a_large_queue_goes_in_batches(self, ledger: Ledger) -> None:
        """No single write is much larger than a batch."""
        sizes = []

        class Measured(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                sizes.append(len(batch))
                return super().write(batch, note)

        lane = Lane(Measured())
        for _ in range(30):
            lane.put(b"x" * 50_000 + b"\n", ledger, "info")
        lane.drain()
        assert max(sizes) <= lanes.BATCH + 50_001
        assert sum(sizes) == ledger.size == 30 * 50_001


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[LogDirectory]:
    """An open log directory."""
    opened = open_directory(tmp_path / "logs", HEADER)
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
            assert open_directory(Path(spelling), HEADER) is directory
            leave_directory(directory)

    def test_numbers_go_on_in_a_directory_that_is_opened_again(self, tmp_path: Path) -> None:
        """A process never gives a number twice, and two directories do not share theirs."""
        first = open_directory(tmp_path / "a", HEADER)
        assert [next(first.sequence) for _ in range(3)] == [1, 2, 3]
        leave_directory(first)
        again, other = open_directory(tmp_path / "a", HEADER), open_directory(tmp_path / "b", HEADER)
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
        directory = LogDirectory(tmp_path, HEADER, clock)
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

    def test_one_failing_file_does_not_stop_the_others(self, directory: LogDirectory, ledger: Ledger) -> None:
        """A directory stands where trades.log should be: expert.log goes on, and the error names why."""
        (directory.path / "trades.log").mkdir()
        expert, trades = directory.lane("expert.log", POLICY), directory.lane("trades.log", POLICY)
        trades.put(b"t\n", ledger, "info")
        expert.put(b"e\n", ledger, "info")
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
        directory = LogDirectory(tmp_path, HEADER, clock)
        sink = FailingSink()
        directory.lanes["expert.log"] = Lane(sink, clock)
        directory.lanes["expert.log"].put(b"1\n", Ledger(), "info")
        for _ in range(100):
            clock.advance(0.02)
            directory.drain()
        assert directory.diagnostics.count == sink.attempts < 8

    def test_an_entry_from_within_a_write_is_left_to_the_outer_drain(self, tmp_path: Path, ledger: Ledger) -> None:
        """A signal handler that logs and flushes during a write: nothing is written twice or lost, in order."""
        directory = LogDirectory(tmp_path, HEADER)

        class Interrupted(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                if not self.data:
                    self.data += b"<"
                    lane.put(b"inner\n", ledger, "info")
                    directory.request(insist=True)
                    directory.drain()
                    self.data += b">"
                return super().write(batch, note)

        lane = directory.lanes["expert.log"] = Lane(Interrupted())
        lane.put(b"outer\n", ledger, "info")
        directory.drain()
        assert bytes(lane.sink.data) == b"<>outer\ninner\n"  # type: ignore[attr-defined]

    def test_sync_is_done_by_the_next_drain_and_its_failure_told(
        self, directory: LogDirectory, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device that does not answer costs a report, not an exception."""
        lane = directory.lane("expert.log", POLICY)
        lane.put(b"1\n", ledger, "info")
        directory.request(sync=True)

        def fsync(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            directory.drain()
        assert "forced to the device" in (directory.path / "logging_errors.log").read_text()
        assert (directory.path / "expert.log").read_bytes() == b"1\n"

    def test_a_file_system_without_locks_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
    ) -> None:
        """One warning that only one process should log there; writing goes on."""
        directory = LogDirectory(tmp_path, HEADER)

        def try_lock(fd: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        directory.lock = DirectoryLock(tmp_path / "lock", on_unsupported=directory._lock_trouble, try_lock=try_lock)
        directory.lane("expert.log", POLICY).put(b"1\n", ledger, "info")
        directory.drain()
        directory.release()
        assert (tmp_path / "expert.log").read_bytes() == b"1\n"
        assert "only one process" in (tmp_path / "logging_errors.log").read_text()

    def test_nothing_is_left_open_or_running(self, tmp_path: Path, ledger: Ledger) -> None:
        """A hundred times opened, written and left: as many descriptors and threads as before."""
        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        for _ in range(100):
            opened = open_directory(tmp_path / "logs", HEADER)
            opened.lane("expert.log", RotationPolicy(100, 2, compress=True)).put(b"12345678\n" * 5, ledger, "info")
            opened.drain()
            opened.archivist.wait(10)
            leave_directory(opened)
        assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
