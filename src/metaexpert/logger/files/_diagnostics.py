"""The logger's own troubles: told once, then summed up; never recursive, never an exception, never silent.

A trouble goes to ``logging_errors.log`` and to standard error. The first of a kind is told at once; repeats are
counted and told at most every `SUMMARY_INTERVAL` seconds, and at the end. The file is written directly, without the
machinery whose trouble it tells.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.console import stderr
from metaexpert.logger.encoding.line import Clock, Header
from metaexpert.logger.entry.values import Cleaner, dumps, safe_str
from metaexpert.logger.masking.rules import Masker
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.threads import RLock

#: Seconds between two reports of one kind.
SUMMARY_INTERVAL: Final = 60.0
#: Bytes after which the file moves to ``logging_errors.log.1``: trouble must not fill the disk that it is about.
MAX_SIZE: Final = 1024 * 1024
_MAX_TEXT: Final = 2000
#: Longest wait for another thread that tells a trouble, in seconds.
_PATIENCE: Final = 1.0


class Diagnostics:
    """Reports troubles of one log directory. Safe to call from any thread and from signal handlers.

    Args:
        directory: Where ``logging_errors.log`` is made when first needed; None for standard error only.
        header: Header fields of the entries.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(self, directory: Path | None, header: Header, *, monotonic: Callable[[], float] = monotonic) -> None:
        self._directory = directory
        self._header = header
        self._monotonic = monotonic
        self._clock = Clock()
        self._lock = RLock()
        self._busy = False
        self._told: dict[str, float] = {}
        self._repeats: dict[str, _Repeats] = {}
        self._sequence = 0
        #: How many troubles were met, told or not.
        self.count = 0

    def report(
        self,
        kind: str,
        message: str,
        *,
        level: str = "error",
        error: BaseException | None = None,
        printed: bool = True,
    ) -> None:
        """Tell one trouble.

        Args:
            kind: What repeats are recognised by, for example ``"write expert.log"``.
            message: A sentence for a person.
            level: Word of the level.
            error: The exception behind it; its type and text are told, not its frames.
            printed: Whether it goes to standard error too. It always does if there is no file.
        """
        self.count += 1
        # Whoever is interrupted while telling one, and waits for us, must not wait for ever.
        if not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            if self._busy:  # a trouble while telling a trouble: counted, never told
                return
            now = self._monotonic()
            if kind in self._told and now - self._told[kind] < SUMMARY_INTERVAL:
                number = self._repeats[kind].number + 1 if kind in self._repeats else 1
                self._repeats[kind] = _Repeats(number, message, level, error)
                return
            repeats = self._repeats.pop(kind, None)
            self._tell(kind, message, level, error, repeats.number if repeats else 0, printed=printed)
        finally:
            self._lock.release()

    def summarise(self, *, final: bool = False) -> None:
        """Tell repeats that are due, or all of them at the end."""
        if not self._repeats or not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            now = self._monotonic()
            due = [k for k in self._repeats if final or now - self._told[k] >= SUMMARY_INTERVAL]
            for kind in [] if self._busy else due:
                repeats = self._repeats.pop(kind)
                self._tell(kind, repeats.message, repeats.level, repeats.error, repeats.number)
        finally:
            self._lock.release()

    def after_fork(self) -> None:
        """Start anew in a child: another thread may have held the lock, and its repeats are the parent's to tell."""
        self._lock = RLock()
        self._busy = False
        self._repeats.clear()
        self._header.refresh()

    def _tell(
        self, kind: str, message: str, level: str, error: BaseException | None, repeats: int, *, printed: bool = True
    ) -> None:
        self._busy = True
        try:
            self._told[kind] = self._monotonic()
            self._sequence += 1
            entry = self._header.stamp(self._clock(), level, schema.MSGID_LOG, self._sequence, message)
            fields: dict[str, Any] = {"trouble": kind}
            if error is not None:
                fields["error"] = f"{type(error).__name__}: {safe_str(error)}"
            if repeats:
                fields["repeated"] = repeats
            entry = Cleaner(_MAX_TEXT, 100, Masker()).clean({**entry, schema.LOGGER_KEY: "metaexpert.logger", **fields})
            if printed or self._directory is None:
                stderr.print_entry(entry)
            if self._directory is not None:
                self._append(dumps(entry) + b"\n")
        finally:
            self._busy = False

    def _append(self, line: bytes) -> None:
        path = (self._directory or Path()) / schema.DIAGNOSTICS_FILE
        try:
            if path.exists() and path.stat().st_size + len(line) > MAX_SIZE:
                path.replace(path.with_name(path.name + ".1"))
            _append(path, line)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            stderr.print_line(f"metaexpert.logger: {schema.DIAGNOSTICS_FILE} cannot be written: {reason}")


def _append(path: Path, line: bytes) -> None:
    with Descriptor.at(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
        written = os.write(file.fd, line)
        if written < len(line):  # the disk is full; half a line is worse than none
            os.ftruncate(file.fd, os.lseek(file.fd, 0, os.SEEK_CUR) - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Repeats(NamedTuple):
    """What was met again since it was last told."""

    number: int
    message: str
    level: str
    error: BaseException | None
