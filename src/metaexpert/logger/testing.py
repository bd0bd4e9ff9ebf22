"""For tests of code that logs: capture entries, and start clean.

With pytest, the fixture ``metaexpert`` is a `CapturedLog`:

    def test_a_fill_is_logged(metaexpert):
        run_my_strategy()
        assert metaexpert.messages == ["Order filled"]
        assert metaexpert.entries[0]["order_id"] == "o-1"

Without it:

    with capture_logs() as events:
        run_my_strategy()
    assert events[0]["event"] == "Order filled"
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

import structlog
from structlog.testing import capture_logs

from metaexpert.logger import lazy, schema
from metaexpert.logger.encoding.context_frames import current_frame
from metaexpert.logger.factory import MetaLogger
from metaexpert.logger.files.writing_thread import writing_thread

__all__ = ["CapturedLog", "capture_logs", "reset"]

#: It logs each event loop that is made, at DEBUG.
_CHATTER: Final = "asyncio"
#: What a developer's environment or pyproject.toml may set, and a test must neither send to nor depend on.
_ISOLATED: Final[dict[str, Any]] = {
    "log_to_file": True,
    "log_to_console": False,
    "async_logging": False,
    "levels": {},
    "layout": "flat",
    "max_file_size": "1GB",
    "max_total_size": None,
    "rotate_when": None,
    "fsync": "never",
    "recorder": None,
    "repeat_limit": None,
    "seal": False,
    "seal_timestamp_url": None,
    "capture_stdlib": True,
    "capture_warnings": True,
    "alert_routes": [],
    "telegram_token": None,
    "telegram_chat_id": None,
    "telegram_thread_id": None,
    "discord_webhook_url": None,
    "discord_thread_id": None,
    "webhook_url": None,
    "webhook_token": None,
    "alert_heartbeat": False,
    "syslog_address": None,
    "otlp_endpoint": None,
    "metrics": False,
}


class CapturedLog:
    """An installed `MetaLogger` at level DEBUG, in a directory of its own, with its entries as they were written.

    `get_logger`, `structlog.get_logger`, `logging` and `warnings` write into it. For one thread.

    Args:
        directory: Where its files lie.
        **options: As for `MetaLogger`.

    Attributes:
        logger: The logger.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        _close_all()
        self._chatter = logging.getLogger(_CHATTER)
        if self._chatter.level == logging.NOTSET:
            self._chatter.setLevel(logging.INFO)
        self._before = structlog.get_config() if structlog.is_configured() else None
        settings = {**_ISOLATED, "expert_name": "test", "log_level": "DEBUG", **options, "log_dir": directory}
        self.logger = MetaLogger(install=True, **settings)
        self._file = directory / self.logger.config.log_file
        self._cleared = 0

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries since the start, or since `clear`, in order: masked, with context, as in `expert.log`.

        The logger's own, such as ``log.uncaptured``, are left out: they come when it finds the time.
        """
        self.logger.flush(10.0)
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        found = [entry for entry in map(json.loads, lines) if entry.get(schema.LOGGER_KEY) != schema.OWN_NAME]
        return found[self._cleared :]

    @property
    def messages(self) -> list[str]:
        """The messages of `entries`."""
        return [entry["message"] for entry in self.entries]

    def at(self, level: str) -> list[dict[str, Any]]:
        """Return the entries of exactly this *level*, a word such as ``"error"``."""
        return [entry for entry in self.entries if entry["level"] == level.lower()]

    @property
    def trades(self) -> list[dict[str, Any]]:
        """The entries with ``category="trade"``."""
        return [entry for entry in self.entries if entry["msgid"] == "trade"]

    def clear(self) -> None:
        """Leave out what was logged so far."""
        self._cleared += len(self.entries)

    def close(self) -> None:
        """Close every logger of the process, and put structlog, `logging` and `warnings` back as they were."""
        _close_all()
        if self._chatter.level == logging.INFO:
            self._chatter.setLevel(logging.NOTSET)
        if self._before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**self._before)


def reset() -> None:
    """Close every logger of the process and put structlog, `logging` and `warnings` back as they were.

    For the end of a test. Call it from one thread, with no log call under way.
    """
    _close_all()
    structlog.reset_defaults()


def _close_all() -> None:
    writing_thread.close_all()
    lazy.uninstall()
    structlog.contextvars.clear_contextvars()
    current_frame.set(None)
