"""What alerts and exports cost a log call and the files, while every endpoint is down, slow or lying.

`python -m pytest -s -m storm -k remote_cost` prints the figures of one run, side by side.
"""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN, Answer, ScriptedServer

from metaexpert.logger import MetaLogger

CALLS = 10_000
#: Slack for a busy machine: a call that waited for an endpoint would take a thousand times as long.
_FACTOR, _SLACK = 5.0, 20e-6
_PACE = 50


@pytest.fixture
def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_port() -> Iterator[tuple[str, int]]:
    """Return where a server takes connections into its queue, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield "127.0.0.1", listener.getsockname()[1]


def measure(name: str, **options: Any) -> tuple[float, float, list[Any]]:
    """Log, an alert among a hundred entries; return median and 99th percentile of a call, and the entries."""
    logger = MetaLogger(log_dir=name, log_to_console=False, max_file_size="1GB", overflow="block", **options)
    times: list[float] = []
    clock = time.perf_counter
    for n in range(CALLS):
        began = clock()
        if n % 100:
            logger.info("Tick", n=n, price=70000.5, side="BUY")
        else:
            logger.critical("Margin call", n=n, price=70000.5, side="BUY")
        times.append(clock() - began)
        if n % _PACE == 0:
            time.sleep(0.001)  # paced: about 50,000 a second
    assert logger.flush()
    entries = [json.loads(line) for line in Path(name, "expert.log").read_bytes().splitlines()]
    logger.close(timeout=0.2)
    return statistics.median(times), statistics.quantiles(times, n=100)[98], entries


def bare(entries: list[Any]) -> list[Any]:
    """Return what of *entries* does not depend on when and as which number they were logged."""
    own = [entry for entry in entries if entry.get("logger") != "metaexpert.logger"]
    return [{k: v for k, v in entry.items() if k not in ("timestamp", "sequence_id")} for entry in own]


@pytest.mark.storm
def test_remote_cost(closed_port: str, silent_port: tuple[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    """Calls take as long as without alerts, and the files hold the same, while endpoints are down, slow or lying."""
    telegram = {"telegram_token": TOKEN, "telegram_chat_id": 1}
    host, port = silent_port
    silent = f"http://{host}:{port}"
    with ScriptedServer(lambda _: Answer(200, b"lies")) as liar:
        cases: dict[str, dict[str, Any]] = {
            "none": {},
            "alerts-down": {**telegram, "telegram_api_url": closed_port, "webhook_url": closed_port},
            "alerts-slow": {**telegram, "telegram_api_url": silent, "webhook_url": silent},
            "alerts-lying": {**telegram, "telegram_api_url": liar.url, "discord_webhook_url": liar.url},
            "syslog-down": {"syslog_address": closed_port.replace("http", "tcp")},
            "syslog-slow": {"syslog_address": f"tcp://{host}:{port}"},
        }
        found = {name: measure(name, **options) for name, options in cases.items()}
    with capsys.disabled():
        print()
        for name, (median, high, _) in found.items():
            ratio = f"{median / found['none'][0]:.2f} / {high / found['none'][1]:.2f}"
            print(f"{name:12}  p50 {median * 1e6:6.2f} µs  p99 {high * 1e6:7.2f} µs  ratio {ratio}")
    median, _, entries = found["none"]
    for name, (other, _, others) in found.items():
        assert other < median * _FACTOR + _SLACK, name
        assert bare(others) == bare(entries), name
