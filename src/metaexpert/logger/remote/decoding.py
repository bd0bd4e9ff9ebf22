"""A line of a log file as an entry."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from metaexpert.logger.entry.rfc5424 import from_layout

_LONG_INTEGER: Final = re.compile(rb"\d{19}")


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the flat entry of a *line* of either layout. Raises ValueError if it is not JSON."""
    # orjson reads an integer beyond 64 bits as a float.
    load = json.loads if _LONG_INTEGER.search(line) else orjson.loads
    return from_layout(load(line))
