"""Draw the picture of README: commands typed into a terminal, what they print, and the screen of the last one.

    python -m uv run python tools/terminal_picture.py docs/terminal.svg

The commands are run, in an empty directory with the examples beside them, so the picture shows what a reader gets;
made anew it differs in times only. It loads nothing from the network: the fonts are those of the reader's machine,
and every run of text has a fixed width, so that columns stay in line whatever font that is.
"""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from textual.widgets import Static

from metaexpert.cli.live.app import Live
from metaexpert.cli.live.records import Records
from metaexpert.logs import open_logs

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
COMMANDS: Final = (
    "python examples/many_experts.py",
    "metaexpert logs live logs/breakout-24 logs/breakout-72 logs/together --level info",
)
#: Characters in a line: what README's width of some 850 pixels shows in a legible size.
WIDTH: Final = 104
#: Lines of the screen.
HEIGHT: Final = 26
#: Seconds after which a command is given up.
PATIENCE: Final = 60
#: A dark window reads well on a light page and on a dark one. Contrast of each colour to the ground is at least 4.5.
THEME: Final = TerminalTheme(
    (22, 27, 34),
    (225, 228, 232),
    [
        (110, 118, 129),
        (255, 123, 114),
        (126, 231, 135),
        (242, 204, 96),
        (121, 192, 255),
        (210, 168, 255),
        (118, 227, 234),
        (225, 228, 232),
    ],
)
#: Rich's own format fetches a font from a server; this one asks for those of the machine.
FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px
}}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def outputs(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield each command and what it prints in colour, run in *directory*. Raises CalledProcessError when one fails."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("METAEXPERT_", "LOG_"))}
    environment = {**settings, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    for command in COMMANDS[:-1]:
        words = shlex.split(command)
        program = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]
        done = subprocess.run(
            program, cwd=directory, env=environment, capture_output=True, timeout=PATIENCE, check=True, encoding="utf-8"
        )
        yield command, done.stdout
    *_, level = words = shlex.split(COMMANDS[-1])
    yield COMMANDS[-1], asyncio.run(screen([directory / word for word in words[3:-2]], level))


async def screen(directories: list[Path], level: str) -> str:
    """Return the screen of `metaexpert logs live`, in colour. Raises TimeoutError when the files are not read."""
    app = Live(open_logs(*directories), [("level", level)])
    async with asyncio.timeout(PATIENCE), app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        panel, records = app.query_one("#experts", Static), app.query_one(Records)
        while str(panel.content).count("\n") < len(directories) or not records.records or not records.many:
            await pilot.pause(0.1)
        await pilot.pause(1)  # all workers have brought what they look for, and the screen is painted
        console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
        return "\n".join(strip.render(console).rstrip() for strip in app.screen._compositor.render_strips())


def picture(session: list[tuple[str, str]], title: str = "Run experts, watch them") -> str:
    """Return the SVG of a terminal in which *session*, commands with their output, has taken place."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        for index, (command, output) in enumerate(session):
            if index:
                console.print()
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text.from_ansi(output.rstrip("\n")), highlight=False)
        svg = console.export_svg(title=title, theme=THEME, code_format=FORMAT, unique_id="terminal")
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def main(arguments: list[str]) -> int:
    """Write the picture to the file that *arguments* name. Returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: terminal_picture.py FILE\n")
        return 2
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(EXAMPLES, Path(directory) / "examples", ignore=shutil.ignore_patterns("logs", "__pycache__"))
        session = list(outputs(Path(directory)))
    Path(arguments[0]).write_text(picture(session), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
