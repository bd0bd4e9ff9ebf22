"""Real faults: files taken away, disks full or read-only, permissions missing, consoles closed, broken or blocked."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import BoundLogger

Make = Callable[..., BoundLogger]
Run = Callable[..., subprocess.CompletedProcess[bytes]]
ReadLog = Callable[..., list[dict[str, Any]]]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files can be moved and deleted while they are open")


@pytest.fixture
def run(tmp_path: Path, python: str) -> Run:
    """A function that runs a program, optionally in a shell command with `PROGRAM` in it; a hang fails."""

    def call(code: str, shell: str | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(code), "utf-8")
        command = [python, "-X", "faulthandler", "-W", "error", str(program)]
        if shell is not None:
            command = ["sh", "-c", shell.replace("PROGRAM", " ".join(command))]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **options}
        unread = options.pop("unread", False)
        process = subprocess.Popen(command, **options)
        try:
            if unread:
                process.wait(timeout=40)
            out, err = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT) if hasattr(os, "killpg") else process.kill()
            raise AssertionError(f"it hung:\n{process.communicate()[1]!r}") from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return call


def numbers(path: str | Path) -> list[int]:
    """Return the numbers in a log file, every line of which is whole."""
    data = Path(path).read_bytes()
    assert data == b"" or data.endswith(b"\n"), "torn"
    return [entry["number"] for entry in map(json.loads, data.splitlines()) if "number" in entry]


@posix
class TestTakenAway:
    """Somebody deletes, moves or empties files while they are written."""

    @pytest.mark.parametrize("mode", ["async", "sync"])
    def test_a_deleted_file(self, make: Make, mode: str) -> None:
        """`rm logs/*.log`: noticed within a second although nothing is logged; nothing logged later is lost."""
        logger = make(async_logging=mode == "async")
        logger.info("m", number=0)
        logger.flush()
        for path in Path("logs").glob("*.log"):
            path.unlink()
        eventually(lambda: len(list(Path("logs").glob("*.log"))) == 3, patience=1.5)
        for number in range(1, 50):
            logger.info("m", number=number)
        assert logger.flush()
        assert numbers("logs/expert.log") == list(range(1, 50))
        assert logger.health == "ok"

    def test_files_deleted_all_the_time(self, make: Make) -> None:
        """Entries may go with a file that is deleted after they were written, never before: the last ones are there."""
        logger = make()
        for turn in range(30):
            for number in range(20):
                logger.error("m", number=turn * 20 + number)
            Path("logs/expert.log").unlink(missing_ok=True)
            logger.info("m", number=10_000 + turn)
            assert logger.flush()
            assert numbers("logs/expert.log")[-1] == 10_000 + turn
        assert numbers("logs/errors.log") == list(range(600))

    def test_a_moved_file(self, make: Make) -> None:
        """As logrotate does: what was written moves along, the rest is in a new file, all of it once."""
        logger = make()
        for turn in range(10):
            for number in range(50):
                logger.info("m", number=turn * 50 + number)
            eventually(Path("logs/expert.log").exists)
            Path("logs/expert.log").rename(f"logs/moved-{turn}")
        assert logger.close()
        found = [number for turn in range(10) for number in numbers(f"logs/moved-{turn}")]
        if Path("logs/expert.log").exists():
            found += numbers("logs/expert.log")
        assert found == list(range(500))

    def test_an_emptied_file(self, make: Make) -> None:
        """`> logs/expert.log`: what follows stands at the beginning, without a hole."""
        logger = make()
        logger.info("m" * 5000, number=0)
        logger.flush()
        Path("logs/expert.log").write_bytes(b"")
        logger.info("m", number=1)
        assert logger.close()
        assert numbers("logs/expert.log") == [1]

    @pytest.mark.parametrize("mode", ["async", "sync"])
    def test_the_whole_directory_over_and_over(self, make: Make, mode: str) -> None:
        """`rm -rf logs` by another thread while two log: no exception; after the last one everything is there."""
        logger, stop = make(async_logging=mode == "async", max_file_size=5000), threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not stop.is_set():
                    logger.error("busy")
                    logger.trade.info("busy")
                    stop.wait(0.0005)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(15):
            shutil.rmtree("logs", ignore_errors=True)
            eventually(lambda: Path("logs/expert.log").exists())
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert logger.flush(10)

        def taken_away() -> bool:
            shutil.rmtree("logs", ignore_errors=True)  # the thread that sees to backups may be at work there
            return not Path("logs").exists()

        eventually(taken_away)
        for number in range(20):
            logger.error("m", number=number)
        assert logger.flush(10)
        assert numbers("logs/expert.log") == numbers("logs/errors.log") == list(range(20))
        assert logger.close()

    def test_a_directory_moved_away(self, make: Make) -> None:
        """`mv logs old`: what was written is in the old place, the rest in a new one."""
        logger = make()
        logger.info("m", number=0)
        logger.flush()
        Path("logs").rename("old")
        logger.info("m", number=1)
        assert logger.close()
        assert (numbers("old/expert.log"), numbers("logs/expert.log")) == ([0], [1])

    def test_something_else_stands_where_a_file_should_be(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """A directory named trades.log: that file waits, the others go on, and it heals when the way is free."""
        Path("logs/trades.log").mkdir(parents=True)
        logger = make()
        logger.trade.info("m", number=0)
        logger.info("m", number=1)
        assert logger.flush() is False
        assert numbers("logs/expert.log") == [0, 1]
        assert logger.health.startswith("degraded: Is a directory since ")
        Path("logs/trades.log").rmdir()
        assert logger.flush()
        assert numbers("logs/trades.log") == [0]
        eventually(lambda: logger.health == "ok")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB, mounted for the test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fill *disk* to its last byte; return the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


@pytest.mark.root
class TestDisk:
    """Disks that are full or read-only."""

    @pytest.mark.parametrize("mode", ["async", "sync"])
    def test_a_disk_that_fills_up_and_gets_space_again(
        self, make: Make, small_disk: Path, read_log: ReadLog, capsys: pytest.CaptureFixture[str], mode: str
    ) -> None:
        """No call raises, errors and trades are seen, no line is torn; then the whole backlog is there, in order."""
        logger = make(log_dir=small_disk / "logs", async_logging=mode == "async", backup_count=0)
        for number in range(10):
            logger.info("m" * 300, number=number)
        assert logger.flush()
        ballast = fill(small_disk)
        for number in range(10, 200):
            logger.info("m" * 300, number=number)
        logger.error("an error", number=200)
        logger.trade.info("a trade", number=201)
        assert logger.flush() is False
        eventually(lambda: logger.health.startswith("degraded: No space left on device since "))
        shown = capsys.readouterr().err
        assert "an error" in shown
        assert "a trade" in shown
        stored = numbers(small_disk / "logs" / "expert.log")
        assert stored == list(range(len(stored))), "no half a batch, no torn line"
        ballast.unlink()
        assert logger.flush(20)
        eventually(lambda: logger.health == "ok")
        logger.info("m", number=202)
        assert logger.close()
        found = read_log(small_disk / "logs" / "expert.log")
        assert [entry["number"] for entry in found if "number" in entry] == list(range(203))
        marks = [entry for entry in found if entry["message"].startswith("log.")]
        assert [entry["message"] for entry in marks] == ["log.degraded", "log.healed"]
        assert marks[0]["reason"] == marks[1]["reason"] == "No space left on device"
        assert numbers(small_disk / "logs" / "errors.log") == [200]
        assert sorted(entry["sequence_id"] for entry in found) == list(range(1, len(found) + 1))
        troubles = read_log(small_disk / "logs" / "logging_errors.log")
        assert all(entry["logger"] == "metaexpert.logger" for entry in troubles)

    def test_a_disk_that_is_full_from_the_start(
        self, make: Make, small_disk: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Even the directory cannot be made: the console has it, and the files when there is room."""
        ballast = fill(small_disk)
        for inode in range(1000):  # tmpfs counts directories against its inodes only: use those up too
            try:
                (small_disk / f"inode-{inode}").touch()
            except OSError:
                break
        logger = make(log_dir=small_disk / "logs", log_to_console=True)
        logger.error("m", number=0)
        assert logger.flush() is False
        assert logger.health.startswith("degraded")
        assert capsys.readouterr().err.count("[error] m") == 1
        for path in [ballast, *small_disk.glob("inode-*")]:
            path.unlink()
        assert logger.flush(20)
        assert numbers(small_disk / "logs" / "expert.log") == [0]

    def test_a_full_disk_with_a_full_buffer(
        self, make: Make, small_disk: Path, read_log: ReadLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What does not fit the buffer is counted and announced when it heals; numbers have no gap."""
        logger = make(log_dir=small_disk / "logs", journal_size=8192, backup_count=0)
        ballast = fill(small_disk)
        for number in range(500):
            logger.info("m", number=number)
        eventually(lambda: logger.health != "ok")
        for number in range(200):
            logger.error("e", number=number)
        dropped = logger.stats()["dropped_by_level"]
        assert set(dropped) == {"info", "error"}
        assert capsys.readouterr().err.count("[error] e ") >= dropped["error"]
        ballast.unlink()
        assert logger.flush(20)
        assert logger.close()
        found = read_log(small_disk / "logs" / "expert.log")
        news = [entry for entry in found if entry["message"] == "log.dropped"]
        assert {level: sum(e["by_level"].get(level, 0) for e in news) for level in dropped} == dropped
        assert sorted(entry["sequence_id"] for entry in found) == list(range(1, len(found) + 1))
        assert logger.stats()["written"] + sum(dropped.values()) == 700 + len(news) + 2

    def test_rotation_on_a_small_disk_keeps_within_its_budget(self, make: Make, small_disk: Path) -> None:
        """With max_total_size below the disk's size, a bot logs for ever."""
        logger = make(
            log_dir=small_disk / "logs", max_file_size=8000, backup_count=999, max_total_size=60_000, overflow="block"
        )
        for number in range(2000):
            logger.info("m", number=number)
            if number % 20 == 0:
                logger.flush()
        assert logger.close()
        assert numbers(small_disk / "logs" / "expert.log")[-1] == 1999
        assert logger.stats()["dropped"] == 0

    def test_a_read_only_disk(self, make: Make, small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """At the start and later: the logger goes on, and writes what it kept when it may."""
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        logger = make(log_dir=small_disk / "logs")
        assert logger.health.startswith("degraded: Read-only file system since ")
        logger.error("m", number=0)
        assert logger.flush() is False
        assert capsys.readouterr().err.count("[error] m") == 1
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert logger.flush(20)
        assert numbers(small_disk / "logs" / "expert.log") == [0]
        logger.close()

    def test_missing_permission(self, run: Run, tmp_path: Path) -> None:
        """As another user, in a directory that is not his: no exception, errors on stderr, exit code 0."""
        if not hasattr(os, "seteuid") or os.geteuid() != 0:
            pytest.skip("needs root")
        result = run(
            """
            import os
            from metaexpert.logger import MetaLogger
            os.mkdir("theirs", 0o755)
            place = os.path.abspath("theirs/logs")
            os.chdir("/")
            os.seteuid(65534)
            logger = MetaLogger(log_dir=place, log_to_console=False)
            assert logger.health.startswith("degraded: Permission denied since "), logger.health
            logger.info("an info")
            logger.error("an error")
            assert not logger.flush()
            os.seteuid(0)
            assert logger.flush(20)
            os.seteuid(65534)
            logger.error("another error")
            assert logger.flush() or logger.stats()["failed"] == 0
            """
        )
        assert result.returncode == 0, result.stderr.decode()
        assert b"an error" in result.stderr
        assert b"an info" not in result.stderr
        assert "an info" in (tmp_path / "theirs" / "logs" / "expert.log").read_text()


LOUD = """
    import sys, time
    from metaexpert.logger import MetaLogger
    logger = MetaLogger(async_logging={asynchronous})
    began = time.monotonic()
    for number in range({count}):
        logger.info("m", number=number)
    logged = time.monotonic() - began
    flushed = logger.flush()
    written = time.monotonic() - began
    logger.close()
    closed = time.monotonic() - began
    stats = logger.stats()
    import json, pathlib
    result = dict(flushed=flushed, logged=logged, written=written, closed=closed, stats=stats)
    pathlib.Path("result.json").write_text(json.dumps(result))
"""


def outcome() -> dict[str, Any]:
    """Return what the loud program measured."""
    result: dict[str, Any] = json.loads(Path("result.json").read_bytes())
    return result


@posix
class TestConsole:
    """Consoles that are gone, broken, narrow or blocked."""

    @pytest.mark.parametrize("shell", ["PROGRAM 2>&-", "PROGRAM >&- 2>&-", "PROGRAM <&- >&- 2>&-"])
    def test_closed_streams(self, run: Run, shell: str) -> None:
        """The files go on, and nothing that C code prints on a closed stream gets into them."""
        result = run(
            """
            import os
            from metaexpert.logger import MetaLogger
            logger = MetaLogger()
            for number in range(20):
                logger.error("m", number=number)
                for fd in (1, 2):
                    try:
                        os.write(fd, b"printed by C code")
                    except OSError:
                        pass
            assert logger.close()
            """,
            shell,
        )
        assert result.returncode == 0, result.stderr
        assert numbers("logs/expert.log") == numbers("logs/errors.log") == list(range(20))

    @pytest.mark.parametrize("asynchronous", [True, False])
    def test_a_broken_pipe(self, run: Run, asynchronous: bool) -> None:
        """`bot 2>&1 | head -1`: the console ends, once; the files go on and the exit code is 0."""
        result = run(
            LOUD.format(count=2000, asynchronous=asynchronous), "(PROGRAM; echo $? > code) 2>&1 | head -1; true"
        )
        assert result.stdout.count(b"\n") == 1
        assert Path("code").read_text() == "0\n"
        assert numbers("logs/expert.log") == list(range(2000))
        assert "the console does not work" in Path("logs/logging_errors.log").read_text()

    def test_no_standard_error_object(self, run: Run) -> None:
        """pythonw has None for both streams."""
        result = run(
            "import sys\nsys.stdout = sys.stderr = None\n" + textwrap.dedent(LOUD).format(count=50, asynchronous=True)
        )
        assert result.returncode == 0
        assert numbers("logs/expert.log") == list(range(50))

    def test_an_ascii_terminal(self, run: Run) -> None:
        """What it cannot hold is escaped; the files have it as it was."""
        result = run(
            """
            from metaexpert.logger import MetaLogger
            logger = MetaLogger()
            logger.info("Preis 5 € → 日本", number=1)
            """,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        )
        assert result.returncode == 0, result.stderr
        assert rb"5 \u20ac \u2192 \u65e5" in result.stderr
        assert "Preis 5 € → 日本" in Path("logs/expert.log").read_text("utf-8")

    @pytest.mark.parametrize("asynchronous", [True, False])
    @pytest.mark.parametrize("to", ["pipe", "file"])
    def test_a_healthy_console_gets_everything(self, run: Run, asynchronous: bool, to: str) -> None:
        """A short program that logs a burst and ends: every line is there, in order, in a pipe or a file."""
        count = 4000 if asynchronous else 1000
        shell = "PROGRAM 2> console" if to == "file" else "PROGRAM"
        result = run(LOUD.format(count=count, asynchronous=asynchronous), shell)
        shown = Path("console").read_bytes() if to == "file" else result.stderr
        assert [int(line.rpartition(b"number=")[2]) for line in shown.splitlines()] == list(range(count))
        assert outcome()["stats"]["dropped_by_route"] == {}

    @pytest.mark.parametrize("asynchronous", [True, False])
    def test_a_pipe_that_nobody_reads_does_not_hold_up_the_files(self, run: Run, asynchronous: bool) -> None:
        """All entries are in the files as fast as with a console that takes everything; the end waits two seconds."""
        count = 5000 if asynchronous else 1500
        program = LOUD.format(count=count, asynchronous=asynchronous)
        run(program, "PROGRAM 2> /dev/null")
        free = outcome()
        shutil.rmtree("logs")
        blocked_run = run(program, unread=True, stdout=subprocess.DEVNULL)
        blocked = outcome()
        assert blocked_run.returncode == 0
        assert blocked["flushed"]
        assert numbers("logs/expert.log") == list(range(count))
        assert blocked["written"] < free["written"] * 3 + 1, (free, blocked)
        assert blocked["closed"] - blocked["written"] < 4
        skipped = blocked["stats"]["dropped_by_route"]["console"]
        shown = [line for line in blocked_run.stderr.splitlines() if b"number=" in line]
        assert count - 300 <= len(shown) + skipped <= count + 1
        assert len(shown) > 100

    def test_a_slow_reader_gets_everything_that_fits_its_time(self, run: Run) -> None:
        """It reads after a while: what waits at close is printed."""
        result = run(LOUD.format(count=3000, asynchronous=True), "PROGRAM 2>&1 | (sleep 1; cat)")
        assert result.stdout.count(b"number=") == 3000

    def test_the_last_resort_does_not_wait_either(self, run: Run) -> None:
        """Errors that no file takes go to a standard error that nobody reads: the calls return."""
        result = run(
            """
            import time
            from metaexpert.logger import MetaLogger
            open("file", "w").close()
            logger = MetaLogger(log_dir="file/logs", log_to_console=False, journal_size=4096)
            began = time.monotonic()
            for number in range(3000):
                logger.error("e" * 100, number=number)
            assert time.monotonic() - began < 20
            assert logger.stats()["dropped"] > 2000
            logger.close(1)
            open("done", "w").close()
            """,
            unread=True,
        )
        assert result.returncode == 0
        assert Path("done").exists()
        assert b"number=0\n" in result.stderr


def test_two_processes_of_which_one_is_stopped(make: Make, run: Run, python: str, tmp_path: Path) -> None:
    """A process that is stopped while it holds the lock (a debugger, Ctrl-Z) delays us; nothing is lost by it."""
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    holder = tmp_path / "holder.py"
    holder.write_text(
        "import sys\nfrom pathlib import Path\nfrom metaexpert.logger.system.locks import DirectoryLock\n"
        "with DirectoryLock(Path('logs/.metaexpert/lock')):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    logger = make()
    process = subprocess.Popen([python, str(holder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    logger.info("m", number=0)
    assert time.monotonic() - began < 1
    eventually(lambda: "another process holds the lock" in logger.health)
    process.kill()
    process.communicate()
    assert logger.flush(20)
    assert numbers("logs/expert.log") == [0]


@pytest.fixture
def stopped(python: str) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """A function that starts a process, which is stopped while it holds a lock of the log directory, by its name."""
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    started: list[subprocess.Popen[bytes]] = []

    def stop(name: str) -> subprocess.Popen[bytes]:
        code = (
            "import sys\nfrom pathlib import Path\nfrom metaexpert.logger.system.locks import DirectoryLock\n"
            f"with DirectoryLock(Path('logs/.metaexpert/{name}')):\n"
            "    print('held', flush=True)\n    sys.stdin.read()\n"
        )
        process = subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        return process

    yield stop
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("options", [{}, {"async_logging": False}, {"fsync": "trades"}])
def test_a_stopped_neighbour_delays_nothing_for_long(
    make: Make, stopped: Callable[[str], subprocess.Popen[bytes]], options: dict[str, Any]
) -> None:
    """A new logger, each call, `flush` and `close` go on, and the health names the process, where the system tells."""
    process = stopped("lock")
    holder = f": {process.pid} (" if sys.platform == "linux" else ""
    began = time.monotonic()
    logger = make(**options)
    logger.trade.error("t", number=0)
    eventually(lambda: f"another process holds the lock{holder}" in logger.health)
    assert time.monotonic() - began < 5
    began = time.monotonic()
    for number in range(1, 6):
        logger.trade.error("t", number=number)
    assert not logger.flush(0.2)
    assert not logger.close(1)
    assert time.monotonic() - began < 5
    process.kill()
    process.communicate()
    make().close()
    assert numbers("logs/trades.log") == list(range(6))


def test_a_neighbour_that_was_stopped_while_it_compresses(
    make: Make, stopped: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """`close` leaves the backups to the next start."""
    stopped("archive")
    logger = make(compress_backups=True, max_file_size=1)
    logger.info("m", number=0)
    logger.info("m", number=1)
    began = time.monotonic()
    assert logger.close()
    assert time.monotonic() - began < 20
    assert Path("logs/expert.log.1").exists()


@pytest.mark.parametrize("frozen", [("monotonic",), ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")])
def test_clocks_that_stand_still(make: Make, monkeypatch: pytest.MonkeyPatch, frozen: tuple[str, ...]) -> None:
    """As freezegun and time-machine freeze them: `flush`, `close` and a call that waits for room come to their end."""
    Path("logs/expert.log").mkdir(parents=True)
    logger, real = make(overflow="block", overflow_timeout=0.02, journal_size="16KB"), time.monotonic
    began = real()
    for name in frozen:
        monkeypatch.setattr(time, name, itertools.repeat(getattr(time, name)()).__next__)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for number in range(150):
        logger.info("x" * 200, number=number)
    assert logger.stats()["dropped"] > 0
    assert not logger.flush(timeout=0.3)
    assert not logger.close(0.3)
    assert real() - began < 30
