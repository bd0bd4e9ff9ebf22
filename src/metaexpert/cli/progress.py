"""A progress bar during long work, if standard error is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    begun, total = time.monotonic(), logs.size
    bar: Progress | None = None

    def move(done: int) -> None:
        nonlocal bar
        if bar is None:
            if time.monotonic() - begun < PATIENCE:
                return
            bar = stack.enter_context(_bar(task, total))
        bar.update(bar.task_ids[0], completed=done)

    with ExitStack() as stack:
        yield replace(logs, progress=move)


def _bar(task: str, total: int) -> Progress:
    from rich.console import Console  # noqa: PLC0415 - only when it takes long
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(task, total=total)
    return bar
