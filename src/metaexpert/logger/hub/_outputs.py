"""Where the entries of one logger go besides its files: the console, alerts and collectors.

Standard error is the last resort of entries that must be seen. Nothing heavy is imported for a logger that has neither
alerts nor collectors.

Threads: everything may be called by any thread; `show` and `send` also from signal handlers, and they never wait. Each
remote endpoint has a thread of its own (see `metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from metaexpert.logger import schema
from metaexpert.logger.config.alert_routes import lowest_level
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.console import stderr
from metaexpert.logger.console.console import Console, stream_for
from metaexpert.logger.console.loops import printed_lines
from metaexpert.logger.counts import CLOSED, Counts
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.hub._remote_part import RemotePart
from metaexpert.logger.hub._routing import ALERTS, CONSOLE, EXPORT, ROUTE_NAMES, Routing
from metaexpert.logger.hub._stamping import Stamper
from metaexpert.logger.schema import LEVEL_NUMBERS

if TYPE_CHECKING:
    from metaexpert.logger.remote.alerts.alerts import Alerts, Stamp
    from metaexpert.logger.remote.exports.exports import Exports
    from metaexpert.logger.remote.exports.metrics import Metrics
    from metaexpert.logger.remote.sender import Report


def _alerts(config: LoggerConfig, path: Path | None, report: Report, notice: Stamp) -> Alerts:
    from metaexpert.logger.remote.alerts.alerts import Alerts  # noqa: PLC0415 - httpx, SQLite

    return Alerts(config, path, report, notice)


def _exports(config: LoggerConfig, path: Path | None, report: Report) -> Exports:
    from metaexpert.logger.remote.exports.exports import Exports  # noqa: PLC0415 - SQLite

    return Exports(config, path, report)


class Outputs:
    """The outputs of one logger.

    Args:
        config: Its configuration.
        routing: Says what the console shows; told which remote endpoints there are.
        stamper: Makes the entries that are for an output alone.
        directory: Where it logs: if files take nothing, more has to be shown.
        counts: Counts what is refused.
        on_wait: Asks for `directory` to serve us soon. Called when the first line waits for the console.
    """

    def __init__(
        self,
        config: LoggerConfig,
        routing: Routing,
        stamper: Stamper,
        directory: LogDirectory,
        counts: Counts,
        on_wait: Callable[[], None],
    ) -> None:
        self._routing = routing
        self._stamper = stamper
        self._directory = directory
        self._counts = counts
        self._on_wait = on_wait
        self._loop_told = False
        self._own = b'"appname":' + dumps(stamper.appname)
        as_json = config.json_logging or config.console_format == "json"
        form: Literal["json", "text"] = "json" if as_json else "text"
        self.console: Final = Console(
            form,
            self._skipped_note,
            stream_for(config.stream),
            on_trouble=self._console_trouble,
            on_wait=on_wait,
            on_loop=self._loop,
        )
        #: Queues a line for the console.
        self.show: Final = self.console.put
        self.alerts: RemotePart[Alerts] | None = None
        self.exports: RemotePart[Exports] | None = None
        if config.telegram_token or config.discord_webhook_url or config.webhook_url or config.alert_routes:
            make = partial(_alerts, config, directory.path, self._remote_trouble, stamper.notice)
            self.alerts = RemotePart("alerts", make, self._remote_trouble)
            routing.alert_level = lowest_level(config)
        if config.syslog_address or config.otlp_endpoint or config.metrics:
            make_exports = partial(_exports, config, directory.path, self._remote_trouble)
            self.exports = RemotePart("exports", make_exports, self._remote_trouble)
            routing.exports = True
        self._remote: Final = [part for part in (self.alerts, self.exports) if part is not None]
        self.has_remote: Final = bool(self._remote)

    @property
    def metrics(self) -> Metrics | None:
        """The metrics of this process, when the logger keeps some."""
        return None if self.exports is None or self.exports.made is None else self.exports.made.metrics

    def trouble(self) -> str:
        """Return what of the remote outputs could not be started yet, and why."""
        return "; ".join(f"no {part.name}: {part.trouble}" for part in self._remote if part.trouble)

    def send(self, line: bytes, to: int) -> None:
        """Send the entry *line* to those remote endpoints that *to* names (see `metaexpert.logger.hub._routing`)."""
        if to & ALERTS and self.alerts is not None:
            self.alerts.put(line)
        if to & EXPORT and self.exports is not None:
            self.exports.put(line)

    # -- entries that no file gets ----------------------------------------------------------------------------

    def refuse(self, line: bytes, level: str, to: int, *, trade: bool, closed: bool) -> None:
        """Count an entry for which there was no room, or whose logger is closed, and show it if it must be seen."""
        number = LEVEL_NUMBERS[level]
        if closed:
            self._counts.drop(level, [CLOSED])
            if number >= schema.WARNING:
                self.last_resort(line)
            return
        self._counts.drop(level, [name for bit, name in ROUTE_NAMES if to & bit])
        writing_thread.relieve(self._directory)  # no segment fills up any more, which would do it
        self._on_wait()
        self.send(line, to)
        grave = trade or number >= schema.ERROR
        if to & CONSOLE and (grave or self._directory.error is not None):
            self.show(line)
        elif grave:
            self.last_resort(line)

    def stranded(self, lines: list[bytes]) -> list[bytes]:
        """Show our own errors and trades among *lines* on standard error, unless the console shows them.

        Returns:
            The lines of other loggers.
        """
        others = []
        for line in lines:
            if self._own not in line:
                others.append(line)
                continue
            entry = json.loads(line)
            number = LEVEL_NUMBERS[entry["level"]]
            grave = entry["msgid"] == schema.MSGID_TRADE or number >= schema.ERROR
            if grave and not self._routing.shows(number):
                self.last_resort(line)
        return others

    def last_resort(self, line: bytes) -> None:
        """Print an entry on standard error, whatever the console does, unless it has come from there."""
        if printed_lines.within(line):
            self._loop()
        else:
            stderr.print_entry(json.loads(line))

    # -- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: send what an earlier process left."""
        for part in self._remote:
            part.start()

    def ensure(self) -> None:
        """Have the remote endpoints run, where they do not: if they could not be started, and after a fork."""
        for part in self._remote:
            part.ensure()

    def dropped(self) -> dict[str, int]:
        """Return, by channel or collector, how many entries were dropped since this was last asked."""
        return {name: n for part in self._remote for name, n in part.dropped().items()}

    def stats(self) -> dict[str, Any]:
        """Return counts: ``alerts`` by channel, ``exports`` by collector."""
        parts = {"alerts": self.alerts, "exports": self.exports}
        return {name: part.stats() for name, part in parts.items() if part is not None}

    def close(self, timeout: float | None) -> None:
        """Print and send what can be in time, and keep the rest for the next process. Idempotent."""
        self.console.finish()
        for part in self._remote:
            part.close(timeout)

    def after_fork_in_child(self) -> None:
        """Start anew in a child: what waits to be printed or sent is the parent's."""
        self.console.after_fork()
        stderr.stream.after_fork()
        for part in self._remote:
            part.after_fork()

    def _skipped_note(self, skipped: int) -> bytes:
        return self._stamper.own_line("warning", "log.skipped", {"skipped": skipped}, counted=False)

    def _console_trouble(self, error: Exception) -> None:
        text = "the console does not work and is switched off; the files go on"
        self._directory.diagnostics.report("console", text, level="warning", error=error)

    def _loop(self) -> None:
        if not self._loop_told:
            self._loop_told = True
            text = "standard error leads back into the log: lines of the console that come back are not printed again"
            self._directory.diagnostics.report("loop", text, level="warning", printed=False)

    def _remote_trouble(self, kind: str, message: str) -> None:
        self._directory.diagnostics.report(kind, message, level="warning")
