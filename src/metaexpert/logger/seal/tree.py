"""The Merkle tree of RFC 6962 (section 2.1, as RFC 9162 keeps it) in the tiles of C2SP tlog-tiles. Opens nothing.

Functions take a `Nodes`: it returns the hash of the perfect subtree of a height and index. So a proof costs what it
looks at, whether the hashes come from memory or from tiles on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

#: Bytes of a hash, and hashes of a full tile (tlog-tiles, "Merkle Tree").
HASH: Final = 32
WIDTH: Final = 256
_HEIGHT: Final = 8
#: Hashes between two calls of what lets other threads go on: some 30 microseconds.
_BREATH: Final = 32
#: The root of the empty tree (RFC 6962, section 2.1).
EMPTY: Final = sha256().digest()

#: Returns the hash of the perfect subtree of a height and index. Raises LookupError for one that is not there.
Nodes = Callable[[int, int], bytes]
#: Returns the hashes of a tile's level, from an index, so many.
Entries = Callable[[int, int, int], bytes]


def leaf_hash(line: bytes) -> bytes:
    """Return the hash of a leaf: a line of the log without its newline."""
    return sha256(b"\0" + line).digest()


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def fold(hashes: bytes, breathe: Callable[[], object] = bool) -> bytes:
    """Return the root over a power of two of joined *hashes*; *breathe* is called now and then."""
    while len(hashes) > HASH:
        joined = bytearray()
        for offset in range(0, len(hashes), 2 * HASH):
            joined += sha256(b"\1" + hashes[offset : offset + 2 * HASH]).digest()
            if len(joined) % (_BREATH * HASH) == 0:
                breathe()
        hashes = bytes(joined)
    return hashes


def nodes_of(entries: Entries) -> Nodes:
    """Return the subtrees of a tree that is in tiles."""

    def node(height: int, index: int) -> bytes:
        level, inside = divmod(height, _HEIGHT)
        return fold(entries(level, index << inside, 1 << inside))

    return node


def nodes_of_leaves(leaves: Sequence[bytes], first: int = 0, below: Nodes | None = None) -> Nodes:
    """Return the subtrees of a tree whose leaf hashes are in memory.

    Args:
        leaves: The leaf hashes from *first* on.
        first: The index of the first of them.
        below: Subtrees of the leaves before it.
    """
    levels, base = [(first, leaves)], first
    while len(leaves) > 1:
        begin, base = base & 1, (base + 1) >> 1
        leaves = [_join(leaves[at], leaves[at + 1]) for at in range(begin, len(leaves) - 1, 2)]
        levels.append((base, leaves))

    def node(height: int, index: int) -> bytes:
        base, found = levels[height] if height < len(levels) else (first, ())
        if base <= index < base + len(found):
            return found[index - base]
        if (index + 1) << height <= first and below is not None:
            return below(height, index)
        if height == 0:
            raise LookupError(f"there is no leaf {index}")
        return _join(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))

    return node


def root(size: int, nodes: Nodes) -> bytes:
    """Return the root of the tree of the first *size* leaves."""
    return _root(0, size, nodes) if size else EMPTY


def _root(start: int, end: int, nodes: Nodes) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        height = size.bit_length() - 1
        return nodes(height, start >> height)
    middle = start + _split(size)
    return _join(_root(start, middle, nodes), _root(middle, end, nodes))


def _split(size: int) -> int:
    """Return the largest power of two below *size*."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that leaf *index* is in the tree of *size* leaves, from the leaf up (RFC 6962, 2.1.1)."""
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_root(middle, end, nodes))
            end = middle
        else:
            path.append(_root(start, middle, nodes))
            start = middle
    return path[::-1]


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to (RFC 9162, 2.1.3.2); None when it fits no tree of *size* leaves."""
    if not 0 <= index < size:
        return None
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            result = _join(sibling, result)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            result = _join(result, sibling)
        node, last = node >> 1, last >> 1
    return result if last == 0 else None


class Tree:
    """A tree that grows: of each level of tiles it holds the last one, which is not full yet.

    Args:
        size: Leaves in it.
        tiles: The partial tile of each level, as joined hashes.
        on_full: Called with level, number and hashes of each tile that has become full.
    """

    def __init__(
        self, size: int = 0, tiles: Sequence[bytes] = (), on_full: Callable[[int, int, bytes], object] = lambda *_: None
    ) -> None:
        self.size = size
        self.tiles = [bytearray(tile) for tile in tiles]
        self._on_full = on_full

    def add(self, leaf: bytes, breathe: Callable[[], object] = bool) -> None:
        """Append a leaf hash."""
        self.size += 1
        level, value = 0, leaf
        while True:
            if level == len(self.tiles):
                self.tiles.append(bytearray())
            tile = self.tiles[level]
            tile += value
            if len(tile) < WIDTH * HASH:
                return
            full = bytes(tile)
            self._on_full(level, (self.size >> (_HEIGHT * (level + 1))) - 1, full)
            tile.clear()
            level, value = level + 1, fold(full, breathe)

    def root(self) -> bytes:
        """Return its root."""

        def entries(level: int, start: int, count: int) -> bytes:
            begin = (start % WIDTH) * HASH
            return bytes(self.tiles[level][begin : begin + count * HASH])

        return root(self.size, nodes_of(entries))

    def partial_tiles(self) -> list[tuple[int, int, bytes]]:
        """Return level, number and hashes of the tiles at the right edge."""
        found = enumerate(self.tiles)
        return [(level, self.size >> (_HEIGHT * (level + 1)), bytes(tile)) for level, tile in found if tile]


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Return where a tile lies below its log (tlog-tiles, "Merkle Tree" and "Partial Tiles")."""
    digits = f"{number:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")
