"""What happens to backups: gzip beside the writing path, and the directory's budget."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger.files import archive
from metaexpert.logger.files._indexer import Index
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.system.native import core

TEXT = b"a line\n" * 200_000


class Gate:
    """Stands in the middle of a compression: `reached` tells that it got there, `go` lets it on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        really = gzip.GzipFile.write

        def write(packed: gzip.GzipFile, data: bytes) -> int:
            self.reached.set()
            self.go.wait(10)
            return really(packed, data)

        monkeypatch.setattr(gzip.GzipFile, "write", write)


@pytest.fixture
def told() -> list[tuple[str, OSError]]:
    """What the archivist complained about."""
    return []


@pytest.fixture
def archivist(tmp_path: Path, told: list[tuple[str, OSError]]) -> Iterator[Archivist]:
    """An archivist that compresses the backups of expert.log."""
    (tmp_path / ".private").mkdir()
    lock = DirectoryLock(tmp_path / ".private" / "lock")
    made = Archivist(tmp_path, tmp_path / ".private", lock, lambda what, error: told.append((what, error)))
    made.bases |= {"expert.log"}
    made.compressed |= {"expert.log"}
    yield made
    made.wait(20)


def names(directory: Path) -> list[str]:
    """Return the names of the log files and whatever else lies beside them."""
    return sorted(path.name for path in directory.iterdir() if path.name != ".private")


def backup(directory: Path, number: int, text: bytes = TEXT, mtime: float = 1_700_000_000.123456) -> Path:
    """Make a backup."""
    path = directory / f"expert.log.{number}"
    path.write_bytes(text)
    os.utime(path, (mtime, mtime))
    return path


class TestCompression:
    """gzip."""

    def test_backups_become_readable_gzip_files_of_the_same_time_and_mode(
        self, archivist: Archivist, tmp_path: Path
    ) -> None:
        """Content, modification time to the nanosecond, and mode 0640; strangers and the current file stay."""
        before = backup(tmp_path, 1).stat()
        for stranger in ("expert.log", "expert.log.1.txt", "other.log.1"):
            (tmp_path / stranger).write_bytes(b"x")
        archivist.work()
        assert names(tmp_path) == ["expert.log", "expert.log.1.gz", "expert.log.1.txt", "other.log.1"]
        packed = tmp_path / "expert.log.1.gz"
        assert gzip.decompress(packed.read_bytes()) == TEXT
        assert packed.stat().st_mtime_ns == before.st_mtime_ns
        if os.name != "nt":
            assert stat.S_IMODE(packed.stat().st_mode) == 0o640 & ~umask()

    def test_nobody_waits_for_it(self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """While a backup is compressed, poke returns, and the file is written and rotated as ever."""
        gate = Gate(monkeypatch)
        backup(tmp_path, 1)
        archivist.poke()
        assert gate.reached.wait(10)
        sink = RotatingFile(
            tmp_path / "expert.log", RotationPolicy(5, 9), archivist._lock, on_rotated=lambda _: archivist.poke()
        )
        for line in (b"1234\n", b"5678\n"):
            sink.write(memoryview(line))
        sink.close()
        assert not gate.go.is_set()
        assert names(tmp_path) == ["expert.log", "expert.log.1", "expert.log.2"]
        gate.go.set()
        assert archivist.wait(20)
        assert names(tmp_path) == ["expert.log", "expert.log.1.gz", "expert.log.2.gz"]
        assert gzip.decompress((tmp_path / "expert.log.2.gz").read_bytes()) == TEXT
        assert gzip.decompress((tmp_path / "expert.log.1.gz").read_bytes()) == b"1234\n"

    @pytest.mark.parametrize("compiled", [True, False])
    def test_a_backup_that_moves_up_meanwhile_is_found_again(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
    ) -> None:
        """By the core, or by the reference: a rotation may come while it is compressed."""
        if not compiled:
            monkeypatch.setattr(archive, "core", None)
        elif not hasattr(core, "replace"):
            pytest.skip("the core is not compiled, or has no such way")
        really = Archivist._copy

        def copy(self: Archivist, source: Path, *args: Any) -> os.stat_result:
            status = really(self, source, *args)
            source.rename(tmp_path / "expert.log.7")
            (tmp_path / "expert.log.1").write_bytes(b"another\n")
            (tmp_path / "expert.log.17").write_bytes(TEXT)
            return status

        monkeypatch.setattr(Archivist, "_copy", copy)
        backup(tmp_path, 1)
        archivist.work()
        assert names(tmp_path) == ["expert.log.1", "expert.log.17", "expert.log.7.gz"]
        assert gzip.decompress((tmp_path / "expert.log.7.gz").read_bytes()) == TEXT

    def test_a_backup_that_is_deleted_meanwhile_stays_deleted(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[object]
    ) -> None:
        """It was rotated out; its compressed copy does not come back, and nobody is alarmed."""
        gate = Gate(monkeypatch)
        path = backup(tmp_path, 1)
        archivist.poke()
        assert gate.reached.wait(10)
        path.unlink()
        gate.go.set()
        assert archivist.wait(20)
        assert names(tmp_path) == []
        assert list((tmp_path / ".private").glob("*.compressing")) == []
        assert told == []

    def test_a_backup_that_somebody_appended_to_meanwhile_stays_as_it_is(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The copy lacks a line: it is thrown away, and the next work takes the whole file."""
        gate = Gate(monkeypatch)
        path = backup(tmp_path, 1)
        archivist.poke()
        assert gate.reached.wait(10)
        with path.open("ab") as late:
            late.write(b"late\n")
        gate.go.set()
        archivist.wait(20)
        assert names(tmp_path) == ["expert.log.1"]
        archivist.work()
        assert gzip.decompress((tmp_path / "expert.log.1.gz").read_bytes()) == TEXT + b"late\n"

    @pytest.mark.skipif(os.name == "nt", reason="a descriptor is taken by dup2")
    def test_what_gets_our_descriptors_meanwhile_is_left_alone(
        self, archivist: Archivist, tmp_path: Path, told: list[tuple[str, OSError]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program closes all descriptors, as a daemon does, and opens its own: not a byte of ours comes there."""
        monkeypatch.setattr(Descriptor, "stolen", False)
        gate, theirs, numbers = Gate(monkeypatch), tmp_path / ".private" / "theirs", set[int]()
        (tmp_path / "expert.log.1").write_bytes(os.urandom(1_500_000))
        archivist.poke()
        assert gate.reached.wait(10)
        with theirs.open("w+b") as file:
            for fd in (int(entry.name) for entry in list(Path("/dev/fd").iterdir())):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(fd), (tmp_path / "expert.log.1").stat()) or _is_copy(fd, tmp_path):
                        os.dup2(file.fileno(), fd)
                        numbers.add(fd)
        gate.go.set()
        archivist.wait(20)
        assert len(numbers) == 2
        for fd in numbers:
            os.close(fd)  # raises if it was closed
        assert theirs.read_bytes() == b""
        assert (names(tmp_path), [error.errno for _, error in told]) == (["expert.log.1"], [errno.EBADF])

    def test_what_an_interrupted_process_left_is_removed(self, archivist: Archivist, tmp_path: Path) -> None:
        """Half a copy goes; of a backup that is there in both forms the compressed one stays."""
        (tmp_path / ".private" / "abc-1.gz.compressing").write_bytes(b"half")
        path = backup(tmp_path, 1)
        packed = tmp_path / "expert.log.1.gz"
        packed.write_bytes(gzip.compress(TEXT))
        os.utime(packed, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
        assert archivist.has_leftovers()
        archivist.work()
        assert not archivist.has_leftovers()
        assert names(tmp_path) == ["expert.log.1.gz"]
        assert gzip.decompress(packed.read_bytes()) == TEXT

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in directories")
    def test_what_only_bears_the_name_of_a_backup_is_left_alone(
        self, archivist: Archivist, tmp_path: Path, told: list[tuple[str, OSError]]
    ) -> None:
        """A directory, or a pipe that would wait for its other end for ever."""
        os.mkfifo(tmp_path / "expert.log.1")
        (tmp_path / "expert.log.2").mkdir()
        backup(tmp_path, 3)
        archivist.poke()
        assert archivist.wait(10)
        assert names(tmp_path) == ["expert.log.1", "expert.log.2", "expert.log.3.gz"]
        assert told == []

    def test_a_full_disk_leaves_the_backup_and_no_wreck(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, OSError]]
    ) -> None:
        """The copy's space is given back, the trouble told, the other backup done, and the budget still met."""
        backup(tmp_path, 1, b"1")
        backup(tmp_path, 2, b"2" * 1000)
        archivist.budget = 10
        really = gzip.GzipFile.write

        def write(packed: gzip.GzipFile, data: bytes) -> int:
            if data == b"1":
                raise OSError(errno.ENOSPC, "No space left on device")
            return really(packed, data)

        monkeypatch.setattr(gzip.GzipFile, "write", write)
        archivist.work()
        assert names(tmp_path) == ["expert.log.1"]
        assert list((tmp_path / ".private").glob("*.compressing")) == []
        assert [error.errno for _, error in told] == [errno.ENOSPC]

    def test_a_backup_that_cannot_be_deleted_is_not_left_in_both_forms(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, OSError]]
    ) -> None:
        """Windows, while somebody reads it: better uncompressed than twice."""
        monkeypatch.setattr(archive, "core", None)  # there is no such way there
        path = backup(tmp_path, 1)
        really = Path.unlink

        def unlink(self: Path, missing_ok: bool = False) -> None:
            if self == path:
                raise PermissionError(errno.EACCES, "The process cannot access the file")
            really(self, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            archivist.work()
        assert names(tmp_path) == ["expert.log.1"]
        assert len(told) == 1

    def test_two_processes_do_not_compress_at_the_same_time(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second waits for the first, then finds nothing to do; the file is whole."""
        backup(tmp_path, 1)
        other = Archivist(tmp_path, tmp_path / ".private", DirectoryLock(tmp_path / ".private" / "lock"), print)
        other.compressed |= {"expert.log"}
        other.bases |= {"expert.log"}
        opened: list[str] = []
        really = os.open

        def noted(path: Path, *args: Any) -> int:
            opened.extend([path.name] * (path.parent == tmp_path))
            return really(path, *args)

        monkeypatch.setattr(os, "open", noted)
        gate = Gate(monkeypatch)
        archivist.poke()
        assert gate.reached.wait(10)
        other.poke()
        gate.go.set()
        assert archivist.wait(20)
        assert other.wait(20)
        assert opened.count("expert.log.1") == 1
        assert gzip.decompress((tmp_path / "expert.log.1.gz").read_bytes()) == TEXT


class TestThread:
    """The thread and its end."""

    def test_there_is_a_thread_only_while_there_is_work(self, archivist: Archivist, tmp_path: Path) -> None:
        """Nothing lives on when the work is done, and nothing starts without any."""
        archivist.poke()
        assert archivist.wait(20)
        idle = Archivist(tmp_path, tmp_path, DirectoryLock(tmp_path / "lock"), print)
        idle.poke()
        assert [thread.name for thread in threading.enumerate() if "archive" in thread.name] == []

    def test_a_pause_ends_the_thread_and_resume_begins_again(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before a fork the thread ends in the middle of a file and leaves nothing half done; after it, all is done."""
        monkeypatch.setattr(archive, "_PIECE", 1000)
        gate = Gate(monkeypatch)
        backup(tmp_path, 1)
        archivist.poke()
        assert gate.reached.wait(10)
        threading.Timer(0.05, gate.go.set).start()
        archivist._thread.before_fork()
        assert [thread.name for thread in threading.enumerate() if "archive" in thread.name] == []
        assert names(tmp_path) == ["expert.log.1"]
        assert not archivist.has_leftovers()
        archivist.poke()
        assert names(tmp_path) == ["expert.log.1"]
        archivist._thread.after_fork_in_parent()
        archivist.poke()
        assert archivist.wait(20)
        assert names(tmp_path) == ["expert.log.1.gz"]

    @pytest.mark.parametrize("step", ["_tidy", "_meet_budget", "_index"])
    def test_a_fork_waits_for_one_backup_of_hundreds(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """Each look at a file lets busy threads in for milliseconds: the work ends between two looks."""
        for number in range(1, 200):
            (tmp_path / f"expert.log.{number}.gz").write_bytes(b"")
        archivist.budget = 10**9
        monkeypatch.setattr(archive, "core", None)  # which looks at all of them in a millisecond
        looks = [0]
        really = os.stat

        def stat(*args: Any, **options: Any) -> os.stat_result:
            looks[0] += 1
            archivist._thread.forking = looks[0] >= 10
            return really(*args, **options)

        work = getattr(archivist, step)
        monkeypatch.setattr(os, "stat", stat)
        monkeypatch.setattr(Path, "stat", lambda path, **options: stat(path, **options))
        with archivist._lock:
            looks[0] = 0
            with pytest.raises(archive._Stopped):
                work(*([Index(tmp_path)] if step == "_index" else []))
        archivist._thread.forking = False
        assert looks[0] < 20

    @pytest.mark.skipif(not hasattr(core, "backups"), reason="nothing is compiled, or Windows")
    def test_the_core_finds_the_backups_that_python_finds(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Name, size and time of each; none that only bears such a name, nor one of another file."""
        archivist.bases |= {"trades.log"}
        for number, name in enumerate(("expert.log.1", "expert.log.2.gz", "expert.log.999999", "trades.log.7")):
            (tmp_path / name).write_bytes(bytes(number))
            os.utime(tmp_path / name, ns=(1, 1_795_000_000_123_456_789 + number))
        others = [
            "expert.log",
            "expert.log.01",
            "expert.log.1.txt",
            "expert.log.1234567",
            "expert.log.",
            "expert.log.0",
        ]
        others += ["expert.log.3.gz.gz", "xexpert.log.1", "trades.log.-1", "trades.log.+1", "errors.log.1"]
        for name in others:
            (tmp_path / name).touch()
        (tmp_path / "expert.log.4").mkdir()
        os.mkfifo(tmp_path / "expert.log.5")
        (tmp_path / "expert.log.6").symlink_to("expert.log.999999")
        (tmp_path / "expert.log.8").symlink_to("nothing")
        found = sorted(archivist._look_at_backups())
        monkeypatch.setattr(archive, "core", None)
        assert found == sorted(archivist._look_at_backups())
        assert [name for name, _, _ in found] == [
            *("expert.log.1", "expert.log.2.gz", "expert.log.6", "expert.log.999999", "trades.log.7"),
        ]
        assert found[1][1:] == (1, 1_795_000_000_123_456_790)

    def test_work_that_finds_no_thread_is_done_at_the_end(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While the interpreter exits no thread can be started: close does it."""

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        backup(tmp_path, 1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            archivist.poke()
        assert names(tmp_path) == ["expert.log.1"]
        assert archivist.wait(None)
        assert names(tmp_path) == ["expert.log.1.gz"]


def _is_copy(fd: int, directory: Path) -> bool:
    return any(os.path.samestat(os.fstat(fd), path.stat()) for path in directory.glob(".private/*.compressing"))


class TestBudget:
    """max_total_size."""

    def test_only_our_oldest_backups_go(self, archivist: Archivist, tmp_path: Path) -> None:
        """Current files, strangers and directories stay; the newest backups fill the budget."""
        archivist.compressed = frozenset()
        archivist.budget = 2500
        (tmp_path / "expert.log").write_bytes(b"x" * 500)
        (tmp_path / "notes.txt").write_bytes(b"x" * 5000)
        (tmp_path / "expert.log.9").mkdir()
        for number in (1, 2, 3, 4):
            backup(tmp_path, number, b"x" * 1000, 1_700_000_000 - number)
        archivist.work()
        assert names(tmp_path) == ["expert.log", "expert.log.1", "expert.log.2", "expert.log.9", "notes.txt"]

    def test_compression_comes_first(self, archivist: Archivist, tmp_path: Path) -> None:
        """What fits when compressed is not deleted."""
        archivist.budget = 100_000
        backup(tmp_path, 1)
        backup(tmp_path, 2)
        archivist.work()
        assert names(tmp_path) == ["expert.log.1.gz", "expert.log.2.gz"]

    def test_a_missing_directory_is_told_not_raised(
        self, archivist: Archivist, tmp_path: Path, told: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the file system does, the work ends."""

        def files_in(path: Path) -> list[str]:
            raise OSError(errno.EIO, "I/O error")

        monkeypatch.setattr(archive, "core", None)
        monkeypatch.setattr(archive, "files_in", files_in)
        archivist.work()
        assert len(told) == 1


def umask() -> int:
    """Return the process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_backups_that_wait_to_be_compressed_cost_what_they_will_cost(
    archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came while another was compressed makes no older ones go, which will fit beside it."""
    gate = Gate(monkeypatch)
    archivist.budget = len(TEXT) // 2
    (tmp_path / "expert.log.8.gz").write_bytes(gzip.compress(b"old\n"))
    (tmp_path / "expert.log.1").write_bytes(TEXT)
    archivist.poke()
    assert gate.reached.wait(10)
    (tmp_path / "expert.log.1").rename(tmp_path / "expert.log.2")
    (tmp_path / "expert.log.1").write_bytes(TEXT)
    archivist.poke()
    gate.go.set()
    assert archivist.wait(20)
    assert {"expert.log.1.gz", "expert.log.2.gz", "expert.log.8.gz"} <= {path.name for path in tmp_path.iterdir()}


def test_a_rotation_is_work_for_later_unless_there_is_a_budget(archivist: Archivist, tmp_path: Path) -> None:
    """A thread for each of many rotations would stop the program each time; a budget must be met at once."""
    (tmp_path / "expert.log.1").write_bytes(TEXT)
    archivist.note(tmp_path / "expert.log")
    assert archivist.waits
    assert not archivist.busy
    assert archivist.wait(20)
    assert not archivist.waits
    assert (tmp_path / "expert.log.1.gz").exists()
    archivist.budget = 10**9
    (tmp_path / "expert.log.2").write_bytes(TEXT)
    archivist.note(tmp_path / "expert.log")
    assert not archivist.waits
    assert archivist.wait(20)
    assert (tmp_path / "expert.log.2.gz").exists()


def test_backups_of_which_a_rotation_told_cost_what_they_will_cost(archivist: Archivist, tmp_path: Path) -> None:
    """Also before the next work knows of them."""
    archivist._plain, archivist._packed = 100, 10
    path = tmp_path / "expert.log.1"
    path.write_bytes(b"x" * 1000)
    assert archivist._size(path.name, path.stat()) == 1000
    archivist.note(tmp_path / "expert.log")
    assert archivist._size(path.name, path.stat()) == 100
