"""`metaexpert logs`: what the experts logged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Annotated, Literal

import typer

from metaexpert.cli import output
from metaexpert.cli.alerts import alert_test
from metaexpert.cli.dispatch import DefaultGroup
from metaexpert.logs import Logs, Record, level_number, open_logs

FormatName = Literal["text", "json", "csv"]

#: Records written at once.
_BATCH = 1000

app = typer.Typer(cls=DefaultGroup, add_completion=False, subcommand_metavar="| COMMAND [ARGS]...")
app.command("alert-test")(alert_test)


@app.callback()
def logs() -> None:
    """Show what experts logged: the last entries, merged by time.

    Reads NAME.log, NAME.log.1, NAME.log.2.gz … of running, stopped and
    crashed experts. Each entry is shown once, though trades and errors
    stand in several files. Lines that are no entries are shown as found.

    A directory that is called like a command is reached as ./NAME.

    Example:
      metaexpert logs
      metaexpert logs --follow --level warning
      metaexpert logs ./live-logs -n 1000 --format csv > entries.csv
      metaexpert logs -n all --format json | jq .message
    """


@app.command(DefaultGroup.DEFAULT, hidden=True)
def show(
    context: typer.Context,
    directory: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Directory of the logs; the configured log_dir if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")] = False,
    level: Annotated[
        str,
        typer.Option(
            "--level", "-l", metavar="LEVEL", help="Lowest level shown: debug, info, warning, error, critical."
        ),
    ] = "debug",
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N|all", help="How many of the last entries to show.")
    ] = "50",
    form: Annotated[
        FormatName,
        typer.Option(
            "--format",
            help="json: the lines as they stand in the files. csv: fixed columns, the rest as JSON in the last; "
            "text that a spreadsheet would run as a formula gets an apostrophe in front.",
        ),
    ] = "text",
    diagnostics: Annotated[
        bool, typer.Option("--diagnostics", help="Show the logger's own troubles too (logging_errors.log).")
    ] = False,
) -> None:
    """Show the last entries."""
    found = _opened(context, directory).filter(level=_level(level))
    found = replace(found, diagnostics=diagnostics)
    count = _limit(limit)
    show_batch = _printer(form)
    try:
        for batch in _batches(found, count, follow=follow):
            show_batch(batch)
    except KeyboardInterrupt:
        _tell(found)
        raise
    _tell(found)
    if found.counts.unreadable:
        raise typer.Exit(1)


@app.command()
def schema(
    layout: Annotated[
        Literal["flat", "rfc5424"] | None, typer.Option(help="Of which layout; one schema for both if left out.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft 2020-12) of a line in the log files.

    Example:
      metaexpert logs schema --layout flat > entry.schema.json
    """
    from metaexpert.logger.schema import json_schema  # noqa: PLC0415

    output.write(json.dumps(json_schema(layout), indent=2) + "\n")


def _opened(context: typer.Context, directory: str | None) -> Logs:
    group = context.parent.command if context.parent else None
    if directory is not None and directory in getattr(group, "commands", ()):
        raise output.InputError(
            f"{directory} is a command and stands before its options; the directory of that name is ./{directory}"
        )
    path = Path(directory) if directory is not None else _configured_directory()
    try:
        return open_logs(path)
    except NotADirectoryError:
        raise output.InputError(f"{path} is a file; give its directory: metaexpert logs {path.parent}") from None
    except FileNotFoundError:
        hint = "" if directory is not None else "; give the directory: metaexpert logs DIR"
        raise output.InputError(f"there is no directory {path}{hint}") from None


def _configured_directory() -> Path:
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import

    return settings().log_dir


def _level(text: str) -> int:
    try:
        return level_number(text)
    except ValueError as error:
        raise output.InputError(f"--level: {error}") from None


def _limit(text: str) -> int | None:
    if text.lower() == "all":
        return None
    if not text.isdecimal():
        raise output.InputError(f"--limit: {text!r} should be a number of entries, or all")
    return int(text)


def _batches(found: Logs, count: int | None, *, follow: bool) -> Iterator[Sequence[Record]]:
    if follow:
        yield from found.batches(last=sys.maxsize if count is None else count)
    elif count is None:
        yield from batched(found, _BATCH)
    else:
        yield found.last(count)


def _printer(form: FormatName) -> Callable[[Sequence[Record]], None]:
    from metaexpert.logger.handlers.console import wants_color  # noqa: PLC0415 - needed from here on only
    from metaexpert.logs.render import make_format  # noqa: PLC0415

    terminal = output.is_terminal(sys.stdout)
    colors = form == "text" and wants_color(sys.stdout)
    if colors:
        output.enable_colors()
    render = make_format(form, colors=colors, terminal=terminal)
    write = output.write if form == "text" or terminal else output.write_exact
    write(render.start)
    return lambda batch: write(render(batch))


def _tell(found: Logs) -> None:
    counts = found.counts
    if counts.unparsed:
        lines = (
            "1 line is no entry and is" if counts.unparsed == 1 else f"{counts.unparsed} lines are no entries and are"
        )
        output.complain("note", [f"{lines} shown as found"])
    if counts.overrun:
        output.complain("warning", ["files were rotated away before they could be read; entries may be missing"])
    output.complain("warning", [f"{name} cannot be read: {why}" for name, why in counts.unreadable.items()])
    if not (counts.entries or counts.unparsed or counts.unreadable):
        output.complain("note", [f"there are no entries in {found.directory}"])
