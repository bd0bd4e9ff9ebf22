"""Our docstrings as the documentation site needs them; Sphinx calls these functions while it builds (docs/site).

Docstrings show code as an indented block behind an empty line, as they are read in an editor. reStructuredText wants a
directive above it. And Napoleon takes the words before a colon in the text of a property for its type.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: What Napoleon reads: the block below is no code.
_SECTION: Final = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
#: Begins a list or a directive, whose indented lines belong to it.
_LIST: Final = re.compile(r"([-*]|\.\.|\d+\.) ")
_properties: dict[str, list[str]] = {}


def before_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put a directive above each block of code in *lines*, in place, and remember the text of a property."""
    lines[:] = with_directives(lines)
    if what == "property":
        _properties[name] = list(lines)


def after_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the text of a property back."""
    if what == "property":
        lines[:] = _properties.pop(name)


def with_directives(lines: list[str]) -> list[str]:
    """Return *lines* with a directive above each indented block that an empty line parts from plain text."""
    found: list[str] = []
    text = ""  # the last line that is not indented
    inside = False
    for line in lines:
        indented = line.startswith("    ")
        if line and not indented:
            text, inside = line, False
        elif indented and not inside:
            inside = True
            if found and not found[-1] and not _SECTION.match(text) and not _LIST.match(text):
                found += [".. code-block:: python", ""]
        found.append(line)
    return found
