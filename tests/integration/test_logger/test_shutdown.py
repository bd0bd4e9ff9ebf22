"""The end of a program, and interruptions on the way: no entry lost or doubled, no deadlock, a clean exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from log_files import Logs

Run = Callable[..., subprocess.CompletedProcess[str]]
alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
MODES = pytest.mark.parametrize("mode", ["async_logging=True", "async_logging=False", 'fsync="trades"'])


entries = Logs().entries


def numbers(base: str = "expert.log") -> list[int]:
    """Return the entries' own numbers."""
    return [entry["number"] for entry in entries(base) if "number" in entry]


def missing() -> set[int]:
    """Return the numbers that are missing between the sequence ids of all files together."""
    ids = {entry["sequence_id"] for base in ("expert.log", "trades.log", "errors.log") for entry in entries(base)}
    return set(range(1, max(ids) + 1)) - ids


class TestExit:
    """Every ordinary way out."""

    @pytest.mark.parametrize(
        ("leaving", "returncode"),
        [
            ("pass", 0),
            ("sys.exit(3)", 3),
            ("raise SystemExit(4)", 4),
            ("raise RuntimeError('the strategy broke')", 1),
            ("logger.close(); logger.close()", 0),
            ("del logger; gc.collect()", 0),
            ("os.kill(os.getpid(), signal.SIGINT)", -2),
        ],
    )
    def test_nothing_is_lost(self, run: Run, leaving: str, returncode: int) -> None:
        """The last thousand entries of a program that just ends are in the file."""
        if returncode == -2 and os.name == "nt":
            pytest.skip("POSIX signals")
        run(
            f"""
            import gc, os, signal, sys
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, capture_warnings=False)
            for number in range(1000):
                logger.info("m", number=number)
            {leaving}
            """,
            returncode=returncode,
        )
        assert numbers() == list(range(1000))

    def test_a_handler_of_sigterm_that_exits(self, run: Run) -> None:
        """As `docker stop` and systemd do it."""
        run(
            """
            import os, signal, sys
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            def stop(number, frame):
                logger.warning("stopping", number=1000)
                sys.exit(0)
            signal.signal(signal.SIGTERM, stop)
            for number in range(1000):
                logger.info("m", number=number)
            os.kill(os.getpid(), signal.SIGTERM)
            """
        )
        assert numbers() == list(range(1001))

    def test_threads_that_the_interpreter_waits_for(self, run: Run) -> None:
        """The main thread ends first; what the others still log is there."""
        run(
            """
            import threading
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            main_ended = threading.main_thread().join
            def work(name):
                main_ended()
                for number in range(200):
                    logger.info("m", number=number, name=name)
            for name in range(3):
                threading.Thread(target=work, args=(name,)).start()
            """
        )
        assert sorted(numbers()) == sorted(list(range(200)) * 3)

    @pytest.mark.parametrize("console", ["True", "False"])
    def test_daemon_threads_that_never_stop(self, run: Run, tmp_path: Path, console: str) -> None:
        """They log until the process is gone: a clean exit, whole lines, nothing of the main thread's missing."""
        result = run(
            f"""
            import threading
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console={console}, console_level="ERROR", max_file_size=100_000, backup_count=99)
            started = threading.Barrier(4)
            def work(name):
                started.wait()
                number = 0
                while True:
                    logger.info("m", name=name)
                    logger.trade.warning("w", name=name)
            for name in range(3):
                threading.Thread(target=work, args=(name,), daemon=True).start()
            started.wait()
            for number in range(500):
                logger.info("main", number=number)
            """
        )
        assert "Fatal" not in result.stderr
        assert "Traceback" not in result.stderr
        assert numbers() == list(range(500))
        assert len(missing()) <= 3, "at most the call in which each thread was when the interpreter stopped it"

    def test_entries_from_other_exit_handlers(self, run: Run) -> None:
        """Those that run before ours are written; those after it are shown from WARNING up; nothing raises."""
        result = run(
            """
            import atexit
            @atexit.register
            def last():
                logger.info("too late, and unimportant")
                logger.warning("too late", number=3)
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            @atexit.register
            def first():
                logger.info("in time", number=2)
            logger.info("m", number=1)
            """
        )
        assert numbers() == [1, 2]
        assert "too late  number=3" in result.stderr
        assert "unimportant" not in result.stderr

    def test_a_logger_made_while_the_interpreter_exits(self, run: Run) -> None:
        """There is no thread to be had any more: it writes by itself, and nothing is wrong with that."""
        result = run(
            """
            import atexit
            from metaexpert.logger import MetaLogger
            @atexit.register
            def late():
                logger = MetaLogger(log_to_console=False)
                logger.info("m", number=1)
                assert logger.health == "ok"
            """
        )
        assert numbers() == [1]
        assert result.stderr == ""

    def test_rotation_and_compression_at_the_very_end(self, run: Run) -> None:
        """The last flush rotates when no thread can be started: backups are compressed all the same, in silence."""
        result = run(
            """
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=5000, backup_count=99, compress_backups=True)
            for number in range(300):
                logger.info("m", number=number)
            """
        )
        assert result.stderr == ""
        assert sorted(numbers()) == list(range(300))
        assert len(list(Path("logs").glob("expert.log.*"))) == len(list(Path("logs").glob("expert.log.*.gz"))) > 5

    def test_fifty_loggers_left_open(self, run: Run) -> None:
        """All of them are written and closed, in a moment."""
        run(
            """
            from metaexpert.logger import MetaLogger
            loggers = [
                MetaLogger(expert_name=f"e{n}", log_dir=f"logs/{n % 7}", log_to_console=False) for n in range(50)
            ]
            for number in range(20):
                for logger in loggers:
                    logger.info("m", number=number)
            """
        )
        lines = [line for path in Path("logs").glob("*/expert.log") for line in path.read_bytes().splitlines()]
        assert len(lines) == 1000


@alarm
@pytest.mark.storm
class TestSignals:
    """A signal handler may come at any moment.

    A program with a timer ignores its signal at the very end, when Python has taken the handler away: the last one may
    still be on its way to another thread, and after a failure the timer runs on. It would kill the program.
    """

    @MODES
    def test_a_handler_that_logs_during_log_calls(self, run: Run, mode: str) -> None:
        """Thousands of times a second, into a call, a flush, a rotation: no deadlock, each entry once, no gap."""
        run(
            f"""
            import atexit, json, signal
            from metaexpert.logger import MetaLogger
            atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
            logger = MetaLogger(log_to_console=False, max_file_size=50_000, backup_count=999, {mode})
            ticks = [0]
            running = True
            def handler(signum, frame):
                logger.error("tick", tick=ticks[0])
                logger.trade.info("tick")
                ticks[0] += 1
                if running:  # once more: a period would pile up handlers in handlers on a busy machine
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + ticks[0] % 7 * 0.00007)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            number = 0
            while number < 300 or ticks[0] < 300:
                logger.info("m", number=number)
                logger.trade.info("t")
                if number % 10 == 0:
                    assert logger.flush()
                number += 1
            running = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert logger.close()
            stats = logger.stats()
            assert stats["queue_bytes"] == stats["dropped"] == stats["failed"] == 0, stats
            assert stats["written"] == 2 * number + 2 * ticks[0], (stats, number, ticks)
            print(json.dumps([number, ticks[0]]))
            """
        )
        assert sorted(numbers()) == list(range(len(numbers())))
        assert sorted(e["tick"] for e in entries("errors.log")) == list(range(len(entries("errors.log"))))
        assert missing() == set()

    @MODES
    def test_interrupts_at_any_moment(self, run: Run, mode: str) -> None:
        """Ctrl-C again and again: an entry whose call returned is there once, one that was interrupted at most once."""
        result = run(
            f"""
            import atexit, json, signal
            from metaexpert.logger import MetaLogger
            atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
            logger = MetaLogger(log_to_console=False, max_file_size=50_000, backup_count=999, {mode})
            class Interrupt(KeyboardInterrupt):
                pass
            armed = [False]
            def handler(signum, frame):
                if armed[0]:
                    armed[0] = False
                    raise Interrupt
            signal.signal(signal.SIGALRM, handler)
            returned, interrupted = [], []
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
            number = 0
            while number < 2000 and len(interrupted) < 400:
                number += 1
                try:
                    try:
                        armed[0] = True
                        logger.trade.error("m", number=number)
                        returned.append(number)
                        if number % 7 == 0:
                            logger.flush()
                    finally:
                        armed[0] = False
                except Interrupt:
                    interrupted.append(number)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert logger.close(20)
            print(json.dumps([returned, interrupted]))
            """
        )
        returned, interrupted = json.loads(result.stdout)
        assert len(interrupted) > 20
        for base in ("expert.log", "trades.log", "errors.log"):
            found = numbers(base)
            assert len(found) == len(set(found)), "doubled"
            assert set(returned) <= set(found) <= set(returned) | set(interrupted)

    def test_a_handler_that_closes(self, run: Run) -> None:
        """In the middle of a call, a flush, or another close."""
        run(
            """
            import atexit, signal
            from metaexpert.logger import MetaLogger
            atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
            for attempt in range(30):
                logger = MetaLogger(log_dir=f"logs/{attempt}", log_to_console=False, async_logging=attempt % 2 == 0)
                signal.signal(signal.SIGALRM, lambda *_: logger.close())
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + attempt * 0.0002)
                while logger.health != "closed":
                    logger.info("m")
                    logger.flush()
                assert logger.close()
            """
        )


class TestReentry:
    """Code of others that logs where nobody expects it."""

    @MODES
    def test_a_del_that_logs_during_log_calls(self, run: Run, mode: str) -> None:
        """The collector runs in the middle of a call, on any thread, ours included: each entry once, no deadlock."""
        run(
            f"""
            import gc, threading, time
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=50_000, backup_count=999, {mode})
            counts, lock = [0], threading.Lock()
            class Noisy:
                def __init__(self):
                    self.me = self  # only the collector finds it
                def __del__(self):
                    logger.error("gone")
                    counts[0] += 1
            gc.set_threshold(20)
            def work(name):
                for number in range(150):
                    Noisy()
                    logger.info("m", number=number, name=name)
            threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            while counts[0] < 450:  # while another thread collects, gc.collect() returns at once
                gc.collect()
                time.sleep(0.01)
            assert logger.close()
            """
        )
        assert len(entries("errors.log")) == 450
        assert sorted(numbers()) == sorted(list(range(150)) * 3)
        assert missing() == set()

    def test_a_standard_error_that_logs(self, run: Run) -> None:
        """`sys.stderr` replaced by something that logs each line: no endless loop, no deadlock."""
        run(
            """
            import sys
            from metaexpert.logger import MetaLogger
            class ToLog:
                encoding = "utf-8"
                def write(self, text):
                    if text.strip():
                        logger.error("stderr", text=text)
                    return len(text)
                def flush(self):
                    pass
                def isatty(self):
                    return False
            logger = MetaLogger()
            real, sys.stderr = sys.stderr, ToLog()
            for number in range(20):
                logger.info("m", number=number)
            print("printed by the program", file=sys.stderr)
            assert logger.flush()
            assert logger.close()
            logger.error("after close")
            sys.stderr = real
            """
        )
        assert numbers() == list(range(20))
        assert any(entry.get("text") == "printed by the program" for entry in entries())

    def test_values_that_log_while_they_are_written(self, run: Run) -> None:
        """A __str__ that logs: both entries are there."""
        run(
            """
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, async_logging=False)
            class Chatty:
                def __repr__(self):
                    logger.info("inner", number=1)
                    return "chatty"
            logger.info("outer", number=2, value=Chatty())
            """
        )
        assert sorted(numbers()) == [1, 2]


def test_fork_at_exit_and_signals_together(run: Run) -> None:
    """A program that does everything at once ends cleanly, with every entry once."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    run(
        """
        import atexit, os, signal, threading, warnings
        from metaexpert.logger import MetaLogger
        atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)
        warnings.simplefilter("ignore", DeprecationWarning)  # the threads are this program's
        logger = MetaLogger(log_to_console=False, max_file_size=20_000, backup_count=999, compress_backups=True)
        ticks = [0]
        def handler(signum, frame):
            logger.warning("tick", tick=ticks[0])
            ticks[0] += 1
            if running:  # once more: a period would pile up handlers in handlers on a busy machine
                signal.setitimer(signal.ITIMER_REAL, 0.003)
        running = True
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        def work(name):
            for number in range(200):
                logger.error("m", name=name, number=number)
        threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(10):
            child = os.fork()
            if not child:
                running = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                logger.error("child", child=number)
                os._exit(0 if logger.close(20) else 1)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        for thread in threads:
            thread.join()
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        """
    )
    found = entries()
    assert sorted(e["child"] for e in found if "child" in e) == list(range(10))
    for name in range(2):
        assert [e["number"] for e in entries("errors.log") if e.get("name") == name].__len__() == 200
    parent = {e["procid"] for e in found if "name" in e}
    assert len(parent) == 1
    ids = sorted(entry["sequence_id"] for entry in found if entry["procid"] in parent)
    assert ids == list(range(1, len(ids) + 1))
