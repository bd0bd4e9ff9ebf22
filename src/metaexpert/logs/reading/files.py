"""The log files of a directory: their names, their chains of backups, and their bytes.

A log is ``NAME.log``, its backups are ``NAME.log.1`` (the newest), ``NAME.log.2`` …, each maybe with ``.gz``.
Together they are a chain. A log's name that leads to no regular file is told with the files that cannot be read. Files
of other names (``NAME.jsonl``, ``NAME.log.2026-11-22``) are logs only if `metaexpert.logs.foreign` recognises them.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logs.reading._blocks import (
    FORWARD_BLOCK,
    Inflater,
    SeekableInflater,
    gzip_backward,
    plain_backward,
    plain_forward,
    whole_backward,
    whole_forward,
)

if TYPE_CHECKING:
    from metaexpert.logger.entry.time_index import Span

_NAME: Final = re.compile(r"(?P<base>.+\.log)(?:\.(?P<number>[1-9]\d{0,8})(?P<gzip>\.gz)?)?", re.DOTALL)
#: About so many bytes are read at a time.
BLOCK: Final = FORWARD_BLOCK
#: Names that other loggers give to their files.
_OTHER_NAME: Final = re.compile(
    r"(?P<base>.+\.(?:log|jsonl|ndjson|json)(?:[.-]\d{4}-?\d\d-?\d\d[\w-]*)?)(?:\.(?P<number>[1-9]\d{0,8}))?(?P<gzip>\.gz)?",
    re.DOTALL,
)
#: A day in an archive, see `metaexpert.logs.archive`: how its directory's name begins, and its file.
PARTITION: Final = "date="
ARCHIVED: Final = "entries.parquet"
#: Bytes at the beginning of a file by which it is known again.
BEGINNING: Final = 1024

#: Device and inode of a file: they stay when it is renamed.
Identity = tuple[int, int]


@dataclass(slots=True)
class Counts:
    """Counts of one reading, updated while it goes on.

    Attributes:
        entries: Entries that passed the filters, each once.
        unparsed: Lines that are not entries and passed the filters.
        unordered: Entries that came out of order, because the files are too disordered to be sorted within bounded
            memory.
        unreadable: Files that could not be read, or not to their end, and why.
        overrun: How often, while following, a log had been rotated so far that entries may be gone unread.
        copies: Files that were left out because they are copies of another one, or of its beginning, and that one.
    """

    entries: int = 0
    unparsed: int = 0
    unordered: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    overrun: int = 0
    copies: dict[str, str] = field(default_factory=dict)

    def reset(self) -> None:
        """Reset all counts."""
        self.entries = self.unparsed = self.unordered = self.overrun = 0
        self.unreadable.clear()
        self.copies.clear()

    def note_files(self, other: Counts) -> None:
        """Take in what *other* tells of files."""
        self.unreadable |= other.unreadable
        self.copies |= other.copies


def name_text(name: str) -> str:
    """Return the name of a file as text for other programs: bytes of it that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class LogName:
    """Name of a log file: its chain, its number there (0 is the current file), and whether it is called like ours."""

    path: Path
    base: str
    number: int
    compressed: bool
    usual: bool = True


def find_logs(
    directory: Path, *, diagnostics: bool, recorder: bool = False, refused: dict[str, str] | None = None
) -> dict[str, list[LogName]]:
    """Return the chains of a directory by the name of their current file, each newest first.

    Args:
        directory: Where to look; a missing one holds no logs. A file is a chain of its own.
        diagnostics: Include the logger's own problems (``logging_errors.log``).
        recorder: Include what the flight recorder has dumped (``recorder-*.log``).
        refused: Takes the names of logs that are no regular files, and why they cannot be read.
    """
    chains: dict[str, list[LogName]] = {}
    if directory.is_file():
        return {directory.name: [_named(directory)]}
    with suppress(FileNotFoundError), os.scandir(directory) as found:
        for item in found:
            if item.name.startswith(PARTITION) and Path(item.path, ARCHIVED).is_file():
                chains.setdefault(ARCHIVED, []).append(LogName(Path(item.path, ARCHIVED), ARCHIVED, 0, compressed=True))
                continue
            usual = _NAME.fullmatch(item.name)
            match = usual or _OTHER_NAME.fullmatch(item.name)
            if match is None or (match["base"] == schema.DIAGNOSTICS_FILE and not diagnostics):
                continue
            if schema.is_recorder_file(match["base"]) and not recorder:
                continue
            if why := _refusal(item):
                if refused is not None and usual:
                    refused[item.name] = why
                continue
            name = _named(Path(item.path), match, usual=usual is not None)
            chains.setdefault(name.base, []).append(name)
    days = sorted(chains.pop(ARCHIVED, ()), key=lambda name: name.path, reverse=True)
    if days:  # numbered like backups
        chains[ARCHIVED] = [LogName(name.path, ARCHIVED, at, compressed=True) for at, name in enumerate(days, 1)]
    # Of .1 and .1.gz side by side the plain one is the newer: compression was interrupted.
    return {base: sorted(chain, key=lambda n: (n.number, n.compressed)) for base, chain in sorted(chains.items())}


def _named(path: Path, match: re.Match[str] | None = None, *, usual: bool = True) -> LogName:
    match = match or _OTHER_NAME.fullmatch(path.name)
    if match is None:
        return LogName(path, path.name, 0, path.suffix == ".gz", usual)
    number = int(match["number"] or bool(match["gzip"]))  # a compressed file is no current one
    return LogName(path, match["base"], number, bool(match["gzip"]), usual)


def is_log(path: Path) -> bool:
    """Return whether *path* is a file that may be read as a log. An empty one is none."""
    return path.is_file() and path.stat().st_size > 0


def _refusal(item: os.DirEntry[str]) -> str:
    """Return why a directory's item cannot be read as a log; empty for a regular file, or one that is gone by now."""
    try:
        mode = item.stat().st_mode
    except FileNotFoundError:
        return "it is a link to a file that does not exist" if item.is_symlink() else ""
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISDIR(mode):
        return "it is a directory"
    return "" if stat.S_ISREG(mode) else "it is no regular file"


def identity(path: Path) -> Identity:
    """Return the identity of the file that *path* names now (`os.stat`, since scandir knows none on Windows)."""
    status = path.stat()
    return status.st_dev, status.st_ino


class Piece(NamedTuple):
    """Whole lines of a file: their offset, their length in the file, and their bytes.

    The bytes are fewer than the length when a line was too long to be kept whole.
    """

    offset: int
    length: int
    data: bytes


class Index:
    """The writer's time index of the backups of a directory; read at the first use.

    Args:
        directory: The log directory.
    """

    def __init__(self, directory: Path) -> None:
        self._private = directory / schema.PRIVATE_DIRECTORY
        self._lines: dict[bytes, bytes] | None = None

    def spans(self, status: os.stat_result, read_at: Callable[[int, int], bytes]) -> Sequence[Span]:
        """Return the stretches of an open file in their order; none when the index does not know it.

        Args:
            status: Of the file.
            read_at: Reads from the file; takes an offset and a number of bytes.
        """
        from metaexpert.logger.entry import time_index  # noqa: PLC0415 - not for the last entries

        if self._lines is None:
            self._lines = {}
            # Without an index that can be read, the files are read.
            with suppress(OSError):
                self._lines = time_index.lines_by_key(self._private / time_index.NAME)
        line = self._lines.get(time_index.key_of(status, read_at)) if self._lines else None
        return time_index.spans_of(line) if line is not None else ()


class LogFile:
    """One log file as it was when found: later growth is not read, renaming has no effect.

    Args:
        name: Where it was found.
        index: The writer's index of the directory.

    Raises:
        OSError: There is no such file.
    """

    __slots__ = ("_handle", "_index", "_inflated", "_spans", "held", "identity", "label", "modified", "name", "size")

    def __init__(self, name: LogName, index: Index | None = None) -> None:
        status = name.path.stat()
        self.name = name
        self.identity: Identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.modified = datetime.fromtimestamp(status.st_mtime, UTC)
        #: How messages name it.
        self.label = name.path.name
        #: Stays open after a reading; its snapshot closes it.
        self.held = False
        self._inflated: SeekableInflater | None = None
        self._handle: BinaryIO | None = None
        self._index = index
        self._spans: Sequence[Span] | None = None

    def open(self) -> BinaryIO:
        """Return the open file; if it was renamed, find it under the other names of its chain."""
        if self._handle is None:
            self._handle = self._found()
        return self._handle

    def take(self) -> BinaryIO:
        """Return the file opened for the caller, who closes it."""
        with suppress(FileNotFoundError):
            return self._found()
        # Compressed or removed by now: only the handle that is open here is left.
        handle, self._handle = self.open(), None
        handle.seek(0)
        return handle

    def _found(self) -> BinaryIO:
        if (handle := self._opened(self.name.path)) is not None:
            return handle
        for name in find_logs(self.name.path.parent, diagnostics=True, recorder=True).get(self.name.base, []):
            if (handle := self._opened(name.path)) is not None:
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
        self._inflated = None
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    @property
    def spans(self) -> Sequence[Span]:
        """All its stretches in their order, from the index; none unless the index certainly describes this file."""
        if self._spans is None:
            self._spans = ()
            if self._index is not None and self.name.number:
                with suppress(OSError):  # reported when it is read
                    self._spans = self._noted(self._index)
                self.rest()
        return self._spans

    def _noted(self, index: Index) -> Sequence[Span]:
        handle = self.open()

        def read_at(offset: int, length: int) -> bytes:
            handle.seek(offset)
            return handle.read(length)

        spans = index.spans(os.fstat(handle.fileno()), read_at)
        whole = bool(spans) and (self.name.compressed or spans[-1].offset + spans[-1].length == self.size)
        return spans if whole else ()

    def pieces(self, counts: Counts, block: int = BLOCK) -> Iterator[Piece]:
        """Yield its whole lines in pieces of about *block* bytes; an error ends them and is noted in *counts*."""
        yield from self.within(0, sys.maxsize if self.name.compressed else self.size, counts, block)
        self.rest()

    def backward(self, counts: Counts) -> Iterator[bytes]:
        """Yield the same lines in pieces, the last piece first; the first ones are small."""
        with self._noting(counts):
            if self.name.compressed:
                inflater = Inflater(self.open())
                yield from whole_backward(gzip_backward(inflater))
                self._note_damage(inflater.damage, counts)
            else:
                yield from whole_backward(plain_backward(self.open(), self.size))
        self.rest()

    def piece(self, offset: int, length: int, counts: Counts) -> bytes:
        """Return the whole lines in a range of bytes. Leaves the file open."""
        return b"".join(piece.data for piece in self.within(offset, length, counts))

    def within(self, offset: int, length: int, counts: Counts, block: int = BLOCK) -> Iterator[Piece]:
        """Yield the whole lines in a range of bytes, in pieces of about *block* bytes. Leaves the file open."""
        with self._noting(counts):
            blocks = self._blocks(offset, length, block)
            for size, data in whole_forward(blocks):
                yield Piece(offset, size, data)
                offset += size
            self._note_damage(self._inflated.damage if self._inflated is not None else "", counts)

    def _blocks(self, offset: int, length: int, block: int) -> Iterator[bytes]:
        if not self.name.compressed:
            return plain_forward(self.open(), offset + length, offset, block)
        if self._inflated is None:
            self._inflated = SeekableInflater(self.open(), block)
        return self._inflated.read(offset, length)

    def lines(self, counts: Counts) -> Iterator[bytes]:
        """Yield its lines without their ends, except blank ones."""
        for piece in self.pieces(counts):
            yield from filter(None, piece.data.split(b"\n"))

    def rest(self) -> None:
        """Release the buffers of a reading, and the file unless it is held."""
        self._inflated = None
        if not self.held:
            self.close()

    @contextmanager
    def _noting(self, counts: Counts) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            counts.unreadable[self.label] = error.strerror or str(error)
            self.close()

    def _note_damage(self, damage: str, counts: Counts) -> None:
        if damage:
            counts.unreadable[self.label] = damage

    def trim(self) -> None:
        """Drop a last line without its end: it is still being written."""
        with suppress(OSError):
            end = self.size
            for block in plain_backward(self.open(), self.size):
                end -= len(block)
                if (at := block.rfind(b"\n")) >= 0:
                    end += at + 1
                    break
            self.size = end

    def beginning(self) -> bytes:
        """Return its first line, or the start of a long one; compression does not change it. May be empty."""
        return self.head(BEGINNING).partition(b"\n")[0]

    def head(self, length: int) -> bytes:
        """Return its first bytes, at most *length*. Leaves the file open."""
        handle = self.open()
        handle.seek(0)
        blocks = Inflater(handle, length) if self.name.compressed else [handle.read(length)]
        return next(iter(blocks), b"")[:length]
