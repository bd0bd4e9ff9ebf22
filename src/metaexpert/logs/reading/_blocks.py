"""Bytes of a file in blocks, and lines out of blocks: forwards and backwards, plain and gzip.

Memory is bounded by a few blocks and the longest line, for files of any size. Reading backwards finds the last entries
without reading the rest. A gzip file is inflated twice for it: once to save checkpoints, and once from each of them,
last first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any, BinaryIO, Final

FORWARD_BLOCK: Final = 1 << 20
#: Small, because most readers want only the end of a file; further blocks are larger.
BACKWARD_BLOCK: Final = 1 << 16
_COMPRESSED_BLOCK: Final = 1 << 16
#: Most lines are shorter.
_NEAR: Final = 4096
#: Longer lines are cut, so that a file without line ends cannot fill the memory. Our entries have at most 256 KiB by
#: default (``max_entry_size``), a few times that when every character is escaped.
LONGEST_LINE: Final = 8 << 20
#: Bytes kept of a longer line.
KEPT: Final = 1 << 16
#: Inflated blocks between two checkpoints; a checkpoint takes about 50 KB.
_STRIDE: Final = 4
#: Most checkpoints of one file.
_MOST_CHECKPOINTS: Final = 64
# zlib: 15 is the largest window, 16 more asks for a gzip header.
_GZIP: Final = 31


def whole_forward(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield *blocks* cut at line ends: how many bytes of the file, and these whole lines with their ends.

    The last line may have no end. A line longer than `LONGEST_LINE` is cut to its beginning, with a mark that says how
    many bytes were cut.
    """
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if not end:
            parts.append(block)
            size += len(block)
            parts = [b"".join(parts)[:KEPT]] if size > LONGEST_LINE else parts
            continue
        first = block.find(b"\n") + 1 if size > LONGEST_LINE else 0
        if first:
            yield size + first, _cut(parts[0], size + first - 1)
            parts, size = [], 0
        if end > first:  # one part alone is not copied
            yield size + end - first, b"".join([*parts, block[first:end]])
        parts, size = [block[end:]] if end < len(block) else [], len(block) - end
    if size:
        yield size, _cut(parts[0], size) if size > LONGEST_LINE else b"".join(parts)


def whole_backward(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same lines in larger or smaller pieces, the last piece first, from *blocks* that come last first.

    Yields an empty piece when it meets a line that is longer than `LONGEST_LINE`, whose beginning may be far away.
    """
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        start = block.find(b"\n") + 1
        parts.append(block[start:])
        size += len(block) - start
        if not start:
            if size > LONGEST_LINE:
                if size - len(block) <= LONGEST_LINE:  # once for each such line
                    yield b""
                parts = [b"".join(reversed(parts))[:KEPT]]
            continue
        if size - len(parts[-1]) > LONGEST_LINE:
            last = block.rfind(b"\n") + 1
            head = (block[last:] + b"".join(reversed(parts[:-1])))[:KEPT]
            parts = [_cut(head, size - (last - start) - 1), block[start:last]]
        if any(parts):
            yield b"".join(reversed(parts))
        parts, size = [block[:start]], start
    if size:
        yield _cut(parts[0], size - 1) if size > LONGEST_LINE else b"".join(reversed(parts))


def _cut(head: bytes, size: int) -> bytes:
    return b"%b\xe2\x80\xa6[cut %d]\n" % (head[:KEPT], size - KEPT)


def plain_forward(handle: BinaryIO, size: int, start: int = 0, block_size: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file from *start* up to *size* in blocks, which end with a line where they can."""
    position = start
    while position < size:
        stop = min(position + (block_size or FORWARD_BLOCK), size)
        if stop < size:
            stop = _line_end(handle, max(position, stop - _NEAR), stop) or stop
        handle.seek(position)
        block = handle.read(stop - position)
        if not block:  # it was truncated meanwhile
            return
        position += len(block)
        yield block


def _line_end(handle: BinaryIO, start: int, stop: int) -> int:
    """Return where the last line that ends in this range of a file ends; 0 for none.

    To read this before the block is cheaper than to copy the block without the beginning of a line.
    """
    handle.seek(start)
    end = handle.read(stop - start).rfind(b"\n") + 1
    return start + end if end else 0


def plain_backward(handle: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first *size* bytes of a file in blocks, the last block first, each larger than the one before."""
    end, step = size, BACKWARD_BLOCK
    while end > 0:
        start = max(0, end - step)
        handle.seek(start)
        yield handle.read(end - start)
        end, step = start, min(step * 2, max(FORWARD_BLOCK, BACKWARD_BLOCK))


def _library() -> Any:
    """Return zlib-ng where it is installed, which takes two thirds of the time; otherwise Python's zlib."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return zlib


class Inflater:
    """Inflates a gzip file block by block. Damage ends the data; the blocks before it are valid.

    Args:
        handle: The open file; its position is moved.
        block: The most bytes of a block; a megabyte when left out.

    Attributes:
        damage: Description of damage; empty for none.
    """

    def __init__(self, handle: BinaryIO, block: int = 0) -> None:
        self.damage = ""
        self._block = block or FORWARD_BLOCK
        self._handle = handle
        self._position = 0
        self._pending = b""
        self._library = _library()
        self._engine = self._library.decompressobj(_GZIP)
        self._begun = False

    def copy(self) -> Inflater:
        """Return another inflater that goes on from here."""
        twin = Inflater(self._handle, self._block)
        twin._position, twin._pending = self._position, self._pending
        twin._engine, twin._begun = self._engine.copy(), self._begun
        return twin

    def __iter__(self) -> Iterator[bytes]:
        while block := self._next():
            yield block

    def _next(self) -> bytes:
        try:
            while self._pending or self._refill():
                block = self._inflate()
                if block:
                    return block
            rest = self._engine.flush() if self._begun else b""
        except self._library.error as error:
            self.damage = f"damaged gzip data ({error})"
            return b""
        if self._begun and not self._engine.eof:
            self.damage = "the gzip data ends too early"
        self._begun = False
        return rest

    def _refill(self) -> bool:
        self._handle.seek(self._position)
        self._pending = self._handle.read(_COMPRESSED_BLOCK)
        self._position += len(self._pending)
        return bool(self._pending)

    def _inflate(self) -> bytes:
        if not self._begun:  # zeros between members are padding
            self._pending = self._pending.lstrip(b"\0")
            self._begun = bool(self._pending)
        block: bytes = self._engine.decompress(self._pending, self._block)
        self._pending = self._engine.unconsumed_tail
        if self._engine.eof:  # another member may follow
            self._pending = self._engine.unused_data
            self._engine, self._begun = self._library.decompressobj(_GZIP), False
        return block


def gzip_backward(inflater: Inflater) -> Iterator[bytes]:
    """Yield what *inflater* (a fresh one) would yield, the last block first."""
    checkpoints = [inflater.copy()]
    for number, _ in enumerate(inflater, start=1):
        if number % _STRIDE == 0:
            checkpoints.append(inflater.copy())
    while checkpoints:
        yield from reversed(list(islice(checkpoints.pop(), _STRIDE)))


class SeekableInflater:
    """Reads ranges of a gzip file: as cheap as reading it once when they come in order.

    Going back inflates again from a checkpoint. There are at most `_MOST_CHECKPOINTS`, made on the first way back.

    Args:
        handle: The open file; its position is moved.
        block: The most bytes of a block; a megabyte when left out.
    """

    def __init__(self, handle: BinaryIO, block: int = 0) -> None:
        self._checkpoints = [(0, Inflater(handle, block))]
        self._live = self._checkpoints[0][1].copy()
        self._block = b""
        self._begin = 0
        self._stride = 0

    @property
    def damage(self) -> str:
        """Description of damage met so far; empty for none."""
        return self._live.damage

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes from *offset* on in blocks."""
        if offset < self._begin:
            self._go_back(offset)
        while length > 0:
            end = self._begin + len(self._block)
            if offset >= end:
                if not self._advance():
                    return
                continue
            part = self._block[offset - self._begin : offset - self._begin + length]
            offset, length = offset + len(part), length - len(part)
            yield part

    def _advance(self) -> bool:
        self._begin += len(self._block)
        if self._stride and self._begin >= self._checkpoints[-1][0] + self._stride:
            self._checkpoints.append((self._begin, self._live.copy()))
            if len(self._checkpoints) > _MOST_CHECKPOINTS:
                self._checkpoints, self._stride = self._checkpoints[::2], self._stride * 2
        self._block = next(iter(self._live), b"")
        return bool(self._block)

    def _go_back(self, offset: int) -> None:
        self._stride = self._stride or _STRIDE * FORWARD_BLOCK
        begin, inflater = next(point for point in reversed(self._checkpoints) if point[0] <= offset)
        self._begin, self._block, self._live = begin, b"", inflater.copy()
