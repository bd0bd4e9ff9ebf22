"""Docstrings on their way to the documentation site."""

from __future__ import annotations

import site_docstrings


def converted(text, what="function"):
    lines = text.split("\n")
    site_docstrings.before_napoleon(None, what, "name", None, None, lines)
    return lines


def test_indented_code_gets_a_directive():
    """Code that a docstring shows as an indented block becomes a block of code."""
    assert converted("Do it.\n\n    call()\n\n    again()\n\nDone.") == [
        "Do it.",
        "",
        ".. code-block:: python",
        "",
        "    call()",
        "",
        "    again()",
        "",
        "Done.",
    ]


def test_sections_lists_and_directives_stay_as_they_are():
    """An indented block that belongs to something is no code."""
    text = "Do it.\n\nArgs:\n\n    a: One.\n\n- item\n\n    more of it\n\n.. note::\n\n    inside"

    assert converted(text) == text.split("\n")


def test_text_of_a_property_survives_napoleon():
    """Words before a colon are a part of the sentence, not a type."""
    lines = converted("The same: with a colon.", "property")
    lines[:] = [":type: The same", "with a colon."]
    site_docstrings.after_napoleon(None, "property", "name", None, None, lines)

    assert lines == ["The same: with a colon."]
