"""Signs of life: a file per running expert, whose lock says that its process lives.

An expert that stops takes its file away. A file whose lock can be taken belongs to a process that died without
stopping: whoever finds it first says so and takes it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import FileLock

SUFFIX: Final = ".running"
_LOCK: Final = ".running-lock"


class Heartbeat:
    """Says that an expert runs.

    Args:
        directory: Where the files lie.
        content: What is to be known of the expert when it has died.
    """

    def __init__(self, directory: Path, content: Mapping[str, Any]) -> None:
        self._directory = directory
        self._content = dict(content)
        self._lock: FileLock | None = None
        self._path: Path | None = None

    def begin(self) -> None:
        """Make the file. Raises OSError."""
        if self._lock is not None:
            return
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        lock = FileLock(self._directory / f"{name}{_LOCK}")
        lock.acquire()
        path = self._directory / f"{name}{SUFFIX}"
        with Descriptor.at(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            os.write(file.fd, json.dumps(self._content).encode())
        self._lock, self._path = lock, path

    def end(self) -> None:
        """Take the file away: the expert stops."""
        if self._lock is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._lock.release(delete=True)
            self._lock = None

    def after_fork(self) -> None:
        """Forget, in a child, what is the parent's."""
        if self._lock is not None:
            self._lock.abandon()
            self._lock = None


def dead(directory: Path) -> Iterator[dict[str, Any]]:
    """Find the experts that died without stopping, and take their files away, each by one finder only.

    Yields:
        What each had said of itself. Raises OSError.
    """
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        lock = FileLock(path.with_name(path.name.removesuffix(SUFFIX) + _LOCK))
        if not lock.acquire():
            continue
        try:
            content = json.loads(path.read_bytes())
            path.unlink()
        except FileNotFoundError:  # stopped, or found by somebody else, meanwhile
            continue
        except ValueError:  # it died while it began
            path.unlink(missing_ok=True)
            continue
        finally:
            lock.release(delete=True)
        if isinstance(content, dict):
            yield content
