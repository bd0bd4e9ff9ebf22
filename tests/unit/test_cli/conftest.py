"""The command line called in this process, in a directory of its own."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from metaexpert.__main__ import main
from tests.unit.test_logs.conftest import line  # noqa: F401 - a fixture


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test stands in an empty directory, with no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if re.match(r"METAEXPERT_|LOG_|NO_COLOR|FORCE_COLOR", name):
            monkeypatch.delenv(name)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """A function that runs `metaexpert` with the given words and returns exit code, output and errors."""

    def run(*words: str) -> Outcome:
        code = main(words)
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """A function that expects the given words to be refused: code 2, one clear line, nothing created."""

    def run(*words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = cli(*words)
        assert code == 2
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory `logs` with five entries of rising level, the error also in errors.log."""
    directory = tmp_path / "logs"
    directory.mkdir()
    severities = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
    lines = [
        json.dumps(
            {
                "timestamp": f"2026-11-22T10:31:0{number}.000000Z",
                "level": level,
                "severity": severity,
                "facility": 16,
                "version": 1,
                "hostname": "box",
                "appname": "ema",
                "procid": "42",
                "msgid": "log",
                "sequence_id": number,
                "message": f"π {level}",
            },
            ensure_ascii=False,
        )
        + "\n"
        for number, (level, severity) in enumerate(severities.items(), 1)
    ]
    (directory / "expert.log").write_text("".join(lines), "utf-8")
    (directory / "errors.log").write_text("".join(lines[3:]), "utf-8")
    return directory
