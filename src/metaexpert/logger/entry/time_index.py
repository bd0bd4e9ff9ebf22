"""The time index of a directory: the times and levels in each stretch of its backups.

The writer keeps it (`metaexpert.logger.files._indexer`), and the reader finds in it which stretches it can skip. The
index only saves time. A backup that has no line in it, or that has changed since, is read as a whole. The format is in
``docs/journal.md``.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from metaexpert.logger import schema

#: Name of the file in the private directory, and its first line. Another format needs another name, so that two
#: versions in one directory do not delete each other's index.
NAME: Final = "index"
HEADER: Final = b"metaexpert time index 1\n"
#: Bytes at the beginning and at the end of a file by which it is recognised.
EDGE: Final = 4096


class Span(NamedTuple):
    """A stretch of whole lines: where it is, its earliest and latest time, and the number of its highest level.

    Offset and length are those of the uncompressed data. Times are as in the lines, without the Z.
    """

    offset: int
    length: int
    low: bytes
    high: bytes
    level: int

    @property
    def regular(self) -> bool:
        """Whether each line is as our writer writes it; otherwise the times are `any_time`'s."""
        return bool(self.low)


def any_time(offset: int, length: int) -> Span:
    """Return a stretch that may hold lines of any time, level and form."""
    return Span(offset, length, b"", b"~", schema.CRITICAL)


def key_of(status: os.stat_result, read_at: Callable[[int, int], bytes]) -> bytes:
    """Return the key of a backup, which stays the same when the file is renamed or copied.

    It consists of the size, the time of modification, and a checksum of both ends, which distinguishes files of the
    same size and time. Edits, appends and truncations change size or time. An edit that changes neither (of the same
    size, and within a tick of the file system's clock or with the time set back) does not happen by accident. A
    compressed file has the checksum of all its data at its end.

    Args:
        status: The status of the open file.
        read_at: Returns bytes of the file, from an offset (first argument) and up to a number (second). Raises OSError.
    """
    edges = read_at(0, EDGE) + read_at(max(0, status.st_size - EDGE), EDGE)
    return b"%b-%08x" % (stamp_of(status.st_size, status.st_mtime_ns), zlib.crc32(edges))


def stamp_of(size: int, modified: int) -> bytes:
    """Return the part of a key that needs no look into the file; *modified* is in nanoseconds."""
    return b"%d-%d" % (size, modified)


def line_of(key: bytes, spans: Iterable[Span]) -> bytes:
    """Return the line of the file with that *key*. No spans mean that nothing is known of it."""
    rows = [(span.length, span.low.decode(), span.high.decode(), span.level) for span in spans]
    text = orjson.dumps(rows)
    return b"%b %08x %b\n" % (key, _checksum(key, text), text)


def spans_of(line: bytes) -> list[Span]:
    """Return the stretches of a file from its line, in order; none if the line is empty or damaged."""
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
    """Return the lines of the index at *path* by the keys of their files; none if it is not an index.

    Raises:
        OSError: It cannot be read.
    """
    # Here, since many directories have no index.
    from metaexpert.logger.system.descriptors import Descriptor, open_private  # noqa: PLC0415

    with Descriptor.at(path, os.O_RDONLY, opener=open_private) as file:
        if file.read_at(0, len(HEADER)) != HEADER:
            return {}
        lines = io.BytesIO(b"".join(file.pieces(len(HEADER))))
    return {line.partition(b" ")[0]: line for line in lines}


def _checksum(key: bytes, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(key))
