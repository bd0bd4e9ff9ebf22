"""A line of a log file, decoded. Pure; any thread may call it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from metaexpert.logger.entry.rfc5424 import from_layout

#: orjson reads an integer beyond 64 bits as a float.
_LONG_INTEGER: Final = re.compile(rb"\d{19}")


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the flat entry of a *line* of either layout. Integers of any size are exact.

    Raises:
        ValueError: If it is not JSON, or holds an integer of more digits than Python reads.
    """
    load = json.loads if _LONG_INTEGER.search(line) else orjson.loads
    return from_layout(load(line))
