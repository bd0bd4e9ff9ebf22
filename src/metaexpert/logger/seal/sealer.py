"""The writer's side of the seal: takes the lines of a log into its tree, and seals it when an epoch is over.

The file and its backups are the only source: `Sealer.step` goes on where the last step of any process has ended, so a
kill, a recovery, another process and a rotation are all the same to it. A log call has no part in it.

Threads: every method may be called by any thread. The lock of the directory is held to read and to store, not to hash.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from metaexpert.logger.seal._lines import chain, first_hash, read_lines
from metaexpert.logger.seal._store import DIRECTORY, SealError, State, Store, now_text, tree_of
from metaexpert.logger.seal.note import Checkpoint, VerifierKey, encoded, first_kept
from metaexpert.logger.seal.tree import leaf_hash
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.locks import DirectoryLock

__all__ = ["DIRECTORY", "SealError", "Sealed", "Sealer"]

#: Seconds between two looks at the log, and until a failure is followed by another try.
_LOOK: Final = 1.0
_PAUSE: Final = 30.0
#: Lines that are hashed before other threads get their turn, and for how long: as in `files.archive`.
_LINES: Final = 16
_COURTESY: Final = 0.0002
_DAY: Final = 24 * 3600


class Sealed(NamedTuple):
    """A seal that was made.

    Attributes:
        number: Its number.
        size: Lines in the tree.
        note: The signed checkpoint.
        anchor: Whether it is to be sent to witnesses.
    """

    number: int
    size: int
    note: str
    anchor: bool


class _Piece(NamedTuple):
    """A piece of the log that is not in the tree yet."""

    data: bytes
    #: Where it ends in its file, and whether it is the beginning of one.
    end: int
    is_new: bool


class Sealer:
    """The seal of one log file.

    Args:
        path: The log file.
        private: The private directory beside it.
        lock: The lock of the directory.
        epoch: Seconds between two seals.
        backups: Backups that retention keeps.
        anchor: Which seals are sent to witnesses: the first of a day, each, or none.
        on_trouble: Called with what does not work. Once a seal cannot be gone on with, sealing stops.
        clock: Seconds since the epoch; a test passes one of its own.
    """

    def __init__(
        self,
        path: Path,
        private: Path,
        lock: DirectoryLock,
        *,
        epoch: float = 900.0,
        backups: int = 0,
        anchor: Literal["daily", "epoch"] | None = "daily",
        on_trouble: Callable[[str, Exception], object] = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.store = Store(private)
        self._lock = lock
        self._epoch = epoch
        self._backups = backups
        self._anchor = anchor
        self._sealed: deque[Sealed] = deque()
        self._on_trouble = on_trouble
        self._clock = clock
        #: Whether backups may also be deleted to meet a budget.
        self.budget = False
        self._next = 0.0
        self._deadline = 0.0
        self._seen: object = None
        self._broken = False

    # -- for the writer ---------------------------------------------------------------------------------------

    def serve(self) -> bool:
        """Do what is due. Returns whether there is more to do at once. Raises nothing but an interrupt."""
        if self._broken or monotonic() < self._next:
            return False
        return self._try(self._serve)

    def before_rotation(self) -> None:
        """Take in all lines, under the lock of the directory. Raises nothing but an interrupt."""
        if not self._broken:
            self._try(self._before_rotation)

    def finish(self) -> None:
        """Seal what is not sealed yet. Raises nothing but an interrupt."""
        if not self._broken:
            self._try(self._finish)

    def _try(self, work: Callable[[], bool]) -> bool:
        try:
            return work()
        except SealError as error:
            self._broken = True
            self._on_trouble("sealing has stopped; move .metaexpert/seal away to begin anew", error)
        except (OSError, EOFError, LookupError) as error:
            self._next = monotonic() + _PAUSE
            self._on_trouble("the log cannot be sealed, which is tried again", error)
        return False

    def _before_rotation(self) -> bool:
        with self._lock:
            self.catch_up()
            state = State.load(self.store.state())
            if not state.rotating:
                state.rotating = True
                self.store.replace("state", state.dump())
        return False

    def _serve(self) -> bool:
        if self.step():
            return True
        self._next = monotonic() + _LOOK
        if self._clock() >= self._deadline:
            with self._lock:
                last, now = self.begin().secrets().sealed, self._clock()
                if not last <= now < last + self._epoch:  # another process has not done it
                    self.seal()
                    last = now
            self._deadline = last + self._epoch
        return False

    def _finish(self) -> bool:
        with self._lock:
            self.begin()
            self.catch_up()
            secrets = self.store.secrets()
            if not secrets.sealed or secrets.size != State.load(self.store.state()).size:
                self.seal()
        return False

    # -- the tree ---------------------------------------------------------------------------------------------

    def begin(self) -> Store:
        """Make keys and an empty tree, unless they are there. Raises OSError and SealError."""
        if not self.store.exists:
            with self._lock:
                if not self.store.exists:
                    self.store.create(self.path.name)
        return self.store

    def catch_up(self) -> bool:
        """Take in all lines that are there. Raises OSError and SealError."""
        while self.step():
            pass
        return False

    def step(self) -> bool:
        """Take in a piece of the log. Returns whether there may be more. Raises OSError and SealError."""
        facts = _facts(self.path)
        if facts == self._seen:
            return False
        with self._lock:
            raw = self.begin().state()
            state = State.load(raw)
            if state.file != self.path.name:
                raise SealError(f"the seal of this directory is of {state.file}, not of {self.path.name}")
            piece = self._next_piece(state)
        if piece is None:
            self._seen = facts
            return False
        full: dict[tuple[int, int], bytes] = {}
        self._take_in(piece, state, full)
        with self._lock:
            if self.store.state() == raw:  # else another process was faster
                for (level, number), data in full.items():
                    self.store.write_tile(level, number, data)
                state.rotating = state.rotating and not piece.is_new
                state.backups, state.budget = self._backups or state.backups, state.budget or self.budget
                if state.backups:
                    del state.files[: -state.backups - 1]
                self.store.replace("state", state.dump())
        return True

    def _next_piece(self, state: State) -> _Piece | None:
        known = [first for first, _ in state.files]
        paths, start, offset = chain(self.path), 0, 0
        for at in range(len(paths) - 1, -1, -1) if known else ():
            if (first := first_hash(paths[at])) in known:
                # If the last one is gone, and what was not read of it, the next one that nobody knows comes next.
                start, offset = (at, state.offset) if first == known[-1] else (at + 1, 0)
                break
        for path in paths[start:]:
            try:
                data = read_lines(path, offset)
            except EOFError:  # somebody has cut it, or the machine died: what is there now is another file
                data, offset = read_lines(path, 0), 0
            if data:
                return _Piece(data, offset + len(data), is_new=offset == 0)
            offset = 0
        return None

    @staticmethod
    def _take_in(piece: _Piece, state: State, full: dict[tuple[int, int], bytes]) -> None:
        tree = tree_of(state, full)
        for number, line in enumerate(piece.data.split(b"\n")[:-1]):
            leaf = leaf_hash(line)
            if piece.is_new and number == 0:
                state.files.append((leaf, state.size))
            elif number % _LINES == 0:
                _give_way()
            tree.add(leaf, _give_way)
        state.size, state.tiles, state.offset = tree.size, [bytes(tile) for tile in tree.tiles], piece.end

    # -- seals ------------------------------------------------------------------------------------------------

    def seal(self) -> Sealed:
        """Take in all lines, and seal the tree with the current key, which is then forgotten.

        Raises:
            OSError: Something cannot be read or written.
            SealError: What is on the disk cannot be gone on with.
            LookupError: All keys have been used.
        """
        with self._lock:
            self.begin()
            self.catch_up()
            state, secrets, now = State.load(self.store.state()), self.store.secrets(), self._clock()
            tree, keys, number = tree_of(state, {}), secrets.keys, secrets.keys.number
            when = datetime.fromtimestamp(now, UTC)
            checkpoint = Checkpoint(state.origin, state.size, tree.root(), when, self._first(state))
            note = keys.sign(checkpoint.text(), state.origin)
            certificates = [encoded(certificate) for certificate in keys.new_certificates]
            record = {"number": number, "checkpoint": note, "certificates": certificates}
            for tile in tree.partial_tiles():
                self.store.write_tile(*tile)
            secrets.length = self.store.append_seal(secrets.length, json.dumps(record).encode() + b"\n")
            self.store.replace("checkpoint", note.encode())
            anchor = self._is_anchor(secrets.anchored, now)
            secrets.sealed, secrets.size, secrets.anchored = now, state.size, now if anchor else secrets.anchored
            keys.advance()
            self.store.replace_keys(secrets)
            if self.store.prune(state):  # not before: the last seal has to be verified with what is there
                self.store.replace("state", state.dump())
        sealed = Sealed(number, state.size, note, anchor)
        self._sealed.append(sealed)
        return sealed

    def next_sealed(self) -> Sealed | None:
        """Return a seal that was made and not asked for yet."""
        try:
            return self._sealed.popleft()
        except IndexError:
            return None

    def _is_anchor(self, last: float, now: float) -> bool:
        return self._anchor == "epoch" or (self._anchor == "daily" and not last <= now < last + _DAY)

    def _first(self, state: State) -> int:
        """Return the index of the first line that retention has left."""
        found = [first for path in chain(self.path) if (first := first_hash(path)) is not None]
        if state.budget:  # then any backup may have been deleted
            starts = dict(reversed(state.files))  # a file that was cut is there twice: its first beginning counts
            return next((starts[first] for first in found if first in starts), state.size)
        unsure = state.rotating or first_hash(self.path) is None
        return first_kept(state.files, state.backups, unsure=unsure, oldest=found[0] if found else None)

    def hand_out(self) -> VerifierKey:
        """Return the verification key, once. Raises OSError, and SealError when it was handed out before."""
        with self._lock:
            secrets, key = self.begin().secrets(), self.store.key
            if secrets.handed:
                raise SealError(
                    f"the verification key was handed out on {now_text(secrets.handed)}: use that copy, since one that "
                    "is made now proves nothing about the time before"
                )
            secrets.handed = self._clock()
            self.store.replace_keys(secrets)
            return key


def _give_way() -> None:
    time.sleep(_COURTESY)


def _facts(path: Path) -> tuple[int, ...]:
    """Return what changes whenever the file does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
