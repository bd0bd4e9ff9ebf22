"""Proves that the lines about one order are in a sealed log, without the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metaexpert.logger.seal.note import FormatError
from metaexpert.logger.seal.proof import Proof
from metaexpert.logger.seal.tree import inclusion, leaf_hash, root
from metaexpert.logs.library import Logs
from metaexpert.logs.orders import order_life
from metaexpert.logs.seal.published import Checked, Published


class NoProof(Exception):  # noqa: N818 - an answer
    """There is none; the message says why."""


def prove_order(logs: Logs, order_id: str) -> list[Proof]:
    """Return a proof for each line of the trade logs that is about an order, by the first seal that covers it.

    Raises:
        NoProof: No line is about it, one of them is not sealed yet, or the seal is damaged.
    """
    lines = list(dict.fromkeys(step.entry.line.rstrip(b"\n") for step in order_life(logs, order_id).steps))
    if not lines:
        raise NoProof(f"nothing is logged about order {order_id}")
    wanted = {leaf_hash(line): line for line in lines}
    proofs = [proof for directory in logs.directories for proof in _proofs(directory, wanted)]
    if not proofs:
        raise NoProof(f"no line about order {order_id} is sealed yet: metaexpert logs seal does it now")
    return proofs


def _proofs(directory: Path, wanted: dict[bytes, bytes]) -> Iterator[Proof]:
    published = Published(directory)
    try:
        key = published.key
        seals = list(published.checked(key))
        if not seals:
            raise NoProof(f"{directory} has no seal")
        last = seals[-1].checkpoint
        first = published.first(last, next((leaf for leaf, _ in published.state.get("files", ())), None))
        for index, leaf in enumerate(published.leaves(first, last.size), first):
            if leaf in wanted:
                seal = _seal_for(index, seals, published)
                size = seal.checkpoint.size
                if root(size, published.nodes) != seal.checkpoint.root:
                    raise NoProof(f"the tree is not the one of seal {seal.seal.number}: metaexpert logs verify --seal")
                path = inclusion(index, size, published.nodes)
                number, stamp = seal.seal.number, published.stamps().get(seal.seal.number, b"")
                certificates = _certificates(seals, number)
                yield Proof(wanted[leaf], index, path, seal.seal.note, number, certificates, key, stamp)
    except (FormatError, LookupError) as error:
        raise NoProof(f"the seal of {directory} is damaged: {error}") from error


def _seal_for(index: int, seals: list[Checked], published: Published) -> Checked:
    """Return the first seal that covers a line, and has a time stamp, if one does."""
    covering = [checked for checked in seals if checked.checkpoint.size > index]
    stamped = published.stamps()
    return next((checked for checked in covering if checked.seal.number in stamped), covering[0])


def _certificates(seals: list[Checked], number: int) -> list[bytes]:
    """Return all certificates on the way to a seal's key: each seal has those that the ones before did not need."""
    found: list[bytes] = []
    for checked in seals[: number + 1]:
        new = checked.seal.certificates
        found = found[: len(found) - len(new)] + new if found else new
    return found
