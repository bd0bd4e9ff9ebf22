"""The flight recorder of a process that dies: the next start dumps what it had recorded, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.files.recovery import recover_directory
from metaexpert.logs import open_logs
from metaexpert.logs.runs.page import run_lines
from metaexpert.logs.runs.why import verdict
from metaexpert.logs.verify import verify

Read = Callable[..., list[dict[str, Any]]]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
BEGIN = """
    import os, signal, sys
    from metaexpert.logger import MetaLogger
    logger = MetaLogger(log_to_console=False, recorder="1MB")
    def record(first, end):
        for i in range(first, end):
            logger.debug("tick", i=i)
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
"""
RECOVER = """
    import os, signal
    from pathlib import Path
    from metaexpert.logger.files.recovery import recover_directory
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
"""
#: Dies at a step of the dump, after it or in the middle of it.
DIE_DUMPING = textwrap.dedent("""
    from metaexpert.logger.files._rotating_file import RotatingFile
    from metaexpert.logger.journal.segment import Segment
    really = RotatingFile.write, Segment.commit
    def write(self, batch, note=None):
        if "recorder" not in self.path.name:
            return really[0](self, batch, note)
        if {step!r} == "half":
            batch = batch[:bytes(batch).rfind(b"\\n", 0, len(batch) // 2) + 1]
        really[0](self, batch, note)
        if {step!r} != "commit":
            die()
    def commit(self, position):
        really[1](self, position)
        if self.path is not None and self.path.suffix == ".ring":
            die()
    RotatingFile.write = write
    if {step!r} == "commit":
        Segment.commit = commit
""")


def run(code: str, begin: str = BEGIN, **values: Any) -> int:
    """Run a program that begins like that; return how it ended."""
    program = textwrap.dedent(begin) + textwrap.dedent(code).format(**values)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


@pytest.fixture
def dumped(read_log: Read) -> Callable[[], list[int]]:
    """Return a function that returns the field ``i`` of all that was dumped."""
    paths = Path("logs").glob
    return lambda: [entry["i"] for path in sorted(paths("recorder-*.log")) for entry in read_log(path)]


def test_a_kill_brings_what_was_recorded_before_it(dumped: Any, read_log: Read) -> None:
    """After kill -9 the next start dumps it, counts it, and shows it on request only."""
    assert run('logger.info("start"); logger.flush(); record(0, 500); die()') == -signal.SIGKILL
    logger = MetaLogger(log_to_console=False)
    logger.close()
    assert dumped() == list(range(500))
    messages = [entry["message"] for entry in read_log("logs/expert.log")]
    assert messages == ["start", "log.died", "log.recorder"]
    assert read_log("logs/expert.log")[-1]["dumped"] == 500
    assert [path.name for path in Path("logs/.metaexpert").iterdir()] == ["lock"]
    assert (len(list(open_logs("logs"))), len(list(open_logs("logs", recorder=True)))) == (3, 503)
    assert verify(open_logs("logs")).ok


def test_the_verdict_names_what_was_recorded() -> None:
    """`metaexpert logs why` says where the entries before the end are, for the run whose they are."""
    assert run("record(0, 5); logger.info('last'); die()") == -signal.SIGKILL
    recover_directory(Path("logs"))
    (name,) = (path.name for path in Path("logs").glob("recorder-*.log"))
    found = verdict(open_logs("logs"))
    assert found.recorded == found.as_dict()["recorded"] == [name]
    assert found.run is not None
    assert any("metaexpert logs --recorder logs" in line for line in run_lines(found, found.run, UTC))
    logger = MetaLogger(log_to_console=False)
    logger.info("another run")
    logger.close()
    assert verdict(open_logs("logs")).recorded == []


def test_an_error_just_before_the_kill(dumped: Any) -> None:
    """What the dump of the error has brought, the recovery does not bring again."""
    assert run('record(0, 300); logger.error("boom"); logger.flush(); record(300, 700); die()') == -signal.SIGKILL
    found = recover_directory(Path("logs"))
    assert (list(found.recorded.values()), dumped()) == ([400], list(range(700)))
    assert recover_directory(Path("logs")).recorded == {}


@pytest.mark.parametrize("step", ["half", "written", "commit"])
def test_a_kill_in_the_middle_of_a_dump(dumped: Any, step: str) -> None:
    """Each entry comes once, whether the file had it when the process died or not."""
    code = 'record(0, 500); logger.error("boom"); record(500, 600); logger.flush()'
    assert run(DIE_DUMPING + code, step=step) == -signal.SIGKILL
    recover_directory(Path("logs"))
    found = dumped()
    assert found[:500] == list(range(500))
    assert len(found) == len(set(found))


def test_a_recovery_that_is_killed_goes_on_with_the_same_file(dumped: Any) -> None:
    """It is repeated until all is there, once."""
    assert run("record(0, 1500); die()") == -signal.SIGKILL
    for _ in range(2):
        assert run(DIE_DUMPING + "recover_directory(Path('logs'))", begin=RECOVER, step="half") == -signal.SIGKILL
    recover_directory(Path("logs"))
    assert dumped() == list(range(1500))
    assert len(list(Path("logs").glob("recorder-*.log"))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_ring_of_its_own(dumped: Any, read_log: Read) -> None:
    """The child's death brings the child's entries, the parent's error the parent's, whatever wanted a dump before."""
    code = """
        record(0, 10)
        child = os.fork()
        if not child:
            record(10, 20)
            die()
        os.waitpid(child, 0)
        record(20, 30)
        logger.error("boom")
        logger.close()
    """
    assert run(code) == 0
    files = {json.dumps([entry["i"] for entry in read_log(path)]) for path in Path("logs").glob("recorder-*.log")}
    assert files == {json.dumps([*range(10), *range(20, 30)]), json.dumps([*range(10, 20)])}  # by the parent's close
    assert sorted(dumped()) == list(range(30))
    numbers = [entry["sequence_id"] for entry in read_log(sorted(Path("logs").glob("recorder-*.log"))[0])]
    assert numbers == list(range(1, 11))


def test_a_crash_and_an_uncaught_exception(dumped: Any) -> None:
    """A segmentation fault leaves the ring to the recovery; an uncaught exception is an error, and dumps it itself."""
    assert run("import ctypes; record(0, 40); ctypes.string_at(0)") == -signal.SIGSEGV
    recover_directory(Path("logs"))
    assert dumped() == list(range(40))
    program = textwrap.dedent(BEGIN) + "record(40, 50)\nraise SystemError('lost')"
    subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert dumped() == list(range(50))


def test_planted_rings(read_log: Read) -> None:
    """What calls itself a ring is set aside unless it is one; a name for the file can be given by no line."""
    assert run("record(0, 5); die()") == -signal.SIGKILL
    ring = next(Path("logs/.metaexpert").glob("*.ring"))
    data = ring.read_bytes()
    evil = b'{"timestamp":"../../../../../../../../../x","sequence_id":1}\n'
    end = data.rindex(b"\n") + 1
    ring.write_bytes(data[:end] + evil + data[end + len(evil) :])
    owner = ring.name.partition(".")[0]
    ring.with_name(f"{owner}.98.ring").write_bytes(b"MXLOGJNL" + b"x" * 2000)
    segment = next(Path("logs/.metaexpert").glob("*.segment"), None)
    if segment is not None:
        ring.with_name(f"{owner}.99.ring").write_bytes(segment.read_bytes())
    found = recover_directory(Path("logs"))
    assert list(found.recorded) == ["recorder-00000101T000000.000000Z.log"]
    lines = Path("logs").joinpath(*found.recorded).read_bytes().splitlines()
    assert [json.loads(line).get("i") for line in lines] == [*range(5), None]
    assert len(found.set_aside) == 1 + (segment is not None)
