"""An expert's file, and the groups of commands."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from metaexpert.cli import output
from metaexpert.cli.app import app
from metaexpert.cli.loading import compile_expert, experts_in, load_expert, own_failures
from metaexpert.cli.options import with_logger_options
from metaexpert.trading.bars import BarError


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("metaexpert_run_"):
            del sys.modules[name]


def test_a_file_too_deep_for_python(tmp_path: Path) -> None:
    """A file that Python itself gives up on is wrong input like any other."""
    (tmp_path / "deep.py").write_text("-" * 100_000 + "1")
    with pytest.raises(output.InputError, match="is no valid Python"):
        compile_expert(tmp_path / "deep.py")


def test_loading_creates_no_file(tmp_path: Path) -> None:
    """Loading leaves no bytecode behind, and experts are found whatever their variables are called."""
    (tmp_path / "plain.py").write_text("answer = 42\n")
    module = load_expert(tmp_path / "plain.py")
    assert module.answer == 42
    assert [path.name for path in tmp_path.iterdir()] == ["plain.py"]
    with pytest.raises(output.InputError, match="makes no MetaExpert"):
        experts_in(module, tmp_path / "plain.py")


def test_a_failure_outside_the_users_file_keeps_its_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """When the user's file has no part in it, what is not ours is shown, or everything if there is nothing else."""
    with pytest.raises(typer.Exit) as caught, own_failures(tmp_path / "expert.py"):
        int("x")
    assert caught.value.exit_code == 1
    err = capfd.readouterr().err
    assert "test_cli_loading.py" in err
    assert err.endswith("ValueError: invalid literal for int() with base 10: 'x'\n")


def test_a_wrong_row_in_a_file_is_input_a_wrong_bar_is_a_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A row of a file that the expert itself reads is told in one line; a bar that it makes is its own failure."""
    with pytest.raises(output.InputError, match=r"^bars.csv, line 3"), own_failures(tmp_path / "expert.py"):
        raise BarError("a number is needed", path="bars.csv", line=3)
    with pytest.raises(typer.Exit), own_failures(tmp_path / "expert.py"):
        raise BarError("a number is needed")
    assert "BarError: a number is needed" in capfd.readouterr().err


def test_other_ways_out_pass(tmp_path: Path) -> None:
    """What the command line itself raises is not taken for the expert's failure."""
    for error in (output.InputError("x"), output.PipeClosed(), output.OutputError("x"), typer.Exit(3)):
        with pytest.raises(type(error)), own_failures(tmp_path / "expert.py"):
            raise error


def test_options_leave_the_commands_own_alone() -> None:
    """A command keeps its parameters and gets those of the settings behind them, lists as lists."""

    def command(name: str, **options: Any) -> None: ...

    import inspect

    parameters = inspect.signature(with_logger_options(command)).parameters
    assert next(iter(parameters)) == "name"
    assert "options" not in parameters
    assert parameters["log_level"].default is None


@pytest.mark.parametrize(
    ("words", "incomplete", "wanted"),
    [
        ([], "", ["run", "logs", "watch", "control", "config"]),
        (["logs"], "sch", ["schema"]),
        (["config"], "ch", ["check"]),
    ],
)
def test_completion_knows_the_commands(words: list[str], incomplete: str, wanted: list[str]) -> None:
    """Shell completion can find every command, also beside a default one."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("metaexpert", list(words), resilient_parsing=True)
    for word in words:
        command = command.get_command(context, word)
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    assert [item.value for item in command.shell_complete(context, incomplete)] == wanted


def test_options_after_two_dashes_are_names(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Behind -- even --help is a directory."""
    (tmp_path / "--help").mkdir()
    assert cli("logs", "--", "--help") == (0, "", "note: there are no entries in --help\n")
