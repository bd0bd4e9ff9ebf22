"""`read_runs`: the runs in log directories, with what waits in the journals of dead processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from metaexpert.logs.entry import Entry, by_time, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.runs import _ends as ends
from metaexpert.logs.runs.model import Finished, Run, Runs, ignore

#: How a stretch of JSON lines in a journal is named where a file is.
JOURNAL = "journal"


@dataclass(slots=True)
class Directory:
    """The runs in a directory.

    Attributes:
        path: The directory.
        runs: In the order of their starts.
        waiting: Entries that no file has, only the journal of a dead process; they are part of its run.
    """

    path: Path
    runs: list[Run]
    waiting: int


def read_runs(logs: Logs, finished: Finished = ignore) -> list[Directory]:
    """Return the runs in each directory of *logs*, from all entries that pass its filters.

    Args:
        logs: The logs.
        finished: See `metaexpert.logs.runs.model.Runs`.
    """
    found = []
    for directory in logs.directories:
        here = replace(logs, directories=(directory,))
        found.append(_read(directory, here, finished))
    return found


def _read(directory: Path, logs: Logs, finished: Finished) -> Directory:
    # The ends first: a process that closes meanwhile is then taken for a running one, never for a killed one.
    states = ends.found_in(directory)
    waiting = _by_identity(ends.waiting(directory))
    runs = Runs(finished)
    for record in logs:
        if isinstance(record, Entry):
            if waiting:
                waiting.pop(record.identity, None)
            runs.feed(record)
    rest = sorted((entry for entry in waiting.values() if logs.criteria.accept(entry)), key=by_time)
    for entry in rest:
        runs.feed(entry)
    return Directory(directory, runs.finish(states, marked_all=ends.keeps_marks(directory)), len(rest))


def _by_identity(lines: Iterable[bytes]) -> dict[object, Entry]:
    entries = (parse(line, JOURNAL) for line in lines)
    return {entry.identity: entry for entry in entries if entry is not None}
