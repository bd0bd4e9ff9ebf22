"""For tests of code that logs: capture entries, and start clean.

from metaexpert.logger.testing import capture_logs

with capture_logs() as entries:
    run_my_strategy()
assert entries[0]["event"] == "Order filled"
"""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from metaexpert.logger import lazy
from metaexpert.logger.files.writing_thread import writing_thread

__all__ = ["capture_logs", "reset"]


def reset() -> None:
    """Close every logger of the process and put structlog, `logging` and `warnings` back as they were.

    For the end of a test. Call it from one thread, with no log call under way.
    """
    writing_thread.close_all()
    lazy.uninstall()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
