"""One line says what is wrong on the way to an endpoint, names the setting or variable, and shows no address."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN, Answer, ScriptedServer, telegram

from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._channel import Channel, Outcome
from metaexpert.logger.remote.alerts._discord import Discord
from metaexpert.logger.remote.alerts._telegram import Telegram
from metaexpert.logger.remote.alerts._webhook import Webhook
from metaexpert.logger.remote.exports._forwarder import TransportError
from metaexpert.logger.remote.exports._syslog import tls_context

SECRET = "aVeryPrivatePartOfAnAddress"
WAY: list[Callable[[str], Channel]] = [
    lambda url: Telegram(TOKEN, "1", url),
    lambda url: Discord(f"{url}/api/webhooks/1/{SECRET}"),
    lambda url: Webhook(f"{url}/hook/{SECRET}"),
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without proxies and authorities of the machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def tried(channel: Channel) -> Outcome:
    """Return what one alert comes to."""
    line = {"timestamp": "2026-11-24T12:00:03.000000Z", "level": "critical", "message": "m", "appname": "EmaBot"}
    alert = Alert(1, "k", "f", "alert", json.dumps(line).encode(), 1, "", "", repeat=False)
    try:
        return channel.send(channel.render([alert]).parts[0], "k", repeat=False)
    finally:
        channel.close()


@pytest.mark.parametrize("make", WAY)
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ALL_PROXY": "socks5://u:pw@127.0.0.1:9"}, ("ALL_PROXY", "SOCKS", "pip install 'httpx[socks]'")),
        ({"https_proxy": "socks5h://u:pw@127.0.0.1:9"}, ("https_proxy", "SOCKS")),
        ({"HTTPS_PROXY": "ftp://u:pw@127.0.0.1:9"}, ("HTTPS_PROXY", "http://host:3128")),
        ({"HTTPS_PROXY": "http://u:pw@127.0.0.1:none"}, ("HTTPS_PROXY", "http://host:3128")),
        ({"HTTPS_PROXY": "127.0.0.1:9"}, ("HTTPS_PROXY", "Connection refused")),
        ({"HTTPS_PROXY": "http://no.such.host.invalid:3128"}, ("HTTPS_PROXY", "cannot be resolved")),
        ({"SSL_CERT_FILE": "missing.pem"}, ("SSL_CERT_FILE", "cannot be read")),
        ({"SSL_CERT_FILE": "empty.pem"}, ("SSL_CERT_FILE", "cannot be read")),
        ({}, ("_url", "cannot be resolved")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_the_words_name_what_to_change(
    make: Callable[[str], Channel], variables: dict[str, str], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies, authorities and names of hosts: the alert is kept, and the line shows neither token nor password."""
    Path("empty.pem").write_text("nothing in here")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = tried(make("https://no.such.host.invalid"))
    assert outcome.kind == "unsent"
    assert all(word in outcome.reason for word in words), outcome.reason
    assert "\n" not in outcome.reason
    for secret in (SECRET, TOKEN, "u:pw", "pw@"):
        assert secret not in outcome.reason


@pytest.mark.parametrize("make", WAY)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(403, b"error code: 1010"), "unsent"),
        (Answer(403, b"<html>Access denied | Cloudflare</html>"), "unsent"),
        (Answer(408, b""), "unsent"),
        (Answer(425, b""), "unsent"),
        (Answer(423, b""), "unsent"),
        (Answer(429, b""), "later"),
        (Answer(520, b"<html>"), "unknown"),
        (Answer(530, b"error code: 1016"), "unknown"),
        (Answer(401, {"ok": False, "description": "Unauthorized", "message": "401", "code": 0}), "refused"),
        (Answer(404, {"ok": False, "description": "Not Found", "message": "Unknown", "code": 10015}), "refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.status),
)
def test_patience_for_what_may_pass(make: Callable[[str], Channel], answer: Answer, kind: str) -> None:
    """A refusal by something before the service is tried again; one by the service names the setting to change."""
    with ScriptedServer(telegram, [answer]) as server:
        channel = make(server.url)
        outcome = tried(channel)
    assert outcome.kind == kind, outcome
    if kind == "refused":
        setting = {401: ("telegram_token", "discord_webhook_url", "webhook_token")}.get(
            answer.status, ("telegram_token", "discord_webhook_url", "webhook_url")
        )
        assert any(name in outcome.reason for name in setting), outcome.reason


def test_telegram_says_which_setting_is_wrong() -> None:
    """A chat that is not there, or has blocked the bot, is told with the setting."""
    answers = [
        Answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}),
        Answer(403, {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
    ]
    for answer in answers:
        with ScriptedServer(telegram, [answer]) as server:
            outcome = tried(Telegram(TOKEN, "1", server.url))
        assert outcome.kind == "refused"
        assert "telegram_chat_id" in outcome.reason


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HTTPS_PROXY": "socks5://127.0.0.1:9"}, ("HTTPS_PROXY", "SOCKS", "requests[socks]")),
        ({"REQUESTS_CA_BUNDLE": "missing.pem"}, ("REQUESTS_CA_BUNDLE", "cannot be read")),
        ({}, ("otlp_endpoint", "cannot be resolved")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_the_words_of_otlp(variables: dict[str, str], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for the exporter, whose library is another one."""
    otlp = pytest.importorskip("metaexpert.logger.remote.exports._otlp")
    monkeypatch.setattr(otlp, "TIMEOUT", 0.5)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    transport: Any = otlp.Otlp("https://no.such.host.invalid")
    transport.connect()
    line = b'{"timestamp":"2026-11-24T12:00:03.000000Z","level":"info","message":"m"}\n'
    with pytest.raises(TransportError) as caught:
        transport.send([line])
    transport.abort()
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_files_of_syslog_over_tls(tmp_path: Path) -> None:
    """The setting of a file that is missing, or holds no certificate, is named."""
    (tmp_path / "empty.pem").write_text("nothing in here")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(OSError, match="syslog_ca_file cannot be used: "):
            tls_context(tmp_path / name, None, None)
        with pytest.raises(OSError, match="syslog_cert_file cannot be used: "):
            tls_context(None, tmp_path / name, None)
