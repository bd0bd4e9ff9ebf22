"""Bringing in what dead writers left in their journals: the one part of the reader that writes.

The work is the writer's own, `metaexpert.logger.files.recovery`; it is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metaexpert.logger import schema

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Recovery


def recover_logs(directories: Iterable[str | Path]) -> dict[Path, Recovery]:
    """Bring the entries of dead writers into the files of *directories*, each once; return what was found in each.

    Journals of living processes are left alone. May be killed and repeated.

    Raises:
        OSError: A journal or a file cannot be read or written. What was not brought in stays for the next time.
    """
    from metaexpert.logger.files.recovery import recover_directory  # noqa: PLC0415 - reading must not need the writer

    return {Path(directory): recover_directory(Path(directory)) for directory in directories}


def waiting_journals(directory: Path) -> int:
    """Return how many journals lie in *directory*, of living and dead writers. Locks nothing."""
    return len(list((directory / schema.PRIVATE_DIRECTORY).glob("*.owner")))
