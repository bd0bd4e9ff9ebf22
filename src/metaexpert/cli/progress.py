"""A progress bar during long work, if standard error is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from metaexpert.cli import output
from metaexpert.logs import Logs

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds before the bar appears.
PATIENCE: Final = 0.5


@contextmanager
def shown(logs: Logs, task: str) -> Iterator[Logs]:
    """Give *logs* whose reading moves a bar on standard error, if it is a terminal."""
    if not output.is_terminal(sys.stderr):
        yield logs
        return
    bar = _Bar(task, logs.size)
    try:
        yield replace(logs, progress=bar.move)
    finally:
        bar.close()


class _Bar:
    def __init__(self, task: str, total: int) -> None:
        self._task = task
        self._total = total
        self._begun = time.monotonic()
        self._progress: Progress | None = None

    def move(self, done: int) -> None:
        if self._progress is None:
            if time.monotonic() - self._begun < PATIENCE:
                return
            self._progress = self._started()
        self._progress.update(self._progress.task_ids[0], completed=done)

    def _started(self) -> Progress:
        from rich.console import Console  # noqa: PLC0415 - only when it takes long
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        progress.add_task(self._task, total=self._total)
        progress.start()
        return progress

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
