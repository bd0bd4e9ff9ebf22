"""What people see of a logger's entries at once: its console, and standard error for what must not go unseen.

Threads: everything may be called by any thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.console import stderr
from metaexpert.logger.console.console import Console
from metaexpert.logger.logger_files import Files
from metaexpert.logger.routing import CONSOLE, Routing
from metaexpert.logger.schema import LEVEL_NUMBERS
from metaexpert.logger.stamping import Stamper


class Display:
    """The console of one logger, and its last resort.

    Args:
        config: Its configuration.
        routing: Says what the console shows.
        stamper: Makes the entry that tells what was skipped.
        files: When they take nothing, more has to be shown.
    """

    def __init__(self, config: LoggerConfig, routing: Routing, stamper: Stamper, files: Files) -> None:
        self._routing = routing
        self._stamper = stamper
        self._files = files
        as_json = config.json_logging or config.console_format == "json"
        form: Final = "json" if as_json else "text"
        self._console: Final = Console(form, self._skipped_note, on_trouble=self._trouble)
        #: Queues a line for the console (see `Console.put`).
        self.put: Final = self._console.put

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be printed."""
        return self._console.empty

    @property
    def skipped(self) -> int:
        """How many entries the console did not take."""
        return self._console.skipped

    def refused(self, line: bytes, routes: int, *, grave: bool) -> None:
        """Show an entry that no file gets, if it is *grave* or the files take nothing."""
        if routes & CONSOLE and (grave or self._files.error is not None):
            self.put(line)
        elif grave:
            self.last_resort(line)

    def stranded(self, lines: Iterable[bytes]) -> None:
        """Show errors and trades of ours among *lines*, which no file takes, unless the console shows them."""
        for line in self._files.unshown(lines):
            entry = json.loads(line)
            number = LEVEL_NUMBERS[entry["level"]]
            grave = entry["msgid"] == schema.MSGID_TRADE or number >= schema.ERROR
            if grave and not self._routing.shows(number):
                stderr.print_entry(entry)

    def last_resort(self, line: bytes) -> None:
        """Print an entry on standard error, whatever the console does."""
        stderr.print_entry(json.loads(line))

    def tick(self) -> bool:
        """Print some of what waits. Returns whether more could be printed at once."""
        stderr.stream.push()
        return self._console.tick()

    def finish(self) -> None:
        """Print everything that the console takes soon."""
        self._console.finish()

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's to print."""
        self._console.after_fork()
        stderr.stream.after_fork()

    def _skipped_note(self, skipped: int) -> bytes:
        return self._stamper.own_line("warning", "log.skipped", {"skipped": skipped}, counted=False)

    def _trouble(self, error: Exception) -> None:
        text = "the console does not work and is switched off; the files go on"
        self._files.diagnostics.report("console", text, level="warning", error=error)
