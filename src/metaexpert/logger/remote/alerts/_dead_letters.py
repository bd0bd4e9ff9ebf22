"""The file of alerts that could not be delivered.

Bound: two files of some 5 MB; a new one replaces the older of them.

Threads: one at a time; several processes may add to one file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.system.descriptors import Descriptor, open_private

UNDELIVERED_FILE: Final = "undelivered.jsonl"
#: Size from which a new file is begun, in bytes.
_MOST: Final = 5 * 1024 * 1024


def keep(directory: Path | None, channel: str, reason: str, alerts: Sequence[Alert]) -> str:
    """Add *alerts*, which were given up, as JSON lines with channel, reason, count, timestamps and entry.

    Args:
        directory: Where the file lies; None keeps none.
        channel: The channel that did not take them.
        reason: Why not.
        alerts: The alerts.

    Returns:
        Where they are, for a report.

    Raises:
        OSError: They could not be written.
    """
    if directory is None:
        return "nothing keeps them without log files"
    path = directory / UNDELIVERED_FILE
    if path.exists() and path.stat().st_size > _MOST:
        path.replace(path.with_name(f"{UNDELIVERED_FILE}.1"))
    letters = [{"channel": channel, "reason": reason, **alert.described()} for alert in alerts]
    lines = [json.dumps(letter, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for letter in letters]
    with Descriptor.at(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, opener=open_private) as file:
        file.append(b"".join(lines))
    return f"kept in {directory.name}/{UNDELIVERED_FILE}"
