"""Printed lines that come back as entries are recognised, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import MetaLogger
from metaexpert.logger.console import loops
from metaexpert.logger.console.loops import PrintedLines

TEXT = "2026-11-22 10:31:00.123 [info ] Position opened side=BUY"


def line(message: str, **fields: Any) -> bytes:
    """Return an entry as one line of JSON."""
    entry = {"timestamp": "2026-11-22T10:31:00.123456Z", "level": "info", "message": message, **fields}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def printed() -> PrintedLines:
    """The lines of a process that has printed `TEXT`."""
    lines = PrintedLines()
    lines.add(TEXT)
    return lines


@pytest.mark.parametrize("text", [TEXT, f"stderr: {TEXT}", f"first\n{TEXT}\nmore", f"\x1b[2m{TEXT}", repr(TEXT)])
def test_a_line_that_comes_back(printed: PrintedLines, text: str) -> None:
    """Wherever it is in an entry."""
    assert printed.within(line(text))
    assert printed.within(line("m", at={"deep": [text]}))


@pytest.mark.parametrize(
    "text",
    [
        "Position opened",
        "2026-11-22 10:31:00.123",
        "2026-11-22T10:31:00.123456Z",
        "2026-11-22 10:31:00.123 [info ] Position closed side=BUY",
        "2026-11-22 10:31:00.124 [info ] Position opened side=BUY",
        "2026-11-22 10:31:00.123 [error] Position opened side=BUY",
    ],
)
def test_another_text(printed: PrintedLines, text: str) -> None:
    """A time of the same millisecond, or a line of another process, is nothing that was printed here."""
    assert not printed.within(line(text))
    assert not printed.within(line("Position opened", at=text, side="BUY"))


def test_json_that_comes_back_escaped(printed: PrintedLines) -> None:
    """However many times it is escaped on its way."""
    text = line('said "so"').decode()
    printed.add(text)
    assert printed.within(line(text))
    assert printed.within(line(json.dumps(text)))
    assert not printed.within(text.encode())


def test_old_lines_are_forgotten(monkeypatch: pytest.MonkeyPatch, printed: PrintedLines) -> None:
    """The memory is bounded, and the latest lines are known."""
    monkeypatch.setattr(loops, "MOST_KNOWN", 10)
    lines = [TEXT.replace("00.123", f"00.{number}") for number in range(200, 300)]
    for text in lines:
        printed.add(text)
    assert len(printed._known) + len(printed._before) <= 20
    assert all(printed.within(line(text)) for text in lines[-10:])
    assert not printed.within(line(TEXT))


@pytest.mark.parametrize("way", ["same thread", "own thread"])
@pytest.mark.parametrize("prefix", ["", "stderr: "])
def test_a_stream_that_logs_what_is_written(tmp_path: Path, way: str, prefix: str) -> None:
    """An object in the place of standard error: the loop ends, and one report tells of it."""
    logger = MetaLogger(log_dir=str(tmp_path), install=False)
    threads = []

    class Logging:
        def write(self, text: str) -> int:
            if text.strip() and way == "same thread":
                logger.info(prefix + text.strip())
            elif text.strip():
                threads.append(threading.Thread(target=logger.info, args=(prefix + text.strip(),)))
                threads[-1].start()
            return len(text)

    report = tmp_path / "logging_errors.log"
    with contextlib.redirect_stderr(Logging()):  # type: ignore[type-var]
        logger.info("once")
        eventually(report.exists)
        logger.close()
        for thread in threads:
            thread.join()
    assert len((tmp_path / "expert.log").read_bytes().splitlines()) == 2
    assert report.read_bytes().count(b'"trouble":"loop"') == 1
