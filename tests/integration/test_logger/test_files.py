"""The three files of a real logger: rotation, compression, budget, modes, sharing, restart."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import BoundLogger, MetaLogger
from metaexpert.logger.files import directory
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.writing_thread import writing_thread

ReadLog = Callable[..., list[dict[str, Any]]]
Make = Callable[..., BoundLogger]


def chain(base: str, directory: str = "logs") -> list[Path]:
    """Return a file and its backups, oldest first."""

    def age(path: Path) -> int:
        match = re.fullmatch(re.escape(base) + r"\.(\d+)(?:\.gz)?", path.name)
        return int(match[1]) if match else 0

    return sorted(Path(directory).glob(f"{base}*"), key=age, reverse=True)


def text(path: Path) -> bytes:
    """Return a file's content, unpacked."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert data == b"" or data.endswith(b"\n"), f"{path} is torn"
    return data


def entries(base: str, directory: str = "logs") -> list[dict[str, Any]]:
    """Return the entries of a file and its backups, in the order in which they were written."""
    return [json.loads(line) for path in chain(base, directory) for line in text(path).split(b"\n")[:-1]]


def read_all(logger: BoundLogger) -> int:
    """Return how many entries have come into the files."""
    return int(logger.stats()["written"])


class TestRotation:
    """Rotation by size and time."""

    def test_rotation_at_ten_megabytes_loses_nothing(self, make: Make) -> None:
        """SC-003: with every setting at its default, over the first rotation, no entry is lost, split or moved."""
        logger = make()
        for number in range(11_000):
            logger.info("x" * 800, number=number)
            if number % 2000 == 0:
                logger.flush()
        assert logger.close()
        assert logger.stats()["dropped"] == 0
        first, second = chain("expert.log")
        assert 10 * 1024**2 - 2000 < first.stat().st_size <= 10 * 1024**2
        assert second.stat().st_size > 0
        assert [entry["number"] for entry in entries("expert.log")] == list(range(11_000))

    @pytest.mark.parametrize("backups", [0, 1, 5])
    @pytest.mark.parametrize("mode", ["async", "sync"])
    def test_the_newest_entries_stay_whole(self, make: Make, backups: int, mode: str) -> None:
        """What is there is a gapless end of what was logged, in as many files as wanted."""
        logger = make(max_file_size=5000, backup_count=backups, async_logging=mode == "async")
        for number in range(300):
            logger.info("m", number=number, filler="x" * (number % 50))
        assert logger.close()
        found = [entry["number"] for entry in entries("expert.log")]
        assert found == list(range(300 - len(found), 300))
        assert len(chain("expert.log")) == backups + 1
        assert (len(found) == 300) is (backups == 0)
        if backups:
            assert max(path.stat().st_size for path in chain("expert.log")) <= 5000

    def test_an_entry_bigger_than_a_file(self, make: Make) -> None:
        """It stands whole in a file of its own."""
        logger = make(max_file_size=1000, backup_count=50, max_value_length=100_000)
        for number in range(6):
            logger.info("x" * (50_000 if number % 2 else 10), number=number)
        assert logger.close()
        assert [entry["number"] for entry in entries("expert.log")] == list(range(6))
        assert [len(entry["message"]) for entry in entries("expert.log")] == [10, 50_000] * 3

    def test_each_file_rotates_for_itself(self, make: Make) -> None:
        """Many trades rotate trades.log; errors.log stays as it is."""
        logger = make(max_file_size=5000, backup_count=99)
        for number in range(100):
            logger.trade.debug("t", number=number)
        logger.error("e")
        assert logger.close()
        assert len(chain("trades.log")) > 3
        assert len(chain("errors.log")) == len(chain("expert.log")) == 1
        assert [entry["number"] for entry in entries("trades.log")] == list(range(100))

    def test_a_gap_in_the_backups(self, make: Make) -> None:
        """Somebody deleted a backup while it runs: nothing else is lost by it."""
        logger = make(max_file_size=2000, backup_count=99)
        for number in range(100):
            logger.info("m", number=number)
            if number == 60:
                logger.flush()
                gone = Path("logs/expert.log.2")
                lost = {json.loads(line)["number"] for line in gone.read_bytes().splitlines()}
                gone.unlink()
        assert logger.close()
        assert {entry["number"] for entry in entries("expert.log")} == set(range(100)) - lost

    def test_a_restart_goes_on_in_the_same_file(self, make: Make) -> None:
        """A second run appends and rotates what the first has begun; (procid, first time) tell them apart."""
        for run in range(3):
            logger = make(max_file_size=4000, backup_count=99)
            for number in range(20):
                logger.info("m", run=run, number=number)
            assert logger.close()
        assert [(e["run"], e["number"]) for e in entries("expert.log")] == [(r, n) for r in range(3) for n in range(20)]

    def test_a_log_of_yesterday_is_rotated_by_the_first_entry_of_today(self, make: Make) -> None:
        """rotate_when="midnight"; trades.log, in which nothing was written, stays."""
        Path("logs").mkdir()
        for name in ("expert.log", "trades.log"):
            Path("logs", name).write_bytes(b'{"message":"yesterday"}\n')
            os.utime(Path("logs", name), (time.time() - 86_400, time.time() - 86_400))
        logger = make(rotate_when="midnight")
        logger.info("today")
        logger.info("today again")
        assert logger.close()
        assert [len(text(path).splitlines()) for path in chain("expert.log")] == [1, 2]
        assert len(chain("trades.log")) == 1

    def test_numbers_run_over_all_three_files(self, make: Make) -> None:
        """A trade below the level takes a number like any other: together the files have no gap."""
        logger = make(log_level="WARNING", max_file_size=3000, backup_count=99)
        for _ in range(30):
            logger.info("nowhere")
            logger.warning("expert only")
            logger.trade.debug("trades only")
            logger.trade.error("all three")
        assert logger.close()
        numbers = {e["sequence_id"] for base in ("expert.log", "trades.log", "errors.log") for e in entries(base)}
        assert numbers == set(range(1, 91))


class TestCompression:
    """compress_backups."""

    def test_nothing_is_lost_and_nothing_is_left(self, make: Make) -> None:
        """Every backup is a readable gzip file, all together the whole story; the private directory is tidy."""
        logger = make(max_file_size=20_000, backup_count=999, compress_backups=True)
        for number in range(1000):
            logger.info("m", number=number)
            if number % 100 == 0:
                logger.flush()
        assert logger.close()
        paths = chain("expert.log")
        assert len(paths) > 8
        assert all(path.suffix == ".gz" for path in paths[:-1])
        assert [entry["number"] for entry in entries("expert.log")] == list(range(1000))
        assert list(Path("logs/.metaexpert").glob("*.compressing")) == []

    @pytest.mark.parametrize("mode", ["async", "sync"])
    def test_neither_call_nor_drain_waits_for_it(self, make: Make, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
        """A compression that never ends: calls, flush and further rotations go on; then it is done all the same."""
        reached, go = threading.Event(), threading.Event()
        really = gzip.GzipFile.write

        def write(packed: gzip.GzipFile, data: bytes) -> int:
            reached.set()
            go.wait(30)
            return really(packed, data)

        monkeypatch.setattr(gzip.GzipFile, "write", write)
        logger = make(max_file_size=5000, backup_count=99, compress_backups=True, async_logging=mode == "async")
        for number in range(200):
            logger.info("m", number=number)
        assert logger.flush()
        assert reached.wait(10)
        assert len(chain("expert.log")) > 5
        assert all(path.suffix != ".gz" for path in chain("expert.log"))
        go.set()
        assert logger.close()
        assert all(path.suffix == ".gz" for path in chain("expert.log")[:-1])
        assert [entry["number"] for entry in entries("expert.log")] == list(range(200))

    def test_backups_of_an_earlier_run_are_compressed_too(self, make: Make) -> None:
        """Also those that a killed process left half done; their times stay, so that the order stays."""
        logger = make(max_file_size=2000, backup_count=99)
        for number in range(50):
            logger.info("m", number=number)
        assert logger.close()
        times = {path.name: path.stat().st_mtime_ns for path in chain("expert.log")[:-1]}
        Path("logs/.metaexpert/1a2b-77.gz.compressing").write_bytes(b"half a copy")
        assert make(compress_backups=True).close()
        assert {path.name.removesuffix(".gz"): path.stat().st_mtime_ns for path in chain("expert.log")[:-1]} == times
        assert [entry["number"] for entry in entries("expert.log")] == list(range(50))
        assert list(Path("logs/.metaexpert").glob("*.compressing")) == []


class TestBudget:
    """max_total_size."""

    @pytest.mark.parametrize("compress", [False, True])
    def test_the_directory_stays_within_it(self, make: Make, compress: bool) -> None:
        """Our oldest backups go, over all files; strangers and current files stay, and so does the newest entry."""
        Path("logs").mkdir()
        Path("logs/notes.txt").write_bytes(b"x" * 100_000)
        Path("logs/expert.log.old").write_bytes(b"x" * 100_000)
        logger = make(max_file_size=4000, backup_count=999, max_total_size=40_000, compress_backups=compress)
        for number in range(600):
            logger.info(os.urandom(50).hex(), number=number)
            logger.trade.info("t", number=number)
        assert logger.close()
        ours = [path for base in ("expert.log", "trades.log", "errors.log") for path in chain(base)]
        ours = [path for path in ours if path.name != "expert.log.old"]
        assert sum(path.stat().st_size for path in ours) <= 40_000
        assert compress or len(ours) > 8, "no more was deleted than needed"
        Path("logs/expert.log.old").unlink()
        assert Path("logs/notes.txt").stat().st_size == 100_000
        for base in ("expert.log", "trades.log"):
            found = [entry["number"] for entry in entries(base)]
            assert found[-1] == 599
            assert sorted(set(found)) == list(range(found[0], 600))


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
class TestModes:
    """0640 and 0750."""

    @pytest.mark.parametrize(("umask", "file_mode", "directory_mode"), [(0o022, 0o640, 0o750), (0o077, 0o600, 0o700)])
    def test_everything_that_is_made(self, make: Make, umask: int, file_mode: int, directory_mode: int) -> None:
        """Files, backups, compressed backups, our own troubles, lock and directories; a stricter umask is respected."""
        before = os.umask(umask)
        try:
            logger = make(log_dir="deep/logs", max_file_size=1000, backup_count=9, compress_backups=True)
            for _ in range(20):
                logger.error("m")
            logger._logger.pipeline.directory.diagnostics.report("test", "a trouble")
            assert logger.close()
        finally:
            os.umask(before)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in Path("deep").rglob("*")}
        assert {mode for path, mode in modes.items() if path.is_file()} == {file_mode}
        assert {mode for path, mode in modes.items() if path.is_dir()} == {directory_mode}
        assert stat.S_IMODE(Path("deep").stat().st_mode) == directory_mode
        assert {"logging_errors.log", "expert.log", "lock"} <= {path.name for path in modes}

    def test_what_was_there_keeps_its_mode(self, make: Make) -> None:
        """A directory and a file that the owner opened to a group stay open to it."""
        Path("logs").mkdir(mode=0o700)
        Path("logs").chmod(0o775)
        Path("logs/expert.log").write_bytes(b"")
        Path("logs/expert.log").chmod(0o664)
        assert make().close()
        assert stat.S_IMODE(Path("logs").stat().st_mode) == 0o775
        assert stat.S_IMODE(Path("logs/expert.log").stat().st_mode) == 0o664


class TestSeveralLoggers:
    """Several loggers in one process, logging from threads of their own."""

    @pytest.mark.parametrize("place", ["same", "different"])
    def test_every_entry_once(self, make: Make, place: str) -> None:
        """With rotation and compression going on, in one directory or in one each."""
        loggers = [
            make(
                expert_name=f"e{n}",
                log_dir="logs" if place == "same" else f"logs/{n}",
                max_file_size=9000,
                backup_count=999,
                compress_backups=True,
                async_logging=n % 2 == 0,
            )
            for n in range(4)
        ]

        def run(logger: BoundLogger) -> None:
            for number in range(150):
                logger.error("m", number=number)
                logger.trade.debug("t", number=number)

        threads = [threading.Thread(target=run, args=(logger,)) for logger in loggers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for logger in loggers:
            assert logger.close()
            assert logger.stats()["dropped"] == 0
        for name in range(4):
            directory = "logs" if place == "same" else f"logs/{name}"
            for base, message in (("expert.log", "m"), ("errors.log", "m"), ("trades.log", "t")):
                ours = [e["number"] for e in entries(base, directory) if e["expert_name"] == f"e{name}"]
                assert ours == list(range(150)), (base, message)
        numbers = {e["sequence_id"] for base in ("expert.log", "trades.log") for e in entries(base, "logs")}
        assert place == "different" or numbers == set(range(1, 1201))

    def test_leaving_the_directory_of_the_program_changes_nothing(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relative log_dir is where it was when the logger was made."""
        logger = make(max_file_size=1000, backup_count=99)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        for number in range(20):
            logger.info("m", number=number)
        assert logger.close()
        assert list(Path.cwd().iterdir()) == []
        assert [entry["number"] for entry in entries("expert.log", "../logs")] == list(range(20))

    def test_a_new_logger_in_a_closed_ones_directory(self, make: Make, read_log: ReadLog) -> None:
        """Numbers go on, every line is valid, nothing is locked."""
        for run in range(5):
            logger = make(async_logging=run % 2 == 0)
            logger.info("m", run=run)
            assert logger.close()
            logger.info("after close")
        assert [entry["sequence_id"] for entry in read_log("logs/expert.log")] == [1, 2, 3, 4, 5]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
class TestLikeWindows:
    """A double of Windows: files in use cannot be renamed or deleted, locks are mandatory, there is no fork."""

    @pytest.fixture
    def windows(self, monkeypatch: pytest.MonkeyPatch) -> set[Path]:
        """The double; returns the files that others hold open."""
        others: set[Path] = set()
        rename, unlink = Path.rename, Path.unlink

        def refuse(path: Path) -> None:
            ours = {os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()}
            if str(path.resolve()) in ours or path.resolve() in others:
                raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))

        def guarded_rename(path: Path, target: Path) -> Path:
            refuse(path)
            return rename(path, target)

        def guarded_unlink(path: Path, missing_ok: bool = False) -> None:
            if path.exists():
                refuse(path)
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "rename", guarded_rename)
        monkeypatch.setattr(Path, "unlink", guarded_unlink)
        monkeypatch.setattr(directory, "RotatingFile", partial(RotatingFile, hold_open=False))
        monkeypatch.delattr(os, "register_at_fork")
        return others

    def test_rotation_and_compression(self, make: Make, windows: set[Path]) -> None:
        """Nothing of ours is held open while it is renamed or deleted: no trouble, no entry lost."""
        logger = make(max_file_size=5000, backup_count=99, compress_backups=True, async_logging=False)
        for number in range(200):
            logger.info("m", number=number)
            if number % 20 == 0:
                logger._logger.pipeline.directory.archivist.wait(10)
        assert logger.close()
        assert [path.suffix for path in chain("expert.log")[:-1]] == [".gz"] * (len(chain("expert.log")) - 1)
        assert [entry["number"] for entry in entries("expert.log")] == list(range(200))
        assert not Path("logs/logging_errors.log").exists()

    def test_a_reader_that_holds_the_file(
        self, make: Make, windows: set[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The file grows beyond its size, with one warning, and all is in it; it rotates when the reader has gone."""
        logger = make(max_file_size=5000, backup_count=99, async_logging=False)
        windows.add(Path("logs/expert.log").resolve())
        for number in range(100):
            logger.info("m", number=number)
        assert len(chain("expert.log")) == 1
        assert capsys.readouterr().err.count("cannot be rotated") == 1
        windows.clear()
        sink = logger._logger.pipeline.files[0][1].sink
        sink._retry_rotation_at = 1.0  # type: ignore[attr-defined]  # the pause is over
        logger.info("m", number=100)
        assert len(chain("expert.log")) == 2
        assert [entry["number"] for entry in entries("expert.log")] == list(range(101))


def test_the_files_are_there_at_once(make: Make) -> None:
    """SC-001: with default settings the three files stand under a second after the call, empty and valid."""
    began = time.monotonic()
    make()
    assert time.monotonic() - began < 1
    assert sorted(path.name for path in Path("logs").iterdir()) == [
        ".metaexpert",
        "errors.log",
        "expert.log",
        "trades.log",
    ]


@pytest.mark.soak
def test_nothing_is_left_after_many_lives(make: Make) -> None:
    """A hundred loggers opened, used and closed: as many descriptors and threads as before, and little memory."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    def life(number: int) -> None:
        logger = MetaLogger(
            log_dir=f"logs/{number % 3}",
            log_to_console=number % 2 == 0,
            console_level="CRITICAL",
            max_file_size=2000,
            compress_backups=True,
            async_logging=number % 4 != 0,
        )
        for _ in range(10):
            logger.trade.info("m")
        assert logger.close()

    life(0)
    before = held()
    for number in range(100):
        life(number)
    assert held() == before


def test_overflow_with_a_slow_disk_and_block_loses_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write takes its time; calls wait for room; every entry is there, in order."""
    really = os.write

    def slow(fd: int, data: Any) -> int:
        if len(data) > 100:
            time.sleep(0.01)
        return really(fd, data)

    logger = make(journal_size=4096, overflow="block", overflow_timeout=30)
    monkeypatch.setattr(os, "write", slow)
    for number in range(300):
        logger.info("m", number=number)
    assert logger.close()
    assert logger.stats()["dropped"] == 0
    assert read_all(logger) == 300
    assert [entry["number"] for entry in entries("expert.log")] == list(range(300))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_an_idle_process_wakes_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty bots on a small machine do not keep it awake; the entry after the rest is in its file as soon as ever."""
    monkeypatch.setattr("metaexpert.logger.files.writing_thread._IDLE", 0.1)
    logger = MetaLogger(log_dir=tmp_path, log_to_console=False, install=False)
    logger.info("before")
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "metaexpert-log"]
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def waits() -> int:
        """Return how often the thread has gone to sleep."""
        return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)[0])

    eventually(lambda: writing_thread._resting)
    before = waits()
    time.sleep(2.5)
    assert waits() - before <= 4
    logger.info("after")
    eventually(lambda: b'"after"' in (tmp_path / "expert.log").read_bytes(), 0.9)
    logger.close()
