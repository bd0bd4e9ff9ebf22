"""The options that every command about entries has (directories, filters, format), and the logs that they ask for."""

from __future__ import annotations

import gc
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from metaexpert.cli import output, progress
from metaexpert.cli.dispatch import with_options
from metaexpert.logger import schema
from metaexpert.logger.config import locations
from metaexpert.logs import Counts, Logs, level_number, open_logs
from metaexpert.logs.reading.files import is_log
from metaexpert.logs.reading.times import parse_time, parse_zone
from metaexpert.logs.render import FormatName
from metaexpert.logs.store.store import is_store

#: Seconds between two looks for a directory that does not exist yet.
_LOOK_INTERVAL: Final = 0.1
_STORE_COMMANDS: Final = "logs, order, trades, stats, runs, why and report"
#: So many more objects than were freed are made between two collections of cycles.
_OBJECTS: Final = 100_000
#: What most commands do with lines that are no entries.
LEFT_OUT: Final = "left out"
FORMATS: Final = ("text", "json", "csv")
_PANEL: Final = "Which entries"

Directories = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DIR",
        help="Log directories, files, or stores: vlogs://HOST:9428; the configured log_dir if left out.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonFormat = Annotated[bool, typer.Option("--json", help="Same as --format json.")]


def completion(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes the beginning of one of *words*."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete.lower())]


def _filter(kind: Any, *names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    option = typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_PANEL, show_default=False, **more)
    return Annotated[kind, option]


_TEXT: Final = str | None
_TEXTS: Final = list[str] | None
_FILTERS: Final[dict[str, Any]] = {
    "directories": Directories,
    "level": _filter(
        _TEXT, "--level", "-l", metavar="LEVEL", autocompletion=completion(schema.LEVEL_NUMBERS),
        help="Lowest level: debug, info, warning, error, critical.",
    ),
    "expert": _filter(_TEXTS, "--expert", metavar="NAME", help="Only of this expert; may be repeated."),
    "symbol": _filter(_TEXTS, "--symbol", metavar="NAME", help="Only with this symbol; may be repeated."),
    "order": _filter(_TEXTS, "--order", metavar="ID", help="Only about this order, by any id of it; may be repeated."),
    "trade_id": _filter(_TEXTS, "--trade-id", metavar="ID", help="Only with this trade_id; may be repeated."),
    "since": _filter(
        _TEXT, "--since", metavar="TIME",
        help="From this time on: 15m, 2h30m, 1d (ago), 14:00, yesterday 14:00, monday, 2026-11-22, "
        "2026-11-22T14:00:00Z.",
    ),
    "until": _filter(_TEXT, "--until", metavar="TIME", help="Up to and including this time."),
    "grep": _filter(
        _TEXTS, "--grep", "-g", metavar="PATTERN",
        help="Only lines that contain this text or match this regular expression; if repeated, all of them.",
    ),
    "ignore_case": _filter(bool, "--ignore-case", "-i", help="Ignore case in --grep."),
    "tz": _filter(
        _TEXT, "--tz", metavar="ZONE",
        help="Time zone, typed and shown: UTC, local, Europe/Berlin. Default: UTC",
    ),
    "diagnostics": _filter(bool, "--diagnostics", help="Include the logger's own problems (logging_errors.log)."),
    "recorder": _filter(bool, "--recorder", help="Include what the flight recorder kept (recorder-*.log)."),
}  # fmt: skip


def with_filters[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add directories and the options that choose entries to *command*, which takes ``**filters``."""
    return with_options(command, _FILTERS)


@contextmanager
def reading(
    filters: dict[str, Any], task: str, *, files: bool = False, stores: bool = False, fate: str = LEFT_OUT
) -> Iterator[Logs]:
    """Give the logs that the options ask for, show a progress bar, and report at the end what was wrong with the files.

    Args:
        filters: The options.
        task: What is done with them, for the progress bar.
        files: Whether files may stand in the place of directories.
        stores: Whether the command can ask a store too.
        fate: What becomes of lines that are no entries.

    Raises:
        InputError: There is no such directory, or a filter cannot be understood.
    """
    with progress.shown(selected(filters, files=files, stores=stores), task) as logs, rarely_collecting():
        yield logs
    report(logs.counts, fate)


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Look for cycles more rarely: entries and what is made of them have none, and they are very many."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def selected(filters: dict[str, Any], *, files: bool = False, stores: bool = False) -> Logs:
    """Return the logs that the options ask for; arguments and errors as `reading`."""
    tz = zone(filters.get("tz"))
    wanted: dict[str, Any] = {name: filters.get(name) or None for name in ("expert", "symbol", "order", "trade_id")}
    if (level := filters.get("level")) is not None:
        wanted["level"] = _read("--level", level_number, level)
    for name in ("since", "until"):
        if (text := filters.get(name)) is not None:
            wanted[name] = parsed_time(f"--{name}", text, tz, last=name == "until")
    bounds = [wanted[name] for name in ("since", "until") if name in wanted]
    # In UTC: within a zone Python compares what clocks show, which may go back.
    if len(bounds) > 1 and bounds[0].astimezone(UTC) > bounds[1].astimezone(UTC):
        since, until = (bound.isoformat(" ", "seconds") for bound in bounds)
        raise output.InputError(f"--since: {since} is later than --until, {until}")
    follow = bool(filters.get("follow"))
    logs = opened(filters.get("directories") or (), wait=follow, files=files, stores=stores)
    logs = replace(logs, diagnostics=bool(filters.get("diagnostics")), recorder=bool(filters.get("recorder")))
    logs = logs.filter(**wanted)
    for text in filters.get("grep") or ():
        logs = logs.filter(grep=pattern(text, ignore_case=bool(filters.get("ignore_case"))))
    return logs


def parsed_time(option: str, text: str, tz: tzinfo, *, last: bool = False) -> datetime:
    """Return the time that the value of *option* means, in the time zone *tz*; *last* as in `parse_time`."""
    return _read(option, lambda text: parse_time(text, tz=tz, last=last), text)


def number(option: str, text: str, what: str = "a number") -> int:
    """Return the number that the value of *option* means; one beyond what a machine counts to is as good as all.

    Raises:
        InputError: It is none; the message says that it should be *what*.
    """
    if not text.isdecimal():
        raise output.InputError(f"{option}: {text!r} should be {what}")
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else sys.maxsize


def format_name(name: str, *, as_json: bool) -> FormatName:
    """Return the format that ``--format`` and ``--json`` ask for.

    Raises:
        InputError: There is no such format.
    """
    if as_json:
        return "json"
    if name not in FORMATS:
        raise output.InputError(f"--format: {name!r} should be text, json or csv")
    return cast("FormatName", name)


def zone(name: str | None) -> tzinfo:
    """Return the time zone of ``--tz``."""
    return _read("--tz", parse_zone, name or "UTC")


def pattern(text: str, *, ignore_case: bool) -> str | re.Pattern[str]:
    """Return what ``--grep`` searches for: plain text where *text* means only itself, else an expression.

    Text that is not a valid expression is searched for literally, and a valid one also as it is typed.
    """
    flags = re.IGNORECASE if ignore_case else 0
    if not ignore_case and re.escape(text).replace("\\ ", " ").replace("\\-", "-") == text:
        return text
    try:
        re.compile(text)
    except re.error:
        return re.compile(re.escape(text), flags) if ignore_case else text
    # The text's own flags must come first.
    expression = re.compile(f"{text}|{re.escape(text)}", flags)
    return cast("re.Pattern[str]", _Bounded(text, expression)) if _REPEATS.search(text) else expression


#: Seconds of processor time after which a search in one line is given up, give or take as many again.
_LONGEST_SEARCH: Final = 2.0
#: Of a number of entries; Python's counters hold no longer ones.
_MOST_DIGITS: Final = 18
#: Without one of these no expression takes long.
_REPEATS: Final = re.compile(r"[*+{]")


class _Bounded:
    """A compiled expression whose search in one line ends after some seconds: `(a+)+$` would take years.

    The engine of `re` looks for signals while it searches, and a timer of the process's own time sends them. The
    handler raises when it finds the same search twice in a row. Windows has no such timer.
    """

    #: Of all expressions together: searches begun, that of the last tick, and the one that goes on.
    _begun = _seen = 0
    _goes_on = ""
    _armed = sys.platform == "win32"

    def __init__(self, text: str, expression: re.Pattern[str]) -> None:
        self._text, self._search = text, expression.search
        self.pattern, self.flags = expression.pattern, expression.flags

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match in *text*. Raises InputError when the search takes too long."""
        if not _Bounded._armed:
            self._arm()
        _Bounded._begun += 1
        _Bounded._goes_on = self._text
        try:
            return self._search(text)
        finally:
            _Bounded._goes_on = ""

    @classmethod
    def _arm(cls) -> None:
        cls._armed = True
        if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGVTALRM, cls._tick)
            signal.setitimer(signal.ITIMER_VIRTUAL, _LONGEST_SEARCH)

    @classmethod
    def _tick(cls, *_: object) -> None:
        cls._armed = False
        again, cls._seen = cls._seen == cls._begun, cls._begun
        if cls._goes_on and again:
            raise output.InputError(
                f"--grep: {cls._goes_on!r} takes too long on one line; repeat nothing that consists of repeats"
            )
        if cls._goes_on:
            cls._arm()


def opened(directories: Sequence[str], *, wait: bool = False, files: bool = False, stores: bool = False) -> Logs:
    """Return all logs of *directories*, or of the configured one.

    Args:
        directories: Their names; with *stores*, addresses of stores among them.
        wait: Wait for those that do not exist yet.
        files: Whether they may be files.
        stores: Whether the command can ask a store too.

    Raises:
        InputError: There is no such directory, or an address of a store is wrong.
    """
    addresses = [name for name in directories if is_store(name)]
    if addresses and not stores:
        raise output.InputError(f"{addresses[0]}: this command reads files, not a store; {_STORE_COMMANDS} ask one")
    names = [name for name in directories if not is_store(name)]
    paths = _directories(names, wait=wait, files=files) if names or not addresses else []
    try:
        return open_logs(*addresses, *paths)
    except ValueError as error:
        raise output.InputError(str(error)) from None


def _directories(directories: Sequence[str], *, wait: bool, files: bool) -> list[Path]:
    from metaexpert.cli.logs import Commands  # noqa: PLC0415 - it imports this module

    for name in directories:
        if name in Commands.references and not Path(name).is_dir():
            raise output.InputError(
                f"{name} is a command and stands before its options; the directory of that name is ./{name}"
            )
    paths = [Path(name) for name in directories] or [_configured_directory()]
    for path in paths:
        try:
            exists = path.exists()
            wanted = path.is_dir() or (files and is_log(path))
        except OSError as error:  # a directory above it may not be searched
            raise output.InputError(f"{path} cannot be read: {error.strerror}") from None
        if exists and not wanted:
            raise output.InputError(f"{path} is a file; give its directory: metaexpert logs {path.parent}")
        if not exists:
            hint = _meant(str(path)) if directories else "; give the directory: metaexpert logs DIR"
            if not wait:
                raise output.InputError(f"there is no directory {path}{hint}")
            output.complain("note", [f"there is no directory {path} yet; waiting for it{hint}"])
            while not path.is_dir():
                output.wait(_LOOK_INTERVAL)
    return paths


def _meant(name: str) -> str:
    """Return the command that may have been meant by a name of which there is no directory."""
    from metaexpert.cli.logs import Commands  # noqa: PLC0415 - as above

    near = get_close_matches(name, Commands.references, 1)
    return f"; did you mean the command {near[0]}?" if near else ""


def _configured_directory() -> Path:
    if not locations.may_be_configured():
        return Path(locations.DEFAULT_DIRECTORY)
    from metaexpert.cli.settings import settings  # noqa: PLC0415 - pydantic is slow to import

    return settings().log_dir


def _read[T, R](option: str, read: Callable[[T], R], value: T) -> R:
    try:
        return read(value)
    except ValueError as error:
        raise output.InputError(f"{option}: {error}") from None


def report(counts: Counts, fate: str = LEFT_OUT) -> None:
    """Report the problems of a reading on standard error; *fate* is what became of lines that are no entries."""
    if counts.unparsed == 1:
        output.complain("note", [f"1 line is no entry and is {fate}"])
    elif counts.unparsed:
        output.complain("note", [f"{counts.unparsed} lines are no entries and are {fate}"])
    if counts.unordered:
        output.complain("warning", [f"{counts.unordered} entries stand out of order: the files are too disordered"])
    if counts.overrun:
        output.complain("warning", ["files were rotated away before they could be read; entries may be missing"])
    output.complain("warning", [f"{name} cannot be read: {why}" for name, why in counts.unreadable.items()])
    output.complain("note", [f"{name} is a copy of {other}: it is read once" for name, other in counts.copies.items()])
