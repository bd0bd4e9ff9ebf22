"""Which tests run under Wine, and which of them cannot, each with its reason: a plugin of pytest for `tools/wine.py`.

A test that skips itself on Windows says why in its own file. A fault of Wine's is skipped here, one of ours never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest

UNIT: Final = "tests/unit/test_logger"
INTEGRATION: Final = "tests/integration/test_logger"
#: Processes, their ends, recovery, console and commands; locks, rotation, files; alerts; the core against the reader.
TESTS: Final = (
    f"{INTEGRATION}/test_windows.py",
    f"{UNIT}/test_windows_processes.py",
    f"{UNIT}/test_locks.py",
    f"{UNIT}/test_rotation.py",
    f"{UNIT}/test_log_file.py",
    f"{UNIT}/test_writing_thread.py",
    f"{UNIT}/test_alerts.py",
    f"{UNIT}/test_core.py",
    f"{UNIT}/test_fast.py",
    "tests/unit/test_cli/test_cli_doctor.py",
    "tests/unit/test_logs/test_logs_select.py",
)
#: The beginning of a test's name, and why it cannot run.
SKIPPED: Final = {
    "tests/unit/test_cli/test_cli_doctor.py::test_a_log_directory_that_is_none_is_a_problem[link]": "has no links",
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(args: list[str]) -> None:
    """Add the chosen tests where none is named on the command line."""
    if not any(argument.startswith("tests") for argument in args):
        args.extend(TESTS)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skip what cannot run."""
    for item in items:
        for name, reason in SKIPPED.items():
            if item.nodeid.startswith(name):
                item.add_marker(pytest.mark.skip(reason=f"Wine: {reason}"))
