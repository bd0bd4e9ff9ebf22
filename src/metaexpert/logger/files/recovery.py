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
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from metaexpert.logger import schema
from metaexpert.logger.encoding.line import SEQUENCE_ID, Header
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.rotation import NEVER, RotationPolicy
from metaexpert.logger.journal.owner import CRASH_SUFFIX, End, end_of, lives
from metaexpert.logger.journal.segment import LOCK_SUFFIX, SEGMENT_SUFFIX
from metaexpert.logger.journal.sink import Sink
from metaexpert.logger.journal.watched import note_end
from metaexpert.logger.system.calls import paths_in
from metaexpert.logger.system.descriptors import exposure, give_to_owner, is_plain, read_file, trusted_users
from metaexpert.logger.system.locks import DirectoryLock, FileLock

if TYPE_CHECKING:
    from metaexpert.logger.files.directory import LogDirectory

#: Seconds until a recovery that failed is tried again.
_PAUSE: Final = 5.0
#: Reasons in a report of who may write to the directory.
_MOST_TOLD: Final = 5


@dataclass
class Recovery:
    """What one recovery did.

    Attributes:
        entries: Entries brought in; one that goes to several files counts once.
        lines: Lines brought in, by file name.
        torn: Lines that a kill had cut short; their calls had not returned.
        damaged: Bytes that were set aside: what is no line, and all of a segment that cannot be read.
        ends: How the processes ended whose journals these were.
        recorded: Lines of the flight recorder that were dumped, by the name of their file.
        set_aside: Names of files in the private directory that hold what could not be read.
    """

    entries: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    torn: int = 0
    damaged: int = 0
    set_aside: list[str] = field(default_factory=list)
    ends: list[End] = field(default_factory=list, compare=False)
    recorded: dict[str, int] = field(default_factory=dict)

    def announcements(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the entries that tell of it: level, message and fields of each."""
        told = [("error", "log.died", end.fields()) for end in self.ends]
        if self.entries or self.torn:
            torn = {"torn": self.torn} if self.torn else {}
            told.append(("warning", "log.recovered", {"recovered": self.entries, "lines": self.lines, **torn}))
        told += [("info", "log.recorder", {"file": name, "dumped": count}) for name, count in self.recorded.items()]
        return told

    def add(self, more: Recovery) -> None:
        """Add what another recovery did."""
        self.entries += more.entries
        for ours, counts in ((self.lines, more.lines), (self.recorded, more.recorded)):
            for name, count in counts.items():
                ours[name] = ours.get(name, 0) + count
        self.torn += more.torn
        self.damaged += more.damaged
        self.set_aside += more.set_aside
        self.ends += more.ends


def recover(
    directory: Path,
    private: Path,
    sink_of: Callable[[str], Sink],
    lock: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
    result: Recovery | None = None,
    known: Container[str] = (),
    own: Container[str] = (),
) -> Recovery:
    """Bring what dead writers left in *private* into the files of *directory*.

    Args:
        directory: The log directory.
        private: Where the journals lie.
        sink_of: Returns the sink of a file name.
        lock: The lock of the directory: while files are searched, no process may rotate them.
        result: Where to note what was done, also when this raises; returned.
        known: Names of log files, whatever their endings.
        own: Ids of journals to leave alone, such as those of this process. It may have lost their locks, as when it
            closes all descriptors.

    Raises:
        OSError: A journal or a file cannot be read or written. The rest stays for the next time; the other journals
            were brought in.
    """
    result, errors = result or Recovery(), []
    if private.is_symlink():
        raise OSError(errno.ELOOP, "is a link, and what it leads to is none of ours", str(private))
    for owner in sorted(paths_in(private, end=LOCK_SUFFIX)):
        if owner.name.removesuffix(LOCK_SUFFIX) in own:
            continue
        try:
            _recover_if_dead(Place(directory, private, sink_of, lock, known), owner, result)
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return result


class Recoverer:
    """Brings in, for a process that runs, what others left in its directory: at its start, and when asked to.

    For one thread at a time; `ask` is for any.

    Args:
        directory: The log directory.
        make_sink: Makes the sink of a file that is not open, by its name and policy.
        monotonic: Seconds.
    """

    def __init__(
        self,
        directory: LogDirectory,
        make_sink: Callable[[str, RotationPolicy], RotatingFile],
        monotonic: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._make_sink = make_sink
        self._monotonic = monotonic
        self._due = self._first = True
        self._next = 0.0

    def ask(self) -> None:
        """Have the next `serve` look again."""
        self._due = True

    def leave(self) -> None:
        """Leave it to another process, until asked."""
        self._due = self._first = False

    def serve(self, policy: RotationPolicy) -> Recovery | None:
        """Do it if it is due; a disk that does not take it now is tried again.

        Args:
            policy: That of files that are not open.

        Returns:
            What was found; None if nothing was, and it was not the first time.
        """
        if not self._due or self._monotonic() < self._next:
            return None
        if self._first and not self._next:
            self._tell_exposure()
        directory, sinks, found = self._directory, dict[str, RotatingFile](), Recovery()

        def sink_of(name: str) -> Sink:
            if name in directory.files:
                return directory.files[name].sink
            return sinks.setdefault(name, self._make_sink(name, policy))

        first = self._first
        try:
            own = directory.journal.ids
            if not first:  # another process that lives has lost its lock for a moment, if it does not hold it
                own |= {owner.stem for owner in paths_in(directory.private, end=LOCK_SUFFIX) if lives(owner)}
            recover(directory.root, directory.private, sink_of, directory.lock, found, directory.files, own)
            self._due = self._first = False
        except OSError as error:
            self._next = self._monotonic() + _PAUSE
            text = "what an earlier process left in its journal cannot be brought in yet"
            directory.diagnostics.report(f"recover {directory.path}", text, error=error)
        finally:
            for sink in sinks.values():
                sink.close()
        return found if found != Recovery() or (first and not self._first) else None

    def _tell_exposure(self) -> None:
        """Tell by what others could plant files here: we go on, since they cannot do more than before."""
        directory = self._directory
        with contextlib.suppress(OSError), directory.lock:
            pass  # what bears the lock's name makes way, and shows
        with contextlib.suppress(OSError):  # told by all that writes there
            if found := exposure(directory.root, directory.private):
                text = f"others may plant files in the log directory: {'; '.join(found[:_MOST_TOLD])}"
                directory.diagnostics.report(f"exposed {directory.path}", text, level="warning")


@dataclass(frozen=True)
class Place:
    """Where to recover to; see `recover`."""

    directory: Path
    private: Path
    sink_of: Callable[[str], Sink]
    lock: AbstractContextManager[object]
    known: Container[str]

    def is_trusted(self, path: Path) -> bool:
        """Whether a file belongs to one who may decide what is in the logs."""
        return path.lstat().st_uid in trusted_users(self.directory, self.private)


def _recover_if_dead(place: Place, owner: Path, result: Recovery) -> None:
    if not is_plain(owner):
        return  # not ours, whatever it is
    if not place.is_trusted(owner):
        result.set_aside.append(f"{owner.name} (left where it is: another user's)")
        return
    lock = FileLock(owner)
    if not lock.acquire():
        return  # its writer lives
    from metaexpert.logger.files._dead_journal import recover_journal  # noqa: PLC0415 - few starts find one

    finished, journal = False, owner.name.removesuffix(LOCK_SUFFIX)
    try:
        entries = result.entries
        recover_journal(place, journal, result)
        if (end := end_of(owner, left=result.entries > entries)) is not None:
            note_end(place.private, journal, end, result.entries - entries)
            result.ends.append(end)
        owner.with_suffix(CRASH_SUFFIX).unlink(missing_ok=True)
        finished = True
    finally:
        lock.release(delete=finished)


def waiting_lines(owner: Path) -> list[bytes]:
    """Return the lines that wait in the journal of an owner file, whose lock is not tried. Raises no `OSError`.

    An entry that goes to several files is in several lines.
    """
    from metaexpert.logger.files._dead_journal import MOST_BYTES, UnreadableError, inspect  # noqa: PLC0415 - as above

    found: list[bytes] = []
    for path in paths_in(owner.parent, f"{owner.name.removesuffix(LOCK_SUFFIX)}.", SEGMENT_SUFFIX):
        with contextlib.suppress(OSError, UnreadableError):  # brought in meanwhile, or nothing that can be told
            _, state = inspect(path)
            data = read_file(path, MOST_BYTES, state.drained)
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
    if not paths_in(private, end=LOCK_SUFFIX):
        return Recovery()
    lock, sinks = DirectoryLock(private / "lock"), dict[str, RotatingFile]()
    before = {*directory.iterdir(), *private.iterdir()}

    def sink_of(name: str) -> RotatingFile:
        if name not in sinks:
            sinks[name] = RotatingFile(directory / name, NEVER, lock)
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
    names = [path for path in directory.glob("*.log") if not schema.is_recorder_file(path.name)]
    found = [path for path in names if path.name != schema.DIAGNOSTICS_FILE and is_plain(path)]
    return max(found, key=lambda path: path.stat().st_size).name if found else "expert.log"
