"""`metaexpert logs alert-test`, and that no secret can be given on a command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_server import TOKEN, Answer, ScriptedServer, telegram, webhook


def test_it_sends_one_and_says_that_it_arrived(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every configured channel gets a test, and the command names each with its result."""
    with ScriptedServer(telegram) as one, ScriptedServer(webhook) as two:
        monkeypatch.setenv("METAEXPERT_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setenv("METAEXPERT_TELEGRAM_CHAT_ID", "7")
        monkeypatch.setenv("METAEXPERT_TELEGRAM_API_URL", one.url)
        monkeypatch.setenv("METAEXPERT_WEBHOOK_URL", two.url)
        outcome = cli("logs", "alert-test")
        assert (outcome.code, outcome.out) == (0, "telegram: arrived\nwebhook: arrived\n")
        assert "Test of the alerts" in one.accepted[0]["text"]
        assert two.accepted[0]["kind"] == "test"


def test_the_wait_is_a_number_of_seconds(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--timeout` takes seconds, with a lower limit."""
    with ScriptedServer(webhook) as server:
        monkeypatch.setenv("METAEXPERT_WEBHOOK_URL", server.url)
        assert cli("logs", "alert-test", "--timeout", "20").out == "webhook: arrived\n"
        assert cli("logs", "alert-test", "--timeout", "0.01").code == 2


def test_it_says_what_is_wrong(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that refuses makes the exit code 1, and its reason is told without the token."""
    with ScriptedServer(telegram, [Answer(403, {"ok": False, "description": "Forbidden: bot was blocked"})]) as server:
        monkeypatch.setenv("METAEXPERT_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setenv("METAEXPERT_TELEGRAM_CHAT_ID", "7")
        monkeypatch.setenv("METAEXPERT_TELEGRAM_API_URL", server.url)
        outcome = cli("logs", "alert-test", "--json")
    assert outcome.code == 1
    told = json.loads(outcome.out)["telegram"]
    assert told["ok"] is False
    assert told["trouble"].startswith("403 Forbidden: bot was blocked; ")
    assert "telegram_chat_id" in told["trouble"], "the setting to change is named"
    assert TOKEN not in outcome.out + outcome.err


def test_without_a_channel_it_says_how_to_set_one(cli: Any) -> None:
    """With nothing configured the command ends with 2 and names the settings."""
    outcome = cli("logs", "alert-test")
    assert outcome.code == 2
    assert "telegram_token" in outcome.err


def test_no_secret_is_an_option(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line stands in process lists: secrets have no option, other settings of alerts do."""
    monkeypatch.setenv("COLUMNS", "200")
    text = cli("run", "--help").out
    assert "--alert-level" in text
    assert "--telegram-chat-id" in text
    for name in ("--telegram-token", "--discord-webhook-url", "--webhook-url", "--webhook-token"):
        assert name not in text
