"""One dead journal: its lines are brought into their files exactly once, and what is none of ours is set aside.

Imported when there is one, and for the files of the flight recorder, whose ring it dumps.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.config.field_types import file_name_problem
from metaexpert.logger.encoding.line import SEQUENCE_ID
from metaexpert.logger.files._rotating_file import LINE_START, RotatingFile, written_already
from metaexpert.logger.files.rotation import NEVER
from metaexpert.logger.journal.ring import RING_NAME, last_time
from metaexpert.logger.journal.segment import (
    FIXED,
    HEADER_SIZE,
    MAGIC,
    RING_SUFFIX,
    SEGMENT_SUFFIX,
    VERSION,
    Intent,
    Segment,
    State,
    read_name,
    read_slot,
    write_out,
)
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.system.calls import names_in, paths_in
from metaexpert.logger.system.descriptors import Descriptor, is_plain, open_private, read_file, written_beside

if TYPE_CHECKING:
    from metaexpert.logger.files.recovery import Place, Recovery

UNREADABLE_SUFFIX: Final = ".unreadable"
DAMAGED_SUFFIX: Final = ".damaged"
#: A larger segment is none of ours: they have a megabyte, and more only for a single entry that is longer.
MOST_BYTES: Final = 256 * 1024 * 1024
#: Endings that make a name a log's, although no such file is there.
_LOG_SUFFIXES: Final = frozenset({".log", ".jsonl", ".json", ".ndjson", ".txt"})
_FARTHEST: Final = 2**63 - 1
#: Of the flight recorder's files, which never rotate, so many stay, with so many times the bytes of the ring together.
MOST_FILES: Final = 20
MOST_RINGS: Final = 10
_NO_TIME: Final = "0000-01-01T00:00:00.000000Z"
_ZEROS: Final = bytes(64 * 1024)


class UnreadableError(ValueError):
    """A segment whose header is foreign, newer or damaged; says which."""


def recover_journal(place: Place, journal: str, result: Recovery) -> None:
    """Recover one journal, oldest segment first, until nothing of it is left."""
    entries: set[bytes] = set()
    try:
        for name, path in _segments(place, f"{journal}.", SEGMENT_SUFFIX, result):
            _recover_segment(place, path, name, place.sink_of(name), result, entries)
            path.unlink(missing_ok=True)
    finally:
        result.entries += len(entries)
    if ring := [path for _, path in _segments(place, f"{journal}.", RING_SUFFIX, result)]:
        _dump(place, ring, result)


def _segments(place: Place, begin: str, end: str, result: Recovery) -> list[tuple[str, Path]]:
    """Return the segments called like that with the names of their files, oldest first; others are set aside."""
    found: list[tuple[int, str, Path]] = []
    for path in paths_in(place.private, begin, end):
        try:
            name, state = _inspected(place, path)
        except UnreadableError as error:
            _put_away(path, str(error), result)
        else:
            found.append((state.epoch, name, path))
    return [(name, path) for _, name, path in sorted(found)]


def _inspected(place: Place, path: Path) -> tuple[str, State]:
    """Return what `inspect` does. Raises UnreadableError also for a segment that its writer would not have made."""
    name, state = inspect(path)
    if not (name == RING_NAME if path.suffix == RING_SUFFIX else _is_log(place, name)):
        raise UnreadableError("names a file that is no log")
    if not place.is_trusted(path):
        raise UnreadableError("is another user's")
    return name, state


def _is_log(place: Place, name: str) -> bool:
    """Return whether lines may go into the file *name*: a planted segment must not make or change any other."""
    if file_name_problem(name):
        return False
    if name in place.known or Path(name).suffix in _LOG_SUFFIXES:
        return True
    path = place.directory / name
    if not is_plain(path):
        return False
    return read_file(path, len(LINE_START)) in (b"", LINE_START)


def _dump(place: Place, ring: Sequence[Path], result: Recovery) -> None:
    """Bring the lines of a flight recorder into a file of their own."""
    sink = dump_file(place.directory, dump_name(_last_time(ring)), place.lock)
    try:
        for path in ring:
            _recover_segment(place, path, sink.path.name, sink, result, None)
            path.unlink(missing_ok=True)
    finally:
        sink.close()
    if sink.path.name in result.recorded:
        delete_oldest(place.directory, sink.path.stat().st_size)


def _last_time(paths: Sequence[Path]) -> str:
    """Return the time of the last line that is to be dumped from *paths*; empty when there is none."""
    for path in reversed(paths):
        segment = Segment.attach(path)
        try:
            if (end := segment.end()) > segment.drained:
                return last_time(segment, end)
        finally:
            segment.release()
    return ""


def _recover_segment(
    place: Place, path: Path, name: str, sink: Sink, result: Recovery, entries: set[bytes] | None
) -> None:
    """Bring the lines of one segment into *sink*, the file *name*; without *entries*, as a dump of the recorder."""
    segment = Segment.attach(path)
    try:
        position = segment.drained
        if segment.has_intent:
            intent = segment.state.intent
            with place.lock:
                if entries is None:
                    position += dumped_already(place.directory, intent, segment.map)
                else:
                    position += written_already(place.directory, name, intent, segment.map)
            segment.commit(position)
        damaged = bytearray()
        runs = list(_runs(segment.map, position, damaged, result))
        if damaged:  # before anything moves on: a recovery that is repeated must find it again
            _keep(path.with_suffix(DAMAGED_SUFFIX), bytes(damaged), result)
        counts = result.recorded if entries is None else result.lines
        for start, end in runs:
            lines = segment.map[start:end]
            write_out(segment, start, end, sink)
            counts[name] = counts.get(name, 0) + lines.count(b"\n")
            if entries is not None:
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
    head, length = _look_into(path) if is_plain(path) else (b"-", 0)
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
    with Descriptor.at(path, os.O_RDONLY, opener=open_private) as file:
        status = os.fstat(file.fd)
        head = file.read_at(0, HEADER_SIZE)
        if status.st_size > MOST_BYTES:
            return head, min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
        length, offset = len(head.rstrip(b"\0")), len(head)
        for piece in file.pieces(offset, len(_ZEROS)):
            if text := _stripped(piece):
                length = offset + len(text)
            offset += len(piece)
    return head, length


def _keep(path: Path, data: bytes, result: Recovery) -> None:
    result.damaged += len(data)
    result.set_aside.append(path.name)
    if not is_plain(path):
        written_beside(path, data).replace(path)


def inspect(path: Path) -> tuple[str, State]:
    """Return the file name and the state that the segment at *path* tells.

    Raises:
        UnreadableError: It is not one of ours, of a newer version, or damaged.
    """
    if not is_plain(path):
        raise UnreadableError("is no file")
    if path.lstat().st_size > MOST_BYTES:
        raise UnreadableError("is larger than a segment can be")
    head = read_file(path, HEADER_SIZE)
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


def dump_name(time: str) -> str:
    """Return the name of the file whose last entry has that *time*; for what is no time, one of the year 0."""
    digits = time.replace("-", "").replace(":", "").removesuffix("Z")
    name = f"{schema.RECORDER_PREFIX}{digits}{schema.RECORDER_SUFFIX}"
    return name if schema.is_recorder_file(name) else dump_name(_NO_TIME)


def dump_file(directory: Path, name: str, lock: Any) -> RotatingFile:
    """Return the sink of the file *name*. *lock* is the directory's."""
    return RotatingFile(directory / name, NEVER, lock)


def dumped_already(directory: Path, intent: Intent, data: Any) -> int:
    """Return how many bytes of the batch of *intent* a file of the recorder has, see `written_already`."""
    return max((written_already(directory, name, intent, data) for name in _files(directory)), default=0)


def delete_oldest(directory: Path, ring: int) -> int:
    """Delete what is too much of the recorder's files, for a ring of so many bytes. Returns how many files.

    Raises:
        OSError: A file cannot be deleted.
    """
    left, deleted = ring * MOST_RINGS, 0
    for place, (_, path) in enumerate(sorted(_files(directory).items(), reverse=True)):
        left -= path.stat().st_size
        if place and (place >= MOST_FILES or left < 0):
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted


def _files(directory: Path) -> dict[str, Path]:
    found = [directory / name for name in names_in(directory) if schema.is_recorder_file(name)]
    return {path.name: path for path in found if path.is_file() and not path.is_symlink()}
