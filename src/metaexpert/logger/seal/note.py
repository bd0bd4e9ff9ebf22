"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint): text there and back. Opens nothing.

A seal is a checkpoint with two extension lines: ``time``, when it was made, and ``first``, the index of the first line
that retention had left.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from metaexpert.logger.seal.tree import HASH

#: Signature type of Ed25519 (signed-note, "Signature types").
_ED25519: Final = b"\x01"
_DASH: Final = "\u2014"
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_NAME: Final = re.compile(r"[!-*,-~]+", re.ASCII)
#: Not in a note: controls, and what a byte that is no UTF-8 is read as.
_UNFIT: Final = re.compile("[\0-\t\v-\x1f\ud800-\udfff]")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class FormatError(ValueError):
    """A text is not in the format that it should be in; the message says why."""


def key_id(name: str, public: bytes) -> bytes:
    """Return the id of an Ed25519 key (signed-note, "Ed25519 signatures")."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, as text ``name+id+key`` (signed-note, "Verifier keys")."""

    name: str
    public: bytes

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{encoded}"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its text in hexadecimal, shortened to what two people can compare."""
        return sha256(str(self).encode()).hexdigest()[:32]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read it. Raises FormatError."""
        name, _, rest = text.strip().partition("+")
        given, _, encoded = rest.partition("+")
        key = decoded(encoded)
        if not _NAME.fullmatch(name) or key[:1] != _ED25519 or len(key) != 1 + HASH:
            raise FormatError("it is no verification key: that is a line such as metaexpert/…+0a1b2c3d+AQ…")
        found = cls(name, key[1:])
        if given != key_id(name, found.public).hex():
            raise FormatError("the verification key is damaged: its id does not fit")
        return found


def decoded(text: str) -> bytes:
    """Return what base64 *text* holds, in the one spelling that it has (RFC 4648, 3.5). Raises FormatError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{text[:20]!r} is no base64") from None
    if encoded(data) != text:
        raise FormatError(f"{text[:20]!r} is no base64 as it should be: its last bits are not zero")
    return data


def encoded(data: bytes) -> str:
    """Return *data* in base64."""
    return base64.b64encode(data).decode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of its tree.

    Attributes:
        origin: The name of the log.
        size: Lines in the tree.
        root: Its root.
        time: When, in UTC, to the second.
        first: Index of the first line that retention had left.
    """

    origin: str
    size: int
    root: bytes
    time: datetime
    first: int = 0

    def text(self) -> str:
        """Return the text that is signed."""
        when = self.time.astimezone(UTC).strftime(_TIME)
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\ntime {when}\nfirst {self.first}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read it. Raises FormatError."""
        lines = text.split("\n")
        if len(lines) != 6 or lines[-1] or lines[3][:5] != "time " or lines[4][:6] != "first ":
            raise FormatError("it is no seal: it should have five lines")
        origin, size, root, time, first = lines[0], lines[1], decoded(lines[2]), lines[3][5:], lines[4][6:]
        if not _NAME.fullmatch(origin) or len(root) != HASH:
            raise FormatError("it is no seal: its name or its root is not in the format")
        if not _NUMBER.fullmatch(size) or not _NUMBER.fullmatch(first):
            raise FormatError("it is no seal: its size is no number")
        try:
            when = datetime.strptime(time, _TIME).replace(tzinfo=UTC)
        except ValueError:
            raise FormatError("it is no seal: its time is none") from None
        return cls(origin, int(size), root, when, int(first))


def first_kept(files: Sequence[tuple[bytes, int]], backups: int, *, unsure: bool, oldest: bytes | None) -> int:
    """Return the index of the first line that retention leaves.

    Args:
        files: The hash of the first line of each file, and its index, the oldest first.
        backups: Backups that are kept; 0 for all.
        unsure: Whether a rotation may be under way, which deletes the oldest backup before it moves the others.
        oldest: The hash of the oldest line that is there.
    """
    if unsure and 0 < backups < len(files) and files[0][0] != oldest:
        return files[1][1]
    return files[0][1] if files else 0


def sign(text: str, name: str, public: bytes, signature: bytes) -> str:
    """Return a note: *text* with the signature of a key."""
    return f"{text}\n{_DASH} {name} {encoded(key_id(name, public) + signature)}\n"


def open_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return the text of a note, and of each signature the name, the id of its key, and itself. Raises FormatError."""
    body, blank, rest = note.rpartition("\n\n")
    if not blank or not rest.endswith("\n") or _UNFIT.search(note):
        raise FormatError("it is no signed note")
    signatures = []
    for line in rest[:-1].split("\n"):
        dash, _, name_and_value = line.partition(" ")
        name, _, value = name_and_value.partition(" ")
        data = decoded(value)
        if dash != _DASH or not name or len(data) < 5:
            raise FormatError("it is no signed note: a line of a signature is not in the format")
        signatures.append((name, data[:4], data[4:]))
    return body + "\n", signatures
