"""Files, directory, journal and descriptors in somebody else's hands: rm, mv, truncate, logrotate, a daemon's close."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import BoundLogger, MetaLogger
from metaexpert.logger.system.calls import PATIENT, QUICK

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX files can be moved and deleted while they are open")

Eventually = Callable[..., None]


def quiet(**options: Any) -> BoundLogger:
    """Return a logger without a console."""
    return MetaLogger(install=False, **{"log_to_console": False, **options})


class Load:
    """A thread that logs numbers until it is stopped."""

    def __init__(self, logger: BoundLogger, pause: float = 0.0003) -> None:
        self._logger = logger
        self._pause = pause
        self._stop = threading.Event()
        self.calls = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._logger.info("m", number=self.calls)
                self.calls += 1
                self._stop.wait(self._pause)
        except BaseException as error:
            self.failure = error

    def stop(self) -> int:
        """Stop it; return how many calls there were. An exception of a call fails the test."""
        self._stop.set()
        self._thread.join()
        assert self.failure is None
        return self.calls


def from_files(*paths: Path) -> list[int]:
    """Return the numbers in files, none of whose lines is torn."""
    found = []
    for path in paths:
        data = path.read_bytes()
        assert data == b"" or data.endswith(b"\n"), path
        found += [entry["number"] for entry in map(json.loads, data.splitlines()) if "number" in entry]
    return found


class TestLogrotate:
    """The real logrotate, as Debian's timer runs it."""

    @pytest.fixture
    def rotate(self, tmp_path: Path) -> Callable[[str], None]:
        """A function that runs logrotate once with these directives."""
        binary = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None:
            pytest.skip("needs logrotate")

        def run(directives: str) -> None:
            rules = tmp_path / "logrotate.conf"
            user = ["su root root"] if os.geteuid() == 0 else []
            lines = [*directives.splitlines(), "rotate 50", "size 1", "missingok", "olddir ../rotated", *user]
            rules.write_text(f"{tmp_path}/logs/*.log {{\n" + "".join(f"  {line.strip()}\n" for line in lines) + "}\n")
            rules.chmod(0o644)
            (tmp_path / "rotated").mkdir(exist_ok=True)
            done = subprocess.run(
                [binary, "--state", str(tmp_path / "state"), "--force", str(rules)],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

        return run

    @pytest.mark.parametrize("directives", ["create 0640", "nocreate", "create 0640\ncompress\ndelaycompress"])
    def test_rename(self, rotate: Callable[[str], None], logs: Callable[..., Any], directives: str) -> None:
        """`create` and `nocreate`, under load: every entry is in the one or the other file, once."""
        logger = quiet()
        load = Load(logger)
        for _ in range(8):
            seen = load.calls
            while load.calls < seen + 100:
                os.sched_yield()
            rotate(directives)
        calls = load.stop()
        assert logger.close()
        assert logger.stats()["dropped"] == 0
        found = logs("rotated").numbers() + logs().numbers()
        assert sorted(found) == list(range(calls))

    def test_copytruncate(self, rotate: Callable[[str], None], logs: Callable[..., Any]) -> None:
        """`copytruncate`: what comes while it copies may go with the truncation; nothing else, no hole."""
        logger = quiet()
        load = Load(logger)
        windows = []
        for _ in range(8):
            seen = load.calls
            while load.calls < seen + 100:
                os.sched_yield()
            logger.flush()
            begin = load.calls - 1
            rotate("copytruncate")
            windows.append(range(begin, load.calls + 1))
        calls = load.stop()
        assert logger.close()
        found = logs().numbers()
        for path in Path("rotated").glob("expert.log*"):
            # logrotate copies while we write, and may cut its copy in the middle of a line.
            found += [entry["number"] for entry in whole_entries(path.read_bytes())]
        assert len(found) == len(set(found)), "doubled"
        lost = set(range(calls)) - set(found)
        assert all(any(number in window for window in windows) for number in lost), (lost, windows)
        assert b"\0" not in Path("logs/expert.log").read_bytes()

    def test_copytruncate_of_a_quiet_log(self, rotate: Callable[[str], None], logs: Callable[..., Any]) -> None:
        """When nothing is logged meanwhile, nothing is lost by it."""
        logger = quiet()
        for turn in range(10):
            for number in range(turn * 20, turn * 20 + 20):
                logger.info("m", number=number)
            assert logger.flush()
            rotate("copytruncate")
        assert logger.close()
        assert sorted(logs("rotated").numbers() + logs().numbers()) == list(range(200))


def whole_entries(data: bytes) -> list[dict[str, Any]]:
    """Return what a copy holds in whole lines."""
    return [entry for line in data.split(b"\n")[:-1] if "number" in (entry := json.loads(line))]


class TestByHand:
    """rm, mv and > by a person or a script."""

    def test_a_quiet_log_is_made_anew_within_a_second(self, eventually: Eventually) -> None:
        """rm -rf of the directory: files, lock and journal are there again although nothing is logged."""
        logger = quiet()
        logger.trade.error("m")
        assert logger.flush()
        shutil.rmtree("logs")
        eventually(lambda: len(list(Path("logs").glob("*.log"))) >= 3, 1.5)
        eventually(lambda: len(list(Path("logs/.metaexpert").glob("*.owner"))) == 1, 1.5)
        assert logger.health == "ok"

    @pytest.mark.parametrize(
        "what", ["logs", "logs/.metaexpert", "logs/.metaexpert/*.segment", "logs/.metaexpert/*.owner"]
    )
    def test_a_kill_after_somebody_deleted_the_journal(
        self, program: Any, logs: Callable[..., Any], eventually: Eventually, what: str
    ) -> None:
        """A second later it is crash-safe again: what waits when the process is killed is brought in, once."""
        process = program.start(
            """
            import sys, threading
            from metaexpert.logger.files.writing_thread import writing_thread
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            logger.info("m", number=0)
            assert logger.flush()
            print("ready", flush=True)
            sys.stdin.readline()
            writing_thread._directories = ()  # from here on nothing is written: all waits
            for number in range(1, 5_000):
                logger.info("m", number=number)
            print("logged", flush=True)
            sys.stdin.readline()
            """,
            stdin=subprocess.PIPE,
        )
        process.stdout.readline()
        before = {path.name for path in Path("logs/.metaexpert").iterdir()}
        assert any(name.endswith(".segment") for name in before)
        subprocess.run(["sh", "-c", f"rm -rf {what}"], check=True)
        # The active segment is replaced once the owner's lock file and it are found missing.
        eventually(lambda: is_whole(Path("logs/.metaexpert"), before, what), 3)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "logged\n"
        process.kill()
        process.communicate()
        logger = quiet(expert_name="next")
        assert logger.close()
        missing = set(range(1, 5_000)) - set(logs().numbers())
        assert missing == set()
        assert len(logs().numbers()) == len(set(logs().numbers()))

    def test_a_directory_that_is_moved_with_its_journal(self, logs: Callable[..., Any], program: Any) -> None:
        """mv logs old, under load, again and again: every entry is in one of the places, once."""
        logger = quiet(max_file_size=20_000, backup_count=999)
        load = Load(logger)
        for turn in range(5):
            seen = load.calls
            while load.calls < seen + 200 or not Path("logs/expert.log").exists():
                os.sched_yield()
            Path("logs").rename(f"old{turn}")
        calls = load.stop()
        assert logger.close()
        found = [number for place in [*Path().glob("old*"), Path("logs")] for number in logs(place).numbers()]
        assert sorted(found) == list(range(calls))

    def test_a_file_is_emptied_under_load(self, logs: Callable[..., Any]) -> None:
        """`> logs/expert.log` again and again: no hole, no torn line, and what follows the last time is all there."""
        logger = quiet()
        load = Load(logger, 0.0001)
        for _ in range(30):
            seen = load.calls
            while load.calls < seen + 30:
                os.sched_yield()
            Path("logs/expert.log").write_bytes(b"")
        assert logger.flush()
        mark = load.calls + 1
        calls = load.stop()
        assert logger.close()
        data = Path("logs/expert.log").read_bytes()
        assert b"\0" not in data
        found = [entry["number"] for entry in whole_entries(data)]
        assert found == sorted(set(found))
        assert set(range(mark, calls)) <= set(found)

    def test_a_link_to_another_place(self, logs: Callable[..., Any]) -> None:
        """expert.log is a symbolic link that somebody turns to another file: what follows goes there."""
        Path("one").touch()
        Path("two").touch()
        Path("logs").mkdir()
        Path("logs/expert.log").symlink_to("../one")
        logger = quiet()
        logger.info("m", number=1)
        assert logger.flush()
        Path("logs/expert.log").unlink()
        Path("logs/expert.log").symlink_to("../two")
        logger.info("m", number=2)
        assert logger.close()
        assert (from_files(Path("one")), from_files(Path("two"))) == ([1], [2])

    def test_somebody_writes_into_our_file(self, logs: Callable[..., Any]) -> None:
        """Half a line of another program is ended, so that it spoils no entry of ours."""
        logger = quiet()
        logger.info("m", number=0)
        assert logger.flush()
        with Path("logs/expert.log").open("a") as file:
            file.write("half a line of somebody's")
        logger.info("m", number=1)
        assert logger.close()
        lines = Path("logs/expert.log").read_bytes().splitlines()
        assert [b"half a line" in line for line in lines] == [False, True, False]


def is_whole(place: Path, before: set[str], deleted: str) -> bool:
    """Whether the journal is there again: a lock, and a segment that is newer than what was deleted."""
    names = {path.name for path in place.iterdir()} if place.exists() else set()
    segments = {name for name in names if name.endswith(".segment")}
    if deleted.endswith(".owner"):
        return any(name.endswith(".owner") for name in names)
    return any(name.endswith(".owner") for name in names) and bool(segments - before)


def test_all_descriptors_closed_by_a_daemon(program: Any, logs: Callable[..., Any]) -> None:
    """Nothing is lost, and not one of the descriptors that the program opens afterwards is closed or written by us."""
    program(
        """
        import os, socket, time
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False, max_file_size=20_000, backup_count=999)
        numbers = iter(range(100_000))
        def burst():
            for _ in range(300):
                logger.error("m", number=next(numbers))
        kept = []  # else the collector would close the numbers of those that this program itself has closed
        for turn in range(5):
            burst()
            if turn % 2:
                assert logger.flush(10)
            os.closerange(3, 256)
            pairs = [socket.socketpair() for _ in range(15)]
            files = [open(f"mine{turn}-{n}", "w+") for n in range(10)]
            kept.append((pairs, files))
            burst()
            assert logger.flush(10)
            time.sleep(0.6)
            burst()
            assert logger.flush(10)
            assert logger.health == "ok", logger.health
            for one, other in pairs:
                one.sendall(b"ping")
                assert other.recv(100) == b"ping", "something of ours came first"
            for file in files:
                os.fstat(file.fileno())
                assert file.read() == ""
        assert logger.close()
        for one, other in pairs:
            one.sendall(b"pong")
            assert other.recv(100) == b"pong"
        assert logger.stats()["dropped"] == 0
        os._exit(0)
        """
    )
    assert logs().numbers() == list(range(5 * 900))
    assert logs().gaps() == []


@pytest.mark.storm
@pytest.mark.skipif(QUICK.rotate is None, reason="Python closes whatever has the number of a listing by then")
def test_descriptors_taken_away_while_directories_are_listed(program: Any) -> None:
    """A program that closes all numbers and uses them anew keeps its own, whatever we rotate and list meanwhile."""
    program(
        """
        import os, threading, time
        from contextlib import suppress
        from pathlib import Path
        from metaexpert.logger.system.calls import QUICK, names_in
        stop, found = threading.Event(), []
        for name in ("backups", "first", "second", "mine"):
            Path(name).mkdir()
        for number in range(50):
            Path(f"first/{number}").touch()
            Path(f"second/{number}").touch()
        Path("a").touch()
        def rotate():
            while not stop.is_set():
                with suppress(OSError):
                    os.link("a", "backups/a")  # without a descriptor, which Python would close unseen
                with suppress(OSError):
                    QUICK.rotate(Path("backups"), "a", 300)
        def look(name):
            while not stop.is_set():
                with suppress(OSError):
                    found.append(len(set(names_in(Path(name)))))
        threads = [threading.Thread(target=rotate)]
        threads += [threading.Thread(target=look, args=[name]) for name in ("first", "second")]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            os.closerange(3, 64)
            mine = [os.open("mine", os.O_RDONLY) for _ in range(12)]
            time.sleep(0.001)
            for fd in mine:
                os.close(fd)  # raises if it was closed
        stop.set()
        for thread in threads:
            thread.join()
        assert len(found) > 100, found
        assert set(found) == {50}, set(found)  # never those of another directory, nor a part
        """
    )


@pytest.mark.storm
@pytest.mark.skipif(QUICK is PATIENT, reason="between Python's look and its close another thread may have its turn")
def test_descriptors_taken_away_again_and_again(program: Any) -> None:
    """Threads open and close our files while the program closes all numbers and uses them anew: it keeps its own."""
    program(
        """
        import os, threading, time
        from contextlib import suppress
        from pathlib import Path
        from metaexpert.logger.system.descriptors import Descriptor, open_private
        stop = threading.Event()
        def open_and_close():
            while not stop.is_set():
                with suppress(OSError), Descriptor.at(Path("d/file"), os.O_RDWR | os.O_CREAT, opener=open_private):
                    pass
        threads = [threading.Thread(target=open_and_close) for _ in range(2)]
        for thread in threads:
            thread.start()
        end, taken = time.monotonic() + 5, 0
        while time.monotonic() < end:
            os.closerange(3, 64)
            for fd in [os.dup(1) for _ in range(4)]:
                os.close(fd)  # raises if it was closed
            taken += Descriptor.stolen
        stop.set()
        for thread in threads:
            thread.join()
        assert taken, "the threads were never disturbed"
        """
    )
