"""Proofs that lines are in a sealed log, in the format of C2SP tlog-proof. Opens nothing.

The leaf is the line, which travels in the ``extra`` line as JSON with what vouches for the seal's key; a file is one
proof after another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from metaexpert.logger.seal.keys import Verifier
from metaexpert.logger.seal.note import Checkpoint, FormatError, VerifierKey, decoded, encoded
from metaexpert.logger.seal.tree import HASH, leaf_hash, root_of_inclusion

_HEAD: Final = "c2sp.org/tlog-proof@v1\n"
_SHAPE: Final = re.compile(r"extra ([A-Za-z0-9+/=]+)\nindex (0|[1-9]\d{0,18})\n((?:[A-Za-z0-9+/=]+\n)*)\n(.+\n)", re.S)


@dataclass(frozen=True, slots=True)
class Proof:
    """That one line is in a sealed log.

    Attributes:
        line: The line, without its newline.
        index: Its place in the tree.
        path: The inclusion proof.
        seal: The signed checkpoint.
        number: Of the seal.
        certificates: On the way to the seal's key.
        key: The verification key, as the maker of the proof gives it.
        stamp: The answer of a time stamping server (RFC 3161) about the seal; empty when there is none.
    """

    line: bytes
    index: int
    path: Sequence[bytes]
    seal: str
    number: int
    certificates: Sequence[bytes]
    key: VerifierKey
    stamp: bytes = b""

    def text(self) -> str:
        """Return it as text."""
        extra: dict[str, Any] = {
            "line": self.line.decode("utf-8", "surrogateescape"),
            "key": str(self.key),
            "seal": self.number,
            "certificates": [encoded(certificate) for certificate in self.certificates],
        }
        if self.stamp:
            extra["stamp"] = encoded(self.stamp)
        path = "".join(f"{encoded(value)}\n" for value in self.path)
        return f"{_HEAD}extra {encoded(json.dumps(extra).encode())}\nindex {self.index}\n{path}\n{self.seal}"

    def check(self, key: VerifierKey) -> Checkpoint:
        """Return the checkpoint of the seal that *key* and the proof vouch for. Raises FormatError: they do not."""
        text = Verifier(key.public).check(self.seal, self.number, self.certificates)
        checkpoint = Checkpoint.parse(text)
        if checkpoint.origin != key.name:
            raise FormatError(f"the seal is of the log {checkpoint.origin}, the key of {key.name}")
        if root_of_inclusion(leaf_hash(self.line), self.index, checkpoint.size, self.path) != checkpoint.root:
            raise FormatError(f"the line is not at place {self.index} of the sealed log, or was changed")
        return checkpoint


def parse_proofs(text: str) -> list[Proof]:
    """Read the proofs of a file. Raises FormatError."""
    before, *parts = text.split(_HEAD)
    if before or not parts:
        raise FormatError("it is no proof: it should begin with c2sp.org/tlog-proof@v1")
    return [_parse(part) for part in parts]


def _parse(text: str) -> Proof:
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise FormatError("the proof is not in the format, or was cut")
    path = [decoded(line) for line in match[3].split("\n")[:-1]]
    if any(len(value) != HASH for value in path):
        raise FormatError("a hash of the proof has not 32 bytes")
    try:
        extra = json.loads(decoded(match[1]).decode(), parse_constant=_no_number)
        certificates = [decoded(certificate) for certificate in extra["certificates"]]
        key, number, stamp = VerifierKey.parse(extra["key"]), extra["seal"], decoded(extra.get("stamp", ""))
        line = extra["line"].encode("utf-8", "surrogateescape")
    except FormatError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise FormatError("the extra line of the proof is not in the format") from None
    if type(number) is not int:
        raise FormatError("the number of the seal is none")
    if str(key) != extra["key"]:
        raise FormatError("the key of the proof is not as it should be spelled")
    return Proof(line, int(match[2]), path, match[4], number, certificates, key, stamp)


def _no_number(word: str) -> None:
    raise FormatError(f"the extra line of the proof is not in the format: {word} is no JSON")
