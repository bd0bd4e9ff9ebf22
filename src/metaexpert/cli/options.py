"""One command-line option for each field of `LoggerConfig`, made from the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from metaexpert.cli import output
from metaexpert.cli.dispatch import with_options
from metaexpert.logger import LoggerConfig
from metaexpert.logger.config.alert_routes import SECRETS
from metaexpert.logger.config.field_types import read_size
from metaexpert.logger.config.sources import ALIASES

_PANEL: Final = "Logger options (they win over every other source)"


def with_logger_options[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Give *command*, which takes ``**options``, an option for each field that can be set from outside code.

    Values arrive as text, flags as booleans, lists as lists, and as None when not given. `LoggerConfig` checks them, so
    that the message about a wrong value is the same for every source.
    """
    fields = LoggerConfig.model_fields
    options = {name: _option(name, field) for name, field in fields.items() if _has_text(field)}
    options |= {alias: _option(alias, fields[name], hidden=True) for alias, name in ALIASES.items()}
    return with_options(command, options)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given. Raises InputError if one holds a secret, which `ps` would show."""
    for text in options.get("alert_routes") or ():
        if any(name in text for name in SECRETS):
            raise output.InputError("alert_routes: an address or token does not belong on a command line; use .env")
    return {name: value for name, value in options.items() if value is not None and value != []}


def _option(name: str, field: FieldInfo, *, hidden: bool = False) -> Any:
    kind = _kind(field.annotation)
    dashed = name.replace("_", "-")
    option = typer.Option(
        f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}",
        help=_help(field),
        metavar="",  # eighty columns have no room for it beside the names
        show_default=False,
        hidden=hidden,
        rich_help_panel=_PANEL,
    )
    return Annotated[kind | None, option]


def _has_text(field: FieldInfo) -> bool:
    # Functions (processors) can only be given in code; secrets must not be on a command line, which `ps` shows.
    return not (_mentions(field, "Callable") or _mentions(field, "Secret"))


def _mentions(field: FieldInfo, word: str) -> bool:
    return word in f"{field.annotation} {field.metadata}"


def _kind(annotation: Any) -> Any:
    """Return the type that Typer uses to read a field."""
    annotation = _plain(annotation)
    if annotation is bool:
        return bool
    return list[str] if get_origin(annotation) in (list, tuple, set, frozenset) else str


def _plain(annotation: Any) -> Any:
    """Return *annotation* without its metadata and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _help(field: FieldInfo) -> str:
    parts = [field.description or ""]
    annotation, default = _plain(field.annotation), field.default
    if get_origin(annotation) is Literal:
        parts.append(f"One of {', '.join(map(str, get_args(annotation)))}.")
    if _mentions(field, read_size.__name__):
        parts.append("Such as 512KB or 10MB.")
        default = _size_text(default) if isinstance(default, int) else default
    if default not in (None, [], {}, "", PydanticUndefined):
        parts.append(f"Default: {'on' if default is True else 'off' if default is False else default}.")
    # Help is Rich markup: a bracket must not be taken for a style.
    return " ".join(parts).replace("[", "\\[")


def _size_text(size: int) -> str:
    units = (("GB", 2**30), ("MB", 2**20), ("KB", 2**10))
    return next((f"{size // factor}{unit}" for unit, factor in units if size and size % factor == 0), str(size))
