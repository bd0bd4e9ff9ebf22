"""The command line finds secrets, and shows none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaexpert.__main__ import main

VALUE = "s3cr3t-on-the-line"


def test_scan_tells_file_line_and_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 when there is a secret, which is not printed."""
    Path("logs").mkdir()
    Path("logs/bot.log").write_text(f"fine\napi_key={VALUE}\n")
    assert main(["logs", "scan", "logs"]) == 1
    out, err = capsys.readouterr()
    assert out == f"{Path('logs/bot.log')}:2: name api_key\n"
    assert err == "note: 1 secret was found in 2 lines of 1 file\n"
    assert VALUE not in out + err


def test_scan_of_clean_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; the directory is the configured one."""
    Path("logs").mkdir()
    Path("logs/bot.log").write_text("London session opened\n")
    assert main(["logs", "scan"]) == 0
    assert capsys.readouterr() == ("", "note: no secret was found in 1 line of 1 file\n")


def test_scan_knows_the_configured_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON for programs."""
    monkeypatch.setenv("METAEXPERT_SECRETS", VALUE)
    monkeypatch.setenv("METAEXPERT_EXTRA_SECRET_KEYS", "vault ref")
    Path("a.log").write_text(f"{VALUE}\nvault_ref=1\n")
    assert main(["logs", "scan", "a.log", "--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "findings": [
            {"file": "a.log", "line": 1, "rule": "registered value"},
            {"file": "a.log", "line": 2, "rule": "name vault_ref"},
        ],
        "files": 1,
        "lines": 2,
        "unreadable": {},
    }


def test_scan_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["logs", "scan", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: there is no file or directory nowhere\n"


def test_config_show_masks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As text and as JSON, also a secret that stands in another setting."""
    monkeypatch.setenv("METAEXPERT_SECRETS", VALUE)
    monkeypatch.setenv("METAEXPERT_LOG_DIR", f"logs-{VALUE}")
    for arguments in (["config", "show"], ["config", "show", "--json"], ["config", "check"]):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert "***" in captured.out
        assert VALUE not in captured.out + captured.err


def test_wrong_settings_are_told_without_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the field and its source."""
    monkeypatch.setenv("METAEXPERT_SECRETS", f'["{VALUE}"')
    assert main(["config", "check"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: secrets: the value (not shown) should be")
    assert VALUE not in err


def test_an_expert_that_fails_shows_none(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Configured secrets are masked in the log of `run`, and in the traceback."""
    monkeypatch.setenv("METAEXPERT_SECRETS", VALUE)
    Path("bot.py").write_text(f'import metaexpert.logger\nraise ValueError("{VALUE}", "api_key=k-5566")\n')
    assert main(["run", "bot.py"]) == 1
    out = "".join(capfd.readouterr())
    assert "ValueError" in out
    assert VALUE not in out
    assert "k-5566" not in out
