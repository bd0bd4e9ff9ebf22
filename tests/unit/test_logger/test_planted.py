"""Files that others plant in a log directory: links, second names, pipes, foreign owners, hostile segments."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.entry import time_index
from metaexpert.logger.files import recovery
from metaexpert.logger.files._indexer import Index
from metaexpert.logger.files.recovery import Recovery, recover_directory
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.segment import HEADER_SIZE, NO_INTENT, State, pack_fixed, pack_slot
from metaexpert.logger.remote.alerts._heartbeat import Heartbeat, dead
from metaexpert.logger.remote.alerts._outbox import Outbox
from metaexpert.logger.remote.alerts._rate_limit import Limit, RateLimit
from metaexpert.logger.system.descriptors import Descriptor, give_to_owner_above, open_file, open_private
from metaexpert.logger.system.locks import DirectoryLock, FileLock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and modes of POSIX")

SECRET = b"what another file holds\n"
LINE = b'{"timestamp":"2026-11-22T10:31:00.123456Z","level":"info","sequence_id":%d,"message":"m"}\n'
Plant = Callable[[Path], None]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of someone else; it must stay as it is."""
    path = tmp_path / "victim"
    path.write_bytes(SECRET)
    before = path.stat()
    yield path
    assert path.read_bytes() == SECRET
    assert (path.stat().st_mode, path.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log directory."""
    (tmp_path / "logs" / ".metaexpert").mkdir(parents=True, mode=0o750)
    return tmp_path / "logs"


@pytest.fixture
def private(logs: Path) -> Path:
    """Its private directory."""
    return logs / ".metaexpert"


def plants(victim: Path) -> dict[str, Plant]:
    """What may be planted under a name of ours."""

    def listen(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):  # a path may be too long for it
            server.bind(path.name)

    return {
        "link": lambda path: path.symlink_to(victim),
        "link to nowhere": lambda path: path.symlink_to(victim.with_name("made")),
        "link to itself": lambda path: path.symlink_to(path),
        "link to a device": lambda path: path.symlink_to("/dev/zero"),
        "second name": lambda path: os.link(victim, path),
        "pipe": os.mkfifo,
        "socket": listen,
        "directory": Path.mkdir,
    }


KINDS = sorted(plants(Path("v")))


def segment(name: str = "expert.log", lines: bytes = LINE % 1, size: int = 0) -> bytes:
    """Return the bytes of a segment with *lines* for the file *name*; *size* is the one that its header says."""
    head = bytearray(HEADER_SIZE)
    fixed = pack_fixed(size or HEADER_SIZE + len(lines), name)
    head[: len(fixed)] = fixed
    slot = pack_slot(State(1, 1, HEADER_SIZE, NO_INTENT))
    head[320 : 320 + len(slot)] = slot
    return bytes(head) + lines


def entry_numbers(path: Path) -> list[int]:
    return [json.loads(line)["sequence_id"] for line in path.read_bytes().splitlines() if b'"message":"m"' in line]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_may_be_made_takes_the_place_of_what_was_planted(tmp_path: Path, victim: Path, kind: str) -> None:
    """What bore the name is renamed and otherwise left alone; nothing blocks, and nothing behind a link is made."""
    place = tmp_path / "private"
    place.mkdir()
    plants(victim)[kind](place / "name")
    with Descriptor.at(place / "name", os.O_RDWR | os.O_CREAT | os.O_TRUNC, opener=open_private) as file:
        os.write(file.fd, b"ours")
    assert (place / "name").read_bytes() == b"ours"
    assert stat.S_ISREG((place / "name").lstat().st_mode)
    assert os.path.lexists(place / "name.refused")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL]
)
def test_a_file_that_must_be_there_is_not_what_was_planted(tmp_path: Path, victim: Path, kind: str, flags: int) -> None:
    """It is neither opened nor emptied, and stays where it is."""
    plants(victim)[kind](tmp_path / "name")
    with pytest.raises(OSError, match="name"):
        open_private(tmp_path / "name", flags)
    assert os.path.lexists(tmp_path / "name")
    assert not (tmp_path / "made").exists()


def test_a_private_directory_is_no_link(tmp_path: Path, victim: Path) -> None:
    """Neither is a file opened through one, nor is a journal kept behind one."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "private").symlink_to("theirs")
    with pytest.raises(OSError, match="private"):
        open_private(tmp_path / "private" / "lock", os.O_RDWR | os.O_CREAT)
    journal = Journal(tmp_path / "private", 100_000)
    assert journal.durable
    journal.close()
    assert not list((tmp_path / "theirs").iterdir())
    assert (tmp_path / "private.refused").is_symlink()
    assert victim.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_logger_goes_on_and_says_what_was_planted(logs: Path, victim: Path, kind: str) -> None:
    """Whatever bears the names of the locks, the index and the compressed copy: all is written, and told once."""
    for name in ("lock", "archive", "index", "index.part", f"expert.log.1-{os.getpid()}.gz.compressing"):
        plants(victim)[kind](logs / ".metaexpert" / name)
    with MetaLogger(
        log_dir=logs,
        log_to_console=False,
        install=False,
        max_file_size=2000,
        compress_backups=True,
        capture_uncaught=False,
    ) as logger:
        for number in range(20):
            logger.info("m", number=number)
        assert logger.flush(20)
    assert not (victim.with_name("made")).exists()
    told = [json.loads(line) for line in (logs / "logging_errors.log").read_bytes().splitlines()]
    exposed = [entry for entry in told if "others may plant files" in entry["message"]]
    assert len(exposed) == 1
    assert exposed[0]["level"] == "warning"


def test_what_made_way_for_the_first_entry_is_told(logs: Path, private: Path) -> None:
    """A directory that bears the name of the lock shows only by its new name, which it has once the lock is taken."""
    (private / "lock").mkdir()
    with MetaLogger(log_dir=logs, log_to_console=False, install=False, capture_uncaught=False) as logger:
        logger.info("m")
        assert logger.flush(20)
    told = [json.loads(line)["message"] for line in (logs / "logging_errors.log").read_bytes().splitlines()]
    assert sum("others may plant files" in message for message in told) == 1


@pytest.mark.parametrize("link", [".metaexpert", "."])
def test_a_logger_goes_on_where_a_directory_is_a_link(tmp_path: Path, victim: Path, link: str) -> None:
    """A linked log directory is the user's own choice; a linked private directory makes way, and holds nothing."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "logs").mkdir() if link == ".metaexpert" else (tmp_path / "logs").symlink_to("theirs")
    if link == ".metaexpert":
        (tmp_path / "logs" / link).symlink_to(tmp_path / "theirs")
    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
        logger.info("m")
    assert len((tmp_path / "logs" / "expert.log").read_bytes().splitlines()) == 1
    assert bool(list((tmp_path / "theirs").iterdir())) == (link == ".")
    assert victim.exists()


@pytest.mark.parametrize("kind", ["link", "link to nowhere", "second name", "pipe", "directory"])
@pytest.mark.parametrize("ending", ["1.part", "1.damaged", "1.unreadable", "crash", "owner", "1.segment"])
def test_recovery_opens_and_changes_nothing_planted(
    logs: Path, private: Path, victim: Path, kind: str, ending: str
) -> None:
    """Links and the like by any name of a journal's files: the other journals come in, the target stays as it is."""
    (private / "id.owner").touch()
    (private / "id.1.segment").write_bytes(segment(lines=b"no entry at all\n" + LINE % 1))
    name = private / f"id.{ending}"
    name.unlink(missing_ok=True)
    plants(victim)[kind](name)
    (private / "other.owner").touch()
    (private / "other.1.segment").write_bytes(segment(lines=LINE % 2))
    with contextlib.suppress(OSError):  # a directory in the way of one of them
        recover_directory(logs)
    assert 2 in entry_numbers(logs / "expert.log")
    assert not victim.with_name("made").exists()


def test_a_link_to_a_private_directory_is_not_recovered(logs: Path, private: Path) -> None:
    """Not even by the command."""
    (private / "id.owner").touch()
    private.rename(logs.parent / "theirs")
    private.symlink_to("../theirs")
    with pytest.raises(OSError, match="is a link"):
        recover_directory(logs)


@pytest.mark.parametrize(
    "name",
    [
        *("../victim", "/etc/cron.d/x", "a/b.log", "..", ".", "", " ", "x\n.log", "x\0.log", "C:evil.log", "a\\b.log"),
        *("logging_errors.log", ".metaexpert", ".metaexpert2.log", "expert.log.1", "expert.log.2.gz", "x.gz"),
        *("bot.py", ".env", ".bashrc", "authorized_keys", "Makefile", "pyproject.toml", "crontab", "x" * 250 + ".log"),
    ],
)
def test_a_segment_names_only_files_that_may_be_logs(logs: Path, private: Path, victim: Path, name: str) -> None:
    """Whatever else it names is neither made nor changed; the segment is set aside and told, so nothing is lost."""
    (logs / "bot.py").write_bytes(b"import os\n")
    (private / "id.owner").touch()
    (private / "id.1.segment").write_bytes(segment(name, LINE % 1))
    before = {path: path.read_bytes() for path in logs.iterdir() if path.is_file()}
    found = recover_directory(logs)
    assert {path: path.read_bytes() for path in logs.iterdir() if path.is_file()} == before
    assert [said.partition(" ")[0] for said in found.set_aside] == ["id.1.unreadable"]
    assert LINE % 1 in (private / "id.1.unreadable").read_bytes()
    assert victim.exists()


@pytest.mark.parametrize(("name", "there"), [("ema.log", None), ("ema.jsonl", None), ("ema", b""), ("ema", LINE % 0)])
def test_a_segment_may_name_a_log(logs: Path, private: Path, name: str, there: bytes | None) -> None:
    """One that ends like a log, or one of any ending that is there and is a log."""
    if there is not None:
        (logs / name).write_bytes(there)
    (private / "id.owner").touch()
    (private / "id.1.segment").write_bytes(segment(name, LINE % 1))
    recover_directory(logs)
    assert (logs / name).read_bytes().startswith((there or b"") + LINE % 1)


def test_a_logger_knows_its_own_files_whatever_their_endings(logs: Path, private: Path) -> None:
    """A file that it has by configuration takes what its former process left, though someone deleted the file."""
    (private / "id.owner").touch()
    (private / "id.1.segment").write_bytes(segment("ema.out", LINE % 1))
    with MetaLogger(log_dir=logs, log_file="ema.out", log_to_console=False, install=False):
        pass
    assert (logs / "ema.out").read_bytes().startswith(LINE % 1)


@pytest.mark.parametrize("begin", [b"", b"MXLOGJNL", b"\x7fELF" * 200, segment(size=300 << 30), segment(size=48 << 20)])
def test_a_huge_sparse_segment_costs_nothing(logs: Path, private: Path, begin: bytes) -> None:
    """Neither a foreign one nor one with a valid header: it is set aside or read, without its holes."""
    size = 48 << 20 if begin == segment(size=48 << 20) else 300 << 30
    (private / "id.owner").touch()
    with (private / "id.1.segment").open("wb") as file:
        file.write(begin)
        file.truncate(size)
    (private / "other.owner").touch()
    (private / "other.1.segment").write_bytes(segment(lines=LINE % 2))
    assert recovery.count_waiting(private / "id.owner") == (size == 48 << 20)
    found = recover_directory(logs)
    assert 2 in entry_numbers(logs / "expert.log")
    assert len(found.set_aside) == (size == 300 << 30 and begin != b""), (
        "one without a byte was begun by a killed writer"
    )
    assert found.damaged < 1 << 20


def test_a_pipe_among_the_backups_does_not_stop_a_recovery(logs: Path, private: Path) -> None:
    """It is looked for in files what a batch has already written, and only in files."""
    os.mkfifo(logs / "expert.log.3")
    (private / "id.owner").touch()
    data = bytearray(segment(lines=LINE % 1))
    slot = pack_slot(State(1, 1, HEADER_SIZE, NO_INTENT._replace(start=HEADER_SIZE, end=len(data), inode=1)))
    data[320 : 320 + len(slot)] = slot
    (private / "id.1.segment").write_bytes(data)
    recover_directory(logs)
    assert entry_numbers(logs / "expert.log") == [1]


@pytest.mark.parametrize("target", ["victim", "gone"])
def test_a_planted_log_does_not_become_the_story_of_a_recovery(
    logs: Path, private: Path, victim: Path, target: str
) -> None:
    """With nothing but a torn line to tell, no link is taken for the expert's largest file."""
    (logs / "z.log").symlink_to(victim.with_name(target))
    (private / "id.owner").touch()
    (private / "id.1.segment").write_bytes(segment(lines=b'{"timestamp":"2026\0\0'))
    assert recover_directory(logs).torn == 1
    assert b"log.recovered" in (logs / "expert.log").read_bytes()


# -- owners ------------------------------------------------------------------------------------------------------


@pytest.mark.root
class TestOwners:
    """Of several users on one machine: 1001 is the expert's, 1002 a stranger."""

    def test_a_log_file_that_a_stranger_has_linked_is_not_followed(self, logs: Path, victim: Path) -> None:
        """The link of an administrator, or of the directory's owner, is."""
        link = logs / "expert.log"
        link.symlink_to(victim)
        os.chown(link, 1002, 1002, follow_symlinks=False)
        with pytest.raises(PermissionError, match="another user"):
            open_file(link, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.chown(logs, 1002, 1002)
        os.close(open_file(link, os.O_WRONLY | os.O_APPEND))
        os.chown(logs, 1001, 1001)
        os.chown(link, 0, 0, follow_symlinks=False)
        os.close(open_file(link, os.O_WRONLY | os.O_APPEND))

    def test_the_journal_of_a_stranger_is_left_alone(self, logs: Path, private: Path) -> None:
        """And told; the journals of the directory's owner come in."""
        for name, user in (("theirs", 1002), ("experts", 1001)):
            (private / f"{name}.owner").touch()
            (private / f"{name}.1.segment").write_bytes(segment(lines=LINE % user))
            for path in private.glob(f"{name}.*"):
                os.chown(path, user, user)
        os.chown(private, 1001, 1001)
        found = recover_directory(logs)
        assert entry_numbers(logs / "expert.log") == [1001]
        assert [said.partition(" ")[0] for said in found.set_aside] == ["theirs.owner"]

    def test_a_strangers_segment_in_a_trusted_journal_is_set_aside(self, logs: Path, private: Path) -> None:
        """Its lines are in no log."""
        (private / "id.owner").touch()
        (private / "id.1.segment").write_bytes(segment())
        os.chown(private / "id.1.segment", 1002, 1002)
        assert [said for said in recover_directory(logs).set_aside if "another user" in said]
        assert not (logs / "expert.log").exists() or entry_numbers(logs / "expert.log") == []

    def test_what_root_recovers_belongs_to_the_expert(self, logs: Path, private: Path) -> None:
        """Otherwise its next start could not write its own files."""
        (private / "id.owner").touch()
        (private / "id.1.segment").write_bytes(segment())
        for path in (logs, private, *private.iterdir()):
            os.chown(path, 1001, 1001)
        assert recover_directory(logs) != Recovery()
        made = [logs / "expert.log", private / "lock"]
        assert [path.stat().st_uid for path in made] == [1001, 1001]


@pytest.mark.parametrize(
    ("directory", "inner", "said"),
    [(0o777, 0o750, True), (0o1777, 0o750, True), (0o750, 0o757, True), (0o775, 0o750, False)],
)
def test_a_directory_that_all_may_write_to_is_told_once(
    logs: Path, private: Path, directory: int, inner: int, said: bool
) -> None:
    """As a warning in logging_errors.log; a group is the administrator's choice."""
    private.chmod(inner)
    logs.chmod(directory)
    for _ in range(2):
        MetaLogger(log_dir=logs, log_to_console=False, install=False).info("m")
    for logger in [MetaLogger(log_dir=logs, log_to_console=False, install=False)]:
        assert logger.flush(20)
        logger.close()
    told = (logs / "logging_errors.log").read_text() if (logs / "logging_errors.log").exists() else ""
    assert told.count("every user may write") == said


# -- the other files -----------------------------------------------------------------------------------------------


def test_locks_do_not_touch_what_a_link_leads_to(tmp_path: Path, victim: Path) -> None:
    """Neither the lock of a directory nor that of a file."""
    for name in ("lock", "own.owner"):
        (tmp_path / name).symlink_to(victim)
    with DirectoryLock(tmp_path / "lock"):
        pass
    lock = FileLock(tmp_path / "own.owner")
    assert lock.acquire()
    lock.write(b"mine")
    lock.release(delete=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_read_from_a_file_only(private: Path, victim: Path, kind: str) -> None:
    """By the writer and by the reader; neither waits."""
    plants(victim)[kind](private / time_index.NAME)
    with contextlib.suppress(OSError):
        assert time_index.lines_by_key(private / time_index.NAME) == {}
    index = Index(private)
    with contextlib.suppress(OSError):
        index.load()
    index.note(b"1-2-00000003", [])
    if kind != "directory":
        index.save()


@pytest.mark.parametrize("kind", KINDS)
def test_a_heartbeat_is_read_from_a_file_only(tmp_path: Path, victim: Path, kind: str) -> None:
    """What was planted tells of no death, and does not keep others from being found."""
    place = tmp_path / "alerts"
    place.mkdir()
    plants(victim)[kind](place / "0-planted.running")
    gone = Heartbeat(place, {"expert": "Ema"})
    gone._lock.release(delete=False)
    assert list(dead(place)) == [{"expert": "Ema"}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_spool_is_a_file_of_its_own(tmp_path: Path, victim: Path, kind: str) -> None:
    """SQLite would follow a link and make what it leads to."""
    place = tmp_path / "alerts"
    place.mkdir()
    plants(victim)[kind](place / "outbox.sqlite3")
    outbox = Outbox(place, "endpoint")
    outbox.open()
    outbox.close()
    assert stat.S_ISREG((place / "outbox.sqlite3").lstat().st_mode)
    assert not (tmp_path / "made").exists()


def test_every_file_obeys_the_umask(tmp_path: Path) -> None:
    """With 077 nobody else may read a file of ours: logs, journal, outbox with its companions, crash file."""
    before = os.umask(0o077)
    try:
        outbox = Outbox(tmp_path / "logs" / ".metaexpert" / "alerts", "endpoint")
        outbox.open()
        outbox._db.execute("PRAGMA journal_mode = WAL")
        outbox._db.execute("DELETE FROM alerts")
        limit = RateLimit("token", [Limit("bot", 1, 1.0)], directory=tmp_path / "state")
        limit.take()
        logger = MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False)
        logger.error("m")
        (tmp_path / "logs" / ".metaexpert" / "id.owner").touch()
        (tmp_path / "logs" / ".metaexpert" / "id.1.segment").write_bytes(segment(lines=b"no entry\n"))
        recover_directory(tmp_path / "logs")
        assert logger.flush(20)
        made = [path for path in (tmp_path).rglob("*") if path.exists()]
        assert len(made) > 10
        assert {str(path): oct(path.stat().st_mode) for path in made if path.stat().st_mode & 0o077} == {}
        logger.close()
        outbox.close()
        limit.close()
    finally:
        os.umask(before)


def test_without_a_umask_no_file_is_wider_than_ours(tmp_path: Path) -> None:
    """0640 at most, also for what SQLite, faulthandler and a recovery make."""
    before = os.umask(0)
    try:
        logger = MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False)
        logger.error("m")
        private = tmp_path / "logs" / ".metaexpert"
        (private / "id.owner").touch(0o640)
        (private / "id.1.segment").write_bytes(segment(lines=b"no entry\n"))
        (private / "id.1.segment").chmod(0o640)
        recover_directory(tmp_path / "logs")
        outbox = Outbox(private / "alerts", "endpoint")
        outbox.open()
        outbox.close()
        files = [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]
        assert {str(path): oct(path.stat().st_mode) for path in files if path.stat().st_mode & 0o137} == {}
        assert any(path.name.endswith(".damaged") for path in files)
        logger.close()
    finally:
        os.umask(before)


def test_a_spool_that_exists_keeps_the_locks_of_its_other_users(tmp_path: Path) -> None:
    """To open and close the file beside SQLite would release them."""
    first, second = Outbox(tmp_path, "one"), Outbox(tmp_path, "two")
    first.open()
    first._db.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(tmp_path / "outbox.sqlite3", timeout=0)
    with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    from metaexpert.logger.remote.spool import _make

    _make(tmp_path / "outbox.sqlite3")
    other = sqlite3.connect(tmp_path / "outbox.sqlite3", timeout=0)
    with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    first._db.rollback()
    first.close()
    second.close()


# -- the rate limit ------------------------------------------------------------------------------------------------


def limited(directory: Path | None) -> RateLimit:
    return RateLimit("token", [Limit("bot", 2, 60.0)], clock=lambda: 1000.0, directory=directory)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["budget-token.json", "budget-token.new", "budget-token.lock"])
def test_the_file_of_a_rate_limit_follows_no_link(tmp_path: Path, victim: Path, name: str, kind: str) -> None:
    """The limit holds all the same."""
    place = tmp_path / "state"
    place.mkdir(mode=0o700)
    plants(victim)[kind](place / name)
    limit = limited(place)
    assert [limit.take() > 0 for _ in range(3)] == [False, False, True]
    limit.close()
    assert not (tmp_path / "made").exists()


def a_link(path: Path) -> None:
    path.with_name("theirs").mkdir(mode=0o700)
    path.symlink_to("theirs")


@pytest.mark.parametrize("plant", [a_link, lambda path: path.mkdir(mode=0o700) or path.chmod(0o777)])
def test_a_directory_that_others_have_made_keeps_no_rate_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], Any]
) -> None:
    """Without a home its name can be guessed. The process then keeps the limit by itself."""
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    place = tmp_path / f"metaexpert-{os.getuid()}"
    plant(place)
    limit = limited(None)
    assert [limit.take() > 0 for _ in range(3)] == [False, False, True]
    assert isinstance(limit.error, OSError)
    assert not list(place.iterdir())
    limit.close()


@pytest.mark.root
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, who alone gives files away")
class TestGivenAway:
    """A directory that root makes in another user's belongs to that user."""

    @pytest.fixture
    def theirs(self, tmp_path: Path) -> Path:
        """Another user's directory."""
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 12345, 12345)
        return tmp_path / "theirs"

    def test_it_is_given_to_the_owner_of_the_one_above(self, theirs: Path) -> None:
        """With the group."""
        (theirs / "watch").mkdir()
        give_to_owner_above(theirs / "watch")
        assert ((theirs / "watch").stat().st_uid, (theirs / "watch").stat().st_gid) == (12345, 12345)

    @pytest.mark.parametrize("plant", [os.symlink, os.link])
    def test_nothing_is_given_that_was_put_in_its_place(self, theirs: Path, victim: Path, plant: Any) -> None:
        """A link, or a second name, by which another file of root's would change hands."""
        plant(victim, theirs / "watch")
        with pytest.raises(OSError, match="watch"):
            give_to_owner_above(theirs / "watch")
        assert victim.stat().st_uid == 0
