"""Records of `logging` that fail when they are looked at."""

from __future__ import annotations

import logging


class RaisingRecord(logging.LogRecord):
    """A record whose level cannot be had."""

    @property
    def levelno(self) -> int:
        """Raise."""
        raise RuntimeError

    @levelno.setter
    def levelno(self, value: int) -> None:
        pass
