"""Recovers entries from the journals of dead writers: the only part of the reader that writes.

The writer's own `metaexpert.logger.files.recovery` does the work; it is imported on demand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metaexpert.logger import schema

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Recovery


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
    return len(list((directory / schema.PRIVATE_DIRECTORY).glob("*.owner")))


def waiting_entries(directory: Path) -> int:
    """Return how many entries of dead writers no file of *directory* has yet. Locks nothing."""
    if not waiting_journals(directory):
        return 0
    from metaexpert.logger.files.recovery import count_waiting  # noqa: PLC0415 - reading must not need the writer

    return count_waiting(directory)
