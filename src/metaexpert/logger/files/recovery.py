"""Recovery: lines that dead writers left in their journals are brought into their files exactly once.

A journal is dead when its owner lock can be taken. For each of its segments: what the header says was drained is in
its file; what an *intent* says was about to be written is looked for in that file, wherever rotation has moved it;
the rest is appended, with the same intent protocol, so that a recovery may itself be killed and repeated.

A torn tail (half a line, or zeros where a line should be) is normal after a kill and is counted. Damage is set
aside and reported in bytes. Nothing here raises for what it finds; only the file system may (`OSError`).
"""

from __future__ import annotations

import contextlib
import mmap
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.encoding.line import SEQUENCE_ID, Header
from metaexpert.logger.files._rotating_file import LINE_START, RotatingFile, written_already
from metaexpert.logger.files.rotation import RotationPolicy
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
from metaexpert.logger.system.locks import DirectoryLock, FileLock

_FARTHEST: Final = 2**63 - 1
UNREADABLE_SUFFIX: Final = ".unreadable"
DAMAGED_SUFFIX: Final = ".damaged"


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
) -> Recovery:
    """Bring what dead writers left in *private* into the files of *directory*.

    Args:
        directory: The log directory.
        private: Where the journals lie.
        sink_of: Returns the sink of a file name.
        lock: The lock of the directory: while files are searched, no process may rotate them.
        result: Where to note what was done, also when this raises; returned.

    Raises:
        OSError: A journal or a file cannot be read or written. The rest stays for the next time; the other journals
            were brought in.
    """
    result, errors = result or Recovery(), []
    for owner in sorted(private.glob(f"*{LOCK_SUFFIX}")):
        try:
            _recover_if_dead(_Place(directory, private, sink_of, lock), owner, result)
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


def _recover_if_dead(place: _Place, owner: Path, result: Recovery) -> None:
    if not _is_plain(owner):
        return  # not ours, whatever it is
    lock = FileLock(owner)
    if not lock.acquire():
        return  # its writer lives
    finished, journal = False, owner.name.removesuffix(LOCK_SUFFIX)
    try:
        entries = result.entries
        _recover_journal(place, journal, result)
        if (end := end_of(owner, left=result.entries > entries)) is not None:
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
            name, state = inspect(path)
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
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:  # another process was faster
        return False


def inspect(path: Path) -> tuple[str, State]:
    """Return the file name and the state that the segment at *path* tells.

    Raises:
        UnreadableError: It is not one of ours, of a newer version, or damaged.
    """
    if not _is_plain(path):
        raise UnreadableError("is no file")
    with path.open("rb") as file:
        head = file.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE or head[:8] != MAGIC:
        raise UnreadableError("is not a segment of a journal")
    _, version, header_size, size, _ = FIXED.unpack_from(head)
    if version > VERSION:
        raise UnreadableError(f"is of version {version}; this is version {VERSION}")
    name, state = read_name(head), read_slot(head)
    if name is None or state is None or header_size != HEADER_SIZE or not _is_file_name(name):
        raise UnreadableError("has a damaged header")
    if size != path.stat().st_size:
        raise UnreadableError("has not the size that its header says")
    intent = state.intent
    if not HEADER_SIZE <= state.drained <= size or not intent.start <= intent.end <= size or intent.offset > _FARTHEST:
        raise UnreadableError("has a damaged header")
    return name, state


def _is_file_name(name: str) -> bool:
    return Path(name).name == name and name not in ("", "..") and "\0" not in name


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
    while position < len(data):
        newline = data.find(b"\n", position)
        line = data[position : newline if newline >= 0 else len(data)]
        if newline >= 0 and _is_entry(line):
            position = newline + 1
            continue
        if position > start:
            yield start, position
        _judge(line, damaged, result)
        start = position = newline + 1 if newline >= 0 else len(data)
    if position > start:
        yield start, position


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
    data = path.read_bytes() if _is_plain(path) else b""
    ours = _is_plain(path) and MAGIC.startswith(data[: len(MAGIC)].rstrip(b"\0"))
    if ours and int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little") <= VERSION and not any(data[HEADER_SIZE:]):
        path.unlink()
        return
    kept = path.with_suffix(UNREADABLE_SUFFIX)
    path.replace(kept)
    result.damaged += len(data.rstrip(b"\0"))
    result.set_aside.append(f"{kept.name} ({reason})")


def _keep(path: Path, data: bytes, result: Recovery) -> None:
    result.damaged += len(data)
    result.set_aside.append(path.name)
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.replace(path)


def waiting_lines(owner: Path) -> list[bytes]:
    """Return the lines that wait in the journal of an owner file, whose lock is not tried. Raises no `OSError`.

    An entry that goes to several files is in several lines.
    """
    found: list[bytes] = []
    for path in owner.parent.glob(f"{owner.name.removesuffix(LOCK_SUFFIX)}.*{SEGMENT_SUFFIX}"):
        with contextlib.suppress(OSError, UnreadableError):  # brought in meanwhile, or nothing that can be told
            _, state = inspect(path)
            found += path.read_bytes()[state.drained :].rstrip(b"\0").split(b"\n")[:-1]
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
    return result


def _usual_file(directory: Path) -> str:
    """Return the name of the file that is longest: it holds all that the others hold."""
    found = [path for path in directory.glob("*.log") if path.name != schema.DIAGNOSTICS_FILE]
    return max(found, key=lambda path: path.stat().st_size).name if found else "expert.log"
