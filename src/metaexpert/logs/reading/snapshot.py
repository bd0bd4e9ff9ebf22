"""The log files of a directory as one set that stays whole while its writer rotates them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from metaexpert.logs.reading.files import Index, LogFile, LogName, find_logs, identity

#: Files held open from the start of a reading; macOS allows a process 256 by default.
_MOST_OPEN: Final = 128
#: How often a set of files is taken anew because a rotation changed it meanwhile.
_ATTEMPTS: Final = 5


class Snapshot:
    """The log files of a directory at one moment, oldest first in each chain.

    Opens the files at once, so that neither rotation nor compression nor removal takes one away while it is
    read (the first 128; further ones are opened when their turn comes). Use as a context manager.

    Args:
        directory: Where to look.
        diagnostics: Whether the logger's own troubles belong to it.
        shared_by: Of how many snapshots, which are open at one time, this is one.
    """

    def __init__(self, directory: Path, *, diagnostics: bool, shared_by: int = 1) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            chains = find_logs(directory, diagnostics=diagnostics)
            self._room = _MOST_OPEN // shared_by
            self._index = Index(directory)
            self.chains = {base: self._opened(names) for base, names in chains.items()}
            if attempt == _ATTEMPTS or self._still(find_logs(directory, diagnostics=diagnostics)):
                break
            self.close()
        self.chains = {base: _without_twins(files)[::-1] for base, files in self.chains.items() if files}

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all files."""
        for files in self.chains.values():
            for file in files:
                file.close()

    def _opened(self, names: list[LogName]) -> list[LogFile]:
        files = []
        for name in names:
            with suppress(FileNotFoundError):
                files.append(LogFile(name, self._index))
                self._room -= 1
                # Whatever else keeps it from being opened is told when its turn to be read comes.
                with suppress(OSError):
                    if self._room > 0:
                        files[-1].open()
                        files[-1].held = True
        return files

    def _still(self, chains: dict[str, list[LogName]]) -> bool:
        """Tell whether the directory still holds just the files that were opened, under the same names."""
        mine = {file.name.path: file.identity for files in self.chains.values() for file in files}
        now = {}
        for name in (name for names in chains.values() for name in names):
            with suppress(FileNotFoundError):
                now[name.path] = identity(name.path)
        return mine == now


def _without_twins(files: list[LogFile]) -> list[LogFile]:
    """Leave out a ``.N.gz`` that stands beside the ``.N`` from which it was, or is being, made."""
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
