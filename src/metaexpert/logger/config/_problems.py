"""Errors of a configuration, as lines that name the field, the value, its source and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from metaexpert.logger.masking.rules import mask_text

DEFAULT_LABEL: Final = "default"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of a configuration.

    Attributes:
        field: Name of the field, as it was given.
        source: Where it was given.
        message: One line that names the field, the value (unless it may be secret), the source and the remedy.
    """

    field: str
    source: str
    message: str


class ConfigurationError(ValueError):
    """The configuration is wrong. Nothing was opened, created or started.

    Attributes:
        problems: The errors, each a `Problem`, in the order of the sources.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[list[Problem]]]:
        return type(self), (list(self.problems),)


def conflict(field: str, message: str) -> PydanticCustomError:
    """Return the error of a *field* that contradicts another one."""
    # Braces would be taken for placeholders by PydanticCustomError.
    return PydanticCustomError("conflict", "{text}", {"text": message, "field": field})


def explained(
    error: ValidationError, fields: Mapping[str, FieldInfo], values: Mapping[str, Any], sources: Mapping[str, str]
) -> list[Problem]:
    """Return the problems in pydantic's *error*.

    Args:
        error: The error of a model.
        fields: The fields of the model.
        values: The values that were given, by field.
        sources: The source of each value.
    """
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        # A field whose default depends on a wrong one is not wrong itself.
        if detail["type"] != "default_factory_not_called":
            problem = _problem(detail, fields, values, sources)
            found.setdefault(problem.field, problem)  # of a list, only the first wrong item
    return list(found.values())


def _problem(
    detail: ErrorDetails, fields: Mapping[str, FieldInfo], values: Mapping[str, Any], sources: Mapping[str, str]
) -> Problem:
    if detail["type"] == "conflict":
        field, text = str(detail["ctx"]["field"]), detail["ctx"]["text"]
    else:
        field = str(detail["loc"][0])
        wanted = detail["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
        text = f"{_quoted(fields[field], values.get(field))} {wanted}"
    source = sources.get(field.partition("[")[0], DEFAULT_LABEL)
    return Problem(field, source, f"{field}: {text} ({source})")


def _quoted(field: FieldInfo, value: object) -> str:
    if "Secret" in str(field.annotation):
        return "the value (not shown)"
    try:
        text = mask_text(repr(value))
    except Exception:  # an object whose repr raises, or an integer with more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"
