"""Recovery: lines that dead writers left in their journals are brought into their files exactly once.

A journal is dead when its owner lock can be taken. For each of its segments: what the header says was drained is in
its file; what an *intent* says was about to be written is looked for in that file, wherever rotation has moved it;
the rest is appended, with the same intent protocol, so that a recovery may itself be killed and repeated.

A torn tail (half a line, or zeros where a line should be) is normal after a kill and is counted. Damage is set
aside and reported in bytes. Nothing here raises for what it finds; only the file system may (`OSError`).

Anyone who may write to the directory may plant files. Only regular files of trusted users are read, and only up to
`MOST_BYTES`; lines go only into files that may be logs.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.config.field_types import file_name_problem
from metaexpert.logger.encoding.line import SEQUENCE_ID, Header
from metaexpert.logger.files._rotating_file import LINE_START, RotatingFile, written_already
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.files.watched import give_to_owner, note_end
from metaexpert.logger.journal.owner import CRASH_SUFFIX, End, end_of
from metaexpert.logger.journal.segment import (
    FIXED,
    HEADER_SIZE,
    LOCK_SUFFIX,
    MAGIC,
    NO_INTENT,
    SEGMENT_SUFFIX,
    VERSION,
    Segment,
    State,
    read_name,
    read_slot,
    write_out,
)
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.system.descriptors import Descriptor, is_regular, open_private, trusted_users
from metaexpert.logger.system.locks import DirectoryLock, FileLock

_FARTHEST: Final = 2**63 - 1
UNREADABLE_SUFFIX: Final = ".unreadable"
DAMAGED_SUFFIX: Final = ".damaged"
#: A larger segment is none of ours: they have a megabyte, and more only for a single entry that is longer.
MOST_BYTES: Final = 256 * 1024 * 1024
#: Endings that make a name a log's, although no such file is there.
_LOG_SUFFIXES: Final = frozenset({".log", ".jsonl", ".json", ".ndjson", ".txt"})
_ZEROS: Final = bytes(64 * 1024)


@dataclass
class Recovery:
    """What one recovery did.

    Attributes:
        entries: Entries brought in; one that goes to several files counts once.
        lines: Lines brought in, by file name.
        torn: Lines that a kill had cut short; their calls had not returned.
        damaged: Bytes that were set aside: what is no line, and all of a segment that cannot be read.
        ends: How the processes ended whose journals these were.
        set_aside: Names of files in the private directory that hold what could not be read.
    """

    entries: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    torn: int = 0
    damaged: int = 0
    set_aside: list[str] = field(default_factory=list)
    ends: list[End] = field(default_factory=list, compare=False)

    def announcements(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the entries that tell of it: level, message and fields of each."""
        told = [("error", "log.died", end.fields()) for end in self.ends]
        if self.entries or self.torn:
            torn = {"torn": self.torn} if self.torn else {}
            told.append(("warning", "log.recovered", {"recovered": self.entries, "lines": self.lines, **torn}))
        return told

    def add(self, more: Recovery) -> None:
        """Add what another recovery did."""
        self.entries += more.entries
        for name, count in more.lines.items():
            self.lines[name] = self.lines.get(name, 0) + count
        self.torn += more.torn
        self.damaged += more.damaged
        self.set_aside += more.set_aside
        self.ends += more.ends


class UnreadableError(ValueError):
    """A segment whose header is foreign, newer or damaged; says which."""


def recover(
    directory: Path,
    private: Path,
    sink_of: Callable[[str], Sink],
    lock: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
    result: Recovery | None = None,
    known: Container[str] = (),
) -> Recovery:
    """Bring what dead writers left in *private* into the files of *directory*.

    Args:
        directory: The log directory.
        private: Where the journals lie.
        sink_of: Returns the sink of a file name.
        lock: The lock of the directory: while files are searched, no process may rotate them.
        result: Where to note what was done, also when this raises; returned.
        known: Names of log files, whatever their endings.

    Raises:
        OSError: A journal or a file cannot be read or written. The rest stays for the next time; the other journals
            were brought in.
    """
    result, errors = result or Recovery(), []
    if private.is_symlink():
        raise OSError(errno.ELOOP, "is a link, and what it leads to is none of ours", str(private))
    for owner in sorted(private.glob(f"*{LOCK_SUFFIX}")):
        try:
            _recover_if_dead(_Place(directory, private, sink_of, lock, known), owner, result)
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return result


@dataclass(frozen=True)
class _Place:
    """Where to recover to; see `recover`."""

    directory: Path
    private: Path
    sink_of: Callable[[str], Sink]
    lock: AbstractContextManager[object]
    known: Container[str]

    def inspect(self, path: Path) -> tuple[str, State]:
        """Return what `inspect` does. Raises UnreadableError also for a segment that its writer would not have made."""
        name, state = inspect(path)
        if not self.is_log(name):
            raise UnreadableError("names a file that is no log")
        if not self.is_trusted(path):
            raise UnreadableError("is another user's")
        return name, state

    def is_trusted(self, path: Path) -> bool:
        """Whether a file belongs to one who may decide what is in the logs."""
        return path.lstat().st_uid in trusted_users(self.directory, self.private)

    def is_log(self, name: str) -> bool:
        """Whether lines may go into the file *name*: a planted segment must not make or change any other."""
        if file_name_problem(name):
            return False
        if name in self.known or Path(name).suffix in _LOG_SUFFIXES:
            return True
        path = self.directory / name
        if not _is_plain(path):
            return False
        with path.open("rb") as file:
            return file.read(len(LINE_START)) in (b"", LINE_START)


def _recover_if_dead(place: _Place, owner: Path, result: Recovery) -> None:
    if not _is_plain(owner):
        return  # not ours, whatever it is
    if not place.is_trusted(owner):
        result.set_aside.append(f"{owner.name} (left where it is: another user's)")
        return
    lock = FileLock(owner)
    if not lock.acquire():
        return  # its writer lives
    finished, journal = False, owner.name.removesuffix(LOCK_SUFFIX)
    try:
        entries = result.entries
        _recover_journal(place, journal, result)
        if (end := end_of(owner, left=result.entries > entries)) is not None:
            note_end(place.private, journal, end, result.entries - entries)
            result.ends.append(end)
        owner.with_suffix(CRASH_SUFFIX).unlink(missing_ok=True)
        finished = True
    finally:
        lock.release(delete=finished)


def _recover_journal(place: _Place, journal: str, result: Recovery) -> None:
    """Recover one journal, oldest segment first, until nothing of it is left."""
    found: list[tuple[int, str, Path]] = []
    for path in place.private.glob(f"{journal}.*{SEGMENT_SUFFIX}"):
        try:
            name, state = place.inspect(path)
        except UnreadableError as error:
            _put_away(path, str(error), result)
        else:
            found.append((state.epoch, name, path))
    entries: set[bytes] = set()
    try:
        for _, name, path in sorted(found):
            _recover_segment(place, path, name, result, entries)
            path.unlink(missing_ok=True)
    finally:
        result.entries += len(entries)


def _is_plain(path: Path) -> bool:
    """Whether it is an ordinary file: to open a pipe may never return, a link may lead to something without an end."""
    try:
        return is_regular(path.lstat())
    except FileNotFoundError:  # another process was faster
        return False


def inspect(path: Path) -> tuple[str, State]:
    """Return the file name and the state that the segment at *path* tells.

    Raises:
        UnreadableError: It is not one of ours, of a newer version, or damaged.
    """
    if not _is_plain(path):
        raise UnreadableError("is no file")
    if path.lstat().st_size > MOST_BYTES:
        raise UnreadableError("is larger than a segment can be")
    with open(path, "rb", opener=open_private) as file:
        head = file.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE or head[:8] != MAGIC:
        raise UnreadableError("is not a segment of a journal")
    _, version, header_size, size, _ = FIXED.unpack_from(head)
    if version > VERSION:
        raise UnreadableError(f"is of version {version}; this is version {VERSION}")
    name, state = read_name(head), read_slot(head)
    if name is None or state is None or header_size != HEADER_SIZE:
        raise UnreadableError("has a damaged header")
    if size != path.stat().st_size:
        raise UnreadableError("has not the size that its header says")
    intent = state.intent
    if not HEADER_SIZE <= state.drained <= size or not intent.start <= intent.end <= size or intent.offset > _FARTHEST:
        raise UnreadableError("has a damaged header")
    return name, state


def _recover_segment(place: _Place, path: Path, name: str, result: Recovery, entries: set[bytes]) -> None:
    segment = Segment.attach(path)
    try:
        position = segment.drained
        if segment.state.intent != NO_INTENT:
            with place.lock:
                position += written_already(place.directory, name, segment.state.intent, segment.map)
            segment.commit(position)
        damaged = bytearray()
        runs = list(_runs(segment.map, position, damaged, result))
        if damaged:  # before anything moves on: a recovery that is repeated must find it again
            _keep(path.with_suffix(DAMAGED_SUFFIX), bytes(damaged), result)
        sink = place.sink_of(name)
        for start, end in runs:
            lines = segment.map[start:end]
            write_out(segment, start, end, sink)
            result.lines[name] = result.lines.get(name, 0) + lines.count(b"\n")
            entries.update(match[1] for match in map(SEQUENCE_ID.search, lines.splitlines()) if match)
    finally:
        segment.release()


def _runs(data: mmap.mmap, position: int, damaged: bytearray, result: Recovery) -> Iterator[tuple[int, int]]:
    """Yield the ranges of whole lines behind *position*; what lies between them is torn or damaged."""
    start = position
    stop = min(_end_of_data(data) + 1, len(data))  # one zero tells that the last line is torn
    while position < stop:
        newline = data.find(b"\n", position, stop)
        line = data[position : newline if newline >= 0 else stop]
        if newline >= 0 and _is_entry(line):
            position = newline + 1
            continue
        if position > start:
            yield start, position
        _judge(line, damaged, result)
        start = position = newline + 1 if newline >= 0 else stop
    if position > start:
        yield start, position


def _end_of_data(data: mmap.mmap) -> int:
    """Return the offset behind the last byte that is not zero."""
    for begin in range((len(data) - 1) // len(_ZEROS) * len(_ZEROS), -1, -len(_ZEROS)):
        if text := _stripped(data[begin : begin + len(_ZEROS)]):
            return begin + len(text)
    return 0


def _stripped(piece: bytes) -> bytes:
    """Return *piece* without the zeros behind it: at once where there is nothing else, as `rstrip` is not."""
    return b"" if piece == _ZEROS[: len(piece)] else piece.rstrip(b"\0")


def _is_entry(line: bytes) -> bool:
    if not line.startswith(LINE_START):
        return False
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _judge(line: bytes, damaged: bytearray, result: Recovery) -> None:
    """Count a line that is not whole: torn when it has zeros, as behind the last line, and damaged otherwise."""
    text = line.strip(b"\0")
    if not text:
        return
    if b"\0" in line:
        result.torn += 1
    else:
        damaged += text + b"\n"


def _put_away(path: Path, reason: str, result: Recovery) -> None:
    """Set a segment that cannot be read aside, or delete it when its writer was killed before it had any line."""
    head, length = _look_into(path) if _is_plain(path) else (b"-", 0)
    ours = MAGIC.startswith(head[: len(MAGIC)].rstrip(b"\0")) and length <= HEADER_SIZE
    if ours and int.from_bytes(head[len(MAGIC) : len(MAGIC) + 4], "little") <= VERSION:
        path.unlink()
        return
    kept = path.with_suffix(UNREADABLE_SUFFIX)
    path.replace(kept)
    result.damaged += length
    result.set_aside.append(f"{kept.name} ({reason})")


def _look_into(path: Path) -> tuple[bytes, int]:
    """Return a segment's head and the length of its data, without the zeros behind; of too large a one its blocks."""
    with open(path, "rb", opener=open_private) as file:
        status = os.fstat(file.fileno())
        head = file.read(HEADER_SIZE)
        if status.st_size > MOST_BYTES:
            return head, min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
        length, offset = len(head.rstrip(b"\0")), len(head)
        while piece := file.read(len(_ZEROS)):
            if text := _stripped(piece):
                length = offset + len(text)
            offset += len(piece)
    return head, length


def _keep(path: Path, data: bytes, result: Recovery) -> None:
    result.damaged += len(data)
    result.set_aside.append(path.name)
    if not _is_plain(path):
        part = path.with_suffix(".part")
        with Descriptor.at(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, opener=open_private) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file.fd, rest) :]
        part.replace(path)


def waiting_lines(owner: Path) -> list[bytes]:
    """Return the lines that wait in the journal of an owner file, whose lock is not tried. Raises no `OSError`.

    An entry that goes to several files is in several lines.
    """
    found: list[bytes] = []
    for path in owner.parent.glob(f"{owner.name.removesuffix(LOCK_SUFFIX)}.*{SEGMENT_SUFFIX}"):
        with contextlib.suppress(OSError, UnreadableError):  # brought in meanwhile, or nothing that can be told
            _, state = inspect(path)
            with open(path, "rb", opener=open_private) as file:
                file.seek(state.drained)
                data = file.read(MOST_BYTES)
            found += data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    return found


def count_waiting(owner: Path) -> int:
    """Return how many entries wait there, see `waiting_lines`."""
    return len({match[1] for match in map(SEQUENCE_ID.search, waiting_lines(owner)) if match})


def told_by(owner: Path) -> End | None:
    """Return how the process of an owner file ended, whose lock is not tried; None when there is nothing to tell."""
    return end_of(owner, left=count_waiting(owner) > 0)


def recover_directory(directory: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Recovery:
    """Bring what dead writers left into the files of *directory*, without a logger, and say so in the log.

    Files are not rotated: how large they may become is known to their writer, which sees to it.

    Args:
        directory: The log directory.
        now: The present, for the entry ``log.recovered``.

    Raises:
        OSError: A journal or a file cannot be read or written, or the directory's lock is held too long. The rest stays
            for the next time.
    """
    private = directory / schema.PRIVATE_DIRECTORY
    if not any(private.glob(f"*{LOCK_SUFFIX}")):
        return Recovery()
    lock, sinks = DirectoryLock(private / "lock"), dict[str, RotatingFile]()
    before = {*directory.iterdir(), *private.iterdir()}

    def sink_of(name: str) -> RotatingFile:
        if name not in sinks:
            sinks[name] = RotatingFile(directory / name, RotationPolicy(max_size=_FARTHEST, backups=0), lock)
        return sinks[name]

    try:
        result = recover(directory, private, sink_of, lock)
        if told := result.announcements():
            # The file with most lines is the whole story; the others hold parts of it.
            name = max(result.lines, key=lambda name: (result.lines[name], name), default=_usual_file(directory))
            header = Header("metaexpert", schema.FACILITY_LOCAL0)
            lines = []
            for number, (level, message, fields) in enumerate(told, 1):
                timestamp = f"{now().astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
                entry = header.stamp(timestamp, level, schema.MSGID_LOG, number, message) | fields
                lines.append(orjson.dumps(entry) + b"\n")
            sink_of(name).write(memoryview(b"".join(lines)))
    finally:
        for sink in sinks.values():
            sink.close()
        lock.close()
        for made in {*directory.iterdir(), *private.iterdir()} - before:
            give_to_owner(made, private)
    return result


def _usual_file(directory: Path) -> str:
    """Return the name of the file that is longest: it holds all that the others hold."""
    found = [path for path in directory.glob("*.log") if path.name != schema.DIAGNOSTICS_FILE and _is_plain(path)]
    return max(found, key=lambda path: path.stat().st_size).name if found else "expert.log"
