"""The pytest plugin: the fixture ``metaexpert``. Loads the logger only when a test asks for it.

It lies outside `metaexpert.logger` because pytest imports it at every start, in every project that has MetaExpert.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from metaexpert.logger.testing import CapturedLog


@pytest.fixture
def metaexpert(tmp_path: Path) -> Iterator[CapturedLog]:
    """A fresh `MetaLogger`, installed, whose entries the test can look at; every logger is closed afterwards."""
    from metaexpert.logger.testing import CapturedLog  # noqa: PLC0415 - and with it the whole logger

    log = CapturedLog(tmp_path / "metaexpert-logs")
    try:
        yield log
    finally:
        log.close()
