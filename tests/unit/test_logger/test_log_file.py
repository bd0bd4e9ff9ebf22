"""The way of lines into a file."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sinks import FailingSink, FakeClock, MemorySink

from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.segment import Intent, Segment
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.locks import DirectoryLock

SIZE = 2**20


def file_to(
    sink: MemorySink, clock: Callable[[], float] = time.monotonic, on_stranded: Callable[..., None] = lambda _: None
) -> LogFile:
    """Return a log file with a journal in memory."""
    return LogFile(sink, Journal(None, SIZE).lane("expert.log"), on_stranded, clock)


class TestLane:
    """`LogFile`."""

    @pytest.mark.parametrize("room", [None, 1, 25])
    def test_lines_leave_in_order(self, room: int | None) -> None:
        """However little a file takes at once (it rotates), each line goes once."""
        sink = MemorySink(room)
        file = file_to(sink)
        for number in range(10):
            assert file.put(b"line %d\n" % number)
        assert not file.empty
        assert file.lines() == [b"line %d" % number for number in range(10)]
        assert file.drain()
        assert bytes(sink.data) == b"".join(b"line %d\n" % number for number in range(10))
        assert file.empty
        assert file.lines() == []

    def test_what_a_file_does_not_take_is_offered_again_after_growing_pauses(self) -> None:
        """No pause is longer than five seconds; nothing is lost, doubled or swapped."""
        sink, clock = FailingSink(), FakeClock(100)
        file = file_to(sink, clock)
        file.put(b"1\n")
        pauses: list[float] = []
        since = clock()
        assert not file.drain()
        while len(pauses) < 10:
            attempts = sink.attempts
            clock.advance(0.05)
            file.drain()
            if sink.attempts > attempts:
                pauses.append(clock() - since)
                since = clock()
        assert pauses[0] == pytest.approx(0.1, abs=0.06)
        assert pauses == sorted(pauses)
        assert max(pauses) == pytest.approx(5.0, abs=0.06)
        file.put(b"2\n")
        sink.broken = False
        clock.advance(5)
        assert file.drain()
        assert bytes(sink.data) == b"1\n2\n"
        assert file.error is None

    def test_whoever_insists_does_not_wait_for_the_pause(self) -> None:
        """flush and close try at once."""
        sink, clock = FailingSink(), FakeClock(100)
        file = file_to(sink, clock)
        file.put(b"1\n")
        file.drain()
        sink.broken = False
        assert not file.drain()
        assert file.drain(insist=True)

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
        file = file_to(sink)
        for line in (b"1\n", b"2\n", b"3\n", b"4\n"):
            file.put(line)
        assert not file.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n"
        for _ in range(4):
            sink.broken = False
            file.drain(insist=True)
        assert bytes(sink.data) == b"1\n2\n3\n4\n"

    @pytest.mark.parametrize("taken", [0, 1, 3])
    def test_a_regular_way_that_fails_behind_its_write_doubles_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
    ) -> None:
        """The program closes all descriptors between the write and the look behind it: what the file has stays."""
        lines = [b'{"timestamp":"%d"}\n' % number for number in range(3)]
        sink = RotatingFile(tmp_path / "expert.log", RotationPolicy(SIZE, 1), DirectoryLock(tmp_path / "lock"))
        lane = Journal(None, SIZE).lane("expert.log")
        file = LogFile(sink, lane, lambda _: None, time.monotonic, threading.RLock(), sink.already)

        def append(_: object, segment: Segment, __: int, *, rotates: bool) -> bool:
            with sink.path.open("ab") as opened:
                found = os.fstat(opened.fileno())
                end = len(b"".join(lines))
                segment.intend(Intent(segment.drained, segment.drained + end, found.st_dev, found.st_ino, 0))
                opened.write(b"".join(lines[:taken]))
            return False

        monkeypatch.setattr(sink, "append", append)
        for line in lines:
            assert file.put(line)
        assert file.drain()
        assert sink.path.read_bytes() == b"".join(lines)
        assert file.empty
        sink.close()

    def test_the_first_failure_shows_what_waits_once(self) -> None:
        """All that waits is shown at the first error and not at each retry; again after it had healed."""
        sink, shown = FailingSink(), list[bytes]()
        file = file_to(sink, on_stranded=shown.extend)
        file.put(b"1\n")
        file.put(b"2\n")
        file.drain(insist=True)
        file.drain(insist=True)
        assert shown == [b"1", b"2"]
        sink.broken = False
        file.drain(insist=True)
        sink.broken = True
        file.put(b"3\n")
        file.drain(insist=True)
        assert shown == [b"1", b"2", b"3"]

    def test_a_drain_ends_although_lines_keep_coming(self) -> None:
        """It writes what waits when it begins; another file must get its turn."""

        class Busy(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                file.put(b"more\n")
                return super().write(batch, note)

        file = file_to(Busy())
        file.put(b"first\n")
        assert file.drain()
        assert bytes(file.sink.data) == b"first\n"  # type: ignore[attr-defined]
        assert not file.empty

    def test_an_idle_file_heals_too(self) -> None:
        """A file that could not be made is tried again although nothing waits for it."""
        sink, clock = FailingSink(), FakeClock(100)
        file = file_to(sink, clock)
        file.look()
        assert isinstance(file.error, OSError)
        sink.broken = False
        assert not file.drain()
        clock.advance(1)
        assert file.drain()
        assert file.error is None

    def test_sync_reaches_a_file_only_when_something_was_written(self) -> None:
        """An fsync of nothing would cost a disk turn a second."""
        sink = MemorySink()
        file = file_to(sink)
        file.sync()
        file.put(b"1\n")
        file.drain()
        file.sync()
        file.sync()
        assert sink.flushed == 1

    def test_segments_go_as_they_are_and_are_used_again(self) -> None:
        """A large backlog goes a segment at a time, and its memory is given back or used again."""
        sizes = []

        class Measured(MemorySink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                sizes.append(len(batch))
                return super().write(batch, note)

        file = file_to(Measured())
        for _ in range(100):
            assert file.put(b"x" * 5_000 + b"\n")
        before = file.lane.allocated
        file.drain()
        assert len(sizes) > 3
        assert sum(sizes) == 100 * 5_001
        assert file.lane.allocated < before

    def test_a_full_journal_takes_nothing_until_it_is_drained(self) -> None:
        """put says so; what was taken before is not touched."""
        file = file_to(MemorySink())
        taken = 0
        while file.put(b"x" * 5_000 + b"\n"):
            taken += 1
        assert SIZE <= taken * 5_001 <= 2 * SIZE
        file.drain()
        assert file.put(b"x\n")
        file.drain()
        assert len(file.sink.data) == taken * 5_001 + 2  # type: ignore[attr-defined]
