"""The machine's name."""

from __future__ import annotations

import os
import sys

from metaexpert.logger import schema


def hostname() -> str:
    """Return the name of this machine, or `schema.NILVALUE` where it has none."""
    try:
        if sys.platform != "win32":
            return os.uname().nodename  # what gethostname(2) tells, without the import of `socket`
        import socket  # noqa: PLC0415 - see above

        return socket.gethostname()
    except OSError:
        return schema.NILVALUE
