"""The time index of a directory: which times and levels the stretches of its backups hold.

The writer keeps it (`metaexpert.logger.files._indexer`), the reader looks there what it need not read. It only saves
time: whatever has no line in it, or is no longer just what the line was made from, is read as if there were no index.
The format is in ``docs/journal.md``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

#: Name of the file in the private directory, and its first line. A later format gets another name, so that two
#: versions at work in one directory do not throw away each other's.
NAME: Final = "index"
HEADER: Final = b"metaexpert time index 1\n"
#: Bytes at the beginning and at the end of a file that are looked at to know it again.
EDGE: Final = 4096


class Span(NamedTuple):
    """A stretch of whole lines: where it is, its earliest and latest time, and the number of its highest level.

    Offset and length are those of the inflated data, times as they stand in the lines, without the Z.
    """

    offset: int
    length: int
    low: bytes
    high: bytes
    level: int


def key_of(status: os.stat_result, read_at: Callable[[int, int], bytes]) -> bytes:
    """Return what a backup is known by, wherever it was renamed or copied to.

    Size, time of modification, and a checksum of both ends. The ends tell files of one size and one moment apart. An
    edit, an append and a truncation change size or time; an edit that does not (of the same size, within the tick of
    the file system's clock in which the file was last written, or with its time put back) is nobody's accident. A
    compressed file bears the checksum of all its data at its end.

    Args:
        status: Of the open file.
        read_at: Returns so many of its bytes (the second argument) from an offset (the first) on. Raises OSError.
    """
    edges = read_at(0, EDGE) + read_at(max(0, status.st_size - EDGE), EDGE)
    return b"%b-%08x" % (stamp_of(status), zlib.crc32(edges))


def stamp_of(status: os.stat_result) -> bytes:
    """Return the part of a key that is known without opening the file."""
    return b"%d-%d" % (status.st_size, status.st_mtime_ns)


def line_of(key: bytes, spans: Iterable[Span]) -> bytes:
    """Return the line of the file of that *key*; no spans say that nothing can be said of it."""
    rows = [(span.length, span.low.decode(), span.high.decode(), span.level) for span in spans]
    text = orjson.dumps(rows)
    return b"%b %08x %b\n" % (key, _checksum(key, text), text)


def spans_of(line: bytes) -> list[Span]:
    """Return the stretches of a file from its line, in their order; none when it says nothing, or is damaged."""
    spans: list[Span] = []
    offset = 0
    try:
        key, checksum, text = line.rstrip(b"\n").split(b" ", 2)
        if int(checksum, 16) != _checksum(key, text):
            return []
        for length, low, high, level in orjson.loads(text):
            spans.append(Span(offset, int(length), low.encode(), high.encode(), int(level)))
            offset += int(length)
    except (ValueError, TypeError, AttributeError):
        return []
    return spans


def lines_by_key(path: Path) -> dict[bytes, bytes]:
    """Return the lines of the index at *path* by the keys of their files; none when it is no index.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if file.readline() != HEADER:
            return {}
        return {line.partition(b" ")[0]: line for line in file}


def _checksum(key: bytes, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(key))
