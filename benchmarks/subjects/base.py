"""What every subject is to the measures: the same few methods, seen only from outside."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.entry import Entry, Rotation


class Subject(ABC):
    """One library in one documented set-up. An object logs into one directory of one process."""

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[Literal["ours", "peer", "floor"]] = "peer"
    #: Distributions whose versions are reported.
    packages: ClassVar[tuple[str, ...]] = ()
    #: Python statement that imports what a user of this set-up imports; its duration is the import time.
    imports: ClassVar[str]
    #: Whether the caller passes fields as data or the library writes JSON by itself.
    structured: ClassVar[bool] = True
    rotates: ClassVar[bool] = True
    #: Whether anything is written; the no-op floor writes nothing.
    writes: ClassVar[bool] = True
    #: Whether the next start on the same directory brings back what a killed process left behind.
    recovers: ClassVar[bool] = False
    #: Variables that its process gets, and the measures that it takes part in; empty for all.
    environment: ClassVar[Mapping[str, str]] = {}
    only: ClassVar[tuple[str, ...]] = ()
    #: What a reader must know to judge the figures.
    note: ClassVar[str] = ""

    @abstractmethod
    def setup(self, directory: Path, rotation: Rotation) -> None:
        """Import the library and make it ready to log into *directory*, which exists."""

    @abstractmethod
    def entry(self, number: int, order_id: str) -> None:
        """Log entry *number* at INFO, as a user of the library would."""

    @abstractmethod
    def disabled(self, number: int, order_id: str) -> None:
        """Make the same call at DEBUG, which is off."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Return when everything is in the files."""

    def files(self, directory: Path) -> list[Path]:
        """Return the log files under *directory*, rotated ones included."""
        return sorted(
            path
            for path in directory.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
        )

    def normalize(self, line: bytes) -> Mapping[str, Any]:
        """Return *line* with the common names of message, timestamp, level and logger."""
        entry = json.loads(line)
        return {
            **entry,
            "message": entry.get("message", entry.get("event")),
            "level": entry.get("level", entry.get("levelname")),
            "logger": entry.get("logger", entry.get("name")),
        }

    def expert(self, directory: Path, number: int) -> Entry:
        """Return log calls of one more expert in this process, into *directory*; `close` closes it."""
        raise NotImplementedError

    def sealed(self, directory: Path, *, seal: bool, trade: bool) -> Entry:
        """Return log calls, of trades or not, into *directory*, whose trade log is sealed or not."""
        raise NotImplementedError

    def experts(self, directory: Path, count: int) -> Sequence[Entry]:
        """Return log calls of *count* experts in this process; `close` closes them."""
        raise NotImplementedError
