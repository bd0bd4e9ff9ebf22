"""Ends, forks, signals, clocks and collectors: whatever happens to a process, each entry is there once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and forks")

MODES = pytest.mark.parametrize("mode", ["async_logging=True", "async_logging=False"])


def recover(directory: str = "logs") -> int:
    """Open and close a logger; return how many entries it brought in."""
    logger = MetaLogger(expert_name="next", log_dir=directory, log_to_console=False, install=False)
    recovered: int = logger.stats()["recovered"]
    assert logger.close()
    return recovered


class TestSuddenEnds:
    """Deaths that give no time for anything."""

    @pytest.mark.parametrize(
        ("leaving", "returncode"),
        [
            ("os._exit(0)", 0),
            ("ctypes.string_at(0)", -signal.SIGSEGV),
            ("ctypes.memset(8, 1, 1)", -signal.SIGSEGV),
            ("os.abort()", -signal.SIGABRT),
            ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM),
            ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(9)", -signal.SIGKILL),
            ("thread = threading.Thread(target=ctypes.string_at, args=(0,)); thread.start(); burst()", -signal.SIGSEGV),
            ("faulthandler._sigfpe()", -signal.SIGFPE),
        ],
    )
    def test_right_after_a_call(self, program: Any, logs: Callable[..., Any], leaving: str, returncode: int) -> None:
        """A real segfault, abort, os._exit, kill: every entry whose call had returned is there after the next start."""
        program(
            f"""
            import ctypes, faulthandler, os, signal, threading, time
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            numbers = iter(range(10_000))
            count = open("count", "wb", buffering=0)
            def burst():
                for number in numbers:
                    logger.error("m", number=number)
                    logger.trade.debug("t", number=number)
                    count.seek(0)
                    count.write(b"%d" % (number + 1))
                    if number == 999:
                        return
            burst()
            {leaving}
            """,
            returncode=returncode,
        )
        recover()
        calls = int(Path("count").read_text())
        assert calls >= 1_000
        for base in ("expert.log", "trades.log", "errors.log"):
            found = logs().numbers(base)
            assert found[:calls] == list(range(calls)), base
            assert len(found) <= calls + 1, "at most the call that was under way"
        assert recover() == 0

    def test_in_the_middle_of_a_flush(self, program: Any, logs: Callable[..., Any]) -> None:
        """A segfault of one thread while another flushes and a third logs: once each."""
        program(
            """
            import ctypes, threading
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=50_000, backup_count=999)
            count = open("count", "wb", buffering=0)
            def log():
                number = 0
                while True:
                    logger.info("m", number=number)
                    number += 1
                    count.seek(0)
                    count.write(b"%d" % number)
            def flush():
                while True:
                    logger.flush()
            for work in (log, flush):
                threading.Thread(target=work, daemon=True).start()
            while not (text := open("count").read()) or int(text) < 3_000:
                pass
            ctypes.string_at(0)
            """,
            returncode=-signal.SIGSEGV,
        )
        recover()
        calls, found = int(Path("count").read_text()), logs().numbers()
        assert found[:calls] == list(range(calls))
        assert len(found) <= calls + 1

    @pytest.mark.storm
    def test_many_recover_at_once(self, program: Any, logs: Callable[..., Any]) -> None:
        """Five processes died; four start at the same moment: together they bring in each entry once, and say so."""
        dead = [
            program.start(
                f"""
                import os
                from metaexpert.logger import MetaLogger
                from metaexpert.logger.files.writing_thread import writing_thread
                logger = MetaLogger(expert_name="e{name}", log_dir="dead{name}", log_to_console=False)
                writing_thread._directories = ()
                for number in range(400):
                    logger.info("m", number=number)
                    logger.trade.info("t", number=number)
                os._exit(0)
                """
            )
            for name in range(5)
        ]
        for process in dead:
            program.finish(process)
        # They died together: one who opens the directory while others are dying would bring in what those had.
        Path("logs/.metaexpert").mkdir(parents=True)
        for path in Path().glob("dead*/.metaexpert/*.*"):
            path.rename(Path("logs/.metaexpert") / path.name)
        start = time.time() + 1.5
        openers = [
            program.start(
                f"""
                import time
                from metaexpert.logger import MetaLogger
                time.sleep(max({start} - time.time(), 0))
                logger = MetaLogger(expert_name="next", log_to_console=False)
                assert logger.close()
                print(logger.stats()["recovered"])
                """
            )
            for _ in range(4)
        ]
        brought = [int(program.finish(process)[0]) for process in openers]
        assert sum(brought) == 5 * 800
        assert sum(entry["recovered"] for entry in logs().news("log.recovered")) == 5 * 800
        for name in range(5):
            assert logs().numbers(expert_name=f"e{name}", message="m") == list(range(400))
            assert logs().numbers("trades.log", expert_name=f"e{name}") == list(range(400))
        assert recover() == 0


class TestStrangeJournals:
    """What lies in the private directory at the start is not what it should be."""

    def test_each_is_set_aside_and_the_start_goes_on(self, program: Any, logs: Callable[..., Any]) -> None:
        """Corrupted, truncated, foreign, newer: reported, kept, and what is whole beside it is brought in."""
        code = """
            import os
            from metaexpert.logger import MetaLogger
            from metaexpert.logger.files.writing_thread import writing_thread
            logger = MetaLogger(expert_name="dead", log_to_console=False)
            writing_thread._directories = ()
            for number in range(100):
                logger.info("m", number=number)
            os._exit(0)
            """
        spoil: list[Callable[[bytes], bytes]] = [
            lambda data: b"foreign" + data[7:],
            lambda data: data[:8] + b"\x63" + data[9:],
            lambda data: data[: len(data) // 2],
            lambda data: data[:320] + b"\xff" * 200 + data[520:],
            lambda data: os.urandom(5_000),
            lambda data: data,
        ]
        place, kept = Path("logs/.metaexpert"), Path("kept")
        kept.mkdir()
        for change in spoil:
            program(code)
            for path in [*place.glob("*.segment"), *place.glob("*.owner")]:
                data = path.read_bytes()
                path.unlink()
                (kept / path.name).write_bytes(change(data) if b'"number":' in data else data)
        for path in kept.iterdir():
            path.rename(place / path.name)
        said = program("from metaexpert.logger import MetaLogger\nlogger = MetaLogger()\nassert logger.close()\n")
        assert "of a dead process's journal are damaged and were set aside" in said
        assert logs().numbers() == list(range(100)), "the whole one"
        assert len(list(place.glob("*.unreadable"))) == 5
        (news,) = logs().news("log.recovered")
        assert news["recovered"] == 100
        assert recover() == 0, "told and counted once"

    def test_what_is_no_journal_at_all(self, logs: Callable[..., Any]) -> None:
        """Directories, links to nowhere and to themselves, pipes and rubbish by the names of ours: no exception."""
        place = Path("logs/.metaexpert")
        place.mkdir(parents=True)
        (place / "a.owner").mkdir()
        (place / "b.owner").symlink_to("b.owner")
        (place / "c.owner").symlink_to("nowhere/at/all")
        (place / "d.owner").touch()
        (place / "d.1.segment").mkdir()
        (place / "e.owner").touch()
        os.mkfifo(place / "e.1.segment")
        (place / "f.owner").touch()
        (place / "f.1.segment").symlink_to("/dev/zero")
        (place / "g.owner").touch()
        (place / "g.x.segment").write_bytes(os.urandom(1_000))
        logger = MetaLogger(log_to_console=False, install=False)
        logger.info("m", number=1)
        assert logger.flush(20)
        assert logger.close()
        assert logs().numbers() == [1]


class TestForks:
    """Forks at awkward moments."""

    @MODES
    @pytest.mark.storm
    @pytest.mark.timeout(150)
    def test_from_a_thread_while_others_log(self, program: Any, logs: Callable[..., Any], mode: str) -> None:
        """No child hangs on a lock of a thread that it has not; nothing is lost or doubled on either side."""
        program(
            f"""
            import os, sys, threading, warnings
            from metaexpert.logger import MetaLogger
            warnings.simplefilter("ignore", DeprecationWarning)  # these threads are not ours
            logger = MetaLogger(
                log_to_console=False, max_file_size=20_000, backup_count=999, overflow="block", {mode}
            )
            stop = threading.Event()
            counts = [0, 0]
            def work(name):
                while not stop.wait(0.001):  # the slower the forks are, the more files there are to rotate
                    logger.info("m", thread=name, number=counts[name])
                    counts[name] += 1
            def forks():
                for child in range(15):
                    pid = os.fork()
                    if not pid:
                        for number in range(20):
                            logger.error("child", child=child, number=number)
                        os._exit(0 if logger.close(20) else 1)
                    assert os.waitpid(pid, 0)[1] == 0
                stop.set()
            threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
            threads.append(threading.Thread(target=forks))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert logger.close()
            logger.warning("counts", counts=counts)
            """,
            patience=120,
        )
        for name in range(2):
            found = logs().numbers(thread=name)
            assert sorted(found) == list(range(len(found)))
        for child in range(15):
            assert logs().numbers("errors.log", child=child) == list(range(20))
        assert logs().gaps() == []

    def test_inside_a_log_call(self, program: Any, logs: Callable[..., Any]) -> None:
        """A value whose repr forks: parent and child each finish the call, and both entries are there."""
        program(
            """
            import os
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            class Forking:
                def __repr__(self):
                    global child
                    child = os.fork()
                    return "child" if not child else "parent"
            for number in range(10):
                logger.info("m", number=number, value=Forking())
                if not child:
                    logger.info("after", number=number)
                    logger.close()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            """
        )
        for value in ("parent", "child"):
            assert sorted(logs().numbers(value=value)) == list(range(10))
        assert sorted(logs().numbers(message="after")) == list(range(10))

    def test_beside_hundreds_of_backups_and_busy_threads(self, program: Any) -> None:
        """They are compressed, files rotate, threads compute: a fork takes no longer than to start some threads."""
        program(
            """
            import os, threading, time, warnings
            from pathlib import Path
            warnings.simplefilter("ignore")  # they tell of the program's own threads
            Path("logs").mkdir()
            for number in range(1, 301):
                Path(f"logs/expert.log.{number}").write_text(600 * f"{number:099d}\\n")
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=65536, backup_count=500, compress_backups=True)
            def compute():
                while computes:
                    sum(range(1000))
            computes, took, usual = True, [], []
            threads = [threading.Thread(target=compute) for _ in range(3)]
            for thread in threads:
                thread.start()
            for number in range(3):
                for entry in range(1000):
                    logger.info("m", number=entry, filler="x" * 100)
                time.sleep(0.2)
                began = time.monotonic()
                other = threading.Thread(target=int)
                other.start()
                other.join()
                usual.append(time.monotonic() - began)
                began = time.monotonic()
                if not (child := os.fork()):
                    os._exit(0)
                took.append(time.monotonic() - began)
                os.waitpid(child, 0)
            computes = False
            for thread in threads:
                thread.join()
            assert sum(took) < 15 * max(sum(usual), 0.1), (took, usual)  # it took seconds
            os._exit(0)  # without compressing all the rest
            """
        )

    def test_before_a_program_is_executed(self, program: Any, logs: Callable[..., Any]) -> None:
        """An entry of a preexec_fn, whose process becomes another program: the next start has it."""
        program(
            """
            import subprocess
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, capture_warnings=False)
            for number in range(5):
                logger.info("parent", number=number)
                subprocess.run(["true"], preexec_fn=lambda: logger.info("child", number=number), check=True)
            """
        )
        recover()
        assert logs().numbers(message="parent") == list(range(5))
        assert sorted(logs().numbers(message="child")) == list(range(5))

    @pytest.mark.program
    @pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
    def test_workers_that_die(self, program: Any, logs: Callable[..., Any], method: str) -> None:
        """fork, spawn, forkserver: a worker that crashes right after its calls loses none of them."""
        program(
            f"""
            import ctypes, multiprocessing, os
            from metaexpert.logger import MetaLogger, get_logger
            def work(name):
                logger = MetaLogger(log_to_console=False) if {method != "fork"} else get_logger()
                for number in range(200):
                    logger.info("m", worker=name, number=number)
                ctypes.string_at(0)
            if __name__ == "__main__":
                logger = MetaLogger(log_to_console=False)
                context = multiprocessing.get_context({method!r})
                workers = [context.Process(target=work, args=(name,)) for name in range(2)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                    assert worker.exitcode == -11, worker.exitcode
                logger.info("parent", number=0)
            """
        )
        recover()
        for name in range(2):
            assert logs().numbers(worker=name) == list(range(200))
        assert logs().numbers(message="parent") == [0]


@pytest.mark.storm
class TestStorms:
    """Signals at a thousand a second, into whatever the program does.

    A program ignores its signals at the very end, when Python has taken the handlers away: the last one may still be
    on its way to another thread, and after a failure they go on. It would kill the program.
    """

    @MODES
    def test_of_many_kinds_from_outside(self, program: Any, logs: Callable[..., Any], mode: str) -> None:
        """SIGTERM, SIGINT, SIGUSR1, SIGALRM handlers that log and flush, into calls, flushes, rotations, binds."""
        process = program.start(
            f"""
            import atexit, json, signal, time
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=50_000, backup_count=999, {mode})
            ticks, depth = [0], [0]
            def handler(number, frame):
                if depth[0] == 20:  # on a busy machine handlers in handlers would pile up until the stack is full
                    return
                depth[0] += 1
                tick = ticks[0]
                ticks[0] += 1
                logger.error("tick", tick=tick)
                if tick % 50 == 0:
                    logger.flush(5)
                depth[0] -= 1
            for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGALRM"):
                signal.signal(getattr(signal, name), handler)
                atexit.register(signal.signal, getattr(signal, name), signal.SIG_IGN)
            print("ready", flush=True)
            number, started = 0, time.monotonic()
            while ticks[0] < 600 and time.monotonic() < started + 20:  # a busy machine takes longer for a tick
                logger.bind(side="BUY").info("m", number=number)
                logger.trade.info("t", number=number)
                number += 1
                if number % 20 == 0:
                    assert logger.flush()
            for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGALRM"):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
            assert logger.close()
            stats = logger.stats()
            assert stats["dropped"] == stats["failed"] == 0, stats
            print(json.dumps([number, ticks[0], stats["written"]]))
            """
        )
        assert process.stdout.readline() == "ready\n"
        kinds = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM]
        deadline = time.monotonic() + 60
        turn = 0
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(kinds[turn % 4])
            turn += 1
            time.sleep(0.001)
        out, _ = program.finish(process)
        number, ticks, written = map(int, out.strip("[]\n").split(","))
        assert number >= 20
        assert ticks >= 20
        assert written == 2 * number + ticks
        assert logs().numbers(message="m") == list(range(number))
        assert sorted(entry["tick"] for entry in logs().entries("errors.log")) == list(range(ticks))
        assert logs().gaps() == []

    @pytest.mark.timeout(150)
    def test_while_loggers_open_and_close(self, program: Any, logs: Callable[..., Any]) -> None:
        """A timer whose handler logs on whatever logger there is, also on one that closes in this moment."""
        program(
            """
            import atexit, signal
            from metaexpert.logger import MetaLogger
            atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
            current, counts = [None], [0, 0]
            def handler(number, frame):
                if current[0] is not None:
                    counts[0] += 1
                    current[0].error("tick")
                if running:  # once more: a period would pile up handlers in handlers on a busy machine
                    signal.setitimer(signal.ITIMER_REAL, 0.001)
            running = True
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            written = dropped = 0
            for life in range(40):
                logger = MetaLogger(log_to_console=False, max_file_size=5_000, backup_count=999)
                current[0] = logger
                for number in range(50):
                    logger.info("m", life=life, number=number)
                    counts[1] += 1
                assert logger.close()
                current[0] = None
                stats = logger.stats()
                assert stats["failed"] == 0, stats
                written += stats["written"]
                dropped += stats["dropped"]
            running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert written + dropped == sum(counts), (written, dropped, counts)
            assert counts[0] > 20
            """,
            patience=120,  # whoever shares the machine leaves the program little time between two signals
        )
        for life in range(40):
            assert logs().numbers(life=life) == list(range(50))
        assert logs().gaps() == []


class TestCollector:
    """Finalizers that log when nobody expects it."""

    def test_a_finalizer_at_the_very_end(self, program: Any, logs: Callable[..., Any]) -> None:
        """Objects of modules that are torn down: those from WARNING up are on stderr, and nothing is raised.

        One that only the collector finds comes when nothing of the interpreter is left to print with.
        """
        said = program(
            """
            from metaexpert.logger import MetaLogger
            class Noisy:
                def __init__(self, logger):
                    self.logger = logger
                def __del__(self):
                    self.logger.info("unimportant")
                    self.logger.warning("a last word")
            logger = MetaLogger(log_to_console=False)
            logger.info("m", number=1)
            noisy = Noisy(logger)
            hidden = Noisy(logger)
            hidden.me = hidden
            """
        )
        assert logs().numbers() == [1]
        assert "a last word" in said
        assert "unimportant" not in said
        assert "Exception" not in said

    def test_every_allocation_may_collect(self, program: Any, logs: Callable[..., Any]) -> None:
        """gc.set_threshold(1) with garbage that logs, flushes, binds and rotates, also on the writing thread."""
        program(
            """
            import gc
            from metaexpert.logger import MetaLogger, log_context
            logger = MetaLogger(log_to_console=False, max_file_size=20_000, backup_count=999, journal_size="256KB")
            gone = [0]
            class Noisy:
                def __init__(self):
                    self.me = self
                def __del__(self):
                    logger.bind(a=1).trade.info("gone")
                    gone[0] += 1
                    if gone[0] % 20 == 0:
                        logger.flush(5)
            gc.set_threshold(1)
            for number in range(400):
                Noisy()
                with log_context(strategy_id=number):
                    logger.info("m", number=number, value=[object()])
            gc.set_threshold(700)
            gc.collect()
            assert logger.close()
            stats = logger.stats()
            assert gone[0] == 400 and stats["written"] == 800 and stats["failed"] == 0, (gone, stats)
            """
        )
        assert logs().numbers() == list(range(400))
        assert len(logs().entries("trades.log")) == 400
        assert logs().gaps() == []


class TestStack:
    """A program that recurses too deep, and logs on the way."""

    @pytest.mark.parametrize("call", ['info("m", number=n)', 'info("m %s", n, number=n, o=object())', "log(20, n)"])
    def test_near_the_limit_no_call_raises(self, program: Any, logs: Callable[..., Any], call: str) -> None:
        """Calls with too little stack left are counted as failed; the others are there; none raises, none is twice."""
        program(
            f"""
            from metaexpert.logger import MetaLogger
            from metaexpert.logger.system.native import core
            logger = MetaLogger(log_to_console=False)
            raised, calls = [], [0]
            def deeper(n):
                try:
                    logger.{call}
                except RecursionError as error:
                    # Without the compiled call, or by another method, Python has to have room for one more frame.
                    if core is not None and {call.startswith("info")} or n < reached[0] - 1:
                        raised.append((n, repr(error)))
                calls[0] += 1
                reached[0] = max(reached[0], n)
                deeper(n + 1)
            for attempt in range(3):
                reached = [0]
                try:
                    deeper(0)
                except RecursionError:
                    pass
            assert not raised, raised
            assert logger.close()
            stats = logger.stats()
            assert stats["written"] <= calls[0] <= stats["written"] + stats["failed"] + 3, (stats, calls)
            """
        )
        numbers = logs().numbers()
        assert len(numbers) == len({(entry["sequence_id"]) for entry in logs().entries() if "number" in entry})


#: Stands before the system's own function, and moves the one clock that people set.
SHIFT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *to)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, to), fd = id == CLOCK_REALTIME && result == 0 ? open("shift", O_RDONLY) : -1;
    if (fd >= 0) {
        char text[32] = {0};
        if (read(fd, text, sizeof text - 1) > 0)
            to->tv_sec += atoll(text);
        close(fd);
    }
    return result;
}

int timespec_get(struct timespec *to, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, to) == 0 ? base : 0;
}
"""


class TestClock:
    """Clocks that step, and zones and locales that change."""

    @pytest.fixture
    def shifted(self, tmp_path: Path) -> dict[str, str]:
        """An environment in which a process has the system's clock, moved by what is in the file `shift`.

        Only that clock: faketime moves the monotonic one too, or breaks `time.sleep`.
        """
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler")
        source, library = tmp_path / "shift.c", tmp_path / "shift.so"
        source.write_text(SHIFT)
        command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        return {**os.environ, "LD_PRELOAD": str(library)}

    def test_the_systems_clock_steps(self, program: Any, logs: Callable[..., Any], shifted: dict[str, str]) -> None:
        """An hour back, a year ahead, to 1970: numbers keep the order, every timestamp is valid, rotation goes on."""
        now = int(time.time())
        steps = [0, -3_600, 31_536_000, -7_200, 1_000 - now, 4_133_000_000 - now]
        Path("shift").write_text("0")
        program(
            f"""
            import os
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(
                log_to_console=False, rotate_when="hourly", max_file_size=20_000, backup_count=999, fsync="interval"
            )
            for step in {steps!r}:
                with open("new", "w") as file:
                    file.write(str(step))
                os.replace("new", "shift")
                for number in range(100):
                    logger.info("m", step=step, number=number)
                assert logger.flush(10)
            assert logger.close()
            """,
            env=shifted,
        )
        found = sorted(logs().entries(), key=lambda entry: entry["sequence_id"])
        assert [entry["number"] for entry in found] == list(range(100)) * len(steps)
        assert [entry["step"] for entry in found] == [step for step in steps for _ in range(100)]
        years = {entry["step"]: int(entry["timestamp"][:4]) for entry in found}
        assert [years[step] for step in steps[-2:]] == [1970, 2100]
        for entry in found:
            time.strptime(entry["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ")
            assert len(entry["timestamp"]) == 27

    def test_zone_and_locale_change(self, program: Any, logs: Callable[..., Any]) -> None:
        """The files stay in UTC and in JSON's own notation, whatever TZ and the locale say while it runs."""
        program(
            """
            import locale, os, time
            from datetime import UTC, datetime
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            for number, zone in enumerate(["UTC", "Asia/Tokyo", "America/New_York", "XYZ-13:45", "nonsense"]):
                os.environ["TZ"] = zone
                time.tzset()
                for name in ("C", "C.UTF-8", "de_DE.UTF-8", "fa_IR", "tr_TR.UTF-8"):
                    try:
                        locale.setlocale(locale.LC_ALL, name)
                    except locale.Error:
                        continue
                    now = datetime.now(UTC)
                    logger.info("m", number=number, price=1234.5, at=now.isoformat())
            """
        )
        for entry in logs().entries():
            assert entry["timestamp"][:15] == entry["at"][:15]
            assert entry["price"] == 1234.5


def test_a_process_that_is_stopped_and_goes_on(program: Any, logs: Callable[..., Any]) -> None:
    """SIGSTOP and SIGCONT over and over, beside another process in the same directory: both are complete."""
    code = """
        import sys
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(expert_name=sys.argv[1], log_to_console=False, max_file_size=20_000, backup_count=999)
        print("ready", flush=True)
        for number in range(2_000):
            logger.info("m", number=number)
            if number % 100 == 0:
                logger.flush(20)
        assert logger.close(20)
        """
    one, other = program.start(code, "one"), program.start(code, "other")
    one.stdout.readline()
    while one.poll() is None:
        for process in (one, other):
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.02)
                process.send_signal(signal.SIGCONT)
                time.sleep(0.02)
    for process in (one, other):
        program.finish(process)
    for name in ("one", "other"):
        assert logs().numbers(expert_name=name) == list(range(2_000))
    assert logs().gaps() == []
