"""Check that a tag, the version and the changelog name the same release.

    python3 tools/check_release.py v0.2.0

Needs the standard library only. Prints one line per problem and exits with 1 when there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def problems(tag: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what does not agree with *tag* in the project at *root*."""
    version = tag.removeprefix("v")
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        yield f"the tag {tag!r} should look like v1.2.3 or v1.2.3rc1"
    text = (root / "src/metaexpert/_version.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)
    ours = found[1] if found else "none"
    if ours != version:
        yield f"the tag says {version}, src/metaexpert/_version.py says {ours}"
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    by_name = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}
    dated = [name for name in by_name if re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", name)]
    if not dated:
        yield f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'"
    elif not by_name[dated[0]]:
        yield f"the section of {version} in CHANGELOG.md is empty"
    elif next(name for name in by_name if name != "[Unreleased]") != dated[0]:
        yield f"the section of {version} is not the newest in CHANGELOG.md"
    if by_name.get("[Unreleased]"):
        yield "CHANGELOG.md still has changes under Unreleased"


def main(arguments: list[str]) -> int:
    """Check the tag that is the only one of *arguments*. Returns the exit code."""
    if len(arguments) != 1:
        print("name one tag, such as v1.2.3")
        return 2
    found = list(problems(arguments[0]))
    for problem in found:
        print(problem)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
