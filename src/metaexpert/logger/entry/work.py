"""How much a log call may do. It is counted, not timed, so that the same call always writes the same entry."""

from __future__ import annotations

from typing import Final

#: More than anything needs.
UNLIMITED: Final = 1 << 62


class Work:
    """What may still be done, in units of one plain value that is looked at: about a microsecond.

    Not to be shared between threads.

    Args:
        left: So much.
    """

    __slots__ = ("left",)

    def __init__(self, left: int = UNLIMITED) -> None:
        self.left = left
