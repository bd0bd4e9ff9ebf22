"""Calls that wait for a module, and leave no trace in it."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from metaexpert.logger.system.imports import when_imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported, and has not been yet."""
    (tmp_path / "waited_for.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "waited_for", raising=False)
    return "waited_for"


def test_a_module_that_is_there_is_not_waited_for() -> None:
    """The call is made at once."""
    calls: list[int] = []
    when_imported("json", lambda: calls.append(1))
    assert calls == [1]


def test_a_call_waits_for_the_import(module: str) -> None:
    """Neither asking nor looking for the module makes the call; its import does, once, and nothing stays behind."""
    before, seen = list(sys.meta_path), list[int]()
    when_imported(module, lambda: seen.append(sys.modules[module].value))
    when_imported(module, lambda: seen.append(2))
    assert find_spec(module) is not None
    assert seen == []
    found = importlib.import_module(module)
    assert seen == [1, 2]
    assert sys.meta_path == before
    assert (
        type(found.__loader__).__name__ == type(found.__spec__ and found.__spec__.loader).__name__ == "SourceFileLoader"
    )
    importlib.reload(found)
    assert seen == [1, 2]


def test_a_module_that_fails_keeps_the_call_waiting(module: str, tmp_path: Path) -> None:
    """An import that fails, or finds nothing, is no import."""
    calls: list[int] = []
    when_imported(module, lambda: calls.append(1))
    (tmp_path / f"{module}.py").write_text("raise ValueError('not yet')\n")
    with pytest.raises(ValueError, match="not yet"):
        importlib.import_module(module)
    assert calls == []
    (tmp_path / f"{module}.py").write_text("'good, and longer than before'\n")
    importlib.invalidate_caches()
    importlib.import_module(module)
    assert calls == [1]
