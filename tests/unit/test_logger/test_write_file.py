"""Small files are written whole, or the writer hears that they are not: a full disk takes a part of a write."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger.files._indexer import Index
from metaexpert.logger.remote.alerts import _dead_letters
from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._heartbeat import Heartbeat
from metaexpert.logger.system.descriptors import written_beside

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no limit for the size of files there")
LIMIT = 100


def _index(path: Path) -> None:
    index = Index(path)
    index.note(b"0" * 200, [])
    index.save()


WRITERS: dict[str, Callable[[Path], Any]] = {
    "anything": lambda path: written_beside(path / "found", b"x" * 200),
    "time index": _index,
    "heartbeat": lambda path: Heartbeat(path, {"expert": "x" * 200}),
    "alerts that were given up": lambda path: _dead_letters.keep(
        path, "webhook", "x" * 200, [Alert(1, "k", "f", "alert", b"{}", 1, "", "", repeat=False)]
    ),
}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file grows beyond `LIMIT` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", WRITERS)
def test_a_part_is_an_error(name: str, full_disk: None, tmp_path: Path) -> None:
    """The system takes what fits, and says so only by a number."""
    with pytest.raises(OSError, match="File too large"):
        WRITERS[name](tmp_path)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) == LIMIT
