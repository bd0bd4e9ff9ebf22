"""One rotating file: whole lines, each exactly once, whatever size, clock, file system and other people do."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from sinks import FakeClock

from metaexpert.logger.files import _rotating_file
from metaexpert.logger.files._rotating_file import ROTATION_RETRY, RotatingFile
from metaexpert.logger.files.rotation import RotationPolicy, shift
from metaexpert.logger.schema import backup_number
from metaexpert.logger.system.calls import QUICK
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import DirectoryLock

NEVER = RotationPolicy(max_size=2**40, backups=5)
DAY = 86_400
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files can be moved and deleted while they are open")

Make = Callable[..., RotatingFile]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A function that makes a sink for `expert.log`, closed after the test."""
    sinks: list[RotatingFile] = []

    def sink(policy: RotationPolicy = NEVER, **options: Any) -> RotatingFile:
        sinks.append(RotatingFile(tmp_path / "expert.log", policy, DirectoryLock(tmp_path / "lock"), **options))
        return sinks[-1]

    yield sink
    for made in sinks:
        made.close()


def write(sink: RotatingFile, *lines: bytes) -> int:
    """Write all *lines*, as the queue does: until everything is taken. Return how many calls that took."""
    data = memoryview(b"".join(line + b"\n" for line in lines))
    for calls in count():
        if not data:
            return calls
        data = data[sink.write(data) :]
    raise AssertionError


def files(directory: Path) -> dict[str, list[bytes]]:
    """Return the lines of each log file, having made sure that none is torn."""
    found = {path.name: path.read_bytes() for path in sorted(directory.glob("expert.log*"))}
    assert all(data == b"" or data.endswith(b"\n") for data in found.values())
    return {name: data.split(b"\n")[:-1] for name, data in found.items()}


def in_order(directory: Path) -> list[bytes]:
    """Return all lines, oldest backup first."""
    found = files(directory)
    names = sorted(found, key=lambda name: backup_number(name, "expert.log") or 0, reverse=True)
    return [line for name in names for line in found[name]]


class TestSize:
    """Rotation by size."""

    @pytest.mark.parametrize("hold_open", [True, False])
    def test_lines_are_neither_lost_nor_split(self, make: Make, tmp_path: Path, hold_open: bool) -> None:
        """Over many rotations every line stands whole in one file, in order, and no file is too big."""
        lines = [b"%04d" % n + b"x" * (n % 37) for n in range(500)]
        sink = make(RotationPolicy(max_size=256, backups=1000), hold_open=hold_open)
        write(sink, *lines)
        assert in_order(tmp_path) == lines
        assert len(files(tmp_path)) > 40
        assert max(path.stat().st_size for path in tmp_path.glob("expert.log*")) <= 256

    def test_a_line_bigger_than_the_file_gets_a_file_of_its_own(self, make: Make, tmp_path: Path) -> None:
        """It is written whole, alone, and what follows goes on in a new file."""
        big = b"B" * 300_000
        write(make(RotationPolicy(max_size=100, backups=5)), b"before", big, b"after", big)
        assert files(tmp_path) == {
            "expert.log.3": [b"before"],
            "expert.log.2": [big],
            "expert.log.1": [b"after"],
            "expert.log": [big],
        }

    @pytest.mark.parametrize("backups", [1, 2, 5])
    def test_the_newest_backups_stay(self, make: Make, tmp_path: Path, backups: int) -> None:
        """As many backups as wanted, and they are the newest."""
        write(make(RotationPolicy(max_size=10, backups=backups)), *(b"%08d" % n for n in range(20)))
        assert in_order(tmp_path) == [b"%08d" % n for n in range(20 - backups - 1, 20)]

    def test_without_backups_the_file_grows(self, make: Make, tmp_path: Path) -> None:
        """backup_count=0 throws nothing away."""
        write(make(RotationPolicy(max_size=10, backups=0)), *(b"%08d" % n for n in range(20)))
        assert files(tmp_path) == {"expert.log": [b"%08d" % n for n in range(20)]}

    def test_a_limit_of_one_byte(self, make: Make, tmp_path: Path) -> None:
        """Each line rotates; nothing loops and nothing is lost."""
        write(make(RotationPolicy(max_size=1, backups=50)), *(b"%d" % n for n in range(30)))
        assert in_order(tmp_path) == [b"%d" % n for n in range(30)]

    def test_it_goes_on_in_an_existing_file(self, make: Make, tmp_path: Path) -> None:
        """A new process appends, and counts what is there already."""
        (tmp_path / "expert.log").write_bytes(b"old line\n")
        write(make(RotationPolicy(max_size=20, backups=5)), b"0123456789", b"next")
        assert files(tmp_path) == {"expert.log.1": [b"old line", b"0123456789"], "expert.log": [b"next"]}

    def test_a_gap_in_the_backups_is_filled_first(self, make: Make, tmp_path: Path) -> None:
        """Somebody deleted a backup: those behind the gap keep their numbers."""
        for number in (1, 3):
            (tmp_path / f"expert.log.{number}").write_bytes(b"backup %d\n" % number)
        (tmp_path / "expert.log.2.old").write_bytes(b"a stranger\n")
        write(make(RotationPolicy(max_size=10, backups=5)), b"12345678", b"12345678")
        found = files(tmp_path)
        assert found.pop("expert.log.2.old") == [b"a stranger"]
        assert found == {
            "expert.log": [b"12345678"],
            "expert.log.1": [b"12345678"],
            "expert.log.2": [b"backup 1"],
            "expert.log.3": [b"backup 3"],
        }

    def test_several_writers_rotate_one_file_together(self, make: Make, tmp_path: Path) -> None:
        """Two sinks on one file, as two processes have them, take turns: every line is there once."""
        policy = RotationPolicy(max_size=100, backups=1000)
        sinks = [make(policy), make(policy)]
        lines = [b"%06d" % n for n in range(400)]
        for number, line in enumerate(lines):
            write(sinks[number % 3 % 2], line)
        assert in_order(tmp_path) == lines


class TestTime:
    """Rotation by time."""

    def test_the_first_line_of_a_day_begins_a_file(self, make: Make, tmp_path: Path) -> None:
        """At midnight UTC, and only once, however many lines and writers follow."""
        clock = FakeClock(10 * DAY - 1)
        policy = RotationPolicy(10**6, 9, "midnight")
        sink = make(policy, now=clock)
        write(sink, b"yesterday")
        clock.advance(1)
        write(sink, b"today 1")
        write(make(policy, now=clock), b"today 2")
        clock.advance(DAY - 1)
        write(sink, b"today 3")
        assert files(tmp_path) == {"expert.log.1": [b"yesterday"], "expert.log": [b"today 1", b"today 2", b"today 3"]}

    def test_the_kernels_late_clock_does_not_rotate_twice(self, make: Make, tmp_path: Path) -> None:
        """The first line of a day is stamped with our time: file times may lie some milliseconds back."""
        clock = FakeClock(10 * DAY - 5)
        sink = make(RotationPolicy(10**6, 9, "midnight"), now=clock)
        write(sink, b"yesterday")
        clock.advance(5.001)
        write(sink, b"today")
        assert (tmp_path / "expert.log").stat().st_mtime == pytest.approx(clock(), abs=1e-3)

    def test_a_file_of_an_earlier_run_is_rotated_by_the_hour(self, make: Make, tmp_path: Path) -> None:
        """What was last written in another hour is a backup as soon as something new comes."""
        (tmp_path / "expert.log").write_bytes(b"old\n")
        os.utime(tmp_path / "expert.log", (3 * 3600 - 1, 3 * 3600 - 1))
        write(make(RotationPolicy(10**6, 9, "hourly"), now=FakeClock(3 * 3600)), b"new")
        assert files(tmp_path) == {"expert.log.1": [b"old"], "expert.log": [b"new"]}

    @pytest.mark.parametrize(
        ("last", "rotated"),
        [
            (b'{"timestamp":"2026-01-04T21:00:00.000000Z","message":"old"}', True),
            (b'{"timestamp":"2026-01-04T21:00:00.000000Z","message":"' + b"x" * 70_000 + b'"}', True),
            (b'{"timestamp":"2026-01-04T23:59:59.900000Z","message":"written after midnight"}', False),
            (b'{"timestamp":"2026-01-05T00:00:01.000000Z","message":"today"}', False),
            (b'{"timestamp":"long ago","message":"old"}', False),
            (b"not ours", False),
        ],
        ids=["old", "long", "late", "today", "no-time", "foreign"],
    )
    def test_a_file_that_was_touched_or_restored(self, make: Make, tmp_path: Path, last: bytes, rotated: bool) -> None:
        """Its last entry tells its day where the time of modification, by `touch` or `cp`, is of today."""
        now = datetime(2026, 1, 5, 8, tzinfo=UTC).timestamp()
        (tmp_path / "expert.log").write_bytes(b"first\n" + last + b"\n")
        os.utime(tmp_path / "expert.log", (now, now))
        sink = make(RotationPolicy(10**6, 9, "midnight"), now=FakeClock(now))
        write(sink, b"new 1")
        write(sink, b"new 2")
        before = [b"first", last]
        expected = {"expert.log.1": before, "expert.log": [b"new 1", b"new 2"]}
        assert files(tmp_path) == (expected if rotated else {"expert.log": [*before, b"new 1", b"new 2"]})

    def test_a_look_at_a_touched_file_leaves_it_to_be_rotated(self, make: Make, tmp_path: Path) -> None:
        """The quick way of writing begins only when the file is known to be of this period."""
        old = b'{"timestamp":"2026-01-04T21:00:00.000000Z","message":"old"}'
        (tmp_path / "expert.log").write_bytes(old + b"\n")
        sink = make(RotationPolicy(10**6, 9, "midnight"))
        sink.write(memoryview(b""))
        assert sink.appender is None
        write(sink, b"new")
        assert files(tmp_path) == {"expert.log.1": [old], "expert.log": [b"new"]}

    def test_a_clock_that_steps_back_rotates_nothing(self, make: Make, tmp_path: Path) -> None:
        """Order is kept in one file when the clock is set to yesterday."""
        clock = FakeClock(10 * DAY)
        sink = make(RotationPolicy(10**6, 9, "hourly"), now=clock)
        write(sink, b"1")
        clock.advance(-2 * DAY)
        write(sink, b"2")
        assert files(tmp_path) == {"expert.log": [b"1", b"2"]}


@posix
class TestOtherPeople:
    """What somebody else does to the file."""

    def test_a_deleted_file_is_made_again(self, make: Make, tmp_path: Path) -> None:
        """The next line is in a new file of that name."""
        sink = make()
        write(sink, b"1")
        (tmp_path / "expert.log").unlink()
        write(sink, b"2")
        assert files(tmp_path) == {"expert.log": [b"2"]}

    def test_a_renamed_file_is_left_alone(self, make: Make, tmp_path: Path) -> None:
        """logrotate moves it: what was written stays there, the rest goes to a new file."""
        sink = make()
        write(sink, b"1")
        (tmp_path / "expert.log").rename(tmp_path / "expert.log-2026")
        write(sink, b"2")
        assert files(tmp_path) == {"expert.log-2026": [b"1"], "expert.log": [b"2"]}

    def test_a_truncated_file_has_no_hole(self, make: Make, tmp_path: Path) -> None:
        """After `> expert.log` the next line stands at the beginning."""
        sink = make()
        write(sink, b"1" * 100)
        (tmp_path / "expert.log").write_bytes(b"")
        write(sink, b"2")
        assert files(tmp_path) == {"expert.log": [b"2"]}

    def test_a_vanished_directory_is_made_again(self, make: Make, tmp_path: Path) -> None:
        """`rm -rf` of the directory costs what it deleted, nothing more."""
        sink = RotatingFile(tmp_path / "d" / "expert.log", NEVER, DirectoryLock(tmp_path / "d" / ".m" / "lock"))
        write(sink, b"1")
        for path in (tmp_path / "d" / ".m" / "lock", tmp_path / "d" / ".m", tmp_path / "d" / "expert.log"):
            path.rmdir() if path.is_dir() else path.unlink()
        (tmp_path / "d").rmdir()
        write(sink, b"2")
        assert files(tmp_path / "d") == {"expert.log": [b"2"]}
        assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750
        sink.close()

    def test_what_went_into_a_file_deleted_meanwhile_is_written_again(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file disappears between our look and our write: the lines are in the new one."""
        sink, really, path = make(), os.write, tmp_path / "expert.log"
        write(sink, b"1")

        def and_delete(fd: int, data: memoryview) -> int:
            path.unlink(missing_ok=True)
            patch.setattr(os, "write", really)
            return really(fd, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", and_delete)
            write(sink, b"2", b"3")
        assert files(tmp_path) == {"expert.log": [b"2", b"3"]}

    @pytest.mark.parametrize("torn", [b'{"half', b"\0\0\0\0"])
    def test_a_torn_tail_of_a_dead_process_spoils_no_line_of_ours(
        self, make: Make, tmp_path: Path, torn: bytes
    ) -> None:
        """It becomes a line of its own, whether it was there at the start or came from another process later."""
        path = tmp_path / "expert.log"
        path.write_bytes(b"whole\n" + torn)
        sink = make()
        write(sink, b"1")
        with path.open("ab") as other:
            other.write(torn)
        write(sink, b"2")
        assert path.read_bytes() == b"whole\n" + torn + b"\n1\n" + torn + b"\n2\n"


class TestFaults:
    """What the system refuses."""

    @pytest.mark.parametrize("taken", [0, 1, 7, 8, 9, 19])
    def test_a_half_done_write_is_taken_back(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
    ) -> None:
        """The disk fills up in the middle: the file is as before, and the batch may be offered again."""
        sink, really = make(), os.write
        write(sink, b"before")
        steps = iter([lambda fd, data: really(fd, data[:taken])] if taken else [])

        def full(fd: int, data: memoryview) -> int:
            step = next(steps, None)
            if step is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return step(fd, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match="No space"):
                write(sink, b"1234567", b"1234567", b"12345")
        assert files(tmp_path) == {"expert.log": [b"before"]}
        write(sink, b"again")
        assert files(tmp_path) == {"expert.log": [b"before", b"again"]}

    def test_short_writes_are_finished(self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A system that takes three bytes at a time gets all of them, in one piece in the end."""
        really = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: really(fd, data[:3]))
        write(make(), b"0123456789", b"abc")
        assert files(tmp_path) == {"expert.log": [b"0123456789", b"abc"]}

    def test_an_interrupt_takes_back_what_its_caller_will_offer_again(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C after the system call but before it was counted must not double the lines."""
        sink, really = make(), os.write

        def interrupted(fd: int, data: memoryview) -> int:
            really(fd, data)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write(sink, b"once")
        write(sink, b"once")
        assert files(tmp_path) == {"expert.log": [b"once"]}

    @posix
    @pytest.mark.parametrize("theirs", ["nothing", "a socket"])
    @pytest.mark.parametrize("added", [b"", b"another's\n"])
    def test_a_descriptor_that_is_taken_as_soon_as_a_batch_is_written(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, added: bytes
    ) -> None:
        """Another thread closes it: the batch is offered again and stands there once, unless others wrote behind it."""
        monkeypatch.setattr(Descriptor, "stolen", False)
        sink, really = make(), os.write
        write(sink, b"before")
        fd, pair = sink._fd, socket.socketpair()

        def written_and_taken(number: int, data: bytes) -> int:
            done = really(number, data)
            if number == fd:
                with (tmp_path / "expert.log").open("ab") as other:
                    other.write(added)
                os.dup2(pair[0].fileno(), fd) if theirs == "a socket" else os.close(fd)
            return done

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", written_and_taken)
            with pytest.raises(OSError, match=r"Bad file descriptor|closed by somebody else"):
                write(sink, b"batch")
        write(sink, b"batch")
        if theirs == "a socket":
            os.close(fd)  # raises if it was closed
        for end in pair:
            end.close()
        once = [b"before", b"batch"]
        assert in_order(tmp_path) == ([*once, b"another's", b"batch"] if added else once)

    @pytest.mark.parametrize("hold_open", [True, False])
    def test_a_rotation_that_is_denied_is_tried_again_later(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold_open: bool
    ) -> None:
        """A reader on Windows holds the file: it grows on, each failure is told, rotated when the reader has gone."""
        clock, told, rotated = FakeClock(1000), list[OSError](), list[Path]()
        sink = make(
            RotationPolicy(max_size=20, backups=5),
            now=clock,
            hold_open=hold_open,
            on_trouble=told.append,
            on_rotated=rotated.append,
        )
        attempts = []

        def denied(path: Path, target: Path) -> None:
            attempts.append(target)
            raise PermissionError(errno.EACCES, "The process cannot access the file")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", denied)
            write(sink, b"0123456789", b"0123456789", b"0123456789")
            assert len(attempts) == 1
            clock.advance(ROTATION_RETRY - 0.1)
            write(sink, b"0123456789")
            assert len(attempts) == 1
            clock.advance(0.2)
            write(sink, b"0123456789")
            assert len(attempts) == 2
        assert files(tmp_path) == {"expert.log": [b"0123456789"] * 5}
        assert len(told) == 2
        assert not rotated
        clock.advance(ROTATION_RETRY + 0.1)
        write(sink, b"new")
        assert files(tmp_path) == {"expert.log": [b"new"], "expert.log.1": [b"0123456789"] * 5}
        assert len(rotated) == 1

    def test_a_rotation_that_stops_half_way_loses_nothing(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Some backups have moved, then one is locked: later everything is there, in order."""
        clock = FakeClock(1000)
        sink = make(RotationPolicy(max_size=10, backups=9), now=clock)
        write(sink, *(b"%08d" % n for n in range(5)))
        really, budget = Path.rename, iter(range(2))

        def sometimes(path: Path, target: Path) -> Path:
            if next(budget, None) is None:
                raise PermissionError(errno.EACCES, "locked")
            return really(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", sometimes)
            write(sink, b"%08d" % 5)
        clock.advance(ROTATION_RETRY + 1)
        write(sink, b"%08d" % 6)
        assert in_order(tmp_path) == [b"%08d" % n for n in range(7)]

    def test_a_denied_rotation_is_tried_again_after_the_clock_stepped_back(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Being set back by a day does not put the next attempt off by a day."""
        clock = FakeClock(10 * DAY)
        sink = make(RotationPolicy(max_size=10, backups=9), now=clock)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "locked")))
            write(sink, b"12345678", b"12345678")
        clock.advance(-DAY)
        write(sink, b"new")
        assert files(tmp_path)["expert.log"] == [b"new"]


@pytest.mark.skipif(QUICK.rotate is None, reason="nothing is compiled, or files are not moved while they are open")
class TestRotationOfTheCore:
    """`core.rotate`, whose reference is `shift`."""

    @given(
        plain=st.sets(st.integers(1, 14)),
        packed=st.sets(st.integers(1, 14)),
        keep=st.integers(1, 14),
        odd=st.booleans(),
    )
    @settings(max_examples=examples(100))
    def test_it_moves_files_as_the_reference_does(
        self, tmp_path_factory: pytest.TempPathFactory, plain: set[int], packed: set[int], keep: int, odd: bool
    ) -> None:
        """Whatever backups there are: the same names with the same content; others' files stay."""
        made = ["a", *(f"a.{n}" for n in plain), *(f"a.{n}.gz" for n in packed)]
        others = ["b.1", "a.01", "a.1.txt", "a.1234567", "a.", "a.2.gz.gz", "ab.1"] if odd else []
        found = []
        for by_core in (True, False):
            place = tmp_path_factory.mktemp("place")
            for name in made + others:
                (place / name).write_text(name)
            if by_core:
                assert QUICK.rotate is not None
                QUICK.rotate(place, "a", keep)
            else:
                for move in shift([path.name for path in place.iterdir()], "a", keep):
                    _rotating_file._do(place, move)
            found.append({path.name: path.read_text() for path in place.iterdir()})
        assert found[0] == found[1]

    def test_what_fails_is_named(self, tmp_path: Path) -> None:
        """As an OSError with the system's reason and the file."""
        assert QUICK.rotate is not None
        with pytest.raises(FileNotFoundError, match=r"'expert\.log'"):
            QUICK.rotate(tmp_path, "expert.log", 3)
        (tmp_path / "expert.log").mkdir()
        (tmp_path / "expert.log.1").write_bytes(b"")
        (tmp_path / "expert.log.2").mkdir()
        (tmp_path / "expert.log.2" / "inside").write_bytes(b"")
        with pytest.raises(OSError, match=r"'expert\.log\.2'"):
            QUICK.rotate(tmp_path, "expert.log", 2)
        with pytest.raises(FileNotFoundError, match="missing"):
            QUICK.rotate(tmp_path / "missing", "expert.log", 3)
        with pytest.raises(ValueError, match="too long"):
            QUICK.rotate(tmp_path, "x" * 600, 3)

    def test_hundreds_of_backups_move_in_one_call(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In Python each of the steps waits for the interpreter lock."""
        for number in range(1, 300):
            (tmp_path / f"expert.log.{number}").write_text(f"{number}\n")
        monkeypatch.setattr(_rotating_file, "_do", lambda *_: pytest.fail("a step in Python"))
        write(make(RotationPolicy(max_size=20, backups=400), calls=QUICK), b"0123456789", b"9876543210")
        assert in_order(tmp_path) == [*(b"%d" % n for n in range(299, 0, -1)), b"0123456789", b"9876543210"]


class TestSystemCalls:
    """fsync and descriptors."""

    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The sizes of the files at each fsync."""
        sizes: list[int] = []
        really = os.fsync

        def fsync(fd: int) -> None:
            sizes.append(os.fstat(fd).st_size)
            really(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        return sizes

    @pytest.mark.parametrize("hold_open", [True, False])
    def test_flush_forces_the_file_to_the_device(self, make: Make, synced: list[int], hold_open: bool) -> None:
        """All that was written is behind the fsync."""
        sink = make(hold_open=hold_open)
        write(sink, b"1234")
        sink.flush()
        assert synced == [5]

    def test_a_durable_file_is_forced_before_it_is_rotated_away(self, make: Make, synced: list[int]) -> None:
        """A later flush reaches the new file only, so the old one is forced when it is left."""
        sink = make(RotationPolicy(max_size=10, backups=5))
        write(sink, b"12345678", b"1")
        assert synced == []
        sink.durable = True
        write(sink, b"12345678")
        assert synced == [2]

    def test_a_durable_file_is_forced_when_another_process_rotated_it(self, make: Make, synced: list[int]) -> None:
        """The file that we wrote bears another name now; we still hold it."""
        policy = RotationPolicy(max_size=10, backups=5)
        ours, theirs = make(policy), make(policy)
        ours.durable = True
        write(ours, b"12345678")
        write(theirs, b"12345678")
        write(ours, b"")
        assert synced == [9]

    @posix
    def test_closing_leaves_nothing_open(self, make: Make, tmp_path: Path) -> None:
        """However often it is opened, written and closed."""
        before = len(list(Path("/proc/self/fd").iterdir()))
        sink = RotatingFile(tmp_path / "expert.log", NEVER, lock := DirectoryLock(tmp_path / "lock"))
        for _ in range(20):
            write(sink, b"1")
            sink.close()
            sink.close()
        lock.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    @posix
    def test_files_are_0640(self, make: Make, tmp_path: Path) -> None:
        """Also the one that a rotation makes."""
        before = os.umask(0o022)
        try:
            write(make(RotationPolicy(max_size=1, backups=5)), b"1", b"2")
        finally:
            os.umask(before)
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("expert.log*")} == {0o640}

    def test_an_empty_batch_only_makes_the_file(self, make: Make, tmp_path: Path) -> None:
        """It shows whether writing is possible, rotates nothing and writes nothing."""
        sink = make(RotationPolicy(max_size=1, backups=5))
        assert sink.write(memoryview(b"")) == 0
        write(sink, b"1")
        assert sink.write(memoryview(b"")) == 0
        assert files(tmp_path) == {"expert.log": [b"1"]}


def test_threads_with_sinks_of_their_own_share_a_file(tmp_path: Path) -> None:
    """Four writers, each with its own lock and descriptor, rotating all the time: every line once, in its order."""
    policy = RotationPolicy(max_size=2000, backups=9999)

    def run(name: int) -> None:
        sink = RotatingFile(tmp_path / "expert.log", policy, DirectoryLock(tmp_path / "lock", patience=30))
        for number in range(0, 150, 3):
            write(sink, *(b"%d %05d" % (name, number + step) for step in range(3)))
        sink.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = in_order(tmp_path)
    assert len(found) == 600
    for name in range(4):
        assert [line for line in found if line.startswith(b"%d " % name)] == [
            b"%d %05d" % (name, n) for n in range(150)
        ]
