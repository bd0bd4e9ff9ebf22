"""The watcher that `metaexpert run --watch` starts beside an expert."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metaexpert.logger.config.locations import ENV_PREFIX

#: Held until this process ends, however it does: the watcher sees its standard input end with us.
_watchers: list[subprocess.Popen[bytes]] = []


def start_beside(directories: Iterable[Path], options: Mapping[str, Any]) -> None:
    """Start a watcher of *directories*, which ends when this process has ended and everything is told.

    Args:
        directories: Log directories.
        options: Options of the logger from the command line: its channels may be among them.
    """
    given = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in options.items() if isinstance(value, str)}
    command = [sys.executable, "-m", "metaexpert", "watch", "--beside", *map(str, sorted(directories))]
    _watchers.append(
        subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **given},
            start_new_session=True,  # neither Ctrl-C nor the end of the terminal ends it before the expert
        )
    )
