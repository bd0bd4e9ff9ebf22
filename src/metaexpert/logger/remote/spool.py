"""A SQLite file per log directory that keeps entries until they are sent.

Each row belongs to the owner that holds the lock of its owner file. A process that sends to the same endpoint takes
over the rows of dead owners. SQLite, because it is in the standard library, survives a kill at any moment, and gives
several processes transactions.

Threads: used by one thread at a time, and never across a fork: call `close` before it and `after_fork` in the child.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from metaexpert.logger.system.calls import getpid
from metaexpert.logger.system.descriptors import REFUSED_SUFFIX, is_regular, make_private_directory, open_private
from metaexpert.logger.system.locks import FileLock

OWNER_SUFFIX: Final = ".owner"
#: Version of the files.
_VERSION: Final = 1
#: Longest wait for another process that changes the file, in seconds.
_PATIENCE: Final = 5.0
#: Connections that a parent had open at a fork: closing one in the child would harm the parent.
_inherited: Final[list[Any]] = []


class Spool:
    """The rows of one owner for one endpoint, in one table.

    Args:
        directory: Where the file lies; None keeps everything in memory, and nothing over a restart.
        endpoint: Id of the endpoint, which reveals no secret.
    """

    #: Name of the file, the statements that make its tables, and the table of the rows.
    FILE_NAME: ClassVar[str]
    SCHEMA: ClassVar[str]
    TABLE: ClassVar[str]
    #: Further changes to a row that is taken over from a dead owner, in SQL.
    ON_TAKE_OVER: ClassVar[str] = ""

    def __init__(self, directory: Path | None, endpoint: str) -> None:
        self._directory = directory
        self._endpoint = endpoint
        self._connection: sqlite3.Connection | None = None
        self._owner = ""
        self._lock: FileLock | None = None
        #: Name under which an unreadable file was set aside, if there was one.
        self.set_aside = ""

    def open(self) -> None:
        """Open the file, and make it when missing. An unreadable one is set aside. Idempotent.

        Raises:
            OSError: It cannot be made.
            sqlite3.Error: It cannot be used.
        """
        if self._connection is not None:
            return
        if self._directory is None:
            self._connection = self._prepared(":memory:")
            return
        make_private_directory(self._directory)
        path = self._directory / self.FILE_NAME
        try:
            self._connection = self._prepared(str(path))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, full, read-only: the file itself is sound
                raise
            self.set_aside = f"{self.FILE_NAME}.unreadable"
            path.replace(path.with_name(self.set_aside))
            self._connection = self._prepared(str(path))
        self._own(self._directory)

    def forget_disk(self) -> None:
        """Keep everything in memory from now on. The rows on disk stay there for a later process."""
        self._directory = None
        self.close()
        self.open()

    def _own(self, directory: Path) -> None:
        if self._lock is None:
            self._owner = f"{getpid()}-{uuid.uuid4().hex[:8]}"
            self._lock = FileLock(directory / f"{self._owner}{OWNER_SUFFIX}")
            with contextlib.suppress(OSError):  # a file system without locks: nobody takes over from anybody
                self._lock.acquire()

    def _prepared(self, path: str) -> sqlite3.Connection:
        if path != ":memory:":
            _make(Path(path))
        connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
        try:
            _check_version(connection)
            connection.executescript(self.SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def _mine(self) -> tuple[str, str]:
        """Owner and endpoint of our rows. The owner is known when the file is open."""
        return self._owner, self._endpoint

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            self.open()
        assert self._connection is not None  # noqa: S101 - for the type checker
        return self._connection

    def commit(self) -> None:
        """Make the changes durable."""
        self._db.commit()

    def take_over(self) -> None:
        """Take over the rows that dead owners had for our endpoint."""
        for owner in self._dead_owners():
            self._db.execute(
                f"UPDATE {self.TABLE} SET owner = ?{self.ON_TAKE_OVER} WHERE endpoint = ? AND owner = ?",  # noqa: S608
                (*self._mine, owner),
            )
            self.commit()

    def _dead_owners(self) -> Iterator[str]:
        if self._directory is None:
            return
        query = f"SELECT DISTINCT owner FROM {self.TABLE} WHERE owner != ? AND endpoint = ?"  # noqa: S608
        for (owner,) in self._db.execute(query, self._mine).fetchall():
            lock = FileLock(self._directory / f"{owner}{OWNER_SUFFIX}")
            with contextlib.suppress(OSError):
                if not lock.acquire():
                    continue
                try:
                    yield owner
                finally:
                    # The same owner may have rows for other endpoints. They are a dead owner's without the file too.
                    lock.release(delete=True)

    def close(self) -> None:
        """Close the file; its rows are there for the next `open`. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def leave(self) -> None:
        """Close the file, and let others take over what is left."""
        self.close()
        if self._lock is not None:
            self._lock.release(delete=True)
            self._lock = None

    def after_fork(self) -> None:
        """Start anew in a child: the rows are the parent's to send."""
        _inherited.append(self._connection)
        self._connection = None
        if self._lock is not None:
            self._lock.abandon()
            self._lock = None


def _make(path: Path) -> None:
    """Make the file with our mode, which SQLite's other files take on; SQLite itself would follow a link.

    One that exists is not opened: to close it would release the locks of all connections to it in this process.
    """
    with contextlib.suppress(FileNotFoundError):
        if not is_regular(path.lstat()):
            path.replace(path.with_name(path.name + REFUSED_SUFFIX))
    with contextlib.suppress(FileExistsError):
        os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))


def _check_version(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
        raise sqlite3.DatabaseError("made by a newer version")
