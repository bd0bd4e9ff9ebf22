"""What `metaexpert run` refuses before anything is started, and how the command line itself answers."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert._version import __version__
from metaexpert.logger import LoggerConfig

Cli = Callable[..., Any]
Refused = Callable[..., str]

EXPERT = 'from metaexpert import MetaExpert\nexpert = MetaExpert("paper")\n'
BARS = "timestamp,open,high,low,close,volume\n2024-01-01 09:00:00,1.1,1.3,1.0,1.2,50\n"


@pytest.fixture
def expert(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "expert.py").write_text(EXPERT)
    (tmp_path / "bars.csv").write_text(BARS)
    path, modules = list(sys.path), set(sys.modules)
    yield "expert.py"
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("metaexpert_run_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--log-level", "LOUD"),
            "log_level: 'LOUD' should be DEBUG, INFO, WARNING, ERROR or CRITICAL (command line --log-level)",
        ),
        (
            ("--max-file-size", "10XB"),
            'max_file_size: \'10XB\' should be a size such as 10485760, "512KB", "10MB" or "1GiB" '
            "(command line --max-file-size)",
        ),
        (
            ("--log-levle", "INFO"),
            "No such option: --log-levle (Possible options: --log-file, --log-level, --log-to-file)",
        ),
        (("--mode", "live"), "Invalid value for '--mode': 'live' is not one of 'backtest', 'paper'."),
        (("--data", "nowhere.csv"), "nowhere.csv cannot be read: No such file or directory"),
        (("--data", "."), None),
        (("--backup-count", "many"), None),
        (("--layout", "round"), None),
        (("--no-log-to-file", "--no-log-to-console"), None),
    ],
)
def test_wrong_options(refused: Refused, expert: str, options: tuple[str, ...], says: str | None) -> None:
    """A bad level, size, name, mode or file of bars is refused in one line, and nothing is created."""
    answer = refused("run", expert, *options)
    assert says is None or answer == says


def test_a_malformed_row_is_named_by_its_line(refused: Refused, expert: str, tmp_path: Path) -> None:
    """A wrong row of the bars names file, line, column and value, before the expert is loaded."""
    (tmp_path / "expert.py").write_text(EXPERT + "raise SystemExit(77)\n")
    (tmp_path / "bad.csv").write_text(BARS + "2024-01-01 10:00:00,1.1,x,1.0,1.2,50\n")
    assert refused("run", expert, "--data", "bad.csv").startswith("bad.csv, line 3, column high: 'x'")


def test_an_unwritable_directory(refused: Refused, expert: str) -> None:
    """A directory in which nothing can be written is refused before the expert is loaded."""
    assert "(command line --log-dir) is not writable" in refused("run", expert, "--log-dir", "bars.csv/logs")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no expert file other.py"),
        ("def f(:\n", "other.py, line 1 is no valid Python: invalid syntax"),
        ("\0", None),
        ("# coding: nonsense\n", None),
        ("x = 1\n", 'other.py makes no MetaExpert; it needs a line such as: expert = MetaExpert("binance")'),
        (
            'from metaexpert import MetaExpert\ne = MetaExpert("x", log_levle="INFO")\n',
            "log_levle: no such option (argument in code); did you mean 'log_level'?",
        ),
        (
            'from metaexpert import MetaExpert\ne = MetaExpert("x", max_file_size="10XB")\n',
            'max_file_size: \'10XB\' should be a size such as 10485760, "512KB", "10MB" or "1GiB" (argument in code)',
        ),
    ],
)
def test_wrong_expert_files(
    refused: Refused, expert: str, tmp_path: Path, content: str | None, says: str | None
) -> None:
    """A missing file, no Python, no MetaExpert, a wrong setting in code: one line each, nothing created."""
    if content is not None:
        (tmp_path / "other.py").write_text(content)
    answer = refused("run", "other.py", "--data", "bars.csv")
    assert says is None or answer == says
    assert "other.py" in answer or "argument in code" in answer


def test_a_directory_is_no_expert(refused: Refused, tmp_path: Path) -> None:
    """A directory in place of the file is refused."""
    (tmp_path / "dir.py").mkdir()
    assert refused("run", "dir.py").startswith("dir.py cannot be read: ")


def test_a_missing_argument(refused: Refused) -> None:
    """`run` without a file says which argument is missing."""
    assert refused("run") == "Missing argument 'EXPERT.py'."


def test_an_unknown_command_gets_a_suggestion(refused: Refused) -> None:
    """A misspelt command is answered with the likely one."""
    assert refused("rnu") == "No such command 'rnu'. Did you mean 'run'?"
    assert refused("xyzzy") == "No such command 'xyzzy'."


def test_version(cli: Cli) -> None:
    """--version prints name and version."""
    assert cli("--version") == (0, f"metaexpert {__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(cli: Cli, words: tuple[str, ...]) -> None:
    """Alone, or asked for help, the program lists its commands with an example."""
    code, out, _ = cli(*words)
    assert code == 0
    for text in ("run", "logs", "config", "metaexpert run expert.py --data bars.csv"):
        assert text in out


def test_every_setting_is_an_option(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --help` has an option for each field that text can set and that is no secret; flags have an off switch."""
    monkeypatch.setenv("COLUMNS", "300")
    out = cli("run", "--help").out
    secrets = {"secrets", "telegram_token", "discord_webhook_url", "webhook_url", "webhook_token"}
    for field in set(LoggerConfig.model_fields) - {"processors"} - secrets:
        assert f"--{field.replace('_', '-')} " in out
    assert "--no-log-to-file" in out
    assert "--processors" not in out
    assert "--trade-log-file" not in out
    assert "metaexpert run expert.py --data" in out


def test_closed_or_full_output(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that cannot be written is a problem in one line; without any output the answer is the exit code."""
    monkeypatch.setattr(sys, "stdout", None)
    assert cli("--version").code == 0
    monkeypatch.setattr(sys, "stderr", None)
    assert cli("logs", "nowhere").code == 2
    if os.path.exists("/dev/full"):  # noqa: PTH110
        with open("/dev/full", "w") as full:  # noqa: PTH123
            monkeypatch.undo()
            monkeypatch.setattr(sys, "stdout", full)
            code, _, err = cli("--version")
            monkeypatch.undo()
        assert (code, err) == (1, "error: standard output cannot be written: No space left on device\n")


def test_help_of_run_can_be_read_at_eighty_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option's name is cut off where terminals usually end, and no default is one of pydantic's inner names."""
    monkeypatch.setenv("COLUMNS", "80")
    out = cli("run", "--help").out
    for name in LoggerConfig.model_fields:
        if name != "processors":
            assert f"--{name.replace('_', '-')} " in out
    for name in ("log-to-console", "compress-backups", "capture-warnings"):
        assert f"--no-{name} " in out
    assert "Pydantic" not in out


@pytest.mark.parametrize("words", [(), ("run",), ("logs",), ("logs", "schema"), ("config",), ("config", "show")])
def test_examples_stand_out_in_every_help(cli: Cli, words: tuple[str, ...]) -> None:
    """The commands of an example are set off from the text."""
    assert "\n   metaexpert" in cli(*words, "--help").out
