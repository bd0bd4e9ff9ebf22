"""The five sources of a configuration, read but not validated.

Highest first: command line, arguments in code, environment, ``.env``, ``[tool.metaexpert.logger]`` in
``pyproject.toml``. Each layer also keeps a label for every field, such as "environment METAEXPERT_LOG_LEVEL", by which
a person finds the value. Reading creates nothing. A file that cannot be read is warned about and left out; an error in
our own table becomes a `Problem`.
"""

from __future__ import annotations

import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic.fields import FieldInfo

from metaexpert.logger.config._problems import Problem
from metaexpert.logger.config.locations import (
    DOTENV_FILE,
    ENV_PREFIX,
    PYPROJECT_TABLE,
    SHORT_PREFIX,
    nearest_pyproject,
    read_settings,
)
from metaexpert.logger.entry.patterns import lazy_pattern

CODE_LABEL: Final = "argument in code"

#: Other names of fields, each with its field.
ALIASES: Final[Mapping[str, str]] = {
    "structured_logging": "json_logging",
    "trade_log_file": "log_trade_file",
    "error_log_file": "log_error_file",
    "telegram_message_thread_id": "telegram_thread_id",  # as the Bot API calls it
}

#: A header in TOML, and one of a table in which our settings may stand, perhaps unfinished.
_HEADER: Final = lazy_pattern(r"^(?=[ \t]*\[)", re.MULTILINE)
_OUR_HEADER: Final = lazy_pattern(r"""[ \t]*\[+\s*(["']?)tool\1\s*(?:\]|\.\s*["']?metaexpert\b|$)""", re.MULTILINE)

#: The fields of the model whose values are wanted, by name.
Fields = Mapping[str, FieldInfo]

_command_line: ContextVar[Mapping[str, Any]] = ContextVar("metaexpert_command_line", default=MappingProxyType({}))


class ConfigurationWarning(UserWarning):
    """A setting that has no effect: a misspelt name, a file that cannot be read, a value for another program."""


class Layer:
    """The values of one source by field, each with a label that says where it was given."""

    def __init__(self, fields: Fields) -> None:
        self.values: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.problems: list[Problem] = []
        #: The variables with a short name, by field: other programs have such too.
        self.short: dict[str, str] = {}
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


def without_foreign(layers: Sequence[Layer], check: Callable[[], list[Problem]]) -> list[Problem]:
    """Leave out, with a warning, what was given under a short name and cannot be meant for us.

    Args:
        layers: The layers, which are changed.
        check: Returns what is wrong with the values of *layers*.

    Returns:
        What is still wrong.
    """
    while problems := check():
        blamed = {problem.source: problem for problem in problems}
        short = [(layer, field) for layer in layers for field in layer.short]
        wrong = (item for item in short if item[0].labels[item[1]] in blamed)
        contradicting = (item for item in short if not _problems_without(*item, check))
        layer, field = next(wrong, None) or next(contradicting, None) or (None, "")
        if layer is None:
            return problems
        name, label = layer.short.pop(field), layer.labels.pop(field)
        del layer.values[field]
        text = f"{name} is ignored: it may be meant for another program, {ENV_PREFIX}{name.upper()} is not"
        _warn(f"{blamed.get(label, problems[0]).message}; {text}")
    return []


def _problems_without(layer: Layer, field: str, check: Callable[[], list[Problem]]) -> list[Problem]:
    value = layer.values.pop(field)
    try:
        return check()
    finally:
        layer.values[field] = value


def _warn(text: str) -> None:
    warnings.warn(text, ConfigurationWarning, stacklevel=2)


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
            if not name.upper().startswith(ENV_PREFIX):
                layer.short[field] = name
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
            _warn(f"{name} ({where}) is not a setting and is ignored; did you mean {ENV_PREFIX}{guess}?")


def _dotenv(fields: Fields) -> Layer:
    text = _text_of(Path(DOTENV_FILE))
    if text is None:
        return Layer(fields)
    from dotenv import dotenv_values  # noqa: PLC0415 - most programs have no such file
    from dotenv.parser import parse_stream  # noqa: PLC0415

    for found in parse_stream(io.StringIO(text)):
        if found.error and ENV_PREFIX in found.original.string.upper():
            _warn(f"{DOTENV_FILE}: line {found.original.line} cannot be read and is ignored; is a quote missing?")
    return _environment(fields, dotenv_values(stream=io.StringIO(text)), DOTENV_FILE)


def _pyproject(fields: Fields) -> Layer:
    """Read our table from the nearest ``pyproject.toml``, from the working directory upwards."""
    layer, path = Layer(fields), nearest_pyproject()
    text = None if path is None else _text_of(path)
    if text is None:
        return layer
    shown = str(path)
    try:
        table: Any = _parsed(text, shown)
        for depth, key in enumerate(PYPROJECT_TABLE, 1):
            table = table.get(key, {})
            if not isinstance(table, dict):
                name = ".".join(PYPROJECT_TABLE[:depth])
                raise TypeError(f"[{name}] is not a table but {table!r}")  # noqa: TRY301
    except (ValueError, RecursionError, TypeError) as error:
        layer.problems.append(Problem(shown, shown, f"{shown}: cannot be read: {error}"))
        return layer
    for name, value in table.items():
        layer.take(name, value, shown)
    return layer


def _parsed(text: str, shown: str) -> dict[str, Any]:
    """Return the tables of a ``pyproject.toml``; of one that is wrong elsewhere, ours.

    Raises:
        ValueError: Our own table is wrong.
        RecursionError: It is nested too deep.
    """
    import tomllib  # noqa: PLC0415 - a program that is deployed has no such file

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Blank lines in place of the other tables: an error in ours then bears its number.
        parts = [part if _OUR_HEADER.match(part) else "\n" * part.count("\n") for part in _HEADER.split(text)]
        ours = tomllib.loads("".join(parts))
        _warn(f"{shown}: only [tool.metaexpert.logger] can be read: {error}")
        return ours


def _text_of(path: Path) -> str | None:
    """Return the text of a file with settings; None, with a warning, when it cannot be read."""
    try:
        return read_settings(path)
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"  # the error's own text quotes the file
    except OSError as error:
        reason = error.strerror or type(error).__name__
    _warn(f"{path}: cannot be read: {reason}; its settings are left out")
    return None
