"""Syslog messages of RFC 5424: framing and sockets.

Sources: RFC 5426 (UDP: one message per datagram; receivers take at least 480 and should take 2048 bytes), RFC 6587
(TCP: octet counting and LF), RFC 5425 (TLS: octet counting, port 6514), RFC 5424 section 6.1 (a sender may truncate).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.config.syslog_address import Address
from metaexpert.logger.entry.fitting import fitted
from metaexpert.logger.entry.rfc5424 import render_message
from metaexpert.logger.remote.exports._forwarder import TransportError, decode_politely
from metaexpert.logger.remote.sender import digest

#: Longest wait for a connection, and for room in the sending buffer, in seconds.
CONNECT_TIMEOUT: Final = 5.0
SEND_TIMEOUT: Final = 10.0
#: Longest wait for the other side to close after everything was sent, in seconds.
_FINISH_TIMEOUT: Final = 2.0
#: Bytes that the system may buffer for us. If a connection breaks they are lost, and sent again.
_SEND_BUFFER: Final = 256 * 1024


class Syslog:
    """A connection to a syslog server. Used by one thread at a time.

    Args:
        address: Where it listens.
        enterprise_id: Private enterprise number of the structured data.
        tls: Makes the TLS context, if the address is one for TLS.
    """

    name = "syslog"
    acknowledged = False

    def __init__(
        self, address: Address, enterprise_id: int, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    ) -> None:
        self._address = address
        self._enterprise_id = enterprise_id
        self._tls = tls
        self._socket: socket.socket | None = None
        self._datagrams = address.scheme == "udp"
        self.endpoint = digest("syslog", *map(str, address))
        #: How many messages were cut to the size of a datagram.
        self.truncated = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known; checks whether the other side has closed it."""
        if self._socket is None:
            return False
        if self._datagrams:
            return True
        try:
            if not select.select([self._socket], [], [], 0)[0]:
                return True
            self._socket.settimeout(0)
            return bool(self._socket.recv(4096))  # a server that talks to us is alive
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            return False

    def connect(self) -> None:
        """Connect. Raises TransportError."""
        try:
            self._socket = self._open()
        except (OSError, ssl.SSLError) as error:
            raise TransportError(_reason(error)) from None

    def _open(self) -> socket.socket:
        address = self._address
        if address.scheme == "unix":
            return self._open_unix()
        if address.scheme == "udp":
            family, kind, proto, _, found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
            return _connected(socket.socket(family, kind, proto), found)
        plain = socket.create_connection((address.host, address.port), CONNECT_TIMEOUT)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.scheme == "tls":
                return self._tls().wrap_socket(plain, server_hostname=address.host)
        except BaseException:
            plain.close()
            raise
        return plain

    def _open_unix(self) -> socket.socket:
        if sys.platform == "win32":
            raise OSError(errno.ENOTSUP, "this system has no Unix sockets")
        try:
            opened = _connected(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), self._address.path)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # it is a stream
                raise
            self._datagrams = False
            return _connected(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), self._address.path)
        self._datagrams = True
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        return opened

    def send(self, lines: Sequence[bytes]) -> None:
        """Send entries. Raises TransportError; then some may have arrived."""
        messages = list(map(self._message, decode_politely(lines)))
        if self._socket is None:
            raise TransportError("not connected")
        try:
            self._socket.settimeout(SEND_TIMEOUT)
            if self._datagrams:
                for message in messages:
                    self._socket.send(message)
            else:
                self._socket.sendall(b"".join(map(self._framed, messages)))
        except (OSError, ssl.SSLError) as error:
            raise TransportError(_reason(error)) from None

    def _message(self, entry: dict[str, Any]) -> bytes:
        message = self._render(entry)
        if self._datagrams and len(message) > self._address.limit:
            self.truncated += 1
            message = fitted(entry, self._render, self._address.limit)
        return message

    def _render(self, entry: dict[str, Any]) -> bytes:
        return render_message(entry, enterprise_id=self._enterprise_id)

    def _framed(self, message: bytes) -> bytes:
        return b"%d %b" % (len(message), message) if self._address.framing == "octet" else message + b"\n"

    def finish(self) -> bool:
        """Announce the end, and wait for the other side to close: then it has read everything."""
        if self._socket is None or self._datagrams:
            self.abort()
            return True  # no more can be known about datagrams
        try:
            self._socket.settimeout(_FINISH_TIMEOUT)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
            else:
                self._socket.shutdown(socket.SHUT_WR)
                while self._socket.recv(4096):
                    pass
        except (OSError, ssl.SSLError, ValueError):
            return False
        finally:
            self.abort()
        return True

    def abort(self) -> None:
        """Close at once. Idempotent."""
        opened, self._socket = self._socket, None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.close()

    def after_fork(self) -> None:
        """Close the child's copy of the descriptor without sending anything (TLS would announce the end)."""
        opened, self._socket = self._socket, None
        if opened is not None:
            with contextlib.suppress(OSError):
                os.close(opened.detach())


def _connected(opened: socket.socket, address: Any) -> socket.socket:
    try:
        opened.settimeout(CONNECT_TIMEOUT)
        opened.connect(address)
    except BaseException:
        opened.close()
        raise
    return opened


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a context that verifies the server, and presents our certificate.

    Args:
        ca: Authorities that are trusted; None trusts those of the system.
        certificate: Our certificate; None presents none.
        key: Its private key; None looks for it in the file of the certificate.

    Raises:
        OSError: A file cannot be read, or holds no certificate or key; the text names its setting.
    """
    setting = "syslog_ca_file"
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            setting = "syslog_cert_file" if key is None else "syslog_cert_file or syslog_key_file"
            context.load_cert_chain(str(certificate), None if key is None else str(key))
    except OSError as error:  # which bears no name of a file
        words = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise OSError(error.errno, f"{setting} cannot be used: {words}") from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}; name its authority's file in syslog_ca_file"
    if isinstance(error, socket.gaierror):
        return f"the host of syslog_address cannot be resolved: {error.strerror}"
    return error.strerror or type(error).__name__
