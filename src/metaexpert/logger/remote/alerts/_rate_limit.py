"""The rate limit of a token, which all processes of a user on a machine keep together.

The times of the last messages are in a small file per token, named by a hash, under a lock. Where that file cannot be
kept (a full disk, a directory that is not this user's alone), the process keeps the limit by itself.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from metaexpert.logger.system.descriptors import make_directory, read_file, written_beside
from metaexpert.logger.system.locks import DirectoryLock

#: Longest that one answer may block a token, in seconds.
LONGEST_BLOCK: Final = 3600.0
_PATIENCE: Final = 1.0


class Limit(NamedTuple):
    """At most *most* messages in any *seconds* to *scope*: a chat, for example, or a bot."""

    scope: str
    most: int
    seconds: float


class _State(NamedTuple):
    """When messages were sent, by limit; and, under an empty name, until when nothing may be sent."""

    sent: dict[str, list[float]]
    blocked: dict[str, float]


def state_directory() -> Path:
    """Return where the programs of this user keep what all of them share."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or tempfile.gettempdir()) / "metaexpert"
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "metaexpert"
    if home := os.environ.get("HOME"):
        return Path(home) / ".local" / "state" / "metaexpert"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"metaexpert-{user}"


class RateLimit:
    """The rate limit of one token. Used by one thread at a time, and by several processes.

    Args:
        token: The token, hashed.
        limits: The limits, all of which hold at any time.
        clock: Seconds since the epoch, the same for all processes.
        directory: Where the file lies; `state_directory` when left out.
    """

    def __init__(
        self,
        token: str,
        limits: Sequence[Limit],
        clock: Callable[[], float] = time.time,
        directory: Path | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        # The file keeps its first name, so that processes of different versions keep the limit together.
        self._path = (directory or state_directory()) / f"budget-{token}.json"
        self._lock = DirectoryLock(self._path.with_suffix(".lock"), _PATIENCE)
        self._state = _State({}, {})
        #: Why the limit is not shared with other processes, if it is not.
        self.error: OSError | None = None

    def take(self) -> float:
        """Count one message. Returns 0.0 if it may be sent, or after how many seconds to ask again."""
        return self._with_state(self._taken)

    def block(self, seconds: float) -> None:
        """Let no process send anything for *seconds*, because the server said so."""

        def note(state: _State) -> float:
            until = self._clock() + min(max(seconds, 0.0), LONGEST_BLOCK)
            state.blocked[""] = max(until, state.blocked.get("", 0.0))
            return 0.0

        self._with_state(note)

    def _taken(self, state: _State) -> float:
        now = self._clock()
        wait = state.blocked.get("", 0.0) - now
        if not 0.0 < wait <= LONGEST_BLOCK:  # over, or the clock was set back
            state.blocked.clear()
            wait = 0.0
        for limit in self._limits:
            recent = [moment for moment in state.sent.get(_key(limit), []) if now - limit.seconds < moment <= now]
            state.sent[_key(limit)] = recent
            if len(recent) >= limit.most:
                wait = max(wait, recent[-limit.most] + limit.seconds - now)
        if wait > 0:
            return wait
        for limit in self._limits:
            state.sent[_key(limit)].append(now)
        return 0.0

    def _with_state(self, change: Callable[[_State], float]) -> float:
        """Have *change* change the shared state; that of this process alone where there is no shared one."""
        try:
            make_directory(self._path.parent)
            _check(self._path.parent)
            with self._lock:
                state = self._read()
                result = change(state)
                self._write(state)
        except OSError as error:
            self.error = error
            return change(self._state)
        self._state = state
        self.error = None
        return result

    def _read(self) -> _State:
        """Return the shared state; an empty one if there is none yet, or the machine died while it was written."""
        try:
            state = json.loads(read_file(self._path))
            sent = {str(key): [float(moment) for moment in moments] for key, moments in state["sent"].items()}
            blocked = {str(key): float(until) for key, until in state["blocked"].items()}
        except (FileNotFoundError, AttributeError, LookupError, TypeError, ValueError):
            return _State({}, {})
        return _State(sent, blocked)

    def _write(self, state: _State) -> None:
        written_beside(self._path, json.dumps(state._asdict()).encode(), 0o600).replace(self._path)

    def close(self) -> None:
        """Close the lock file."""
        self._lock.close()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self._lock.after_fork()


def _check(directory: Path) -> None:
    """Raise OSError unless *directory* is this user's alone: without a home, its name is one that others can guess."""
    found = directory.lstat()
    if sys.platform != "win32" and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022):
        raise OSError(errno.EPERM, "is another user's, or others may write to it", str(directory))


def _key(limit: Limit) -> str:
    return f"{limit.scope} {limit.most}/{limit.seconds:g}"
