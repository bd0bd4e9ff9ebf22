"""What a directory holds, read anew only when the directory has changed: looking costs one system call."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

#: Nanoseconds for which a change may hide behind another one of the same time: clocks of file systems are coarse.
_COARSE: Final = 1_000_000_000


class Listing:
    """The names in a directory.

    Args:
        path: The directory.

    Attributes:
        names: Whether each is a directory, links not followed, as of the last `refresh`.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._modified = -1
        self.names: dict[str, bool] = {}

    def refresh(self) -> bool:
        """Read the names if they may have changed; return whether they were read. Raises OSError."""
        modified = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - ten times a second for each directory
        if modified == self._modified:
            return False
        self._modified = modified if abs(time.time_ns() - modified) > _COARSE else -1
        with os.scandir(self._path) as entries:
            self.names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        return True
