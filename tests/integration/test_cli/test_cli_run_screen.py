"""`metaexpert run` on a terminal: progress while it runs, a card at its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


@pytest.fixture
def on_terminal(tmp_path: Path, environment: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """A function that runs `metaexpert` on a terminal and returns its exit code and what stood there, uncoloured."""
    import pty

    def run(*words: str) -> tuple[int, str]:
        reading, side = pty.openpty()
        program = [sys.executable, "-m", "metaexpert", *words]
        env = environment | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        process = subprocess.Popen(program, cwd=tmp_path, env=env, stdin=side, stdout=side, stderr=side)
        os.close(side)
        out = b""
        while True:
            try:
                block = os.read(reading, 65536)
            except OSError:  # Linux: its other end is closed
                break
            out += block
            if not block:
                break
        os.close(reading)
        return process.wait(60), re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.decode())

    return run


def test_progress_and_a_card(
    on_terminal: Callable[..., tuple[int, str]], expert_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Bars done, rate and equity; then the card, with the command that shows the log; the entries are in the files."""
    path = expert_file("expert.logger.info('entry of a bar')")
    path.write_text(path.read_text().replace(", log_to_console=False", ""))
    code, shown = on_terminal("run", "expert.py", "--data", "bars.csv")
    assert code == 0
    assert re.search(r"ema .*\d+/10 bars +[\d,]+/s +equity 10,000.00", shown)
    card = shown[shown.index("╭") :]
    assert "ema: end of data" in card
    assert re.search(r"bars +10, 2024-01-01 to 2024-01-10", card)
    assert re.search(r"log +metaexpert logs logs --level info", card)
    assert "entry of a bar" not in shown
    assert (tmp_path / "logs" / "expert.log").read_text().count("entry of a bar") == 10
    code, told = on_terminal("logs", "why")
    last = told[told.index("Last entries") :].splitlines()[1:]
    assert code == 0
    assert max(map(len, last)) <= 100, "the entries are folded as the viewer folds them"
    assert re.fullmatch(r"  \d{4}-\d\d-\d\d", last[0]), last[0]
    assert sum("entry of a bar" in line for line in last) >= 5


@pytest.mark.parametrize("words", [("--log-to-console",), ("--console-level", "info"), ("--mode", "paper")])
def test_entries_are_shown_where_they_are_wanted(
    on_terminal: Callable[..., tuple[int, str]], expert_file: Callable[..., Path], words: tuple[str, ...]
) -> None:
    """Who asks for the console gets it, and in real time the entries are the progress."""
    path = expert_file("expert.logger.info('entry of a bar')")
    path.write_text(path.read_text().replace(", log_to_console=False", ""))
    code, shown = on_terminal("run", "expert.py", "--data", "bars.csv", *words)
    assert code == 0
    assert shown.count("entry of a bar") == 10
    assert "bars/s" not in shown
    assert "ema: end of data" in shown[shown.index("╭") :]
