"""Small files are read without a file object, which would close a number that is the program's by then."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger.config import control
from metaexpert.logger.entry.time_index import lines_by_key
from metaexpert.logger.files import _dead_journal
from metaexpert.logger.files._rotating_file import _piece
from metaexpert.logger.journal import owner
from metaexpert.logger.remote.alerts import _heartbeat
from metaexpert.logger.system import descriptors
from metaexpert.logger.system.descriptors import read_file

READERS: dict[str, Callable[[Path], Any]] = {
    "anything": read_file,
    "time index": lines_by_key,
    "owner": lambda path: owner.end_of(path, left=True),
    "crash": owner._crash,
    "request": control._contents,
    "segment": _dead_journal.inspect,
    "damaged segment": _dead_journal._look_into,
    "part of a log": lambda path: _piece(path, 0, 10),
    "heartbeats": lambda path: list(_heartbeat.dead(path.parent)),
}


@pytest.mark.skipif(os.name == "nt", reason="numbers of files are the program's own there")
@pytest.mark.parametrize("name", READERS)
def test_a_number_that_was_taken_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program closes what we have just opened; its connection, which got the number, stays open and unread."""
    path = Path(f"found{_heartbeat.SUFFIX}")
    path.write_bytes(b'{"procid": 1}\n')
    one, other = socket.socketpair()
    one.sendall(b"an answer")
    taken: list[int] = []

    def opened(fd: int) -> int:
        os.dup2(other.fileno(), fd)
        taken.append(fd)
        return fd

    monkeypatch.setattr(descriptors, "_above_standard", opened)
    with contextlib.suppress(OSError, ValueError):
        READERS[name](path)
    monkeypatch.undo()
    assert taken
    for fd in taken:
        with socket.socket(fileno=fd) as found:
            found.setblocking(False)
            assert found.getsockname() == other.getsockname()
    other.setblocking(False)
    assert other.recv(100) == b"an answer"
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("most", "start", "wanted"), [(None, 0, b"0123456789"), (4, 3, b"3456"), (99, 8, b"89"), (5, 20, b"")]
)
def test_what_is_read(most: int | None, start: int, wanted: bytes) -> None:
    """All of it, or so much of it."""
    Path("file").write_bytes(b"0123456789")
    assert read_file(Path("file"), most, start) == wanted


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what a number stands for")
def test_a_file_that_is_deleted_while_it_is_opened_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still ours, and no number is left behind."""
    path, really = Path("file"), descriptors._identity
    path.write_bytes(b"0123")

    def identity(of: Path) -> tuple[int, int] | None:
        if of == path:
            path.unlink()
        return really(of)

    monkeypatch.setattr(descriptors, "_identity", identity)
    assert read_file(path) == b"0123"
    held = [entry.readlink().name for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert "file (deleted)" not in held
