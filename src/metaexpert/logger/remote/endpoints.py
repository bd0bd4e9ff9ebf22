"""Endpoints: a sender and its thread for each, shared by the loggers of a process that log to one directory.

Threads: any thread may open and leave endpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.remote.sender import Remote, Sender
from metaexpert.logger.remote.worker import Worker
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.forks import ForkAware, on_fork
from metaexpert.logger.system.threads import RLock

#: Longest that a closing logger waits for what it has to send when no timeout is given, in seconds.
LAST_PATIENCE: Final = 5.0
#: And the least that each endpoint gets.
_LEAST_PATIENCE: Final = 0.2

#: The directory in which an endpoint's spool lies, and the endpoint's id.
Key = tuple[str, str]


def last_patience(timeout: float | None) -> float:
    """Return how long a logger that closes with *timeout* waits, in seconds."""
    return LAST_PATIENCE if timeout is None else min(timeout, LAST_PATIENCE)


class Endpoint[S: Sender]:
    """A sender with its thread.

    Args:
        key: Loggers with the same key share the endpoint.
        sender: Sends the entries.
        capacity: Bytes of entries that may wait for the thread.
    """

    def __init__(self, key: Key, sender: S, capacity: int) -> None:
        self.key = key
        self.name = sender.name
        self.sender = sender
        self.worker = Worker(f"metaexpert-{sender.name}", sender, capacity)
        #: How many loggers use it.
        self.users = 0
        #: How many dropped entries `Endpoints.dropped` has reported.
        self.reported = 0

    @property
    def dropped(self) -> int:
        """How many entries were dropped because the queue or the spool was full."""
        return self.worker.dropped.value + self.sender.counts.dropped

    def stats(self) -> dict[str, Any]:
        """Return counts of what was sent, dropped, and is waiting."""
        return {**self.sender.stats(), "dropped": self.dropped, "queued": self.worker.waiting}


class _Shared(ForkAware):
    """The open endpoints of this process."""

    def __init__(self) -> None:
        self._open: dict[Key, Endpoint[Any]] = {}
        self._lock = RLock()
        on_fork(self)

    def open(self, key: Key, make: Callable[[], Endpoint[Any]]) -> Endpoint[Any]:
        """Return the endpoint of *key* for one more user. *make* makes it if it is not open."""
        with self._lock:
            endpoint = self._open.get(key)
            if endpoint is None:
                endpoint = self._open[key] = make()
            endpoint.users += 1
            return endpoint

    def leave(self, endpoint: Endpoint[Any], patience: float) -> None:
        """Count one user less, wait for what the endpoint has to send, and close it after its last user."""
        with self._lock:
            endpoint.users -= 1
            last = endpoint.users == 0
            if last and self._open.get(endpoint.key) is endpoint:
                del self._open[endpoint.key]
        if last:
            endpoint.worker.finish(patience)
        else:
            endpoint.worker.flush(patience)

    # -- fork: the lock is held over it, so that the child gets whole counts and a free lock ------------------------

    def before_fork(self) -> None:
        """Wait until no other thread opens or leaves an endpoint."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Allow it again."""
        self._lock.release()

    after_fork_in_child = after_fork_in_parent


_shared: Final = _Shared()


class Endpoints[S: Sender]:
    """The endpoints to which one logger sends its entries.

    Args:
        capacity: Bytes of entries that may wait for each.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._endpoints: list[Endpoint[S]] = []

    def open(self, directory: Path | None, remote: Remote, make: Callable[[], S]) -> None:
        """Send entries to one more endpoint.

        Args:
            directory: Where its spool lies; None keeps nothing over a restart.
            remote: The way to it.
            make: Makes its sender, unless another logger has one.
        """
        key = (str(directory), remote.endpoint)
        self._endpoints.append(_shared.open(key, lambda: Endpoint(key, make(), self._capacity)))

    def start(self) -> None:
        """Send what an earlier process left."""
        for endpoint in self._endpoints:
            endpoint.worker.ensure()

    def put(self, line: bytes) -> None:
        """Send the entry *line* to every endpoint. Any thread and any signal handler may call this; it never waits."""
        for endpoint in self._endpoints:
            endpoint.worker.put(line)

    def ensure(self) -> None:
        """Start the threads again that a fork has ended, or that the system did not give."""
        for endpoint in self._endpoints:
            if endpoint.worker.asleep:
                endpoint.worker.ensure()

    def after_fork(self) -> None:
        """Start anew in a child. The endpoints hear of the fork by themselves."""

    def dropped(self) -> dict[str, int]:
        """Return, by endpoint, how many entries were dropped since the last call."""
        found = {}
        for endpoint in self._endpoints:
            count, endpoint.reported = endpoint.dropped - endpoint.reported, endpoint.dropped
            if count:
                found[endpoint.name] = count
        return found

    def stats(self) -> dict[str, Any]:
        """Return counts by endpoint."""
        return {endpoint.name: endpoint.stats() for endpoint in self._endpoints}

    def close(self, timeout: float | None) -> None:
        """Send what can be sent within *timeout* seconds, and keep the rest for the next process. Idempotent."""
        leaving, self._endpoints = self._endpoints, []
        deadline = monotonic() + last_patience(timeout)
        for endpoint in leaving:  # all threads work at once: one that hangs must not use up the time of the others
            endpoint.worker.wake()
        for endpoint in leaving:
            _shared.leave(endpoint, max(deadline - monotonic(), _LEAST_PATIENCE))
