"""A process that logs, as far as its owner file, its journal and the system tell from outside.

Three signs, from the strongest to the weakest. The *lock* on the owner file: it is free when the process is gone, or
has become another program. The *heartbeat*: the writing thread touches the file each second, whatever the program
does; it stops when the whole process stands still. The *entries*: each batch moves a number in the head of a segment;
it stops when the program logs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from metaexpert.logger.journal.owner import REPLACED_KEY
from metaexpert.logger.journal.segment import HEADER_SIZE, LOCK_SUFFIX, SEGMENT_SUFFIX, SLOTS
from metaexpert.logger.system.calls import try_lock
from metaexpert.logger.system.descriptors import open_private
from metaexpert.logger.system.processes import status_of
from metaexpert.logs.recover import described, has_process

#: Seconds for which the lock of a process that exists must be free: it may have lost it, and takes it again.
EXEC_GRACE: Final = 2.0
#: Seconds for which a program of another host name (a container) may come back after an exec and say so itself.
_FOREIGN_GRACE: Final = 1.5
#: In a second of processor time, as Linux counts.
_TICKS: Final[int] = getattr(os, "sysconf", lambda _: 100)("SC_CLK_TCK")
#: Share of a core above which a process is called busy.
_BUSY: Final = 0.5
_OPEN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
#: A little more than the seconds between two heartbeats.
_USUAL_PAUSE: Final = 1.5
#: Parts of the kernel's names for what a thread waits in, and the words for them.
_WAITS: Final = {
    "futex": "waits for a lock", "nanosleep": "sleeps", "sk_wait": "waits for a socket", "tcp": "waits for a socket",
    "unix_stream": "waits for a socket", "inet": "waits for a socket", "poll": "waits for a socket or a timer",
    "select": "waits for a socket or a timer", "pipe": "waits for a pipe",
}  # fmt: skip

Look = Literal["lives", "ended", "unclear"]


class Process:
    """The process of one owner file that has described itself.

    Args:
        owner: The file.
        now: Seconds of a clock that never steps back.

    Attributes:
        journal: Id of its journal.
        host, procid: Where it runs.
        parent: Id of the process that started it; empty where that is not known.
        alive_at: When it was last seen to have shown a heartbeat.
        entry_at: When it was last seen to have logged.
        has_shown_life, has_shown_entries: Whether it has done so since it is looked at.
    """

    def __init__(self, owner: Path, now: float) -> None:
        self.owner, self._path = owner, str(owner)
        self.journal = owner.name.removesuffix(LOCK_SUFFIX)
        self.host = self.procid = self.parent = ""
        self._began: str | None = None
        self._touched = -1
        self._entries: bytes | None = None
        self._free_since: float | None = None
        #: Whether the process was seen without its lock: it has become another program.
        self._outlived = False
        self.alive_at = self.entry_at = now
        self.has_shown_life = self.has_shown_entries = False
        self._ticks = 0, now

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, or in this container."""
        return sys.platform != "win32" and self.host == os.uname().nodename

    def look(self, now: float) -> Look:
        """Return how it stands; *now* in seconds of a clock that never steps back."""
        try:
            touched = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - twice a second for each process
        except OSError:
            return "unclear"
        if not self.procid and not self._describe():
            return "unclear"
        if touched != self._touched:
            first, self._touched, self.alive_at = self._touched < 0, touched, now
            self._free_since, self._outlived = None, False
            if not first:
                self.has_shown_life = True
                return "lives"
        if not is_free(self.owner):
            self._free_since, self._outlived = None, False
            return "lives"
        self._free_since = self._free_since or now
        exists = has_process(self.procid, self._began) if self.local else None
        grace = EXEC_GRACE if exists else 0.0 if self.local else _FOREIGN_GRACE
        self._outlived = self._outlived or bool(exists)
        if max(now - self._free_since, self.silent_for() - _USUAL_PAUSE) < grace:
            return "unclear"
        if self._outlived:
            self._mark_replaced()
        return "ended"

    def _describe(self) -> bool:
        found = described(self.owner)
        if found:
            self.host, self.procid = str(found["hostname"]), str(found["procid"])
            self._began = found.get("began")
            with contextlib.suppress(OSError, IndexError):
                self.parent = status_of(self.procid)[1].decode() if self.local else ""
        return bool(found)

    def silent_for(self) -> float:
        """Return the seconds since its last heartbeat, by the clocks of the system and of the file system."""
        return time.time() - self._touched / 1e9

    def _mark_replaced(self) -> None:
        """Note in the owner file that the program was replaced: the process may be gone when it is recovered."""
        with contextlib.suppress(OSError):
            status, content = self.owner.stat(), {**described(self.owner), REPLACED_KEY: True}
            with open(self.owner, "wb", opener=open_private) as file:
                file.write(json.dumps(content).encode())
            os.utime(self.owner, ns=(status.st_atime_ns, status.st_mtime_ns))

    # -- hangs ------------------------------------------------------------------------------------------------

    def look_at_entries(self, now: float, names: Iterable[str]) -> None:
        """Note whether it has logged since the last look; *names* are those of the private directory."""
        segments = [name for name in names if name.startswith(self.journal) and name.endswith(SEGMENT_SUFFIX)]
        found = b"".join(map(self._head, sorted(segments)))
        if found != self._entries:
            self.has_shown_entries = self._entries is not None
            self._entries, self.entry_at = found, now
            self._ticks = self._processor_ticks(), now

    def _head(self, segment: str) -> bytes:
        """Return what changes with each batch in the head of a segment."""
        try:
            fd = os.open(self.owner.with_name(segment), _OPEN)
        except OSError:
            return b""
        try:
            return os.read(fd, HEADER_SIZE)[SLOTS[0] :]
        finally:
            os.close(fd)

    def doing(self, now: float) -> str:
        """Return in a few words what it has been doing since its last entry, as far as Linux tells; empty if not."""
        if not self.local:
            return ""
        with contextlib.suppress(OSError, IndexError, ValueError):
            if status_of(self.procid)[0] in (b"T", b"t"):
                return "stopped by a signal or a debugger"
            ticks, since = self._ticks
            share = (self._processor_ticks() - ticks) / _TICKS / max(now - since, 0.1)
            if share > _BUSY:
                return f"busy: it uses {share:.0%} of a core"
            told = Path(f"/proc/{self.procid}/task/{self.procid}/wchan").read_text("ascii")
            return next((words for part, words in _WAITS.items() if part in told), "waits")
        return ""

    def _processor_ticks(self) -> int:
        if self.local:
            with contextlib.suppress(OSError, IndexError, ValueError):
                told = status_of(self.procid)
                return int(told[11]) + int(told[12])
        return 0

    def age(self) -> float | None:
        """Return for how many seconds it has run; None where that is not known."""
        if self._began and self.local:
            with contextlib.suppress(OSError, IndexError, ValueError):
                up = float(Path("/proc/uptime").read_text("ascii").split()[0])
                return up - int(self._began.rpartition(" ")[2]) / _TICKS
        return None


def is_free(owner: Path) -> bool:
    """Return whether nobody holds the lock of an owner file. It is held for a moment to see that."""
    try:
        fd = os.open(owner, _OPEN)
    except OSError:
        return False
    try:
        try_lock(fd)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)
