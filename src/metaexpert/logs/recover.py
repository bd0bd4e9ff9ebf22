"""Recovers entries from the journals of dead writers: the only part of the reader that writes.

The writer's own `metaexpert.logger.files.recovery` does the work; it is imported on demand.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexpert.logger import schema

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Recovery

#: Seconds; a writer that lives shows it every second.
_SILENT: Final = 3.0


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
    return len(_owners(directory))


def waiting_entries(directory: Path) -> int:
    """Return how many entries of dead writers no file of *directory* has, as can be told without their locks."""
    silent = [owner for owner in _owners(directory) if _is_silent(owner)]
    if not silent:  # an expert that runs: the viewer does not wait for the writer's modules
        return 0
    from metaexpert.logger.files.recovery import count_waiting  # noqa: PLC0415 - reading must not need the writer

    return sum(map(count_waiting, silent))


def _owners(directory: Path) -> list[Path]:
    return list((directory / schema.PRIVATE_DIRECTORY).glob("*.owner"))


def _is_silent(owner: Path) -> bool:
    """Return whether the writer of an owner file has shown no sign of life for `_SILENT` seconds."""
    try:
        return time.time() - owner.stat().st_mtime > _SILENT
    except OSError:  # it has closed meanwhile
        return False
