"""Keys that are forgotten: each signs one seal, and all of them are vouched for by one verification key.

The keys are the leaves of a binary tree. The key of each inner node signs the public keys of its two children, once,
and is forgotten; so of the private keys there are only those of the present leaf and of the right siblings on its
way, which lead to later leaves only. (The tree scheme of Bellare and Miner, "A Forward-Secure Digital Signature
Scheme", 1999, section 2.3.) The public key of the root verifies every seal: a seal comes with the twenty certificates
on its way.

`cryptography` (extra ``seal``) is imported when the first key is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from metaexpert.logger.seal.note import FormatError, key_id, open_note, sign
from metaexpert.logger.seal.tree import HASH

#: Levels below the root: keys for 2**20 seals, which are thirty years of one in a quarter of an hour.
DEPTH: Final = 20
_SIGNATURE: Final = 64
_CERTIFICATE: Final = 2 * HASH + _SIGNATURE
_CONTEXT: Final = b"metaexpert seal certificate v1\n"


def public_of(private: bytes) -> bytes:
    """Return the public key of an Ed25519 private key (RFC 8032)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _sign(private: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra

    return Ed25519PrivateKey.from_private_bytes(private).sign(data)


def _is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _bits(number: int) -> str:
    return f"{number:0{DEPTH}b}"


@dataclass
class Keys:
    """The private keys of a log, as they are between two seals. Not for two threads at once.

    Attributes:
        number: Of the next seal.
        private: The key that signs it; empty when all have been used.
        later: Keys that lead to later ones: the way to each as bits, and itself.
        certificates: Those on the way to the next seal's key, from the root down.
    """

    number: int = 0
    private: bytes = b""
    later: list[tuple[str, bytes]] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)

    @classmethod
    def create(cls) -> tuple[Keys, bytes]:
        """Return new keys, and the public key that verifies them all. The root's private key is forgotten."""
        root = os.urandom(HASH)
        keys = cls()
        keys._descend("", root)
        return keys, public_of(root)

    def sign(self, text: str, name: str) -> str:
        """Return the note of *text* with the current key; `advance` forgets it. Raises LookupError: there is none."""
        if not self.private:
            raise LookupError("all keys have been used: move the seal's directory away, and begin anew")
        return sign(text, name, public_of(self.private), _sign(self.private, text.encode()))

    @property
    def new_certificates(self) -> list[bytes]:
        """The certificates on the way to the current key that the seal before did not need."""
        if not self.number:
            return self.certificates
        shared = DEPTH - ((self.number - 1) ^ self.number).bit_length()  # bits at the beginning of both ways
        return self.certificates[shared + 1 :]

    def advance(self) -> None:
        """Go on to the next key, and forget the current one."""
        if not self.later:
            self.number, self.private = self.number + 1, b""
            return
        self._descend(*self.later.pop())

    def _descend(self, way: str, private: bytes) -> None:
        del self.certificates[len(way) :]
        while len(way) < DEPTH:
            left, right = os.urandom(HASH), os.urandom(HASH)
            publics = public_of(left) + public_of(right)
            self.certificates.append(publics + _sign(private, _CONTEXT + way.encode() + b"\n" + publics))
            self.later.append((way + "1", right))
            way, private = way + "0", left
        self.number, self.private = int(way, 2), private


class Verifier:
    """Checks notes against the verification key; what was checked once is not checked again.

    Args:
        public: The verification key.
    """

    def __init__(self, public: bytes) -> None:
        self._publics = {"": public}
        self._checked: dict[str, bytes] = {}

    def check(self, note: str, number: int, certificates: Sequence[bytes]) -> str:
        """Return the text of a note that the key *number* has signed.

        Args:
            note: The note.
            number: Of the seal.
            certificates: Those on the way to its key, or the last of them, where the others were seen before.

        Raises:
            FormatError: It is not that.
        """
        text, signatures = open_note(note)
        if not 0 <= number < 1 << DEPTH:
            raise FormatError(f"there is no key {number}")
        public = self._key(_bits(number), certificates)
        name = text.partition("\n")[0]
        own = (name, key_id(name, public))
        known = [signature for signer, key, signature in signatures if (signer, key) == own]
        if not known:
            raise FormatError("it is not signed by the key of its number")
        if not all(_is_signed(public, signature, text.encode()) for signature in known):
            raise FormatError("the signature does not fit the text")
        return text

    def _key(self, way: str, certificates: Sequence[bytes]) -> bytes:
        first = DEPTH - len(certificates)
        for depth, certificate in enumerate(certificates, first):
            node = way[:depth] if depth >= 0 else "-"
            if self._checked.get(node) == certificate:
                continue
            public, publics = self._publics.get(node), certificate[: 2 * HASH]
            signed = _CONTEXT + node.encode() + b"\n" + publics
            if public is None or len(certificate) != _CERTIFICATE:
                raise FormatError("a certificate of its key is missing")
            if not _is_signed(public, certificate[2 * HASH :], signed):
                raise FormatError("its key is not vouched for by the verification key")
            self._publics[node + "0"], self._publics[node + "1"] = publics[:HASH], publics[HASH:]
            self._checked[node] = certificate
        try:
            return self._publics[way]
        except KeyError:
            raise FormatError("a certificate of its key is missing") from None
