"""The `metaexpert` command: its groups, its errors and its exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import typer
import typer.main

from metaexpert._version import __version__
from metaexpert.cli import output
from metaexpert.cli.dispatch import LazyGroup

OK, PROBLEM, WRONG_INPUT = 0, 1, 2


class _Commands(LazyGroup):
    references: ClassVar[dict[str, str]] = {
        "run": "metaexpert.cli.run:app",
        "logs": "metaexpert.cli.logs:app",
        "watch": "metaexpert.cli.watch:watch",
        "control": "metaexpert.cli.control:control",
        "config": "metaexpert.cli.config:app",
    }


app = typer.Typer(
    cls=_Commands,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def metaexpert(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --version: also what `config doctor` finds.")
    ] = False,
) -> None:
    """Run trading experts, watch them, and read what they logged.

    Use --help with a command to learn more.

    Example:
      metaexpert run expert.py --data bars.csv
      metaexpert logs --follow --level warning
      metaexpert watch logs --hang 5m
    """
    if verbose and not version:
        raise output.InputError("--verbose goes with --version; after a command, see its --help")
    if version:
        output.write(f"metaexpert {__version__}\n")
        raise typer.Exit(0 if not verbose or _reported() else PROBLEM)
    if context.invoked_subcommand is None:
        output.write(context.get_help())


def _reported() -> bool:
    from metaexpert.cli.config.doctor import report  # noqa: PLC0415 - imports nearly everything

    return report(as_json=False)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (see `metaexpert.__main__.main`)."""
    output.prepare_streams()
    try:
        code = typer.main.get_command(app).main(
            list(arguments) if arguments is not None else None, prog_name="metaexpert", standalone_mode=False
        )
        output.write("")
    except output.InputError as error:
        output.complain("error", error.problems)
        return WRONG_INPUT
    except output.PipeClosed:
        output.abandon_output()
        return OK
    except output.OutputError as error:
        output.abandon_output()
        output.complain("error", [str(error)])
        return PROBLEM
    except ConnectionError as error:  # of a store
        output.complain("error", [str(error)])
        return PROBLEM
    except typer.TyperException as error:
        # Typer keeps pydantic's prefix of the reason.
        output.complain("error", [error.format_message().replace("Value error, ", "")])
        return error.exit_code
    return code if isinstance(code, int) else OK
