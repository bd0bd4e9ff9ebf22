"""Bytes of a file in blocks, and lines out of blocks: forwards and backwards, plain and gzip.

Memory is bounded by a few blocks and the longest line, whatever the size of the file. Reading backwards makes the
last entries of a file as cheap as its length is irrelevant; a gzip file is inflated twice for it, once to note
resting points and once from each of them, last first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final

FORWARD_BLOCK: Final = 1 << 20
#: Small, because most readers want only the end of a file.
BACKWARD_BLOCK: Final = 1 << 16
_COMPRESSED_BLOCK: Final = 1 << 16
#: Inflated blocks between two resting points; one point costs about 50 KB.
_STRIDE: Final = 4
# zlib: 15 is the largest window, 16 more asks for a gzip header.
_GZIP: Final = 31


def lines_forward(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of *blocks* without their ends, blank ones left out; the last also when its end is missing."""
    parts: list[bytes] = []
    for block in blocks:
        first, *others = block.split(b"\n")
        parts.append(first)
        if others:
            others.insert(0, b"".join(parts))
            parts = [others.pop()]
            yield from filter(None, others)
    if any(parts):
        yield b"".join(parts)


def lines_backward(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same lines in reverse, from *blocks* that come last first."""
    parts: list[bytes] = []
    for block in blocks:
        *others, last = block.split(b"\n")
        parts.append(last)
        if others:
            others.append(b"".join(reversed(parts)))
            parts = [others.pop(0)]
            yield from filter(None, reversed(others))
    if any(parts):
        yield b"".join(reversed(parts))


def plain_forward(handle: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first *size* bytes of a file in blocks."""
    position = 0
    while position < size:
        handle.seek(position)
        block = handle.read(min(FORWARD_BLOCK, size - position))
        if not block:  # somebody truncated it
            return
        position += len(block)
        yield block


def plain_backward(handle: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first *size* bytes of a file in blocks, the last block first."""
    end = size
    while end > 0:
        start = max(0, end - BACKWARD_BLOCK)
        handle.seek(start)
        yield handle.read(end - start)
        end = start


class Inflater:
    """Inflates a gzip file block by block. Damage ends the data; what came before it stands.

    Args:
        handle: The open file; its position is moved.

    Attributes:
        damage: What is wrong with the file, empty when nothing is.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self.damage = ""
        self._handle = handle
        self._position = 0
        self._pending = b""
        self._engine = zlib.decompressobj(_GZIP)
        self._begun = False

    def copy(self) -> Inflater:
        """Return another inflater that goes on from here."""
        twin = Inflater(self._handle)
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
        except zlib.error as error:
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
        block = self._engine.decompress(self._pending, FORWARD_BLOCK)
        self._pending = self._engine.unconsumed_tail
        if self._engine.eof:  # another member may follow
            self._pending = self._engine.unused_data
            self._engine, self._begun = zlib.decompressobj(_GZIP), False
        return block


def gzip_backward(inflater: Inflater) -> Iterator[bytes]:
    """Yield what *inflater* (a fresh one) would yield, the last block first."""
    points = [inflater.copy()]
    for number, _ in enumerate(inflater, start=1):
        if number % _STRIDE == 0:
            points.append(inflater.copy())
    while points:
        yield from reversed(list(islice(points.pop(), _STRIDE)))
