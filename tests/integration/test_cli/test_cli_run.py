"""`metaexpert run` as a process: it runs, it fails, it is interrupted."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]
ExpertFile = Callable[..., Path]


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_run_from_file_to_files(run: Run, expert_file: ExpertFile, tmp_path: Path) -> None:
    """An expert is run over its bars, says how it went, and its orders stand in the files."""
    expert_file("expert.buy(10)\n    expert.stop('enough')")
    code, out, err = run("run", "expert.py", "--data", "bars.csv")
    assert (code, err) == (0, "")
    assert out == "ema: enough; 1 bar, 1 order, 0 fills, 0 errors; result +0.00, fees 0.00\n"
    assert [e["message"] for e in entries(tmp_path / "logs" / "trades.log")][:1] == ["Order submitted"]


def test_command_line_options_beat_code_and_environment(run: Run, expert_file: ExpertFile, tmp_path: Path) -> None:
    """What is said on the command line wins over the expert's arguments and the environment."""
    expert_file()
    code, _, err = run(
        "run", "expert.py", "--data", "bars.csv", "--log-dir", "elsewhere", "--expert-name", "named",
        "--log-level", "debug", "--log-to-console", "--json-logging", "--trade-log-file", "deals.log",
        LOG_DIR="env", LOG_LEVEL="ERROR",
    )  # fmt: skip
    assert code == 0
    files = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert {"expert.log", "deals.log", "errors.log"} <= files
    assert not (tmp_path / "env").exists()
    found = entries(tmp_path / "elsewhere" / "expert.log")
    assert {e["expert_name"] for e in found} == {"named"}
    assert "debug" in {e["level"] for e in found}
    assert [json.loads(line)["sequence_id"] for line in err.splitlines()]


def test_modules_beside_the_expert_are_found(run: Run, expert_file: ExpertFile, tmp_path: Path) -> None:
    """An expert may import its neighbours, knows its file, is not __main__ and can be pickled by name."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "neighbour.py").write_text("ANSWER = 42\n")
    expert_file(
        file="sub/expert.py",
        after="import neighbour, pickle, pathlib\n"
        "class Thing: pass\n"
        "assert neighbour.ANSWER == 42 and __name__ != '__main__'\n"
        "assert pathlib.Path(__file__).name == 'expert.py'\n"
        "assert type(pickle.loads(pickle.dumps(Thing()))) is Thing\n",
    )
    assert run("run", "sub/expert.py", "--data", "bars.csv")[::2] == (0, "")


def test_several_experts_run_one_after_the_other(run: Run, expert_file: ExpertFile, tmp_path: Path) -> None:
    """Each expert of the file is run once, in the order of the file, also when it has two names."""
    expert_file(after='second = MetaExpert("paper", expert_name="rsi", log_to_console=False)\nagain = expert\n')
    code, out, _ = run("run", "expert.py", "--data", "bars.csv")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["ema", "rsi"]


def test_the_experts_own_data(run: Run, expert_file: ExpertFile) -> None:
    """Without --data the expert's own bars are taken; without any the command says so."""
    expert_file()
    code, out, err = run("run", "expert.py")
    assert (code, out, err) == (2, "", "error: ema has no bars to run over; give --data BARS.csv\n")
    expert_file(after="expert.data = 'bars.csv'\n")
    assert run("run", "expert.py")[0] == 0
    expert_file(after="expert.data = 'nowhere.csv'\n")
    assert run("run", "expert.py")[::2] == (2, "error: nowhere.csv cannot be read: No such file or directory\n")


def test_an_exception_while_loading_shows_the_users_part(run: Run, expert_file: ExpertFile) -> None:
    """An error in the expert's own code is shown from the expert's file on; exit code 1."""
    path = expert_file(after="def broken():\n    return 1 / 0\n\nbroken()\n")
    code, out, err = run("run", "expert.py", "--data", "bars.csv")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{path}", line ')
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert str(Path("metaexpert", "cli")) not in err


def test_a_failed_run_is_exit_code_1(run: Run, expert_file: ExpertFile) -> None:
    """When on_init fails the run has failed: the summary says why, the traceback is in the log."""
    expert_file(after="@expert.on_init\ndef begin():\n    raise RuntimeError('no')\n")
    code, out, _ = run("run", "expert.py", "--data", "bars.csv")
    assert (code, out) == (1, "ema: on_init failed; 0 bars, 0 orders, 0 fills, 1 error; result +0.00, fees 0.00\n")


def test_a_source_of_bars_that_raises(run: Run, expert_file: ExpertFile) -> None:
    """An exception out of the expert's own bars is shown with its place in the file; exit code 1."""
    path = expert_file(after="def bars():\n    raise OSError('feed lost')\n    yield\n\nexpert.data = bars()\n")
    code, _, err = run("run", "expert.py")
    assert code == 1
    assert err.splitlines()[1].startswith(f'  File "{path}", line ')
    assert err.splitlines()[-1] == "OSError: feed lost"


def test_the_experts_own_exit_code(run: Run, expert_file: ExpertFile) -> None:
    """An expert that ends the program itself chooses the exit code."""
    expert_file(after="raise SystemExit(7)\n")
    assert run("run", "expert.py", "--data", "bars.csv")[0] == 7


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process there")
def test_ctrl_c_ends_a_run_in_order(start: Callable[..., Any], expert_file: ExpertFile, tmp_path: Path) -> None:
    """Ctrl-C ends the run after on_deinit, with the log complete, exit code 130 and no traceback."""
    expert_file(
        "print('bar', flush=True)",
        after="from itertools import count\nfrom datetime import datetime, timedelta\n"
        "from metaexpert.trading import Bar\n"
        "expert.data = (Bar(datetime(2024, 1, 1) + timedelta(hours=n), 1, 1, 1, 1, 1) for n in count())\n",
    )
    process = start("run", "expert.py")
    assert process.stdout.readline() == f"bar{os.linesep}".encode()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    last = entries(tmp_path / "logs" / "expert.log")[-1]
    assert (last["message"], last["reason"]) == ("Expert stopped", "interrupted")


def test_an_unwritable_directory_in_code(run: Run, expert_file: ExpertFile, tmp_path: Path) -> None:
    """When only the expert's code says where the logs go, and they cannot go there, the run is refused too."""
    expert_file(after="other = MetaExpert('paper', log_dir='bars.csv/logs', log_to_console=False)\n")
    code, out, err = run("run", "expert.py", "--data", "bars.csv")
    assert (code, out) == (2, "")
    assert "(argument in code) is not writable: it is not a directory: " in err.splitlines()[-1]
    assert (tmp_path / "bars.csv").is_file()
