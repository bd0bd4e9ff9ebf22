"""How runs ended: by the marks that the next start leaves in the log, and by the owner files of journals.

A process that closes its logger deletes its owner file (see docs/journal.md). So a run without a mark in the log and
without an owner file was closed, if the private directory came along with the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.recover import is_alive, owners, process_of

CLOSED: Final = "closed"
UNCAUGHT: Final = "uncaught"
RUNNING: Final = "running"
UNKNOWN: Final = "unknown"
#: Ends after which nothing has to be looked at. The others, `UNCAUGHT` among them, are in the words of ``log.died``.
_GOOD: Final = frozenset({CLOSED, RUNNING, UNKNOWN, "replaced by another program"})


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        how: ``closed``, ``uncaught``, ``crashed``, ``killed or power lost``, ``replaced by another program``,
            ``running``, or ``unknown``.
        last_alive: When the process last showed that it lived, RFC 3339; empty if only its entries tell.
        facts: Of a crash ``signal`` and ``frames``, of an uncaught exception ``error``.
    """

    how: str
    last_alive: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        """Whether something went wrong."""
        return self.how not in _GOOD


def marked(fields: Mapping[str, Any]) -> End:
    """Return the end that the fields of ``log.died`` tell."""
    facts = {name: fields[name] for name in ("signal", "frames", "error") if name in fields}
    return End(str(fields.get("reason", UNKNOWN)), str(fields.get("last_alive", "")), facts)


def found_in(directory: Path) -> dict[tuple[str, str], End]:
    """Return how the processes stand, by host and process id, that have not closed their journal in *directory*."""
    found: dict[tuple[str, str], End] = {}
    for owner in owners(directory):
        process = process_of(owner)
        if process is None:
            continue
        if is_alive(owner):
            found[process] = End(RUNNING)
            continue
        from metaexpert.logger.files.recovery import told_by  # noqa: PLC0415 - reading must not need the writer

        if (end := told_by(owner)) is not None:
            found[process] = marked(end.fields())
    return found


def waiting(directory: Path) -> list[bytes]:
    """Return the lines of dead processes that wait in the journals of *directory*."""
    lines: list[bytes] = []
    for owner in owners(directory):
        if not is_alive(owner):
            from metaexpert.logger.files.recovery import waiting_lines  # noqa: PLC0415 - as above

            lines += waiting_lines(owner)
    return lines


def keeps_marks(directory: Path) -> bool:
    """Return whether the private directory is there, without which a missing owner file tells nothing."""
    return (directory / schema.PRIVATE_DIRECTORY).is_dir()
