"""`read_runs`: the runs in log directories, with what waits in the journals of dead processes."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Final

from metaexpert.logs.entry import Entry, Record, by_time, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.dedup import copied
from metaexpert.logs.reading.files import Counts, LogFile, find_logs
from metaexpert.logs.runs import ends
from metaexpert.logs.runs._blocks import TELLING, Block, Counted, Process, is_counted, raw_process
from metaexpert.logs.runs._marks import MarkedRuns, marks
from metaexpert.logs.runs.ends import End
from metaexpert.logs.runs.model import Listener, Run, Runs
from metaexpert.logs.store.store import Store

#: A process that there is not.
_NONE: Final = ("", "")
#: How a stretch of JSON lines in a journal is named where a file is.
JOURNAL = "journal"


@dataclass(slots=True)
class Directory:
    """The runs in a directory, or in a store.

    Attributes:
        path: The directory or store.
        runs: In the order of their starts.
        waiting: Entries that no file has, only the journal of a dead process; they are part of its run.
    """

    path: Path | Store
    runs: list[Run]
    waiting: list[Entry]


def read_runs(logs: Logs, listener: Listener | None = None, *, last_only: bool = False) -> list[Directory]:
    """Return the runs in each directory and store of *logs*, from all entries that pass its filters.

    Args:
        logs: The logs.
        listener: Is told of executions and orders, see `metaexpert.logs.runs.model.Listener`.
        last_only: Take in only runs of the process that probably logged last; `Run.whole` tells which.
    """
    apart, copies = _apart(replace(logs, copies=False))
    found = [_read(path, one, MarkedRuns(listener), last_only=last_only) for path, one in apart.items()]
    logs.counts.copies |= copies  # each reading has reset it
    return found + [_stored(store, logs.at(store), Runs(listener)) for store in logs.stores]


def _apart(logs: Logs) -> tuple[dict[Path, Logs], dict[str, str]]:
    """Return the logs of each directory alone, and the directories that are copies of others, which are left out.

    A file that was copied from another directory, or belongs to two of them, is read with one of them.
    """
    alone = {path: logs.at(path) for path in logs.directories}
    if len(alone) < 2:
        return alone, {}

    def owner(file: LogFile) -> Path:
        around = (path for path in logs.directories if file.name.path.is_relative_to(path))
        return max(around, key=lambda path: len(path.parts))

    with replace(logs, copies=True, counts=Counts()).opened() as chains:
        files = [file for chain in chains for file in chain.files]
        original = {copy.identity: owner(other) for copy, other in copied(files, owner)}
    notes: dict[str, str] = {}
    for path in list(alone):
        mine = {file.identity for file in files if owner(file) == path}
        left = mine - original.keys()
        if left or not find_logs(path, diagnostics=False):
            alone[path] = replace(alone[path], without=frozenset(file.identity for file in files) - left)
            continue
        del alone[path]
        if mine:
            notes[str(path)] = " and ".join(sorted({str(original[one]) for one in mine}))
    return alone, notes


def _stored(store: Store, logs: Logs, runs: Runs) -> Directory:
    """Return the runs in a store: it has neither journals nor owner files, only what the log says of ends."""
    for entry in logs.stored():
        runs.feed(entry)
        entry.forget()
    return Directory(store, runs.finish({}, marked_all=False), [])


def _read(directory: Path, logs: Logs, runs: MarkedRuns, *, last_only: bool) -> Directory:
    # The ends first: a process that closes meanwhile is then taken for a running one, never for a killed one.
    states = ends.found_in(directory)
    waiting = _by_identity(ends.waiting(directory))
    for entry, counted in _with_marks(logs, entries_for(logs, runs, states if last_only else None)):
        if waiting:
            waiting.pop(entry.identity, None)
        if counted is None:
            runs.note(entry, passes=logs.criteria.accept(entry))
        else:
            runs.feed(entry, counted=counted)
        entry.forget()
    rest = []
    for entry in sorted(waiting.values(), key=by_time):
        passes = logs.criteria.accept(entry)
        if logs.criteria.by_content and entry.sequence_id == 1:
            runs.note(entry, passes=passes)
        if passes:
            runs.feed(entry)
            rest.append(entry)
    return Directory(directory, runs.finish(states, marked_all=ends.keeps_marks(directory)), rest)


def _with_marks(logs: Logs, entries: Iterable[tuple[Entry, bool]]) -> Iterator[tuple[Entry, bool | None]]:
    """Yield the entries of `entries_for`; with a filter among them the marks of runs, each with None, as they come."""
    if not (logs.criteria.by_content or logs.criteria.until):
        return iter(entries)
    found = ((mark, None) for mark in marks(replace(logs, foreign=False)))
    return heapq.merge(found, entries, key=lambda item: item[0].key[:2])  # of equal ones the mark first


def entries_for(logs: Logs, runs: Runs, last: Mapping[Process, End] | None = None) -> Iterator[tuple[Entry, bool]]:
    """Yield the entries of *logs* that *runs* has to be fed with, and whether they are counted already.

    With *last*, how the processes stand, *runs* takes in those of one process only.
    """
    logs = replace(logs, foreign=False)
    return _each(logs) if logs.criteria.by_content else _counted(logs, runs, last)


def _each(logs: Logs) -> Iterator[tuple[Entry, bool]]:
    return ((record, False) for record in logs if isinstance(record, Entry) and not record.foreign)


def _counted(logs: Logs, runs: Runs, last: Mapping[Process, End] | None) -> Iterator[tuple[Entry, bool]]:
    """Yield the entries that say something, and whether they are counted: all that say nothing are, in blocks."""
    running = {process for process, end in (last or {}).items() if end.how == ends.RUNNING}
    # While some are running, a first look tells which of them started last.
    guess = None if last is None else _NONE if running else _at_the_end(logs)
    counting, records = _looked_through(logs, runs, guess)
    if last is not None and counting.blocks:
        runs.only = _last_of(counting, running)
        if guess not in (None, runs.only):
            counting, records = _looked_through(logs, runs, runs.only)
    blocks = _Blocks(sorted(counting.blocks, key=by_time), runs)
    for item in heapq.merge(blocks.all, records, key=by_time):
        if isinstance(item, Block):
            blocks.count(item)
        elif isinstance(item, Entry) and not item.foreign:  # an archive has entries of other loggers too
            counted = not item.has_copies and is_counted(item.line)
            if counted and not runs.has(item):
                blocks.count_with(item)
            yield item, counted


def _looked_through(logs: Logs, runs: Runs, only: Process | None) -> tuple[Counted, Iterator[Record]]:
    """Look at all lines; return what was counted, and the records that say something of the run of *only*."""
    counting = Counted(logs.criteria, raw_process(only) if only is not None else None)
    records = logs.with_keys(TELLING + runs.listener.keys, counting.see, counting.process)
    first = list(islice(records, 1))  # all was seen
    return counting, chain(first, records)


def _at_the_end(logs: Logs) -> Process | None:
    """Return the process whose entry is the last."""
    last = [record for record in replace(logs, counts=Counts()).last(1) if isinstance(record, Entry)]
    return last[0].process if last else None


def _last_of(counting: Counted, running: Container[Process]) -> Process:
    """Return the process that ended last, as it seems, unless a *running* one has started since."""
    events = {process: time for process, time in counting.latest.items() if process not in running}
    for block in counting.blocks:
        if block.process in running:
            events[block.process] = min(events.get(block.process, block.key[0]), block.key[0])
        else:
            events[block.process] = max(events.get(block.process, b""), block.last)
    return max(events, key=events.__getitem__)


class _Blocks:
    """Blocks in the order of time. A block is counted before any of its entries comes, however their times are."""

    def __init__(self, blocks: list[Block], runs: Runs) -> None:
        self.all = blocks
        self._runs = runs
        self._counted: set[int] = set()

    def count(self, block: Block) -> None:
        """Count a block, unless it was."""
        if id(block) not in self._counted:
            self._counted.add(id(block))
            self._runs.count(block)

    def count_with(self, entry: Entry) -> None:
        """Count the block that has *entry*, whose time is before that of the block."""
        process, number = entry.process, entry.sequence_id
        for block in self.all:
            if block.process == process and any(low <= number <= high for low, high in block.ranges):
                self.count(block)


def _by_identity(lines: Iterable[bytes]) -> dict[object, Entry]:
    entries = (parse(line, JOURNAL) for line in lines)
    return {entry.identity: entry for entry in entries if entry is not None}
