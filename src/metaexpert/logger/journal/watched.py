"""What a process leaves for the watcher (`metaexpert watch`): how others ended, and the care of its backups.

A directory is watched once a watcher has made ``watch/`` in its private directory. From then on whoever recovers a
journal, a watcher or the next start of the expert, notes its bad end there before the owner file goes. So an expert
that is restarted before any watcher has looked does not hide how it ended.

While a watcher holds the lock ``housekeeper`` there, what is to be done with the backups of a directory is left to it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple

from metaexpert.logger.journal.owner import REPLACED, End
from metaexpert.logger.system.descriptors import give_to_owner, written_beside
from metaexpert.logger.system.locks import FileLock

#: In the private directory.
DIRECTORY: Final = "watch"
#: There: the lock of the watcher that cares for backups, and the note of what is to be done.
HOUSEKEEPER: Final = "housekeeper"
JOB: Final = "backups"
#: Of the file about an end; its name begins with the id of the journal.
END_SUFFIX: Final = ".end"


class Job(NamedTuple):
    """What is to be done with the backups of a directory.

    Attributes:
        bases: Names of all current files.
        compressed: Names of those whose backups are compressed.
        budget: Bytes for all; None for no limit.
    """

    bases: list[str]
    compressed: list[str]
    budget: int | None


def leave_to_watcher(private: Path, job: Job) -> bool:
    """Leave the care of backups to a watcher. Returns whether there is one that takes it."""
    directory = private / DIRECTORY
    lock = FileLock(directory / HOUSEKEEPER)
    try:
        if directory.is_symlink() or not (directory / HOUSEKEEPER).exists() or lock.acquire():
            return False
        _replace(directory / JOB, json.dumps(job._asdict()).encode())
    except OSError:  # then it is done here
        return False
    else:
        return True
    finally:
        lock.release(delete=False)


def note_end(private: Path, journal: str, end: End, recovered: int) -> None:
    """Leave a note of a bad *end* if the directory is watched; a second recovery of the journal leaves none.

    Args:
        private: The private directory.
        journal: The id of the journal.
        end: How its process ended.
        recovered: How many entries were brought in.

    Raises:
        OSError: It cannot be written.
    """
    directory = private / DIRECTORY
    path = directory / f"{journal}{END_SUFFIX}"
    if end.reason == REPLACED or not directory.is_dir() or directory.is_symlink() or path.exists():
        return
    _replace(path, json.dumps({**end.fields(), "recovered": recovered}).encode())


def _replace(path: Path, content: bytes) -> None:
    part = written_beside(path, content)
    give_to_owner(part, path.parent.parent)
    part.replace(path)
