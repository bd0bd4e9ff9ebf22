"""What a recovery leaves for the watcher (`metaexpert watch`): how each process ended, until that was told.

A directory is watched once a watcher has made ``watch/`` in its private directory. From then on whoever recovers a
journal, a watcher or the next start of the expert, notes its bad end there before the owner file goes. So an expert
that is restarted before any watcher has looked does not hide how it ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from metaexpert.logger.journal.owner import REPLACED, End
from metaexpert.logger.system.descriptors import Descriptor, open_private

#: In the private directory.
DIRECTORY: Final = "watch"
#: Of the file about an end; its name begins with the id of the journal.
END_SUFFIX: Final = ".end"


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
    part = path.with_suffix(".part")
    with Descriptor.at(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, opener=open_private) as file:
        os.write(file.fd, json.dumps({**end.fields(), "recovered": recovered}).encode())
    give_to_owner(part, private)
    part.replace(path)


def give_to_owner(path: Path, private: Path) -> None:
    """Give what root has made to the owner of *private*: else the expert could not write its own files."""
    owner = private.stat()
    if sys.platform != "win32" and owner.st_uid and os.geteuid() == 0:
        with Descriptor.at(path, os.O_RDONLY, opener=open_private) as file:
            os.fchown(file.fd, owner.st_uid, owner.st_gid)
