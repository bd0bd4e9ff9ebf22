"""`metaexpert control`: what is asked of running experts, what they answer, and what is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.cli import control as command
from metaexpert.logger import BoundLogger

Cli = Callable[..., Any]
Make = Callable[..., BoundLogger]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SHORT_PATIENCE", 0.2)


@pytest.fixture
def running(make: Make) -> BoundLogger:
    """An expert that runs, with its journal described."""
    logger = make(expert_name="EmaBot")
    logger.info("begun")
    logger.flush()
    return logger


def test_a_level_is_set_and_shown(cli: Cli, running: BoundLogger) -> None:
    """The answer says who took it and until when; --status and --reset do too."""
    code, out, err = cli("control", "--level", "Debug", "--for", "1h30m")
    assert (code, err) == (0, "")
    assert out.startswith(f"EmaBot ({os.getpid()}): level DEBUG until 20")
    assert running.is_enabled_for(10)
    assert cli("control", "logs", "--level", "error", "--logger", "feed", "--expert", "EmaBot").code == 0
    code, out, _ = cli("control", "--status", "--json")
    (answer,) = json.loads(out)["logs"]
    (expert,) = answer["experts"]
    assert (code, expert["now"]["level"], expert["now"]["levels"]["feed"]["level"]) == (0, "DEBUG", "ERROR")
    assert ", feed ERROR until 20" in cli("control", "--status").out
    assert cli("control", "--reset").out.endswith(": level INFO\n")
    assert not running.is_enabled_for(10)


def test_flush_and_dump(cli: Cli, running: BoundLogger) -> None:
    """A flush is confirmed; a dump without a recorder is not done."""
    running.info("waits")
    assert cli("control", "--flush")[:2] == (0, f"EmaBot ({os.getpid()}): flushed\n")
    assert "waits" in Path("logs/expert.log").read_text("utf-8")
    assert cli("control", "--dump")[:2] == (1, f"EmaBot ({os.getpid()}): it has no recorder\n")
    running._logger.pipeline.dump = lambda: 17  # type: ignore[method-assign]
    assert cli("control", "--dump")[:2] == (0, f"EmaBot ({os.getpid()}): 17 entries dumped\n")


def test_nobody_takes_it(cli: Cli, running: BoundLogger) -> None:
    """Another expert, a closed one, or a directory of no logger: exit code 1, and a line that says so."""
    code, out, err = cli("control", "--flush", "--expert", "RsiBot")
    assert (code, out) == (1, "")
    assert err == "error: logs: no expert RsiBot took it; does it run, as this user?\n"
    running.close()
    assert cli("control", "--status")[:2] == (1, "")
    Path("empty").mkdir()
    assert cli("control", "empty", "--status")[:2] == (1, "")
    assert [*Path("empty").iterdir()] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give one of --level"),
        (("--flush", "--dump"), "give one of --level"),
        (("--level", "loud"), "--level: 'loud' should be debug, info, warning, error or critical"),
        (("--flush", "--logger", "a"), "--logger: it needs --level"),
        (("--level", "debug", "--for", "soon"), "--for: 'soon' should be a time up to 7d"),
        (("--level", "debug", "--for", "0s"), "--for: '0s' should be"),
        (("--level", "debug", "--for", "8d"), "--for: '8d' should be"),
        (("--level", "debug", "--for", ""), "--for: '' should be"),
        (("--level", "debug", "--for", "99999999999d"), "--for: '99999999999d' should be"),
        (("--level", "debug", "--logger", ""), "a name in it is no printable text"),
        (("--level", "debug", "--logger", "a\nb"), "a name in it is no printable text"),
        (("--flush", "--expert", "x" * 999), "too long"),
        (("nowhere", "--flush"), "there is no directory nowhere"),
    ],
)
def test_wrong_words_are_refused(refused: Callable[..., str], words: tuple[str, ...], says: str) -> None:
    """One line names the option and what would be right."""
    Path("logs").mkdir()
    assert says in refused("control", *words)


def test_the_help_fits_eighty_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option is cut off, and the examples stand out."""
    monkeypatch.setenv("COLUMNS", "80")
    out = cli("control", "--help").out
    for name in ("level", "logger", "for", "expert", "reset", "flush", "dump", "status", "json"):
        assert f"--{name} " in out
    assert "\n   metaexpert control" in out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80
