"""How programs end: uncaught exceptions are in the files, and the next start says how the last run ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from log_files import Logs

from metaexpert.logger import BoundLogger, MetaLogger

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Python spells the signal with one from 3.13 on.
HYPHEN = "-" if sys.version_info >= (3, 13) else " "
START = """
import asyncio, ctypes, faulthandler, gc, os, signal, sys, threading, time
faulthandler.disable()  # that of the test's runner
from metaexpert.logger import MetaLogger
logger = MetaLogger(log_to_console=False)
logger.info("started")
"""


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[BoundLogger]:
    """An installed logger into `logs`, closed after the test."""
    made = MetaLogger(log_dir="logs", log_to_console=False, install=True)
    yield made
    made.close()


def died() -> list[dict[str, Any]]:
    """Start on the directory anew; return what it says of those that died."""
    MetaLogger(log_dir="logs", log_to_console=False, install=False).close()
    return Logs().news("log.died")


class TestUncaught:
    """Exceptions that nobody caught."""

    @pytest.mark.parametrize("mode", ["True", "False"], ids=["asynchronous", "synchronous"])
    def test_the_program(self, run: Run, mode: str) -> None:
        """One CRITICAL entry with the traceback, in both files; Python prints the traceback as ever."""
        code = START.replace("log_to_console", f"async_logging={mode}, log_to_console")
        result = run(code + "def trade():\n    raise ValueError('no funds')\ntrade()", returncode=1)
        assert "ValueError: no funds" in result.stderr
        for base in ("expert.log", "errors.log"):
            (entry,) = [entry for entry in Logs().entries(base) if entry["message"] == "log.uncaught"]
            assert (entry["level"], entry["exception"]["type"]) == ("critical", "ValueError")
            assert entry["exception"]["frames"][-1]["function"] == "trade"

    @pytest.mark.parametrize(
        "hook",
        [
            "from rich import traceback\ntraceback.install()",
            "sys.excepthook = lambda *error: None",
            "ours = sys.excepthook\nsys.excepthook = lambda *error: ours(*error)",
            "def hook(*error):\n    raise RuntimeError('a hook that breaks')\nsys.excepthook = hook",
        ],
        ids=["rich", "silent", "chained", "broken"],
    )
    def test_a_hook_that_was_set_after_ours(self, run: Run, hook: str) -> None:
        """Whatever a later hook does with the exception, it is logged once, and the next start knows the end."""
        run(START + f"{hook}\nraise ValueError('no funds')", returncode=1)
        (entry,) = [entry for entry in Logs().entries("errors.log") if entry["message"] == "log.uncaught"]
        assert (entry["level"], entry["exception"]["value"]) == ("critical", "no funds")
        (end,) = died()
        assert (end["reason"], end["error"]) == ("uncaught", "ValueError: no funds")

    def test_an_exception_that_somebody_keeps_is_none_that_ended_the_program(self, run: Run) -> None:
        """Test runners and debuggers set `sys.last_exc`; a close before the end of the program does not look at it."""
        run(START + "sys.excepthook = print\nsys.last_exc = ValueError('a failed test')\nlogger.close()")
        assert [entry["message"] for entry in Logs().entries()] == ["started"]

    def test_a_secret_in_it_is_masked(self, run: Run) -> None:
        """In the entry, and in what the next start says."""
        run(START + "from metaexpert.logger import register_secret\nregister_secret('s3cr3t-value')\n"
            "raise RuntimeError('bad key s3cr3t-value')", returncode=1)  # fmt: skip
        (end,) = died()
        assert (end["reason"], end["error"]) == ("uncaught", "RuntimeError: bad key ***")
        assert all(b"s3cr3t-value" not in path.read_bytes() for path in Path("logs").rglob("*") if path.is_file())

    @pytest.mark.parametrize("ending", ["sys.exit(3)", "raise KeyboardInterrupt", "raise SystemExit"])
    def test_an_end_that_is_wanted(self, run: Run, ending: str) -> None:
        """Nothing failed: no entry, and the next start has nothing to say."""
        run(START + ending, returncode={"sys.exit(3)": 3, "raise KeyboardInterrupt": -signal.SIGINT}.get(ending, 0))
        assert [entry["message"] for entry in Logs().entries()] == ["started"]
        assert died() == []

    def test_a_thread(self, run: Run) -> None:
        """Its name is told, and the program goes on."""
        run(START + "thread = threading.Thread(target=lambda: 1 / 0, name='feed')\nthread.start()\nthread.join()\n"
            "logger.info('goes on')")  # fmt: skip
        found = Logs().entries()
        assert [entry["message"] for entry in found] == ["started", "log.uncaught", "goes on"]
        assert (found[1]["thread"], found[1]["exception"]["type"]) == ("feed", "ZeroDivisionError")
        assert died() == []

    def test_a_finalizer(self, run: Run) -> None:
        """What it belongs to is told."""
        run(START + "class Order:\n    def __del__(self):\n        raise OSError('gone')\nOrder()\ngc.collect()")
        (entry,) = Logs().news("log.uncaught")
        assert "Order.__del__" in entry["ignored"]
        assert entry["exception"]["type"] == "OSError"

    def test_a_task(self, run: Run) -> None:
        """asyncio reports it by `logging`; it is the same entry."""
        run(START + "async def feed():\n    raise LookupError('symbol')\nasync def main():\n"
            "    task = asyncio.create_task(feed())\n    await asyncio.sleep(0)\n    del task\n    gc.collect()\n"
            "asyncio.run(main())")  # fmt: skip
        (entry,) = Logs().news("log.uncaught")
        assert (entry["level"], entry["exception"]["type"]) == ("critical", "LookupError")
        assert "never retrieved" in entry["asyncio"]

    def test_the_hooks_that_were_there_are_called_and_put_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each once, with what Python gave us."""
        seen: list[Any] = []
        for owner, name in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
            monkeypatch.setattr(owner, name, lambda *args, name=name: seen.append(name))
        before = sys.excepthook, threading.excepthook, sys.unraisablehook
        with MetaLogger(log_dir="logs", log_to_console=False, install=True):
            error = ValueError("m")
            sys.excepthook(ValueError, error, None)
            threading.excepthook(threading.ExceptHookArgs((ValueError, error, None, None)))
            assert seen == ["excepthook", "excepthook"]
        assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
        assert [entry["message"] for entry in Logs().entries()] == ["log.uncaught"] * 2

    def test_a_hook_that_came_later_stays(self, logger: BoundLogger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody else's is not ours to remove."""
        monkeypatch.setattr(sys, "excepthook", print)
        logger.close()
        assert sys.excepthook is print

    def test_it_can_be_left_out(self) -> None:
        """With `capture_uncaught=False` nothing is touched."""
        before = sys.excepthook, threading.excepthook, sys.unraisablehook
        with MetaLogger(log_dir="logs", log_to_console=False, install=True, capture_uncaught=False):
            assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
class TestDeath:
    """What the next start says."""

    def test_a_close_needs_no_word(self, run: Run) -> None:
        """The run ended as it should."""
        run(START)
        assert died() == []
        assert sorted(path.name for path in Path("logs/.metaexpert").iterdir()) == ["lock"]

    @pytest.mark.parametrize(
        ("ending", "told"),
        [
            ("ctypes.string_at(0)", "Segmentation fault"),
            ("os.abort()", "Aborted"),
            ("faulthandler._sigfpe()", f"Floating{HYPHEN}point exception"),
        ],
    )
    def test_a_crash(self, run: Run, ending: str, told: str) -> None:
        """Its signal and its first frames, told once."""
        run(START + f"def strategy():\n    {ending}\nstrategy()", returncode={
            "Segmentation fault": -signal.SIGSEGV, "Aborted": -signal.SIGABRT
        }.get(told, -signal.SIGFPE))  # fmt: skip
        (end,) = died()
        assert (end["level"], end["reason"], end["signal"]) == ("error", "crashed", told)
        assert end["frames"][0].endswith(("strategy", "string_at"))
        assert died() == [end]

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux which files are open")
    def test_a_crash_of_a_program_that_closed_our_descriptors(self, run: Run) -> None:
        """The traceback goes into a file of ours that is opened anew, not into one that took the number."""
        run(START + """
logger.flush()
os.closerange(3, 4096)
theirs = [open(f"theirs-{number}", "wb") for number in range(12)]
def is_open():
    return any(os.path.exists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").endswith(".crash")
               for fd in os.listdir("/proc/self/fd"))
end = time.monotonic() + 60
while not (is_open() and faulthandler.is_enabled()) and time.monotonic() < end:
    logger.info("tick")
    time.sleep(0.05)
ctypes.string_at(0)
""", returncode=-signal.SIGSEGV)  # fmt: skip
        assert [path.stat().st_size for path in Path().glob("theirs-*")] == [0] * 12
        (end,) = died()
        assert (end["reason"], end["signal"]) == ("crashed", "Segmentation fault")

    @pytest.mark.parametrize("wait", ["", "logger.flush(); "], ids=["at once", "all written"])
    def test_a_kill(self, run: Run, wait: str) -> None:
        """With the last heartbeat, which lies between the start and now."""
        run(START + f"print(os.getpid(), flush=True); {wait}os.kill(os.getpid(), signal.SIGKILL)",
            returncode=-signal.SIGKILL)  # fmt: skip
        (end,) = died()
        assert end["reason"] == "killed or power lost"
        started = Logs().news("started")[0]
        assert end["died_procid"] == started["procid"]
        assert end["died_hostname"] == started["hostname"]
        assert started["timestamp"][:17] <= end["last_alive"][:17] <= end["timestamp"][:17]

    def test_a_program_that_is_replaced(self, run: Run) -> None:
        """The new one has the same process id, and is told apart from one that was killed."""
        code = START + (
            "if len(sys.argv) < 2:\n    os.execv(sys.executable, [sys.executable, __file__, 'again'])\nlogger.close()"
        )
        run(code)
        ends = Logs().news("log.died")
        assert [end["reason"] for end in ends] == ["replaced by another program"]
        assert died() == ends

    @pytest.mark.parametrize(
        "call",
        ["execv('/bin/true', ['true'])", "execlp('true', 'true')", "execvpe('true', ['true'], {'PATH': '/bin'})"],
        ids=["execv", "execlp", "execvpe"],
    )
    def test_a_program_that_is_replaced_by_one_that_ends_at_once(self, run: Run, call: str) -> None:
        """Nobody could see the other program, but the first has noted that it is replaced."""
        run(START + f"os.{call}")
        assert [end["reason"] for end in died()] == ["replaced by another program"]

    def test_a_program_that_could_not_be_replaced(self, run: Run) -> None:
        """It goes on, and is told when it is killed then."""
        code = "try:\n    os.execlp('no-such-program', 'x')\nexcept OSError:\n    os.kill(os.getpid(), signal.SIGKILL)"
        run(START + code, returncode=-signal.SIGKILL)
        assert [end["reason"] for end in died()] == ["killed or power lost"]

    def test_a_child_that_becomes_another_program_says_nothing_of_its_parent(self, run: Run) -> None:
        """The parent is told as killed."""
        code = "if os.fork() == 0:\n    os.execv('/bin/true', ['true'])\nos.wait()\n"
        run(START + code + "os.kill(os.getpid(), signal.SIGKILL)", returncode=-signal.SIGKILL)
        assert [end["reason"] for end in died()] == ["killed or power lost"]

    def test_a_forked_child_that_logs_nothing_leaves_nothing(self, run: Run) -> None:
        """It ends by `os._exit`, or becomes another program."""
        run(START + "if os.fork() == 0:\n    os._exit(0)\nos.wait()\nlogger.close()")
        assert died() == []

    def test_the_command_says_it_too(self, run: Run, python: str) -> None:
        """`metaexpert logs recover` brings it into the file."""
        run(START + "os.kill(os.getpid(), signal.SIGKILL)", returncode=-signal.SIGKILL)
        subprocess.run([python, "-m", "metaexpert", "logs", "recover", "logs"], check=True, capture_output=True)
        (end,) = Logs().news("log.died")
        assert end["reason"] == "killed or power lost"
        assert died() == [end]

    def test_faulthandler_of_the_program_is_left_alone(self, run: Run) -> None:
        """It has its own file; then a crash is told as a kill."""
        run(
            START.replace("faulthandler.disable()", "faulthandler.enable()") + "ctypes.string_at(0)",
            returncode=-signal.SIGSEGV,
        )
        (end,) = died()
        assert end["reason"] == "killed or power lost"

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"procid": 1}', b"\xff" * 100, b"0" * 10**6])
    def test_an_owner_file_that_says_nothing(self, content: bytes) -> None:
        """Of an earlier version, or torn: no word, and it is gone."""
        private = Path("logs/.metaexpert")
        private.mkdir(parents=True)
        (private / "abc.owner").write_bytes(content)
        assert died() == []
        assert not (private / "abc.owner").exists()

    def test_what_is_told_is_valid(self, run: Run, read_log: Callable[..., list[dict[str, Any]]]) -> None:
        """Each entry fits the schema."""
        run(START + "os.kill(os.getpid(), signal.SIGKILL)", returncode=-signal.SIGKILL)
        assert died()
        assert read_log("logs/expert.log")

    @pytest.mark.parametrize("ending", ["SIGTERM", "SIGKILL"])
    def test_without_files_the_console_has_an_error_when_the_call_returns(self, run: Run, ending: str) -> None:
        """Nothing else would keep it; what is below an error may be lost with the process."""
        code = START.replace("log_to_console=False", "log_to_file=False")
        result = run(code + f"logger.error('position open')\nos.kill(os.getpid(), signal.{ending})",
                     returncode=-getattr(signal, ending))  # fmt: skip
        assert "position open" in result.stderr

    def test_a_journal_that_waits_is_not_invisible(self, run: Run, python: str) -> None:
        """`metaexpert logs` finds no error in the files, and says where one waits."""
        code = START + (
            "from metaexpert.logger.files.writing_thread import writing_thread\nlogger.flush()\n"
            "writing_thread._directories = ()\nlogger.error('order rejected')\nos.kill(os.getpid(), signal.SIGKILL)"
        )
        run(code, returncode=-signal.SIGKILL)
        (owner,) = Path("logs/.metaexpert").glob("*.owner")
        os.utime(owner, (1, 1))
        command = [python, "-m", "metaexpert", "logs", "logs", "--level", "error"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "1 entry of dead processes only in the journal of logs: metaexpert logs recover logs" in shown.stderr
        died()
        shown = subprocess.run(command, check=True, capture_output=True, text=True)
        assert "order rejected" in shown.stdout
        assert "journal" not in shown.stderr
