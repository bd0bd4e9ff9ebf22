"""A real rsyslogd and a real syslog-ng receive what a logger sends, every field intact, also over a restart.

SYSLOG_ENTRIES sets how many entries go over each transport (a nightly run takes 100000).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from syslog_servers import Server, missing
from waiting import eventually

from metaexpert.logger import MetaLogger

ENTRIES = int(os.environ.get("SYSLOG_ENTRIES", "1000"))
_LONG = 60.0 + ENTRIES / 500

pytestmark = [pytest.mark.server, pytest.mark.timeout(120 + ENTRIES / 100)]


@pytest.fixture(params=["rsyslog", "syslog-ng"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of a server that is installed."""
    name = str(request.param)
    if why := missing(name):
        pytest.skip(why)
    return name


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[Server]:
    """Return a running server with our configuration for the network."""
    running = Server(kind, "network", tmp_path / "server")
    try:
        running.start()
        yield running
    finally:
        running.kill()


def options(server: Server, transport: str, **more: Any) -> dict[str, Any]:
    """Return what a logger needs to send over *transport*."""
    port = server.tls_port if transport == "tls" else server.port
    given = {"syslog_address": f"{transport}://127.0.0.1:{port}{'?limit=65000' if transport == 'udp' else ''}"}
    if transport == "tls":
        given["syslog_ca_file"] = str(server.place / "tls/ca.pem")
    base = {"expert_name": "EmaBot", "log_to_console": False, "overflow": "block", "max_file_size": "1GB"}
    return {**base, **given, **more}


HOSTILE = 'quote " bracket ] backslash \\ \\" new\nline tab\t escape \x1b[2J ü 🚀 {"json": [1]} = <5>1 \\u000a'.replace(
    "\\u000a", ""
)


def log(logger: Any, first: int, last: int) -> None:
    """Log entries of every kind."""
    trade = logger.trade
    for n in range(first, last):
        if n % 100 == 0:
            logger.warning(HOSTILE, text=HOSTILE, n=n)
        elif n % 50 == 0:
            try:
                raise ValueError(HOSTILE)
            except ValueError:
                logger.exception("Order failed", order_id=f"ord-{n}")
        elif n % 3 == 0:
            trade.info("Position opened", side="BUY", size=0.1, price=70000.5 + n, order_id=f"ord-{n}")
        else:
            logger.info("Tick", n=n, Bid=1.5, ask=None, flags=[True, False], nested={"a": {"b": [1, "x"]}})


def compare(expected: list[dict[str, Any]], received: list[dict[str, Any]]) -> int:
    """Hold what was received against what stands in the file; return how many are missing."""
    by_number = {entry["sequence_id"]: entry for entry in received}
    lost = 0
    for source in expected:
        found = by_number.get(source["sequence_id"])
        if found is None:
            lost += 1
            continue
        assert found == {key: value for key, value in source.items() if key not in ("level", "version")}
    assert set(by_number) <= {entry["sequence_id"] for entry in expected}
    return lost


@pytest.mark.parametrize("transport", ["tcp", "tls", "udp"])
def test_every_field_arrives(server: Server, transport: str, read_log: Callable[..., Any]) -> None:
    """All entries arrive as their server's own parser reads them; over UDP what is lost is counted."""
    began = time.monotonic()
    logger = MetaLogger(**options(server, transport, symbol="BTCUSDT"))
    log(logger, 0, ENTRIES)
    eventually(lambda: logger.stats()["exports"]["syslog"]["sent"] >= ENTRIES, _LONG)
    took = time.monotonic() - began
    assert logger.close()
    if transport != "udp":
        eventually(lambda: server.lines() >= ENTRIES, _LONG)
    server.stop()
    expected, received = read_log("logs/expert.log"), server.entries()
    lost = compare(expected, received)
    print(f"\n{server.kind} {transport}: {len(received)} of {len(expected)} in {took:.1f} s, lost {lost}")
    assert len(expected) == ENTRIES
    assert lost == 0 if transport != "udp" else lost < ENTRIES * 0.05
    assert len({entry["sequence_id"] for entry in received}) == len(received), "no repeats without a reconnection"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_server_loses_nothing(
    server: Server, transport: str, end: str, read_log: Callable[..., Any], tmp_path: Path
) -> None:
    """While the server is stopped and started, entries are kept; after dropping repeats by sequence none is missing.

    A server that is killed loses what it had read and not yet written: that is not in our hands, and is counted.
    """
    logger = MetaLogger(**options(server, transport))
    log(logger, 0, ENTRIES // 2)
    eventually(lambda: server.lines() > ENTRIES // 4, _LONG)
    getattr(server, end)()
    log(logger, ENTRIES // 2, ENTRIES)
    eventually(lambda: logger.stats()["exports"]["syslog"]["trouble"])
    server.start()
    eventually(lambda: logger.stats()["exports"]["syslog"]["waiting"] == 0, _LONG)
    eventually(lambda: not logger.stats()["exports"]["syslog"]["trouble"], _LONG)
    stats = logger.stats()["exports"]["syslog"]
    assert logger.close()
    eventually(lambda: server.lines() >= ENTRIES, _LONG)
    server.stop()
    expected = [entry for entry in read_log("logs/expert.log") if not entry["message"].startswith("log.")]
    received = server.entries()
    lost = compare(read_log("logs/expert.log"), received)
    print(f"\n{server.kind} {transport} {end}: {len(received)} received, resent {stats['resent']}, missing {lost}")
    assert len(expected) == ENTRIES
    assert lost == 0


def test_an_unknown_authority_is_not_trusted(server: Server) -> None:
    """Over TLS nothing is sent to a server whose certificate nobody vouches for; the reason is told."""
    given = options(server, "tls")
    del given["syslog_ca_file"]
    logger = MetaLogger(**given)
    logger.info("not for you")
    eventually(lambda: logger.stats()["exports"]["syslog"]["trouble"])
    assert "not trusted" in logger.stats()["exports"]["syslog"]["trouble"]
    logger.close()
    assert server.lines() == 0


def test_files_are_followed(kind: str, tmp_path: Path, read_log: Callable[..., Any]) -> None:
    """With our configuration the server follows expert.log over rotations, and every entry arrives with its types."""
    bots = tmp_path / "bots"
    running = Server(kind, "files", tmp_path / "server", bots)
    logger = MetaLogger(log_dir=bots / "ema/logs", log_to_console=False, max_file_size="40MB")
    logger.info("first")
    logger.flush()
    running.start()
    try:
        eventually(lambda: running.lines() >= 1)
        log(logger, 0, 1000)
        logger.flush()
        eventually(lambda: running.lines() >= 1001)
        logger.close()
    finally:
        running.kill()
    expected = {entry["sequence_id"]: entry for entry in read_log(bots / "ema/logs/expert.log")}
    received = {int(entry["sequence_id"]): entry for entry in running.objects()}
    assert set(received) == set(expected)
    for number, entry in expected.items():
        found = received[number]
        assert found["message"] == entry["message"]
        assert found.get("order_id") == entry.get("order_id")
