"""Addresses of syslog servers: parsed, not opened."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES: Final = ("udp", "tcp", "tls", "unix")
PORTS: Final = {"udp": 514, "tcp": 514, "tls": 6514}
#: Default of the largest datagram: RFC 5426 recommends that every receiver takes this size.
DATAGRAM: Final = 2048
_LEAST_DATAGRAM: Final = 480
_MOST_DATAGRAM: Final = 65_000


class Address(NamedTuple):
    """The address of a syslog server.

    Attributes:
        scheme: One of `SCHEMES`.
        host: Name or IP address; empty for a Unix socket.
        port: Port.
        path: Path of a Unix socket.
        framing: ``octet`` or ``lf``, for streams.
        limit: Largest datagram, in bytes.
    """

    scheme: str
    host: str
    port: int
    path: str
    framing: str
    limit: int


def parse_address(text: str) -> Address:
    """Read an address such as ``udp://host:514?limit=1400``, ``tcp://host?framing=lf`` or ``unix:///dev/log``.

    Raises:
        ValueError: If it is not one. The message says what would be right.
    """
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ValueError("should begin with udp://, tcp://, tls:// or unix://")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    stream = parts.scheme in ("tcp", "tls")
    framing = options.pop("framing", "octet" if stream else "lf")
    if framing not in ("octet", "lf") or (parts.scheme == "udp" and "framing=" in parts.query):
        raise ValueError("should have framing=octet or framing=lf, for a stream")
    limit = options.pop("limit", str(DATAGRAM if parts.scheme == "udp" else _MOST_DATAGRAM))
    if (
        not limit.isdigit()
        or not _LEAST_DATAGRAM <= int(limit) <= _MOST_DATAGRAM
        or (stream and "limit=" in parts.query)
    ):
        raise ValueError(f"should have a limit of {_LEAST_DATAGRAM} to {_MOST_DATAGRAM} bytes, for datagrams")
    if options:
        raise ValueError(f"has an unknown option {min(options)!r}; framing and limit are known")
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("should be unix:// and an absolute path, such as unix:///dev/log")
        return Address("unix", "", 0, unquote(parts.path), framing, int(limit))
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise ValueError("should have a port from 1 to 65535") from None
    if not parts.hostname or parts.path not in ("", "/") or parts.username is not None:
        raise ValueError(f"should be {parts.scheme}://host:port and nothing else")
    return Address(parts.scheme, parts.hostname, port, "", framing, int(limit))
