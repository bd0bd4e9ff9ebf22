"""What a writer has published of its seal: the key, the seals, the tiles. Nothing of it is believed unchecked."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.seal.keys import Verifier
from metaexpert.logger.seal.note import Checkpoint, FormatError, VerifierKey, decoded, first_kept
from metaexpert.logger.seal.tree import HASH, WIDTH, Nodes, nodes_of, tile_path

_CACHED: Final = 100_000
_TRADES: Final = "trades.log"


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal: its number, the signed note, and the certificates that the seals before it did not need."""

    number: int
    note: str
    certificates: list[bytes]


@dataclass(frozen=True, slots=True)
class Checked:
    """A seal that the key has verified."""

    seal: Seal
    checkpoint: Checkpoint


class Published:
    """The seal of a log directory as it lies there.

    Args:
        directory: The log directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / schema.PRIVATE_DIRECTORY / "seal"
        self._tiles: dict[tuple[int, int], bytes] = {}
        self.nodes: Nodes = lru_cache(_CACHED)(nodes_of(self.entries))

    def read(self, name: str) -> bytes:
        """Return a file of it; empty when there is none, or no regular one. Raises OSError: it may not be read."""
        path = self.path / name
        try:
            return path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""
        except (FileNotFoundError, NotADirectoryError):
            return b""

    @property
    def key(self) -> VerifierKey:
        """The verification key, as it lies there. Raises FormatError."""
        return VerifierKey.parse(self.read("vkey").decode("ascii", "replace"))

    @cached_property
    def state(self) -> dict[str, Any]:
        """How far the writer has read; empty when that cannot be told. It proves nothing."""
        try:
            state = json.loads(self.read("state"))
            files = [(decoded(first), int(start)) for first, start in state["files"]]
            found = {"file": str(state["file"]), "size": int(state["size"]), "backups": int(state["backups"])}
            return found | {"files": files, "budget": bool(state["budget"]), "rotating": bool(state["rotating"])}
        except (ValueError, KeyError, TypeError, IndexError):
            return {}

    @property
    def file(self) -> str:
        """The name of the log."""
        return str(self.state.get("file", _TRADES))

    def first(self, last: Checkpoint, oldest: bytes | None, *, unsure: bool = False) -> int:
        """Return the index of the first line that should be there.

        Args:
            last: The last seal.
            oldest: The hash of the oldest line that is there.
            unsure: Whether a rotation may be under way, beside what the writer has noted.
        """
        unsure = unsure or self.state.get("rotating", False)
        kept = first_kept(self.state.get("files", ()), self.state.get("backups", 0), unsure=unsure, oldest=oldest)
        return max(last.first, kept)

    def seals(self) -> Iterator[Seal]:
        """Yield the seals in their order. Raises FormatError for a line that is none."""
        lines = self.read("seals.jsonl").split(b"\n")
        for number, line in enumerate(lines[:-1]):  # behind the last newline: half of one, from a kill
            try:
                found = json.loads(line)
                certificates = [decoded(certificate) for certificate in found["certificates"]]
                given, note = found["number"], str(found["checkpoint"])
            except (ValueError, KeyError, TypeError, RecursionError):
                raise FormatError(f"seal {number} is not in the format") from None
            if given != number:
                raise FormatError(f"seal {number} is missing: seal {given} stands in its place")
            yield Seal(number, note, certificates)

    def checked(self, key: VerifierKey) -> Iterator[Checked]:
        """Yield the seals that *key* verifies. Raises FormatError at the first one that it does not."""
        verifier, before = Verifier(key.public), 0
        for seal in self.seals():
            try:
                checkpoint = Checkpoint.parse(verifier.check(seal.note, seal.number, seal.certificates))
            except FormatError as error:
                raise FormatError(f"seal {seal.number}: {error}") from None
            if checkpoint.origin != key.name:
                raise FormatError(f"seal {seal.number} is of another log, {checkpoint.origin}")
            if checkpoint.size < before:
                raise FormatError(f"seal {seal.number} has {checkpoint.size} lines, and the one before {before}")
            before = checkpoint.size
            yield Checked(seal, checkpoint)

    def entries(self, level: int, start: int, count: int) -> bytes:
        """Return hashes of a level of tiles. Raises LookupError: they are not there."""
        number, begin = divmod(start, WIDTH)
        found = self._tile(level, number)[begin * HASH : (begin + count) * HASH]
        if len(found) != count * HASH:
            raise LookupError(f"{tile_path(level, number)} is missing or cut")
        return found

    def _tile(self, level: int, number: int) -> bytes:
        if (level, number) not in self._tiles:
            name = tile_path(level, number)
            found = self.read(name)
            if len(found) != WIDTH * HASH:
                widths = [int(path.name) for path in (self.path / f"{name}.p").glob("*") if path.name.isdecimal()]
                found = self.read(f"{name}.p/{max(widths)}") if widths else b""
            self._tiles[level, number] = found
        return self._tiles[level, number]

    def leaves(self, first: int, size: int) -> list[bytes]:
        """Return the leaf hashes from *first* on in a tree of *size*. Raises LookupError: some are not there."""
        found: list[bytes] = []
        while (at := first + len(found)) < size:
            count = min(WIDTH - at % WIDTH, size - at)
            hashes = self.entries(0, at, count)
            found += [hashes[offset : offset + HASH] for offset in range(0, len(hashes), HASH)]
        return found

    def stamps(self) -> dict[int, bytes]:
        """Return the answers of the time stamping server by the numbers of the seals."""
        found = sorted((self.path / "stamps").glob("*.tsr"))
        return {int(path.stem): self.read(f"stamps/{path.name}") for path in found if path.stem.isdecimal()}
