"""Child processes of the benchmark."""

from __future__ import annotations

from benchmarks.host import environment


def test_children_write_byte_code(monkeypatch):
    """A machine that keeps no byte code would have every import measured with its compilation."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("HOME", "/somewhere")
    kept = environment()
    assert "PYTHONDONTWRITEBYTECODE" not in kept
    assert "LOG_LEVEL" not in kept
    assert kept["HOME"] == "/somewhere"
