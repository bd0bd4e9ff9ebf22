"""`explain`: what each file in log directories was recognised as, and how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logs.entry import glance
from metaexpert.logs.foreign.dialect import HEAD
from metaexpert.logs.foreign.files import ForeignFile, log_files
from metaexpert.logs.reading.files import ARCHIVED, LogFile, find_logs

OURS: Final = "metaexpert"
EMPTY: Final = "empty"
UNKNOWN: Final = "not recognised"


class Explained(NamedTuple):
    """What a file was recognised as.

    Attributes:
        file: The file.
        format: `OURS`, the logger and the form of its lines (``pino JSON``), `EMPTY` or `UNKNOWN`.
        times: Zone of its times: ``UTC``, ``as written``, or ``local`` for that of this machine; empty if unknown.
        lines: What becomes of its lines: ``entries``, ``shown as found``, or ``not read``.
    """

    file: Path
    format: str
    times: str
    lines: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**self._asdict(), "file": str(self.file)}


def explain(directories: Iterable[Path], *, diagnostics: bool = False, recorder: bool = False) -> list[Explained]:
    """Return what each file was recognised as that `metaexpert.logs.open_logs` finds in *directories*.

    Args:
        directories: Where the files are; may be files.
        diagnostics: Include ``logging_errors.log``.
        recorder: Include ``recorder-*.log``.
    """
    return [
        one
        for directory in directories
        for chain in find_logs(directory, diagnostics=diagnostics, recorder=recorder).values()
        for one in map(_explained, log_files(chain))
    ]


def _explained(file: LogFile) -> Explained:
    path, usual = file.name.path, file.name.usual
    try:
        if isinstance(file, ForeignFile):
            times = "as written" if file.dialect.zoned else "local"
            return Explained(path, file.dialect.name, times, _lines(read=file.is_wanted))
        if file.name.base == ARCHIVED:
            return Explained(path, f"{OURS} archive", "UTC", _lines(read=True))
        if file.size == 0:
            return Explained(path, EMPTY, "", _lines(read=usual))
        if any(glance(line, "") is not None for line in _head(file)):
            return Explained(path, OURS, "UTC", _lines(read=usual))
        return Explained(path, UNKNOWN, "", "shown as found" if usual else "not read")
    finally:
        file.close()


def _lines(*, read: bool) -> str:
    return "entries" if read else "not read"


def _head(file: LogFile) -> Iterator[bytes]:
    with suppress(OSError):
        yield from file.head(HEAD).split(b"\n")
