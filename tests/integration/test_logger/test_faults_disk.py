"""Disks that are full, over quota, dying, read-only or without rights: trading goes on, the log tells the truth."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX limits and mounts")

#: What a program needs to be steered by its test: `step()` waits for the next line on its standard input.
STEERED = """
import json, os, sys, time
from metaexpert.logger import MetaLogger
longest = 0.0
def burst(logger, start, stop, **fields):
    global longest
    for number in range(start, stop):
        began = time.perf_counter()
        logger.info("m", number=number, **fields)
        longest = max(longest, time.perf_counter() - began)
def step(**facts):
    print(json.dumps({**facts, "longest": longest}), flush=True)
    return sys.stdin.readline().strip()
"""


class Steered:
    """A program that logs, waits, and goes on when told."""

    def __init__(self, program: Any, code: str, *args: object, **options: Any) -> None:
        self._program = program
        self.process = program.start(STEERED + code, *args, stdin=subprocess.PIPE, **options)

    def wait(self) -> dict[str, Any]:
        """Return what it says at its next step."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return dict(json.loads(line))

    def go(self, word: str = "") -> None:
        """Let it take the next step, and give it a word with it."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def next(self, word: str = "") -> dict[str, Any]:
        """Let it take the next step and return what it says then."""
        self.go(word)
        return self.wait()

    def until(self, health: str) -> None:
        """Let it step on until its health begins like this."""
        while not self.next()["health"].startswith(health):
            time.sleep(0.01)

    def end(self, returncode: int = 0) -> str:
        """Let it go on to its end and return its standard error."""
        self.go()
        err: str = self._program.finish(self.process, returncode)[1]
        return err


@pytest.mark.root
class TestFull:
    """A file system filled to its last byte."""

    @pytest.mark.parametrize(("kind", "size"), [("tmpfs", "8M"), ("ext4", "48M"), ("xfs", "320M")])
    def test_the_journal_must_grow_when_there_is_no_byte_left(
        self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any], kind: str, size: str
    ) -> None:
        """No call raises, waits or kills the process; what the journal holds is written when there is room."""
        disk = disks(size, kind)
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False, journal_size="4MB", max_file_size="100MB")
burst(logger, 0, 100)
assert logger.flush()
step()
burst(logger, 100, 8_000, filler="x" * 100)
flushed = logger.flush()
step(flushed=flushed, health=logger.health, stats=logger.stats())
assert logger.flush(20)
logger.close()
""",
            disk.path / "logs",
        )
        bot.wait()
        subprocess.run(
            ["sync", "-f", str(disk.path)], check=True
        )  # what is mapped is clean from here on, and is written into for the first time when there is no room
        disk.fill()
        full = bot.next()
        assert not full["flushed"]
        assert full["health"].startswith("degraded: No space left on device since ")
        assert full["stats"]["dropped"] == 0
        assert full["longest"] < 2
        disk.free()
        bot.end()
        found = logs(disk.path / "logs")
        assert found.numbers() == list(range(8_000))
        assert found.gaps() == []

    def test_full_and_free_over_and_over(
        self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any]
    ) -> None:
        """Under load, with rotation and a small journal: what is missing in the end is what was announced."""
        disk = disks("8M")
        bot = Steered(
            program,
            """
import threading
logger = MetaLogger(
    log_dir=sys.argv[1], log_to_console=False, journal_size="64KB", max_file_size=100_000, backup_count=999
)
stop, calls = threading.Event(), [0]
def work():
    while not stop.is_set():
        logger.info("m", number=calls[0])
        calls[0] += 1
        stop.wait(0.0005)
thread = threading.Thread(target=work)
thread.start()
while step(health=logger.health) != "stop":
    pass
stop.set()
thread.join()
assert logger.flush(20)
stats = logger.stats()
assert logger.close()
step(calls=calls[0], stats=stats)
""",
            disk.path / "logs",
        )
        bot.wait()
        for _ in range(3):
            disk.fill()
            bot.until("degraded")
            disk.free()
            bot.until("ok")
        end = bot.next("stop")
        bot.end()
        found = logs(disk.path / "logs")
        numbers, dropped = found.numbers(), sum(entry["dropped"] for entry in found.news("log.dropped"))
        assert numbers == sorted(set(numbers)), "each once, in order"
        assert len(numbers) + dropped == end["calls"]
        assert dropped == end["stats"]["dropped"]
        assert found.gaps() == []
        marks = [entry for entry in found.entries() if entry["message"] in ("log.degraded", "log.healed")]
        assert [entry["message"] for entry in marks] == ["log.degraded", "log.healed"] * (len(marks) // 2)
        assert len(marks) >= 6
        healed = found.news("log.healed")
        assert all(entry["duration"] > 0 and entry["reason"] == "No space left on device" for entry in healed)
        assert sum(entry["dropped"] for entry in healed) <= dropped

    def test_killed_while_it_is_full(self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any]) -> None:
        """What was in the journal on disk before it filled survives kill -9; the next start brings it in, once."""
        disk = disks("4M")
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False, max_file_size="100MB")
burst(logger, 0, 100)
assert logger.flush()
step()
burst(logger, 100, 200)
step(flushed=logger.flush(), kept=len(logger._logger.pipeline.directory.waiting_lines(durable=True)))
step()
""",
            disk.path / "logs",
        )
        bot.wait()
        disk.fill()
        full = bot.next()
        assert not full["flushed"]
        assert full["kept"] >= 100
        bot.process.kill()
        bot.process.communicate()
        disk.free()
        program(OPEN_AND_CLOSE, disk.path / "logs")
        found = logs(disk.path / "logs")
        assert found.numbers() == list(range(200))
        (news,) = found.news("log.recovered")
        assert news["recovered"] >= 100

    def test_closed_while_it_is_full(self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any]) -> None:
        """close says exactly how many entries no file took, and how many of them the next start brings in."""
        disk = disks("4M")
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False, journal_size="1MB", max_file_size="100MB")
burst(logger, 0, 10)
assert logger.flush()
step()
burst(logger, 10, 3_000)
assert not logger.close()
step(stats=logger.stats())
""",
            disk.path / "logs",
        )
        bot.wait()
        disk.fill()
        stats = bot.next()["stats"]
        assert stats["written"] + stats["failed"] + stats["dropped"] == 3_000 + 1, "calls, and log.degraded"
        said = bot.end()
        disk.free()
        program(OPEN_AND_CLOSE, disk.path / "logs")
        found = logs(disk.path / "logs")
        brought = sum(entry["recovered"] for entry in found.news("log.recovered"))
        assert f"closed with {stats['failed']} entries that no file took" in said
        assert f"the next start brings {brought} of them in from the journal" in said
        numbers = found.numbers()
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 10 + brought - 1


OPEN_AND_CLOSE = """
import sys
from metaexpert.logger import MetaLogger
logger = MetaLogger(expert_name="next", log_dir=sys.argv[1], log_to_console=False)
assert logger.close()
"""


class TestLimits:
    """Limits that the system sets for the process."""

    @pytest.mark.parametrize("mode", ["True", "False"])
    def test_a_limit_of_file_sizes(self, program: Any, logs: Callable[..., Any], mode: str) -> None:
        """RLIMIT_FSIZE: Python ignores SIGXFSZ, the write is refused; half a batch is taken back, then all is there."""
        program(
            f"""
            import resource
            from pathlib import Path
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, async_logging={mode})
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_001, resource.RLIM_INFINITY))
            for number in range(500):
                logger.info("m", number=number)
            assert not logger.flush()
            assert logger.health.startswith("degraded: File too large since "), logger.health
            data = Path("logs/expert.log").read_bytes()
            assert len(data) <= 30_001 and (not data or data.endswith(b"\\n")), len(data)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert logger.flush(10)
            assert logger.close()
            stats = logger.stats()
            assert stats["dropped"] == stats["failed"] == 0, stats
            """
        )
        assert logs().numbers() == list(range(500))
        assert logs().gaps() == []

    def test_no_descriptor_left(self, program: Any, logs: Callable[..., Any]) -> None:
        """RLIMIT_NOFILE used up, while a file has to be opened anew and the journal to grow."""
        program(
            """
            import os, resource
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size="100MB")
            logger.error("m", number=0)
            assert logger.flush()
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            held = []
            try:
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            os.rename("logs/errors.log", "logs/moved")
            for number in range(1, 20_000):
                logger.info("m", number=number)
            logger.error("m", number=20_000)
            logger.flush()
            for fd in held:
                os.close(fd)
            assert logger.flush(10)
            assert logger.close()
            assert logger.stats()["dropped"] == 0
            """
        )
        assert logs().numbers() == list(range(20_001))
        assert logs().gaps() == []

    def test_no_memory_for_the_journal(self, program: Any, logs: Callable[..., Any]) -> None:
        """RLIMIT_AS at what is used, so that no map can be made: no call raises, and what found no room is counted."""
        program(
            """
            import resource
            from pathlib import Path
            from metaexpert.logger.files.writing_thread import writing_thread
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, journal_size="64MB", max_file_size="100MB")
            logger.info("m", number=0)
            assert logger.flush()
            served, writing_thread._directories = writing_thread._directories, ()  # nothing is written for a while
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
            for number in range(1, 20_000):
                logger.info("m", number=number)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            writing_thread._directories = served
            assert logger.flush(10)
            assert logger.close()
            stats = logger.stats()
            assert stats["dropped"] + stats["failed"] > 1_000, stats
            entries = Path("logs/expert.log").read_text().count('"message":"m"')
            assert entries + stats["dropped"] + stats["failed"] == 20_000, (entries, stats)
            """
        )
        numbers = logs().numbers()
        assert numbers == sorted(set(numbers))


@pytest.mark.root
class TestBroken:
    """Disks that break while they are written."""

    @pytest.mark.parametrize(("fault", "reason"), [("die", "Input/output error"), ("abort", "Read-only file system")])
    def test_a_disk_that_fails_under_open_files(
        self, disks: Callable[..., Any], program: Any, fault: str, reason: str
    ) -> None:
        """An ext4 that dies, or goes read-only as after an error: errors and trades are seen, calls return."""
        disk = disks("32M", "ext4")
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False)
burst(logger, 0, 2_000)
assert logger.flush()
step()
burst(logger, 2_000, 12_000)
logger.error("an error", number=-1)
logger.trade.info("a trade", number=-2)
flushed = logger.flush(1)
step(flushed=flushed, health=logger.health)
logger.close(1)
""",
            disk.path / "logs",
        )
        bot.wait()
        disk.die() if fault == "die" else disk.remount("abort")
        broken = bot.next()
        assert not broken["flushed"]
        assert broken["health"].startswith(f"degraded: {reason} since ")
        assert broken["longest"] < 2
        said = bot.end()
        assert said.count("an error  ") == said.count("a trade  ") == 1

    @pytest.mark.parametrize("fsync", ["trades", "interval"])
    def test_a_power_failure(
        self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any], fsync: str
    ) -> None:
        """All that is not on the device is gone: with "trades" no trade whose call returned, with "interval" not
        what is older than some seconds; what is there is whole."""
        disk = disks("64M", "ext4")
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False, fsync=sys.argv[2])
for number in range(200):
    logger.info("m", number=number)
    if number % 10 == 0:
        logger.trade.info("t", number=number)
if sys.argv[2] == "interval":
    time.sleep(2.5)  # what is promised: about a second
step()
step()
""",
            disk.path / "logs",
            fsync,
        )
        bot.wait()
        disk.die()
        bot.process.kill()
        bot.process.communicate()
        disk.unmount()
        disk.mount()
        found = logs(disk.path / "logs")
        assert found.numbers("trades.log") == list(range(0, 200, 10))
        program(OPEN_AND_CLOSE, disk.path / "logs")
        assert found.numbers("trades.log") == list(range(0, 200, 10)), "recovery neither loses nor doubles"
        numbers = found.numbers(message="m")
        assert numbers == list(range(len(numbers)))
        if fsync == "interval":
            assert len(numbers) == 200

    def test_something_read_only_is_mounted_over_it(
        self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any]
    ) -> None:
        """The path leads to a read-only file system for a while: noticed, retried, and the backlog is written."""
        disk = disks("4M")
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False)
burst(logger, 0, 100)
assert logger.flush()
step()
burst(logger, 100, 200)
step(flushed=logger.flush(), health=logger.health)
assert logger.flush(20)
burst(logger, 200, 300)
assert logger.close()
""",
            disk.path / "logs",
        )
        bot.wait()
        over = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(disk.path / "logs")]
        subprocess.run(over, check=True)
        try:
            facts = bot.next()
        finally:
            subprocess.run(["umount", "-l", str(disk.path / "logs")], check=True)
        assert not facts["flushed"]
        assert facts["health"].startswith("degraded: Read-only file system since ")
        bot.end()
        found = logs(disk.path / "logs")
        assert found.numbers() == list(range(300))
        assert found.gaps() == []

    def test_a_quota(self, disks: Callable[..., Any], program: Any, logs: Callable[..., Any]) -> None:
        """EDQUOT, by a btrfs: the log directory is over its quota, and is not any more."""
        disk = disks("128M", "btrfs")
        place = disk.path / "limited"
        enable = subprocess.run(["btrfs", "quota", "enable", str(disk.path)], check=False, capture_output=True)
        if enable.returncode:
            pytest.skip("this kernel's btrfs has no quotas")
        subprocess.run(["btrfs", "subvolume", "create", str(place)], check=True, capture_output=True)
        subprocess.run(["btrfs", "qgroup", "limit", "64K", str(place)], check=True)
        bot = Steered(
            program,
            """
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False)
burst(logger, 0, 2_000)
logger.error("an error", number=2_000)
step(flushed=logger.flush(), health=logger.health)
assert logger.flush(20)
assert logger.close()
""",
            place / "logs",
        )
        over = bot.wait()
        subprocess.run(["btrfs", "qgroup", "limit", "none", str(place)], check=True)
        assert not over["flushed"]
        assert over["health"].startswith("degraded: Disk quota exceeded since ")
        assert "an error  " in bot.end()
        assert logs(place / "logs").numbers() == list(range(2_001))


@pytest.mark.root
class TestRights:
    """Rights that are taken away and given back, from a program that is not root."""

    @pytest.fixture
    def place(self) -> Iterator[Path]:
        """A directory that another user can reach; pytest's own are closed to him."""
        if os.geteuid() != 0:
            pytest.skip("needs root")
        made = Path(tempfile.mkdtemp())
        made.chmod(0o755)
        yield made
        shutil.rmtree(made)

    def test_rights_taken_away_while_it_runs(self, program: Any, place: Path, logs: Callable[..., Any]) -> None:
        """It cannot rotate: the file grows, told once; it cannot make a file anew: degraded, until it may again."""
        (place / "logs").mkdir()
        os.chown(place / "logs", 65534, 65534)
        bot = Steered(
            program,
            """
os.setegid(65534); os.seteuid(65534)
logger = MetaLogger(log_dir=sys.argv[1], log_to_console=False, max_file_size=20_000, backup_count=99)
burst(logger, 0, 10)
assert logger.flush()
step()
burst(logger, 10, 500)
step(flushed=logger.flush(), health=logger.health)
burst(logger, 500, 510)
step(flushed=logger.flush(), health=logger.health)
assert logger.flush(20)
burst(logger, 510, 1_000)
assert logger.close()
""",
            place / "logs",
            cwd=place,
        )
        bot.wait()
        os.chown(place / "logs", 0, 0)
        (place / "logs").chmod(0o755)
        cannot_rotate = bot.next()
        assert cannot_rotate["flushed"]
        assert (place / "logs/expert.log").stat().st_size > 20_000
        (place / "logs/expert.log").rename(place / "logs/expert.log.1")
        cannot_make = bot.next()
        assert not cannot_make["flushed"]
        assert cannot_make["health"].startswith("degraded: Permission denied since ")
        os.chown(place / "logs", 65534, 65534)
        said = bot.end()
        assert said.count("cannot be rotated and goes on growing") <= 2, "the first, and the summary at the end"
        found = logs(place / "logs")
        assert found.numbers() == list(range(1_000))
        assert found.gaps() == []

    @pytest.mark.parametrize("command", ["config check", "run expert.py --data bars.csv"])
    def test_the_command_line_refuses_to_start(
        self, tmp_path: Path, python: str, disks: Callable[..., Any], command: str
    ) -> None:
        """On a read-only disk: exit code 2, one line that names the directory and the reason, and nothing is made."""
        disk = disks("1M")
        disk.remount("ro")
        examples = Path(__file__).parents[3] / "examples"
        shutil.copy(examples / "expert_ema_cross.py", "expert.py")
        shutil.copy(examples / "data" / "eurusd_1h.csv", "bars.csv")
        before = sorted(path.name for path in tmp_path.rglob("*"))
        words = [python, "-B", "-m", "metaexpert", *command.split()]
        environment = {**os.environ, "METAEXPERT_LOG_DIR": str(disk.path / "logs")}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        (line,) = [line for line in " ".join(done.stderr.split()).split("error: ") if line]
        assert "is not writable: Read-only file system" in line
        assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_working_directory_that_was_deleted(program: Any, tmp_path: Path) -> None:
    """A relative log_dir leads nowhere: MetaLogger does not raise, errors are on stderr, health says why."""
    said = program(
        """
        import os
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False)
        logger.error("an error")
        assert not logger.flush()
        assert logger.health.startswith("degraded: No such file or directory since ")
        logger.close()
        """
    )
    assert said.count("[error] an error") == 1


def test_a_write_that_never_returns(program: Any) -> None:
    """A sleep stands for a dead network disk: flush, close and exit give up, the health says why."""
    program(
        """
        import time
        from metaexpert.logger.files._rotating_file import RotatingFile
        RotatingFile.write = lambda *_: time.sleep(3600)
        import metaexpert.logger.files.writing_thread
        import metaexpert.logger.hub.pipeline
        metaexpert.logger.files.writing_thread.LONGEST_HANG = 0.5
        metaexpert.logger.hub.pipeline._END_PATIENCE = 0.5
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False)
        began = time.monotonic()
        for number in range(3_000):
            logger.info("m", number=number, filler="x" * 100)
        assert time.monotonic() - began < 2
        assert not logger.flush()
        assert logger.health.startswith("degraded: a write does not return since "), logger.health
        metaexpert.logger.files.writing_thread.LONGEST_HANG = 15
        began = time.monotonic()
        assert not logger.flush()
        assert time.monotonic() - began < 5, "known to hang: no second wait"
        """,
        patience=30,
    )


def test_a_disk_that_stalls_holds_up_no_other_directory(program: Any, logs: Callable[..., Any]) -> None:
    """One disk takes neither writes nor, elsewhere, directories: on another, all is as ever, the end included."""
    program(
        """
        import os, threading, time
        import metaexpert.logger.files.open_directories as opening
        from metaexpert.logger.files._rotating_file import RotatingFile
        from metaexpert.logger.files.log_file import LogFile
        make, stalls, inside = opening.make_directory, False, threading.Event()
        def stalling(really):
            def write(file, *args, **options):
                if stalls and "stalled" in str(file.path):
                    inside.set()
                    time.sleep(3600)
                return really(file, *args, **options)
            return write
        def make_directory(path):
            if "stuck" in str(path):
                inside.set()
                time.sleep(3600)
            make(path)
        RotatingFile.write, opening.make_directory = stalling(RotatingFile.write), make_directory
        RotatingFile.append = stalling(RotatingFile.append)
        regular = LogFile.regular
        def left_to_python(file, **options):  # the core would write past the doubles
            return None if stalls and "stalled" in str(file.sink.path) else regular(file, **options)
        LogFile.regular = left_to_python
        from metaexpert.logger import MetaLogger
        def made(name, **options):
            return MetaLogger(log_dir=name, log_to_console=False, install=False, max_file_size=20_000,
                              backup_count=99, **options)
        stalled, earlier = made("stalled"), made("logs")
        stalls = True
        for number in range(300):
            stalled.info("m", number=number, filler="x" * 100)
        assert inside.wait(20)
        inside.clear()
        threading.Thread(target=made, args=("stuck",), daemon=True).start()
        assert inside.wait(20)
        for number, options in enumerate([{}, {"async_logging": False}, {"fsync": "trades"}]):
            began = time.monotonic()
            later = made(f"logs{number}", **options)
            for entry in range(300):
                (later.trade if not entry else later).info("m", number=entry, filler="x" * 100)
                earlier.info("m", number=300 * number + entry, filler="x" * 100)
            assert later.flush() and earlier.flush()
            assert later.health == earlier.health == "ok", (later.health, earlier.health)
            assert later.close()
            took = time.monotonic() - began
            assert took < 15, took
        began = time.monotonic()
        assert not stalled.flush(0.3)
        assert not stalled.close(0.3)
        assert earlier.close()
        assert time.monotonic() - began < 15
        os._exit(0)
        """,
        patience=60,
    )
    assert logs().numbers() == list(range(900))
    assert all(logs(f"logs{number}").numbers() == list(range(300)) for number in range(3))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX has these files")
@pytest.mark.parametrize(
    ("place", "name", "options"),
    [
        (os.mkfifo, "errors.log", {}),
        (os.mkfifo, "expert.log", {"async_logging": False}),
        (lambda path: Path(path).symlink_to("/dev/zero"), "errors.log", {"fsync": "trades"}),
        (lambda path: Path(path).symlink_to(os.ttyname(os.openpty()[1])), "expert.log", {}),
        (os.mkdir, "errors.log", {"async_logging": False}),
    ],
    ids=["pipe", "pipe-synchronous", "device", "terminal", "directory"],
)
def test_a_log_file_that_is_no_file(
    make: Any, read_log: Callable[..., Any], place: Callable[[str], None], name: str, options: dict[str, Any]
) -> None:
    """No call waits for it, the health tells it, the other files have all, and `close` keeps to its timeout."""
    Path("logs").mkdir()
    place(f"logs/{name}")
    os.mkfifo("logs/logging_errors.log")
    logger = make(**options)
    for number in range(20):
        logger.info("m", number=number)
        logger.trade.error("t", number=number)
    assert not logger.flush(0.2)
    assert logger.health.startswith(
        ("degraded: Is a directory since", f"degraded: {name} is not a regular file since")
    ), logger.health
    began = time.monotonic()
    assert not logger.close(0.5)
    assert time.monotonic() - began < 4
    other = "expert.log" if name == "errors.log" else "errors.log"
    assert [e["number"] for e in read_log(f"logs/{other}") if e["message"] == "t"] == list(range(20))
    assert len(read_log("logs/trades.log")) == 20


@pytest.mark.root
def test_a_segment_that_somebody_truncates(program: Any, logs: Callable[..., Any]) -> None:
    """The limit that the guarantees name: it kills the process (SIGBUS); files and the next start are not harmed."""
    process = program.start(
        """
        import glob, os
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False)
        logger.info("m", number=0)
        assert logger.flush()
        for path in glob.glob("logs/.metaexpert/*.segment"):
            os.truncate(path, 0)
        for number in range(1, 10_000):
            logger.info("m", number=number)
        """
    )
    program.finish(process, returncode=-signal.SIGBUS)
    program(OPEN_AND_CLOSE, "logs")
    assert logs().numbers() == [0]
