"""Draw the picture of the README: the example's log, its trades and the life of one order, as a terminal shows them.

    python -m uv run python tools/terminal_picture.py docs/terminal.svg

Runs the example in an empty directory and lets rich draw what the commands print. Times and the process apart, the
picture is the same each time.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT: Final = Path(__file__).parent.parent
WIDTH: Final = 104
RUN: Final = ("run", "expert_ema_cross.py", "--data", "eurusd_1h.csv")
SHOWN: Final = (
    ("logs", "--level", "info", "--limit", "5"),
    ("logs", "trades", "--limit", "5"),
    ("logs", "order", "ord-18"),
)
#: rich names fonts of a server; a picture in a repository should fetch nothing.
_FONT_FACE: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def output(directory: Path, *arguments: str) -> str:
    """Return what the command prints in *directory*, with its colours. Raises CalledProcessError when it fails."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "metaexpert", *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def draw() -> str:
    """Return the picture as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for source in ("expert_ema_cross.py", "data/eurusd_1h.csv"):
            (directory / Path(source).name).write_bytes((ROOT / "examples" / source).read_bytes())
        output(directory, *RUN)
        for arguments in SHOWN:
            console.print(Text.assemble(("$ ", "bold green"), ("metaexpert " + " ".join(arguments), "bold")))
            for line in output(directory, *arguments).splitlines():
                console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
            console.print()
    picture = console.export_svg(title="metaexpert logs", theme=MONOKAI, unique_id="metaexpert")
    return _FONT_FACE.sub("", picture).replace("Fira Code", "ui-monospace")


def main(arguments: list[str]) -> int:
    """Write the picture to the file that is named. Returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: terminal_picture.py FILE.svg\n")
        return 2
    Path(arguments[0]).write_text(draw(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
