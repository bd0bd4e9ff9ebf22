"""Processes that multiprocessing starts write by themselves, as their parent does, without code of their own."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, webhook

from metaexpert.logs import open_logs
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.verify import verify

pytestmark = pytest.mark.program

Read = Callable[..., list[dict[str, Any]]]
METHODS = multiprocessing.get_all_start_methods()
#: With these the child is a new interpreter.
NEW = [method for method in METHODS if method != "fork"]

HEAD = """
    import logging, multiprocessing, os, pathlib, signal, sys, warnings
    from concurrent.futures import ProcessPoolExecutor
    import structlog
    from metaexpert.logger import MetaLogger, get_logger, register_secret
    context = multiprocessing.get_context(sys.argv[1])

    def run(target, *args):
        process = context.Process(target=target, args=args)
        process.start()
        process.join()
        return process.exitcode
"""


def program(code: str, method: str, head: str = HEAD) -> subprocess.CompletedProcess[str]:
    """Run a program that starts its processes by *method*."""
    Path("program.py").write_text(textwrap.dedent(head) + textwrap.dedent(code), "utf-8")
    done = subprocess.run([sys.executable, "program.py", method], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


def left() -> list[str]:
    """Return what a program has left in the private directory that the next start would have to look at."""
    return [path.name for path in Path("logs/.metaexpert").iterdir() if path.is_file() and path.name != "lock"]


@pytest.mark.parametrize("method", METHODS)
class TestDoors:
    def test_every_logger_writes_into_the_parents_directory(self, read_log: Read, method: str) -> None:
        """All ways to log, a logger as an argument and as an attribute, and one of another directory; masked."""
        code = """
            class Strategy:
                def __init__(self, log):
                    self.log = log

            def child(log, strategy):
                get_logger("g").info("get_logger")
                logging.getLogger("l").info("logging with %s", "s3cr3t-value")
                structlog.get_logger("s").info("structlog")
                warnings.warn("warning")
                log.bind(b=2).error("argument", note="s3cr3t-value")
                log.trade.debug("trade")
                strategy.log.info("attribute")
                outside = str(dict(os.environ)) + pathlib.Path("/proc/self/cmdline").read_text()
                assert "s3cr3t-value" not in outside

            if __name__ == "__main__":
                logger = MetaLogger(expert_name="e", log_dir="logs", log_to_console=False, symbol="BTCUSDT")
                other = MetaLogger(expert_name="o", log_dir="other", log_to_console=False)
                register_secret("s3cr3t-value")
                os.mkdir("elsewhere")
                os.chdir("elsewhere")
                assert run(child, logger.bind(a=1), Strategy(other)) == 0
                print(os.getpid())
        """
        parent = program(code, method).stdout.strip()
        entries = read_log("logs/expert.log")
        messages = ["get_logger", "logging with ***", "structlog", "warning", "argument"]
        assert [e["message"] for e in entries] == messages
        assert [e["message"] for e in read_log("logs/errors.log")] == ["argument"]
        assert [e["message"] for e in read_log("logs/trades.log")] == ["trade"]
        other = read_log("other/expert.log")
        assert [(e["message"], e["expert_name"]) for e in other] == [("attribute", "o")]
        assert {e["expert_name"] for e in entries} == {"e"}
        assert [e.get("logger") for e in entries] == ["g", "l", "s", "py.warnings", None]
        assert (entries[4]["a"], entries[4]["b"], entries[4]["symbol"], entries[4]["note"]) == (1, 2, "BTCUSDT", "***")
        assert entries[1]["symbol"] == "BTCUSDT"
        assert len({e["procid"] for e in [*entries, *other]}) == 1
        assert entries[0]["procid"] != parent
        assert [e["sequence_id"] for e in entries] == [1, 2, 3, 4, 5]
        assert left() == []

    def test_pools_subclasses_managers_and_nested_processes(self, read_log: Read, method: str) -> None:
        """Whatever of multiprocessing starts the process, and however deep."""
        code = """
            def begin(name):
                logging.basicConfig(force=True)
                logging.getLogger(name).warning("initializer")

            def task(number):
                logging.getLogger("pool").info("task %d", number)

            class Worker(context.Process):
                def __init__(self, log):
                    super().__init__()
                    self.log = log

                def run(self):
                    self.log.info("subclass")
                    assert run(task, 7) == 0

            if __name__ == "__main__":
                logger = MetaLogger(expert_name="e", log_to_console=False)
                with context.Manager() as manager:
                    shared = manager.dict(a=1)
                with context.Pool(1, begin, ("first",)) as pool:
                    pool.map(task, [1, 2])
                    pool.close()
                    pool.join()
                with ProcessPoolExecutor(1, context, begin, ("second",)) as pool:
                    list(pool.map(task, [3, 4]))
                worker = Worker(logger)
                worker.start()
                worker.join()
        """
        program(code, method)
        entries = read_log("logs/expert.log")
        expected = ["initializer", "initializer", "subclass", *(f"task {n}" for n in (1, 2, 3, 4, 7))]
        assert sorted(e["message"] for e in entries) == expected
        assert len({e["procid"] for e in entries}) == 4
        assert left() == []

    def test_pools_that_end_with_their_block(self, read_log: Read, method: str) -> None:
        """Their workers are killed, which is no death to be told; what waited in their journals is in the files."""
        code = """
            def task(number):
                logging.getLogger("pool").info("task %d", number)

            if __name__ == "__main__":
                with MetaLogger(expert_name="e", log_to_console=False):
                    for begin in range(0, 30, 10):
                        with context.Pool(2) as pool:
                            pool.map(task, range(begin, begin + 10))
        """
        assert program(code, method).stderr == ""
        entries = read_log("logs/expert.log")
        own = [e["message"] for e in entries if e["message"].startswith("log.")]
        assert set(own) <= {"log.recovered"}, entries
        assert sorted(e["message"] for e in entries if e["message"].startswith("task")) == sorted(
            f"task {number}" for number in range(30)
        )
        assert left() == []

    def test_a_logger_made_by_the_main_module(self, read_log: Read, method: str) -> None:
        """The child imports the main module anew, and with it a MetaLogger outside the guard: it is the child's own."""
        code = """
            logger = MetaLogger(expert_name="e", log_to_console=False)

            def child(log):
                log.info("argument")
                logger.info("global")
                logging.info("logging")

            if __name__ == "__main__":
                assert run(child, logger) == 0
        """
        program(code, method)
        entries = read_log("logs/expert.log")
        assert [e["message"] for e in entries] == ["argument", "global", "logging"]
        assert [e["sequence_id"] for e in entries] == [1, 2, 3]
        assert left() == []

    def test_a_child_that_makes_its_own_logger(self, read_log: Read, method: str) -> None:
        """It is installed in the child, also when a library has logged before; the parent's can still be used."""
        code = """
            def child(log):
                logging.getLogger("library").warning("imported")
                own = MetaLogger(expert_name="own", log_dir="own", log_to_console=False, install=True)
                get_logger().info("mine")
                logging.info("records too")
                log.info("yours")

            if __name__ == "__main__":
                logger = MetaLogger(expert_name="e", log_to_console=False)
                assert run(child, logger) == 0
        """
        if method != "fork":  # where the child has the parent's own logger, it has to say so
            code = code.replace(", install=True", "")
        program(code, method)
        assert [e["message"] for e in read_log("own/expert.log")] == ["mine", "records too"]
        assert [e["message"] for e in read_log("logs/expert.log")] == ["imported", "yours"]
        assert left() == []

    def test_how_children_end(self, read_log: Read, method: str) -> None:
        """An exception is logged as uncaught, an exit is not; the next start brings in what a killed one had logged."""
        code = """
            def fails(*args):
                if args:
                    sys.exit(3)
                raise ValueError("kaputt")

            def child(log, kill):
                log.info("before", kill=kill)
                if kill:
                    os.kill(os.getpid(), 9)
                os._exit(1)

            if __name__ == "__main__":
                logger = MetaLogger(log_to_console=False)
                assert (run(fails), run(fails, 3)) == (1, 3)
                assert (run(child, logger, False), run(child, logger, True)) == (1, -9)
                logger.close()
                MetaLogger(log_to_console=False).close()
        """
        program(code, method)
        errors = [e for e in read_log("logs/errors.log") if e["message"] == "log.uncaught"]
        assert [e["exception"]["value"] for e in errors] == ["kaputt"]
        assert "Process-1" in errors[0]["process"]
        entries = [e for e in read_log("logs/expert.log") if e["message"] == "before"]
        assert sorted(e["kill"] for e in entries) == [False, True]
        assert left() == []


class TestNewInterpreters:
    @pytest.mark.parametrize("method", NEW)
    def test_a_child_that_logs_nothing_costs_nothing(self, method: str) -> None:
        """It makes no file, starts no thread, and does not import the logger, unless the program does."""
        code = """
            def child():
                import threading
                assert threading.active_count() == 1
                print(*(name for name in sys.modules if name.startswith(("metaexpert.logger.", "pydantic"))))
                print(*os.listdir("logs/.metaexpert"))

            if __name__ == "__main__":
                import metaexpert.logger
                metaexpert.logger.MetaLogger(log_to_console=False).flush()
                before = os.listdir("logs/.metaexpert")
                assert run(child) == 0
                print(*before)
        """
        head = HEAD.replace("from metaexpert.logger import MetaLogger, get_logger, register_secret", "")
        modules, during, before = program(code, method, head.replace("import structlog", "")).stdout.splitlines()
        assert during.split() == before.split()
        assert set(modules.split()) == {
            "metaexpert.logger.children",
            "metaexpert.logger.system",
            "metaexpert.logger.system.imports",
        }

    @pytest.mark.parametrize("method", NEW)
    def test_a_worker_that_knows_nothing_of_us(self, read_log: Read, method: str) -> None:
        """A module that uses logging and structlog alone, and configures both, writes all the same."""
        Path("worker.py").write_text(
            textwrap.dedent("""
                import logging, structlog
                structlog.configure(processors=[structlog.processors.JSONRenderer()])
                log = structlog.get_logger()

                def work():
                    logging.basicConfig(force=True, level=logging.INFO)
                    log.info("event", a=1)
                    logging.getLogger("w").info("record")
            """)
        )
        code = """
            if __name__ == "__main__":
                from metaexpert.logger import MetaLogger
                import worker
                logger = MetaLogger(log_to_console=False)
                assert run(worker.work) == 0
        """
        head = HEAD.replace("from metaexpert.logger import MetaLogger, get_logger, register_secret", "")
        program(code, method, head.replace("import structlog", ""))
        entries = read_log("logs/expert.log")
        assert [(e["message"], e.get("a")) for e in entries] == [("event", 1), ("record", None)]

    def test_the_state_of_the_moment_is_handed_on(self, read_log: Read) -> None:
        """The level that is set by then; the processors, unless they cannot be pickled, which is reported."""
        code = """
            def stamp(logger, name, event):
                return {**event, "stamped": True}

            def child(log):
                get_logger().debug("debug")
                log.info("other")

            if __name__ == "__main__":
                logger = MetaLogger(log_to_console=False, processors=[stamp])
                other = MetaLogger(log_dir="other", log_to_console=False, processors=[lambda *a: a[2]])
                assert run(child, other) == 0
                logger.set_level("DEBUG")
                assert run(child, other) == 0
        """
        program(code, "spawn")
        entries = read_log("logs/expert.log")
        assert [(e["message"], e["stamped"]) for e in entries] == [("debug", True)]
        assert [e["message"] for e in read_log("other/expert.log")] == ["other", "other"]
        troubles = read_log("other/logging_errors.log")
        assert "processors: cannot be pickled" in troubles[0]["message"]

    def test_processes_from_before_the_logger(self, read_log: Read) -> None:
        """A logger that is handed to a pool from before it was made writes into its directory."""
        code = """
            def task(log):
                log.info("late")

            if __name__ == "__main__":
                with ProcessPoolExecutor(1, context) as pool:
                    pool.submit(int).result()
                    logger = MetaLogger(expert_name="e", log_to_console=False, log_file="all.log")
                    pool.submit(task, logger.bind(a=1)).result()
        """
        program(code, "spawn")
        entries = read_log("logs/all.log")
        assert [(e["message"], e["expert_name"], e["a"]) for e in entries] == [("late", "e", 1)]

    def test_a_closed_logger_stays_closed(self) -> None:
        """A child that starts then prints as a program without a logger does."""
        code = """
            def child(log):
                log.warning("printed")
                get_logger().warning("printed too")

            if __name__ == "__main__":
                logger = MetaLogger(log_to_console=False)
                logger.close()
                assert run(child, logger) == 0
        """
        done = program(code, "spawn")
        assert Path("logs/expert.log").read_bytes() == b""
        assert done.stderr.count("printed") == 2

    def test_nothing_is_doubled(self) -> None:
        """One console line, one alert for an entry of a child; the heartbeat is the parent's."""
        code = """
            def child():
                get_logger().critical("liquidated")

            if __name__ == "__main__":
                with MetaLogger(expert_name="e", alert_heartbeat=True, webhook_url=sys.argv[2]) as logger:
                    assert run(child) == 0
                    assert run(child) == 0
        """
        with ScriptedServer(webhook) as server:
            Path("program.py").write_text(textwrap.dedent(HEAD) + textwrap.dedent(code), "utf-8")
            command = [sys.executable, "program.py", "spawn", server.url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, done.stderr
            sent = Counter(alert["entry"]["message"] for payload in server.accepted for alert in payload["alerts"])
        assert done.stderr.count("liquidated") == 2
        assert sent == {"e started": 1, "liquidated": 2, "e stopped": 1}


def test_an_ordinary_subprocess_inherits_nothing(tmp_path: Path) -> None:
    """Another program is another program."""
    code = """
        if __name__ == "__main__":
            import subprocess
            logger = MetaLogger(log_to_console=False)
            code = "import structlog, logging; structlog.get_logger().info('i'); logging.warning('w')"
            subprocess.run([sys.executable, "-c", code], check=True)
    """
    program(code, METHODS[0])
    assert Path("logs/expert.log").read_bytes() == b""


def test_a_program_that_replaces_itself(read_log: Read) -> None:
    """Over os.execv the process id stays, and numbers begin anew: none is missing, in no file."""
    code = """
        logger = MetaLogger(log_to_console=False)
        for number in range(200 if len(sys.argv) == 2 else 150):
            log = logger.trade if number % 7 == len(sys.argv) else logger
            (log.error if number % 11 == 5 else log.trade.debug if number % 5 == 0 else log.info)("m")
        if len(sys.argv) == 2:
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
    """
    program(code, METHODS[0])
    assert len({e["procid"] for e in read_log("logs/expert.log")}) == 1
    assert verify(open_logs("logs")).counts == {}
    assert collect_stats(open_logs("logs")).gaps == []
