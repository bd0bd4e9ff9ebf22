"""Alerts to an emulator of the Bot API that others wrote: npm's telegram-test-api."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN

from metaexpert.logger import MetaLogger

#: Where `npm install telegram-test-api` was run.
PLACE = os.environ.get("TELEGRAM_TEST_API", "")
_SERVER = """
const Server = require(process.argv[1]);
const server = new (Server.TelegramServer || Server.default || Server)({host: '127.0.0.1', port: +process.argv[2]});
server.start().then(() => console.log('ready'));
"""

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        shutil.which("node") is None or not Path(PLACE, "node_modules/telegram-test-api").is_dir(),
        reason="needs node, and TELEGRAM_TEST_API as the directory with telegram-test-api (npm)",
    ),
]


@pytest.fixture
def emulator() -> Iterator[str]:
    """Return the address of a running emulator."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = str(Path(PLACE, "node_modules/telegram-test-api").resolve())
    process = subprocess.Popen(["node", "-e", _SERVER, module, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def received(address: str) -> list[dict[str, Any]]:
    """Return, and so remove, the messages that the chat has got."""
    body = json.dumps({"token": TOKEN, "chatId": "42"}).encode()
    request = urllib.request.Request(f"{address}/getUpdates", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [update["message"] for update in json.load(answer)["result"]]


def test_alerts_arrive_at_the_emulator(emulator: str) -> None:
    """Alerts and a long traceback arrive once each, as messages that the Bot API takes."""
    given: dict[str, Any] = {"telegram_token": TOKEN, "telegram_chat_id": 42, "telegram_api_url": emulator}
    text = "\n".join(f"  File <b>{n}</b>, line {n}" for n in range(400))
    with MetaLogger(log_to_console=False, **given) as logger:
        logger.critical("Margin call", symbol="BTCUSDT", note="<i>&amp;</i>")
        logger.critical("Order failed", trace=text)
        deadline = time.monotonic() + 20
        while logger.stats()["alerts"]["telegram"]["delivered"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    messages = received(emulator)
    assert sum("Margin call" in message["text"] for message in messages) == 1
    assert sum("Order failed" in message["text"] for message in messages) == 1
    assert all(len(message["text"]) <= 4096 and message["parse_mode"] == "HTML" for message in messages)
    whole = "".join(message["text"] for message in messages)
    assert all(f"&lt;b&gt;{n}&lt;/b&gt;" in whole for n in range(400))
