"""The questions, and how each tool is asked."""

# ruff: noqa: S608 - the SQL is our own
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

#: A tool that takes longer than so many seconds is stopped.
PATIENCE: Final = 150.0


@dataclass(frozen=True, slots=True)
class Case:
    """One question to one tool: a command, and what it does."""

    question: str
    tool: str
    command: list[str]


def cases(directory: Path, ask: dict[str, Any]) -> Iterator[Case]:
    """Yield all cases for which the tools are there."""
    yield from _last(directory)
    yield from _order(directory, ask)
    yield from _range(directory, ask)
    yield from _critical(directory)
    yield from _statistics(directory, ask)


def _last(directory: Path) -> Iterator[Case]:
    question = "last 50 entries"
    yield Case(question, "import typer, rich", [sys.executable, "-c", "import typer, rich"])
    yield Case(question, "metaexpert logs", _metaexpert(directory, "-n", "50"))
    yield Case(question, "tail, three files", ["sh", "-c", f"tail -n 50 -q {_current(directory)} | sort | tail -n 50"])
    yield from _lnav(
        question, directory, "SELECT log_time, log_body FROM metaexpert_log ORDER BY log_line DESC LIMIT 50"
    )


def _order(directory: Path, ask: dict[str, Any]) -> Iterator[Case]:
    question, order = "one order", ask["order"]
    text = f'"order_id":"{order}"'
    yield from _ripgrep("one rare text", directory, ask["rare"])
    yield Case(
        question, "grep (zgrep for .gz)", ["sh", "-c", f"export LC_ALL=C; {_all(directory, f'grep -F -h {text!r}')}"]
    )
    yield Case(question, "jq", ["sh", "-c", _all(directory, f"jq -c 'select(.order_id==\"{order}\")'")])
    yield Case(question, "metaexpert library", _library(directory, f"order={order!r}"))
    yield Case(question, "metaexpert logs --order", _metaexpert(directory, "--order", order))
    yield from _duckdb(question, directory, f"SELECT * FROM logs WHERE order_id = '{order}'")
    yield from _lnav(question, directory, f"SELECT log_body FROM metaexpert_log WHERE order_id = '{order}'")


def _range(directory: Path, ask: dict[str, Any]) -> Iterator[Case]:
    question, since, until = "errors of five minutes", ask["since"], ask["until"]
    search = f'.level=="error" and .timestamp>="{since}" and .timestamp<="{until}"'
    narrow = f'"timestamp":"{since[:14]}'
    yield Case(
        question,
        "grep, grep",
        ["sh", "-c", f'export LC_ALL=C; {_all(directory, f"grep -F -h {narrow!r}")} | grep -F \'"level":"error"\''],
    )
    yield Case(question, "jq", ["sh", "-c", _all(directory, f"jq -c 'select({search})'")])
    wanted = f"level='error', since={since!r}, until={until!r}"
    yield Case(question, "metaexpert library", _library(directory, wanted))
    command = ["--level", "error", "--since", since, "--until", until]
    yield Case(question, "metaexpert logs --level …", _metaexpert(directory, *command))
    where = f"level = 'error' AND timestamp BETWEEN '{since}' AND '{until}'"
    yield from _duckdb(question, directory, f"SELECT * FROM logs WHERE {where}")


def _ripgrep(question: str, directory: Path, text: str) -> Iterator[Case]:
    """The measure of all: how fast the bytes can be looked at."""
    if shutil.which("rg"):
        yield Case(question, "rg -z", ["rg", "-z", "-F", "-N", "-I", text, *map(str, sorted(directory.glob("*.log*")))])


def _critical(directory: Path) -> Iterator[Case]:
    question = "last 50 critical entries"
    text = '"level":"critical"'
    grep = _all(directory, f"grep -F -h {text!r} | sort -u | tail -n 50")
    yield Case(question, "grep, sort, tail", ["sh", "-c", f"export LC_ALL=C; {grep}"])
    command = ["--level", "critical", "-n", "50"]
    yield Case(question, "metaexpert logs --level …", _metaexpert(directory, *command))


def _statistics(directory: Path, ask: dict[str, Any]) -> Iterator[Case]:
    question = "statistics"
    count = "reduce inputs as $e ({}; .[$e.level] += 1 | .[$e.timestamp[:16]] += 1 | .[$e.message] += 1)"
    yield Case(question, "jq", ["sh", "-c", f"({_all(directory, 'cat')}) | jq -n '{count}'"])
    sql = "SELECT level, timestamp[:16], message, count(*) FROM logs GROUP BY ALL"
    yield from _duckdb(question, directory, sql)
    place = str(directory)
    sql = "SELECT message, count(*) FROM logs GROUP BY 1 ORDER BY 2 DESC LIMIT 20"
    for name, words in (
        ("the life of an order", ["order", ask["order"], place]),
        ("all errors", [place, "--level", "error", "-n", "all"]),
        ("a regular expression", [place, "--grep", "no answer from (okx|mt5) within 7[0-9]+ ms"]),
        ("the same, -i", [place, "--grep", "NO ANSWER from (okx|mt5) within 7[0-9]+ ms", "-i"]),
        (question, ["stats", place]),
        ("percentiles of a field", ["stats", place, "--field", "latency_ms"]),
        ("trades", ["trades", place]),
        ("verify", ["verify", place]),
        ("count by message", ["query", sql, place]),
    ):
        yield Case(name, "metaexpert", [sys.executable, "-m", "metaexpert", "logs", *words])
    yield from _duckdb("count by message", directory, sql)


def _current(directory: Path) -> str:
    return " ".join(str(directory / name) for name in ("expert.log", "trades.log", "errors.log"))


def _all(directory: Path, command: str) -> str:
    """The command over the plain files, then over the inflated ones."""
    return f"(cat {directory}/*.log {directory}/*.log.? ; zcat {directory}/*.gz) | {command}"


def _metaexpert(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "metaexpert", "logs", str(directory), *words]


def _library(directory: Path, wanted: str) -> list[str]:
    code = f"from metaexpert.logs import open_logs\nfor r in open_logs({str(directory)!r}, {wanted}): print(r.line)"
    return [sys.executable, "-c", code]


def _duckdb(question: str, directory: Path, sql: str) -> Iterator[Case]:
    if find_spec("duckdb"):
        columns = "{'timestamp':'VARCHAR','level':'VARCHAR','message':'VARCHAR','order_id':'VARCHAR'}"
        source = f"read_json('{directory}/*.log*', format='newline_delimited', ignore_errors=true, columns={columns})"
        text = sql.replace("FROM logs", f"FROM {source}")
        yield Case(
            question, "DuckDB", [sys.executable, "-c", f"import duckdb; print(len(duckdb.sql({text!r}).fetchall()))"]
        )


def _lnav(question: str, directory: Path, sql: str) -> Iterator[Case]:
    if shutil.which("lnav"):
        formats = directory.parent / "lnav"
        place = formats / "formats" / "metaexpert"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).parents[2] / "deploy" / "lnav" / "metaexpert.json", place)
        words = ["lnav", "-I", str(formats), "-n", "-c", f";{sql}", "-c", ":write-csv-to -"]
        yield Case(question, "lnav", [*words, *map(str, sorted(directory.glob("*.log*")))])


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took: seconds of the clock, of the processors, the most memory, and how many lines came."""

    seconds: float | None
    cpu: float
    memory: int
    lines: int


def run(case: Case, measure: Callable[[list[str]], Measured] | None = None) -> Measured:
    """Run a case once, in a process of its own."""
    return (measure or _process)(case.command)


_CHILD: Final = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
try:
    done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=float(sys.argv[1]))
    seconds, lines = time.perf_counter() - begun, done.stdout.count(b"\\n")
except subprocess.TimeoutExpired:
    seconds, lines = None, 0
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, lines]))
"""


def _process(command: list[str]) -> Measured:
    # Through a process between, whose children are this command alone: so its memory and its processor time are known.
    found = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-c", _CHILD, str(PATIENCE), *command],
        capture_output=True,
        check=True,
        text=True,
        # Users have compiled modules; without them the start of Python takes twice as long.
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    import json  # noqa: PLC0415

    return Measured(*json.loads(found.stdout))


def versions(tools: Iterable[str]) -> dict[str, str]:
    """Return the versions of those *tools* that are there, as their first line of ``--version`` ends."""
    found = {}
    for tool in tools:
        if path := shutil.which(tool):
            done = subprocess.run([path, "--version"], capture_output=True, check=True, text=True)  # noqa: S603
            found[tool] = re.split(r"[ -]", done.stdout.partition("\n")[0])[-1]
    return found


def last_in_library(directory: Path) -> float:
    """Return the seconds that the last 50 entries take in the library, imported already; the best of 20."""
    from metaexpert.logs import open_logs  # noqa: PLC0415

    best = float("inf")
    for _ in range(20):
        begun = time.perf_counter()
        assert len(open_logs(directory).last(50)) == 50  # noqa: S101
        best = min(best, time.perf_counter() - begun)
    return best
