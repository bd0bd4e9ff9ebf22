"""`metaexpert logs live --web`: the screen in a browser, by textual-serve, on loopback only."""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from metaexpert.cli import output
from metaexpert.cli.live.chips import Chip
from metaexpert.logs import Logs

HOST: Final = "127.0.0.1"
#: The page of textual-serve asks Google for a font, which it has itself.
_FOREIGN: Final = re.compile(r"<link\b[^>]*googleapis[^>]*>")


class _Loopback(Server):
    """Serves pages that load nothing from elsewhere, to pages of its own only.

    Any site that is open in the same browser may connect to 127.0.0.1, under a name of its own too (DNS rebinding). So
    `Host` and `Origin` must be this server's.
    """

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._only_own)
        return app

    @property
    def _own(self) -> set[str]:
        return {f"{host}:{self.port}" for host in (HOST, "localhost")}

    @web.middleware
    async def _only_own(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if request.host not in self._own or (origin is not None and urlsplit(origin).netloc not in self._own):
            raise web.HTTPForbidden(text="not from here")
        return await handler(request)

    async def on_startup(self, app: web.Application) -> None:
        """Say where it is."""
        output.write(f"http://{HOST}:{self.port} (Ctrl+C ends it)\n")

    def initialize_logging(self) -> None:
        """Leave logging alone."""


def serve(logs: Logs, chips: Sequence[Chip], port: int) -> None:
    """Serve the screen until Ctrl-C; each page that is opened has a process of its own.

    Raises:
        InputError: The port is taken.
    """
    words = [sys.executable, "-m", "metaexpert", "logs", "live", *(str(path.absolute()) for path in logs.directories)]
    words += [word for name, text in chips for word in (f"--{name.replace('_', '-')}", text)]
    with tempfile.TemporaryDirectory() as templates:
        server: Any = _Loopback(shlex.join(words), host=HOST, port=port, title="metaexpert logs live")
        page = (Path(server.templates_path) / "app_index.html").read_text("utf-8")
        (Path(templates) / "app_index.html").write_text(_FOREIGN.sub("", page), "utf-8")
        server.templates_path = Path(templates)
        try:
            server.serve()
        except OSError as error:
            raise output.InputError(f"--port {port}: {error.strerror or error}") from None
