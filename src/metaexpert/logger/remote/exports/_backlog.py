"""The spool of entries on disk that a collector has not taken yet.

Bound: at most `MOST_BYTES` of entries of one forwarder. Further entries are refused, and counted by the forwarder.

Threads: see `metaexpert.logger.remote.spool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from metaexpert.logger.remote.spool import Spool

MOST_BYTES: Final = 256 * 1024 * 1024
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS lines (
    number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, endpoint TEXT NOT NULL, line BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS whose ON lines (owner, endpoint, number);
"""


class Backlog(Spool):
    """The lines that one forwarder still has to send, in the order in which they came.

    Args:
        directory: Where the file lies; None keeps the lines in memory.
        endpoint: Id of the collector.
        capacity: Most bytes of lines.
    """

    FILE_NAME: ClassVar[str] = "backlog.sqlite3"
    SCHEMA: ClassVar[str] = _SCHEMA
    TABLE: ClassVar[str] = "lines"

    def __init__(self, directory: Path | None, endpoint: str, capacity: int = MOST_BYTES) -> None:
        super().__init__(directory, endpoint)
        self._capacity = capacity
        self._bytes = 0
        #: How many lines wait.
        self.count = 0

    def add(self, lines: Sequence[bytes]) -> int:
        """Keep *lines*. Returns for how many of them, from the first on, there was room."""
        room, taken = self._capacity - self._bytes, 0
        for line in lines:
            room -= len(line)
            if room < 0:
                break
            taken += 1
        kept = lines[:taken]
        self._db.executemany(
            "INSERT INTO lines (owner, endpoint, line) VALUES (?, ?, ?)", [(*self._mine, line) for line in kept]
        )
        self.commit()
        self._bytes += sum(map(len, kept))
        self.count += taken
        return taken

    def first(self, most: int) -> tuple[int, list[bytes]]:
        """Return the first lines, at most *most*, and the number that `remove` takes for them."""
        rows = self._db.execute(
            "SELECT number, line FROM lines WHERE owner = ? AND endpoint = ? ORDER BY number LIMIT ?",
            (*self._mine, most),
        ).fetchall()
        return (rows[-1][0], [line for _, line in rows]) if rows else (0, [])

    def remove(self, number: int) -> None:
        """Forget the lines up to *number*."""
        self._db.execute("DELETE FROM lines WHERE owner = ? AND endpoint = ? AND number <= ?", (*self._mine, number))
        self.commit()
        self.measure()

    def take_over(self) -> None:
        """Take over the lines that dead owners had for our collector."""
        super().take_over()
        self.measure()

    def measure(self) -> None:
        """Count the lines and their bytes anew."""
        query = "SELECT count(*), coalesce(sum(length(line)), 0) FROM lines WHERE owner = ? AND endpoint = ?"
        self.count, self._bytes = self._db.execute(query, self._mine).fetchone()
