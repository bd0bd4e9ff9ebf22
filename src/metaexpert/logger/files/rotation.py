"""When a file is rotated, which backup goes where, and what a budget costs: pure decisions over names and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from metaexpert.logger.schema import backup_number

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
#: Seconds of a period, counted from the epoch, which began at midnight UTC.
PERIODS: Final = {"hourly": _HOUR, "midnight": _DAY}


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When one file is rotated and how many backups stay.

    Args:
        max_size: Size in bytes that a file does not exceed, unless a single line does.
        backups: How many backups are kept. 0 keeps none, and therefore never rotates: nothing is thrown away.
        when: Also rotate when a UTC day or hour has ended since the last write.
        compress: Whether backups are compressed afterwards.
    """

    max_size: int
    backups: int
    when: Literal["midnight", "hourly"] | None = None
    compress: bool = False

    def due(self, size: int, incoming: int, last_write: float, now: float) -> bool:
        """Return whether a file of *size* bytes is rotated before a line of *incoming* bytes is added.

        Args:
            size: Bytes in the file.
            incoming: Bytes of the next line.
            last_write: When the file was last written, in seconds since the epoch.
            now: The present, likewise. A clock that stepped back rotates nothing.
        """
        if not size or not self.backups:
            return False
        if size + incoming > self.max_size:
            return True
        period = PERIODS.get(self.when or "")
        return period is not None and now // period > last_write // period

    def room(self, size: int) -> int:
        """Return how many bytes a file of *size* bytes still takes."""
        return self.max_size - size if self.backups else 2**63


#: Of a file that is never rotated.
NEVER: Final = RotationPolicy(max_size=2**63 - 1, backups=0)


class Move(NamedTuple):
    """One step of a rotation: rename *source* to *target*, or delete it when there is none."""

    source: str
    target: str | None


class FileFact(NamedTuple):
    """What a budget needs to know of a file."""

    name: str
    size: int
    modified: float


def shift(names: Iterable[str], base: str, keep: int) -> list[Move]:
    """Return the steps that free ``base.1`` and end with *base* there, in the order to do them.

    Backups move up by one, but only as far as the first gap; those beyond *keep* are deleted. Any step may fail
    and the rotation be tried again later: nothing is overwritten by doing the steps in order.
    """
    by_number: dict[int, list[str]] = {}
    for name in sorted(names):
        number = backup_number(name, base)
        if number is not None:
            by_number.setdefault(number, []).append(name)
    gap = next(n for n in range(1, len(by_number) + 2) if n not in by_number)
    deletions = [Move(name, None) for n, found in by_number.items() if n >= keep + (n > gap) for name in found]
    doomed = {move.source for move in deletions}
    renames = [
        Move(name, base + name[len(base) :].replace(f".{n}", f".{n + 1}", 1))
        for n in range(gap - 1, 0, -1)
        for name in by_number[n]
        if name not in doomed
    ]
    return [*deletions, *renames, Move(base, f"{base}.1")]


def over_budget(files: Collection[FileFact], bases: Collection[str], budget: int) -> list[str]:
    """Return the backups to delete, oldest first, until *files* fit *budget* bytes; never a current file.

    Of one file's backups the highest number always goes first, whatever its time says: times may be equal, or have
    been touched, and the numbers stay without a gap.

    Args:
        files: The files of the directory. Those that are neither one of *bases* nor its backup are not ours and
            count for nothing.
        bases: Names of the current files.
        budget: Bytes that all of ours together may take.
    """
    backups: dict[str, list[FileFact]] = {base: [] for base in bases}
    excess = sum(file.size for file in files if file.name in bases) - budget
    for file in files:
        base = next((base for base in bases if backup_number(file.name, base)), None)
        if base is not None:
            backups[base].append(file)
            excess += file.size
    for base, found in backups.items():
        found.sort(key=lambda file: (backup_number(file.name, base) or 0, file.name))
    doomed: list[str] = []
    while excess > 0 and any(backups.values()):
        oldest = min((found for found in backups.values() if found), key=lambda found: (found[-1].modified, found[-1]))
        file = oldest.pop()
        doomed.append(file.name)
        excess -= file.size
    return doomed
