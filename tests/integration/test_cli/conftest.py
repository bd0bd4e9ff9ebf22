"""The command line as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

EXPERT = """
from metaexpert import MetaExpert

expert = MetaExpert("paper-exchange", expert_name="{name}", symbol="EURUSD", log_to_console=False)


@expert.on_bar
def trade(bar):
    {body}
"""


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of this process without settings for the logger or the colours."""
    foreign = re.compile(r"METAEXPERT_|LOG_|NO_COLOR|FORCE_COLOR|PYTHON(UTF8|IOENCODING)")
    return {name: value for name, value in os.environ.items() if not foreign.match(name)}


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that starts `metaexpert` with the given words in the test's directory."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, **variables: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "metaexpert", *words],
            cwd=tmp_path,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[bytes]]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `metaexpert` to its end and returns exit code, output and errors."""

    def run(*words: str, **variables: str) -> tuple[int, str, str]:
        process = start(*words, **variables)
        out, err = process.communicate(timeout=50)
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def expert_file(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an expert whose on_bar has the given body, and bars for it."""

    def write(body: str = "pass", name: str = "ema", file: str = "expert.py", after: str = "", **changes: Any) -> Path:
        path = tmp_path / file
        path.write_text(EXPERT.format(name=name, body=body, **changes) + after)
        rows = [f"2024-01-{day:02d} 09:00:00,1.1,1.3,1.0,1.2,50" for day in range(1, 11)]
        (tmp_path / "bars.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows, ""]))
        return path

    return write
