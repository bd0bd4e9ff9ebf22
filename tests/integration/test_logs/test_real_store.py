"""A real VictoriaLogs, where there is one: it answers as the files do, and as the double of the other tests does."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import victorialogs
from victorialogs import VictoriaLogs

from metaexpert.logger import schema
from metaexpert.logger.config.syslog_address import parse_address
from metaexpert.logger.entry.rfc5424 import render_message
from metaexpert.logger.remote.exports._otlp import Otlp
from metaexpert.logger.remote.exports._syslog import Syslog
from metaexpert.logs import Entry, open_logs

PROGRAM = shutil.which("victoria-logs") or shutil.which("victoria-logs-prod")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(PROGRAM is None, reason="victoria-logs is not installed (no package registry has it)"),
]
START = datetime.now(UTC) - timedelta(hours=1)
HOSTILE = ['a"b\\c', "{x}", "or", "a|b", '") or ("', "line\nbreak", "*", "é", "'`", "ord-1", "ord-12"]


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of a fresh store, and its port for syslog."""
    port, syslog = free_port(), free_port()
    words = [f"-httpListenAddr=127.0.0.1:{port}", f"-syslog.listenAddr.tcp=127.0.0.1:{syslog}", "-loggerLevel=ERROR"]
    assert PROGRAM is not None
    with subprocess.Popen([PROGRAM, f"-storageDataPath={tmp_path / 'store'}", *words]) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield f"127.0.0.1:{port}", syslog
        finally:
            process.terminate()


def entries() -> list[dict[str, Any]]:
    """Return entries with hostile texts, values of every type that is kept, objects and errors."""
    made = []
    for number in range(1, 200):
        level = [*schema.LEVEL_NUMBERS][number % 5]
        text = HOSTILE[number % len(HOSTILE)]
        moment = START + timedelta(seconds=number // 3)
        made.append({
            "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"), "level": level,
            "severity": schema.SEVERITIES[level], "facility": 16, "version": 1, "hostname": "box", "appname": "EmaBot",
            "procid": "42", "msgid": "trade" if number % 3 else "log", "sequence_id": number,
            "message": f"{text} {number}",
            "expert_name": "EmaBot", "symbol": text, "order_id": f"{text}-{number % 7}", "price": 70000.5 + number,
            "count": 2**60 + number, "open": number % 2 == 0, "venue": {"id": number, "name": "binance"}, "ids": [1, 2],
            "exception": {"type": "ValueError", "value": "9600", "frames": []},
        })  # fmt: skip
    return made


def by_json_lines(made: list[dict[str, Any]], host: str, _: int) -> None:
    query = "_msg_field=message&_time_field=timestamp&_stream_fields=hostname,appname"
    body = "\n".join(json.dumps(one, ensure_ascii=False) for one in made)
    httpx.post(f"http://{host}/insert/jsonline?{query}", content=body.encode()).raise_for_status()


def by_otlp(made: list[dict[str, Any]], host: str, _: int) -> None:
    _send(Otlp(f"http://{host}/insert/opentelemetry/v1/logs"), made)


def by_syslog(made: list[dict[str, Any]], _: str, port: int) -> None:
    _send(Syslog(parse_address(f"tcp://127.0.0.1:{port}"), 32473), made)


def _send(exporter: Any, made: list[dict[str, Any]]) -> None:
    exporter.connect()
    exporter.send([json.dumps(one, ensure_ascii=False).encode() for one in made])
    exporter.finish()


def wait_for(host: str, count: int) -> None:
    """Wait until the store finds so many entries."""
    deadline = time.monotonic() + 60
    while sum(1 for _ in open_logs(f"vlogs://{host}")) < count:
        assert time.monotonic() < deadline
        httpx.get(f"http://{host}/internal/force_flush")
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("send", "row"),
    [
        (by_json_lines, victorialogs.json_lines),
        (by_otlp, victorialogs.otlp),
        (by_syslog, lambda one: victorialogs.syslog(render_message(one))),
    ],
    ids=["json lines", "otlp", "syslog"],
)
def test_a_real_store_answers_as_the_files_and_the_double_do(
    tmp_path: Path, real: tuple[str, int], send: Callable[..., None], row: Callable[..., victorialogs.Row]
) -> None:
    """Whatever the way in and the filter, and every hostile text finds its entries alone."""
    made = entries()
    directory = tmp_path / "logs"
    directory.mkdir()
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for one in made]
    (directory / "expert.log").write_bytes(b"".join(lines))
    send(made, *real)
    wait_for(real[0], len(made))
    filters: list[dict[str, Any]] = [{}, {"level": "error"}, {"limit": 7}, {"reverse": True}, {"grep": "binance"}]
    filters += [{"since": START + timedelta(seconds=20), "until": START + timedelta(seconds=40)}]
    filters += [{"symbol": text} for text in HOSTILE] + [{"order": f"{text}-3"} for text in HOSTILE]
    filters += [{"grep": text} for text in HOSTILE]
    with VictoriaLogs(map(row, made)) as double:
        for chosen in filters:
            found, expected, doubled = (
                [record.flat for record in open_logs(place, **chosen) if isinstance(record, Entry)]
                for place in (f"vlogs://{real[0]}", directory, double.address)
            )
            assert found == expected, chosen
            assert doubled == expected, chosen
