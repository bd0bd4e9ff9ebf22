"""The alerts or exports of a logger, while they are being made."""

from __future__ import annotations

from collections import deque
from typing import Any

from metaexpert.logger.hub._remote_part import RemotePart


class Endpoint:
    """Keeps the lines that it gets."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self.lines.append(line)

    def start(self) -> None:
        pass


class Shared(deque[bytes]):
    """Lines of which another thread takes the last one between a look and the taking."""

    def __bool__(self) -> bool:
        there = len(self) > 0
        if len(self) == 1:
            self.clear()
        return there


def test_two_threads_may_send_what_was_held() -> None:
    """The writing thread and the one that made the logger may do so at once; neither fails."""
    endpoint = Endpoint()
    part: RemotePart[Any] = RemotePart("alerts", lambda: endpoint, lambda *_: None)
    part._held = Shared([b"1", b"2"])
    part.start()
    assert endpoint.lines[0] == b"1"
    assert len(part._held) == 0
