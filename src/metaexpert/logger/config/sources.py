"""The five sources of a configuration, read but not validated.

Highest first: command line, arguments in code, environment, ``.env``, ``[tool.metaexpert.logger]`` in
``pyproject.toml``. Each layer also keeps a label for every field, such as "environment METAEXPERT_LOG_LEVEL", by which
a person finds the value. Reading creates nothing. A source that cannot be read becomes a `Problem` and raises nothing.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic.fields import FieldInfo

from metaexpert.logger.config._problems import Problem
from metaexpert.logger.config.locations import DOTENV_FILE, ENV_PREFIX, PYPROJECT_TABLE, SHORT_PREFIX, nearest_pyproject

CODE_LABEL: Final = "argument in code"

#: Other names of fields, each with its field.
ALIASES: Final[Mapping[str, str]] = {
    "structured_logging": "json_logging",
    "trade_log_file": "log_trade_file",
    "error_log_file": "log_error_file",
}

#: The fields of the model whose values are wanted, by name.
Fields = Mapping[str, FieldInfo]

_command_line: ContextVar[Mapping[str, Any]] = ContextVar("metaexpert_command_line", default=MappingProxyType({}))


class ConfigurationWarning(UserWarning):
    """A setting that has no effect, most likely a misspelt name."""


class Layer:
    """The values of one source by field, each with a label that says where it was given."""

    def __init__(self, fields: Fields) -> None:
        self.values: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._fields = fields
        self._names: dict[str, str] = {}

    def take(self, name: str, value: Any, label: str) -> None:
        """Take *value* for the field called *name*, or note the problem with it."""
        field = ALIASES.get(name, name)
        if field not in self._fields:
            self.problems.append(_unknown(name, label, self._fields))
        elif field in self.values:
            other = self._names[field] + ("" if self.labels[field] == label else f" ({self.labels[field]})")
            text = f"{name}: means the same as {other}, which is given too; keep one ({label})"
            self.problems.append(Problem(name, label, text))
        else:
            self.values[field], self.labels[field], self._names[field] = value, label, name


def _unknown(name: str, label: str, fields: Fields) -> Problem:
    # The value is left out on purpose: with an unknown name it may be a secret.
    guess = likely_name(name, [*fields, *ALIASES])
    hint = f"did you mean {guess!r}?" if guess else "see `metaexpert config show` for the names that exist"
    return Problem(name, label, f"{name}: no such option ({label}); {hint}")


def likely_name(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate of which *name* is most likely a misspelling, or None."""
    import difflib  # noqa: PLC0415 - only mistakes need it

    return next(iter(difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.7)), None)


@contextmanager
def command_line(options: Mapping[str, Any]) -> Iterator[None]:
    """Put *options* above all other sources, for configurations that are made inside the block.

    The command line loads an expert inside it, so that ``--log-level`` wins over the expert's code. The options follow
    tasks like any context variable. Threads that are started inside do not inherit them.
    """
    token = _command_line.set(dict(options))
    try:
        yield
    finally:
        _command_line.reset(token)


def read_layers(
    fields: Fields, arguments: Mapping[str, Any], *, preset: Mapping[str, Any], preset_name: str
) -> list[Layer]:
    """Read all layers for *fields*, highest first.

    Args:
        fields: The fields of the settings model.
        arguments: Arguments given in code.
        preset: Values in place of the defaults. Any other source wins over them.
        preset_name: Name of the preset, for the label.

    Returns:
        One layer per source, with unknown names noted as problems. Values are not validated yet.
    """
    overrides = _command_line.get()
    command = _named(fields, overrides, {k: f"command line --{k.replace('_', '-')}" for k in overrides})
    code = _named(fields, arguments, dict.fromkeys(arguments, CODE_LABEL))
    presets = _named(fields, preset, dict.fromkeys(preset, f"preset {preset_name}"))
    environment = _environment(fields, os.environ, "environment")
    return [command, code, environment, _dotenv(fields), _pyproject(fields), presets]


def _named(fields: Fields, values: Mapping[str, Any], labels: Mapping[str, str]) -> Layer:
    layer = Layer(fields)
    for name, value in values.items():
        layer.take(name, value, labels[name])
    return layer


def _environment(fields: Fields, variables: Mapping[str, str | None], where: str) -> Layer:
    """Read our variables: the long names, then the short ones of the ``log_`` fields."""
    layer = Layer(fields)
    found = {name.upper(): (name, value) for name, value in variables.items() if value}
    for field in (*fields, *ALIASES):
        upper = field.upper()
        names = (ENV_PREFIX + upper, upper) if upper.startswith(SHORT_PREFIX) else (ENV_PREFIX + upper,)
        name, value = next((found[n] for n in names if n in found), ("", None))
        if value is not None:
            layer.take(field, _decoded(fields[ALIASES.get(field, field)], value), f"{where} {name}")
    _warn_misspelt(found, fields, where)
    return layer


def _decoded(field: FieldInfo, text: str) -> Any:
    """Return the text of a variable, as a list for list fields: it is JSON, or words separated by commas."""
    if "list" not in str(field.annotation):
        return text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [word.strip() for word in text.split(",") if word.strip()]


def _warn_misspelt(found: Mapping[str, tuple[str, str | None]], fields: Iterable[str], where: str) -> None:
    known = [field.upper() for field in (*fields, *ALIASES)]
    for upper, (name, _) in found.items():
        # Compared without the common prefix, which would make any two names look alike.
        rest = upper.removeprefix(ENV_PREFIX)
        if upper != rest and rest not in known and (guess := likely_name(rest, known)):
            text = f"{name} ({where}) is not a setting and is ignored; did you mean {ENV_PREFIX}{guess}?"
            warnings.warn(text, ConfigurationWarning, stacklevel=2)


def _dotenv(fields: Fields) -> Layer:
    path = Path(DOTENV_FILE)
    try:
        if not path.is_file():
            return Layer(fields)
        from dotenv import dotenv_values  # noqa: PLC0415 - most programs have no such file

        variables = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        return _unreadable(fields, DOTENV_FILE, error)
    return _environment(fields, variables, DOTENV_FILE)


def _pyproject(fields: Fields) -> Layer:
    """Read our table from the nearest ``pyproject.toml``, from the working directory upwards."""
    path = nearest_pyproject()
    if path is None:
        return Layer(fields)
    import tomllib  # noqa: PLC0415 - a program that is deployed has no such file

    shown = os.path.relpath(path)
    try:
        table: Any = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return _unreadable(fields, shown, error)
    for key in PYPROJECT_TABLE:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        return _unreadable(fields, shown, TypeError("[tool.metaexpert.logger] is not a table"))
    return _named(fields, table, dict.fromkeys(table, shown))


def _unreadable(fields: Fields, name: str, error: Exception) -> Layer:
    import tomllib  # noqa: PLC0415 - see `_pyproject`

    layer = Layer(fields)
    # Of a decoding error only the kind is told, since its text may quote the file.
    what = f": {error.strerror}" if isinstance(error, OSError) else f": {type(error).__name__}"
    if isinstance(error, UnicodeDecodeError):
        what = ": it is not UTF-8 text"
    elif isinstance(error, tomllib.TOMLDecodeError | TypeError):
        what = f": {error}"
    layer.problems.append(Problem(name, name, f"{name}: cannot be read{what}"))
    return layer
