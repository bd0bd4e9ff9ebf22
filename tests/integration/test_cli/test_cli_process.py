"""`metaexpert logs` as a process: pipes, signals, terminals, encodings, and following a running logger."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexpert._version import __version__
from metaexpert.logger import MetaLogger
from metaexpert.logs import Entry, open_logs

Start = Callable[..., subprocess.Popen[bytes]]
Run = Callable[..., tuple[int, str, str]]

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

WRITER = """
import sys
from metaexpert.logger import MetaLogger
from metaexpert.logs import Entry, open_logs
logger = MetaLogger(
    expert_name="writer", log_dir="logs", log_level="DEBUG", log_to_console=False, max_file_size="150KB",
    backup_count=500, compress_backups=True, overflow="block", install=False,
)
trade = logger.trade
for number in range(int(sys.argv[1])):
    if number % 50 == 0:
        trade.info("Order filled", number=number)
    elif number % 70 == 0:
        logger.error("Order failed", number=number)
    else:
        logger.info("Price", number=number)
    if number % 100 == 0:
        logger.flush()
logger.info("The end")
logger.close()
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory `logs` written by the real logger: 3,000 entries."""
    with MetaLogger(
        expert_name="ema", log_dir=tmp_path / "logs", log_to_console=False, overflow="block", install=False
    ) as logger:
        for number in range(3000):
            logger.info("Größe π €", number=number)
    return tmp_path / "logs"


def test_both_ways_to_start(run: Run, tmp_path: Path) -> None:
    """`python -m metaexpert` and the console script are the same program."""
    assert run("--version") == (0, f"metaexpert {__version__}{os.linesep}", "")
    script = Path(sys.executable).with_name("metaexpert.exe" if os.name == "nt" else "metaexpert")
    out = subprocess.run([script, "--version"], capture_output=True, check=True, cwd=tmp_path)
    assert out.stdout.split() == [b"metaexpert", __version__.encode()]


def read_one_line_and_leave(process: subprocess.Popen[bytes]) -> None:
    """Do what `head -1` does, and expect the command to end silently and well."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 0


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_reader_that_leaves_early(start: Start, logs: Path, form: str) -> None:
    """When `head` has seen enough, the command ends silently and well."""
    read_one_line_and_leave(start("logs", "-n", "all", "--format", form))


@POSIX
def test_a_reader_that_leaves_while_nothing_comes(start: Start, logs: Path) -> None:
    """`logs --follow | head -1` ends at once, not with the next entry, which may come in an hour."""
    read_one_line_and_leave(start("logs", "--follow", "-n", "1"))


@POSIX
def test_ctrl_c_ends_following_quietly(start: Start, logs: Path) -> None:
    """Ctrl-C ends --follow with exit code 130 and no word."""
    process = start("logs", "--follow", "-n", "1")
    assert process.stdout is not None
    assert b"number=2999" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130


def test_a_narrow_encoding_stops_nothing(run: Run, logs: Path) -> None:
    """Where standard output cannot hold a character it is escaped; JSON in a pipe is UTF-8 in any case."""
    code, out, err = run("logs", "-n", "1", PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert r"Gr\xf6\xdfe \u03c0 \u20ac" in out
    assert "Größe π €" in run("logs", "-n", "1", "--format", "json", PYTHONIOENCODING="ascii")[1]
    assert run("--help", PYTHONIOENCODING="ascii")[0] == 0


def test_colours_when_asked(run: Run, logs: Path) -> None:
    """In a pipe there are no colours, unless FORCE_COLOR is set; NO_COLOR beats it; JSON never has any."""
    coloured = {
        name: "\x1b[" in run("logs", "-n", "1", *words, **variables)[1]
        for name, words, variables in (
            ("pipe", (), {}),
            ("forced", (), {"FORCE_COLOR": "1"}),
            ("refused", (), {"FORCE_COLOR": "1", "NO_COLOR": "1"}),
            ("json", ("--format", "json"), {"FORCE_COLOR": "1"}),
        )
    }
    assert coloured == {"pipe": False, "forced": True, "refused": False, "json": False}


@POSIX
@pytest.mark.parametrize(
    ("form", "variables", "wanted"),
    [("text", {}, True), ("text", {"NO_COLOR": "1"}, False), ("json", {}, False), ("csv", {}, False)],
)
def test_a_terminal(
    tmp_path: Path, environment: dict[str, str], form: str, variables: dict[str, str], wanted: bool
) -> None:
    """A terminal gets colours, unless the user wants none, and no escape code out of a value or a torn line."""
    import pty

    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
        logger.info("evil", value="\x1b]0;owned\x07")
    with (tmp_path / "logs" / "expert.log").open("ab") as file:
        file.write(b"\x1b]0;owned\x07\n")
    main, side = pty.openpty()
    words = [sys.executable, "-m", "metaexpert", "logs", "--format", form]
    env = environment | {"TERM": "xterm"} | variables
    process = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=side, stderr=subprocess.DEVNULL)
    assert process.wait(30) == 0
    out = os.read(main, 65536)
    os.close(side)
    os.close(main)
    assert out.count(b"owned") == 2
    assert b"\x1b]" not in out
    assert b"\x07" not in out
    assert (b"\x1b[" in out) is wanted


def test_following_a_logger_through_rotation_and_compression(
    start: Start, tmp_path: Path, environment: dict[str, str]
) -> None:
    """20,000 entries of another process, through dozens of rotations with compression, each come once, in order."""
    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
        logger.info("The beginning")
    reader = start("logs", "--follow", "-n", "1", "--format", "json")
    assert reader.stdout is not None
    assert b"The beginning" in reader.stdout.readline()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, "20000"], cwd=tmp_path, env=environment)
    numbers = []
    for line in reader.stdout:
        entry = json.loads(line)
        if entry["message"] == "The end":
            break
        numbers.append(entry["number"])
    assert writer.wait(30) == 0
    assert sorted(numbers) == list(range(20_000))
    in_order = [number for number in numbers if number % 50 and number % 70]
    assert in_order == sorted(in_order)
    assert len(list((tmp_path / "logs").glob("expert.log.*.gz"))) >= 3


def test_reading_beside_a_writing_process(run: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    """A snapshot taken while another process writes and rotates has no doubled entry, and time does not step back."""
    (tmp_path / "logs").mkdir()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, "15000"], cwd=tmp_path, env=environment)
    try:
        while writer.poll() is None:
            code, out, _ = run("logs", "-n", "all", "--format", "json")
            ids = [json.loads(line)["sequence_id"] for line in out.splitlines()]
            assert code == 0
            assert len(ids) == len(set(ids))
            assert ids == sorted(ids)
    finally:
        writer.kill()
        writer.wait()


def test_the_reader_leaves_no_trace(run: Run, logs: Path) -> None:
    """Reading makes no file, changes none and loads no configuration of the directory's owner."""
    before = {path: path.stat().st_mtime_ns for path in logs.rglob("*")}
    assert run("logs", "-n", "all")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in logs.rglob("*")} == before


def test_help_fits_any_width(run: Run) -> None:
    """Help is readable text without colours in a pipe."""
    code, out, _ = run("logs", "--help", COLUMNS="60")
    assert code == 0
    assert not re.search(r"\x1b", out)


def test_both_layouts_tell_the_same(tmp_path: Path) -> None:
    """The same calls, written in either layout, are read as the same entries."""
    read = {}
    for layout in ("flat", "rfc5424"):
        with MetaLogger(
            log_dir=tmp_path / layout, layout=layout, log_to_console=False, install=False, symbol="BTCUSDT"
        ) as logger:
            logger.trade.info("Order filled", side="BUY", size=0.1, order_id="ord-1", nonce=10**25)
            logger.error("Order failed", **{"odd =]name": [1, {"a": None}]})
        own = {"timestamp", "sequence_id"}
        read[layout] = [
            {key: value for key, value in record.flat.items() if key not in own}
            for record in open_logs(tmp_path / layout)
            if isinstance(record, Entry)
        ]
    assert len(read["flat"]) == 2
    assert read["flat"] == read["rfc5424"]
