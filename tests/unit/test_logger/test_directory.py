"""The directory that its loggers share."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sinks import FailingSink, FakeClock, MemorySink

from metaexpert.logger import schema
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.open_directories import leave_directory, open_directory
from metaexpert.logger.files.recovery import Recovery
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.calls import Calls
from metaexpert.logger.system.locks import DirectoryLock

POLICY = RotationPolicy(2**20, 5)
HEADER = Header("bot", schema.FACILITY_LOCAL0)
SIZE = 2**20


class Listening:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told = 0
        self.shown: list[bytes] = []
        self.errors: list[Exception] = []
        self.served = 0

    def changed(self, filled: int) -> None:
        """Count it."""
        self.told += 1

    def stranded(self, lines: list[bytes]) -> list[bytes]:
        """Keep them."""
        self.shown += lines
        return []

    def serve(self) -> bool:
        """Count it."""
        self.served += 1
        return False

    def obey(self, request: object) -> None:
        """Be another one than is meant."""

    def close(self) -> bool:
        """Do nothing."""
        return True

    def after_fork_in_child(self) -> None:
        """Do nothing."""


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

    def test_a_new_file_does_not_disturb_who_walks_over_the_names(self, directory: LogDirectory) -> None:
        """The archivist's thread asks of each backup whose it is; a set that changed meanwhile ended it."""
        walked = [iter(directory.archivist.bases), iter(directory.archivist.compressed)]
        directory.file("another.log", RotationPolicy(2**20, 5, compress=True))
        assert [list(names) for names in walked] == [[], []]
        assert directory.archivist.bases == directory.archivist.compressed == {"another.log"}

    def test_numbers_go_on_in_a_directory_that_is_opened_again(self, tmp_path: Path) -> None:
        """A process never gives a number twice, and two directories do not share theirs."""
        first = open_directory(tmp_path / "a", HEADER, SIZE)
        assert [next(first.sequence) for _ in range(3)] == [1, 2, 3]
        leave_directory(first)
        again, other = open_directory(tmp_path / "a", HEADER, SIZE), open_directory(tmp_path / "b", HEADER, SIZE)
        assert (next(again.sequence), next(other.sequence)) == (4, 1)
        leave_directory(again)
        leave_directory(other)

    def test_an_idle_listener_is_served_only_for_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Many loggers cost what one does: each asks, needs a look each second, has failed, or the directory has."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        directory.file("expert.log", POLICY)
        idle, regular = Listening(), Listening()
        for listener in (idle, regular):
            directory.listeners.add(listener)  # and no thread serves it
        directory.listeners.attend(regular, regularly=True)

        def served() -> tuple[int, int]:
            idle.served = regular.served = 0
            clock.advance(1)
            directory.serve()
            return idle.served, regular.served

        assert served() == (1, 1)  # at first
        directory.recovery = None  # announced
        assert [served() for _ in range(3)] == [(0, 1)] * 3
        directory.listeners.ask(idle)
        assert served() == (1, 1)
        idle.errors.append(RecursionError())
        assert served() == (1, 1)
        idle.errors.clear()
        directory.listeners.attend(regular, regularly=False)
        assert served() == (0, 0)
        directory.recovery = Recovery()
        assert served() == (1, 1)
        directory.recovery = None
        monkeypatch.setattr(LogDirectory, "error", OSError(errno.ENOSPC, "full"))
        assert [served(), served()] == [(1, 1), (0, 0)]
        directory.release()

    def test_files_are_made_by_the_first_drain(self, directory: LogDirectory) -> None:
        """A new directory shows its files before the first entry."""
        for name in ("expert.log", "trades.log"):
            directory.file(name, POLICY)
        directory.drain()
        assert sorted(path.name for path in directory.root.glob("*.log")) == ["expert.log", "trades.log"]

    @pytest.mark.skipif(os.name == "nt", reason="files in use cannot be deleted")
    def test_a_deleted_idle_file_is_noticed(self, tmp_path: Path) -> None:
        """Within a second a new one is there, and the deleted one's space is given back."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        directory.file("expert.log", POLICY)
        directory.drain()
        (tmp_path / "expert.log").unlink()
        clock.advance(0.9)
        directory.drain()
        assert (tmp_path / "expert.log").exists()
        directory.release()

    def test_other_settings_for_an_open_file_are_told(self, directory: LogDirectory, capsys: object) -> None:
        """The first settings stay; the second logger is not left in the belief that its own count."""
        file = directory.file("expert.log", POLICY)
        assert directory.file("expert.log", POLICY) is file
        assert directory.diagnostics.count == 0
        assert directory.file("expert.log", RotationPolicy(7, 1)) is file
        assert "stay in force" in (directory.root / "logging_errors.log").read_text()

    def test_one_failing_file_does_not_stop_the_others(self, directory: LogDirectory) -> None:
        """A directory stands where trades.log should be: expert.log goes on, and the error names why."""
        (directory.root / "trades.log").mkdir()
        expert, trades = directory.file("expert.log", POLICY), directory.file("trades.log", POLICY)
        trades.put(b"t\n")
        expert.put(b"e\n")
        directory.drain()
        assert (directory.root / "expert.log").read_bytes() == b"e\n"
        assert isinstance(directory.error, IsADirectoryError | PermissionError)
        (directory.root / "trades.log").rmdir()
        directory.request(insist=True)
        directory.drain()
        assert directory.error is None
        assert (directory.root / "trades.log").read_bytes() == b"t\n"

    def test_a_failure_is_told_for_each_attempt_not_for_each_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fifty looks a second during a pause are no fifty troubles."""
        clock = FakeClock(100)
        directory = LogDirectory(tmp_path, HEADER, SIZE, clock)
        sink = FailingSink()
        directory.files["expert.log"] = LogFile(sink, Journal(None, SIZE).lane("expert.log"), monotonic=clock)
        directory.files["expert.log"].put(b"1\n")
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
                    file.put(b"inner\n")
                    directory.request(insist=True)
                    directory.drain()
                    self.data += b">"
                return super().write(batch, note)

        file = directory.files["expert.log"] = LogFile(Interrupted(), Journal(None, SIZE).lane("expert.log"))
        file.put(b"outer\n")
        directory.drain()
        assert bytes(file.sink.data) == b"<>outer\ninner\n"  # type: ignore[attr-defined]

    def test_sync_is_done_by_the_next_drain_and_its_failure_told(
        self, directory: LogDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device that does not answer costs a report, not an exception."""
        file = directory.file("expert.log", POLICY)
        file.put(b"1\n")
        directory.request(sync=True)

        def fsync(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            directory.drain()
        assert "forced to the device" in (directory.root / "logging_errors.log").read_text()
        assert (directory.root / "expert.log").read_bytes() == b"1\n"

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
    @pytest.mark.parametrize("room", [1, 17, 18, 19, 40])
    def test_what_cannot_be_taken_back_is_not_written_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        """A file that can only grow took a part of a batch: each line is there once, and half a line is ended."""
        directory = LogDirectory(tmp_path, HEADER, SIZE)
        file = directory.file("expert.log", POLICY)
        lines = [b'{"timestamp":"%d"}\n' % number for number in range(3)]
        for line in lines:
            file.put(line)
        left, really = [room], os.write

        def write(fd: int, data: memoryview) -> int:
            if not Path(f"/proc/self/fd/{fd}").resolve().match("expert.log"):
                return really(fd, data)
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            count = really(fd, data[: left[0]])
            left[0] -= count
            return count

        def ftruncate(fd: int, size: int) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "ftruncate", ftruncate)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            directory.drain()
        assert file.error is not None
        directory.request(insist=True)
        directory.drain()
        assert file.error is None
        found = (tmp_path / "expert.log").read_bytes().splitlines(keepends=True)
        assert [line for line in found if line in lines] == lines
        directory.release()

    def test_a_file_system_without_locks_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One warning that only one process should log there; writing goes on."""
        directory = LogDirectory(tmp_path, HEADER, SIZE)

        def try_lock(fd: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        directory.lock = DirectoryLock(tmp_path / "lock", on_unsupported=directory._lock_trouble, calls=Calls(try_lock))
        directory.file("expert.log", POLICY).put(b"1\n")
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
            opened.file("expert.log", RotationPolicy(100, 2, compress=True)).put(b"12345678\n" * 5)
            opened.drain()
            opened.archivist.wait(10)
            leave_directory(opened)
        assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before

    def test_what_came_last_is_written_when_it_is_released(self, tmp_path: Path) -> None:
        """A call that was on its way when the last logger closed: in the file, and no journal is left."""
        opened = open_directory(tmp_path / "logs", HEADER, SIZE)
        file = opened.file("expert.log", POLICY)
        opened.drain()
        file.put(b"late\n")
        leave_directory(opened)
        assert (tmp_path / "logs/expert.log").read_bytes() == b"late\n"
        assert not file.put(b"later\n")
        assert [path.name for path in (tmp_path / "logs/.metaexpert").iterdir()] == ["lock"]

    def test_what_no_file_took_waits_in_the_journal_for_the_next_start(self, tmp_path: Path) -> None:
        """The next one to open the directory brings it in, once."""
        entry = b'{"timestamp":"2026-11-24T10:00:00.000000Z","sequence_id":1}\n'
        opened = open_directory(tmp_path / "logs", HEADER, SIZE)
        opened.file("expert.log", POLICY)
        file = opened.files["expert.log"]
        file.sink = FailingSink()
        file.put(entry)
        opened.drain()
        leave_directory(opened)
        for recovered in (1, 0):
            again = open_directory(tmp_path / "logs", HEADER, SIZE)
            again.file("expert.log", POLICY)
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
        directory.file("expert.log", POLICY)

        def fails(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("metaexpert.logger.files.recovery.recover", fails)
            directory.drain()
            directory.drain()
        assert directory.diagnostics.count == 1
        assert directory.recovery is None
        clock.advance(5)
        directory.drain()
        assert directory.recovery is not None
        directory.release()

    def test_listeners_are_told_of_what_waits_and_of_what_is_stranded(self, tmp_path: Path) -> None:
        """Of a new segment, of each drain, and of lines that no file takes; until they are forgotten."""
        directory, listener = LogDirectory(tmp_path, HEADER, SIZE), Listening()
        directory.listeners.add(listener)
        file = directory.file("expert.log", POLICY)
        file.sink = FailingSink()
        file.put(b"1\n")
        assert listener.told == 1
        directory.drain()
        assert listener.told == 2
        assert listener.shown == [b"1"]
        directory.listeners.remove(listener)
        directory.drain()
        assert listener.told == 2
        directory.release()

    def test_each_line_is_shown_once_while_files_fail(self, directory: LogDirectory) -> None:
        """A line of two files, or one seen when it came, is not shown again; after healing it is another matter."""
        file = directory.file("expert.log", POLICY)
        file.error = OSError()
        assert directory.listeners.unshown([b"1", b"2"], directory.error) == [b"1", b"2"]
        assert directory.listeners.unshown([b"2", b"3"], directory.error) == [b"3"]
        file.error = None
        assert directory.listeners.unshown([b"2"], directory.error) == [b"2"]

    def test_one_file_may_use_the_whole_reserve_whatever_the_others_keep(self, tmp_path: Path) -> None:
        """Two had a burst and keep grown segments to spare: the third still takes twice the journal's size."""
        size = 65_536
        directory = LogDirectory(tmp_path, HEADER, size)
        files = [directory.file(name, POLICY) for name in ("expert.log", "trades.log", "errors.log")]
        line = b"x" * 299 + b"\n"
        for file in files[:2]:
            for _ in range(2):
                while file.lane.waiting < size:
                    assert file.put(line)
                directory.drain()
        while files[2].lane.waiting < 2 * size:
            assert files[2].put(line), files[2].lane.waiting
        directory.release()

    def test_the_largest_wish_for_the_journal_counts(self, directory: LogDirectory) -> None:
        """A second logger may let more wait, never less."""
        before = directory.journal.limit
        directory.allow(SIZE // 2)
        assert directory.journal.limit == before
        directory.allow(2 * SIZE)
        assert directory.journal.limit > before + SIZE // 2
