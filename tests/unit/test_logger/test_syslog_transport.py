"""Syslog over real sockets of this process: framing, truncation, Unix sockets, addresses."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import ConfigurationError, LoggerConfig
from metaexpert.logger.config.syslog_address import Address, parse_address
from metaexpert.logger.entry.rfc5424 import parse_message
from metaexpert.logger.remote.exports._forwarder import TransportError
from metaexpert.logger.remote.exports._syslog import Syslog, tls_context


def entry(**fields: Any) -> dict[str, Any]:
    """Return an entry."""
    header = {
        "timestamp": "2026-11-24T12:00:03.000000Z",
        "level": "error",
        "severity": 3,
        "facility": 16,
        "version": 1,
        "hostname": "host-1",
        "appname": "EmaBot",
        "procid": "77",
        "msgid": "log",
        "sequence_id": 5,
    }
    return {**header, "message": "Order failed\nnow", "expert_name": "EmaBot", **fields}


def line(**fields: Any) -> bytes:
    """Return an entry as it stands in a file."""
    return json.dumps(entry(**fields)).encode() + b"\n"


class Listener:
    """Takes one connection and everything that comes over it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.data = b""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            while data := connection.recv(65536):
                self.data += data

    def end(self) -> bytes:
        self.thread.join(10)
        self.socket.close()
        return self.data


def test_octet_counting() -> None:
    """Over TCP each message follows its length, as RFC 6587 has it; the end is confirmed by the other side."""
    listener = Listener()
    transport = Syslog(parse_address(f"tcp://127.0.0.1:{listener.port}"), 32473)
    transport.connect()
    assert transport.connected
    transport.send([line(n=1), line(text="ü" * 100)])
    assert transport.finish()
    data = listener.end()
    for expected in (entry(n=1), entry(text="ü" * 100)):
        length, _, data = data.partition(b" ")
        assert parse_message(data[: int(length)]) == expected
        data = data[int(length) :]
    assert data == b""
    assert not transport.connected


def test_lf_framing() -> None:
    """With framing=lf a newline ends each message, and none is inside."""
    listener = Listener()
    transport = Syslog(parse_address(f"tcp://127.0.0.1:{listener.port}?framing=lf"), 32473)
    transport.connect()
    transport.send([line(n=1), line(n=2)])
    assert transport.finish()
    first, second, rest = listener.end().split(b"\n")
    assert (parse_message(first), parse_message(second), rest) == (entry(n=1), entry(n=2), b"")


def test_a_long_entry_is_cut_to_a_datagram() -> None:
    """A datagram has at most the bytes of its limit; what is longer is cut, marked, counted, and still parses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        transport = Syslog(parse_address(f"udp://127.0.0.1:{receiver.getsockname()[1]}?limit=1200"), 32473)
        transport.connect()
        assert transport.connected
        transport.send([line(n=1), line(text="long " * 1000, order_id="ord-1")])
        assert parse_message(receiver.recv(65536)) == entry(n=1)
        data = receiver.recv(65536)
        assert transport.finish()
    assert len(data) <= 1200
    found = parse_message(data)
    assert found["order_id"] == "ord-1"
    assert "…[cut " in found["text"]
    assert transport.truncated == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_unix_sockets(kind: socket.SocketKind, tmp_path: Path) -> None:
    """A Unix socket gets datagrams, or lines when it is a stream; which, is found out."""
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, kind) as receiver:
        receiver.bind(str(path))
        if kind == socket.SOCK_STREAM:
            receiver.listen()
        transport = Syslog(parse_address(f"unix://{path}"), 32473)
        transport.connect()
        assert transport.connected
        transport.send([line(n=1)])
        if kind == socket.SOCK_STREAM:
            connection, _ = receiver.accept()
            with connection:
                assert parse_message(connection.recv(65536).rstrip(b"\n")) == entry(n=1)
        else:
            assert parse_message(receiver.recv(65536)) == entry(n=1)
        transport.abort()


def test_a_server_that_goes_is_noticed() -> None:
    """When the other side closes, the connection does not count as standing any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = Syslog(parse_address(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 32473)
        transport.connect()
        connection, _ = server.accept()
        assert transport.connected
        connection.sendall(b"hello")
        connection.close()
    for _ in range(100):
        if not transport.connected:
            break
    assert not transport.connected
    transport.abort()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "unix:///nowhere/at/all", "udp://nowhere.invalid:514"])
def test_what_cannot_be_reached_is_told(address: str) -> None:
    """A failed connection says why."""
    transport = Syslog(parse_address(address), 32473)
    with pytest.raises(TransportError, match=r"\w"):
        transport.connect()
    with pytest.raises(TransportError):
        transport.send([line()])
    assert not transport.connected
    assert transport.finish()


def test_a_child_lets_go_of_the_connection() -> None:
    """After a fork the child closes its copy; the parent's connection stands."""
    listener = Listener()
    transport = Syslog(parse_address(f"tcp://127.0.0.1:{listener.port}"), 32473)
    transport.connect()
    transport.after_fork()
    assert not transport.connected
    assert listener.end() == b""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp://host", Address("udp", "host", 514, "", "octet", 2048)),
        ("udp://[::1]:5514?limit=480", Address("udp", "::1", 5514, "", "octet", 480)),
        ("tcp://host:601?framing=lf", Address("tcp", "host", 601, "", "lf", 65000)),
        ("tls://host", Address("tls", "host", 6514, "", "octet", 65000)),
        ("unix:///dev/log", Address("unix", "", 0, "/dev/log", "lf", 65000)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """An address says transport, host, port, framing and limit; what it leaves out has the usual values."""
    found = parse_address(text)
    assert found._replace(framing=address.framing) == address
    if address.scheme != "udp":
        assert found.framing == address.framing


@pytest.mark.parametrize(
    "text",
    [
        "host:514",
        "http://host",
        "udp://",
        "udp://host:0x1",
        "udp://host:99999",
        "udp://host?limit=10",
        "udp://host?framing=lf",
        "tcp://host?limit=1000",
        "tcp://host?framing=nul",
        "tcp://user@host",
        "tcp://host/path",
        "tcp://host?colour=red",
        "unix://relative/path",
    ],
)
def test_a_wrong_address_is_explained(text: str) -> None:
    """A bad address is one error that names field and value."""
    with pytest.raises(ConfigurationError) as caught:
        LoggerConfig(syslog_address=text)
    assert "syslog_address" in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"syslog_ca_file": "ca.pem"}, "syslog_ca_file"),
        ({"syslog_address": "tcp://host", "syslog_cert_file": "c.pem"}, "syslog_cert_file"),
        ({"syslog_address": "tls://host", "syslog_key_file": "k.pem"}, "syslog_cert_file"),
        ({"otlp_endpoint": "collector:4318"}, "otlp_endpoint"),
        ({"otlp_endpoint": "http://collector.example.com"}, "otlp_endpoint"),
    ],
)
def test_what_does_not_go_together_is_explained(given: dict[str, Any], field: str) -> None:
    """Settings that are of no use without another one are an error that names it."""
    with pytest.raises(ConfigurationError, match=field):
        LoggerConfig(**given)


def test_files_of_tls_that_are_missing_are_told(tmp_path: Path) -> None:
    """A context is made of files; a missing one is an error of the connection, told with its reason."""
    with pytest.raises(OSError, match="No such file"):
        tls_context(tmp_path / "none.pem", None, None)
    with pytest.raises(OSError, match="No such file"):
        tls_context(None, tmp_path / "none.pem", None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = parse_address(f"tls://127.0.0.1:{server.getsockname()[1]}")
        transport = Syslog(address, 32473, lambda: tls_context(tmp_path / "none.pem", None, None))
        with pytest.raises(TransportError, match="No such file"):
            transport.connect()
