"""Sphinx's configuration: the pages as they are on GitHub, and an API reference made from docstrings.

    make site

The source directory is the root of the repository, so that links between pages are the same in both places. Nothing
is fetched while the site is built, and the site loads nothing from other hosts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from site_docstrings import after_napoleon, before_napoleon

from metaexpert import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "MetaExpert"
author = "MetaExpert contributors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "benchmarks/*.md", "deploy/*.md", "docs/**", "examples/*.md"]
exclude_patterns = [".*", "dist", "logs", "site", "src", "tests", "tools"]

#: GitHub gives every heading an anchor; our pages link down to this level.
myst_heading_anchors = 4
# A fence of `console` with "…" in it, or of several JSON entries, is no code that a lexer takes.
suppress_warnings = ["misc.highlighting_failure"]

#: A name in single backticks becomes a link where the reference has it, and stays code elsewhere.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
maximum_signature_line_length = 120
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"MetaExpert {release}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
# Sphinx names the start page after its source; a web server looks for index.html.
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}

_GUIDES = ("logging", "use-with", "reading", "alerts", "watch", "collect", "fleet", "secrets", "safety", "backtest")
_REFERENCE = (
    "api/logger",
    "api/testing",
    "api/schema",
    "api/rfc5424",
    "api/logs",
    "api/expert",
    "guarantees",
    "platforms",
    "journal",
    "seal",
)
_PROJECT = (
    "docs/README",
    "examples/README",
    "deploy/README",
    "benchmarks/README",
    "benchmarks/RESULTS",
    "benchmarks/NOTES",
    "CONTRIBUTING",
    "CHANGELOG",
)
#: What stands beside each page. GitHub would show it as text, so README gets it here.
CONTENTS = {
    "Guides": [f"docs/guides/{name}" for name in _GUIDES],
    "Reference": [f"docs/{name}" for name in _REFERENCE],
    "Project": list(_PROJECT),
}


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the table of contents to the start page."""
    if docname == root_doc:
        for caption, names in CONTENTS.items():
            listed = "\n".join(names)
            source[0] += f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{listed}\n```\n"


def setup(app: Sphinx) -> None:
    """Connect what pages and docstrings need. Napoleon's own handler has priority 500."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
