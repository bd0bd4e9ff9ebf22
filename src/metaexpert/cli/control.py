"""`metaexpert control`: change levels of running experts, and have them flush or dump."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Directories, Json, completion, opened
from metaexpert.logger import schema
from metaexpert.logger.config import control as requests
from metaexpert.logger.config.control import Request
from metaexpert.logs.reading.times import parse_span
from metaexpert.logs.recover import is_alive, owners

#: Longest wait for the processes that live, in seconds, and for others, which may keep no journal on disk.
_PATIENCE: Final = 5.0
_SHORT_PATIENCE: Final = 2.0
_PAUSE: Final = 0.05


def control(
    directories: Directories = None,
    expert: Annotated[
        str | None, typer.Option("--expert", metavar="NAME", help="Only this expert; all of DIR if left out.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            "-l",
            metavar="LEVEL",
            autocompletion=completion(schema.LEVEL_NUMBERS),
            help="Set log_level: debug, info, warning, error, critical.",
        ),
    ] = None,
    logger: Annotated[
        str | None, typer.Option("--logger", metavar="NAME", help="Set it for this logger and those below it only.")
    ] = None,
    span: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long the level holds, such as 90s or 1h30m; 7d at most.")
    ] = "10m",
    reset: Annotated[bool, typer.Option("--reset", help="End now what --level has set.")] = False,
    flush: Annotated[bool, typer.Option("--flush", help="Write all that waits, and force it to disk.")] = False,
    dump: Annotated[bool, typer.Option("--dump", help="Write what the flight recorder holds.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show levels and health.")] = False,
    as_json: Json = False,
) -> None:
    """Change the level of running experts for a while, or have them do something.

    They take it within a second, log it as log.control, and go back by
    themselves. Only the user who runs them, or root, can ask.

    Exit code 1: nobody took it.

    Example:
      metaexpert control --expert EmaBot --level debug --for 10m
      metaexpert control logs --level debug --logger strategy.feed
      metaexpert control --flush
    """
    actions = {requests.LEVEL: level, requests.RESET: reset, requests.FLUSH: flush, requests.DUMP: dump}
    wanted = [name for name, given in {**actions, requests.STATUS: status}.items() if given]
    if len(wanted) != 1:
        raise output.InputError("give one of --level, --reset, --flush, --dump and --status")
    if logger is not None and level is None:
        raise output.InputError("--logger: it needs --level")
    request = Request(requests.new_id(), wanted[0], _user(), expert, logger=logger)
    if level is not None:
        request = request._replace(level=_level(level), seconds=_seconds(span))
    try:
        requests.check(request)
    except ValueError as error:
        raise output.InputError(f"the request cannot be made: {error}") from None
    answers = {path: _ask(path, request) for path in opened(directories or ()).directories}
    if as_json:
        output.write_json({str(path): found for path, found in answers.items()}, ensure_ascii=True)
    else:
        for path, found in answers.items():
            _show(path, found, expert)
    took = [one for found in answers.values() for answer in found for one in answer["experts"]]
    raise typer.Exit(0 if any(_did(one) for one in took) else 1)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user has no name here, as in a container
        return "unknown"


def _level(text: str) -> str:
    number = schema.level_named(text)
    if number is None:
        raise output.InputError(f"--level: {text!r} should be debug, info, warning, error or critical")
    return schema.level_word(number)


def _seconds(text: str) -> int:
    try:
        seconds = int(parse_span(text).total_seconds())
    except ValueError:
        seconds = 0
    if not 0 < seconds <= requests.LONGEST:
        raise output.InputError(f"--for: {text!r} should be a time up to 7d, such as 90s, 10m or 1h30m")
    return seconds


def _ask(directory: Path, request: Request) -> list[dict[str, Any]]:
    """Put the request, and wait until each process that lives has answered, or for some seconds."""
    private = directory / schema.PRIVATE_DIRECTORY
    if not private.is_dir():
        return []
    living = sum(map(is_alive, owners(directory)))
    deadline = time.monotonic() + (_PATIENCE if living else _SHORT_PATIENCE)
    try:
        with requests.asked(private, request) as answers:
            while len(found := answers()) < max(living, 1) and time.monotonic() < deadline:
                time.sleep(_PAUSE)
    except OSError as error:
        raise output.InputError(f"{directory} takes no requests: {error.strerror}: {error.filename}") from None
    silent = living - len(found)
    if silent > 0:
        output.complain("warning", [f"{directory}: {silent} of {living} processes have not answered"])
    return found


def _show(directory: Path, answers: list[dict[str, Any]], expert: str | None) -> None:
    took = [(answer, one) for answer in answers for one in answer["experts"]]
    if not took:
        whom = "no expert" if expert is None else f"no expert {expert}"
        output.complain("error", [f"{directory}: {whom} took it; does it run, as this user?"])
    for answer, one in took:
        output.write(f"{one['expert']} ({answer['procid']}): {_text(one)}\n")


def _did(one: dict[str, Any]) -> bool:
    return one.get("flushed", True) and one.get("dumped", 0) is not None


def _text(one: dict[str, Any]) -> str:
    if "flushed" in one:
        return "flushed" if one["flushed"] else f"not all could be written: {one['health']}"
    if "dumped" in one:
        return "it has no recorder" if one["dumped"] is None else f"{one['dumped']} entries dumped"
    now = one["now"]
    parts = [f"level {now['level']}" + (f" until {now['until']}" if now["until"] else "")]
    parts += [f"{name} {own['level']} until {own['until']}" for name, own in now["levels"].items()]
    return ", ".join(parts) + ("" if one["health"] == "ok" else f"; {one['health']}")
