"""Counters in a mapped file: one process sets them, another reads them, and they survive the death of both."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

_SIZE: Final = 4096


def make(path: Path) -> None:
    """Make the file; all counters stand at 0."""
    path.write_bytes(bytes(_SIZE))


class SharedCounter:
    """The counters in the file at *path*. Setting one is one aligned store: a reader never sees half of it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self.cell = memoryview(self._map).cast("Q")

    @property
    def value(self) -> int:
        """The first counter."""
        return self.cell[0]

    def close(self) -> None:
        """Let go of the file."""
        self.cell.release()
        self._map.close()
