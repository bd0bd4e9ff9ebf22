"""Recovery: what dead writers left comes into the files once, and whatever is damaged stops nothing."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger import schema
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.recovery import Recovery, recover, recover_directory
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.journal.journal import SMALLEST_SEGMENT, Journal
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.journal.segment import (
    HEADER_SIZE,
    SLOT,
    SLOTS,
    Intent,
    Segment,
    State,
    pack_fixed,
    pack_slot,
    write_out,
)
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.locks import DirectoryLock

LIMIT = 64 * SMALLEST_SEGMENT


def line(number: int) -> bytes:
    return b'{"timestamp":"2026-01-01T00:00:00.000000Z","sequence_id":%d,"message":"m"}\n' % number


class Place:
    """A log directory, with what is needed to fill and to recover it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.private = directory / ".metaexpert"
        self.private.mkdir(parents=True, exist_ok=True)

    def journal(self) -> Journal:
        return Journal(self.private, LIMIT)

    def left(self, numbers: range = range(10), name: str = "expert.log") -> Path:
        """Leave a journal with one segment of lines, as a dead process does."""
        before = set(self.segments())
        journal = self.journal()
        for number in numbers:
            assert journal.lane(name).append(line(number))
        journal.close()
        return next(iter(set(self.segments()) - before))

    def segments(self) -> list[Path]:
        return sorted(self.private.glob("*.segment"))

    def recover(self, lock: AbstractContextManager[object] | None = None) -> Recovery:
        sinks: list[RotatingFile] = []

        def sink_of(name: str) -> RotatingFile:
            policy = RotationPolicy(10**6, 3)
            sinks.append(RotatingFile(self.directory / name, policy, DirectoryLock(self.private / "lock")))
            return sinks[-1]

        try:
            return recover(self.directory, self.private, sink_of, lock or nullcontext())
        finally:
            for sink in sinks:
                sink.close()

    def read(self, name: str = "expert.log") -> list[int]:
        path = self.directory / name
        if not path.exists():
            return []
        data = path.read_bytes()
        assert data.endswith(b"\n")
        return [json.loads(each)["sequence_id"] for each in data.split(b"\n")[:-1]]

    def rest(self) -> list[str]:
        """Return the suffixes of what recovery left."""
        return sorted(path.suffix for path in self.private.iterdir() if path.name != "lock")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "logs")


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def drain(lane: JournalLane, sink: RotatingFile) -> None:
    for segment, begin, end, _ in lane.pending():
        write_out(segment, begin, end, sink)


# -- whole journals --------------------------------------------------------------------------------------------


def test_nothing_left_means_nothing_done(place: Place) -> None:
    """A clean directory, and one that does not exist, recover to nothing."""
    assert place.recover() == Recovery()
    assert recover(place.directory, place.directory / "none", lambda _: pytest.fail("not needed")) == Recovery()


def test_what_waited_comes_into_its_files(place: Place) -> None:
    """Lines of every lane and segment come in, in order, and nothing of the journal stays."""
    journal = place.journal()
    for number in range(300):
        assert journal.lane("expert.log").append(line(number))
        if number % 3 == 0:
            assert journal.lane("trades.log").append(line(number))
    journal.close()
    found = place.recover()
    assert place.read() == list(range(300))
    assert place.read("trades.log") == list(range(0, 300, 3))
    assert found == Recovery(entries=300, lines={"expert.log": 300, "trades.log": 100})
    assert place.rest() == []
    assert place.recover() == Recovery()


def test_an_entry_of_several_files_counts_once(place: Place) -> None:
    """Entries are counted by their number within a process; two processes may use the same numbers."""
    for _ in range(2):
        journal = place.journal()
        for name in ("expert.log", "trades.log", "errors.log"):
            for number in range(5):
                assert journal.lane(name).append(line(number))
        journal.close()
    assert place.recover() == Recovery(10, {"expert.log": 10, "trades.log": 10, "errors.log": 10})


def test_segments_come_in_by_epoch(place: Place) -> None:
    """Order is that of use, whatever the numbers in the names say."""
    journal = place.journal()
    for number in range(1200):
        assert journal.lane("expert.log").append(line(number))
    journal.close()
    paths = place.segments()
    assert len(paths) > 3
    for number, path in enumerate(paths):
        path.rename(path.with_name(f"{journal.id}.{9000 - number}.segment"))
    place.recover()
    assert place.read() == list(range(1200))


def test_what_was_drained_stays_away(place: Place) -> None:
    """Only what the header does not call drained is brought in."""
    journal = place.journal()
    lane = journal.lane("expert.log")
    sink = RotatingFile(place.directory / "expert.log", RotationPolicy(10**6, 3), DirectoryLock(place.private / "lock"))
    for number in range(20):
        assert lane.append(line(number))
    drain(lane, sink)
    for number in range(20, 30):
        assert lane.append(line(number))
    sink.close()
    journal.close()
    assert place.recover().entries == 10
    assert place.read() == list(range(30))


def test_a_living_writer_is_left_alone(place: Place) -> None:
    """A journal whose owner lives is not touched; when he has gone it is."""
    journal = place.journal()
    assert journal.lane("expert.log").append(line(1))
    before = place.segments()[0].read_bytes()
    assert place.recover() == Recovery()
    assert place.segments()[0].read_bytes() == before
    journal.close()
    assert place.recover().entries == 1


def test_segments_without_a_lock_file_are_left_alone(place: Place) -> None:
    """Whether their writer lives cannot be told."""
    path = place.left()
    for owner in place.private.glob("*.owner"):
        owner.unlink()
    assert place.recover() == Recovery()
    assert path.exists()


def test_files_are_searched_under_the_lock(place: Place) -> None:
    """While an unfinished batch is looked for, no process may rotate the files."""
    path = place.left()
    segment = Segment.attach(path)
    segment.intend(Intent(HEADER_SIZE, segment.end(), 1, 2, 0))
    segment.release()
    used = []

    class Lock:
        def __enter__(self) -> None:
            used.append(place.read())

        def __exit__(self, *_: object) -> None:
            used.append(place.read())

    place.recover(Lock())
    assert used == [[], []]
    assert place.read() == list(range(10))


# -- torn and damaged ------------------------------------------------------------------------------------------


def end_of(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


@pytest.mark.parametrize("length", [1, 5, 20, 60, len(line(10)) - 1])
def test_a_torn_tail_is_counted_and_dropped(place: Place, length: int) -> None:
    """A line that a kill cut short is no damage; its call had not returned."""
    path = place.left()
    change(path, end_of(path), line(10)[:length])
    assert place.recover() == Recovery(10, {"expert.log": 10}, torn=1)
    assert place.read() == list(range(10))
    assert place.rest() == []


def test_a_line_with_a_zero_byte_is_torn(place: Place) -> None:
    """A copy may have been cut in its middle while its newline was there already."""
    path = place.left()
    change(path, HEADER_SIZE + 3 * len(line(3)) + 20, b"\0")
    assert place.recover() == Recovery(9, {"expert.log": 9}, torn=1)
    assert place.read() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("bad", [b"garbage", b"\xff\xfe", b'{"timestamp":"x', b"{}", b"\x01" * 300])
def test_damage_in_the_middle_is_set_aside(place: Place, bad: bytes) -> None:
    """What is no entry is kept in a file of its own and counted in bytes; the lines around it come in."""
    path = place.left()
    rest = path.read_bytes()[HEADER_SIZE : end_of(path)]
    change(path, HEADER_SIZE, rest[: 4 * len(line(1))] + bad + b"\n" + rest[4 * len(line(1)) :])
    found = place.recover()
    kept = path.with_suffix(".damaged")
    assert place.read() == list(range(10))
    assert kept.read_bytes() == bad + b"\n"
    assert found == Recovery(10, {"expert.log": 10}, damaged=len(bad) + 1, set_aside=[kept.name])
    assert place.rest() == [".damaged"]
    assert place.recover() == Recovery()


def test_two_lines_that_ran_together_are_damage(place: Place) -> None:
    """A newline that was overwritten leaves no line that any reader would choke on."""
    path = place.left()
    change(path, HEADER_SIZE + 2 * len(line(1)) - 1, b"x")
    found = place.recover()
    assert place.read() == [0, *range(3, 10)]
    assert found.damaged == 2 * len(line(1))


def test_damage_is_kept_when_recovery_has_to_be_repeated(place: Place) -> None:
    """What was set aside by a recovery that did not finish is there after the one that does."""
    path = place.left()
    change(path, HEADER_SIZE, b"X" * 10)

    class Failing:
        def write(self, batch: memoryview, note: Note = ignore) -> int:
            raise OSError(errno.ENOSPC, "full")

        def flush(self) -> None: ...
        def close(self) -> None: ...

    with pytest.raises(OSError, match="full"):
        recover(place.directory, place.private, lambda _: Failing())
    assert place.recover().entries == 9
    assert place.read() == list(range(1, 10))
    assert path.with_suffix(".damaged").read_bytes() == b"X" * 10 + line(0)[10:]


@pytest.mark.parametrize("slot", [0, 1])
def test_one_bad_slot_is_no_trouble(place: Place, slot: int) -> None:
    """The other slot holds the state before, from which nothing is lost."""
    path = place.left()
    change(path, SLOTS[slot] + 3, b"\xff\xff")
    assert place.recover().set_aside == []
    assert place.read() == list(range(10))


def _both_slots(path: Path) -> None:
    for at in SLOTS:
        change(path, at, bytes(SLOT.size))


def _newer(path: Path) -> None:
    change(path, 8, b"\x02")


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def _short(path: Path) -> None:
    path.write_bytes(b"MXLOGJNL and no more than this, which is no header")


def _foreign(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 100)


def _other_name(path: Path) -> None:
    change(path, 28, b"X")


def _outside(path: Path) -> None:
    change(path, 0, pack_fixed(path.stat().st_size, "../x"))


def _parent(path: Path) -> None:
    change(path, 0, pack_fixed(path.stat().st_size, ".."))


def _endless_name(path: Path) -> None:
    change(path, 24, b"\xff\xff")


@pytest.mark.parametrize(
    "spoil",
    [_both_slots, _newer, _truncated, _short, _foreign, _other_name, _outside, _parent, _endless_name],
)
def test_a_segment_that_cannot_be_read_is_set_aside(place: Place, spoil: Callable[[Path], None]) -> None:
    """It is renamed whole, told with the reason, and the other segments come in; the next start is clean."""
    good, bad = place.left(range(10)), place.left(range(10, 20))
    spoil(bad)
    data = bad.read_bytes()
    found = place.recover()
    kept = bad.with_suffix(".unreadable")
    assert place.read() == list(range(10))
    assert not good.exists()
    assert [name.split(" ")[0] for name in found.set_aside] == [kept.name]
    assert kept.read_bytes() == data
    assert found.damaged == len(data.rstrip(b"\0"))
    assert place.rest() == [".unreadable"]
    assert place.recover() == Recovery()


def test_the_reason_names_the_versions(place: Place) -> None:
    """A newer journal is named as such."""
    _newer(place.left())
    assert place.recover().set_aside[0].endswith("(is of version 2; this is version 1)")


HEADER = pack_fixed(SMALLEST_SEGMENT, "expert.log")
SLOT_1 = pack_slot(State(1, 0, HEADER_SIZE, Intent(0, 0, 0, 0, 0)))


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (b"", 0),
        (b"", 1000),
        (b"", SMALLEST_SEGMENT),
        (HEADER[:5], SMALLEST_SEGMENT),
        (HEADER[:20], SMALLEST_SEGMENT),
        (HEADER, SMALLEST_SEGMENT),
        (HEADER.ljust(SLOTS[1], b"\0") + SLOT_1[:30], SMALLEST_SEGMENT),
        (HEADER.ljust(SLOTS[1], b"\0") + SLOT_1, SMALLEST_SEGMENT),
    ],
)
def test_a_segment_that_was_never_finished_is_deleted(place: Place, written: bytes, size: int) -> None:
    """A process that died while it made a segment left part of a header: nothing that anybody misses."""
    place.left().write_bytes(written.ljust(size, b"\0"))
    assert place.recover() == Recovery()
    assert place.rest() == []


# -- troubles --------------------------------------------------------------------------------------------------


def test_a_journal_that_fails_holds_up_no_other(place: Place) -> None:
    """An error is raised when the others are in; what was not brought in stays for the next time."""
    first = place.left(range(5), "expert.log")
    place.left(range(5), "trades.log")
    (place.directory / "expert.log").mkdir()
    with pytest.raises(OSError, match=r"expert\.log"):
        place.recover()
    assert place.read("trades.log") == list(range(5))
    assert first.exists()
    (place.directory / "expert.log").rmdir()
    assert place.recover().entries == 5
    assert place.read() == list(range(5))
    assert place.rest() == []


def test_a_file_that_takes_half_is_continued(place: Place) -> None:
    """Lines that the file took before an error are not written again."""
    place.left(range(20))
    taken: list[bytes] = []

    class Half:
        def write(self, batch: memoryview, note: Note = ignore) -> int:
            if taken:
                raise OSError(errno.ENOSPC, "full")
            note(1, 2, 0, 5 * len(line(1)))
            taken.append(bytes(batch[: 5 * len(line(1))]))
            return len(taken[0])

        def flush(self) -> None: ...
        def close(self) -> None: ...

    with pytest.raises(OSError, match="full"):
        recover(place.directory, place.private, lambda _: Half())
    assert taken == [b"".join(map(line, range(5)))]
    place.recover()
    assert place.read() == list(range(5, 20))


# -- anything at all -------------------------------------------------------------------------------------------

EDITS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, HEADER_SIZE + 900), st.integers(0, SMALLEST_SEGMENT - 1)),
        st.binary(min_size=1, max_size=12),
    ),
    max_size=6,
)


@given(edits=EDITS, cut=st.one_of(st.none(), st.integers(0, SMALLEST_SEGMENT)), intent=st.booleans())
@settings(max_examples=examples(150), deadline=None)
def test_no_damage_makes_an_error_or_a_bad_line(edits: list[tuple[int, bytes]], cut: int | None, intent: bool) -> None:
    """Whatever is written over a segment: recovery ends, each line of each file is an entry, and the next is clean."""
    with tempfile.TemporaryDirectory() as made:
        place = Place(Path(made) / "logs")
        shutil.rmtree(place.private)
        place.private.mkdir()
        path = place.left(range(8))
        if intent:
            segment = Segment.attach(path)
            segment.intend(Intent(HEADER_SIZE, segment.end(), 1, 2, 3))
            segment.release()
        for offset, data in edits:
            change(path, offset, data[: SMALLEST_SEGMENT - offset])
        if cut is not None:
            os.truncate(path, cut)
        found = place.recover()
        for each in place.directory.glob("*.log*"):
            data = each.read_bytes()
            assert data.endswith(b"\n")
            entries = [json.loads(text) for text in data.split(b"\n")[:-1]]
            assert len(entries) == found.lines[each.name]
        assert not place.segments()
        assert place.recover() == Recovery()


@given(data=st.binary(max_size=2000))
@settings(max_examples=examples(60), deadline=None)
def test_no_file_at_all_makes_an_error(data: bytes) -> None:
    """Any bytes in a segment's place are put away."""
    with tempfile.TemporaryDirectory() as made:
        place = Place(Path(made) / "logs")
        place.left().write_bytes(data)
        place.recover()
        assert not place.segments()
        assert place.read() == []


@given(drained=st.integers(0, 2**64 - 1), fields=st.lists(st.integers(0, 2**64 - 1), min_size=5, max_size=5))
@settings(max_examples=examples(60), deadline=None)
def test_no_state_makes_an_error(drained: int, fields: list[Any]) -> None:
    """A header may say anything, with a checksum that is right."""
    with tempfile.TemporaryDirectory() as made:
        place = Place(Path(made) / "logs")
        path = place.left()
        segment = Segment.attach(path)
        segment._store(segment.state._replace(drained=drained, intent=Intent(*fields)))
        segment.release()
        place.recover()
        assert not place.segments()
        place.read()


def test_a_directory_is_recovered_without_a_logger(place: Place) -> None:
    """What two dead processes left is brought in, and the log says so, once."""
    place.left(range(3))
    place.left(range(3, 5), "trades.log")
    now = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)
    found = recover_directory(place.directory, now=lambda: now)
    assert (found.entries, found.lines) == (5, {"expert.log": 3, "trades.log": 2})
    assert place.read() == [0, 1, 2, 1]
    *_, told = map(json.loads, (place.directory / "expert.log").read_bytes().splitlines())
    assert (told["message"], told["recovered"], told["lines"]) == ("log.recovered", 5, found.lines)
    assert told["timestamp"] == "2026-11-22T10:31:00.000000Z"
    jsonschema_rs.validate(schema.FLAT_SCHEMA, told)
    assert recover_directory(place.directory) == Recovery()
    assert place.read("trades.log") == [3, 4]


def intended(place: Place, batch: bytes, **fields: int) -> Path:
    """Leave a journal whose writer died while it wrote *batch*, the first lines, at the start of expert.log."""
    path = place.left(range(4))
    status = (place.directory / "expert.log").stat()
    intent = Intent(HEADER_SIZE, HEADER_SIZE + len(batch), status.st_dev, status.st_ino, 0)._replace(**fields)
    change(path, SLOTS[0], pack_slot(State(10**6, 1, HEADER_SIZE, intent)))
    return path


BATCH = line(0) + line(1)


@pytest.mark.parametrize("written", [b"", line(0)[:-5], line(0), line(0) + line(1)[:-1], BATCH])
@pytest.mark.parametrize("became", ["expert.log", "expert.log.1", "expert.log.1.gz"])
def test_what_of_a_batch_was_written_stays_away(place: Place, written: bytes, became: str) -> None:
    """However much the dead writer wrote, and whether its file was rotated or compressed meanwhile."""
    current = place.directory / "expert.log"
    current.write_bytes(written)
    intended(place, BATCH)
    if became.endswith(".gz"):
        (place.directory / became).write_bytes(gzip.compress(written))
        current.unlink()
    else:
        current.rename(place.directory / became)
    place.recover()
    there = written[: written.rfind(b"\n") + 1] if became != "expert.log" else b""
    assert there + (current.read_bytes() if current.exists() else b"") == b"".join(map(line, range(4)))


def test_a_damaged_backup_tells_nothing_of_a_batch(place: Place) -> None:
    """Writing a line again is better than losing it."""
    (place.directory / "expert.log").write_bytes(b"")
    intended(place, BATCH, inode=1)
    (place.directory / "expert.log.1.gz").write_bytes(gzip.compress(BATCH)[:-12])
    place.recover()
    assert place.read() == [0, 1, 2, 3]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes in a directory")
def test_a_pipe_among_the_journals_holds_nobody_up(place: Place) -> None:
    """Neither one that bears the name of a lock nor one that bears that of a segment is opened."""
    segment = place.left(range(2))
    os.mkfifo(place.private / "0.owner")
    os.mkfifo(segment.with_name(segment.name.replace(".1.", ".9.")))
    found = place.recover()
    assert place.read() == [0, 1]
    assert [name.partition("(")[2] for name in found.set_aside] == ["is no file)"]


def test_recoveries_add_up() -> None:
    """Of several directories or attempts."""
    total = Recovery(entries=1, lines={"a": 1}, torn=1, damaged=2, set_aside=["x"])
    total.add(Recovery(entries=2, lines={"a": 1, "b": 1}, torn=1, damaged=3, set_aside=["y"]))
    assert total == Recovery(entries=3, lines={"a": 2, "b": 1}, torn=2, damaged=5, set_aside=["x", "y"])
