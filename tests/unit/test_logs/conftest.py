"""Lines as the logger writes them, for tests of the reader."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metaexpert.logger import schema

START = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)

Line = Callable[..., bytes]


@pytest.fixture
def line() -> Line:
    """A function that returns one line: `line(sequence_id, message, level=…, at=seconds, **fields)`."""

    def make(number: int, message: str = "m", *, level: str = "info", at: float | None = None, **fields: Any) -> bytes:
        moment = START + timedelta(seconds=number if at is None else at)
        entry = {
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z",
            "level": level,
            "severity": schema.SEVERITIES[level],
            "facility": 16,
            "version": 1,
            "hostname": fields.pop("hostname", "box"),
            "appname": "EmaBot",
            "procid": fields.pop("procid", "42"),
            "msgid": "trade" if fields.get("category") == "trade" else "log",
            "sequence_id": number,
            "message": message,
            **fields,
        }
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"

    return make
