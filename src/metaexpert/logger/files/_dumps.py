"""The files of the flight recorder: their names, and how many stay.

The name tells the time of the last entry, so that a recovery that is killed and repeated goes on with the same file.

Bound: `MOST_FILES` files stay, with `MOST_RINGS` times the bytes of the ring together; the oldest are deleted, the
newest stays. They never rotate.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.files._rotating_file import RotatingFile, written_already
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.segment import Intent

MOST_FILES: Final = 20
MOST_RINGS: Final = 10
_NO_TIME: Final = "0000-01-01T00:00:00.000000Z"
_POLICY: Final = RotationPolicy(max_size=2**63 - 1, backups=0)


def dump_name(time: str) -> str:
    """Return the name of the file whose last entry has that *time*; for what is no time, one of the year 0."""
    digits = time.replace("-", "").replace(":", "").removesuffix("Z")
    name = f"{schema.RECORDER_PREFIX}{digits}{schema.RECORDER_SUFFIX}"
    return name if schema.is_recorder_file(name) else dump_name(_NO_TIME)


def dump_file(directory: Path, name: str, lock: Any) -> RotatingFile:
    """Return the sink of the file *name*. *lock* is the directory's."""
    return RotatingFile(directory / name, _POLICY, lock)


def dumped_already(directory: Path, intent: Intent, data: Any) -> int:
    """Return how many bytes of the batch of *intent* a file of the recorder has, see `written_already`."""
    return max((written_already(directory, name, intent, data) for name in _files(directory)), default=0)


def delete_oldest(directory: Path, ring: int) -> int:
    """Delete what is too much of the recorder's files, for a ring of so many bytes. Returns how many files.

    Raises:
        OSError: A file cannot be deleted.
    """
    left, deleted = ring * MOST_RINGS, 0
    for place, (_, path) in enumerate(sorted(_files(directory).items(), reverse=True)):
        left -= path.stat().st_size
        if place and (place >= MOST_FILES or left < 0):
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted


def _files(directory: Path) -> dict[str, Path]:
    with os.scandir(directory) as found:
        ours = [item for item in found if schema.is_recorder_file(item.name) and item.is_file(follow_symlinks=False)]
    return {item.name: Path(item.path) for item in ours}
