"""Hostile names, values, files and queries: nothing acts on the terminal, waits for ever, or reads elsewhere."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.cli import output
from metaexpert.cli.tables import csv_table, table
from metaexpert.logs.query import _CONFIG

Cli = Callable[..., Any]
#: A title for the window, a control of eight bits, the end of a string, bidirectional text, erasing, a bell.
HOSTILE = "x\x1b]0;pwn\x07\x9b31m\x9d0;pwn\x9c\u202egnp\x7f\x08\r"
ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def line(number: int = 1, **fields: Any) -> str:
    entry = {
        "timestamp": f"2026-11-22T10:31:{number:02}.123456Z",
        "level": "error",
        "severity": 3,
        "facility": 16,
        "version": 1,
        "hostname": "h",
        "appname": "a",
        "procid": "1",
        "msgid": "log",
        "sequence_id": number,
    }
    return json.dumps({**entry, "message": "m", **fields}, ensure_ascii=False) + "\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory in which every name and value is hostile."""
    logs = tmp_path / "logs"
    logs.mkdir()
    trade = {"category": "trade", "side": "BUY", "size": "1", "price": "2", "status": "filled"}
    (logs / "expert.log").write_text(
        line(1, hostname=HOSTILE, procid=HOSTILE, **{HOSTILE: HOSTILE})
        + line(3, message=HOSTILE, expert_name=HOSTILE, symbol=HOSTILE, order_id=HOSTILE, trade_id=HOSTILE, **trade)
        + line(9, exception={"type": HOSTILE, "value": HOSTILE, "text": HOSTILE}, hostname=HOSTILE, procid=HOSTILE)
        + HOSTILE.replace("\r", "")
        + "\n",
        "utf-8",
    )
    (logs / f"{HOSTILE[:-1]}.log").write_text("api_key=q1w2e3r4t5y6u7i8\nno entry\n")
    return logs


COMMANDS = [
    *(["logs", "logs", *form] for form in ([], ["--json"], ["--format", "csv"], ["--fields", f"message,{HOSTILE}"])),
    *(["logs", "trades", "logs", *form] for form in ([], ["--json"], ["--format", "csv"])),
    *(["logs", "stats", "logs", *form] for form in ([], ["--json"], ["--field", HOSTILE])),
    *(["logs", "order", HOSTILE, "logs", *form] for form in ([], ["--json"])),
    *(["logs", "verify", "logs", *form] for form in ([], ["--json"])),
    *(["logs", "scan", "logs", *form] for form in ([], ["--json"])),
    *(["logs", "recover", "logs", *form] for form in ([], ["--json"])),
    ["logs", "bundle", "--redacted", "logs", "-o", f"{HOSTILE}.tar.gz"],
    ["logs", "order", f"none{HOSTILE}", "logs"],
    ["logs", HOSTILE],
    ["logs", "logs", "--level", HOSTILE],
    ["logs", "logs", f"--{HOSTILE}"],
    ["logs", "scan", HOSTILE],
    [HOSTILE],
]


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such file names")
@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words).replace(HOSTILE, "HOSTILE"))
def test_no_command_lets_a_value_act_on_the_terminal(
    cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], colors: bool
) -> None:
    """Names of fields, files and experts, values, torn lines, arguments in errors: in each format, on both streams."""
    monkeypatch.setattr(output, "to_terminal", lambda: True)
    monkeypatch.setattr(output, "wants_color", lambda: colors)
    found = cli(*words)
    text = re.sub(r"\x1b\[[0-9;]*m", "", found.out) if colors else found.out
    assert ACTS.search(text) is None
    assert ACTS.search(found.err) is None
    assert found.out + found.err
    assert hostile.exists()


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_columns_of_a_query_do_not_act_on_the_terminal(cli: Cli, hostile: Path, form: str) -> None:
    """Neither their names nor their values, piped or not; nor does an error that quotes the query."""
    column = HOSTILE.replace('"', "")
    found = cli("logs", "query", f"SELECT '{HOSTILE}' AS \"{column}\", '=cmd()' AS \"=f\"", "logs", "--format", form)
    assert found.code == 0, found.err
    assert ACTS.search(found.out) is None
    if form == "json":
        assert json.loads(found.out) == [{column: HOSTILE, "=f": "=cmd()"}]
    if form == "csv":
        assert [row.rpartition(",")[2] for row in found.out.splitlines()] == ["'=f", "'=cmd()"]
    wrong = cli("logs", "query", f'SELECT * FROM "no{column}"', "logs")
    assert wrong.code == 2
    assert ACTS.search(wrong.err) is None
    assert hostile.exists()


def test_tables_keep_their_columns_with_hostile_headers() -> None:
    """A header is as wide as it is shown; a right-aligned one stays so."""
    assert table(["a\x1b", "n"], [["b", 1]], ["a\x1b"]) == "a\\x1b  n\n    b  1\n"
    assert csv_table(["=a"], [["+1.5"], ["@x"], [-2]]) == "'=a\n+1.5\n'@x\n-2\n"


# -- what never ends -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no timer that a search could be interrupted by")
@pytest.mark.parametrize(
    "expression", [["(a+)+$"], ["(a|aa)+$"], ["(?:a*)*b$"], ["(.*a){20}$"], ["x?(a+)+$", "-g", "a+"], ["(A+)+$", "-i"]]
)
def test_a_search_without_an_end_is_given_up(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: list[str]
) -> None:
    """The command says which expression it was; so it is with several, and without regard to case."""
    monkeypatch.setattr("metaexpert.cli.logs.filters._LONGEST_SEARCH", 0.2)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_text(line(1, message="a" * 60 + "!"))
    found = cli("logs", "logs", "-g", *expression)
    assert found.code == 2
    assert "takes too long" in found.err
    assert expression[0] in found.err


@pytest.mark.parametrize("expression", [r"m\d+\b", "(m|x)+[0-9]", "m.*7", "a{2}|m12"])
def test_usual_expressions_find_what_they_did(cli: Cli, tmp_path: Path, expression: str) -> None:
    """However many lines there are, and although the clock of all searches together goes on."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_text("".join(line(n, message=f"m{n}") for n in range(10, 60)))
    found = cli("logs", "logs", "-g", expression, "-n", "all", "--fields", "message")
    wanted = [n for n in range(10, 60) if re.search(expression, line(n, message=f"m{n}"))]
    assert [int(n) for n in re.findall(r" m(\d+)$", found.out, re.MULTILINE)] == wanted


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT count(*) FROM range(1000000000000) a, range(1000000) b", "longer than 0.5 seconds"),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
            "longer than 0.5 seconds",
        ),
        ("SELECT * FROM range(10000000000)", "more than 20000 rows"),
        ("SELECT * FROM read_text('/etc/passwd')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/passwd'", ""),
        ("SELECT list(a) FROM range(100000000) t(a)", "memory"),
        ("COPY (SELECT 1) TO 'out.csv'", "file system operations are disabled"),
        ("ATTACH 'x.db'", "disabled"),
        ("INSTALL httpfs", ""),
        ("LOAD httpfs", ""),
        ("SET memory_limit = '100GB'", "configuration has been locked"),
        ("SET enable_external_access = true", ""),
        ("SELECT getenv('HOME')", ""),
        ("SELECT * FROM rows", ""),
        ("EXPORT DATABASE 'x'", ""),
    ],
)
def test_a_query_has_limits_and_says_which(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    """Time, rows and memory; no file, no extension, no variable, no setting. One line, exit code 2."""
    monkeypatch.setattr("metaexpert.logs.query.MOST_ROWS", 20_000)
    monkeypatch.setitem(_CONFIG, "memory_limit", "100MB")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "expert.log").write_text(line())
    before = sorted(tmp_path.rglob("*"))
    began = time.monotonic()
    found = cli("logs", "query", sql, "logs", "--timeout", "0.5" if "0.5" in said else "20")
    assert found.code == 2, found.out[:200]
    assert said.lower() in found.err.lower()
    assert found.err.count("\n") == 1
    assert time.monotonic() - began < 100
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", ""])
def test_a_bad_timeout_is_refused(cli: Cli, tmp_path: Path, text: str) -> None:
    """With the name of the option."""
    (tmp_path / "logs").mkdir()
    found = cli("logs", "query", "SELECT 1", "logs", "--timeout", text)
    assert found.code == 2
    assert "--timeout" in found.err


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a device", "link to a pipe"])
def test_scan_does_not_wait_for_what_is_no_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Given by itself or in a directory: it is reported."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("it")
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        Path("it").symlink_to(tmp_path / "pipe")
    elif kind == "pipe":
        os.mkfifo("it")
    else:
        Path("it").symlink_to("/dev/zero")
    found = cli("logs", "scan", "/dev/zero" if kind == "device" else "it")
    assert (found.code, "no regular file" in found.err) == (1, True)
    assert "no regular file" in cli("logs", "scan", ".").err
