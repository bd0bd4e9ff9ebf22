"""The screen: it tells the core which texts only Python can judge, because they may hold a secret.

One array of bytes, laid out as `system/core/core.h` says. The core holds it as a buffer, so its size never changes.

Threads: the register of secrets fills it under its lock, in one step, while calls of other threads look at it.
"""

from __future__ import annotations

from typing import Final

from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.shapes import HINTS
from metaexpert.logger.system.native import core

#: Characters that may stand between a name and a secret.
_BETWEEN: Final = b"=:<%'\t"
#: Where the bits begin, and how many bytes of them there are.
_BITS: Final = 258
_BITS_SIZE: Final = 16384

screen: Final = bytearray(_BITS + _BITS_SIZE)


def _fill() -> None:
    """Fill the screen, after a secret was registered."""
    escaped = (character in b'"\\' or not 32 <= character < 127 for character in range(256))
    new = bytearray(flag | (character in _BETWEEN) << 1 for character, flag in enumerate(escaped))
    new += bytes((min(registered.reach, 255), bool(registered.numbers), *bytes(_BITS_SIZE)))
    for characters in (*HINTS, *(form[:4] for form in registered.forms)):
        if characters.isascii():  # the core takes ASCII alone
            bit = ((int.from_bytes(characters.encode()) * 2_654_435_761) & 0xFFFF_FFFF) >> 15
            new[_BITS + (bit >> 3)] |= 1 << (bit & 7)
    screen[:] = new
    if core is not None:
        core.begin_generation(registered.generation)


registered.watchers.append(_fill)
_fill()
