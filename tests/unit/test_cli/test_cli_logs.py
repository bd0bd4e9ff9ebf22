"""`metaexpert logs` in this process."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from metaexpert.logger import schema as log_schema
from metaexpert.logs import Logs, Record
from metaexpert.logs.reading.times import EXPECTED

Cli = Callable[..., Any]


def levels(out: str) -> list[str]:
    return [line.split("π ")[1].strip() for line in out.splitlines()]


ALL = ["debug", "info", "warning", "error", "critical"]


def test_without_a_directory_the_configured_one_is_read(
    cli: Cli, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DIR it is `logs`, or what a source of the configuration says."""
    assert levels(cli("logs").out) == ALL
    logs.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("LOG_DIR", "elsewhere")
    assert levels(cli("logs").out) == ALL


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("environment", "METAEXPERT_LOG_DIR"),
        ("environment", "log_dir"),
        (".env", "LOG_DIR=elsewhere\n"),
        ("pyproject.toml", '[tool.metaexpert.logger]\nlog_dir = "elsewhere"\n'),
        ("../pyproject.toml", '[tool."metaexpert".logger]\nlog_dir = "elsewhere"\n'),
    ],
)
def test_every_source_tells_the_directory(
    cli: Cli, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, text: str
) -> None:
    """The quick look whether anything is configured overlooks none of them."""
    here = tmp_path / "here"
    here.mkdir()
    logs.rename(here / "elsewhere")
    monkeypatch.chdir(here)
    assert cli("logs").code == 2
    if place == "environment":
        monkeypatch.setenv(text, "elsewhere")
    else:
        (here / place).write_text(text)
    assert levels(cli("logs").out) == ALL


def test_a_look_into_the_logs_does_not_wait_for_imports(logs: Path) -> None:
    """Neither for the configuration's library, where nothing is configured, nor for what masks complaints."""
    code = "import sys; from metaexpert.__main__ import main; main(['logs']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert levels(done.stdout) == ALL
    assert {"pydantic", "structlog", "metaexpert.logger.masking.rules"}.isdisjoint(done.stderr.split())


def test_a_directory_can_be_named(cli: Cli, logs: Path, tmp_path: Path) -> None:
    """DIR may stand before or after the options."""
    logs.rename(tmp_path / "other")
    assert levels(cli("logs", "other", "--limit", "2").out) == ["error", "critical"]
    assert levels(cli("logs", "--limit=2", "other").out) == ["error", "critical"]


def test_text_stands_on_one_line_each(cli: Cli, logs: Path) -> None:
    """The text is the console's, without colours when it goes into a pipe."""
    assert cli("logs", "-n", "1").out == "2026-11-22 10:31:05.000 [critical] π critical\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--level", "warning"], ALL[2:]),
        (["-l", "ERROR"], ALL[3:]),
        (["-n", "0"], []),
        (["-n", "all"], ALL),
        (["-n", "2", "-l", "info"], ALL[3:]),
        (["-n", "all", "-l", "critical"], ALL[4:]),
    ],
)
def test_level_and_limit(cli: Cli, logs: Path, words: list[str], wanted: list[str]) -> None:
    """The last entries that pass the level are shown, each once, in order of time."""
    code, out, _ = cli("logs", *words)
    assert (code, levels(out)) == (0, wanted)


def test_fifty_entries_are_the_default(cli: Cli, logs: Path) -> None:
    """Of many entries the last fifty are shown; all of them when asked."""
    line = (logs / "expert.log").read_bytes().splitlines(keepends=True)[1]
    (logs / "expert.log").write_bytes(line * 1234)
    (logs / "errors.log").unlink()
    assert cli("logs").out.count("\n") == 50
    assert cli("logs", "-n", "all").out.count("\n") == 1234


def test_json_is_what_stands_in_the_file(cli: Cli, logs: Path) -> None:
    """JSON output is the lines themselves."""
    assert cli("logs", "--format", "json").out == (logs / "expert.log").read_text("utf-8")


def test_csv_is_a_table(cli: Cli, logs: Path) -> None:
    """CSV begins with its columns."""
    rows = list(csv.DictReader(io.StringIO(cli("logs", "--format", "csv").out)))
    assert [row["level"] for row in rows] == ALL
    assert json.loads(rows[0]["fields"])["sequence_id"] == 1


def test_torn_lines_are_shown_and_counted(cli: Cli, logs: Path) -> None:
    """A line that is no entry is shown as it is and counted on standard error; all is well."""
    with (logs / "expert.log").open("ab") as file:
        file.write(b"torn\nbroken\n")
    code, out, err = cli("logs", "-n", "3")
    assert (code, out.splitlines()[1:]) == (0, ["torn", "broken"])
    assert err == "note: 2 lines are no entries and are shown as found\n"
    assert cli("logs", "-n", "1").err == "note: 1 line is no entry and is shown as found\n"


def test_an_unreadable_file_is_a_problem(cli: Cli, logs: Path) -> None:
    """A file that cannot be read to its end is named, the rest is shown, and the exit code is 1."""
    (logs / "expert.log.1.gz").write_bytes(b"no gzip data")
    code, out, err = cli("logs", "-n", "all")
    assert (code, levels(out)) == (1, ALL)
    assert err.startswith("warning: expert.log.1.gz cannot be read: damaged gzip data")


def test_an_empty_directory_is_said_to_be_empty(cli: Cli, tmp_path: Path) -> None:
    """Where there is nothing to show, that is said on standard error."""
    (tmp_path / "logs").mkdir()
    assert cli("logs") == (0, "", "note: there are no entries in logs\n")


def test_diagnostics_when_asked(cli: Cli, logs: Path) -> None:
    """logging_errors.log is shown with --diagnostics only."""
    (logs / "expert.log").rename(logs / "logging_errors.log")
    (logs / "errors.log").unlink()
    assert cli("logs").out == ""
    assert levels(cli("logs", "--diagnostics").out) == ALL


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "there is no directory logs; give the directory: metaexpert logs DIR"),
        (("nowhere",), "there is no directory nowhere"),
        (("file.txt",), "file.txt is a file; give its directory: metaexpert logs ."),
        ((".", "--level", "loud"), "--level: 'loud' is no level; it should be DEBUG, INFO, WARNING, ERROR or CRITICAL"),
        ((".", "--limit", "x"), "--limit: 'x' should be a number of entries, or all"),
        ((".", "--limit", "-1"), "--limit: '-1' should be a number of entries, or all"),
        ((".", "--format", "xml"), "--format: 'xml' should be text, json or csv"),
        ((".", "--follow", "--reverse"), "--reverse: what is followed has no end to begin with"),
        ((".", "--tz", "Mars"), "--tz: 'Mars' is no time zone; it should be like Europe/Berlin, UTC or local"),
        ((".", "--since", "soon"), f"--since: 'soon' is no time; {EXPECTED}"),
        ((".", "--folow"), "No such option: --folow (Possible options: --follow)"),
        ((".", "--level"), "Option '--level' requires an argument."),
        ((".", "nowhere"), "there is no directory nowhere"),
        (
            ("--level", "error", "schema"),
            "schema is a command and stands before its options; the directory of that name is ./schema",
        ),
        (("schema", "--layout", "round"), "Invalid value for '--layout': 'round' is not one of 'flat', 'rfc5424'."),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    refused: Callable[..., str], tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    """What cannot be meant is refused with one clear line and exit code 2."""
    (tmp_path / "file.txt").touch()
    assert refused("logs", *words) == says


def test_a_wrong_configuration_keeps_nobody_from_reading_a_named_directory(
    cli: Cli, refused: Callable[..., str], logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad setting is told when the directory must be looked up, and does not matter when it is given."""
    monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "LOUD")
    assert "log_level: 'LOUD'" in refused("logs")
    assert levels(cli("logs", "logs").out) == ALL


@pytest.mark.parametrize("layout", [None, "flat", "rfc5424"])
def test_the_schema_is_printed(cli: Cli, layout: Any) -> None:
    """`logs schema` prints the schema of either layout, or of both, as valid JSON Schema."""
    code, out, err = cli("logs", "schema", *(["--layout", layout] if layout else []))
    printed = json.loads(out)
    assert (code, err, printed) == (0, "", log_schema.json_schema(layout))
    jsonschema_rs.meta.validate(printed)


def test_a_command_wins_over_a_directory_of_its_name(cli: Cli, logs: Path, tmp_path: Path) -> None:
    """`logs schema` is the command; the directory is reached as ./schema."""
    logs.rename(tmp_path / "schema")
    assert json.loads(cli("logs", "schema").out)["$schema"]
    assert levels(cli("logs", "./schema").out) == ALL


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("DIR", "--help"), ("--follow", "-h")])
def test_help_shows_options_and_commands_together(cli: Cli, words: tuple[str, ...]) -> None:
    """The help of `logs` has the options of reading, the other commands and an example, wherever it is asked for."""
    code, out, _ = cli("logs", *words)
    assert code == 0
    for text in ("[DIR]... | COMMAND", "--follow", "--diagnostics", "schema", "metaexpert logs --follow"):
        assert text in out
    assert "default  " not in out


def test_files_that_went_unread_are_told(cli: Cli, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When following was too slow for the backups, that is said at the end."""

    def batches(self: Logs, *, last: int, sleep: object) -> Iterator[list[Record]]:
        found = self.last(last)
        self.counts.overrun = 1
        yield found

    monkeypatch.setattr(Logs, "batches", batches)
    code, out, err = cli("logs", "--follow", "-n", "1")
    assert (code, levels(out)) == (0, ["critical"])
    assert err == "warning: files were rotated away before they could be read; entries may be missing\n"


@pytest.mark.parametrize(("words", "part"), [(("--level", "loud"), "--level: 'loud'"), (("-n", "x"), "--limit: 'x'")])
def test_a_wrong_word_is_told_before_a_missing_directory(refused: Callable[..., str], words: Any, part: str) -> None:
    """What was typed wrong is told first: the directory may be missing because nothing has run yet."""
    assert part in refused("logs", *words)
