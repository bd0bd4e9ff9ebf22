"""An archive of logs that is safe to share: masked entries, statistics, configuration, versions.

Entries were masked before they were written. Here every line is masked again, so that logs of other programs and of
earlier versions are safe too (`metaexpert.logs.scan`).
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import tee
from pathlib import Path
from typing import IO, Any, Final

from metaexpert._version import __version__
from metaexpert.logger.masking.rules import mask_text, mask_tree
from metaexpert.logs.library import Logs
from metaexpert.logs.scan import mask_lines
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.verify import verify

#: Libraries whose versions help to explain a log.
_LIBRARIES: Final = ("structlog", "orjson", "pydantic", "typer", "rich", "httpx", "duckdb")
_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Bundle:
    """The archive, its members, the number of lines, and the number of lines in which something was masked."""

    path: Path
    members: list[str]
    lines: int
    masked: int


def make_bundle(logs: Logs, path: Path, configuration: Mapping[str, Any]) -> Bundle:
    """Write a ``.tar.gz`` of the records that pass the filters of *logs*; everything in it is masked.

    Args:
        logs: The records, each once, in order of time.
        path: Path of the archive. It must not exist; only its owner may read it.
        configuration: Settings with their values and sources.

    Raises:
        FileExistsError: The file exists.
        OSError: The archive cannot be written; no part of it remains.
    """
    handle = path.open("xb")
    try:
        path.chmod(_MODE)
        with handle, tarfile.open(fileobj=handle, mode="w:gz") as archive:
            return _packed(logs, archive, path, configuration)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _packed(logs: Logs, archive: tarfile.TarFile, path: Path, configuration: Mapping[str, Any]) -> Bundle:
    root = path.name.partition(".")[0]
    with tempfile.TemporaryFile() as entries:
        lines, masked = _write_masked(logs, entries)
        size = entries.tell()
        entries.seek(0)
        _add(archive, f"{root}/entries.jsonl", entries, size)
    texts = {
        "config.json": configuration,
        "versions.json": versions(),
        "stats.json": collect_stats(logs).as_dict(top=50),
        "verify.json": verify(logs).as_dict(),
    }
    for name, value in texts.items():
        text = mask_text(json.dumps(mask_tree(value)[0], ensure_ascii=False, indent=2, default=str) + "\n")
        data = text.encode("utf-8", "backslashreplace")
        _add(archive, f"{root}/{name}", io.BytesIO(data), len(data))
    return Bundle(path, archive.getnames(), lines, masked)


def _write_masked(logs: Logs, file: IO[bytes]) -> tuple[int, int]:
    originals, lines = tee(record.line + b"\n" for record in logs)
    count = masked = 0
    for original, line in zip(originals, mask_lines(lines), strict=True):
        count += 1
        masked += line != original
        file.write(line)
    return count, masked


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    archive.addfile(info, file)


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python, of the system and of the libraries."""
    found = {
        "metaexpert": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
