"""Makes the time index of a directory's backups (see `metaexpert.logger.entry.time_index`), for the archivist.

Looks at all bytes of a backup once, in small pieces, since trading threads wait for the interpreter meanwhile: a piece
of 16 KB takes about 50 microseconds, and none of theirs where the core looks. A piece with a line that is not as our
writer writes it (torn, foreign, damaged) is a stretch of any time and level: the reader always reads it, and finds
where such a line belongs.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from metaexpert.logger import schema
from metaexpert.logger.entry import time_index
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.time_index import Span
from metaexpert.logger.system.descriptors import Descriptor, written_beside
from metaexpert.logger.system.native import core

#: Most bytes of a stretch; the reader reads whole stretches.
STRETCH: Final = 1 << 20
#: Bytes looked at without letting other threads in.
PIECE: Final = 1 << 14
#: A longer line is not kept in memory; its stretch is one of any time.
_LONGEST_LINE: Final = 1 << 20
_TEXT: Final = rb'"[^"\\\n]*+"'
#: The end of a line and the whole header of the next, in which nothing is escaped.
_HEADER: Final = lazy_pattern(
    rb'\}\n\{"timestamp":"([0-9T:.-]{26})Z","level":"(debug|info|warning|error|critical)","severity":\d,'
    rb'"facility":\d++,"version":1,"hostname":' + _TEXT + rb',"appname":' + _TEXT + rb',"procid":' + _TEXT + rb","
    rb'"msgid":' + _TEXT + rb',"sequence_id":\d{1,18}+,"message":"'
)
#: An escape sequence for a letter: behind it a second level could hide.
_LETTER: Final = lazy_pattern(rb"\\u00[67]")
_LEVELS: Final = {word.encode(): number for word, number in schema.LEVEL_NUMBERS.items()}
#: What the core says of lines, without the interpreter lock, if all are as usual: times and level. It never says more
#: than `Indexer._take` finds.
_survey: Final[Callable[[bytes], tuple[bytes, bytes, bytes] | None]] = getattr(core, "survey", lambda _: None)
# zlib: 15 is the largest window, 16 more asks for a gzip header.
_GZIP: Final = 31


class Indexer:
    """Finds the stretches of one file whose bytes it is given from the first to the last.

    Holds back part of a line, at most a megabyte. Not for several threads.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._offset = 0
        self._open: Span | None = None
        self._rest = b""
        self._cut = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes, about a `PIECE` of them."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end:
            self._take(data[:end])
        if len(self._rest) > _LONGEST_LINE:
            self._cut, self._rest = self._cut + len(self._rest), b""

    def spans(self) -> list[Span]:
        """Return all stretches, when all bytes were given."""
        if self._rest or self._cut:  # the last line has no end
            self._join(time_index.any_time(self._offset, self._cut + len(self._rest)))
            self._rest, self._cut = b"", 0
        return [*self._spans, self._open] if self._open is not None else []

    def _take(self, lines: bytes) -> None:
        length, self._cut = self._cut + len(lines), 0
        regular = None if length > len(lines) else _survey(lines)
        if regular is not None:
            low, high, word = regular
            self._join(Span(self._offset, length, low, high, _LEVELS[word]))
            self._offset += length
            return
        found = _HEADER.findall(b"}\n" + lines)
        count = lines.count(b"\n")
        if length > len(lines) or len(found) < count or not lines.endswith(b"}\n") or b"\0" in lines:
            self._join(time_index.any_time(self._offset, length))
            self._offset += length
            return
        times, words = zip(*found, strict=True)
        level = max(_LEVELS[word] for word in set(words))
        # The header says it, unless the line is another program's and says it twice.
        if lines.count(b'"level"') != count or (b"\\" in lines and _LETTER.search(lines)):
            level = schema.CRITICAL
        self._join(Span(self._offset, length, min(times), max(times), level))
        self._offset += length

    def _join(self, new: Span) -> None:
        old = self._open
        if old is None or old.length + new.length > STRETCH or old.regular != new.regular:
            self._spans += [old] if old is not None else []
            self._open = new
        else:
            self._open = Span(
                old.offset,
                old.length + new.length,
                min(old.low, new.low),
                max(old.high, new.high),
                max(old.level, new.level),
            )


class Index:
    """The index of a directory while it is at work on. One process at a time, and one thread.

    Args:
        private: The private directory, where it lies.
    """

    def __init__(self, private: Path) -> None:
        self._path = private / time_index.NAME
        self._lines: dict[bytes, bytes] = {}
        self._changed = False

    def load(self) -> None:
        """Read the file; there may be none. Raises OSError."""
        with suppress(FileNotFoundError):
            self._lines = time_index.lines_by_key(self._path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._lines

    @property
    def stamps(self) -> set[bytes]:
        """The stamps of the files that it knows (`time_index.stamp_of`)."""
        return {key.rpartition(b"-")[0] for key in self._lines}

    def note(self, key: bytes, spans: Iterable[Span]) -> None:
        """Take in what a file holds."""
        self._lines[key] = time_index.line_of(key, spans)
        self._changed = True

    def keep(self, stamps: Collection[bytes]) -> None:
        """Drop all files but those with these stamps."""
        kept = {key: line for key, line in self._lines.items() if key.rpartition(b"-")[0] in stamps}
        self._changed = self._changed or len(kept) < len(self._lines)
        self._lines = kept

    def save(self) -> None:
        """Replace the file, if something changed. Raises OSError; the old one then stays."""
        if not self._changed:
            return
        written_beside(self._path, b"".join([time_index.HEADER, *self._lines.values()])).replace(self._path)
        self._changed = False


def key_of(file: Descriptor) -> bytes:
    """Return the key of an open file. Raises OSError."""
    key = time_index.key_of(os.fstat(file.fd), file.read_at)
    file.check()  # else it is that of somebody else's
    return key


def spans_of(file: Descriptor, look: Callable[[], None], *, compressed: bool) -> list[Span]:
    """Return the stretches of a backup; none when nothing can be said of it.

    Args:
        file: The open file. It is read in pieces.
        look: Called before each piece; what it raises ends the work.
        compressed: Whether it is a gzip file.

    Raises:
        OSError: It cannot be read.
    """
    indexer = Indexer()
    pieces = file.pieces(size=PIECE)
    try:
        for piece in _inflated(pieces) if compressed else pieces:
            look()
            indexer.add(piece)
    except zlib.error:  # damaged, or not as the archivist compresses: the reader tells of damage when it reads it
        return []
    return indexer.spans()


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    engine = zlib.decompressobj(_GZIP)
    for piece in pieces:
        pending = piece
        while pending and not engine.eof:
            yield engine.decompress(pending, PIECE)
            pending = engine.unconsumed_tail
        if engine.unused_data or pending:
            raise zlib.error("something follows the data")
    yield engine.flush()
    if not engine.eof:
        raise zlib.error("the data end too early")
