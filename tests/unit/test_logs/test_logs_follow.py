"""Following logs: nothing missed, nothing doubled, whatever happens to the files."""

import gzip
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from metaexpert.logs import Entry, Logs, open_logs
from metaexpert.logs.foreign.files import log_file
from metaexpert.logs.reading import files, follow
from metaexpert.logs.reading.files import Counts
from metaexpert.logs.reading.follow import GRACE, Follower
from metaexpert.logs.reading.snapshot import Snapshot

Line = Callable[..., bytes]


class Session:
    """A directory that is followed, look by look, with a clock of its own."""

    def __init__(self, directory: Path, *, hold: bool) -> None:
        self.directory = directory
        self.hold = hold
        self.now = 0.0
        self.counts = Counts()
        self.pins: list[BinaryIO] = []

    def remove(self, name: str) -> None:
        """Remove a file; where files are reopened its number must stay taken, as NTFS never uses one again."""
        path = self.directory / name
        if not self.hold and os.name != "nt":
            self.pins.append(path.open("rb"))
        path.unlink()

    def close(self) -> None:
        self.follower.close()
        for pin in self.pins:
            pin.close()

    def start(self) -> None:
        with Snapshot(self.directory, diagnostics=False) as snapshot:
            for chain in snapshot.chains.values():
                chain[-1].trim()
            self.follower = Follower(
                self.directory,
                snapshot.chains,
                diagnostics=False,
                counts=self.counts,
                hold=self.hold,
                clock=lambda: self.now,
            )

    def look(self) -> list[bytes]:
        return [record.line for record in self.follower.poll()]

    def append(self, name: str, *lines: bytes) -> None:
        with (self.directory / name).open("ab") as file:
            file.write(b"".join(lines))

    def rotate(self, base: str = "expert.log", *, compress: bool = False) -> None:
        """Move the backups up by one, then the current file, as a writer does; keep at most five."""
        for number in range(5, 0, -1):
            for suffix in ("", ".gz"):
                path = self.directory / f"{base}.{number}{suffix}"
                if path.exists() and number == 5:
                    self.remove(path.name)
                elif path.exists():
                    path.rename(self.directory / f"{base}.{number + 1}{suffix}")
        (self.directory / base).rename(self.directory / f"{base}.1")
        if compress:
            self.compress(f"{base}.1")

    def compress(self, name: str) -> None:
        path = self.directory / name
        (self.directory / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        self.remove(name)


HELD = pytest.param(True, marks=pytest.mark.skipif(os.name == "nt", reason="open files cannot be renamed there"))


@pytest.fixture(params=[HELD, False], ids=["held", "reopened"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    """A session that keeps files open (POSIX), and one that opens them for each look (Windows)."""
    session = Session(tmp_path, hold=request.param)
    yield session
    session.close()


def bare(*lines: bytes) -> list[bytes]:
    return [line.rstrip(b"\n") for line in lines]


def test_only_what_is_added_is_seen(session: Session, line: Line) -> None:
    """What stood there before is not seen, what is appended is, once."""
    session.append("expert.log", line(1))
    session.start()
    assert session.look() == []
    session.append("expert.log", line(2), line(3))
    assert session.look() == bare(line(2), line(3))
    assert session.look() == []


@pytest.mark.parametrize("looks", [1, 3])
def test_a_backup_that_was_renamed_while_the_directory_was_listed(
    session: Session, line: Line, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """A list of files that lacks one in the middle is put off, so that the file's entries are not lost."""
    session.append("expert.log", line(1))
    session.start()
    for number in (2, 3, 4):
        session.rotate()
        session.append("expert.log", line(number))

    def torn(directory: Path, *, diagnostics: bool, recorder: bool = False) -> dict[str, list[files.LogName]]:
        found = files.find_logs(directory, diagnostics=diagnostics)
        return {base: [name for name in names if name.number != 1] for base, names in found.items()}

    with monkeypatch.context() as patch:
        patch.setattr("metaexpert.logs.reading.follow.find_logs", torn)
        assert [session.look() for _ in range(looks)] == [[]] * looks
    assert session.look() == bare(line(2), line(3), line(4))
    assert session.counts.overrun == 0


def test_a_missing_backup_does_not_stop_following(session: Session, line: Line) -> None:
    """Where somebody deleted a backup, the others are read after a few looks, and the count says what may be gone."""
    session.append("expert.log", line(1))
    session.start()
    for number in (2, 3, 4):
        session.rotate()
        session.append("expert.log", line(number))
    session.remove("expert.log.1")
    looks = [session.look() for _ in range(8)]
    assert [record for look in looks for record in look] == bare(line(2), line(4))
    assert session.counts.overrun == 1


def test_a_half_written_line_waits_for_its_end(session: Session, line: Line) -> None:
    """A line is seen when its end is there, also when its beginning was there at the start."""
    session.append("expert.log", line(1), line(2)[:40])
    session.start()
    assert session.look() == []
    session.append("expert.log", line(2)[40:], line(3)[:10])
    assert session.look() == bare(line(2))
    session.append("expert.log", line(3)[10:])
    assert session.look() == bare(line(3))


def test_rotation_misses_and_doubles_nothing(session: Session, line: Line) -> None:
    """What was written before, between and after rotations comes once and in order, over many of them."""
    session.append("expert.log", line(1))
    session.start()
    number = 1
    seen: list[bytes] = []
    for _ in range(12):
        for name in ("old", "new"):
            number += 1
            session.append("expert.log", line(number, name))
            if name == "old":
                session.rotate()
        seen += session.look()
    assert [text.split(b'"sequence_id":')[1].split(b",")[0] for text in seen] == [b"%d" % n for n in range(2, 26)]
    assert session.counts.overrun == 0


def test_two_rotations_between_two_looks(session: Session, line: Line) -> None:
    """A file that was begun and rotated away unseen is read whole, between the old one and the new one."""
    session.append("expert.log", line(1))
    session.start()
    session.append("expert.log", line(2))
    session.rotate()
    session.append("expert.log", line(3))
    session.rotate()
    session.append("expert.log", line(4))
    assert session.look() == bare(line(2), line(3), line(4))
    assert session.look() == []


@pytest.mark.parametrize("during", [1, 2, 3])
def test_rotations_while_the_files_are_opened(
    session: Session, line: Line, monkeypatch: pytest.MonkeyPatch, during: int
) -> None:
    """A slow reader opens a file by a name, and by the next name one that is newer: the order is kept."""
    session.append("expert.log", line(1))
    session.start()
    session.rotate()
    session.append("expert.log", line(2))
    numbers, rotations = iter(range(3, 99)), [1, during]

    def opened(name: files.LogName) -> files.LogFile:
        file = log_file(name)
        if name.number == 0 and rotations:
            for _ in range(rotations.pop()):
                session.rotate()
                session.append("expert.log", line(next(numbers)))
        return file

    monkeypatch.setattr(follow, "log_file", opened)
    seen = [found for _ in range(4) for found in session.look()]
    assert seen == bare(*map(line, range(2, next(numbers))))


def test_compression_after_rotation_shows_nothing_again(session: Session, line: Line) -> None:
    """A backup that is compressed later is known by its first line and not read again."""
    session.append("expert.log", line(1))
    session.start()
    session.append("expert.log", line(2))
    session.rotate()
    session.append("expert.log", line(3))
    assert session.look() == bare(line(2), line(3))
    session.compress("expert.log.1")
    assert session.look() == []
    session.append("expert.log", line(4))
    session.rotate()
    session.append("expert.log", line(5))
    assert session.look() == bare(line(4), line(5))


def test_a_file_begun_rotated_and_compressed_between_two_looks(session: Session, line: Line) -> None:
    """Even a file that is seen for the first time when it is compressed already is read."""
    session.append("expert.log", line(1))
    session.start()
    session.rotate()
    session.append("expert.log", line(2))
    session.rotate(compress=True)
    session.append("expert.log", line(3))
    assert session.look() == bare(line(2), line(3))
    session.now = GRACE + 1
    assert session.look() == []
    session.rotate()
    session.append("expert.log", line(4))
    assert session.look() == bare(line(4))


def test_a_backup_beside_its_compressed_copy_is_read_once(session: Session, line: Line) -> None:
    """Between the making of the copy and the removal of the original both stand there; lines come once."""
    session.append("expert.log", line(1))
    session.start()
    session.rotate()
    session.append("expert.log", line(2), b"torn\n")
    session.rotate()
    packed = gzip.compress((session.directory / "expert.log.1").read_bytes())
    (session.directory / "expert.log.1.gz").write_bytes(packed)
    session.append("expert.log", line(3))
    assert session.look() == [*bare(line(2)), b"torn", *bare(line(3))]


def test_the_old_file_compressed_before_the_next_look(tmp_path: Path, line: Line) -> None:
    """A file that is kept open is read to its end even when it was compressed and removed meanwhile."""
    if os.name == "nt":
        pytest.skip("open files cannot be removed there")
    session = Session(tmp_path, hold=True)
    session.append("expert.log", line(1))
    session.start()
    session.append("expert.log", line(2))
    session.rotate(compress=True)
    session.append("expert.log", line(3))
    assert session.look() == bare(line(2), line(3))
    assert session.look() == []
    session.close()


def test_truncation_begins_anew(session: Session, line: Line) -> None:
    """After `> expert.log` the file is read from its start; the torn half of a line is shown as it is."""
    session.append("expert.log", line(1))
    session.start()
    session.append("expert.log", line(2), b"half a li")
    assert session.look() == bare(line(2))
    (session.directory / "expert.log").write_bytes(b"")
    assert session.look() == [b"half a li"]
    session.append("expert.log", line(3))
    assert session.look() == bare(line(3))


def test_truncation_and_fast_growth_begin_anew(session: Session, line: Line) -> None:
    """A file that was emptied and has outgrown its old size by the next look is read from its start."""
    session.append("expert.log", line(1))
    session.start()
    (session.directory / "expert.log").write_bytes(line(2) + line(3) + line(4))
    assert session.look() == bare(line(2), line(3), line(4))


def test_a_batch_taken_back_and_written_again_is_shown_once(tmp_path: Path, line: Line) -> None:
    """A writer on a full disk takes half a batch back and writes it again: each entry comes once, and the next too."""
    path = tmp_path / "expert.log"
    path.write_bytes(line(1))
    steps = [
        lambda: path.write_bytes(line(1) + line(2) + line(3)[:50]),
        lambda: path.write_bytes(line(1)),
        lambda: path.write_bytes(line(1) + line(2) + line(3) + line(4)),
    ]

    def sleep(_: float) -> None:
        steps.pop(0)()

    stream = open_logs(tmp_path).follow(sleep=sleep)
    got = list(islice(stream, 4))
    assert [r.line for r in got] == bare(line(2), line(3)[:50], line(3), line(4))


def test_a_new_log_is_read_from_its_start(session: Session, line: Line) -> None:
    """A log of another expert that appears is read whole, also when it was rotated before it was seen."""
    session.start()
    session.append("ema.log", line(1))
    session.append("rsi.log", line(2))
    session.rotate("rsi.log")
    session.append("rsi.log", line(3))
    session.append("notes.txt", b"no log\n")
    assert session.look() == bare(line(1), line(2), line(3))
    assert session.counts.overrun == 0


def test_a_removed_and_remade_file_is_read_from_its_start(session: Session, line: Line) -> None:
    """After `rm expert.log` the new file is read; the backups are not taken for new ones."""
    session.append("expert.log.1", line(1))
    session.append("expert.log", line(2))
    session.start()
    session.remove("expert.log")
    assert session.look() == []
    session.append("expert.log", line(3))
    assert session.look() == bare(line(3))
    assert session.counts.overrun == 0


def test_backups_alone_are_not_news(session: Session, line: Line) -> None:
    """A chain that has only backups begins with its next current file."""
    session.append("expert.log.1", line(1))
    session.start()
    assert session.look() == []
    session.append("expert.log", line(2))
    assert session.look() == bare(line(2))
    assert session.look() == []


def test_a_backup_unpacked_by_hand_is_not_news(session: Session, line: Line) -> None:
    """Unpacking an old backup beside the logs does not show it again."""
    session.append("expert.log.1", line(1))
    session.compress("expert.log.1")
    session.append("expert.log", line(2))
    session.start()
    session.append("expert.log.1", line(1))
    session.remove("expert.log.1.gz")
    session.append("expert.log", line(3))
    session.rotate()
    session.append("expert.log", line(4))
    assert session.look() == bare(line(3), line(4))


def test_a_late_writer_into_a_renamed_file_is_heard(session: Session, line: Line) -> None:
    """A writer that has not noticed an external rename goes on in the old file; it is read for ten seconds."""
    session.append("expert.log", line(1))
    session.start()
    session.rotate()
    session.append("expert.log", line(3))
    session.append("expert.log.1", line(2))
    assert session.look() == bare(line(2), line(3))
    session.now = GRACE - 1
    session.append("expert.log.1", line(4), b"torn")
    assert session.look() == bare(line(4))
    session.now = GRACE + 1
    assert session.look() == [b"torn"]
    session.append("expert.log.1", b"too late\n")
    assert session.look() == []


def test_rotated_further_than_backups_reach(session: Session, line: Line) -> None:
    """When files were removed before they could be read, that is counted and what is left is shown."""
    session.append("expert.log", line(1))
    session.start()
    for number in range(2, 12):
        session.rotate()
        session.append("expert.log", line(number))
    seen = session.look()
    assert seen == bare(*(line(n) for n in range(6, 12)))
    assert session.counts.overrun == 1


def test_large_batches_are_read_in_parts(session: Session, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look takes a bounded piece of a file, and an old file is finished before the new one is begun."""
    monkeypatch.setattr("metaexpert.logs.reading.follow._MOST", 1000)
    session.append("expert.log", b"")
    session.start()
    session.append("expert.log", *(line(n) for n in range(1, 21)))
    session.rotate()
    session.append("expert.log", line(21))
    looks = []
    while batch := session.look():
        looks.append(batch)
    assert len(looks) > 3
    assert [text for look in looks for text in look] == bare(*(line(n) for n in range(1, 22)))


def test_files_are_merged_by_time_at_each_look(session: Session, line: Line) -> None:
    """What is read at one look comes in order of time, torn lines after the entry before them."""
    session.start()
    session.append("b.log", line(1, at=1), b"torn\n", line(2, at=4))
    session.append("a.log", line(1, "x", at=2))
    assert session.look() == bare(line(1, at=1), b"torn", line(1, "x", at=2), line(2, at=4))


def test_a_file_that_cannot_be_opened_is_tried_again(
    session: Session, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log without permission is named, the others are followed, and it is read once it can be."""
    session.start()
    opened = Path.open
    refused = {"secret.log"}

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name in refused and (args or ["r"])[0] == "rb":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    session.append("expert.log", line(1))
    session.append("secret.log", line(2))
    assert line(1)[:-1] in session.look()
    session.look()
    assert session.counts.unreadable == {"secret.log": "Permission denied"}
    refused.clear()
    assert session.look() == bare(line(2))


def test_a_removed_directory_comes_back(session: Session, line: Line) -> None:
    """A directory that is removed and made anew is followed on."""
    session.append("expert.log", line(1))
    session.start()
    session.remove("expert.log")
    session.directory.rmdir()
    assert session.look() == []
    session.directory.mkdir()
    session.append("expert.log", line(2))
    assert session.look() == bare(line(2))


def test_follow_begins_with_the_last_and_shows_copies_once(tmp_path: Path, line: Line) -> None:
    """`follow(last=n)` goes from the last records on without a gap; an error's copy that comes later is dropped."""
    error = line(3, level="error")
    (tmp_path / "expert.log").write_bytes(line(1) + line(2))
    (tmp_path / "errors.log").write_bytes(error)
    logs = open_logs(tmp_path)
    steps = [
        lambda: (tmp_path / "expert.log").write_bytes(line(1) + line(2) + error + line(4)),
        lambda: (tmp_path / "errors.log").write_bytes(error + line(5, level="error")),
        lambda: (tmp_path / "expert.log").write_bytes(line(1) + line(2) + error + line(4) + line(5, level="error")),
    ]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        steps.pop(0)()

    stream = logs.follow(last=2, sleep=sleep, interval=0.01)
    assert [r.sequence_id for r in islice(stream, 4) if isinstance(r, Entry)] == [2, 3, 4, 5]
    assert set(naps) == {0.01}


def test_follow_keeps_the_level_and_counts(tmp_path: Path, line: Line) -> None:
    """Following shows what the filter lets pass and counts lines that are no entries."""
    (tmp_path / "expert.log").write_bytes(line(1))
    logs: Logs = open_logs(tmp_path, level="WARNING")

    def sleep(_: float) -> None:
        (tmp_path / "expert.log").write_bytes(line(1) + line(2) + b"torn\n" + line(3, level="error"))

    stream = logs.follow(sleep=sleep)
    assert [r.line for r in islice(stream, 2)] == [b"torn", line(3, level="error")[:-1]]
    assert (logs.counts.entries, logs.counts.unparsed) == (2, 1)


def test_a_rotation_between_the_last_records_and_the_first_look(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written and rotated away while the last records are read is seen next."""
    session = Session(tmp_path, hold=True)
    session.append("expert.log", line(1))
    logs = open_logs(tmp_path)
    read = files.LogFile.backward

    def rotate_meanwhile(self: files.LogFile, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        yield from read(self, *args, **kwargs)
        session.append("expert.log", line(2))
        session.rotate(compress=os.name != "nt")
        session.append("expert.log", line(3))

    monkeypatch.setattr(files.LogFile, "backward", rotate_meanwhile)
    stream = logs.follow(last=9)
    got = [next(stream)]
    monkeypatch.undo()
    got += islice(stream, 2)
    assert [r.sequence_id for r in got if isinstance(r, Entry)] == [1, 2, 3]


def test_the_files_are_closed_when_following_ends_with_the_first_records(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when it ends while it waits for others."""
    (tmp_path / "expert.log").write_bytes(line(0) + line(1))
    closed: list[Follower] = []
    close = Follower.close

    def noted(self: Follower) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Follower, "close", noted)
    batches = open_logs(tmp_path).batches(last=2)
    assert len(next(batches)) == 2
    batches.close()
    assert len(closed) == 1
