"""A server on loopback that does what it is told: answers, refuses, hangs, resets, drips, and lies."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import LoopbackServer


class Answer:
    """What the server does with one request.

    Args:
        status: HTTP status.
        body: JSON, or bytes that are sent as they are.
        headers: More headers.
        deed: ``answer``; ``reset`` after the request was read; ``hang`` until the server closes; ``drip`` an answer
            that does not end.
        accepts: Whether the message counts as received, whatever the sender is told.
    """

    def __init__(
        self,
        status: int = 200,
        body: Any = None,
        headers: dict[str, str] | None = None,
        deed: str = "answer",
        *,
        accepts: bool | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.deed = deed
        self.accepts = status < 300 and deed == "answer" if accepts is None else accepts


class Request:
    """One request as it came."""

    def __init__(self, path: str, headers: dict[str, str], payload: Any, accepted: bool) -> None:
        self.path = path
        self.headers = headers
        self.payload = payload
        self.accepted = accepted


class ScriptedServer(LoopbackServer):
    """Answers by the script, then by *usual*. A context manager.

    Args:
        usual: Makes the answer to a payload when the script is at its end.
        script: What to do with the first requests.
    """

    def __init__(self, usual: Callable[[Any], Answer], script: Sequence[Answer] = ()) -> None:
        self.usual = usual
        self.script = list(script)
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        super().__init__(self._handler())

    @property
    def url(self) -> str:
        """The address."""
        return f"http://{self.place}"

    @property
    def accepted(self) -> list[Any]:
        """Payloads of the messages that count as received."""
        with self._lock:
            return [request.payload for request in self.requests if request.accepted]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    answer = server.script.pop(0) if server.script else server.usual(payload)
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    server.requests.append(Request(self.path, headers, payload, answer.accepts))
                getattr(self, f"_{answer.deed}")(answer)

            def _answer(self, answer: Answer) -> None:
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _reset(self, _: Answer) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.rfile = self.wfile = io.BytesIO()
                self.close_connection = True

            def _hang(self, _: Answer) -> None:
                server._over.wait(30)
                self.close_connection = True

            def _drip(self, _: Answer) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while not server._over.wait(0.02):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except (OSError, ValueError):  # what a reset leaves behind
                    self.close_connection = True

        return Handler


#: A bot's token, in the form of a real one.
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


class BotApi(ScriptedServer):
    """A Bot API for one chat.

    Args:
        script: What to do with the first requests.
    """

    def __init__(self, script: Sequence[Answer] = ()) -> None:
        super().__init__(telegram, script)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return what a logger needs to send its alerts here, and *more*."""
        given = {"telegram_token": TOKEN, "telegram_chat_id": 42, "telegram_api_url": self.url}
        return {"expert_name": "EmaBot", "log_to_console": False, **given, **more}

    @property
    def texts(self) -> list[str]:
        """The messages that count as received."""
        return [payload["text"] for payload in self.accepted]


def telegram(payload: Any) -> Answer:
    """Answer as the Bot API does to a good message."""
    return Answer(body={"ok": True, "result": {"message_id": 1, "text": payload["text"]}})


def discord(payload: Any) -> Answer:
    """Answer as Discord does with ``wait=true``."""
    return Answer(body={"id": "1", "content": payload["content"]})


def webhook(payload: Any) -> Answer:
    """Answer as a web hook does."""
    return Answer(body={"received": len(payload["alerts"])})
