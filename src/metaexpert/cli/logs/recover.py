"""`metaexpert logs recover`: entries of dead writers, brought into the files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.dispatch import TextCommand
from metaexpert.cli.logs.select import Directories, opened
from metaexpert.logs.questions.recover import recover_logs

app = typer.Typer(add_completion=False)


@app.command(cls=TextCommand)
def recover(
    context: typer.Context,
    directories: Directories = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per directory.")] = False,
) -> None:
    """Bring what a killed process had logged into the files, each entry once.

    The next start of an expert does the same. Use this when none will
    start. It is the only command that writes; journals of running processes
    are left alone. What was found is logged as log.recovered.

    Exit code 1: a part cannot be read or written; it stays for the next time.

    Example:
      metaexpert logs recover
      metaexpert logs recover ./ema ./rsi
    """
    for directory in opened(context, directories or ()).directories:
        try:
            found = recover_logs([directory])[directory]
        except OSError as error:
            output.complain("error", [f"{directory} cannot be recovered: {error.strerror or error}"])
            raise typer.Exit(1) from None
        if as_json:
            output.write(json.dumps({"directory": str(directory), **asdict(found)}) + "\n")
        else:
            output.write(f"{directory}: {_told(found)}\n")


def _told(found: Any) -> str:
    if not (found.entries or found.torn or found.damaged or found.set_aside):
        return "nothing was left to recover"
    entries = "1 entry" if found.entries == 1 else f"{found.entries} entries"
    parts = [f"{entries} recovered"]
    if found.lines:
        parts.append(", ".join(f"{count} into {name}" for name, count in sorted(found.lines.items())))
    if found.torn:
        parts.append(f"{found.torn} torn by the kill (their calls had not returned)")
    if found.damaged or found.set_aside:
        parts.append(f"{found.damaged} damaged bytes set aside: {', '.join(found.set_aside)}")
    return "; ".join(parts)
