"""The system's calls are the same, compiled or not; and what is compiled is optional."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from pathlib import Path

import pytest

from metaexpert.logger.system import calls, native
from metaexpert.logger.system.calls import PATIENT, QUICK, Calls, calls_for, names_in, paths_in, zero

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors")
BOTH = pytest.mark.parametrize("calls", [PATIENT, QUICK], ids=["patient", "quick"])


@BOTH
def test_a_status_is_that_of_the_file(calls: Calls, tmp_path: Path) -> None:
    """Device, inode, size, links and time are those that Python tells."""
    path = tmp_path / "file"
    path.write_bytes(b"twelve bytes")
    fd = os.open(path, os.O_RDONLY)
    try:
        found, expected = calls.status(fd), path.stat()
    finally:
        os.close(fd)
    assert (found.device, found.inode) == (expected.st_dev, expected.st_ino)
    assert (found.size, found.links) == (12, 1)
    assert found.modified == pytest.approx(expected.st_mtime)


@posix
@BOTH
def test_a_name_that_is_another_files_by_now(calls: Calls, tmp_path: Path) -> None:
    """A descriptor is at its path until the file is moved, deleted or closed; other troubles are raised."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    fd = os.open(path, os.O_RDONLY)
    assert calls.is_open_at(fd, path)
    assert not calls.is_open_at(fd, path / "below")
    path.rename(tmp_path / "moved")
    assert not calls.is_open_at(fd, path)
    path.write_bytes(b"")
    assert not calls.is_open_at(fd, path)
    os.close(fd)
    assert not calls.is_open_at(fd, path)
    with (tmp_path / "moved").open() as file, pytest.raises(OSError, match="File name too long") as raised:
        calls.is_open_at(file.fileno(), tmp_path / ("x" * 5000))
    assert raised.value.errno == errno.ENAMETOOLONG


@posix
@BOTH
def test_a_closed_descriptor_is_an_error(calls: Calls, tmp_path: Path) -> None:
    """Neither a status nor a lock can be had of it."""
    fd = os.open(tmp_path, os.O_RDONLY)
    os.close(fd)
    for call in (calls.status, calls.try_lock, calls.unlock):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(fd)
        with pytest.raises(TypeError):
            call("fd")  # type: ignore[arg-type]


@BOTH
def test_only_the_file_that_was_opened_is_closed(calls: Calls, tmp_path: Path) -> None:
    """It is closed once; a number that stands for another file, or for none, is left alone."""
    paths = tmp_path / "ours", tmp_path / "theirs"
    ours, theirs = (os.open(path, os.O_RDWR | os.O_CREAT) for path in paths)
    file = os.fstat(ours).st_dev, os.fstat(ours).st_ino
    assert not calls.close_same(theirs, *file)
    os.close(theirs)  # raises if it was closed
    assert calls.close_same(ours, *file)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)
    assert not calls.close_same(ours, *file)


def test_names_are_those_of_the_directory(tmp_path: Path) -> None:
    """Whatever they are, and without the directory itself and the one above."""
    odd = [os.fsdecode(b"not \xff utf-8"), "a\nb"] if os.name == "posix" else []
    for name in ["expert.log", ".hidden", "ünï", "x" * 255, *odd]:
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    for number in range(2000):  # more than a look at the directory takes at once
        (tmp_path / f"{number:0100}").touch()
    assert sorted(names_in(tmp_path)) == sorted(path.name for path in tmp_path.iterdir())
    assert names_in(tmp_path / "below") == []


def test_files_are_told_from_what_is_none(tmp_path: Path) -> None:
    """A link to a file is one; a directory, a link to one or to nothing, and a pipe are none."""
    (tmp_path / "file").touch()
    (tmp_path / "below").mkdir()
    assert calls.files_in(tmp_path) == calls._files_in(tmp_path) == ["file"]
    if os.name == "posix":
        for name in ("file", "below", "nothing"):
            (tmp_path / f"to-{name}").symlink_to(name)
        os.mkfifo(tmp_path / "pipe")
        assert sorted(calls.files_in(tmp_path)) == sorted(calls._files_in(tmp_path)) == ["file", "to-file"]


def test_a_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    """The error names it, as Python's does; `paths_in` finds nothing there."""
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as caught:
        names_in(missing)
    assert str(caught.value.filename) == str(missing)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        names_in(tmp_path / "file")
    assert paths_in(missing) == paths_in(tmp_path / "file") == []


def test_paths_called_like_that(tmp_path: Path) -> None:
    """By how the name begins and ends."""
    for name in ("a.1.segment", "a.2.segment", "a.owner", "b.1.segment"):
        (tmp_path / name).touch()
    assert sorted(paths_in(tmp_path, "a.", ".segment")) == [tmp_path / "a.1.segment", tmp_path / "a.2.segment"]
    assert paths_in(tmp_path, end=".owner") == [tmp_path / "a.owner"]


def test_a_device_is_asked_once_for_its_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files on one device get one kind of calls, without a look at the list of mounts for each."""
    asked: list[Path] = []
    monkeypatch.setattr(calls, "_BY_DEVICE", {})

    def file_system_of(path: Path) -> str:
        asked.append(path)
        return "nfs4"

    monkeypatch.setattr(calls, "file_system_of", file_system_of)
    assert calls.calls_on(7, tmp_path) is calls.calls_on(7, tmp_path / "other") is PATIENT
    assert asked == [tmp_path]


@posix
@BOTH
def test_a_lock_excludes_others_until_it_is_given_back(calls: Calls, tmp_path: Path) -> None:
    """Of two descriptors one has the lock; the other is told at once."""
    path = tmp_path / "lock"
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    try:
        calls.try_lock(first)
        with pytest.raises(BlockingIOError):
            calls.try_lock(second)
        calls.unlock(first)
        calls.try_lock(second)
    finally:
        os.close(first)
        os.close(second)


@pytest.mark.parametrize("pure", [False, True])
def test_zeros_are_written_where_they_are_wanted(pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nowhere else, in maps of any size."""
    if pure:
        monkeypatch.setattr(calls, "core", None)
    with mmap.mmap(-1, 200_000) as memory:
        memory[:] = b"x" * len(memory)
        zero(memory, 100, 199_000)
        assert memory[:] == b"x" * 100 + bytes(198_900) + b"x" * 1000


@pytest.mark.skipif(native.core is None, reason="nothing was compiled on this machine")
@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 4), (0, 11)])
def test_zeros_outside_a_buffer_are_refused(start: int, end: int) -> None:
    """Memory that is not the buffer's is never touched."""
    with pytest.raises(ValueError, match="range"):
        zero(bytearray(10), start, end)


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "fuse"])
def test_calls_that_may_take_long_let_others_go_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system over a network, or of a program, no call keeps the interpreter lock."""
    monkeypatch.setattr(calls, "file_system_of", lambda _: kind)
    assert calls_for(tmp_path) is PATIENT
    monkeypatch.setattr(calls, "file_system_of", lambda _: "ext4")
    assert calls_for(tmp_path) is QUICK


def test_without_a_compiler_all_calls_are_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are Python's own."""
    monkeypatch.setattr(calls, "core", None)
    assert calls._quick() is PATIENT


def test_what_is_compiled_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not loaded when it is missing, when it is not wanted, or when no interpreter lock guards it."""
    monkeypatch.delenv(native.PURE, raising=False)
    assert native.load("metaexpert.logger.no_such_module") is None
    assert native.load("json") is sys.modules["json"]
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert native.load("json") is None
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    monkeypatch.setenv(native.PURE, "1")
    assert native.load("json") is None
