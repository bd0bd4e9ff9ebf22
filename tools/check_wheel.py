"""Check what a wheel holds: the typed package, its licence and its command; no tests and nothing else.

    python -m uv run python tools/check_wheel.py dist/*.whl

Prints one line per problem and exits with 1 when there is any.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = "metaexpert/"
NEEDED: Final = ("metaexpert/py.typed", "metaexpert/__init__.py", "metaexpert/__main__.py")
SUFFIXES: Final = {".py", ".typed", ".json", ".html", ".css", ".so", ".pyd"}
COMMAND: Final = "metaexpert = metaexpert.__main__:main"


def problems(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with *wheel*."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = [n for n in names if n.endswith(".dist-info/entry_points.txt")]
        commands = archive.read(entry_points[0]).decode() if entry_points else ""
    for needed in NEEDED:
        if needed not in names:
            yield f"{wheel.name}: {needed} is missing"
    if not any(".dist-info/licenses/LICENSE" in name for name in names):
        yield f"{wheel.name}: the licence is missing"
    if COMMAND not in commands:
        yield f"{wheel.name}: the command {COMMAND.partition(' ')[0]} is missing"
    for name in names:
        inside = name.startswith(PACKAGE) and Path(name).suffix in SUFFIXES
        if ".dist-info/" not in name and not inside:
            yield f"{wheel.name}: {name} does not belong there"


def main(names: list[str]) -> int:
    """Check the wheels *names*. Returns the exit code."""
    found = [problem for name in names for problem in problems(Path(name))]
    for problem in found or ([] if names else ["no wheel was named"]):
        print(problem)
    return 0 if names and not found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
