"""Check that the pages say what the code does: links, index, table of settings, public names, set-up commands.

    python -m uv run python tools/check_docs.py

Prints one line per problem and exits with 1 when there is any.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import markdown_text as markdown
from pydantic.fields import FieldInfo

import metaexpert.logger
from metaexpert.logger import LoggerConfig

ROOT: Final = Path(__file__).resolve().parent.parent
GUIDE: Final = Path("docs/guides/logging.md")
INDEX: Final = Path("docs/README.md")
GUARANTEES: Final = Path("docs/guarantees.md")
README: Final = Path("README.md")
CI_SCRIPT: Final = Path(".ci/run")
#: What newcomers type: this many blocks in the README, no more and no fewer.
SETUP_COMMANDS: Final = 2
#: Directories that hold what was built or written.
BUILT: Final = ("dist", "logs", "site")
#: First header cell of the table of settings.
FIELD_COLUMN: Final = "field"
#: Defaults that are no value: the default of one field that follows another.
FOLLOWS: Final = {"console_level": "as `log_level`"}
_MIB: Final = 1024 * 1024


_parsed: Final = cache(ast.parse)
_anchors: Final = cache(markdown.anchors)


def pages(root: Path) -> list[Path]:
    """Return the Markdown pages under *root*, relative to it; hidden directories and built ones are left out."""
    found = (path.relative_to(root) for path in root.rglob("*.md"))
    return sorted(path for path in found if not path.parts[0].startswith(".") and path.parts[0] not in BUILT)


def check_links(root: Path) -> Iterator[str]:
    """Yield a problem for each relative link whose file or anchor does not exist."""
    for page in pages(root):
        for link in markdown.links((root / page).read_text("utf-8")):
            if re.match(r"[a-z][a-z0-9+.-]*:", link.target, re.IGNORECASE):
                continue
            name, _, anchor = unquote(link.target).partition("#")
            target = (root / page.parent / name) if name else root / page
            if not target.exists():
                yield f"{page.as_posix()}:{link.line}: there is no file {name}"
            elif anchor and anchor not in _anchors(target.read_text("utf-8")):
                yield f"{page.as_posix()}:{link.line}: {target.name} has no heading #{anchor}"


def check_index(root: Path) -> Iterator[str]:
    """Yield a problem for each guide that the index of the documentation does not link to."""
    linked = {link.target for link in markdown.links((root / INDEX).read_text("utf-8"))}
    for guide in sorted((root / "docs/guides").glob("*.md")):
        if f"guides/{guide.name}" not in linked:
            yield f"{INDEX.as_posix()}:1: the index lacks guides/{guide.name}"


def check_fields(root: Path) -> Iterator[str]:
    """Yield a problem for each difference between the table of settings and `LoggerConfig`."""
    page = (root / GUIDE).read_text("utf-8")
    documented: dict[str, tuple[int, str]] = {}
    for line, cells in markdown.rows(page, FIELD_COLUMN):
        name = cells[0].strip("`")
        if name in documented:
            yield f"{GUIDE.as_posix()}:{line}: {name} stands in the table twice"
        documented[name] = (line, cells[1] if len(cells) > 1 else "")
    fields = LoggerConfig.model_fields
    for name, (line, shown) in documented.items():
        if name not in fields:
            yield f"{GUIDE.as_posix()}:{line}: {name} is no field of LoggerConfig"
        elif shown != (expected := default_text(name, fields[name])):
            yield f"{GUIDE.as_posix()}:{line}: the default of {name} is {expected}, not {shown}"
    for name in fields:
        if name not in documented:
            yield f"{GUIDE.as_posix()}:1: the table of settings lacks {name}"


def default_text(name: str, field: FieldInfo) -> str:
    """Return the default of a field as the table shows it: as JSON, sizes with their unit, None as "none"."""
    if name in FOLLOWS:
        return FOLLOWS[name]
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if type(value) is int and value >= 1024 and value % 1024 == 0:
        value = f"{value // _MIB}MB" if value % _MIB == 0 else f"{value // 1024}KB"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


def check_names(root: Path) -> Iterator[str]:
    """Yield a problem for each public name that the guide does not mention."""
    page = (root / GUIDE).read_text("utf-8")
    for name in metaexpert.logger.__all__:
        if not re.search(rf"\b{name}\b", page):
            yield f"{GUIDE.as_posix()}:1: the guide does not mention {name}"


def check_tests(root: Path) -> Iterator[str]:
    """Yield a problem for each test that a page names and that does not exist, and for each guarantee without one."""
    known = {path.name: path for path in (root / "tests").rglob("test_*.py")}
    for page in pages(root):
        for number, line in enumerate((root / page).read_text("utf-8").splitlines(), 1):
            for name in re.findall(r"`(test_\w+\.py(?:::\w+)*)`", line):
                file, *parts = name.split("::")
                if file not in known or not _defines(_parsed(known[file].read_text("utf-8")), parts):
                    yield f"{page.as_posix()}:{number}: there is no test {name}"
    if (root / GUARANTEES).exists():
        for section in re.split(r"^(?=##)", (root / GUARANTEES).read_text("utf-8"), flags=re.MULTILINE):
            if section.startswith("### ") and not re.search(r"^\*Proved by\* `test_", section, re.MULTILINE):
                yield f"{GUARANTEES.as_posix()}:1: no test proves {section.splitlines()[0].removeprefix('### ')!r}"


def _defines(node: ast.AST, names: list[str]) -> bool:
    if not names:
        return True
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [child for child in ast.iter_child_nodes(node) if isinstance(child, kinds) and child.name == names[0]]
    return any(_defines(child, names[1:]) for child in found)


def setup_commands(root: Path) -> list[markdown.Block]:
    """Return the README's set-up commands: its ``bash`` blocks."""
    return [block for block in markdown.blocks((root / README).read_text("utf-8")) if block.language == "bash"]


def check_commands(root: Path) -> Iterator[str]:
    """Yield a problem for each of the README's set-up commands that `.ci/run` does not run as it stands."""
    commands = setup_commands(root)
    if len(commands) != SETUP_COMMANDS:
        yield f"{README}:1: {len(commands)} set-up commands (bash blocks) instead of {SETUP_COMMANDS}"
    run = {line.strip() for line in (root / CI_SCRIPT).read_text("utf-8").splitlines()}
    for block in commands:
        if block.text.strip() not in run:
            yield f"{README}:{block.line}: {CI_SCRIPT.as_posix()} does not run this command as it stands here"


def problems(root: Path) -> list[str]:
    """Return all problems under *root*, one line each."""
    checks = (check_links, check_index, check_fields, check_names, check_tests, check_commands)
    return [problem for check in checks for problem in check(root)]


def main() -> int:
    """Print the problems of this repository. Returns the exit code."""
    found = problems(ROOT)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
