"""Run the fenced blocks of a page, as a reader would. CONTRIBUTING says how a page is written for it.

    python -m uv run python tools/doc_blocks.py docs/guides/logging.md

Prints what each block printed, and then each block that does not do what the page says; with one, it exits with 1.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
from markdown_text import Block, blocks

from metaexpert.logger.schema import json_schema

#: Seconds after which a block is given up.
PATIENCE: Final = 50
#: What a reader finds in a clone, and the blocks of a section that mentions it find too.
EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
FILE_LANGUAGES: Final = ("toml", "ini")
_FILE_NAME: Final = re.compile(r"# ([\w.-]+)$")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+Z?")
#: What differs from run to run, or from machine to machine, in an entry.
_VOLATILE: Final = frozenset(
    {"timestamp", "hostname", "procid", "sequence_id", "sequenceId", "swVersion", "frames", "text", "stack"}
)
#: Settings that must not leak in from the machine on which the pages are checked.
_FOREIGN: Final = re.compile(r"(METAEXPERT|LOG)_|(NO|FORCE)_COLOR$", re.IGNORECASE)


class PageError(Exception):
    """A block does not do what its page says."""


def sections(page: str) -> Iterator[tuple[str, list[Block]]]:
    """Yield each section that has blocks: its heading and its blocks."""
    for heading, found in groupby(blocks(page), key=lambda block: block.section):
        yield heading, list(found)


@dataclass
class Runner:
    """Runs the blocks of one section in one directory, in order.

    Attributes:
        directory: An empty directory; the working directory of all blocks.
        printed: What each program printed, by the line of its block or command.
        problems: What the page says and the code does not do, a text each that names the line.
    """

    directory: Path
    printed: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _last: str = ""

    def run(self, section: list[Block]) -> None:
        """Run the blocks of *section*."""
        if any("examples/" in block.text for block in section):
            shutil.copytree(EXAMPLES, self.directory / "examples", ignore=shutil.ignore_patterns("logs", "__pycache__"))
        for block in section:
            try:
                self._run(block)
            except PageError as error:
                self.problems.append(str(error))

    def _run(self, block: Block) -> None:
        if block.language == "python":
            self._last = self._program(block)
        elif block.language == "console":
            self._session(block)
        elif block.language == "text" and self.printed:
            _compare(block.line, block.text, self._last)
        elif block.language == "json":
            self._entry(block)
        elif block.language in FILE_LANGUAGES:
            self._write(block, _named(block))

    def _program(self, block: Block) -> str:
        name = _FILE_NAME.match(block.text.partition("\n")[0])
        path = self._write(block, name[1] if name else f"line_{block.line}.py")
        return self._execute(block.line, [sys.executable, path.name])

    def _write(self, block: Block, name: str) -> Path:
        path = self.directory / name
        path.write_text(block.text, "utf-8")
        return path

    def _session(self, block: Block) -> None:
        for number, command, expected in _commands(block):
            self._last = self._execute(number, *_parsed(number, command))
            if expected:
                _compare(number, expected, self._last)

    def _execute(self, line: int, command: list[str], settings: dict[str, str] | None = None) -> str:
        kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        fixed = {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**kept, **fixed, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            encoding="utf-8",
            check=False,
        )
        self.printed[line] = done.stdout
        if done.returncode:
            raise PageError(f"line {line}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def _entry(self, block: Block) -> None:
        for shown in _documents(block):
            if "severity" not in shown:
                continue
            try:
                jsonschema_rs.validate(json_schema(), shown)
            except jsonschema_rs.ValidationError as error:
                raise PageError(f"line {block.line}: not a valid entry: {error.message}") from error
            if _stable(shown) not in [_stable(entry) for entry in self._logged()]:
                raise PageError(f"line {block.line}: the section's code does not log this entry")

    def _logged(self) -> Iterator[Any]:
        for path in sorted(self.directory.rglob("*.log")):
            for line in path.read_text("utf-8").splitlines():
                yield json.loads(line)


def _named(block: Block) -> str:
    name = _FILE_NAME.match(block.text.partition("\n")[0])
    if name is None:
        raise PageError(f"line {block.line}: a {block.language} block begins with its file's name, like # .env")
    return name[1]


def _parsed(line: int, text: str) -> tuple[list[str], dict[str, str]]:
    """Return the command behind the prompt as arguments, and the variables that stand before it."""
    words = shlex.split(text)
    settings: dict[str, str] = {}
    while words and re.match(r"\w+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    programs = {"metaexpert": [sys.executable, "-m", "metaexpert"], "python": [sys.executable]}
    if not words or words[0] not in programs:
        raise PageError(f"line {line}: a command begins with one of {', '.join(programs)}")
    return [*programs[words[0]], *words[1:]], settings


def _commands(block: Block) -> list[tuple[int, str, str]]:
    """Return the commands of a console block: the line of each, the command, and the output shown below it."""
    found: list[tuple[int, str, str]] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            found.append((number, line.removeprefix("$ "), ""))
        elif found:
            found[-1] = (*found[-1][:2], f"{found[-1][2]}{line}\n")
    return found


def _compare(line: int, expected: str, printed: str) -> None:
    """Raise PageError unless *printed* is *expected*; times may differ, ``…`` stands for anything."""
    lines = _TIME.sub("<time>", expected.strip()).split("\n")
    # Dots on a line of their own: any number of lines.
    patterns = [r"(.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines]
    if not re.fullmatch("".join(patterns), _TIME.sub("<time>", printed.strip()) + "\n"):
        raise PageError(f"line {line}: the page shows\n{expected}\nbut this was printed\n{printed}")


def _documents(block: Block) -> list[Any]:
    try:
        return [json.loads(block.text)]
    except ValueError:
        return [json.loads(line) for line in block.text.splitlines()]


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in _VOLATILE}
    return [_stable(item) for item in value] if isinstance(value, list) else value


def main(names: list[str]) -> int:
    """Run the blocks of the pages *names*. Returns the exit code."""
    problems = []
    for name in names:
        for heading, section in sections(Path(name).read_text("utf-8")):
            with tempfile.TemporaryDirectory() as directory:
                runner = Runner(Path(directory))
                runner.run(section)
            print("".join(f"--- {heading}, line {n}\n{text}" for n, text in runner.printed.items()))
            problems += [f"{name}: {problem}" for problem in runner.problems]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
