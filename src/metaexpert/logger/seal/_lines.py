"""The lines of a log and its backups, oldest first, as they lie on the disk. Reads only."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, Any, Final, cast

from metaexpert.logger.schema import backup_number
from metaexpert.logger.seal.tree import leaf_hash
from metaexpert.logger.system.descriptors import is_plain, open_file

_SUFFIX: Final = ".gz"
#: Bytes that are read at once: some two hundred lines.
PIECE: Final = 64 * 1024


def chain(path: Path) -> list[Path]:
    """Return the backups of a log file, the oldest first, and itself. One that is there twice comes as it was."""
    found: dict[int, Path] = {}
    for other in path.parent.iterdir():
        number = backup_number(other.name, path.name)
        if number and is_plain(other) and (number not in found or other.suffix != _SUFFIX):
            found[number] = other
    return [*(found[number] for number in sorted(found, reverse=True)), path]


def first_hash(path: Path) -> bytes | None:
    """Return the leaf hash of the first line; None without a whole line. Raises OSError."""
    data = read_lines(path, 0, 1)
    return leaf_hash(data[: data.index(b"\n")]) if data else None


def read_lines(path: Path, offset: int, limit: int = PIECE) -> bytes:
    """Return whole lines from *offset* on, about *limit* bytes of them, but one at least; none where there is none.

    Raises:
        OSError: It cannot be read.
        EOFError: The line before *offset* is not there as a whole: the file was cut.
    """
    try:
        with _opened(path) as file:
            if offset:
                file.seek(offset - 1)
                if file.read(1) != b"\n":
                    raise EOFError(f"{path.name} was cut")
            data = file.read(limit)
            while (end := data.rfind(b"\n") + 1) == 0 and (more := file.read(PIECE)):
                data += more
            return data[:end]
    except FileNotFoundError:
        return b""
    except (gzip.BadGzipFile, zlib.error) as error:
        raise OSError(f"{path.name} is damaged: {error}") from error


def _opened(path: Path) -> IO[bytes]:
    file = open(path, "rb", opener=lambda name, flags: open_file(Path(name), flags))  # noqa: SIM115 - the caller does
    return cast("IO[bytes]", _Unzipped(file)) if path.suffix == _SUFFIX else file


class _Unzipped(gzip.GzipFile):
    """Closes the file below too."""

    def __init__(self, file: Any) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()
