"""Passes of the core: what comes is written without the interpreter lock, and all else ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import MetaLogger
from metaexpert.logger.files._passes import Passes, Turn
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.system.calls import QUICK
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.system.native import core
from metaexpert.logger.system.threads import RLock

pytestmark = pytest.mark.skipif(not hasattr(core, "Passes"), reason="the core is not compiled, or has no passes")

NEVER = RotationPolicy(max_size=2**40, backups=5)
#: Seconds between two passes.
INTERVAL = 0.01


class Written:
    """A file with its journal, and a thread that has the core make passes over it."""

    def __init__(self, directory: Path, policy: RotationPolicy = NEVER) -> None:
        self.path = directory / "expert.log"
        self.lock = DirectoryLock(directory / "lock")
        self.rotated: list[Path] = []
        self.sink = RotatingFile(self.path, policy, self.lock, calls=QUICK, on_rotated=self.rotated.append)
        self.file = LogFile(self.sink, Journal(None, 2**20).lane("expert.log"))
        self.put(b"0\n")
        assert self.file.drain()
        self.passes = Passes()
        self.turn: Any = Turn(None)  # type: ignore[arg-type]
        self.result: Any = None
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Add a line to the journal."""
        assert self.file.put(line)

    def begin(self, seconds: float = 30.0, patience: float = 60.0) -> None:
        """Have passes made by a thread."""
        regular = self.file.regular(rotates=True)
        assert regular
        self.passes.attend()

        def make() -> None:
            self.result = self.passes.make(((self.turn, *regular),), INTERVAL, seconds, patience)

        self._thread = threading.Thread(target=make)
        self._thread.start()

    def end(self, *, stop: bool = False) -> bool:
        """Wait for the end of the passes, told to *stop* or not. Returns whether they wrote."""
        assert self._thread is not None
        if stop:
            self.passes.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.result is not None

    def close(self) -> None:
        """Release what is held."""
        self.sink.close()
        self.lock.close()
        self.file.lane.close()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    """A file with one line."""
    made = Written(tmp_path)
    yield made
    made.close()


class TestPasses:
    """`Passes.make`."""

    def test_what_comes_is_written_until_they_are_told_to_stop(self, written: Written) -> None:
        """Line after line, with nobody else at work."""
        written.begin()
        for number in range(1, 20):
            written.put(b"%d\n" % number)
            eventually(lambda: written.file.empty)
        assert written.end(stop=True)
        assert written.path.read_bytes() == b"".join(b"%d\n" % number for number in range(20))

    def test_they_tell_when_something_was_written(self, written: Written) -> None:
        """In seconds before their end, so that a thread rests in time."""
        written.put(b"1\n")
        written.begin(seconds=0.3)
        eventually(lambda: written.file.empty)
        seen = time.monotonic()
        written.end()
        assert written.result == pytest.approx(time.monotonic() - seen, abs=0.1)
        written.begin(seconds=0.05)
        assert not written.end()

    def test_a_stop_between_passes_ends_the_next_ones(self, written: Written) -> None:
        """Unless it came before `attend`."""
        written.passes.stop()
        written.begin(seconds=0.001)
        assert not written.end()
        regular = written.file.regular(rotates=True)
        assert regular
        written.passes.attend()
        written.passes.stop()
        written.passes.stop()
        began = time.monotonic()
        assert written.passes.make(((written.turn, *regular),), 60.0, 60.0, 60.0) is None
        assert time.monotonic() - began < 20

    def test_a_thread_that_keeps_the_interpreter_lock_does_not_keep_them_waiting(self, written: Written) -> None:
        """The bytes are in the file although no other thread of Python's ran since the line came."""
        segment = written.file.lane.only
        assert segment is not None
        before = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        try:
            written.begin()
            written.put(b"1\n")
            numbers, deadline = segment.numbers, time.monotonic() + 20
            at = numbers[2]
            while numbers[2] == at and time.monotonic() < deadline:
                pass  # nothing in here gives the lock away
            drained = numbers[2]
        finally:
            sys.setswitchinterval(before)
        assert written.end(stop=True)
        assert drained == at + 2

    @pytest.mark.parametrize("flushed", [True, False])
    def test_files_are_rotated_again_and_again(self, tmp_path: Path, flushed: bool) -> None:
        """No line is lost, no descriptor is left open, and the sink goes on in the last file."""
        written = Written(tmp_path, RotationPolicy(max_size=50, backups=1000))
        lines = [b"%039d\n" % number for number in range(100)]
        written.begin()
        descriptors = 0
        for number, line in enumerate(lines):
            written.put(line)
            eventually(lambda: written.file.empty)
            if number == 5:
                descriptors = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
        if sys.platform == "linux":
            assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
        assert written.end(stop=True)
        assert written.rotated == []
        if flushed:
            written.sink.flush()  # forces the last file, and not the one that was the last before
        else:
            written.file.look()
        assert written.rotated == [written.path]
        assert os.path.samestat(os.fstat(written.sink._fd), written.path.stat())
        written.put(b"last\n")
        assert written.file.drain()
        found = sorted(tmp_path.glob("expert.log.*"), key=lambda path: -int(path.suffix[1:]))
        assert b"".join(path.read_bytes() for path in [*found, written.path]) == b"0\n" + b"".join(lines) + b"last\n"
        written.close()

    @pytest.mark.parametrize(
        "disturb",
        [
            lambda written: written.path.rename(written.path.with_suffix(".moved")),
            lambda written: written.file.lane.only.seal(),
            lambda written: written.file.lane.close(),
            lambda written: written.sink.close(),
            lambda written: written.file.lane.only.intend(written.file.lane.only.state.intent._replace(end=600)),
        ],
        ids=["the file is moved", "the segment is full", "the lane is closed", "the file is closed", "a batch failed"],
    )
    def test_what_is_not_regular_ends_them(self, written: Written, disturb: Callable[[Written], object]) -> None:
        """At the next line, and nothing is written."""
        written.begin()
        segment = written.file.lane.only
        assert segment is not None
        tail, path = segment.tail, written.path
        disturb(written)
        if tail.tell() < segment.size:
            tail.write(b"1\n")
        assert not written.end()
        path = next(path for path in (written.path, written.path.with_suffix(".moved")) if path.exists())
        assert path.read_bytes() == b"0\n"

    def test_a_file_that_takes_long_ends_them_and_shows_meanwhile(self, written: Written) -> None:
        """Its turn tells since when, so that others can go on without the thread."""
        lock, holds, leave = written.file.lock, threading.Event(), threading.Event()

        def hold() -> None:
            with lock:
                holds.set()
                leave.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        assert holds.wait(20)
        written.begin(patience=0.0)
        assert written.passes.under_way is None
        before = time.monotonic()
        written.put(b"1\n")
        eventually(lambda: written.passes.under_way is not None)
        turn = written.passes.under_way
        assert turn is written.turn
        assert before <= turn.since <= time.monotonic()
        leave.set()
        assert written.end()
        assert written.passes.under_way is None
        holder.join()

    def test_they_end_in_time(self, written: Written) -> None:
        """Also in the middle of an interval, and when a file takes its time."""
        regular = written.file.regular(rotates=True)
        assert regular
        began = time.monotonic()
        written.passes.attend()
        written.passes.make(((written.turn, *regular),), 60.0, 0.05, 60.0)
        assert time.monotonic() - began < 20
        holds = threading.Event()

        def hold() -> None:
            with written.file.lock:
                holds.set()
                time.sleep(0.2)

        for number in (1, 2):
            holder = threading.Thread(target=hold)
            holder.start()
            assert holds.wait(20)
            holds.clear()
            written.put(b"%d\n" % number)
            written.begin(seconds=0.1)  # over when the lock is to be had
            assert written.end()
            holder.join()

    def test_a_segment_that_was_given_back_is_not_regular(self, written: Written) -> None:
        """Its directory was closed after the files were found, and before the passes began."""
        regular = written.file.regular(rotates=True)
        assert regular
        written.file.lane.close()
        written.passes.attend()
        assert written.passes.make(((written.turn, *regular),), 60.0, 60.0, 60.0) is None

    def test_they_let_go_of_maps(self, written: Written) -> None:
        """Whoever closes a file waits for it: its map is unmapped when that is done."""
        segment = written.file.lane.only
        assert segment is not None
        written.begin()
        eventually(lambda: written.passes._files)
        written.passes.let_go(20)
        written.file.lane.close()
        assert segment.map.closed
        assert not written.end()

    def test_files_that_are_none_are_refused(self, written: Written) -> None:
        """Before anything is waited for."""
        regular = written.file.regular(rotates=True)
        assert regular
        for files in [
            (1,),
            ((),),
            ((written.turn, *regular[:-1]),),
            ((written.turn, regular[0], RLock(), *regular[2:]),),
        ]:
            with pytest.raises(TypeError, match="a file should be"):
                core.Passes().make(60.0, 60.0, 1.0, files)
        wrong: tuple[Any, ...]
        for wrong in [(), (60.0, 1.0, 1.0, []), ("x", 1.0, 1.0, ()), (60.0, "x", 1.0, ())]:
            with pytest.raises(TypeError):
                core.Passes().make(*wrong)


def directory_of(path: Path) -> LogDirectory:
    """Return the directory that the writing thread serves."""
    return next(directory for directory in writing_thread._directories if directory.path == path)


class TestLogger:
    """The writing thread leaves the passes to the core."""

    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """When a directory was served by Python."""
        times: list[float] = []
        serve = LogDirectory.serve

        def noted(directory: LogDirectory) -> bool | None:
            times.append(time.monotonic())
            return serve(directory)

        monkeypatch.setattr(LogDirectory, "serve", noted)
        return times

    def test_python_has_a_pass_each_second_only(self, tmp_path: Path, served: list[float]) -> None:
        """While entries come they are in their file as soon as ever."""
        with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
            logger.info("first")
            eventually(lambda: writing_thread._passes.attending)
            served.clear()
            directory = directory_of(tmp_path)
            end, number, slowest = time.monotonic() + 2.0, 0, 0.0
            while time.monotonic() < end:
                number += 1
                logger.info("m", number=number)
                began = time.monotonic()
                eventually(lambda: directory.empty)
                slowest = max(slowest, time.monotonic() - began)
            assert len(served) <= 6
            assert number >= 10
            assert slowest < 0.5
        assert (tmp_path / "expert.log").read_bytes().count(b'"message":"m"') == number

    def test_segments_that_fill_up_need_no_whole_pass(self, tmp_path: Path, served: list[float]) -> None:
        """A busy program fills many of them in a second."""
        with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False, journal_size=1_000_000) as logger:
            logger.info("first")
            eventually(lambda: writing_thread._passes.attending)
            served.clear()
            for number in range(2000):
                logger.info("m", number=number, filler="x" * 200)
                if number % 20 == 0:
                    time.sleep(0.005)
            assert len(served) <= 6
        assert (tmp_path / "expert.log").read_bytes().count(b'"message":"m"') == 2000

    def test_few_entries_a_second_do_not_stir_the_thread_each_time(
        self, tmp_path: Path, served: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a rest, too, the core makes most of the passes."""
        monkeypatch.setattr("metaexpert.logger.files.writing_thread._IDLE", 0.3)
        with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
            logger.info("first")
            eventually(lambda: writing_thread._resting)
            for _ in range(3):
                logger.info("m")
                time.sleep(0.1)
            served.clear()
            for _ in range(20):
                logger.info("m")
                time.sleep(0.1)
            assert len(served) <= 10  # one after each 0.3 s, and not one for each entry

    def test_a_second_after_the_last_entry_the_thread_rests(self, tmp_path: Path) -> None:
        """The passes of the core end then, too."""
        with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
            logger.info("first")
            eventually(lambda: writing_thread._passes.attending)
            directory = directory_of(tmp_path)
            for _ in range(3):
                logger.info("m")
                eventually(lambda: directory.empty)
            began = time.monotonic()
            eventually(lambda: writing_thread._resting, 10.0)
            assert time.monotonic() - began < 1.5

    def test_a_flush_ends_them(self, tmp_path: Path) -> None:
        """It does not wait for their end."""
        with MetaLogger(log_dir=tmp_path, log_to_console=False, install=False) as logger:
            for _ in range(20):
                logger.info("m")
                eventually(lambda: writing_thread._passes.attending)
                began = time.monotonic()
                assert logger.flush()
                assert time.monotonic() - began < 0.5

    def test_a_directory_that_holds_them_up_is_left_to_its_thread(self, tmp_path: Path) -> None:
        """Another directory is served by another thread meanwhile."""
        options: dict[str, Any] = {"log_to_console": False, "install": False}
        with (
            MetaLogger(log_dir=tmp_path / "stalled", **options) as stalled,
            MetaLogger(log_dir=tmp_path / "logs", **options) as logger,
        ):
            stalled.info("m")
            logger.info("m")
            assert stalled.flush()
            assert logger.flush()
            lock = directory_of(tmp_path / "stalled").lock._threads
            eventually(lambda: writing_thread._passes.attending)
            lock.acquire()
            try:
                stalled.info("m")
                eventually(lambda: writing_thread._passes.under_way is not None, 5.0)
                began = time.monotonic()
                logger.info("m")
                assert logger.flush()
                assert time.monotonic() - began < 0.9  # a pass of the core waits a second for such a lock
            finally:
                lock.release()
        assert (tmp_path / "logs/expert.log").read_bytes().count(b'"message":"m"') == 2
        assert (tmp_path / "stalled/expert.log").read_bytes().count(b'"message":"m"') == 2

    @pytest.mark.parametrize("stalled", [1, 2])
    def test_entries_alone_have_a_stalled_directory_left_to_its_thread(self, tmp_path: Path, stalled: int) -> None:
        """Nobody flushes, and no error comes; one disk stalls, or two of them, one after the other."""
        options: dict[str, Any] = {"log_to_console": False, "install": False, "journal_size": stalled * 500_000}
        with contextlib.ExitStack() as opened:
            others = [
                opened.enter_context(MetaLogger(log_dir=tmp_path / f"stalled{number}", **options))
                for number in range(stalled)
            ]
            logger = opened.enter_context(MetaLogger(log_dir=tmp_path / "logs", **options))
            for other in [*others, logger]:
                other.info("first")
                assert other.flush()
            for number, other in enumerate(others):
                lock = directory_of(tmp_path / f"stalled{number}").lock._threads
                lock.acquire()
                opened.callback(lock.release)
                other.info("m")
            began = time.monotonic()
            for number in range(stalled * 1500):  # three times what the journal holds
                logger.info("m", number=number, filler="x" * 1000)
                time.sleep(0.001)
            assert time.monotonic() - began < 20
            assert logger.stats()["dropped"] == 0
            eventually(
                lambda: (tmp_path / "logs/expert.log").read_bytes().count(b'"message":"m"') > stalled * 1400, 2.0
            )

    def test_a_full_journal_has_a_stalled_directory_left_to_its_thread(self, tmp_path: Path) -> None:
        """Entries are dropped until the other disk has stalled for long enough, and no longer."""
        options: dict[str, Any] = {"log_to_console": False, "install": False, "journal_size": 20_000}
        with (
            MetaLogger(log_dir=tmp_path / "stalled", **options) as stalled,
            MetaLogger(log_dir=tmp_path / "logs", **options) as logger,
        ):
            for one in (stalled, logger):
                one.info("first")
                assert one.flush()
            lock = directory_of(tmp_path / "stalled").lock._threads
            lock.acquire()
            try:
                stalled.info("m")
                for number in range(200):  # all at once: more than the journal holds
                    logger.info("m", number=number, filler="x" * 1000)
                assert logger.stats()["dropped"] > 0

                def taken() -> bool:
                    dropped = logger.stats()["dropped"]
                    logger.info("late")
                    return bool(logger.stats()["dropped"] == dropped)

                eventually(taken, 2.0)
            finally:
                lock.release()

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_a_closed_directory_leaves_no_map_behind(self, tmp_path: Path) -> None:
        """While the core makes passes over another one."""
        options: dict[str, Any] = {"log_to_console": False, "install": False}
        with MetaLogger(log_dir=tmp_path / "logs", **options) as logger:
            for _ in range(20):
                closed = MetaLogger(log_dir=tmp_path / "closed", **options)
                for one in (logger, closed):
                    one.info("m")
                    assert one.flush()
                eventually(lambda: writing_thread._passes._files)
                closed.close()
                assert str(tmp_path / "closed") not in Path("/proc/self/maps").read_text()


@pytest.fixture(params=["Mutex", "RLock"])
def lock(request: pytest.FixtureRequest) -> Any:
    """A lock of ours, and Python's, which is the reference."""
    return core.Mutex() if request.param == "Mutex" else RLock()


def elsewhere(work: Callable[[], Any]) -> Any:
    """Return what *work* returns on another thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(20)
    return found[0]


class TestMutex:
    """The lock that can be taken without the interpreter lock is a lock like Python's."""

    def test_it_is_taken_and_given_back_as_often(self, lock: Any) -> None:
        """By one thread; no other gets it meanwhile."""
        for depth in range(3):
            assert lock.acquire(timeout=depth - 1 or -1)
            assert not elsewhere(lambda: lock.acquire(blocking=False))
        with lock as got:
            assert got is True
        for _ in range(3):
            assert not elsewhere(lambda: lock.acquire(timeout=0.01))
            lock.release()
        assert elsewhere(lambda: lock.acquire(False) and lock.release() is None)
        with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
            lock.release()

    def test_who_does_not_hold_it_cannot_give_it_back(self, lock: Any) -> None:
        """It stays with its holder."""

        def release() -> str:
            try:
                lock.release()
            except RuntimeError as error:
                return str(error)
            return ""

        with lock:
            assert elsewhere(release) == "cannot release un-acquired lock"
            assert not elsewhere(lambda: lock.acquire(blocking=False))

    def test_an_exception_leaves_it_free(self, lock: Any) -> None:
        """After a with block."""
        with pytest.raises(ZeroDivisionError), lock:
            raise ZeroDivisionError
        assert elsewhere(lambda: lock.acquire(False) and lock.release() is None)

    def test_whoever_waits_gets_it(self, lock: Any) -> None:
        """Eight threads, each a thousand times, and never two at once."""
        inside, most = [0], 0

        def work() -> None:
            nonlocal most
            for _ in range(1000):
                with lock, lock:
                    inside[0] += 1
                    most = max(most, inside[0])
                    inside[0] -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert most == 1

    def test_handlers_of_signals_run_while_it_is_waited_for(self, lock: Any) -> None:
        """The wait goes on after them, and what one raises ends it."""
        ran: list[int] = []

        def handler(*_: object) -> None:
            ran.append(1)
            if len(ran) == 3:
                raise InterruptedError

        leave = threading.Event()

        def hold() -> None:
            with lock:
                for _ in range(3):
                    time.sleep(0.05)  # a signal that comes before the wait would prove nothing
                    os.kill(os.getpid(), signal.SIGUSR1)
                leave.wait(20)

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            holder = threading.Thread(target=hold)
            holder.start()
            eventually(lambda: not lock.acquire(blocking=False) or lock.release())
            with pytest.raises(InterruptedError):
                lock.acquire(timeout=20)
            assert ran == [1, 1, 1]
        finally:
            leave.set()
            holder.join()
            signal.signal(signal.SIGUSR1, before)
        assert lock.acquire(timeout=20)
        lock.release()

    def test_wrong_arguments_are_refused(self, lock: Any) -> None:
        """As Python does it."""
        wrong: dict[str, Any]
        for wrong in ({"timeout": 1e300}, {"timeout": "x"}, {"other": 1}):
            with pytest.raises((TypeError, OverflowError, ValueError)):
                lock.acquire(**wrong)
        assert not lock.acquire(False) or lock.release() is None
