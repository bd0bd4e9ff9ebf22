"""Alerts of loggers over real connections: calls, channels, restarts, forks, settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN, Answer, BotApi, ScriptedServer, discord, webhook
from waiting import eventually

from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger


@pytest.fixture
def server() -> Iterator[BotApi]:
    """Return a Bot API on loopback."""
    with BotApi() as running:
        yield running


def test_a_critical_entry_reaches_the_owner(server: BotApi) -> None:
    """An entry at the alert level is sent soon after the call; one below it is not."""
    with MetaLogger(**server.options()) as logger:
        logger.error("Slippage is high")
        logger.critical("Margin call", account="main")
        eventually(lambda: server.accepted)
        assert logger.flush()
        assert logger.stats()["alerts"]["telegram"]["messages"] >= 0
    (text,) = server.texts
    assert "Margin call" in text
    assert "main" in text


def test_a_call_may_ask_for_an_alert(server: BotApi, read_log: Callable[..., Any]) -> None:
    """``alert=True`` sends an entry of any level, also one that no file takes; ``alert=False`` sends none."""
    with MetaLogger(**server.options()) as logger:
        logger.info("Target reached", alert=True)
        logger.debug("Looked at closely", alert=True)
        logger.critical("Known and harmless", alert=False)
        logger.bind(alert=True).warning("Bound")
        logger.info("Not asked", alert="a field like any other")
        logger.close()
    text = "\n".join(server.texts)
    assert all(word in text for word in ("Target reached", "Looked at closely", "Bound"))
    assert "harmless" not in text
    assert "Not asked" not in text
    entries = {entry["message"]: entry for entry in read_log("logs/expert.log")}
    assert entries["Target reached"]["alert"] is True
    assert "Looked at closely" not in entries


def test_foreign_records_are_alerts_too(server: BotApi) -> None:
    """A record of `logging` at the alert level is sent."""
    import logging

    with MetaLogger(**server.options(), install=True):
        logging.getLogger("broker").critical("session lost")
    assert any("session lost" in text for text in server.texts)


def test_every_channel_gets_it() -> None:
    """Telegram, Discord and the webhook each get an alert, whatever happens to the others."""
    broken = [Answer(deed="hang")] * 5
    with BotApi(broken) as one, ScriptedServer(discord) as two, ScriptedServer(webhook) as three:
        more = {"discord_webhook_url": f"{two.url}/api/webhooks/1/x", "webhook_url": f"{three.url}/hook"}
        logger = MetaLogger(**one.options(**more))
        logger.critical("Margin call")
        eventually(lambda: two.accepted and three.accepted and one.requests)
        logger.close(timeout=0.5)


def test_a_dead_endpoint_does_not_hold_up_the_end(server: BotApi) -> None:
    """With nobody listening `close` returns soon, and the next logger delivers what was left."""
    given = server.options()
    with BotApi() as other:
        gone = other.url
    logger = MetaLogger(**{**given, "telegram_api_url": gone})
    logger.critical("while it was down")
    began = time.monotonic()
    assert logger.close()
    assert time.monotonic() - began < 4.0
    with MetaLogger(**given) as logger:
        eventually(lambda: server.accepted)
    assert "while it was down" in server.texts[0]
    assert "possible repeat" not in server.texts[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_alerts_for_itself(server: BotApi) -> None:
    """Parent and child of a fork each send their own alerts, once."""
    logger = MetaLogger(**server.options())
    logger.critical("alpha of the parent")
    eventually(lambda: server.accepted)
    eventually(lambda: logger.stats()["alerts"]["telegram"]["delivered"] == 1)
    child = os.fork()
    if child == 0:
        try:
            logger.critical("beta of the child")
            logger.close()
        finally:
            os._exit(0)
    logger.critical("gamma of the parent")
    os.waitpid(child, 0)
    logger.close()
    counts = [sum(word in text for text in server.texts) for word in ("alpha", "beta", "gamma")]
    assert counts == [1, 1, 1]


def test_loggers_of_a_process_share_a_thread(server: BotApi) -> None:
    """Fifty experts that alert to one chat have one thread for it."""
    import threading

    loggers = [MetaLogger(**server.options(expert_name=f"Bot{n}")) for n in range(50)]
    loggers[7].critical("of the seventh")
    eventually(lambda: server.accepted)
    assert [thread.name for thread in threading.enumerate()].count("metaexpert-telegram") == 1
    for logger in loggers:
        logger.close()
    assert [thread.name for thread in threading.enumerate()].count("metaexpert-telegram") == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"telegram_token": TOKEN}, ["telegram_chat_id"]),
        ({"telegram_chat_id": "42"}, ["telegram_token"]),
        ({"telegram_token": f"{TOKEN} ", "telegram_chat_id": "1"}, ["telegram_token", "not shown"]),
        ({"telegram_token": TOKEN, "telegram_chat_id": "my chat"}, ["telegram_chat_id", "my chat", "@channel"]),
        ({"discord_webhook_url": "ftp://discord.com/api/webhooks/1/abc"}, ["discord_webhook_url", "https://"]),
        ({"webhook_url": "http://collector.example.com/abc"}, ["webhook_url", "https://"]),
        ({"webhook_token": "abcdefghijk"}, ["webhook_url"]),
        ({"telegram_thread_id": 3}, ["telegram_chat_id", "telegram_thread_id"]),
        ({"discord_thread_id": 3}, ["discord_webhook_url", "discord_thread_id"]),
        ({"telegram_thread_id": "topic"}, ["telegram_thread_id", "topic", "integer"]),
        ({"telegram_thread_id": 0}, ["telegram_thread_id", "0", "greater"]),
        ({"discord_thread_id": -7}, ["discord_thread_id", "-7", "greater"]),
        ({"discord_thread_id": 10**5000}, ["discord_thread_id", "less than"]),
        ({"alert_level": "LOUD"}, ["alert_level", "LOUD"]),
    ],
)
def test_a_wrong_setting_is_one_clear_error(given: dict[str, Any], words: list[str]) -> None:
    """A bad value or a missing partner is named before anything is made; secrets are not told."""
    with pytest.raises(ConfigurationError) as caught:
        LoggerConfig(**given)
    text = str(caught.value)
    assert all(word in text for word in words)
    assert "abc" not in text
    assert TOKEN not in text
    assert not Path("logs").exists()


def test_secrets_are_not_shown() -> None:
    """Neither `shown` nor the representation of a configuration tells a token or a secret address."""
    given: dict[str, Any] = {
        "telegram_token": TOKEN,
        "telegram_chat_id": 42,
        "webhook_url": "https://example.com/very-private",
    }
    config = LoggerConfig(**given)
    text = f"{config!r} {config.sources()} {config}"
    assert TOKEN not in text
    assert "very-private" not in text
    assert config.sources()["telegram_token"].value == "***"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel can be set by variables alone."""
    monkeypatch.setenv("METAEXPERT_TELEGRAM_TOKEN", TOKEN)
    monkeypatch.setenv("METAEXPERT_TELEGRAM_CHAT_ID", "-100123")
    config = LoggerConfig()
    assert config.telegram_token is not None
    assert config.telegram_token.get_secret_value() == TOKEN
    assert config.telegram_chat_id == "-100123"
