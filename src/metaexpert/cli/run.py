"""`metaexpert run`: load an expert and run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from metaexpert.cli import output
from metaexpert.cli.loading import compile_expert, experts_in, load_expert, own_failures
from metaexpert.cli.options import given, with_logger_options
from metaexpert.cli.run_screen import progress_of, tell
from metaexpert.cli.settings import input_errors, settings, unwritable
from metaexpert.cli.watch_beside import start_beside
from metaexpert.expert import MetaExpert
from metaexpert.logger import LoggerConfig
from metaexpert.logger.config.settings import command_line
from metaexpert.trading.bars import BarError, check_bars

app = typer.Typer(add_completion=False)


@app.command()
@with_logger_options
def run(
    expert: Annotated[str, typer.Argument(metavar="EXPERT.py", help="Python file that makes a MetaExpert.")],
    data: Annotated[
        str | None, typer.Option(metavar="BARS.csv", help="Bars to run over; the expert's own data by default.")
    ] = None,
    mode: Annotated[Literal["backtest", "paper"], typer.Option(help="paper: bars arrive in real time.")] = "backtest",
    watch: Annotated[bool, typer.Option("--watch", help="Have a watcher beside it, see metaexpert watch.")] = False,
    **options: Any,
) -> None:
    """Run an expert over bars.

    Loads the file as a module, not as __main__, and runs each MetaExpert
    that is in a variable of it, in the order of the file. The first failure
    ends the command. All input is checked before anything starts.

    Exit code 0: all runs succeeded. 1: one failed. 2: wrong input; nothing
    was started.

    Example:
      metaexpert run expert.py --data bars.csv --log-level debug --log-dir logs
    """
    path = Path(expert)
    with command_line(given(options)):
        compile_expert(path)
        if data is not None:
            _check_data(data)
        _check_directory(settings())
        with own_failures(path):
            with input_errors():
                module = load_expert(path)
            experts = experts_in(module, path)
            if watch:
                start_beside({expert.config.log_dir.absolute() for expert in experts}, given(options))
            _run_all(experts, data, mode)


def _check_data(path: str) -> None:
    try:
        check_bars(path)
    except BarError as error:
        raise output.InputError(str(error)) from None
    except OSError as error:
        raise output.InputError(f"{path} cannot be read: {error.strerror}") from None


def _check_directory(config: LoggerConfig) -> None:
    problem = unwritable(config)
    if problem:
        raise output.InputError(problem)


def _run_all(experts: list[MetaExpert], data: str | None, mode: Literal["backtest", "paper"]) -> None:
    try:
        for expert in experts:
            if data is None and expert.data is None:
                raise output.InputError(f"{expert.name} has no bars to run over; give --data BARS.csv")
            _check_directory(expert.config)
            if data is None and isinstance(expert.data, str | Path):
                _check_data(str(expert.data))
        for expert in experts:
            with progress_of(expert, expert.data if data is None else data, mode):
                result = expert.run(data, mode=mode)
            tell(expert, result)
            if result.failed:
                raise typer.Exit(1)
    finally:
        for expert in experts:
            expert.close()
