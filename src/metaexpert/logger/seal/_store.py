"""What the writer keeps of a seal on the disk, in files that only their owner may read.

Everything is written beside and renamed, or has a length that another file names, so that a kill at any moment leaves
the old or the new. All under the lock of the directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.seal.keys import Keys
from metaexpert.logger.seal.note import FormatError, VerifierKey, decoded, encoded
from metaexpert.logger.seal.tree import HASH, WIDTH, Tree, tile_path
from metaexpert.logger.system.descriptors import (
    Descriptor,
    give_to_owner,
    give_to_owner_above,
    make_private_directory,
    open_private,
    read_file,
    written_beside,
)

#: In the private directory of the logs.
DIRECTORY: Final = "seal"
_MODE: Final = 0o600
_CORRUPT: Final = (FormatError, ValueError, KeyError, TypeError, LookupError)


class SealError(Exception):
    """What is on the disk cannot be gone on with; the message says why."""


@dataclass
class State:
    """How far the tree has read. It proves nothing.

    Attributes:
        file: Name of the log.
        origin: Name of the tree.
        size: Leaves in it.
        tiles: Its partial tiles.
        files: Of each file that retention leaves: the hash of its first line, and the index of that.
        offset: Bytes of the last of them that are in the tree.
        pruned: Tiles of the lowest level that were deleted.
        backups: Backups that retention keeps; 0 for all.
        rotating: Whether a rotation may be under way: it deletes the oldest backup first.
        budget: Whether a budget deletes backups too.
    """

    file: str
    origin: str
    size: int = 0
    tiles: list[bytes] = field(default_factory=list)
    files: list[tuple[bytes, int]] = field(default_factory=list)
    offset: int = 0
    pruned: int = 0
    backups: int = 0
    rotating: bool = False
    budget: bool = False

    def dump(self) -> bytes:
        """Return it as JSON."""
        files = [[encoded(first), start] for first, start in self.files]
        return json.dumps({**vars(self), "tiles": list(map(encoded, self.tiles)), "files": files}).encode()

    @classmethod
    def load(cls, data: bytes) -> State:
        """Read it. Raises SealError."""
        try:
            found: dict[str, Any] = json.loads(data)
            tiles = [decoded(tile) for tile in found.pop("tiles")]
            files = [(decoded(first), int(start)) for first, start in found.pop("files")]
            state = cls(**found, tiles=tiles, files=files)
            if [len(tile) // HASH for tile in tiles] != [state.size >> 8 * n & 255 for n in range(len(tiles))]:
                raise ValueError("its tiles do not fit its size")
        except _CORRUPT as error:
            raise SealError(f"state is damaged: {error}") from error
        return state


@dataclass
class Secrets:
    """The current keys, and what goes with them.

    Attributes:
        keys: The keys.
        length: Bytes of the file of seals.
        sealed: Time of the last seal, in seconds since the epoch; 0 for none.
        size: Lines in it.
        anchored: Time of the last seal that was sent as an anchor.
        handed: When the verification key was handed out; 0 for never.
    """

    keys: Keys
    length: int = 0
    sealed: float = 0.0
    size: int = 0
    anchored: float = 0.0
    handed: float = 0.0

    def dump(self) -> bytes:
        """Return it as JSON."""
        keys = self.keys
        texts = {
            "number": keys.number,
            "private": encoded(keys.private),
            "later": [[way, encoded(private)] for way, private in keys.later],
            "certificates": list(map(encoded, keys.certificates)),
        }
        return json.dumps({**vars(self), "keys": texts}).encode()

    @classmethod
    def load(cls, data: bytes) -> Secrets:
        """Read it. Raises SealError."""
        try:
            found: dict[str, Any] = json.loads(data)
            keys = found.pop("keys")
            later = [(str(way), decoded(private)) for way, private in keys["later"]]
            certificates = [decoded(certificate) for certificate in keys["certificates"]]
            return cls(Keys(int(keys["number"]), decoded(keys["private"]), later, certificates), **found)
        except _CORRUPT as error:
            raise SealError(f"keys is damaged: {error}") from error


class Store:
    """The files of one seal.

    Args:
        private: The private directory of the logs.
    """

    def __init__(self, private: Path) -> None:
        self.path = private / DIRECTORY
        self._state, self._keys = self.path / "state", self.path / "keys"

    @property
    def exists(self) -> bool:
        """Whether a seal has been begun here."""
        return self._keys.exists()

    def create(self, file: str) -> None:
        """Begin a seal of the log *file*: a name, keys, an empty tree. Raises OSError."""
        if (self.path / "seals.jsonl").exists():
            raise SealError("there are seals, but no keys to go on with")
        make_private_directory(self.path)
        give_to_owner_above(self.path)
        keys, public = Keys.create()
        origin = f"metaexpert/{os.urandom(8).hex()}"
        self.replace("vkey", f"{VerifierKey(origin, public)}\n".encode())
        self.replace("state", State(file, origin).dump())
        self.replace("keys", Secrets(keys).dump())  # last: they say that all is there

    def state(self) -> bytes:
        """Return the bytes of the state. Raises SealError."""
        return self._read(self._state)

    def secrets(self) -> Secrets:
        """Return the keys. Raises SealError."""
        return Secrets.load(self._read(self._keys))

    @property
    def key(self) -> VerifierKey:
        """The verification key. Raises SealError."""
        try:
            return VerifierKey.parse(self._read(self.path / "vkey").decode("ascii", "replace"))
        except FormatError as error:
            raise SealError(f"vkey: {error}") from error

    def _read(self, path: Path) -> bytes:
        try:
            return read_file(path)
        except FileNotFoundError:
            raise SealError(f"{path.name} is gone") from None

    def replace(self, name: str, data: bytes) -> None:
        """Replace a file. Raises OSError."""
        path = self.path / name
        part = written_beside(path, data, _MODE)
        give_to_owner(part, self.path)
        part.replace(path)

    def _make_above(self, path: Path) -> None:
        missing = [directory for directory in path.parents if not directory.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            give_to_owner_above(directory)

    def replace_keys(self, secrets: Secrets) -> None:
        """Replace the keys, and overwrite the ones of before. Raises OSError."""
        if os.name == "nt":  # which renames over no open file
            self.replace("keys", secrets.dump())
            return
        with Descriptor.at(self._keys, os.O_RDWR, opener=open_private) as old:
            self.replace("keys", secrets.dump())
            old.write_all(bytes(os.fstat(old.fd).st_size))
            os.fsync(old.fd)

    def append_seal(self, length: int, record: bytes) -> int:
        """Append to the seals, of which *length* bytes count. Returns how many count then. Raises OSError."""
        path = self.path / "seals.jsonl"
        with Descriptor.at(path, os.O_RDWR | os.O_CREAT, _MODE, opener=open_private) as file:
            if os.fstat(file.fd).st_size < length:
                raise SealError("seals.jsonl was cut")
            os.ftruncate(file.fd, length)  # a kill came between the seal and its key's end
            file.write_all(record, length)
            os.fsync(file.fd)
        give_to_owner(path, self.path)
        return length + len(record)

    def write_tile(self, level: int, number: int, hashes: bytes) -> None:
        """Write a tile, full or partial; a full one takes the place of all partial ones. Raises OSError."""
        name = tile_path(level, number, len(hashes) // HASH)
        path = self.path / name
        self._make_above(path)
        self.replace(name, hashes)
        if len(hashes) == WIDTH * HASH:
            shutil.rmtree(f"{path}.p", ignore_errors=True)

    def prune(self, state: State) -> bool:
        """Delete the tiles of leaves before the first file's. Returns whether there were any. Raises OSError."""
        before, last = state.pruned, state.files[0][1] // WIDTH if state.files else 0
        for number in range(before, last):
            (self.path / tile_path(0, number)).unlink(missing_ok=True)
        state.pruned = max(before, last)
        return last > before

    def write_stamp(self, number: int, answer: bytes) -> None:
        """Keep the answer of a time stamping server about a seal. Raises OSError."""
        name = f"stamps/{number}.tsr"
        self._make_above(self.path / name)
        self.replace(name, answer)


def tree_of(state: State, full: dict[tuple[int, int], bytes]) -> Tree:
    """Return the tree of a state; tiles that become full are noted in *full*."""
    return Tree(state.size, state.tiles, lambda level, number, data: full.update({(level, number): data}))


def now_text(seconds: float) -> str:
    """Return a time as text for people."""
    with contextlib.suppress(OverflowError, ValueError, OSError):
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    return "at an unknown time"
