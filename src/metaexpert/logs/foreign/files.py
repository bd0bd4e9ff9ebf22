"""Log files of other loggers beside ours: which there are, and reading them as if our writer had written them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from metaexpert.logs.entry import regular_number
from metaexpert.logs.foreign.dialect import HEAD, MOST_BELOW, Dialect, recognise
from metaexpert.logs.reading.files import BLOCK, Counts, Index, LogFile, LogName, Piece

if TYPE_CHECKING:
    from metaexpert.logger.entry.time_index import Span

#: The first look: most files show by their first line that they are ours.
_FIRST_LOOK: Final = 2048


class ForeignFile(LogFile):
    """A file of another logger, read as lines of ours.

    Offsets are those of the file as it is. A piece begins with an entry, so that the lines below one stay with it.

    Args:
        name: Where it was found.
        dialect: What it is.
    """

    __slots__ = ("_appname", "dialect")

    def __init__(self, name: LogName, dialect: Dialect) -> None:
        super().__init__(name)
        self.dialect = dialect
        self._appname = appname_of(name)

    @property
    def is_wanted(self) -> bool:
        """Whether it is read: it has the name of a log, or is one for certain."""
        return self.name.usual or self.dialect.certain

    @property
    def spans(self) -> Sequence[Span]:
        """None: the index is of our writer's files."""
        return ()

    def within(self, offset: int, length: int, counts: Counts, block: int = BLOCK) -> Iterator[Piece]:
        """Yield the whole entries in a range of bytes, in pieces of about *block* bytes. Leaves the file open."""
        held = Piece(offset, 0, b"")
        for piece in super().within(offset, length, counts, block):
            if len(piece.data) != piece.length:  # a line too long to be kept whole
                yield from self._translated(held)
                yield piece
                held = Piece(piece.offset + piece.length, 0, b"")
                continue
            data = held.data + piece.data
            cut = self.dialect.last_beginning(data) if self.dialect.layouts else len(data)
            cut = cut or (len(data) if len(data) > block + MOST_BELOW else 0)
            yield from self._translated(Piece(held.offset, cut, data[:cut]))
            held = Piece(held.offset + cut, len(data) - cut, data[cut:])
        yield from self._translated(held)

    def _translated(self, piece: Piece) -> Iterator[Piece]:
        if piece.length:
            yield piece._replace(data=self.dialect.translate(piece.data, self._appname))

    def backward(self, counts: Counts) -> Iterator[bytes]:
        """Yield the same lines in pieces, the last piece first; the first ones are small."""
        below = b""
        for data in super().backward(counts):
            whole = data + below
            cut = self.dialect.first_beginning(whole) if self.dialect.layouts else 0
            yield self.dialect.translate(whole[cut:], self._appname)
            below = whole[:cut]
            if len(below) > MOST_BELOW:
                yield below
                below = b""
        yield below


def appname_of(name: LogName) -> str:
    """Return the program that a file is named after."""
    return name.base.partition(".")[0] or name.base


def log_files(names: Iterable[LogName], index: Index | None = None) -> Iterator[LogFile]:
    """Yield the files of a chain that still exist, of other logger's kind where they are recognised; maybe open.

    Args:
        names: The newest first. When one begins with a line of ours, the older ones are ours too.
        index: The writer's index of the directory.
    """
    ours = False
    for name in names:
        with suppress(FileNotFoundError):
            if name.path.suffix == ".parquet":
                from metaexpert.logs.archive.files import ArchiveFile  # noqa: PLC0415 - few directories are archives

                yield ArchiveFile(name)
                continue
            file = LogFile(name, index)
            if not ours:
                ours, dialect = _first_look(file)
                if dialect is not None:
                    file.close()
                    file = ForeignFile(name, dialect)
            yield file


def _first_look(file: LogFile) -> tuple[bool, Dialect | None]:
    """Return whether a file certainly is ours, and what it is if it is another logger's."""
    with suppress(OSError):  # reported when it is read
        head = file.head(_FIRST_LOOK)
        if regular_number(head.partition(b"\n")[0]):
            return True, None
        return False, recognise(file.head(HEAD))
    return False, None


def log_file(name: LogName) -> LogFile:
    """Return the file that was found under *name*.

    Raises:
        FileNotFoundError: There is no such file.
    """
    for file in log_files([name]):
        return file
    raise FileNotFoundError(2, "it was removed meanwhile")
