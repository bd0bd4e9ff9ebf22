"""Recovers entries from the journals of dead writers: the only part of the reader that writes log files.

The writer's own `metaexpert.logger.files.recovery` does the work; it is imported on demand.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger import schema
from metaexpert.logger.system.host import hostname
from metaexpert.logger.system.processes import birth, birth_in, is_ending, status_of

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Recovery

#: Seconds; a writer that lives shows it every second.
_SILENT: Final = 3.0
#: More than an owner file has.
_MOST_BYTES: Final = 64 * 1024


def recover_logs(directories: Iterable[str | Path]) -> dict[Path, Recovery]:
    """Bring the entries of dead writers into the files of *directories*, each once; return the outcome for each.

    Journals of running processes are left alone. It may be killed at any time and repeated.

    Raises:
        OSError: A journal or a file cannot be read or written. The entries that are left stay for the next time.
    """
    from metaexpert.logger.files.recovery import recover_directory  # noqa: PLC0415 - reading must not need the writer

    return {Path(directory): recover_directory(Path(directory)) for directory in directories}


def waiting_journals(directory: Path) -> int:
    """Return the number of journals in *directory*, of running and dead writers. Locks nothing."""
    return len(owners(directory))


def waiting_entries(directory: Path) -> int:
    """Return how many entries of dead writers no file of *directory* has, as can be told without their locks."""
    dead = [owner for owner in owners(directory) if not is_alive(owner)]
    if not dead:  # an expert that runs: the viewer does not wait for the writer's modules
        return 0
    from metaexpert.logger.files.recovery import count_waiting  # noqa: PLC0415 - reading must not need the writer

    return sum(map(count_waiting, dead))


def owners(directory: Path) -> list[Path]:
    """Return the owner files in *directory*: one for each process that has not closed its journal."""
    return sorted((directory / schema.PRIVATE_DIRECTORY).glob("*.owner"))


def process_of(owner: Path) -> tuple[str, str] | None:
    """Return host and process id of the writer of an owner file; None when it has logged nothing, or closed."""
    found = described(owner)
    return (str(found["hostname"]), str(found["procid"])) if found else None


def is_alive(owner: Path) -> bool:
    """Return whether the writer of an owner file lives, as can be told without its lock.

    On this machine its process tells; on another one, a heartbeat within the last seconds.
    """
    found = described(owner)
    if found and found["hostname"] == hostname():
        exists = has_process(str(found["procid"]), found.get("began"))
        if exists is not None:
            return exists
    with contextlib.suppress(OSError):
        return time.time() - owner.stat().st_mtime <= _SILENT
    return False


def described(owner: Path) -> dict[str, Any]:
    """Return what the writer of an owner file says of itself; empty when it has logged nothing, or closed."""
    with contextlib.suppress(OSError, ValueError):  # it has just closed, or is of an earlier version
        with open(owner, "rb", opener=_open_plain) as file:
            found = json.loads(file.read(_MOST_BYTES) or b"{}")
        if isinstance(found, dict) and {"hostname", "procid"} <= found.keys():
            return found
    return {}


def _open_plain(path: str, flags: int) -> int:
    """Open a file, but follow no link, and do not wait for a pipe that somebody has put there."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def has_process(procid: str, began: str | None) -> bool | None:
    """Return whether that process still exists, by what Linux or Windows tell of it; None where that is not known."""
    if sys.platform == "win32":
        told = birth(int(procid)) if began is not None and procid.isdecimal() else None
        return None if told is None else told == began
    if began is None or not Path("/proc/self/stat").exists():
        return None
    try:
        status = status_of(procid)
    except OSError:
        return False
    return not is_ending(status) and began.endswith(f" {birth_in(status)}")
