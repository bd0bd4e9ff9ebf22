"""Several processes, and processes that fork: every entry once, numbers without a gap, no deadlock, no warning."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_files import Logs

from metaexpert.logs import open_logs

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Run = Callable[..., subprocess.CompletedProcess[str]]


def entries(directory: str, base: str) -> list[dict[str, Any]]:
    """Return the entries of a file and all its backups, having made sure that no line is torn."""
    return Logs(directory).entries(base)


def numbers(found: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the sequence ids by process, in the order of the files' lines."""
    by_process: dict[str, list[int]] = defaultdict(list)
    for entry in found:
        by_process[entry["procid"]].append(entry["sequence_id"])
    return dict(by_process)


WRITER = """
    import sys
    from metaexpert.logger import MetaLogger

    name, count, options = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
    logger = MetaLogger(expert_name=name, log_to_console=False, backup_count=9999, overflow="block", **options)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        logger.info("i", number=number)
        if number % 3 == 0:
            logger.trade.debug("t", number=number)
        if number % 5 == 0:
            logger.trade.error("e", number=number)
    logger.close()
    assert logger.stats()["dropped"] == 0, logger.stats()
"""


@pytest.mark.storm
class TestOneDirectory:
    """Processes that know nothing of each other."""

    def start(self, tmp_path: Path, python: str, names: list[str], count: int, options: dict[str, Any]) -> None:
        """Run a writer for each name, all beginning at the same moment, and wait for them."""
        program = tmp_path / "writer.py"
        program.write_text(textwrap.dedent(WRITER), "utf-8")
        command = [python, "-W", "error", str(program)]
        writers = [
            subprocess.Popen(
                [*command, name, str(count), repr(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for name in names
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=50)
        assert [writer.returncode for writer in writers] == [0] * len(names)

    def check(self, names: list[str], count: int) -> None:
        """Hold what stands in the three files against what was logged."""
        info, third, fifth = range(count), range(0, count, 3), range(0, count, 5)
        expected = {
            "expert.log": [("i", n) for n in info] + [("e", n) for n in fifth],
            "trades.log": [("t", n) for n in third] + [("e", n) for n in fifth],
            "errors.log": [("e", n) for n in fifth],
        }
        for base, wanted in expected.items():
            by_name = defaultdict(list)
            for entry in entries("logs", base):
                by_name[entry["expert_name"]].append((entry["message"], entry["number"]))
            assert {name: sorted(found) for name, found in by_name.items()} == dict.fromkeys(names, sorted(wanted))
        every = [entry for base in expected for entry in entries("logs", base)]
        for found in numbers(every).values():
            assert sorted(set(found)) == list(range(1, count + len(third) + len(fifth) + 1))
        for found in numbers(entries("logs", "trades.log")).values():
            assert len(set(found)) == len(found)

    def test_eight_processes_with_rotation_going_on(self, tmp_path: Path, python: str) -> None:
        """Eight at once, files of 64 KB: every entry once in each of its files, no gap in any process's numbers."""
        names = [f"e{number}" for number in range(8)]
        self.start(tmp_path, python, names, 600, {"max_file_size": 64 * 1024})
        self.check(names, 600)
        sizes = [path.stat().st_size for path in Path("logs").glob("expert.log*")]
        assert len(sizes) > 10
        assert max(sizes) <= 64 * 1024

    def test_processes_that_also_compress(self, tmp_path: Path, python: str) -> None:
        """All of them compress the backups of all: no backup is spoilt, doubled or left half done."""
        names = [f"e{number}" for number in range(4)]
        self.start(tmp_path, python, names, 400, {"max_file_size": 16 * 1024, "compress_backups": True})
        self.check(names, 400)
        assert list(Path("logs").glob("*.log.*[0-9]")) == []
        assert sorted(path.name for path in Path("logs/.metaexpert").iterdir()) == ["archive", "index", "lock"]
        with open_logs("logs").opened() as chains:  # whoever came last has noted what all left
            assert all(file.spans for chain in chains for file in chain.files if file.name.number)

    def test_a_process_that_is_killed_harms_nobody(self, tmp_path: Path, python: str) -> None:
        """kill -9 in the middle, over and over: the others go on, and bring in what the dead had logged."""
        code = """
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, max_file_size=200_000, backup_count=9999, overflow="block")
            print("ready", flush=True)
            while True:
                logger.info("m")
        """
        program = tmp_path / "victim.py"
        program.write_text(textwrap.dedent(code), "utf-8")
        survivor = "e0"
        for _ in range(3):
            victim = subprocess.Popen([python, str(program)], stdout=subprocess.PIPE)
            assert victim.stdout is not None
            try:
                victim.stdout.readline()
                before, deadline = len(list(Path("logs").iterdir())), time.monotonic() + 30
                while len(list(Path("logs").iterdir())) < before + 3:  # some rotations later
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
            finally:
                victim.kill()
                victim.communicate()
        self.start(tmp_path, python, [survivor], 50, {})
        found = entries("logs", "expert.log")
        ours = [e for e in found if e["expert_name"] == survivor and e["message"] not in ("log.recovered", "log.died")]
        assert len(ours) == 60
        for victims in numbers([e for e in found if e["expert_name"] != survivor]).values():
            assert sorted(victims) == list(range(1, len(victims) + 1))


class TestFork:
    """os.fork."""

    pytestmark = fork

    @pytest.mark.parametrize("mode", ["async", "sync"])
    @pytest.mark.parametrize("leaving", ["sys.exit(0)", "pass", "logger.flush(); os._exit(0)"])
    def test_parent_and_child_each_write_their_own(self, run: Run, mode: str, leaving: str) -> None:
        """What waits at the fork is written once, by the parent; the child numbers from one, under its own id."""
        result = run(
            f"""
            import os, sys
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False, async_logging={mode == "async"})
            for number in range(300):
                logger.info("before", number=number)
            child = os.fork()
            for number in range(300):
                logger.info("after", child=not child, number=number)
            if not child:
                assert logger.stats()["written"] <= 300
                {leaving}
            else:
                assert os.waitpid(child, 0)[1] == 0
                assert logger.flush()
                assert logger.stats()["written"] == 600
            """
        )
        assert result.stderr == ""
        found = entries("logs", "expert.log")
        assert [entry["number"] for entry in found if entry["message"] == "before"] == list(range(300))
        for child in (True, False):
            ours = [entry for entry in found if entry.get("child") is child]
            assert [entry["number"] for entry in ours] == list(range(300))
        assert sorted(numbers(found).values()) == [list(range(1, 301)), list(range(1, 601))]

    @pytest.mark.storm
    def test_forking_again_and_again_while_threads_log(self, run: Run) -> None:
        """Threads of the parent log and rotate all the time: no child hangs on a lock, nothing is lost or doubled."""
        run(
            """
            import os, threading, warnings
            from metaexpert.logger import MetaLogger
            warnings.simplefilter("ignore", DeprecationWarning)  # these threads are not ours
            logger = MetaLogger(log_to_console=False, max_file_size=20000, backup_count=9999, overflow="block")
            stop, counts = threading.Event(), [0, 0, 0]
            def work(name):
                while not stop.is_set():
                    logger.info("thread", thread=name, number=counts[name])
                    counts[name] += 1
                    if counts[name] % 50 == 0:
                        logger.flush()
            threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
            for thread in threads:
                thread.start()
            children = []
            for number in range(20):
                child = os.fork()
                if not child:
                    logger.error("child", number=number)
                    assert logger.flush(20)
                    os._exit(0)
                children.append(child)
            for child in children:
                assert os.waitpid(child, 0)[1] == 0
            stop.set()
            for thread in threads:
                thread.join()
            logger.info("counts", counts=counts)
            """
        )
        found = entries("logs", "expert.log")
        counts = found[-1]["counts"] if "counts" in found[-1] else next(e["counts"] for e in found if "counts" in e)
        for name in range(3):
            ours = [entry["number"] for entry in found if entry.get("thread") == name]
            assert sorted(ours) == list(range(counts[name]))
        assert sorted(e["number"] for e in entries("logs", "errors.log")) == list(range(20))

    def test_no_warning_and_no_thread_is_inherited(self, run: Run) -> None:
        """Python 3.12 warns of a fork with threads: ours have ended by then, also while a backup is compressed."""
        result = run(
            """
            import os, sys, threading, warnings
            from metaexpert.logger import MetaLogger
            warnings.simplefilter("always")
            logger = MetaLogger(
                log_to_console=False,
                capture_warnings=False,
                max_file_size=2_000_000,
                backup_count=99,
                compress_backups=True,
            )
            for number in range(60):
                logger.info(os.urandom(30_000).hex())  # hard to compress, so that forks fall into it
                logger.flush()
                child = os.fork()
                if not child:
                    os._exit(threading.active_count() - 1)
                assert os.waitpid(child, 0)[1] == 0
                logger.info("the thread is there again")
                assert any(thread.name == "metaexpert-log" for thread in threading.enumerate())
            print("a thread of the program", file=sys.stderr)
            done = threading.Event()
            threading.Thread(target=done.wait).start()
            if not os.fork():
                os._exit(0)
            done.set()
            """
        )
        ours, _, others = result.stderr.partition("a thread of the program\n")
        assert ours == ""
        assert "multi-threaded" in others, "the warning would have been seen"
        assert len(list(Path("logs").glob("*.gz"))) == 1
        assert len(entries("logs", "expert.log")) == 120

    def test_the_thread_is_back_by_itself_after_every_kind_of_fork(self, run: Run) -> None:
        """A parent that logs no more shows that it lives; no fork of its warns, also with functions of other libraries.

        These run after ours, and while they do a thread would be counted.
        """
        result = run(
            """
            import multiprocessing, os, pty, subprocess, sys, threading, time, warnings
            from metaexpert.logger import MetaLogger

            def instructions():
                sum(number for number in range(100))

            def back():
                deadline = time.monotonic() + 60
                while not any(thread.name == "metaexpert-log" for thread in threading.enumerate()):
                    assert time.monotonic() < deadline
                    time.sleep(0.001)

            def fork():
                child = os.fork()
                if not child:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0

            def forkpty():
                child, terminal = pty.fork()
                if not child:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                os.close(terminal)

            def multi():
                process = multiprocessing.get_context("fork").Process(target=instructions)
                process.start()
                process.join()
                assert process.exitcode == 0

            warnings.simplefilter("always")
            logger = MetaLogger(log_to_console=False, capture_warnings=False)
            os.register_at_fork(after_in_parent=instructions)
            logger.info("the only entry")
            for way in (fork, forkpty, multi, lambda: subprocess.run(["true"], preexec_fn=instructions)):
                way()
                back()
            warnings.simplefilter("ignore")  # this thread is the program's
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()
            back()
            """
        )
        assert result.stderr == ""

    def test_the_console_prints_nothing_twice(self, run: Run) -> None:
        """What waits for the console at a fork is the parent's."""
        result = run(
            """
            import os
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_file=False)
            for number in range(500):
                logger.info(f"line-{number}-")
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            """
        )
        assert [result.stderr.count(f"line-{number}-") for number in range(500)] == [1] * 500

    def test_a_child_that_logs_nothing_and_a_parent_that_logs_no_more(self, run: Run) -> None:
        """Neither has a thread when it ends: what the parent logged before is there, and nothing is wrong."""
        result = run(
            """
            import os
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            for number in range(100):
                logger.info("m", number=number)
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            """
        )
        assert [entry["number"] for entry in entries("logs", "expert.log")] == list(range(100))
        assert result.stderr == ""

    def test_what_another_thread_logs_during_the_fork_is_written_soon(self, run: Run) -> None:
        """It comes while there is no thread; nobody logs or flushes after it, and it is in the file all the same."""
        run(
            """
            import os, threading, time, warnings
            from metaexpert.logger import MetaLogger
            warnings.simplefilter("ignore", DeprecationWarning)  # the thread is this program's
            logger = MetaLogger(log_to_console=False)
            forking, logged = threading.Event(), threading.Event()
            def other():
                forking.wait()
                logger.info("during")
                logged.set()
            threading.Thread(target=other).start()
            os.register_at_fork(before=lambda: (forking.set(), logged.wait()))
            if not os.fork():
                os._exit(0)
            deadline = time.monotonic() + 20
            while b"during" not in open("logs/expert.log", "rb", buffering=0).readall():
                assert time.monotonic() < deadline
            """
        )

    def test_a_child_of_a_child(self, run: Run) -> None:
        """Three generations, each with its own numbers; the oldest goes on after all."""
        run(
            """
            import os, sys
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            logger.info("m", generation=0)
            for generation in (1, 2):
                child = os.fork()
                if child:
                    os.waitpid(child, 0)
                    break
                logger.info("m", generation=generation)
            logger.info("end")
            """
        )
        found = entries("logs", "expert.log")
        assert sorted(numbers(found).values()) == [[1, 2], [1, 2], [1, 2]]

    def test_a_logger_of_the_childs_own(self, run: Run) -> None:
        """A child may close what it inherited and open another; the parent's goes on."""
        run(
            """
            import os, sys
            from metaexpert.logger import MetaLogger
            logger = MetaLogger(log_to_console=False)
            logger.info("parent 1")
            child = os.fork()
            if not child:
                logger.info("child 1")
                logger.close()
                own = MetaLogger(log_dir="own", log_to_console=False)
                own.info("child 2")
                sys.exit(0)
            os.waitpid(child, 0)
            logger.info("parent 2")
            """
        )
        assert sorted(e["message"] for e in entries("logs", "expert.log")) == ["child 1", "parent 1", "parent 2"]
        assert [entry["message"] for entry in entries("own", "expert.log")] == ["child 2"]


MULTIPROCESSING = """
    import sys
    METHOD, EARLY = sys.argv[1], sys.argv[2] == "early"
    if EARLY:
        import multiprocessing
    from metaexpert.logger import MetaLogger, get_logger

    def work(name):
        logger = get_logger() if METHOD == "fork" else MetaLogger(log_to_console=False)
        for number in range(100):
            logger.info("child", child=name, number=number)

    def main():
        logger = MetaLogger(log_to_console=False)
        logger.info("parent")
        import multiprocessing
        context = multiprocessing.get_context(METHOD)
        children = [context.Process(target=work, args=(name,)) for name in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0, child.exitcode
        logger.info("parent")

    if __name__ == "__main__":
        main()
"""


class TestMultiprocessing:
    """multiprocessing: its children leave by os._exit, past atexit."""

    @pytest.mark.program
    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    @pytest.mark.parametrize("imported", ["early", "late"])
    def test_children_lose_nothing(self, run: Run, method: str, imported: str) -> None:
        """However they are started, and whether multiprocessing was there before the logger or came later."""
        if method != "spawn" and not hasattr(os, "fork"):
            pytest.skip("needs fork")
        run(MULTIPROCESSING, method, imported)
        found = entries("logs", "expert.log")
        for child in range(4):
            ours = [entry["number"] for entry in found if entry.get("child") == child]
            assert ours == list(range(100))
        assert [entry["message"] for entry in found].count("parent") == 2
        for ids in numbers(found).values():
            assert sorted(ids) == list(range(1, len(ids) + 1))

    @fork
    def test_a_pool(self, run: Run) -> None:
        """Workers of a pool of processes inherit the logger."""
        run(
            """
            import warnings
            from concurrent.futures import ProcessPoolExecutor
            import multiprocessing
            from metaexpert.logger import MetaLogger, get_logger
            warnings.simplefilter("ignore", DeprecationWarning)  # the executor has a thread of its own

            def work(number):
                get_logger().info("worker", number=number)
                return number

            if __name__ == "__main__":
                logger = MetaLogger(log_to_console=False)
                context = multiprocessing.get_context("fork")
                with ProcessPoolExecutor(2, mp_context=context) as pool:
                    assert sorted(pool.map(work, range(50))) == list(range(50))
            """
        )
        assert sorted(entry["number"] for entry in entries("logs", "expert.log")) == list(range(50))


def test_executed_programs_inherit_nothing(run: Run) -> None:
    """A subprocess of the strategy holds none of our descriptors, and starting it costs no entry."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    child = """
        import os
        held = []
        for fd in range(3, 50):
            try:
                held.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                pass
        print("held:", held)
    """
    Path("child.py").write_text(textwrap.dedent(child), "utf-8")
    run(
        """
        import subprocess, sys
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False)
        for number in range(10):
            logger.info("m", number=number)
            for close_fds in (True, False):
                command = [sys.executable, "-S", "child.py"]
                shown = subprocess.run(command, capture_output=True, text=True, close_fds=close_fds).stdout
                assert shown.startswith("held:"), shown
                assert "logs" not in shown, shown
        """
    )
    assert [entry["number"] for entry in entries("logs", "expert.log")] == list(range(10))
