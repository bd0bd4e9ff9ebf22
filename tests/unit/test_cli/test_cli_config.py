"""`metaexpert config` in this process."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.cli.settings import unwritable
from metaexpert.logger import LoggerConfig

Cli = Callable[..., Any]


def test_show_names_every_value_and_its_source(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field is printed with its value and where that comes from."""
    monkeypatch.setenv("LOG_LEVEL", "debug")
    (tmp_path / ".env").write_text("METAEXPERT_BACKUP_COUNT=7\n")
    (tmp_path / "pyproject.toml").write_text("[tool.metaexpert.logger]\nexpert_name = 'ema'\n")
    code, out, err = cli("config", "show", "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert list(shown) == list(LoggerConfig.model_fields)
    assert shown["log_level"] == {"value": "DEBUG", "source": "environment LOG_LEVEL"}
    assert shown["backup_count"] == {"value": 7, "source": ".env METAEXPERT_BACKUP_COUNT"}
    assert shown["expert_name"] == {"value": "ema", "source": "pyproject.toml"}
    assert shown["log_dir"] == {"value": "logs", "source": "default"}


def test_show_in_a_pipe_is_a_line_per_field(cli: Cli) -> None:
    """For people without a terminal the same is aligned text, never cut or wrapped."""
    lines = cli("config", "show").out.splitlines()
    assert [line.split()[0] for line in lines] == list(LoggerConfig.model_fields)
    assert all(line.endswith("(default)") for line in lines)


def test_show_on_a_terminal_is_a_table(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it is a table with titles."""
    monkeypatch.setattr("metaexpert.cli.output.is_terminal", lambda stream: True)
    out = cli("config", "show").out
    assert out.split()[:3] == ["setting", "value", "source"]
    assert "max_file_size" in out


def test_check_accepts_what_is_right_and_creates_nothing(cli: Cli, tmp_path: Path) -> None:
    """A valid configuration with a writable directory is confirmed; nothing is made for it."""
    assert cli("config", "check") == (0, "the configuration is valid; log files go to logs\n", "")
    assert list(tmp_path.iterdir()) == []


def test_check_without_files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no files are written, their directory does not matter."""
    monkeypatch.setenv("LOG_TO_FILE", "false")
    monkeypatch.setenv("LOG_DIR", os.devnull + "/x")
    assert cli("config", "check") == (0, "the configuration is valid\n", "")


def test_check_names_every_problem(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bad value is one line with field, value and source."""
    monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("METAEXPERT_MAX_FILE_SIZE", "10XB")
    code, out, err = cli("config", "check")
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("error: log_level: 'LOUD'")
    assert first.endswith("(environment METAEXPERT_LOG_LEVEL)")
    assert second.startswith("error: max_file_size: '10XB'")


def test_check_tells_programs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json the answer is JSON, the exit code the same."""
    code, out, _ = cli("config", "check", "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "log_dir": "logs", "problems": []})
    monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "LOUD")
    code, out, err = cli("config", "check", "--json")
    answer = json.loads(out)
    assert (code, err, answer["ok"], len(answer["problems"])) == (2, "", False, 1)


def test_check_refuses_a_directory_that_cannot_be_made(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below a file no directory can be: one line names the setting, its source and the place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOG_DIR", "file/logs")
    says = refused("config", "check")
    assert says.startswith(f"log_dir {str(Path('file/logs'))!r} (environment LOG_DIR) is not writable: ")
    assert says.endswith(str(tmp_path / "file"))


def test_a_misspelt_variable_is_warned_about_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is almost a setting gives one line with the likely name."""
    monkeypatch.setenv("METAEXPERT_LOG_LEVLE", "DEBUG")
    code, _, err = cli("config", "check")
    assert code == 0
    assert err.startswith("warning: METAEXPERT_LOG_LEVLE")
    assert err.endswith("did you mean METAEXPERT_LOG_LEVEL?\n")
    assert err.count("\n") == 1


def test_config_alone_prints_its_help(cli: Cli) -> None:
    """`metaexpert config` without a word explains itself."""
    code, out, _ = cli("config")
    assert code == 0
    assert "metaexpert config check" in out


@pytest.mark.parametrize("existing", ["expert.log", "trades.log", "errors.log", ".metaexpert"])
def test_what_stands_in_the_way_is_found(tmp_path: Path, existing: str) -> None:
    """A directory where a file must be, or a file where a directory must be, is told with its path."""
    path = tmp_path / "logs" / existing
    path.parent.mkdir()
    path.touch() if existing == ".metaexpert" else path.mkdir()
    assert str(path) in str(unwritable(LoggerConfig(log_dir=tmp_path / "logs")))


def test_existing_logs_are_left_as_they_are(tmp_path: Path) -> None:
    """Checking a directory in use changes nothing in it."""
    (tmp_path / "expert.log").write_text("content")
    before = (tmp_path / "expert.log").stat().st_mtime_ns, sorted(tmp_path.iterdir())
    assert unwritable(LoggerConfig(log_dir=tmp_path)) is None
    assert ((tmp_path / "expert.log").stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
    assert (tmp_path / "expert.log").read_text() == "content"


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    """A directory name that is a broken link cannot be made."""
    try:
        (tmp_path / "logs").symlink_to(tmp_path / "gone")
    except OSError:
        pytest.skip("no right to make links")
    assert "link to nowhere" in str(unwritable(LoggerConfig(log_dir=tmp_path / "logs")))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_pseudo_file_system_is_found() -> None:
    """In /proc even root can make nothing, though the rights look well."""
    assert "not writable" in str(unwritable(LoggerConfig(log_dir="/proc/logs")))


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_directory_without_rights_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """The system's refusal is passed on, from Linux's way of trying (tests may run as root, so it is played)."""

    def refuse(path: object, flags: int, mode: int = 0) -> int:
        raise OSError(error.errno, error.strerror, str(path))

    monkeypatch.setattr(os, "O_TMPFILE", 1 << 22, raising=False)
    monkeypatch.setattr(os, "open", refuse)
    assert str(unwritable(LoggerConfig(log_dir=tmp_path))).endswith(f"is not writable: {error.strerror}: {tmp_path}")


def test_the_portable_way_of_trying_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no nameless files (macOS, Windows) one with a name is made and removed, or the refusal told."""
    monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    assert unwritable(LoggerConfig(log_dir=tmp_path / "a" / "b")) is None
    assert list(tmp_path.iterdir()) == []

    def refuse(path: object, flags: int, mode: int = 0) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    problem = str(unwritable(LoggerConfig(log_dir=tmp_path / "a")))
    assert problem.endswith(f"is not writable: Permission denied: {tmp_path}")
