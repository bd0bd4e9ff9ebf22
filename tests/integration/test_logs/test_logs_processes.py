"""The reader beside other processes: one that writes fast, one that was killed, and a pipe that closes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metaexpert.logs import Entry, open_logs
from metaexpert.logs.recover import recover_logs, waiting_journals

#: Seconds of following; a minute at night: METAEXPERT_TEST_FOLLOW_SECONDS=60.
SECONDS = float(os.environ.get("METAEXPERT_TEST_FOLLOW_SECONDS", "2"))
RATE = 10_000

WRITER = """
import sys, time
from metaexpert.logger import MetaLogger

seconds, rate = float(sys.argv[1]), int(sys.argv[2])
logger = MetaLogger(expert_name="fast", log_dir="logs", log_to_console=False, max_file_size="2MB", backup_count=60,
                    overflow="block")
begun, number = time.monotonic(), 0
while number < seconds * rate:
    for _ in range(100):
        number += 1
        (logger.trade if number % 50 == 0 else logger).info("tick", number=number, sent=time.time(), pad="x" * 40)
    ahead = number / rate - (time.monotonic() - begun)
    if ahead > 0:
        time.sleep(ahead)
logger.info("done", number=0)
logger.close()
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that starts a Python program in the test's directory."""
    started: list[subprocess.Popen[bytes]] = []

    def start(text: str, *words: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", text, *words], cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.timeout(60 + SECONDS * 4)
def test_following_ten_thousand_entries_a_second(
    tmp_path: Path, program: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """Each entry of another process is seen once, through rotations, and soon after it was logged."""
    (tmp_path / "logs").mkdir()
    logs = open_logs(tmp_path / "logs")
    stream = logs.batches()
    program(WRITER, str(SECONDS), str(RATE))
    seen: list[int] = []
    delays: list[float] = []
    began = time.thread_time()
    for batch in stream:
        now = time.time()
        fields = [record.data for record in batch if isinstance(record, Entry) and record.text in ("tick", "done")]
        seen += [data["number"] for data in fields]
        delays += [now - data["sent"] for data in fields if "sent" in data]
        if 0 in seen[-len(fields) :]:
            break
    assert logs.counts.overrun == 0  # the reader was not left so far behind that files were gone
    assert sorted(seen) == list(range(int(SECONDS * RATE) + 1))
    took = time.thread_time() - began
    delays.sort()
    median, late = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    print(f"{len(seen)} entries, delay p50 {median:.3f} s, p99 {late:.3f} s; {took:.3f} s of processor time")
    assert list((tmp_path / "logs").glob("expert.log.*"))
    # A busy machine makes both processes late, at worst for seconds: so what keeping up costs, and the quickest tenth.
    assert took < SECONDS * 0.75
    assert delays[len(delays) // 10] < 2.0


KILLED = """
import os, signal
from metaexpert.logger import MetaLogger

logger = MetaLogger(expert_name="dead", log_dir="logs", log_to_console=False)
logger.info("first", number=0)
logger.flush()
for number in range(1, 501):
    logger.info("tick", number=number)
logger.trade.info("Order filled", number=501, order_id="ord-1")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_is_recovered_once(tmp_path: Path, program: Callable[..., subprocess.Popen[bytes]]) -> None:
    """Reading changes nothing; recovery brings in what a killed process left, once, and says so in the log."""
    assert program(KILLED).wait() == -signal.SIGKILL
    logs = open_logs(tmp_path / "logs")
    before = len(list(logs))
    assert waiting_journals(tmp_path / "logs") == 1
    found = recover_logs([tmp_path / "logs"])[tmp_path / "logs"]
    assert 0 < found.entries <= 502
    numbers = [record.data["number"] for record in logs if isinstance(record, Entry) and "number" in record.data]
    assert numbers == list(range(502))
    assert len(list(logs)) == before + found.entries + 2  # and that it died
    (told,) = open_logs(tmp_path / "logs", grep="log.recovered")
    assert isinstance(told, Entry)
    assert (told.data["recovered"], told.level) == (found.entries, "warning")
    again = recover_logs([tmp_path / "logs"])[tmp_path / "logs"]
    assert (again.entries, again.lines) == (0, {})
    assert waiting_journals(tmp_path / "logs") == 0


def _metaexpert(tmp_path: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "metaexpert", *words]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A directory with 20,000 entries."""
    line = (
        '{"timestamp":"2026-11-22T10:%02d:%02d.000000Z","level":"info","severity":6,"facility":16,"version":1,'
        '"hostname":"box","appname":"ema","procid":"1","msgid":"log","sequence_id":%d,"message":"tick"}\n'
    )
    (tmp_path / "logs").mkdir()
    text = "".join(line % (*divmod(number // 10, 60), number) for number in range(1, 20_001))
    (tmp_path / "logs" / "expert.log").write_text(text)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="no head")
def test_a_pipe_that_closes_is_no_error(many: Path) -> None:
    """`| head` ends the command quietly with code 0."""
    words = " ".join(_metaexpert(many, "logs", "logs", "-n", "all"))
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -n 3; echo ${{PIPESTATUS[0]}}"],
        cwd=many,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[3:] == ["0"]
    assert done.stderr == ""


def test_the_last_entries_need_neither_pydantic_nor_structlog(many: Path) -> None:
    """Showing the last entries of a directory imports no slow library."""
    code = (
        "import sys\nfrom metaexpert.__main__ import main\nassert main(['logs', 'logs', '-n', '2']) == 0\n"
        "slow = {'pydantic', 'structlog', 'rich.console', 'duckdb', 'asyncio', 'csv', 'zoneinfo'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=many, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("pager", ["cat", "head -n 3"])
def test_a_terminal_gets_colour_and_a_pager(many: Path, pager: str) -> None:
    """On a terminal all entries go through the pager, coloured, unless NO_COLOR forbids."""
    import pty

    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        master, terminal = pty.openpty()
        process = subprocess.Popen(
            _metaexpert(many, "logs", "logs", "--since", "2026-11-22T10:33:00Z"),
            cwd=many, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal,
            env={**os.environ, "METAEXPERT_PAGER": pager, "TERM": "xterm", **variables},
        )  # fmt: skip
        os.close(terminal)
        out = b""
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:
                break
            if not block:
                break
            out += block
        os.close(master)
        assert process.wait() == 0
        assert (b"\x1b[1mtick" in out) == coloured
        assert (out.count(b"\n") == 3) == pager.startswith("head")


def test_completion_of_the_shell(many: Path) -> None:
    """The shell completes commands, options and levels."""
    environment = {**os.environ, "_METAEXPERT_COMPLETE": "complete_bash"}

    def completed(words: str, number: int) -> list[str]:
        variables = {**environment, "COMP_WORDS": words, "COMP_CWORD": str(number)}
        done = subprocess.run(_metaexpert(many), cwd=many, env=variables, capture_output=True, text=True, check=False)
        return done.stdout.split()

    assert {"logs", "run", "config"} <= set(completed("metaexpert ", 1))
    assert {"order", "stats"} <= set(completed("metaexpert logs ", 2))
    assert completed("metaexpert logs --lev", 2) == ["--level"]
    assert completed("metaexpert logs --level w", 3) == ["warning"]


def test_json_of_a_program(many: Path) -> None:
    """What a program reads on standard output is JSON and nothing else."""
    done = subprocess.run(
        _metaexpert(many, "logs", "stats", "logs", "--json"), cwd=many, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["entries"] == 20_000
    assert done.stderr == ""
