"""The whole logger in programs of its own, as Windows has it: no forks, no signals, files that others hold open.

Runs everywhere; `tools/wine.py` runs it on Windows' own Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.program
Read = Callable[..., list[dict[str, Any]]]


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program; its standard streams are pipes."""
    Path("program.py").write_text(textwrap.dedent(code), "utf-8")
    command = [sys.executable, "program.py", *arguments]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


def finish(program: subprocess.Popen[bytes]) -> bytes:
    """Wait for the end of a program that succeeds. Returns what it printed; it complains of nothing."""
    out, err = program.communicate(timeout=100)
    assert (program.returncode, err.decode()) == (0, "")
    return out


def own_entries(entries: list[dict[str, Any]]) -> list[str]:
    """Return the messages by which the logger reports troubles."""
    return [entry["message"] for entry in entries if entry["level"] in ("warning", "error", "critical")]


def test_processes_that_are_terminated_lose_nothing_and_report_no_trouble(read_log: Read) -> None:
    """Three write into one directory with rotation and compression, each ends in mid-sentence; the next start recovers.

    What one of them finds locked is at work in another, and that is no trouble.
    """
    code = """
        import sys, time
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_dir="logs", expert_name=sys.argv[1], log_to_console=False,
                            max_file_size="32KB", backup_count=999, compress_backups=True, overflow="block")
        for number in range(400):
            logger.info("entry", number=number)
        logger.info("the last one")
        print("written", flush=True)
        sys.stdin.read()
    """
    programs = [start(code, name) for name in ("a", "b", "c")]
    for program in programs:
        assert program.stdout is not None
        line = program.stdout.readline().strip()
        program.kill()  # TerminateProcess
        _, err = program.communicate(timeout=100)
        assert (line, err.decode()) == (b"written", "")
    finish(start(code, "d"))
    finish(start('from metaexpert.logger import MetaLogger\nMetaLogger(log_dir="logs", log_to_console=False).close()'))
    listed = subprocess.run(
        [sys.executable, "-m", "metaexpert", "logs", "--limit", "all", "--format", "json"],
        capture_output=True,
        check=True,
    )
    entries = [json.loads(line) for line in listed.stdout.splitlines()]
    for name in "abcd":
        numbers = [entry["number"] for entry in entries if entry.get("expert_name") == name and "number" in entry]
        assert numbers == list(range(400))
    assert [message for message in own_entries(entries) if message not in ("log.recovered", "log.died")] == []


def test_a_reader_that_holds_a_file_delays_a_rotation_and_nothing_is_lost(read_log: Read) -> None:
    """Windows renames no file that another has open: that is told, and the logger rotates when it is let go."""
    code = """
        import time
        from pathlib import Path
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_dir="logs", log_to_console=False, max_file_size="16KB", backup_count=99)
        number = 0
        def log(entries):
            global number
            for _ in range(entries):
                logger.info("entry", number=number)
                number += 1
            assert logger.flush(30)
        log(1)
        with open("logs/expert.log", "rb") as held:
            log(200)
        deadline = time.monotonic() + 60
        while not Path("logs/expert.log.1").exists() and time.monotonic() < deadline:
            log(1)
            time.sleep(0.05)
        logger.close()
        print(number)
    """
    program = start(code)
    out, err = program.communicate(timeout=100)
    assert program.returncode == 0
    assert "Traceback" not in err.decode()
    assert bool(err) == (os.name == "nt")
    assert not err or "expert.log cannot be rotated and goes on growing" in err.decode()
    backups = sorted(Path("logs").glob("expert.log.*"), key=lambda path: -int(path.suffix[1:]))
    assert backups
    entries = [entry for path in [*backups, Path("logs/expert.log")] for entry in read_log(path)]
    assert [entry["number"] for entry in entries if "number" in entry] == list(range(int(out)))


def test_children_that_are_new_interpreters_write_into_the_directory(read_log: Read) -> None:
    """`multiprocessing` and `concurrent.futures` start them anew; each has its own process id in the same files."""
    code = """
        import concurrent.futures, logging, multiprocessing
        from metaexpert.logger import MetaLogger, get_logger
        def child(name):
            get_logger("child").info("from a process", name=name)
            logging.getLogger("child").warning("by logging")
            return name
        if __name__ == "__main__":
            logger = MetaLogger(log_dir="logs", log_to_console=False)
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=child, args=("single",))
            process.start()
            process.join()
            with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                print(*pool.map(child, ["pool"]), process.exitcode)
            logger.close()
    """
    assert finish(start(code)).split() == [b"pool", b"0"]
    entries = read_log("logs/expert.log")
    assert [entry["name"] for entry in entries if entry["message"] == "from a process"] == ["single", "pool"]
    assert len([entry for entry in entries if entry["message"] == "by logging"]) == 2
    assert len({entry["procid"] for entry in entries}) == 2


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "utf-8"])
def test_a_console_of_any_encoding_shows_what_it_can(read_log: Read, encoding: str) -> None:
    """The old code pages of Windows lack most characters: those are escaped on the console, and whole in the files."""
    code = """
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_dir="logs")
        logger.warning("Größe 5 → 6 Привет")
        logger.close()
    """
    program = start(code, PYTHONIOENCODING=encoding)
    out, err = program.communicate(timeout=100)
    assert program.returncode == 0
    shown = (out + err).decode(encoding)
    assert "Größe 5" in shown
    assert ("Привет" if encoding == "utf-8" else "\\u041f") in shown
    assert read_log("logs/expert.log")[0]["message"] == "Größe 5 → 6 Привет"


def test_an_uncaught_exception_is_in_the_files_and_the_commands_tell_of_it(read_log: Read) -> None:
    """A command on the files tells how the run ended, at once: its process is gone."""
    program = start(
        'from metaexpert.logger import MetaLogger\nMetaLogger(log_dir="logs", log_to_console=False)\n1 / 0\n'
    )
    _, err = program.communicate(timeout=100)
    assert program.returncode == 1
    assert b"ZeroDivisionError" in err
    assert read_log("logs/errors.log")[-1]["message"] == "log.uncaught"
    why = [sys.executable, "-m", "metaexpert", "logs", "why"]
    told = subprocess.run(why, capture_output=True, check=False)
    assert (told.returncode, b"ZeroDivisionError" in told.stdout) == (1, True)
