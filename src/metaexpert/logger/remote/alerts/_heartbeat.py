"""Heartbeats: a file per running expert, with a lock that lasts as long as its process.

An expert that stops deletes its file. A file with a free lock belongs to a process that died without stopping; the
first process that finds it reports the death and deletes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.system.calls import getpid
from metaexpert.logger.system.descriptors import Descriptor, open_private, read_file
from metaexpert.logger.system.locks import FileLock

SUFFIX: Final = ".running"
#: A longer file is none of ours.
_MOST_BYTES: Final = 64 * 1024
_LOCK: Final = ".running-lock"


class Heartbeat:
    """Shows other processes that an expert runs, from now until `end`. Used by one thread at a time.

    Args:
        directory: Where the files lie.
        content: Facts about the expert, for the report of its death.

    Raises:
        OSError: The files cannot be made.
    """

    def __init__(self, directory: Path, content: Mapping[str, Any]) -> None:
        name = f"{getpid()}-{uuid.uuid4().hex[:8]}"
        self._path = directory / f"{name}{SUFFIX}"
        self._lock = FileLock(directory / f"{name}{_LOCK}")
        self._lock.acquire()
        with Descriptor.at(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, opener=open_private) as file:
            file.write_all(json.dumps(dict(content)).encode())

    def end(self) -> None:
        """Delete the file: the expert stops. Idempotent."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._lock.release(delete=True)

    def after_fork(self) -> None:
        """Forget, in a child, what belongs to the parent. Nothing else may be called there."""
        self._lock.abandon()


def dead(directory: Path) -> Iterator[dict[str, Any]]:
    """Find the experts that died without stopping, and delete their files. Each death is found by one process only.

    Yields:
        The content of each `Heartbeat`.

    Raises:
        OSError: The directory cannot be read or changed.
    """
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        lock = FileLock(path.with_name(path.name.removesuffix(SUFFIX) + _LOCK))
        if not lock.acquire():
            continue
        try:
            content = json.loads(read_file(path, _MOST_BYTES))
            path.unlink()
        except (FileNotFoundError, PermissionError):  # stopped or found by another meanwhile; or none of ours
            continue
        except ValueError:  # it died while it began
            path.unlink(missing_ok=True)
            continue
        finally:
            lock.release(delete=True)
        if isinstance(content, dict):
            yield content
