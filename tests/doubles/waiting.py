"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds; long, since the machine may be busy, and only a test that fails waits so long.
PATIENCE = 20.0


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until *condition* holds, at most *patience* seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
