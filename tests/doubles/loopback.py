"""What the servers of tests have in common: a port on loopback, a thread, and an end."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from socketserver import BaseRequestHandler
from typing import Self


class _Server(ThreadingHTTPServer):
    """With room for clients that come while the machine is busy: the usual five would be turned away for a second."""

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False


class LoopbackServer:
    """Serves while the context lasts; `_over` is set when it ends.

    Args:
        handler: Handles the requests of HTTP, or a connection.
    """

    def __init__(self, handler: type[BaseRequestHandler]) -> None:
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
