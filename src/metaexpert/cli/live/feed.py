"""Reads for the screen in threads: first the last records, then each new one, and beside that the whole files.

The last records come at once, whatever the size of the files. The state of the experts needs all entries and comes when
they are read. Bound: `MOST_WAITING` records wait for a screen that does not take them; then the oldest are dropped, as
they are in the files.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from metaexpert.logs import Logs, Record
from metaexpert.logs.entry import by_time
from metaexpert.logs.runs.present import ExpertState, Present

#: Records to begin with, of each directory.
FIRST: Final = 500
MOST_WAITING: Final = 100_000
#: Seconds between two looks at the files, and between two looks at the experts.
LOOK, STATE = 0.25, 1.0


class _Stopped(Exception):  # noqa: N818 - not an error
    """The screen is closed."""


class Feed:
    """What the screen shows, read in threads of their own.

    Args:
        logs: The logs, without filters.
        settled: Is called when the files of a directory are read, in the thread that has read them.

    Attributes:
        problem: Why reading ended, if it failed.
    """

    def __init__(self, logs: Logs, settled: Callable[[], object] = lambda: None) -> None:
        self._logs, self._settled = logs, settled
        self._stop = threading.Event()
        self._records: deque[Record] = deque(maxlen=MOST_WAITING)
        self._begun: set[Path] = set()
        self._states: dict[Path, list[ExpertState]] = {}
        self._unread = set(logs.directories)
        self.problem = ""

    @property
    def experts(self) -> list[ExpertState]:
        """The experts as they stand; empty until the files are read."""
        return [state for directory in self._logs.directories for state in self._states.get(directory, ())]

    @property
    def read(self) -> bool:
        """Whether the whole files are read, so that positions, orders and results are known."""
        return not self._unread

    @property
    def begun(self) -> bool:
        """Whether the last records of all directories are here."""
        return len(self._begun) == len(self._logs.directories)

    def start(self) -> None:
        """Begin to read."""
        for directory in self._logs.directories:
            here = replace(self._logs, directories=(directory,))
            followed: deque[list[Record]] = deque(maxlen=1000)
            for work in (self._follow, self._keep_up):
                threading.Thread(target=self._run, args=(work, here, followed), daemon=True).start()

    def stop(self) -> None:
        """End the threads, without waiting for them."""
        self._stop.set()

    def take(self) -> list[Record]:
        """Return the records that have come since the last call, in the order of time."""
        new = [self._records.popleft() for _ in range(len(self._records))]
        new.sort(key=by_time)
        return new

    def _run(
        self, work: Callable[[Logs, deque[list[Record]]], None], logs: Logs, followed: deque[list[Record]]
    ) -> None:
        try:
            work(logs, followed)
        except _Stopped:
            pass
        except Exception as error:
            self.problem = f"{logs.directories[0]}: {error}"

    def _follow(self, logs: Logs, followed: deque[list[Record]]) -> None:
        directory = logs.directories[0]

        def wait(seconds: float) -> None:
            self._begun.add(directory)
            if self._stop.wait(seconds):
                raise _Stopped

        first = True
        with closing(logs.batches(last=FIRST, interval=LOOK, sleep=wait)) as batches:
            for batch in batches:
                if self._stop.is_set():
                    raise _Stopped
                self._records.extend(batch)
                if not first or directory in self._begun:  # the first ones are in the files that are read
                    followed.append(batch)
                first = False
                self._begun.add(directory)
                if len(batch) < FIRST:  # otherwise the files grow quickly, and are read without a rest
                    wait(LOOK)

    def _keep_up(self, logs: Logs, followed: deque[list[Record]]) -> None:
        directory = logs.directories[0]
        while directory not in self._begun:
            if self._stop.wait(0.01):
                raise _Stopped
        present = Present(replace(logs, progress=self._go_on))
        present.read()
        self._settled()
        present.feed([record for _ in range(len(followed)) for record in followed.popleft()], again=True)
        while not self._stop.is_set():
            present.feed([record for _ in range(len(followed)) for record in followed.popleft()])
            self._states[directory] = present.experts()
            self._unread.discard(directory)
            self._stop.wait(STATE)

    def _go_on(self, _: int) -> None:
        if self._stop.is_set():
            raise _Stopped
