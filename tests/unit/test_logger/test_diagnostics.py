"""The logger's own troubles: told once, summed up, never recursive, never an exception, never silent."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sinks import FakeClock

from metaexpert.logger import schema
from metaexpert.logger.encoding import line
from metaexpert.logger.encoding.line import Header
from metaexpert.logger.files import _diagnostics as module
from metaexpert.logger.files._diagnostics import MAX_SIZE, SUMMARY_INTERVAL, Diagnostics

ReadLog = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clock() -> FakeClock:
    """Seconds."""
    return FakeClock(1000)


@pytest.fixture
def diagnostics(tmp_path: Path, clock: FakeClock) -> Diagnostics:
    """Diagnostics of a directory."""
    return Diagnostics(tmp_path, Header("bot", schema.FACILITY_LOCAL0), monotonic=clock)


@pytest.fixture
def told(tmp_path: Path, read_log: ReadLog) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns what stands in logging_errors.log, every line valid."""
    return lambda: read_log(tmp_path / "logging_errors.log")


def test_a_trouble_is_told_in_the_file_and_on_standard_error(
    diagnostics: Diagnostics, told: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With its kind, its sentence, and the type and text of the exception."""
    diagnostics.report("write", "cannot be written", error=OSError(errno.ENOSPC, "No space left"))
    (entry,) = told()
    assert entry["message"] == "cannot be written"
    assert entry["level"] == "error"
    assert entry["trouble"] == "write"
    assert "No space left" in entry["error"]
    assert "cannot be written" in capsys.readouterr().err


def test_no_file_before_the_first_trouble(diagnostics: Diagnostics, tmp_path: Path) -> None:
    """A directory without troubles shows none."""
    diagnostics.summarise(final=True)
    assert list(tmp_path.iterdir()) == []


def test_repeats_are_counted_and_told_after_the_interval(
    diagnostics: Diagnostics, clock: FakeClock, told: Callable[[], list[dict[str, Any]]]
) -> None:
    """A hundred repeats in a minute are one line, with their number; other kinds are not held back by it."""
    for _ in range(101):
        diagnostics.report("write", "w")
    diagnostics.report("rotate", "r")
    assert [entry["message"] for entry in told()] == ["w", "r"]
    clock.advance(SUMMARY_INTERVAL)
    diagnostics.report("write", "w")
    assert [entry.get("repeated") for entry in told()] == [None, None, 100]
    assert diagnostics.count == 103


def test_repeats_are_told_although_the_trouble_does_not_come_again(
    diagnostics: Diagnostics, clock: FakeClock, told: Callable[[], list[dict[str, Any]]]
) -> None:
    """Their number must not be forgotten because all is well again; at the end it is told at once."""
    for _ in range(4):
        diagnostics.report("write", "w")
    diagnostics.summarise()
    assert len(told()) == 1
    clock.advance(SUMMARY_INTERVAL)
    diagnostics.summarise()
    assert told()[-1]["repeated"] == 3
    diagnostics.report("write", "w")
    diagnostics.summarise(final=True)
    diagnostics.summarise(final=True)
    assert [entry.get("repeated") for entry in told()] == [None, 3, 1]


def test_a_trouble_while_telling_a_trouble_is_counted_only(
    diagnostics: Diagnostics, told: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never recurses."""
    monkeypatch.setattr("metaexpert.logger.console.stderr.print_entry", lambda entry: diagnostics.report("inner", "i"))
    diagnostics.report("outer", "o")
    assert [entry["message"] for entry in told()] == ["o"]
    assert diagnostics.count == 2


def test_another_thread_that_tells_for_ever_does_not_hold_us(
    diagnostics: Diagnostics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing thread waits for a lock here only so long: its holder may be waiting for it."""
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with diagnostics._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    diagnostics.report("write", "w")
    diagnostics.summarise(final=True)
    release.set()
    thread.join()
    assert diagnostics.count == 1


def test_the_file_does_not_grow_without_end(
    diagnostics: Diagnostics, tmp_path: Path, told: Callable[[], list[dict[str, Any]]]
) -> None:
    """At its limit it moves to .1: trouble must not fill the disk that it is about."""
    (tmp_path / "logging_errors.log").write_bytes(b"x" * (MAX_SIZE - 10))
    diagnostics.report("write", "w")
    assert (tmp_path / "logging_errors.log.1").stat().st_size == MAX_SIZE - 10
    assert len(told()) == 1


@pytest.mark.parametrize("how", ["full", "short", "closed"])
def test_a_file_that_cannot_be_written_is_said_on_standard_error(
    diagnostics: Diagnostics,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    """Also when half a line went in: it is taken back."""
    really = os.write

    def write(fd: int, data: bytes) -> int:
        if how == "short":
            return really(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if how == "closed":
            patch.setattr(diagnostics, "_directory", tmp_path / "file" / "below")
            (tmp_path / "file").write_text("")
        else:
            patch.setattr(os, "write", write)
        diagnostics.report("write", "w")
    assert "logging_errors.log cannot be written: " in capsys.readouterr().err
    if how != "closed":
        assert (tmp_path / "logging_errors.log").read_bytes() == b""


def test_hostile_texts_make_a_valid_line(
    diagnostics: Diagnostics, told: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Line ends, escape codes, lone surrogates, endless texts, an exception that cannot be printed."""

    class Hostile(OSError):
        def __str__(self) -> str:
            raise RuntimeError

    diagnostics.report("k\n\x1b[31m\ud800", "m\n" * 5000, error=Hostile())
    (entry,) = told()
    assert len(entry["message"]) < 3000
    assert "\x1b" not in capsys.readouterr().err


def test_without_directory_and_without_standard_error(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    """pythonw with a console-only logger: nothing to tell it to, and nothing raised."""
    diagnostics = Diagnostics(None, Header("bot", 16), monotonic=clock)
    monkeypatch.setattr(sys, "stderr", None)
    diagnostics.report("write", "w")
    assert diagnostics.count == 1


def test_a_child_has_its_own_process_id_and_none_of_the_parents_repeats(
    diagnostics: Diagnostics, told: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the parent met, the parent tells."""
    diagnostics.report("write", "w")
    diagnostics.report("write", "w")
    monkeypatch.setattr(line, "getpid", lambda: 4711)
    diagnostics.after_fork()
    diagnostics.summarise(final=True)
    assert len(told()) == 1
    diagnostics.report("rotate", "r")
    assert told()[-1]["procid"] == "4711"
