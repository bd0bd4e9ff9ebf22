"""`metaexpert logs recover`: bring the entries of dead writers into the files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Directories, Json, opened
from metaexpert.logs.recover import recover_logs
from metaexpert.logs.vocabulary import counted

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Recovery


def recover(
    directories: Directories = None,
    as_json: Json = False,
) -> None:
    """Bring the entries of a killed process into the files, each exactly once.

    The next start of an expert does the same; use this when none will start.
    It writes to the log directory, as seal does. Journals of running processes are left
    alone. The outcome is logged as log.recovered.

    Exit code 1: a file cannot be read or written; try again later.

    Example:
      metaexpert logs recover
      metaexpert logs recover ./ema ./rsi
    """
    for directory in opened(directories or ()).directories:
        try:
            found = recover_logs([directory])[directory]
        except OSError as error:
            output.complain("error", [f"{directory} cannot be recovered: {error.strerror or error}"])
            raise typer.Exit(1) from None
        if as_json:
            output.write_json({"directory": str(directory), **asdict(found)}, ensure_ascii=True, indent=None)
        else:
            output.write(f"{directory}: {_text(found)}\n")


def _text(found: Recovery) -> str:
    if not (found.entries or found.torn or found.damaged or found.set_aside):
        return "nothing was left to recover"
    parts = [f"{counted(found.entries, 'entry')} recovered"]
    if found.lines:
        parts.append(", ".join(f"{count} into {name}" for name, count in sorted(found.lines.items())))
    if found.torn:
        parts.append(f"{found.torn} torn by the kill (their calls had not returned)")
    if found.damaged or found.set_aside:
        parts.append(f"{found.damaged} damaged bytes set aside: {', '.join(found.set_aside)}")
    return "; ".join(parts)
