"""The directory's lock: between threads, between holders of different descriptors, and without a working system."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexpert.logger.system.calls import Calls, is_open_at
from metaexpert.logger.system.descriptors import Descriptor, open_file
from metaexpert.logger.system.locks import DirectoryLock, FileLock

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors and modes")


def open_descriptors() -> int:
    """Return how many descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


class MandatoryLocks:
    """A double of `msvcrt.locking`: one owner per file, released when closed or unlocked.

    Args:
        number: The error with which it refuses: EACCES on Windows, none at all under Wine.
    """

    def __init__(self, number: int = errno.EACCES) -> None:
        self.number = number
        self.owner: int | None = None
        self.refused = 0

    def try_lock(self, fd: int) -> None:
        """Lock for *fd* or refuse as Windows does."""
        if self.owner not in (None, fd):
            self.refused += 1
            raise OSError(self.number, "refused")
        self.owner = fd

    def unlock(self, fd: int) -> None:
        """Unlock; raises for a descriptor that does not hold the lock, as Windows does."""
        if self.owner != fd:
            raise OSError(self.number, "refused")
        self.owner = None


def test_it_excludes_another_holder_and_lets_it_in_afterwards(tmp_path: Path) -> None:
    """Two locks on one path, as two processes have them, are never held at the same time."""
    first, second = DirectoryLock(tmp_path / "lock"), DirectoryLock(tmp_path / "lock", patience=0.05)
    with first, pytest.raises(TimeoutError), second:
        pass
    with second:
        pass


def test_it_may_be_entered_again_by_its_thread(tmp_path: Path) -> None:
    """The inner exit does not let another one in; the outer does."""
    lock, other = DirectoryLock(tmp_path / "lock"), DirectoryLock(tmp_path / "lock", patience=0.05)
    with lock:
        with lock:
            pass
        with pytest.raises(TimeoutError), other:
            pass
    with other:
        pass


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    """Of many threads that add to a number in two steps under the lock, none is lost."""
    lock, numbers = DirectoryLock(tmp_path / "lock"), [0]

    def add() -> None:
        for _ in range(50):
            with lock:
                number = numbers[0]
                threading.Event().wait(0)  # let another thread run
                numbers[0] = number + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == [200]


def test_a_file_system_without_locks_is_told_once_and_threads_stay_apart(tmp_path: Path) -> None:
    """ENOTSUP switches file locking off for good, with one report."""
    told: list[OSError] = []

    def try_lock(fd: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    lock = DirectoryLock(tmp_path / "lock", on_unsupported=told.append, calls=Calls(try_lock))
    for _ in range(3):
        with lock:
            pass
    assert len(told) == 1
    assert not lock.supported


def test_any_other_error_is_raised_and_nothing_is_held(tmp_path: Path) -> None:
    """An I/O error while locking reaches the writer, who tries again later; the lock is as before."""
    errors: list[OSError] = [OSError(errno.EIO, "I/O error")]

    def try_lock(fd: int) -> None:
        if errors:
            raise errors.pop()

    lock = DirectoryLock(tmp_path / "lock", calls=Calls(try_lock, lambda fd: None))
    with pytest.raises(OSError, match="I/O error"), lock:
        pass
    with lock:
        pass


def test_what_was_done_does_not_fail_because_unlocking_fails(tmp_path: Path) -> None:
    """An error of the unlock must not make a finished write look failed; another holder gets in all the same."""

    def unlock(fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    with DirectoryLock(tmp_path / "lock", calls=Calls(unlock=unlock)):
        pass
    with DirectoryLock(tmp_path / "lock", patience=0.05):
        pass


REFUSALS = [errno.EACCES, errno.EAGAIN, errno.EDEADLK, 0]


@pytest.mark.parametrize("number", REFUSALS)
def test_windows_like_locks(tmp_path: Path, number: int) -> None:
    """With locks that refuse by any of their errors and know their owner, holders wait and get in in turn."""
    system = MandatoryLocks(number)
    first, second = (
        DirectoryLock(tmp_path / "lock", patience=0.05, calls=Calls(system.try_lock, system.unlock)) for _ in range(2)
    )
    with first:
        with pytest.raises(TimeoutError), second:
            pass
        assert system.refused > 1
    with second:
        assert system.owner is not None
    assert system.owner is None


@pytest.mark.parametrize("error", [*(OSError(number, "refused") for number in REFUSALS), OSError("refused")])
def test_a_file_lock_that_is_refused_in_any_way_is_held_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """A journal, a spool or a heartbeat whose lock is refused belongs to a living process, and that is no trouble."""

    def refuse(fd: int) -> None:
        raise error

    monkeypatch.setattr("metaexpert.logger.system.locks.try_lock", refuse)
    assert not FileLock(tmp_path / "owner").acquire()


@posix  # Windows deletes and moves no file that is open, as the next ones would
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.rename(path.with_name("moved"))])
def test_a_lock_file_that_vanished_is_made_anew(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    """After `rm -rf` of the directory two holders must not lock two different files of one name."""
    path = tmp_path / "private" / "lock"
    first = DirectoryLock(path)
    with first:
        pass
    spoil(path)
    with first, pytest.raises(TimeoutError), DirectoryLock(path, patience=0.05):
        pass


@posix
def test_a_closed_lock_leaves_no_descriptor_even_after_a_late_use(tmp_path: Path) -> None:
    """After close, a use opens and closes for itself."""
    before = open_descriptors()
    lock = DirectoryLock(tmp_path / "lock")
    with lock:
        pass
    lock.close()
    lock.close()
    with lock:
        pass
    assert open_descriptors() == before


@posix
def test_a_failed_try_leaves_no_descriptor(tmp_path: Path) -> None:
    """Waiting in vain for another holder costs no descriptor."""
    with DirectoryLock(tmp_path / "lock"):
        before = open_descriptors()
        with pytest.raises(TimeoutError), DirectoryLock(tmp_path / "lock", patience=0):
            pass
        assert open_descriptors() == before


def test_a_thread_waits_for_another_with_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is stuck with the lock makes the others fail, not hang."""
    monkeypatch.setattr("metaexpert.logger.system.locks._THREAD_PATIENCE", 0.0)
    lock = DirectoryLock(tmp_path / "lock", patience=0.05)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        with pytest.raises(TimeoutError, match="thread"), lock:
            pass
    finally:
        leave.set()
        thread.join()


@posix
@pytest.mark.parametrize(
    ("umask", "file_mode", "directory_mode"), [(0o022, 0o640, 0o750), (0o077, 0o600, 0o700), (0, 0o640, 0o750)]
)
def test_modes_are_ours_and_a_stricter_umask_is_respected(
    tmp_path: Path, umask: int, file_mode: int, directory_mode: int
) -> None:
    """Files are 0640 and directories 0750, or less when the user's umask says less."""
    before = os.umask(umask)
    try:
        os.close(open_file(tmp_path / "new" / "file", os.O_RDWR | os.O_CREAT))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == file_mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == directory_mode


@posix
def test_a_descriptor_is_above_those_of_the_standard_streams(tmp_path: Path) -> None:
    """With output and errors closed, a log file must not become what C code prints into."""
    saved = [os.dup(fd) for fd in (1, 2)]
    os.close(1)
    os.close(2)
    try:
        opened = open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)
        os.close(opened)
    finally:
        for fd, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, fd)
            os.close(copy)
    assert opened > 2


@posix
def test_a_descriptor_is_not_inherited_by_executed_programs(tmp_path: Path) -> None:
    """A subprocess of the strategy does not hold our files open."""
    fd = open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert not os.get_inheritable(fd)
    os.close(fd)


@posix
def test_a_name_whose_directory_became_a_file_is_not_open(tmp_path: Path) -> None:
    """Somebody puts a file in the directory's place: that is as if ours had gone."""
    path = tmp_path / "d" / "file"
    fd = open_file(path, os.O_RDWR | os.O_CREAT)
    assert is_open_at(fd, path)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")
    assert not is_open_at(fd, path)
    os.close(fd)


def test_a_number_that_became_somebody_elses_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes our descriptors and opens others, as a daemon does, keeps his: ours are opened anew."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    mine, owner = DirectoryLock(tmp_path / "lock"), FileLock(tmp_path / "owner")
    assert owner.acquire()
    with mine:
        pass
    for lock in (mine, owner):
        assert lock._file is not None
        os.close(lock._file.fd)
    theirs = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    assert not owner.held
    with mine:
        assert mine._held
    owner.release(delete=True)
    mine.close()
    for fd in theirs:
        os.close(fd)  # raises if it was closed
    assert (tmp_path / "owner").exists(), "it may be another's by now"


@posix
def test_a_number_that_is_taken_before_we_look_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread becomes a daemon between our opening and our look: that open fails, and the next one works."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    path, opens = tmp_path / "file", os.open
    theirs = opens(os.devnull, os.O_RDONLY)
    numbers: list[int] = []

    def opened_and_taken(path: Path, flags: int, mode: int) -> int:
        fd = opens(path, flags, mode)
        os.dup2(theirs, fd)
        numbers.append(fd)
        return fd

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened_and_taken)
        with pytest.raises(OSError, match="closed by somebody else"):
            Descriptor.at(path, os.O_RDWR | os.O_CREAT)
    (taken,) = numbers
    assert os.path.samestat(os.fstat(taken), Path(os.devnull).stat())
    os.close(taken)
    with Descriptor.at(path, os.O_RDWR | os.O_CREAT) as file:
        file.check()
        os.dup2(theirs, file.fd)
        with pytest.raises(OSError, match="closed by somebody else"):
            file.check()
    os.close(file.fd)  # raises if it was closed
    os.close(theirs)


@posix
def test_what_comes_over_a_connection_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of ours became that of the program's connection: we read and write nothing there, and do not wait."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    one, other = socket.socketpair()
    with one, other, Descriptor.at(tmp_path / "file", os.O_RDWR | os.O_CREAT) as file:
        assert file.write_at(0, b"0123456789") == 10
        assert file.write_at(4, b"four") == 4
        assert (file.read_at(2, 4), file.read_at(8, 100), file.read_at(10, 100)) == (b"23fo", b"89", b"")
        os.dup2(one.fileno(), file.fd)
        with pytest.raises(OSError, match="seek"):
            file.read_at(0, 100)  # nothing was sent yet
        other.sendall(b"from the exchange")
        with pytest.raises(OSError, match="seek"):
            file.read_at(0, 100)
        with pytest.raises(OSError, match="closed by somebody else"):
            file.write_at(0, b"ours")
        assert one.recv(100) == b"from the exchange"
        os.dup2(os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT), file.fd)
        with pytest.raises(OSError, match="closed by somebody else"):
            file.read_at(0, 100)


@posix
@pytest.mark.parametrize("act", [Path.unlink, lambda path: path.rename(path.with_name("file.1"))])
def test_a_file_that_goes_before_we_look_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]
) -> None:
    """Somebody deletes it or rotates it away: what was opened goes on being good until the next look at its name."""
    if act is not Path.unlink and not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells the name")
    monkeypatch.setattr(Descriptor, "stolen", False)
    path, opens = tmp_path / "file", os.open

    def opened_and_gone(path: Path, flags: int, mode: int) -> int:
        fd = opens(path, flags, mode)
        act(path)
        return fd

    monkeypatch.setattr(os, "open", opened_and_gone)
    with Descriptor.at(path, os.O_RDWR | os.O_CREAT) as file:
        file.check()
    assert not Descriptor.stolen
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)


def test_one_who_takes_it_again_and_again_lets_others_in(tmp_path: Path) -> None:
    """Another process that holds it nearly all the time, twenty milliseconds each: nobody waits for it in vain."""
    path, stop = tmp_path / "lock", tmp_path / "stop"
    program = f"""
import time
from pathlib import Path
from metaexpert.logger.system.locks import DirectoryLock
lock = DirectoryLock(Path({str(path)!r}))
with lock:
    print("begun", flush=True)
while not Path({str(stop)!r}).exists():
    with lock:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
"""
    hog = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert hog.stdout is not None
        hog.stdout.readline()
        mine = DirectoryLock(path, patience=1.5)
        for _ in range(10):
            with mine:  # raises TimeoutError
                pass
        mine.close()
    finally:
        stop.touch()
        hog.communicate(timeout=20)
