"""Endpoints: a sender with its thread for each, shared by the loggers of a process that log to one directory.

Threads: any thread may open and leave endpoints. A forked child begins with a lock of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.remote.sender import Remote, Sender
from metaexpert.logger.remote.worker import Worker

#: Longest that the end of a logger waits for what it has to send when no timeout is given, in seconds.
LAST_PATIENCE: Final = 5.0
#: And the least for each remote place.
_LEAST_PATIENCE: Final = 0.2

#: The directory that a endpoint keeps its things in, and the endpoint that it speaks to.
Key = tuple[str, str]


def last_patience(timeout: float | None) -> float:
    """Return how long the end of a logger waits, in seconds, when it is given *timeout*."""
    return LAST_PATIENCE if timeout is None else min(timeout, LAST_PATIENCE)


class Endpoint[S: Sender]:
    """What speaks to one remote place.

    Args:
        key: By which loggers find it.
        sender: What it sends with.
        most: Bytes of entries that may wait for its thread.
    """

    def __init__(self, key: Key, sender: S, most: int) -> None:
        self.key = key
        self.name = sender.name
        self.sender = sender
        self.worker = Worker(f"metaexpert-{sender.name}", sender, most)
        self.users = 0
        self.told = 0

    @property
    def dropped(self) -> int:
        """Entries that never came to the place, for want of room."""
        return self.worker.dropped.value + self.sender.counts.dropped

    def stats(self) -> dict[str, Any]:
        """Return what was done, and what waits."""
        return {**self.sender.stats(), "dropped": self.dropped, "queued": self.worker.waiting}


class OpenEndpoints[S: Sender]:
    """The endpoints of one kind that are open in this process.

    Args:
        most: Bytes of entries that may wait for each.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Key, Endpoint[S]] = {}
        self._guard = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def open(self, key: Key, make: Callable[[], S]) -> Endpoint[S]:
        """Return the endpoint of *key*, with a sender that is made when there is none; count one more user."""
        with self._guard:
            endpoint = self._open.get(key)
            if endpoint is None:
                endpoint = self._open[key] = Endpoint(key, make(), self._most)
            endpoint.users += 1
            return endpoint

    def leave(self, endpoint: Endpoint[S], patience: float) -> None:
        """Count one user less; wait for what it has to send, and for its end when that was the last one."""
        with self._guard:
            endpoint.users -= 1
            last = endpoint.users == 0
            if last and self._open.get(endpoint.key) is endpoint:
                del self._open[endpoint.key]
        if last:
            endpoint.worker.finish(patience)
        else:
            endpoint.worker.flush(patience)

    def _after_fork(self) -> None:
        self._guard = threading.RLock()


class Endpoints[S: Sender]:
    """The endpoints of one kind that one logger hands its entries to."""

    def __init__(self, shared: OpenEndpoints[S]) -> None:
        self._shared = shared
        self._endpoints: list[Endpoint[S]] = []

    def open(self, place: Path | None, remote: Remote, make: Callable[[], S]) -> None:
        """Hand entries to *remote* too.

        Args:
            place: Directory of what is kept until it is sent; None for nothing over a restart.
            remote: The remote place.
            make: Makes its sender, unless another logger has one.
        """
        self._endpoints.append(self._shared.open((str(place), remote.endpoint), make))

    def start(self) -> None:
        """Send what an earlier process left."""
        for endpoint in self._endpoints:
            endpoint.worker.ensure()

    def put(self, line: bytes) -> None:
        """Send the entry *line* everywhere. Never waits; may be called by any thread and signal handler."""
        for endpoint in self._endpoints:
            endpoint.worker.put(line)

    def ensure(self) -> None:
        """Have the threads run again after a fork."""
        for endpoint in self._endpoints:
            if endpoint.worker.asleep:
                endpoint.worker.ensure()

    def dropped(self) -> dict[str, int]:
        """Return, by name, how many entries were dropped since this was last asked."""
        news = {}
        for endpoint in self._endpoints:
            count, endpoint.told = endpoint.dropped - endpoint.told, endpoint.dropped
            if count:
                news[endpoint.name] = count
        return news

    def stats(self) -> dict[str, Any]:
        """Return counts by name."""
        return {endpoint.name: endpoint.stats() for endpoint in self._endpoints}

    def close(self, timeout: float | None) -> None:
        """Send what can be sent in time, keep the rest for the next process. Idempotent."""
        left, self._endpoints = self._endpoints, []
        deadline = time.monotonic() + last_patience(timeout)
        for (
            endpoint
        ) in left:  # their threads work at the same time: one that hangs must not use up everybody's patience
            endpoint.worker.wake()
        for endpoint in left:
            self._shared.leave(endpoint, max(deadline - time.monotonic(), _LEAST_PATIENCE))

    def after_fork(self) -> None:
        """Start anew in a child."""
