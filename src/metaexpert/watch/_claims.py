"""Claims: each incident is told by one watcher, once, also over kills and restarts of the watchers.

An incident is a file below ``.metaexpert/watch/``: ``JOURNAL.KIND``, with its facts as JSON. The watcher that holds its
lock tells of it. When that dies, its lock is free, and another watcher goes on, without the endpoints that have
confirmed. A told incident stays as a mark until it is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.system.descriptors import open_private
from metaexpert.logger.system.locks import FileLock

TOLD: Final = "told"
_SENT, _TRIED = "sent", "tried"
#: A longer file is none of ours.
_MOST_BYTES: Final = 64 * 1024


class Claim:
    """An incident that this watcher tells; see `take`.

    Attributes:
        name: Name of its file: identifies it over watchers and restarts.
        facts: What is known of it.
        tried: Whether an earlier watcher may have told it already.
    """

    def __init__(self, path: Path, lock: FileLock, facts: dict[str, Any]) -> None:
        self.name = path.name
        self.facts = facts
        self.tried = bool(facts.get(_TRIED))
        self._lock = lock

    @property
    def sent(self) -> list[str]:
        """Ids of the endpoints that have it."""
        return list(self.facts.get(_SENT, ()))

    def trying(self) -> None:
        """Note that it is being sent: if the watcher dies now, it may have arrived. Raises OSError."""
        self._note(**{_TRIED: True})

    def arrived(self, endpoint: str) -> None:
        """Note that *endpoint* has it. Raises OSError."""
        self._note(**{_SENT: [*self.sent, endpoint]})

    def told(self) -> None:
        """Note that all have it, and give the claim up. Raises OSError."""
        try:
            self._note(**{TOLD: True})
        finally:
            self.release()

    def release(self) -> None:
        """Leave it to another watcher, or to a later start of this one. Idempotent."""
        self._lock.release(delete=False)

    def _note(self, **more: Any) -> None:
        self.facts |= more
        self._lock.write(json.dumps(self.facts).encode())


def take(path: Path, facts: Mapping[str, Any] | None = None) -> Claim | None:
    """Claim the incident at *path*; it is made with *facts* when it is new.

    Returns:
        None when another watcher tells it, or it was told.

    Raises:
        OSError: The file cannot be read or written.
    """
    lock = FileLock(path)
    if not lock.acquire():
        return None
    try:
        found = read(path)
        if not found and facts is not None:
            claim = Claim(path, lock, {})
            claim._note(**facts)
            return claim
    except BaseException:
        lock.release(delete=False)
        raise
    if not found or found.get(TOLD):
        lock.release(delete=not found)
        return None
    return Claim(path, lock, found)


def read(path: Path) -> dict[str, Any]:
    """Return the facts of the incident at *path*; empty when there is none, or only its beginning. Raises OSError."""
    try:
        with open(path, "rb", opener=open_private) as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
