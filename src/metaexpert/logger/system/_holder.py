"""Which process holds a file lock, where the system tells: Linux, by /proc (proc(5))."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

#: States of a process in /proc/PID/stat that explain why it holds a lock for so long.
_STATES: Final = {"T": "stopped", "t": "stopped by a debugger", "D": "waiting for a disk", "Z": "dead"}


def holder_of(fd: int) -> str:
    """Return who holds the `flock` of the open file *fd*, such as ``1234 (python, stopped)``; ``""`` if unknown."""
    if sys.platform != "linux":
        return ""
    with contextlib.suppress(OSError, ValueError):
        found = os.fstat(fd)
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            _, kind, _, _, pid, where, *_ = line.split()
            if kind == "FLOCK" and where == place and int(pid) > 0:  # others are of another container
                name, _, state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(") ")
                words = [name.partition("(")[2], _STATES.get(state[:1], "")]
                shown = ", ".join(word for word in words if word)
                return f"{pid} ({''.join(c if c.isprintable() else '?' for c in shown)})"
    return ""
