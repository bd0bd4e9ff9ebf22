"""The contract of every sink.

Thread rules: `write`, `flush` and `close` are called by one thread at a time (the writing thread, or whoever takes
its place), under the directory's lock. A sink keeps no entry for itself after `flush` returned; `close` is
idempotent and leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Told, just before bytes are added to a file: its device, its inode, the offset, and how many bytes.
Note = Callable[[int, int, int, int], None]


def ignore(device: int, inode: int, offset: int, length: int) -> None:
    """Take note of nothing."""


class Sink(Protocol):
    """Takes whole lines of bytes, each with its newline."""

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Take a prefix of *batch* that ends at a line's end, wholly or not at all.

        *note* is told before anything is added, so that whoever was killed in the middle can be finished by another.
        An empty batch writes nothing: it makes sure that the next one can be taken.

        Returns:
            How many bytes were taken; at least one line.

        Raises:
            OSError: Nothing of the batch was taken; it may be offered again.
        """
        ...

    def flush(self) -> None:
        """Hand everything that was taken to the operating system's device (fsync for a file)."""
        ...

    def close(self) -> None:
        """Release what is held. A later `write` opens it again."""
        ...
