"""`metaexpert watch`: its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--hang", "soon"], "--hang: 'soon' is no length of time"),
        (["--hang", "1s"], "--hang: '1s' should be 3 s or more"),
        (["--silence", "30m"], "--silence: '30m' should be like trade=30m"),
        (["--silence", "trade="], "--silence: '' is no length of time"),
    ],
)
def test_rules_that_cannot_be_understood(refused: Callable[..., str], words: list[str], problem: str) -> None:
    """Each is one line that names the option and the value."""
    assert problem in refused("watch", *words)


def test_a_file_is_no_root(refused: Callable[..., str], tmp_path: Path) -> None:
    """A file in place of a directory is refused."""
    (tmp_path / "file").touch()
    assert "is a file; give its directory" in refused("watch", "file")


def test_a_look_at_nothing(cli: Callable[..., tuple[int, str, str]]) -> None:
    """A directory that is not there yet is no error, and that no channel is configured is said."""
    code, out, err = cli("watch", "--once", "nowhere")
    assert (code, out) == (0, "")
    assert "no channel for alerts is configured" in err
