"""A trade log that is written and rotated by plain file calls, and sealed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from metaexpert.logger.seal.note import VerifierKey
from metaexpert.logger.seal.sealer import Sealer
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logs import Logs
from metaexpert.logs.seal.verify import verify_seal
from metaexpert.logs.verify import Report


def line(number: int) -> bytes:
    return b'{"message":"Order %d filled","size":%d}\n' % (number, number)


class SealedLog:
    """A log directory with a sealed ``trades.log``; its clock stands still until it is set.

    Args:
        directory: Where.
        backups: Backups that are kept.
        **options: Of the `Sealer`.
    """

    def __init__(self, directory: Path, backups: int = 5, **options: Any) -> None:
        self.directory = directory
        self.path = directory / "trades.log"
        self.private = directory / ".metaexpert"
        self.backups = backups
        self.now = 1_800_000_000.0
        self.trouble: list[tuple[Any, ...]] = []
        self.count = 0
        self.sealer = self.new_sealer(**options)

    def new_sealer(self, **options: Any) -> Sealer:
        """Return another one, as another process has it."""
        lock = DirectoryLock(self.private / "lock")
        self.private.mkdir(parents=True, exist_ok=True)
        given = {
            "backups": self.backups,
            "clock": lambda: self.now,
            "on_trouble": lambda *what: self.trouble.append(what),
        }
        return Sealer(self.path, self.private, lock, **{**given, **options})

    def write(self, count: int) -> None:
        """Append so many lines."""
        with self.path.open("ab") as file:
            for _ in range(count):
                file.write(line(self.count))
                self.count += 1

    def rotate(self, *, compress: bool = False, told: bool = True) -> None:
        """Move the file on, as the writer does; *told* says whether the sealer is asked before."""
        if told:
            self.sealer.before_rotation()
        for number in range(self.backups, 0, -1):
            for suffix in ("", ".gz"):
                old = self.directory / f"trades.log.{number}{suffix}"
                if old.exists() and number == self.backups:
                    old.unlink()
                elif old.exists():
                    old.rename(self.directory / f"trades.log.{number + 1}{suffix}")
        newest = self.path.rename(self.directory / "trades.log.1")
        if compress:
            newest.with_name("trades.log.1.gz").write_bytes(gzip.compress(newest.read_bytes()))
            newest.unlink()

    def seal(self) -> None:
        """Seal it a minute later."""
        self.now += 60
        self.sealer.seal()

    def key(self) -> VerifierKey:
        return self.sealer.store.key

    def size(self) -> int:
        """Return how many lines are in the tree."""
        from metaexpert.logger.seal._store import State

        return State.load(self.sealer.store.state()).size


def checked(directory: Path, key: VerifierKey, *anchors: str) -> Report:
    """Return the report of `verify_seal` alone."""
    report = Report()
    verify_seal(Logs((directory,)), key, report, anchors=anchors)
    return report


def problems(directory: Path, key: VerifierKey, *anchors: str) -> list[tuple[str, str, int]]:
    """Return kind, file and line of each problem."""
    return [(problem.kind, problem.file, problem.line) for problem in checked(directory, key, *anchors).problems]
