"""Which files of a directory are logs, and a set of them that stays whole while somebody rotates.

A log is ``NAME.log``, its backups are ``NAME.log.1`` (the newest), ``NAME.log.2`` …, each maybe with ``.gz``.
Together they are a chain. Nothing else in the directory is looked at: no sub-directory, no temporary file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from metaexpert.logger import schema
from metaexpert.logs.blocks import (
    Inflater,
    gzip_backward,
    lines_backward,
    lines_forward,
    plain_backward,
    plain_forward,
)

_NAME: Final = re.compile(r"(?P<base>.+\.log)(?:\.(?P<number>[1-9]\d{0,8})(?P<gzip>\.gz)?)?")
#: Files held open from the start of a reading; macOS allows a process 256 by default.
_MOST_OPEN: Final = 128
#: How often a set of files is taken anew because a rotation changed it meanwhile.
_ATTEMPTS: Final = 5
#: Bytes of a file that are looked at to know it again.
BEGINNING: Final = 1024

#: Device and number of a file: what stays when it is renamed.
Identity = tuple[int, int]


@dataclass(slots=True)
class Counts:
    """What a reading met, counted while it goes on.

    Attributes:
        entries: Entries, each once, before the level filter.
        unparsed: Lines that are no entries; they are shown as they are.
        unreadable: Files that could not be read, or not to their end, and why.
        overrun: How often, while following, a log had been rotated so far that entries may be gone unread.
    """

    entries: int = 0
    unparsed: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    overrun: int = 0

    def reset(self) -> None:
        """Begin to count anew."""
        self.entries = self.unparsed = self.overrun = 0
        self.unreadable.clear()


@dataclass(frozen=True, slots=True)
class LogName:
    """Name of a file that may be a log: its chain and its place in it (0 is the current file)."""

    path: Path
    base: str
    number: int
    compressed: bool


def find_logs(directory: Path, *, diagnostics: bool) -> dict[str, list[LogName]]:
    """Return the chains of a directory by the name of their current file, each newest first.

    Args:
        directory: Where to look; one that is gone holds no logs.
        diagnostics: Whether the logger's own troubles (``logging_errors.log``) belong to it.
    """
    chains: dict[str, list[LogName]] = {}
    with suppress(FileNotFoundError), os.scandir(directory) as found:
        for item in found:
            match = _NAME.fullmatch(item.name)
            if match is None or (match["base"] == schema.DIAGNOSTICS_FILE and not diagnostics):
                continue
            if item.is_file():
                name = LogName(Path(item.path), match["base"], int(match["number"] or 0), bool(match["gzip"]))
                chains.setdefault(name.base, []).append(name)
    # Where .1 and .1.gz stand side by side, the plain one is the newer: compression was cut short.
    return {base: sorted(chain, key=lambda n: (n.number, n.compressed)) for base, chain in sorted(chains.items())}


def identity(path: Path) -> Identity:
    """Return the identity of the file that *path* names now (`os.stat`, since scandir knows none on Windows)."""
    status = path.stat()
    return status.st_dev, status.st_ino


class LogFile:
    """One log file as it was when found: later growth is not read, renaming does not matter.

    Args:
        name: Where it was found.

    Raises:
        OSError: When there is no such file.
    """

    __slots__ = ("_handle", "identity", "modified", "name", "size")

    def __init__(self, name: LogName) -> None:
        status = name.path.stat()
        self.name = name
        self.identity: Identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.modified = datetime.fromtimestamp(status.st_mtime, UTC)
        self._handle: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Return the open file; looks for it under its chain's other names when it was renamed."""
        if self._handle is None:
            self._handle = self._found()
        return self._handle

    def take(self) -> BinaryIO:
        """Return the file opened for the caller, who closes it."""
        with suppress(FileNotFoundError):
            return self._found()
        # Compressed or removed by now; what is open here already is all that is left of it.
        handle, self._handle = self.open(), None
        return handle

    def _found(self) -> BinaryIO:
        siblings = find_logs(self.name.path.parent, diagnostics=True).get(self.name.base, [])
        for path in (self.name.path, *(name.path for name in siblings)):
            if (handle := self._opened(path)) is not None:
                return handle
        raise FileNotFoundError(2, "it was removed while the logs were read")

    def _opened(self, path: Path) -> BinaryIO | None:
        try:
            handle = path.open("rb")
        except FileNotFoundError:
            return None
        status = os.fstat(handle.fileno())
        if (status.st_dev, status.st_ino) == self.identity:
            return handle
        handle.close()
        return None

    def close(self) -> None:
        """Release the file; reading opens it again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def lines(self, counts: Counts, *, backward: bool = False) -> Iterator[bytes]:
        """Yield its lines, the last first when *backward*; trouble ends them and is noted in *counts*."""
        try:
            handle = self.open()
            if self.name.compressed:
                inflater = Inflater(handle)
                yield from lines_backward(gzip_backward(inflater)) if backward else lines_forward(inflater)
                if inflater.damage:
                    counts.unreadable[self.name.path.name] = inflater.damage
            elif backward:
                yield from lines_backward(plain_backward(handle, self.size))
            else:
                yield from lines_forward(plain_forward(handle, self.size))
        except OSError as error:
            counts.unreadable[self.name.path.name] = error.strerror or str(error)
        finally:
            self.close()

    def trim(self) -> None:
        """Leave out a last line without its end: it is being written."""
        with suppress(OSError):
            end = self.size
            for block in plain_backward(self.open(), self.size):
                end -= len(block)
                if (at := block.rfind(b"\n")) >= 0:
                    end += at + 1
                    break
            self.size = end

    def beginning(self) -> bytes:
        """Return its first line, or the start of a long one: what stays when it is compressed. May be empty."""
        handle = self.open()
        handle.seek(0)
        blocks = Inflater(handle) if self.name.compressed else [handle.read(BEGINNING)]
        return next(iter(blocks), b"")[:BEGINNING].partition(b"\n")[0]


class Snapshot:
    """The log files of a directory at one moment, oldest first in each chain.

    Opens the files at once, so that neither rotation nor compression nor removal takes one away while it is
    read (the first 128; further ones are opened when their turn comes). Use as a context manager.
    """

    def __init__(self, directory: Path, *, diagnostics: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            chains = find_logs(directory, diagnostics=diagnostics)
            self._room = _MOST_OPEN
            self.chains = {base: self._opened(names) for base, names in chains.items()}
            if attempt == _ATTEMPTS or self._still(find_logs(directory, diagnostics=diagnostics)):
                break
            self.close()
        self.chains = {base: _without_twins(files)[::-1] for base, files in self.chains.items() if files}

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all files."""
        for files in self.chains.values():
            for file in files:
                file.close()

    def _opened(self, names: list[LogName]) -> list[LogFile]:
        files = []
        for name in names:
            with suppress(FileNotFoundError):
                files.append(LogFile(name))
                self._room -= 1
                # Whatever else keeps it from being opened is told when its turn to be read comes.
                with suppress(OSError):
                    if self._room > 0:
                        files[-1].open()
        return files

    def _still(self, chains: dict[str, list[LogName]]) -> bool:
        """Tell whether the directory still holds just the files that were opened, under the same names."""
        mine = {file.name.path: file.identity for files in self.chains.values() for file in files}
        now = {}
        for name in (name for names in chains.values() for name in names):
            with suppress(FileNotFoundError):
                now[name.path] = identity(name.path)
        return mine == now


def _without_twins(files: list[LogFile]) -> list[LogFile]:
    """Leave out a ``.N.gz`` that stands beside the ``.N`` from which it was, or is being, made."""
    kept: list[LogFile] = []
    for file in files:
        if kept and kept[-1].name.number == file.name.number and _is_twin(file, kept[-1]):
            file.close()
        else:
            kept.append(file)
    return kept


def _is_twin(compressed: LogFile, plain: LogFile) -> bool:
    try:
        return compressed.beginning() in (b"", plain.beginning())
    except OSError:
        return False
