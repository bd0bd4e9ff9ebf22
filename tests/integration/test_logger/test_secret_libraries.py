"""Real libraries with their DEBUG logging on leak nothing; by default they say little."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.stdlib import TALKATIVE

pytestmark = pytest.mark.program

BOT = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
KEY, SECRET, PASSWORD = "Ab12Cd34Ef56Gh78Ij90Kl12Mn34Op56", "c2VjcmV0LXRoYXQtaXMtaW4tYmFzZTY0", "0kx-Phr4se"


class Answer(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Set-Cookie", "session=c00kie-55; Path=/")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on loopback."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def at_debug() -> Iterator[None]:
    """Each talkative logger at DEBUG, by the user's own choice."""
    loggers = [logging.getLogger(name) for name in (*TALKATIVE, "ccxt.base.exchange")]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield
    for logger in loggers:
        logger.setLevel(logging.NOTSET)


def written() -> str:
    """Return all that was written."""
    return "".join(path.read_text("utf-8") for path in Path("logs").glob("*.log"))


def test_httpx_with_a_telegram_address(server: str, at_debug: None) -> None:
    """At DEBUG httpx and httpcore log addresses and headers; the token, key and cookie are in none of them."""
    httpx = pytest.importorskip("httpx")
    headers = {"X-MBX-APIKEY": KEY, "Authorization": f"Bearer {SECRET}"}
    with (
        MetaLogger(log_to_console=False, log_level="DEBUG", install=True) as logger,
        httpx.Client(headers=headers, trust_env=False) as client,
    ):
        client.get(f"{server}/bot{BOT}/getMe")
        reply = client.get(f"{server}/api/v3/order", params={"symbol": "BTCUSDT", "signature": SECRET})
        logger.info(
            "request",
            url=str(reply.request.url),
            headers=dict(reply.request.headers),
            raw=reply.request.headers.raw,
        )
        with pytest.raises(httpx.HTTPError) as caught:
            client.get(f"http://127.0.0.1:1/bot{BOT}/sendMessage?token={SECRET}")
        logger.error("failed", exc_info=caught.value, address=repr(caught.value.request))
    text = written()
    assert "/getMe" in text
    assert "send_request_headers" in text
    assert "symbol=BTCUSDT" in text
    for secret in (BOT, BOT.split(":")[1], KEY, SECRET, "c00kie-55"):
        assert secret not in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "path", "api", "sent"),
    [
        ("binance", "order", ["private"], ["X-MBX-APIKEY", "signature="]),
        ("bybit", "v5/order/create", ["private"], ["X-BAPI-SIGN"]),
        ("okx", "trade/order", ["private"], ["OK-ACCESS-SIGN"]),
        ("kraken", "AddOrder", ["private"], ["API-Sign"]),
        ("kucoin", "orders", ["private"], ["KC-API-SIGN"]),
        ("bitget", "v2/spot/trade/place-order", ["private", "spot"], ["ACCESS-SIGN"]),
    ],
)
def test_ccxt_signing_a_request(name: str, path: str, api: Any, sent: list[str]) -> None:
    """What ccxt signs for an exchange, logged as fields, text, headers, error and record: nothing secret is left."""
    ccxt = pytest.importorskip("ccxt")
    exchange = getattr(ccxt, name)({"apiKey": KEY, "secret": SECRET, "password": PASSWORD})
    signed = exchange.sign(path, api, "POST", {"symbol": "BTCUSDT", "qty": "1"})
    headers = signed["headers"] or {}
    signatures = {str(v) for k, v in headers.items() if k.lower().endswith(("sign", "signature", "passphrase"))}
    signatures |= {part.partition("=")[2] for part in str(signed["body"]).split("&") if part.startswith("signature=")}
    assert signatures
    with MetaLogger(log_to_console=False, install=True) as logger:
        logger.info("signed", **signed)
        logger.info(f"request {signed['url']} {headers} {signed['body']}")
        logger.info(
            "exchange", options={"apiKey": exchange.apiKey, "secret": exchange.secret, "password": exchange.password}
        )
        logging.getLogger("ccxt.base.exchange").warning(
            "POST %s, Request: %s %s", signed["url"], headers, signed["body"]
        )
        try:
            raise ccxt.AuthenticationError(f"{name} {signed['url']} {headers!r} {signed['body']}")
        except ccxt.AuthenticationError:
            logger.exception("rejected")
    text = written()
    assert all(word in text for word in sent)
    for secret in (KEY, SECRET, PASSWORD, *signatures):
        assert secret not in text


@pytest.mark.filterwarnings("ignore")
def test_ccxt_at_debug_over_the_wire(server: str, at_debug: None) -> None:
    """A signed call of ccxt's to a server, with its own DEBUG records and those of urllib3."""
    ccxt = pytest.importorskip("ccxt")
    exchange = ccxt.binance({"apiKey": KEY, "secret": SECRET, "timeout": 5000})
    exchange.session.trust_env = False
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], f"{server}/api/v3")
    with MetaLogger(log_to_console=False, log_level="DEBUG", install=True):
        exchange.private_get_account({"symbol": "BTCUSDT"})
    text = written()
    assert "urllib3.connectionpool" in text
    assert "signature=***" in text
    assert KEY not in text
    assert SECRET not in text


def test_talkative_libraries_start_at_warning() -> None:
    """Their DEBUG and INFO records are not taken in; those of WARNING are."""
    with MetaLogger(log_to_console=False, log_level="DEBUG", install=True):
        for name in TALKATIVE:
            logging.getLogger(f"{name}.inner").info("quiet %s", name)
            logging.getLogger(f"{name}.inner").warning("loud %s", name)
    text = written()
    assert [name for name in TALKATIVE if f"quiet {name}" in text] == []
    assert [name for name in TALKATIVE if f"loud {name}" not in text] == []


def test_the_users_own_level_is_respected(at_debug: None) -> None:
    """A level that was set for them before stays, and is there afterwards."""
    with MetaLogger(log_to_console=False, log_level="DEBUG", install=True):
        logging.getLogger("httpx").debug("wanted")
    assert "wanted" in written()
    assert logging.getLogger("httpx").level == logging.DEBUG
