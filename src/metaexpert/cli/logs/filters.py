"""Which entries a command is about: directories and filters, the same options on each command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.logger.config import locations
from metaexpert.logs import Counts, Logs, level_number, open_logs
from metaexpert.logs.reading.times import parse_time, parse_zone

_PANEL: Final = "Which entries"
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


def _levels(incomplete: str) -> list[str]:
    return [level for level in _LEVELS if level.startswith(incomplete.lower())]


Directories = Annotated[
    list[str] | None,
    typer.Argument(metavar="DIR", help="Directories of the logs; the configured log_dir if left out."),
]


def _option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_PANEL, show_default=False, **more)


_FILTERS: Final[dict[str, Any]] = {
    "level": Annotated[
        str | None,
        _option(
            "--level", "-l", metavar="LEVEL", autocompletion=_levels,
            help="Lowest level: debug, info, warning, error, critical.",
        ),
    ],
    "expert": Annotated[list[str] | None, _option("--expert", metavar="NAME", help="Of this expert; may be repeated.")],
    "symbol": Annotated[list[str] | None, _option("--symbol", metavar="NAME", help="Of this symbol; may be repeated.")],
    "order": Annotated[list[str] | None, _option("--order", metavar="ID", help="With this order_id; may be repeated.")],
    "trade_id": Annotated[
        list[str] | None, _option("--trade-id", metavar="ID", help="With this trade_id; may be repeated.")
    ],
    "since": Annotated[
        str | None,
        _option(
            "--since", metavar="TIME",
            help="From this time on: 15m, 2h30m, 1d (ago), 14:00, yesterday 14:00, monday, 2026-11-22, "
            "2026-11-22T14:00:00Z.",
        ),
    ],
    "until": Annotated[str | None, _option("--until", metavar="TIME", help="Up to this time, itself included.")],
    "grep": Annotated[
        list[str] | None,
        _option(
            "--grep", "-g", metavar="PATTERN",
            help="Whose line or texts hold this, as text or as a regular expression; repeated: all of them.",
        ),
    ],
    "ignore_case": Annotated[bool, _option("--ignore-case", "-i", help="Upper and lower case are the same to --grep.")],
    "tz": Annotated[
        str | None,
        _option("--tz", metavar="ZONE", help="Zone of times, typed and shown: UTC, local, Europe/Berlin. Default: UTC"),
    ],
    "diagnostics": Annotated[
        bool, _option("--diagnostics", help="The logger's own troubles too (logging_errors.log).")
    ],
}  # fmt: skip


def with_filters[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Give *command*, which takes ``**filters``, the options that choose entries."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    filters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False if kind.__origin__ is bool else None
        )
        for name, kind in _FILTERS.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *filters])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *filters]}
    return command


def selected(context: typer.Context, directories: Sequence[str] | None, filters: dict[str, Any]) -> Logs:
    """Return the logs that the options ask for.

    Raises:
        InputError: When there is no such directory, or a filter means nothing.
    """
    tz = zone(filters.get("tz"))
    level = filters.get("level")
    wanted: dict[str, Any] = {
        "level": _told("--level", level_number, level) if level is not None else None,
        "tz": tz,
        **{name: filters.get(name) or None for name in ("expert", "symbol", "order", "trade_id")},
    }
    for name in ("since", "until"):
        if (text := filters.get(name)) is not None:
            wanted[name] = _told(f"--{name}", lambda text: parse_time(text, tz=tz), text)
    patterns = [pattern(text, ignore_case=bool(filters.get("ignore_case"))) for text in filters.get("grep") or ()]
    logs = replace(opened(context, directories or ()), diagnostics=bool(filters.get("diagnostics"))).filter(**wanted)
    for one in patterns:
        logs = logs.filter(grep=one)
    return logs


def zone(name: str | None) -> tzinfo:
    """Return the time zone of ``--tz``."""
    return _told("--tz", parse_zone, name or "UTC")


def pattern(text: str, *, ignore_case: bool) -> str | re.Pattern[str]:
    """Return what ``--grep`` searches for: plain text where the text means only itself, else an expression.

    What is no regular expression is meant as text. One that holds special characters is found as it is typed, too.
    """
    flags = re.IGNORECASE if ignore_case else 0
    if not ignore_case and re.escape(text).replace("\\ ", " ").replace("\\-", "-") == text:
        return text
    try:
        re.compile(text)
    except re.error:
        return re.compile(re.escape(text), flags) if ignore_case else text
    # The text's own flags must stand first.
    return re.compile(f"{text}|{re.escape(text)}", flags)


def opened(context: typer.Context, directories: Sequence[str]) -> Logs:
    """Return all logs of *directories*, or of the configured one.

    Raises:
        InputError: When there is no such directory.
    """
    group = context.parent.command if context.parent else None
    for name in directories:
        if name in getattr(group, "modules", ()) and not Path(name).is_dir():
            raise output.InputError(
                f"{name} is a command and stands before its options; the directory of that name is ./{name}"
            )
    paths = [Path(name) for name in directories] or [_configured_directory()]
    for path in paths:
        if path.exists() and not path.is_dir():
            raise output.InputError(f"{path} is a file; give its directory: metaexpert logs {path.parent}")
        if not path.exists():
            hint = "" if directories else "; give the directory: metaexpert logs DIR"
            raise output.InputError(f"there is no directory {path}{hint}")
    return open_logs(*paths)


def _configured_directory() -> Path:
    if not locations.may_be_configured():
        return Path(locations.DEFAULT_DIRECTORY)
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import

    return settings().log_dir


def _told[T, R](option: str, read: Callable[[T], R], value: T) -> R:
    try:
        return read(value)
    except ValueError as error:
        raise output.InputError(f"{option}: {error}") from None


def tell(counts: Counts) -> None:
    """Say on standard error what a reading met that is not as it should be."""
    if counts.unparsed:
        lines = (
            "1 line is no entry and is" if counts.unparsed == 1 else f"{counts.unparsed} lines are no entries and are"
        )
        output.complain("note", [f"{lines} shown as found"])
    if counts.unordered:
        output.complain("warning", [f"{counts.unordered} entries stand out of order: the files are too disordered"])
    if counts.overrun:
        output.complain("warning", ["files were rotated away before they could be read; entries may be missing"])
    output.complain("warning", [f"{name} cannot be read: {why}" for name, why in counts.unreadable.items()])
