"""What tells runs apart, and how they ended, where filters leave entries out.

A process id is given again, in a container at each start, and the numbers of the entries that pass a filter may go on
from one run to the next. The first entry of a process has number 1. What the logger tells of ends (``log.died``,
``log.uncaught``) seldom passes a filter by symbol, and comes after the time that ``--until`` names.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from metaexpert.logs.entry import Entry, by_time
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.files import Counts
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.merge import ignore
from metaexpert.logs.runs.model import Run, Runs

_DIED, _UNCAUGHT = "log.died", "log.uncaught"
#: What stands in the line of a mark. Two searches for a text take a twentieth of the time of one for an expression.
_TEXTS: Final = ('"sequence_id":1,', '"message":"log.')


def marks(logs: Logs) -> Iterator[Entry]:
    """Yield first entries of processes, and those about ends, that the filters of *logs* may leave out."""
    asked, last = logs.criteria, None
    for entry in heapq.merge(*(_with_text(logs, text) for text in _TEXTS), key=by_time):
        is_mark = entry.sequence_id == 1 or entry.text in (_DIED, _UNCAUGHT)
        wanted = asked.by_content or not asked.in_time(entry.key[0])
        if is_mark and wanted and entry.identity != last:  # both searches may find it
            last = entry.identity
            yield entry


def _with_text(logs: Logs, text: str) -> Iterator[Entry]:
    # By time alone, nothing before its end is left out.
    since = logs.criteria.since if logs.criteria.by_content else logs.criteria.until
    found = replace(logs, criteria=Criteria(since=since, patterns=(text,)), progress=ignore, counts=Counts())
    return (record for record in found if isinstance(record, Entry))


class MarkedRuns(Runs):
    """Runs that are told apart by `marks`, too.

    If the clock was set back within a run, the part of it that is later then may count as another one.
    """

    def note(self, mark: Entry, *, passes: bool) -> None:
        """Take in a mark, which counts nowhere; one that *passes* the filters is also fed, before or after it."""
        run = self._current.get(mark.process)
        if mark.sequence_id == 1 or run is None:
            # It has no entries so far, and without any it is not told in the end.
            run = Run(mark.process, mark.key[0], mark.key[0])
            self.runs.append(run)
            self._current[mark.process] = run
        if not passes and mark.text == _UNCAUGHT:
            run.take_own(mark)
        elif not passes and mark.text == _DIED:
            self._note_death(mark, run)
