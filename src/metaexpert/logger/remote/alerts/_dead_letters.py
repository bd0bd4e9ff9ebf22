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
from metaexpert.logger.system.descriptors import Descriptor

UNDELIVERED_FILE: Final = "undelivered.jsonl"
#: Size from which a new file is begun, in bytes.
_MOST: Final = 5 * 1024 * 1024


class DeadLetters:
    """Alerts that were given up, as JSON lines with channel, reason, count, timestamps and entry.

    Args:
        directory: Where the file lies; None keeps none.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / UNDELIVERED_FILE

    def keep(self, channel: str, reason: str, alerts: Sequence[Alert]) -> str:
        """Add *alerts*. Returns where they are, for a report. Raises OSError."""
        if self._path is None:
            return "nothing keeps them without log files"
        if self._path.exists() and self._path.stat().st_size > _MOST:
            self._path.replace(self._path.with_name(f"{UNDELIVERED_FILE}.1"))
        lines = [_letter(channel, reason, alert) for alert in alerts]
        with Descriptor.at(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            os.write(file.fd, b"".join(lines))
        return f"kept in {self._path.parent.name}/{self._path.name}"


def _letter(channel: str, reason: str, alert: Alert) -> bytes:
    letter = {"channel": channel, "reason": reason, **alert.described()}
    return json.dumps(letter, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
