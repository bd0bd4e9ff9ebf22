"""One mapped piece of a journal: its bytes (see `docs/journal.md`), and how lines leave it exactly once.

Threads: the position of the tail is where the next line goes; its `write` moves it in one C call, atomic under the
interpreter lock. All else is for one thread at a time.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
import zlib
from array import array
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.system.calls import zero
from metaexpert.logger.system.descriptors import Descriptor, open_private
from metaexpert.logger.system.native import core

MAGIC: Final = b"MXLOGJNL"
VERSION: Final = 1
#: Bytes before the data: fixed part, name of the file, and two slots for what was drained.
HEADER_SIZE: Final = 512
#: Magic, version, header size, size of the whole segment, length of the name; the name and a CRC-32 of all follow.
FIXED: Final = struct.Struct("<8sIIQH")
CHECK: Final = struct.Struct("<I")
MAX_NAME: Final = 255
#: Generation, epoch, drained position, intent (start, end, device, inode, offset), CRC-32 of what stands before it.
SLOT: Final = struct.Struct("<QQQQQQQQI")
SLOTS: Final = (320, 416)
#: Device and inode are kept in 64 bits; some Windows file systems have longer ones.
U64: Final = 2**64 - 1
#: Suffixes of a journal's files.
SEGMENT_SUFFIX: Final = ".segment"
RING_SUFFIX: Final = ".ring"
LOCK_SUFFIX: Final = ".owner"
_ZEROS: Final = bytes(64 * 1024)
#: Up to Python 3.12 a map keeps a descriptor of its own, and closes it whosever number that is by then. Of a program
#: that closes descriptors which it did not open, maps are left open rather than a stranger's connection closed.
_TRACKS_NOTHING: Final = sys.version_info >= (3, 13) and os.name != "nt"
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if _TRACKS_NOTHING else {}
_abandoned: Final[list[mmap.mmap]] = []


class Intent(NamedTuple):
    """A batch that was about to be written: journal range, and where in which file."""

    start: int
    end: int
    device: int
    inode: int
    offset: int


NO_INTENT: Final = Intent(0, 0, 0, 0, 0)


class State(NamedTuple):
    """What a slot says: *drained* is where the lines begin that no file has, but for the *intent*."""

    generation: int
    epoch: int
    drained: int
    intent: Intent


def pack_fixed(size: int, name: str) -> bytes:
    """Return the first bytes of a segment of *size* bytes whose lines belong to the file *name*."""
    encoded = os.fsencode(name)[:MAX_NAME]
    head = FIXED.pack(MAGIC, VERSION, HEADER_SIZE, size, len(encoded)) + encoded
    return head + CHECK.pack(zlib.crc32(head))


def pack_slot(state: State) -> bytes:
    """Return *state* as a slot."""
    body = SLOT.pack(state.generation, state.epoch, state.drained, *state.intent, 0)[: -CHECK.size]
    return body + CHECK.pack(zlib.crc32(body))


def read_name(head: bytes) -> str | None:
    """Return the file name in the first bytes of a segment, or None when they are damaged."""
    length = FIXED.unpack_from(head)[-1]
    end = FIXED.size + length
    if length > MAX_NAME or CHECK.unpack_from(head, end)[0] != zlib.crc32(head[:end]):
        return None
    return os.fsdecode(head[FIXED.size : end])


def read_slot(buffer: Any) -> State | None:
    """Return the newest valid state of a segment, or None when both slots are damaged."""
    states = []
    for offset in SLOTS:
        raw = bytes(buffer[offset : offset + SLOT.size])
        fields = SLOT.unpack(raw)
        if fields[-1] == zlib.crc32(raw[: -CHECK.size]):
            generation, epoch, drained, *intent = fields[:-1]
            states.append(State(generation, epoch, drained, Intent(*intent)))
    return max(states, default=None)


class Segment:
    """One mapped piece of a lane.

    Args:
        size: Bytes, header included.
        name: File that its lines belong to.
        path: The segment's file; None for memory that does not outlive the process.

    Raises:
        OSError: The file cannot be made in full; nothing is left of it.
    """

    def __init__(self, size: int, name: str, path: Path | None) -> None:
        self.size = size
        self.path = path
        self.map = mmap.mmap(-1, size) if path is None else _map_file(path, size)
        zero(self.map, 0, HEADER_SIZE)  # the first touch of a page may take long: others run meanwhile
        fixed = pack_fixed(size, name)
        self.map[0 : len(fixed)] = fixed
        self.tail = _tail(self.map)
        self._begin(State(0, 0, HEADER_SIZE, NO_INTENT))
        self._store(self.state)
        #: Whether its file is not where it was made any more.
        self.lost = False
        self.seal()

    @classmethod
    def attach(cls, path: Path) -> Segment:
        """Map a segment that another process left; it stays sealed."""
        segment = cls.__new__(cls)
        with Descriptor.at(path, os.O_RDWR, opener=open_private) as file:
            segment.map = mmap.mmap(file.fd, 0, **_UNTRACKED)
        segment.size, segment.path, segment.tail = len(segment.map), path, _tail(segment.map)
        segment._begin(read_slot(segment.map) or State(0, 0, HEADER_SIZE, NO_INTENT))
        segment.lost = False
        segment.seal()
        return segment

    def _begin(self, state: State) -> None:
        #: The numbers of the newest slot, in its order; the core changes them in place (`system/core/append.c`).
        self.numbers = array("Q", (*state[:3], *state.intent))

    @property
    def state(self) -> State:
        """The newest slot."""
        generation, epoch, drained, *intent = self.numbers
        return State(generation, epoch, drained, Intent(*intent))

    @property
    def has_intent(self) -> bool:
        """Whether a batch was begun, and neither committed nor taken back."""
        return bool(self.numbers[4])

    @property
    def epoch(self) -> int:
        """Its number among the segments of its lane, from 1."""
        return self.numbers[1]

    @property
    def journal(self) -> str:
        """The id of the journal that its file belongs to, if it has one."""
        return "" if self.path is None else self.path.name.partition(".")[0]

    def open(self, epoch: int) -> None:
        """Make it writable, as the *epoch*th of its lane."""
        self._store(self.state._replace(epoch=epoch, drained=HEADER_SIZE, intent=NO_INTENT))
        self.tail.seek(HEADER_SIZE)

    def seal(self) -> None:
        """Make every further ``write`` raise, also one that was fetched long ago by a thread that slept since."""
        with contextlib.suppress(ValueError):  # unmapped meanwhile, which is as good
            self.tail.seek(self.size)

    def end(self) -> int:
        """Return the position behind the last whole line. By any thread.

        A sealed segment has lost its position, so the last newline is looked for; behind it all is zero. Looked for
        each time: a thread that slept in the middle would leave to others what was true of an earlier epoch.
        """
        position: int = self.tail.tell()
        if position < self.size:
            return position
        # Without the core the default start of rfind is the position, which is the end: it would find nothing.
        return max(self.map.rfind(b"\n", HEADER_SIZE) + 1, HEADER_SIZE)

    @property
    def drained(self) -> int:
        """The position up to which a file has the lines."""
        return self.numbers[2]

    @property
    def waiting(self) -> int:
        """How many bytes no file has. By any thread."""
        try:
            position: int = self.tail.tell()  # what `end` and `drained` tell, without their calls
            if position >= self.size:
                position = self.end()
            return max(position - self.numbers[2], 0)  # the writing thread may go on in between
        except ValueError:  # the writing thread has given it back
            return 0

    def intend(self, intent: Intent) -> None:
        """Note, before a file is written, what will be written and where."""
        self._store(self.state._replace(intent=intent))

    def commit(self, position: int) -> None:
        """Note that a file has everything before *position*."""
        self._store(self.state._replace(drained=position, intent=NO_INTENT))

    def clear(self, end: int) -> None:
        """Zero everything before *end*: recovery must not find drained lines, nor `end`.

        With the interpreter lock held: its pages are there, so that it takes some ten microseconds, and whoever gave
        the lock away would wait for milliseconds.
        """
        for start in range(HEADER_SIZE, end, len(_ZEROS)):
            stop = min(start + len(_ZEROS), end)
            self.map[start:stop] = _ZEROS[: stop - start]

    def warm(self) -> None:
        """Bring in the pages of a new segment, so that no caller waits for them."""
        zero(self.map, HEADER_SIZE, self.size)

    def release(self) -> None:
        """Unmap it; what is in it stays."""
        self.seal()
        _unmap(self.map)

    def discard(self) -> None:
        """Unmap it and delete its file."""
        self.release()
        if self.path is not None:
            with contextlib.suppress(OSError):  # it holds nothing that recovery would bring in
                self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Unmap it, once it is sealed; its file stays if it has lines that wait."""
        if self.end() > self.drained:
            self.release()
        else:
            self.discard()

    def _store(self, state: State) -> None:
        # Two slots in turn, each with a checksum: a kill in the middle of one leaves the other.
        state = state._replace(generation=state.generation + 1)
        self.numbers[:] = array("Q", (*state[:3], *state.intent))
        offset = SLOTS[state.generation % 2]
        self.map[offset : offset + SLOT.size] = pack_slot(state)


def _tail(mapped: mmap.mmap) -> Any:
    """Return where lines are added to a map, and its position is kept: the core's `Tail`, or the map itself."""
    return mapped if core is None else core.Tail(mapped)


def _map_file(path: Path, size: int) -> mmap.mmap:
    mapped, made = None, Descriptor.at(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, opener=open_private)
    try:
        with made as file:
            try:
                _allocate(file.fd, size)
                mapped = mmap.mmap(file.fd, size, **_UNTRACKED)
                file.check()  # else it may be somebody else's that was mapped; nothing was written to it yet
            except BaseException:
                _unmap(mapped)
                file.check()  # that is why, then
                raise
    except BaseException:
        path.unlink(missing_ok=True)  # when it is closed: Windows deletes no file that is open
        raise
    return mapped


def _unmap(mapped: mmap.mmap | None) -> None:
    """Unmap it, unless that would close a descriptor of its own that may be somebody else's by now."""
    if mapped is None:
        return
    if Descriptor.stolen and not _TRACKS_NOTHING:
        _abandoned.append(mapped)
        return
    try:
        mapped.close()
    except BufferError:  # somebody still looks at its bytes, as a frame in an error's traceback does: it goes with him
        if not _TRACKS_NOTHING:  # unless a descriptor went with it, unseen
            _abandoned.append(mapped)


def _allocate(fd: int, size: int) -> None:
    """Give the file its blocks: touching a hole on a full disk would kill the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    while size > 0:
        size -= os.write(fd, _ZEROS[:size])


def write_out(segment: Segment, start: int, end: int, sink: Sink) -> None:
    """Write the lines of *segment* from *start* to *end* into *sink*, exactly once whatever happens meanwhile.

    Raises:
        OSError: The sink took no more. What it took is noted; the rest may be offered again.
    """
    view = memoryview(segment.map)
    try:
        while start < end:

            def note(device: int, inode: int, offset: int, length: int, start: int = start) -> None:
                segment.intend(Intent(start, start + length, device & U64, inode & U64, offset))

            with view[start:end] as batch:
                start += sink.write(batch, note)
            segment.commit(start)
    except OSError as error:
        # The frames in its traceback hold pieces of the map, and whoever keeps the error would keep it mapped.
        raise error.with_traceback(None)  # noqa: B904 - it is the same error
    finally:
        view.release()


class Pending(NamedTuple):
    """Lines of one segment that wait: from *start* to *end*."""

    segment: Segment
    start: int
    end: int
    sealed: bool

    def lines(self) -> list[bytes]:
        """Return the lines, each without its newline."""
        return self.segment.map[self.start : self.end].splitlines()
