"""The journal: segments, bounds, recycling, ownership, and its format as `docs/journal.md` tells it."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sinks import FakeClock

from metaexpert.logger.files.recovery import recover
from metaexpert.logger.journal import journal as journal_module
from metaexpert.logger.journal import lane as lane_module
from metaexpert.logger.journal import segment as segment_module
from metaexpert.logger.journal.journal import SMALLEST_SEGMENT, Journal
from metaexpert.logger.journal.lane import MAX_SPARE, JournalLane
from metaexpert.logger.journal.segment import (
    HEADER_SIZE,
    SLOTS,
    Intent,
    Segment,
    State,
    pack_slot,
    read_slot,
    write_out,
)
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.calls import file_system_of
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import FileLock

LIMIT = 8 * SMALLEST_SEGMENT
ROOM = SMALLEST_SEGMENT - HEADER_SIZE


def line(number: int, length: int = 100) -> bytes:
    head = b'{"timestamp":"2026-01-01T00:00:00.000000Z","sequence_id":%d,"pad":"' % number
    return head + b"x" * (length - len(head) - 3) + b'"}\n'


class Bucket:
    """A sink that keeps all, and fails while `error` is set."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.error: OSError | None = None

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        note(1, 2, len(self.data), len(batch))
        part = batch[: len(batch)]
        if self.error is not None:
            raise self.error
        self.data += part
        return len(batch)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def drain(lane: JournalLane, bucket: Bucket) -> None:
    for segment, begin, end, sealed in lane.pending():
        if begin < end:
            write_out(segment, begin, end, bucket)
        if sealed:
            lane.recycle(segment)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Return a function that makes a journal, closed at the end."""
    made: list[Journal] = []

    def new(directory: Path | None = tmp_path, limit: int = LIMIT, **options: Any) -> Journal:
        made.append(Journal(directory, limit, **options))
        return made[-1]

    yield new
    for journal in made:
        journal.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


# -- appending -------------------------------------------------------------------------------------------------


def test_lines_come_out_as_they_went_in(make: Callable[..., Journal]) -> None:
    """Lines of several segments are drained in order."""
    lane, bucket, lines = make().lane("expert.log"), Bucket(), [line(n) for n in range(150)]
    assert all(lane.append(each) for each in lines)
    drain(lane, bucket)
    assert bytes(bucket.data) == b"".join(lines)
    assert lane.waiting == 0


def test_a_line_may_fill_a_segment_to_the_last_byte(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A segment takes lines up to its very end; the next line goes to another."""
    lane, bucket = make().lane("expert.log"), Bucket()
    assert lane.append(line(1, ROOM))
    assert len(segments(tmp_path)) == 1
    drain(lane, bucket)
    assert lane.append(line(2))
    assert len(segments(tmp_path)) == 2
    drain(lane, bucket)
    assert bytes(bucket.data) == line(1, ROOM) + line(2)


def test_an_oversized_line_gets_a_segment_of_its_size(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A line longer than a segment is taken, and its segment is given back rather than kept."""
    lane, bucket = make().lane("expert.log"), Bucket()
    assert lane.append(line(1, 3 * SMALLEST_SEGMENT))
    assert [path.stat().st_size for path in segments(tmp_path)] == [3 * SMALLEST_SEGMENT + HEADER_SIZE]
    assert lane.append(line(2))
    drain(lane, bucket)
    assert bytes(bucket.data) == line(1, 3 * SMALLEST_SEGMENT) + line(2)


def test_the_limit_is_kept_and_the_reserve_is_as_large_again(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Beyond the limit only what may use the reserve is taken, and beyond that nothing, until something is drained."""
    lane, bucket = make().lane("expert.log"), Bucket()

    def fill(*, reserve: bool) -> int:
        taken = 0
        while lane.append(line(taken, 1000), reserve=reserve):
            taken += 1
        return taken

    def size() -> int:
        return sum(path.stat().st_size for path in segments(tmp_path))

    assert fill(reserve=False) > 0
    assert LIMIT // 2 < size() <= LIMIT
    assert fill(reserve=True) > 0
    assert LIMIT < size() <= 2 * LIMIT
    assert fill(reserve=True) == 0
    drain(lane, bucket)
    assert lane.append(line(1))


def test_a_full_journal_hands_back_the_line_alone(make: Callable[..., Journal]) -> None:
    """A line that does not fit leaves those before it untouched, and a shorter one may still fit."""
    lane = make(limit=SMALLEST_SEGMENT).lane("expert.log")
    assert lane.append(line(1, ROOM - 200))
    assert not lane.append(line(2, 300))
    assert lane.append(line(3, 200))
    assert [entry for pending in lane.pending() for entry in pending.lines()] == [
        line(1, ROOM - 200)[:-1],
        line(3, 200)[:-1],
    ]


def test_lanes_share_the_limit(make: Callable[..., Journal]) -> None:
    """What one lane takes the others have no longer."""
    journal = make(limit=2 * SMALLEST_SEGMENT)
    assert journal.lane("expert.log").append(line(1))
    assert journal.lane("trades.log").append(line(2))
    assert not journal.lane("errors.log").append(line(3))
    assert journal.lane("errors.log").append(line(3), reserve=True)
    assert journal.lane("expert.log") is journal.lane("expert.log")
    assert journal.used() == 300


def test_growth_is_told(make: Callable[..., Journal]) -> None:
    """Whoever wants to know is told of each segment that comes into use."""
    journal, grown = make(), []
    journal.on_growth = lambda: grown.append(journal.used())
    lane = journal.lane("expert.log")
    for number in range(3):
        assert lane.append(line(number, ROOM))
    assert len(grown) == 3


# -- recycling -------------------------------------------------------------------------------------------------


def test_segments_are_used_again(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A steady stream needs no new files, and each use has the next epoch."""
    lane, bucket, lines = make().lane("expert.log"), Bucket(), [line(n, 900) for n in range(400)]
    epochs = []
    for each in lines:
        assert lane.append(each)
        drain(lane, bucket)
        epochs += [pending.segment.state.epoch for pending in lane.pending()]
    assert bytes(bucket.data) == b"".join(lines)
    assert len(segments(tmp_path)) <= 1 + MAX_SPARE
    assert epochs == sorted(epochs)
    assert epochs[-1] > 50


def test_room_is_given_back(make: Callable[..., Journal], tmp_path: Path) -> None:
    """After a backlog was drained, few spare segments stay and the limit is free again."""
    lane, bucket = make().lane("expert.log"), Bucket()
    for _ in range(5):
        taken = 0
        while lane.append(line(taken, 1000)):
            taken += 1
        assert taken >= 12
        drain(lane, bucket)
        assert len(segments(tmp_path)) <= 1 + MAX_SPARE


def test_a_spare_segment_is_prepared(make: Callable[..., Journal], tmp_path: Path) -> None:
    """The writing thread makes the next segment, so that no caller has to; not before the first use."""
    journal = make()
    lane = journal.lane("expert.log")
    lane.prepare()
    assert segments(tmp_path) == []
    assert lane.append(line(1))
    lane.prepare()
    lane.prepare()
    assert len(segments(tmp_path)) == 2
    journal.new_segment = None  # type: ignore[method-assign,assignment]
    assert lane.append(line(2, ROOM))


def test_a_late_write_into_a_recycled_segment_raises(make: Callable[..., Journal]) -> None:
    """Who fetched ``write`` before a segment was sealed, drained or deleted cannot put a line there."""
    lane, bucket = make().lane("expert.log"), Bucket()
    late: list[Callable[[bytes], Any]] = []
    for number in range(200):
        assert lane.append(line(number, 900))
        if lane.write not in late:
            late.append(lane.write)
        if number % 20 == 0:
            drain(lane, bucket)
    drain(lane, bucket)
    refused = 0
    for write in late[:-1]:
        try:
            write(line(1000, 10**5))
        except ValueError:
            refused += 1
    assert refused == len(late) - 1


@pytest.mark.parametrize("how", ["error", "other"])
def test_an_error_that_is_kept_keeps_no_segment(make: Callable[..., Journal], tmp_path: Path, how: str) -> None:
    """A sink's error may be kept for long; neither closing nor draining later minds."""
    journal, bucket = make(), Bucket()
    lane = journal.lane("expert.log")
    assert lane.append(line(1))
    bucket.error = OSError(errno.ENOSPC, "full") if how == "error" else None
    kept: Any = None
    if how == "other":
        pending = next(lane.pending())
        kept = memoryview(pending.segment.map)[: pending.end]
        drain(lane, bucket)
    else:
        with pytest.raises(OSError, match="full") as caught:
            drain(lane, bucket)
        kept = caught.value
        bucket.error = None
        drain(lane, bucket)
    assert bytes(bucket.data) == line(1)
    journal.close()
    assert list(tmp_path.iterdir()) == []
    del kept


# -- re-entrancy -----------------------------------------------------------------------------------------------


class Interrupted:
    """Calls *handler* once at the *number*th step of a lane's slow path, as a signal would."""

    def __init__(self, number: int, handler: Callable[[], object]) -> None:
        self.left, self.handler = number, handler

    def step(self) -> None:
        self.left -= 1
        if self.left == -1:
            self.handler()

    def arm(self, patch: pytest.MonkeyPatch, lane: JournalLane) -> None:
        step = self.step
        for owner, name in [
            *((Segment, name) for name in ("open", "seal", "_store")),
            *((lane_module, name) for name in ("_writer",)),
            *((JournalLane, name) for name in ("_take",)),
        ]:
            patch.setattr(owner, name, _surrounded(getattr(owner, name), step))

        class Lanes(type(lane)):  # type: ignore[misc]
            def __setattr__(self, name: str, value: object) -> None:
                step()
                super().__setattr__(name, value)
                step()

        lane.__class__ = Lanes


def _surrounded(real: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepping(*args: Any, **options: Any) -> Any:
        step()
        result = real(*args, **options)
        step()
        return result

    return stepping


@pytest.mark.parametrize("drains", [False, True])
@pytest.mark.parametrize("burst", [1, 60])
def test_a_signal_handler_may_log_at_any_step(tmp_path: Path, burst: int, drains: bool) -> None:
    """A handler that logs (and drains, as without a writing thread) inside the slow path loses and doubles nothing."""
    number, reached = 0, True
    while reached:
        journal = Journal(tmp_path / str(number), 64 * SMALLEST_SEGMENT)
        lane, bucket = journal.lane("expert.log"), Bucket()
        late: list[Callable[[bytes], Any]] = []

        def handler(lane: JournalLane = lane, bucket: Bucket = bucket, late: list[Any] = late) -> None:
            late.append(lane.write)
            for n in range(burst):
                assert lane.append(line(5000 + n))
            if drains:
                drain(lane, bucket)

        interrupted = Interrupted(number, handler)
        with pytest.MonkeyPatch.context() as patch:
            interrupted.arm(patch, lane)
            for n in range(80):
                assert lane.append(line(n))
        interrupted.left = -1
        reached = bool(late)
        for write in late:  # a thread that was put to sleep just then
            try:
                write(line(9000))
            except ValueError:
                assert lane.append(line(9000))
        for n in range(80, 160):
            assert lane.append(line(n))
        drain(lane, bucket)
        got = sorted(bytes(bucket.data).split(b"\n")[:-1])
        extra = [5000 + n for n in range(burst)] + [9000] if reached else []
        assert got == sorted(line(n)[:-1] for n in [*range(160), *extra]), number
        journal.close()
        assert list((tmp_path / str(number)).iterdir()) == []
        number += 1
    assert number > 12


def test_a_signal_handler_may_take_the_spare_segment(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that logs while its thread is about to take the spare segment leaves that thread another one."""
    journal = make()
    lane, bucket = journal.lane("expert.log"), Bucket()
    lane.append(line(1, ROOM))
    lane.prepare()
    keeps, interrupted = journal.keeps, Interrupted(0, lambda: lane.append(line(2)))

    def keeping(segment: Segment) -> bool:
        interrupted.step()
        return keeps(segment)

    monkeypatch.setattr(journal, "keeps", keeping)
    assert lane.append(line(3, ROOM))
    assert interrupted.left < 0
    drain(lane, bucket)
    assert bytes(bucket.data) == line(1, ROOM) + line(2) + line(3, ROOM)


def test_no_earlier_segment_takes_lines_when_the_next_one_is_open(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thread that slept over an epoch adds its line to the next one, and the line after it to an earlier one."""
    lane, really, turns = make().lane("expert.log"), Segment.open, 0

    def open_(self: Segment, epoch: int) -> None:
        nonlocal turns
        really(self, epoch)
        turns += 1
        for earlier in lane._segments:
            with pytest.raises(ValueError, match=r"full|out of range"):
                earlier.tail.write(b"\n")

    monkeypatch.setattr(Segment, "open", open_)
    for number in range(4):
        assert lane.append(line(number, ROOM - 100))
    assert turns == 4


def at_opcode(number: int, look: Callable[[], object], meanwhile: Callable[[], object]) -> bool:
    """Call *look*, and *meanwhile* at its *number*th opcode, as another thread would. Returns whether it came to it."""
    left = number

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == -1:
                meanwhile()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 reports opcodes only if a frame wants them by now
    sys.settrace(trace)
    try:
        look()
    finally:
        sys.settrace(before)
    return left < 0


def test_a_thread_that_slept_while_it_looked_at_a_segment_leaves_no_old_end(make: Callable[..., Journal]) -> None:
    """Whoever asks what waits may be put to sleep anywhere, until the segment has another epoch."""
    number, reached = 0, True
    while reached:
        journal, bucket = make(), Bucket()
        lane = journal.lane("expert.log")
        assert lane.append(line(1))
        first = next(lane.pending()).segment
        assert lane.append(line(2, ROOM))
        numbers = iter(range(3, 1000))

        def meanwhile(
            lane: JournalLane = lane, bucket: Bucket = bucket, first: Segment = first, numbers: Any = numbers
        ) -> None:
            drain(lane, bucket)
            assert first in lane._spare
            while lane._segments[-1] is not first:
                assert lane.append(line(next(numbers), ROOM))
            for _ in range(3):
                assert lane.append(line(next(numbers), ROOM // 3))
            assert lane.append(line(next(numbers), ROOM))

        reached = at_opcode(number, lambda first=first: first.waiting, meanwhile)  # type: ignore[misc]
        drain(lane, bucket)
        expected = next(numbers) if reached else 3
        assert [json.loads(text)["sequence_id"] for text in bytes(bucket.data).splitlines()] == [*range(1, expected)]
        number += 1
    assert number > 20


# -- slots and format ------------------------------------------------------------------------------------------


def test_the_newest_valid_slot_counts() -> None:
    """Of two slots the newer is the state; a damaged one is passed over; two damaged ones are no state."""
    older, newer = State(4, 1, 600, Intent(0, 0, 0, 0, 0)), State(5, 1, 700, Intent(700, 800, 1, 2, 3))
    head = bytearray(HEADER_SIZE)
    for offset, state in zip(SLOTS, (older, newer), strict=True):
        head[offset : offset + len(pack_slot(state))] = pack_slot(state)
    assert read_slot(head) == newer
    head[SLOTS[1]] ^= 1
    assert read_slot(head) == older
    head[SLOTS[0] + 20] ^= 1
    assert read_slot(head) is None
    assert read_slot(bytes(HEADER_SIZE)) is None


def read_by_the_page(path: Path) -> tuple[str, int, bytes]:
    """Read what waits in a segment: written from `docs/journal.md` alone, with no code of ours."""
    data = path.read_bytes()
    assert data[0:8] == b"MXLOGJNL"
    version, begin, size, length = struct.unpack_from("<IIQH", data, 8)
    assert (version, begin, size) == (1, 512, len(data))
    name, (check,) = data[26 : 26 + length], struct.unpack_from("<I", data, 26 + length)
    assert check == zlib.crc32(data[: 26 + length])
    found = []
    for parity, at in enumerate((320, 416)):
        fields = struct.unpack_from("<8Q", data, at)
        if struct.unpack_from("<I", data, at + 64)[0] == zlib.crc32(data[at : at + 64]):
            assert fields[0] % 2 == parity
            found.append(fields)
    generation, epoch, drained, *_ = max(found)
    assert generation > 0
    return name.decode(), epoch, data[drained:].rstrip(b"\0")


def test_a_reader_made_from_the_page_reads_a_live_journal(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Whoever knows `docs/journal.md` alone finds file names, order and waiting lines of a journal in use."""
    journal, bucket = make(), Bucket()
    trades, expert = journal.lane("trades.log"), journal.lane("expert.log")
    for number in range(60):
        assert expert.append(line(number))
    drain(expert, bucket)
    for number in range(60, 120):
        assert expert.append(line(number))
    assert trades.append(line(500))
    waiting = sorted(map(read_by_the_page, segments(tmp_path)))
    assert b"".join(data for name, _, data in waiting if name == "expert.log") == b"".join(map(line, range(60, 120)))
    assert [data for name, _, data in waiting if name == "trades.log"] == [line(500)]
    assert all(path.name.split(".")[0] == journal.id for path in segments(tmp_path))


def test_the_page_reads_by_hand_as_it_says(make: Callable[..., Journal], tmp_path: Path, capsys: Any) -> None:
    """The piece of code in `docs/journal.md` prints what waits."""
    page = next(
        parent / "docs/journal.md" for parent in Path(__file__).parents if (parent / "docs/journal.md").exists()
    )
    code = page.read_text("utf-8").split("```text\n")[1].split("```")[0]
    make().lane("errors.log").append(line(7))
    exec(code.replace("logs/.metaexpert/ID.N.segment", str(segments(tmp_path)[0])), {})
    assert capsys.readouterr().out == "errors.log epoch 1 \n" + line(7).decode() + "\n"


def test_the_intent_is_there_while_a_batch_is_written(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Before a file changes the header says what goes where; afterwards it says that it is done."""
    lane, seen = make().lane("expert.log"), []

    class Looking(Bucket):
        def write(self, batch: memoryview, note: Note = ignore) -> int:
            taken = super().write(batch, note)
            seen.append(read_slot(segments(tmp_path)[0].read_bytes()))
            return taken

    assert lane.append(line(1))
    drain(lane, Looking())
    assert seen[0] is not None
    assert seen[0].intent == Intent(HEADER_SIZE, HEADER_SIZE + 100, 1, 2, 0)
    after = read_slot(segments(tmp_path)[0].read_bytes())
    assert after is not None
    assert (after.drained, after.intent) == (HEADER_SIZE + 100, Intent(0, 0, 0, 0, 0))


def test_blocks_are_allocated(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A segment has no holes: touching one on a full disk would kill the process."""
    make().lane("expert.log").append(line(1))
    status = segments(tmp_path)[0].stat()
    if not hasattr(status, "st_blocks"):
        pytest.skip("this system tells no blocks")
    assert status.st_blocks * 512 >= status.st_size


def test_blocks_are_written_where_the_system_cannot_allocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `posix_fallocate` (macOS, Windows) zeros are written, also when the system takes them in pieces."""
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:1000]))
    segment = Segment(SMALLEST_SEGMENT, "expert.log", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size == SMALLEST_SEGMENT
    segment.discard()


# -- ends and troubles -----------------------------------------------------------------------------------------


def test_no_file_is_left_when_all_was_drained(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Closing leaves neither segments nor the lock; closing twice is harmless."""
    journal, bucket = make(), Bucket()
    lane = journal.lane("expert.log")
    for number in range(100):
        assert lane.append(line(number))
    lane.prepare()
    drain(lane, bucket)
    journal.close()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_drained_stays(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Closing keeps the segments in which lines wait, and the lock file, which nobody holds any more."""
    journal, bucket = make(), Bucket()
    assert journal.lane("expert.log").append(line(1))
    assert journal.lane("trades.log").append(line(2))
    drain(journal.lane("trades.log"), bucket)
    journal.close()
    assert [read_by_the_page(path)[::2] for path in segments(tmp_path)] == [("expert.log", line(1))]
    lock = FileLock(tmp_path / f"{journal.id}.owner")
    assert lock.acquire()
    lock.release(delete=False)


def test_a_line_after_the_end_waits_in_memory(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A late line is taken and can be drained; no file appears."""
    journal, bucket = make(), Bucket()
    journal.close()
    lane = journal.lane("expert.log")
    assert lane.append(line(1))
    assert list(tmp_path.iterdir()) == []
    drain(lane, bucket)
    assert bytes(bucket.data) == line(1)


def test_without_a_directory_all_is_in_memory(make: Callable[..., Journal]) -> None:
    """No directory means no files, and a journal that works for as long as the process lives."""
    journal, bucket = make(None), Bucket()
    assert not journal.durable
    lane = journal.lane("expert.log")
    for number in range(100):
        assert lane.append(line(number))
    drain(lane, bucket)
    assert bytes(bucket.data) == b"".join(map(line, range(100)))


def test_a_directory_that_cannot_be_made_is_told(make: Callable[..., Journal], tmp_path: Path) -> None:
    """A journal where a file is in the way says so once and works in memory."""
    (tmp_path / "file").write_bytes(b"")
    told: list[Any] = []
    journal = make(tmp_path / "file", on_trouble=lambda *what: told.append(what))
    assert journal.lane("expert.log").append(line(1))
    assert not journal.durable
    assert len(told) == 1
    assert "would not survive" in told[0][0]
    assert isinstance(told[0][1], OSError)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for open files in /proc; Windows itself is stricter")
def test_a_segment_without_room_is_deleted_when_it_is_closed(
    make: Callable[..., Journal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows deletes no file that is open: the half-made one stayed there, on a full disk, and hid the reason."""
    told: list[Any] = []
    really = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if any(os.path.realpath(fd) == str(path) for fd in Path("/proc/self/fd").iterdir()):
            raise PermissionError(errno.EACCES, "Sharing violation", str(path))
        really(path, missing_ok)

    def full(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(segment_module, "_allocate", full)
    lane = make(on_trouble=lambda *what: told.append(what)).lane("expert.log")
    assert lane.append(line(1))
    assert segments(tmp_path) == []
    assert told[0][1].errno == errno.ENOSPC


def test_a_full_disk_means_memory_until_there_is_room(
    make: Callable[..., Journal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that the disk has no room for are in memory, which is told; later ones are on disk again."""
    told: list[Any] = []
    journal, bucket = make(on_trouble=lambda *what: told.append(what)), Bucket()
    lane = journal.lane("expert.log")
    real = segment_module._allocate

    def full(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segment_module, "_allocate", full)
    assert all(lane.append(line(number)) for number in range(100))
    assert segments(tmp_path) == []
    assert told
    assert told[0][1].errno == errno.ENOSPC
    monkeypatch.setattr(segment_module, "_allocate", real)
    assert all(lane.append(line(number)) for number in range(100, 200))
    drain(lane, bucket)
    assert bytes(bucket.data) == b"".join(map(line, range(200)))
    assert all(lane.append(line(number)) for number in range(200, 260))
    assert all(pending.segment.path is not None for pending in lane.pending())


def test_without_disk_and_memory_the_line_is_refused(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is no memory either, `append` returns False, without asking each time; soon it asks again."""
    clock, asked = FakeClock(100), []
    monkeypatch.setattr("metaexpert.logger.journal.journal.time.monotonic", clock)
    lane = make(None).lane("expert.log")

    def none(*_: Any) -> mmap.mmap:
        asked.append(1)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", none)
        assert not any(lane.append(line(number)) for number in range(20))
        assert len(asked) <= 2
    clock.advance(0.1)
    assert lane.append(line(1))


@pytest.mark.root
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts need root")
def test_a_disk_that_is_really_full_kills_nobody(tmp_path: Path, make: Callable[..., Journal]) -> None:
    """On a file system of 64 kB the journal goes on in memory when that is full, and every line is drained."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount")
    try:
        told: list[Any] = []
        journal, bucket = make(disk, 64 * SMALLEST_SEGMENT, on_trouble=lambda *what: told.append(what)), Bucket()
        lane = journal.lane("expert.log")
        assert all(lane.append(line(number, 1000)) for number in range(150))
        assert told
        drain(lane, bucket)
        assert bytes(bucket.data) == b"".join(line(number, 1000) for number in range(150))
        journal.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("dev / ext4 rw 0 0\n", "ext4"),
        ("dev / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n", "nfs4"),
        ("dev / ext4 rw 0 0\nhost:/x /dat nfs4 rw 0 0\n", "ext4"),
        ("host:/x /data nfs4 rw 0 0\ndev /data/logs xfs rw 0 0\ndev / ext4 rw 0 0\n", "xfs"),
        ("dev / ext4 rw 0 0\nnone /data tmpfs rw 0 0\nhost:/x /data nfs rw 0 0\n", "nfs"),
        ("", ""),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(mounts: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest mount point that holds the directory counts, and of equal ones the last."""
    monkeypatch.setattr(Path, "read_text", lambda *_: mounts)
    monkeypatch.setattr(os.path, "realpath", str)
    assert file_system_of(Path("/data/logs")) == kind


def test_a_network_file_system_is_not_mapped(
    make: Callable[..., Journal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network the journal is in memory, which is told once."""
    monkeypatch.setattr(journal_module, "file_system_of", lambda _: "nfs4")
    told: list[Any] = []
    journal = make(on_trouble=lambda *what: told.append(what))
    assert journal.lane("expert.log").append(line(1))
    assert not journal.durable
    assert list(tmp_path.iterdir()) == []
    assert [error for _, error in told] == [None]


# -- ownership -------------------------------------------------------------------------------------------------


def test_a_lock_that_another_took_first_is_left_to_him(
    make: Callable[..., Journal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovering process may lock a new journal's file before its maker does; he takes another name."""
    answers = [False, False]
    real = FileLock.acquire
    monkeypatch.setattr(FileLock, "acquire", lambda self: answers.pop() if answers else real(self))
    journal = make()
    assert answers == []
    assert journal.durable
    assert journal.lane("expert.log").append(line(1))
    assert segments(tmp_path)[0].name.startswith(journal.id)


def test_two_journals_share_a_directory(make: Callable[..., Journal], tmp_path: Path) -> None:
    """Each has its own names, and closing one leaves the other alone."""
    one, other, bucket = make(), make(), Bucket()
    assert one.lane("expert.log").append(line(1))
    assert other.lane("expert.log").append(line(2))
    drain(one.lane("expert.log"), bucket)
    one.close()
    assert [read_by_the_page(path)[2] for path in segments(tmp_path)] == [line(2)]
    drain(other.lane("expert.log"), bucket)
    assert bytes(bucket.data) == line(1) + line(2)


def test_segments_that_no_lane_knows_are_cleared_away_at_the_end(make: Callable[..., Journal], tmp_path: Path) -> None:
    """An exception was injected into the writing thread when it had made one, or emptied it; what waits stays."""
    journal, bucket = make(), Bucket()
    lane = journal.lane("expert.log")
    assert lane.append(line(1))
    drain(lane, bucket)
    lane._segments.clear()
    assert journal.new_segment("expert.log", 4096, reserve=False) is not None
    journal.lane("trades.log").append(line(2))
    assert len(segments(tmp_path)) == 3
    journal.close()
    assert [read_by_the_page(path)[2] for path in segments(tmp_path)] == [line(2)]


def test_a_segment_that_was_never_filled_does_not_keep_a_journal_from_closing(
    make: Callable[..., Journal], tmp_path: Path
) -> None:
    """The exception came when its file was made and had no bytes yet: there is nothing to map."""
    journal = make()
    assert journal.lane("expert.log").append(line(1))
    (tmp_path / f"{journal.id}.99.segment").touch()
    journal.close()
    assert not (tmp_path / f"{journal.id}.99.segment").stat().st_size


def test_a_child_may_log_although_another_thread_was_closing_the_journal(make: Callable[..., Journal]) -> None:
    """In the parent; in the child there is no such thread to finish it."""
    lane = make().lane("expert.log")
    assert lane.append(line(1))
    lane.shut()
    assert not lane.append(line(2))
    lane.forget()
    assert lane.append(line(3))


@pytest.mark.skipif(segment_module._TRACKS_NOTHING, reason="its maps keep no descriptors")
def test_a_map_that_somebody_looks_at_is_kept(make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmapped later, unseen, it would close a descriptor whose number may be somebody else's by then."""
    kept: list[Any] = []
    monkeypatch.setattr(segment_module, "_abandoned", kept)
    journal = make()
    assert journal.lane("expert.log").append(line(1))
    segment = next(journal.lane("expert.log").pending()).segment
    with memoryview(segment.map):
        journal.close()
        assert kept == [segment.map]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_journal_of_its_own(make: Callable[..., Journal], tmp_path: Path) -> None:
    """The child's lines are in segments of its own; the parent's are untouched, and its lock is still held."""
    journal = make()
    lane = journal.lane("expert.log")
    assert lane.append(line(1))
    write, before, parent = lane.write, segments(tmp_path)[0].read_bytes(), journal.id
    view = memoryview(next(lane.pending()).segment.map)  # as another thread in the middle of a write may hold one
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            journal.after_fork()
            with pytest.raises(ValueError, match=r"."):
                write(line(2))
            assert lane.append(line(3))
            assert journal.id != parent
            assert len(segments(tmp_path)) == 2
            assert [p.lines() for p in lane.pending()] == [[line(3)[:-1]]]
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    view.release()
    assert os.WEXITSTATUS(status) == 0
    assert (tmp_path / f"{parent}.1.segment").read_bytes() == before
    assert not FileLock(tmp_path / f"{parent}.owner").acquire()
    assert lane.append(line(4))
    assert [p.lines() for p in lane.pending()] == [[line(1)[:-1], line(4)[:-1]]]


def test_threads_may_use_different_lanes(make: Callable[..., Journal]) -> None:
    """Lanes filled by a thread each share limit and numbers without a collision."""
    journal, bucket = make(limit=400 * SMALLEST_SEGMENT), Bucket()
    lanes = [journal.lane(f"{number}.log") for number in range(6)]

    def fill(lane: JournalLane) -> None:
        for number in range(300):
            assert lane.append(line(number))

    threads = [threading.Thread(target=fill, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane in lanes:
        drain(lane, bucket)
    assert bytes(bucket.data) == b"".join(map(line, range(300))) * 6


def test_a_segment_that_takes_no_line_although_it_has_room_holds_up_nobody(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the child of a fork whose preparations failed: the line is refused."""
    lane = make().lane("expert.log")
    assert lane.append(line(1))

    def refuse(_: bytes) -> None:
        raise ValueError

    monkeypatch.setattr(lane, "write", refuse)
    monkeypatch.setattr(lane, "has_room", lambda _: True)
    assert lane.append(line(2)) is False


def test_a_journal_in_memory_goes_to_disk_when_it_can(
    tmp_path: Path, make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory could not be made at the start: some seconds after it can, the next line outlives the process."""
    clock = FakeClock(100)
    monkeypatch.setattr("metaexpert.logger.journal.journal.time.monotonic", clock)
    (tmp_path / "place").write_text("a file where the directory should be")
    journal = make(tmp_path / "place")
    lane = journal.lane("expert.log")
    assert lane.append(b"1\n")
    assert not journal.durable
    (tmp_path / "place").unlink()
    journal.check()
    assert not journal.durable
    clock.advance(5)
    journal.check()
    assert journal.durable
    assert lane.append(b"2\n")
    assert [(pending.segment.path is None, pending.lines()) for pending in lane.pending()] == [
        (True, [b"1"]),
        (False, [b"2"]),
    ]


def test_spare_segments_may_be_given_back_while_better_ones_are_made(make: Callable[..., Journal]) -> None:
    """A caller that needs their room may come in between, and the writing thread goes on."""
    journal = make()
    lane = journal.lane("expert.log")
    assert lane.append(b"1\n")
    Path(str(lane._segments[-1].path)).unlink()
    makeshift = [Segment(SMALLEST_SEGMENT, "expert.log", None) for _ in range(2)]
    lane._spare += makeshift
    really = makeshift[0].discard
    makeshift[0].discard = lambda: (lane.give_back(), really())  # type: ignore[method-assign,assignment,func-returns-value]
    lane.renew()
    assert makeshift[1].map.closed
    assert lane.append(b"2\n")
    assert lane._segments[-1].path is not None


def test_a_directory_that_must_not_be_looked_into_is_not_taken_for_an_empty_one(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the look ends no thread, and loses nothing."""
    journal = make()
    lane = journal.lane("expert.log")
    assert lane.append(b"1\n")

    def refuse(path: Path, **_: Any) -> bool:
        raise PermissionError(errno.EACCES, "no", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", refuse)
        lane.renew()
    assert journal.keeps(lane._segments[-1])


def taken_away(place: Path) -> None:
    """Delete all that there is."""
    shutil.rmtree(place)


def without_segments(place: Path) -> None:
    """Delete the segments, and leave the lock."""
    for path in place.glob("*.segment"):
        path.unlink()


@pytest.mark.parametrize("spoil", [taken_away, without_segments])
def test_a_journal_that_was_deleted_is_made_anew(
    tmp_path: Path, make: Callable[..., Journal], spoil: Callable[[Path], None]
) -> None:
    """Lines before that are not lost; lines after the next look are on disk, under a lock that says whose they are."""
    place, bucket = tmp_path / "place", Bucket()
    journal = make(place)
    lane = journal.lane("expert.log")
    assert lane.append(line(0))
    lane.prepare()
    spoil(place)
    assert lane.append(line(1))
    journal.check()
    assert lane.append(line(2))
    assert [pending.lines() for pending in lane.pending() if not pending.segment.lost] == [[line(2).rstrip()]]
    assert len(list(place.glob("*.segment"))) == len(list(place.glob("*.owner"))) == 1
    assert not FileLock(next(place.glob("*.owner"))).acquire()
    drain(lane, bucket)
    assert bytes(bucket.data) == b"".join(map(line, range(3)))


def test_a_journal_that_was_moved_keeps_its_lock_until_it_is_drained(
    tmp_path: Path, make: Callable[..., Journal]
) -> None:
    """Or hidden by a mount: whoever finds it meanwhile must not take it for a dead one's, or its lines came twice."""
    journal, bucket = make(tmp_path / "place"), Bucket()
    lane = journal.lane("expert.log")
    assert lane.append(line(0))
    former = journal.id
    (tmp_path / "place").rename(tmp_path / "old")
    journal.check()
    assert lane.append(line(1))
    assert journal.id != former
    assert not FileLock(tmp_path / "old" / f"{former}.owner").acquire()
    drain(lane, bucket)
    journal.check()
    assert bytes(bucket.data) == line(0) + line(1)
    lock = FileLock(tmp_path / "old" / f"{former}.owner")
    assert lock.acquire(), "nothing waits there any more"
    lock.release(delete=False)


def test_a_segment_that_is_given_back_while_it_is_hidden_is_found_by_a_recovery(
    tmp_path: Path, make: Callable[..., Journal]
) -> None:
    """Its file cannot be deleted then; once the directory is seen again, its lock must not go before it."""
    place, hidden, bucket = tmp_path / "place", tmp_path / "hidden", Bucket()
    journal = make(place)
    lane = journal.lane("expert.log")
    assert lane.append(line(0))
    former = journal.id
    place.rename(hidden)
    journal.check()
    assert lane.append(line(1))
    drain(lane, bucket)
    shutil.rmtree(place)
    hidden.rename(place)
    journal.check()
    journal.close()
    assert len(list(place.glob(f"{former}.*.segment"))) == 1
    brought = Bucket()
    assert recover(tmp_path, place, lambda _: brought).entries == 0
    assert (bytes(bucket.data), bytes(brought.data)) == (line(0) + line(1), b"")
    assert list(place.iterdir()) == []


def test_a_lock_that_somebody_closed_is_taken_again(
    tmp_path: Path, make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All descriptors of the process are closed, as a daemon does: the journal is its own again at the next look."""
    monkeypatch.setattr(Descriptor, "stolen", False)  # for the whole process, and so for other tests
    journal = make()
    journal.lane("expert.log").append(line(0))
    before = journal.id
    os.close(journal._owner._file.fd)  # type: ignore[union-attr]
    journal.check()
    assert journal.id == before
    assert not FileLock(tmp_path / f"{journal.id}.owner").acquire()


@pytest.mark.parametrize("gone", ["closed", "deleted"])
def test_what_is_made_while_the_lock_is_taken_again_survives_a_crash(
    make: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Calls of other threads go on meanwhile, and need segments: these are files, too."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    journal, acquire, made = make(), FileLock.acquire, list[Segment | None]()
    journal.lane("expert.log").append(line(0))

    def acquire_while_a_call_comes(lock: FileLock) -> bool:
        acquired = acquire(lock)
        made.append(journal.make_segment("expert.log", 65_536))
        return acquired

    if gone == "closed":
        os.close(journal._owner._file.fd)  # type: ignore[union-attr]
    else:
        next(journal._directory.glob("*.owner")).unlink()  # type: ignore[union-attr]
    monkeypatch.setattr(FileLock, "acquire", acquire_while_a_call_comes)
    journal.check()
    assert [segment is not None and segment.path is not None and segment.path.exists() for segment in made] == [True]
    made[0].discard()  # type: ignore[union-attr]


@pytest.mark.skipif(os.name == "nt", reason="a descriptor is taken by dup2")
@pytest.mark.parametrize("kind", ["a socket", "a short file", "a long file"])
def test_a_segment_whose_descriptor_is_taken_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Another thread closes all descriptors while the file is given its blocks: what got the number stays untouched."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    size, theirs = 64 * 1024, tmp_path / "theirs"
    theirs.write_bytes(b"x" * (100 if kind == "a short file" else 2 * size))
    allocate, numbers = segment_module._allocate, list[int]()
    pair = socket.socketpair()

    def allocated_and_taken(fd: int, size: int) -> None:
        allocate(fd, size)
        with theirs.open("r+b") as file:
            os.dup2(pair[0].fileno() if kind == "a socket" else file.fileno(), fd)
        numbers.append(fd)

    monkeypatch.setattr(segment_module, "_allocate", allocated_and_taken)
    before = theirs.read_bytes()
    with pytest.raises(OSError, match="closed by somebody else"):
        Segment(size, "expert.log", tmp_path / "a.segment")
    os.close(numbers[0])  # raises if it was closed
    for end in pair:
        end.close()
    assert theirs.read_bytes() == before
    assert not (tmp_path / "a.segment").exists()


@pytest.mark.skipif(os.name == "nt", reason="a descriptor is taken by dup2")
def test_a_map_whose_own_descriptor_may_be_taken_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Python 3.13 a map keeps a copy of its descriptor, and closing the map closes that number, whosever."""
    monkeypatch.setattr(Descriptor, "stolen", False)
    mapped, copies = mmap.mmap, list[int]()

    def mapped_and_taken(fd: int, *args: Any, **options: Any) -> mmap.mmap:
        made = mapped(fd, *args, **options)
        same = os.fstat(fd)
        with Path(os.devnull).open("rb") as theirs:
            for number in (int(entry.name) for entry in list(Path("/dev/fd").iterdir())):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(number), same):
                        os.dup2(theirs.fileno(), number)
                        copies.append(number)
        return made

    monkeypatch.setattr(mmap, "mmap", mapped_and_taken)
    with pytest.raises(OSError, match="closed by somebody else"):
        Segment(64 * 1024, "expert.log", tmp_path / "a.segment")
    monkeypatch.undo()
    for number in copies:
        os.close(number)  # raises if it was closed
    assert copies


def test_what_is_open_tells_how_much_may_still_come(make: Callable[..., Journal]) -> None:
    """Until on_growth is told again; nothing before the first line and nothing after shut."""
    journal = make()
    lane = journal.lane("expert.log")
    assert (lane.open_room, lane.empty) == (0, True)
    lane.append(b"12345\n")
    assert lane.open_room == journal.segment_size - HEADER_SIZE - 6
    assert not lane.empty
    lane.shut()
    assert not lane.append(b"late\n")
    assert [line for pending in lane.pending() for line in pending.lines()] == [b"12345"]


class TestRest:
    """A lane that nobody looks at."""

    def test_the_next_line_is_told_once(self) -> None:
        """It is taken like any other, and the lines behind it are told to nobody."""
        journal, stirred = Journal(None, 2**20), []
        journal.on_stir = lambda: stirred.append(1)
        lane = journal.lane("expert.log")
        assert lane.append(b"1\n")
        lane.rest()
        with pytest.raises(ValueError, match="told first"):
            lane.write(b"2\n")
        assert lane.append(b"2\n")
        assert lane.append(b"3\n")
        assert stirred == [1]
        assert [line for pending in lane.pending() for line in pending.lines()] == [b"1", b"2", b"3"]

    def test_a_lane_without_a_segment_does_not_rest(self) -> None:
        """Its first line tells of itself: it makes a segment."""
        lane = Journal(None, 2**20).lane("expert.log")
        lane.rest()
        assert lane.append(b"1\n")

    def test_a_lane_that_is_shut_stays_shut(self) -> None:
        """Nothing comes in behind the end."""
        lane = Journal(None, 2**20).lane("expert.log")
        lane.append(b"1\n")
        lane.shut()
        lane.rest()
        assert not lane.append(b"2\n")
