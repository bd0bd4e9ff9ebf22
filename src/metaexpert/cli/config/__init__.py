"""`metaexpert config`: show the settings with their sources, and check them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.config.doctor import report
from metaexpert.cli.settings import settings, unwritable
from metaexpert.logger.entry.console_text import escape
from metaexpert.logger.masking.rules import mask_text

app = typer.Typer(add_completion=False)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def config(context: typer.Context) -> None:
    """Show or check the logger's settings.

    The first source that has a setting wins: command line, arguments in code,
    environment (METAEXPERT_LOG_LEVEL, LOG_LEVEL), .env, the table
    tool.metaexpert.logger in pyproject.toml, defaults.

    Example:
      metaexpert config show
      metaexpert config check
    """
    if context.invoked_subcommand is None:
        output.write(context.get_help())


@app.command()
def show(as_json: _Json = False) -> None:
    """Print every setting with its value and the source that set it. Secrets are masked.

    Settings in an expert's code are not included: nothing is run.

    Example:
      metaexpert config show --json | jq .log_dir
    """
    rows = settings().sources()
    if as_json:
        output.write_json({name: row._asdict() for name, row in rows.items()}, ensure_ascii=True)
    elif output.is_terminal(sys.stdout):
        _print_table(rows)
    else:
        width = max(map(len, rows))
        lines = (f"{name:{width}}  {_text(value)}  ({source})\n" for name, (value, source) in rows.items())
        output.write("".join(lines))


@app.command()
def check(as_json: _Json = False) -> None:
    """Check all settings, and that the log files can be written. Creates nothing.

    Exit code 0: no problems. 2: problems, one line each.

    Example:
      metaexpert config check && metaexpert run expert.py --data bars.csv
    """
    problems, log_dir = _problems()
    if as_json:
        output.write_json({"ok": not problems, "log_dir": log_dir, "problems": problems}, ensure_ascii=True)
        raise typer.Exit(2 if problems else 0)
    if problems:
        raise output.InputError(*problems)
    output.write(
        f"the configuration is valid; log files go to {log_dir}\n" if log_dir else "the configuration is valid\n"
    )


@app.command("doctor")
def diagnose(as_json: _Json = False) -> None:
    """Print what a bug report needs: Python, system, compiled core, files, locks.

    Also the terminal, and whether the servers of alerts and exports can be
    reached; nothing is sent to them. Leaves nothing behind.

    Exit code 0: no problems. 1: problems, marked with !.

    Example:
      metaexpert config doctor
    """
    raise typer.Exit(0 if report(as_json=as_json) else 1)


def _problems() -> tuple[list[str], str | None]:
    try:
        current = settings()
    except output.InputError as error:
        return list(error.problems), None
    problem = unwritable(current)
    return [problem] if problem else [], mask_text(str(current.log_dir)) if current.log_to_file else None


def _text(value: Any) -> str:
    return escape(value) if isinstance(value, str) else json.dumps(value)


def _print_table(rows: Mapping[str, tuple[Any, str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - for people only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for title in ("setting", "value", "source"):
        table.add_column(title)
    for name, (value, source) in rows.items():
        table.add_row(
            Text(name, "bold"), Text(_text(value)), Text(escape(source), "dim" if source == "default" else "cyan")
        )
    Console().print(table)
