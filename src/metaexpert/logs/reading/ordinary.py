"""Single lines that need no decoding: whether one is an entry like most, and which fields it has.

Only the compiled core can tell; without it each line is decoded. A property test compares it with decoding.
"""

from __future__ import annotations

from metaexpert.logger.system.native import core


def is_ordinary(line: bytes) -> bool:
    """Return whether *line* certainly conforms to the schema of an entry, and is neither a trade nor an error."""
    return core is not None and bool(core.is_ordinary(line))


def kinds_of(line: bytes) -> bytes | None:
    """Return the fields behind the message of such a line; None for any other.

    For each a name, a tab, a letter and a line end. The letter is s for a text, i for an integer of at most 64 bits,
    f for another number, b for true and false, n for null, and j for a list or an object.
    """
    found: bytes | None = core.kinds_of(line) if core is not None else None
    return found
