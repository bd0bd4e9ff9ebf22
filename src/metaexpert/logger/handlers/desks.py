"""Desks: what speaks to one remote place, with its thread, shared by the loggers of a process that log there.

Threads: any thread may open and leave desks. A forked child begins with a lock of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from metaexpert.logger.handlers.worker import Worker

#: The directory that a desk keeps its things in, and the endpoint that it speaks to.
Key = tuple[str, str]


class Desk:
    """One remote place.

    Args:
        key: By which loggers find it.
        name: How reports and counts name it.
        worker: Its thread.
    """

    def __init__(self, key: Key, name: str, worker: Worker) -> None:
        self.key = key
        self.name = name
        self.worker = worker
        self.users = 0
        self.told = 0

    @property
    def dropped(self) -> int:
        """Entries that never went out, for want of room."""
        return self.worker.dropped.value

    def stats(self) -> dict[str, Any]:
        """Return what was done, and what waits."""
        return {"dropped": self.dropped, "queued": self.worker.waiting}


class Desks[D: Desk]:
    """The open desks of one kind in this process."""

    def __init__(self) -> None:
        self._open: dict[Key, D] = {}
        self._guard = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def open(self, key: Key, make: Callable[[], D]) -> D:
        """Return the desk of *key*, made when there is none; count one more user."""
        with self._guard:
            desk = self._open.get(key)
            if desk is None:
                desk = self._open[key] = make()
            desk.users += 1
            return desk

    def leave(self, desk: D, patience: float) -> None:
        """Count one user less; wait for what it has to send, and for its end when that was the last one."""
        with self._guard:
            desk.users -= 1
            last = desk.users == 0
            if last and self._open.get(desk.key) is desk:
                del self._open[desk.key]
        if last:
            desk.worker.finish(patience)
        else:
            desk.worker.flush(patience)

    def _after_fork(self) -> None:
        self._guard = threading.RLock()


def ensure(desks: Iterable[Desk]) -> None:
    """Have the threads of *desks* run again after a fork."""
    for desk in desks:
        if desk.worker.asleep:
            desk.worker.ensure()


def dropped(desks: Iterable[Desk]) -> dict[str, int]:
    """Return, by name, how many entries were dropped since this was last asked."""
    news = {}
    for desk in desks:
        count, desk.told = desk.dropped - desk.told, desk.dropped
        if count:
            news[desk.name] = count
    return news
