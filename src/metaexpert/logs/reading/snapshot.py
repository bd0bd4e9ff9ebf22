"""The log files of a directory as one set that stays whole while its writer rotates them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from metaexpert.logs.foreign.files import ForeignFile, log_files
from metaexpert.logs.reading.files import Index, LogFile, LogName, find_logs, identity

#: Files held open from the start of a reading; macOS allows a process 256 by default.
_MOST_OPEN: Final = 128
#: How often to take the set of files again because a rotation changed it meanwhile.
_ATTEMPTS: Final = 5


class Snapshot:
    """The log files of a directory at one moment, oldest first in each chain.

    Opens the files at once, so that rotation, compression and removal take none away while it is read (the first 128;
    others are opened when they are read). Use it as a context manager.

    Args:
        directory: Where to look; or a file.
        diagnostics: Include the logger's own problems (``logging_errors.log``).
        recorder: Include what the flight recorder has dumped.
        shared_by: How many snapshots are open at the same time.
        foreign: Include the files of other loggers, as far as they are recognised.

    Attributes:
        chains: The files by the name of their log, oldest first.
        refused: Names of logs that are no regular files, and why they cannot be read.
    """

    def __init__(
        self, directory: Path, *, diagnostics: bool, recorder: bool = False, shared_by: int = 1, foreign: bool = True
    ) -> None:
        self._foreign = foreign
        find = partial(find_logs, directory, diagnostics=diagnostics, recorder=recorder)
        for attempt in range(1, _ATTEMPTS + 1):
            self.refused: dict[str, str] = {}
            chains = find(refused=self.refused)
            self._room = _MOST_OPEN // shared_by
            self._index = Index(directory if directory.is_dir() else directory.parent)
            self.chains = {base: self._opened(names) for base, names in chains.items()}
            if attempt == _ATTEMPTS or self._still(find()):
                break
            self.close()
        self.chains = {
            base: kept for base, files in self.chains.items() if (kept := self._wanted(_without_twins(files))[::-1])
        }

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def trim(self) -> None:
        """Drop the unfinished last line of each current file."""
        for files in self.chains.values():
            if files[-1].name.number == 0:
                files[-1].trim()

    def close(self) -> None:
        """Release all files."""
        for files in self.chains.values():
            for file in files:
                file.close()

    def _opened(self, names: list[LogName]) -> list[LogFile]:
        files = []
        for file in log_files(names, self._index):
            files.append(file)
            self._room -= 1
            with suppress(OSError):  # reported when the file is read
                if self._room > 0:
                    file.open()
                    file.held = True
            file.rest()
        return files

    def _wanted(self, files: list[LogFile]) -> list[LogFile]:
        """Leave out files that are certainly not ours, or not certainly a log."""
        kept = []
        for file in files:
            if (self._foreign and file.is_wanted) if isinstance(file, ForeignFile) else file.name.usual:
                kept.append(file)
            else:
                file.close()
        return kept

    def _still(self, chains: dict[str, list[LogName]]) -> bool:
        """Return whether the directory still holds exactly the files that were opened, under the same names."""
        mine = {file.name.path: file.identity for files in self.chains.values() for file in files}
        now = {}
        for name in (name for names in chains.values() for name in names):
            with suppress(FileNotFoundError):
                now[name.path] = identity(name.path)
        return mine == now


def _without_twins(files: list[LogFile]) -> list[LogFile]:
    """Drop a ``.N.gz`` beside the ``.N`` that it was, or is being, made from."""
    kept: list[LogFile] = []
    for file in files:
        if kept and kept[-1].name.number == file.name.number and _is_twin(file, kept[-1]):
            file.close()
        else:
            kept.append(file)
    return kept


def _is_twin(compressed: LogFile, plain: LogFile) -> bool:
    try:
        return compressed.beginning() in (b"", plain.beginning())
    except OSError:
        return False
