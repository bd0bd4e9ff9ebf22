"""What leaves the machine: alerts and exports of one logger. Imports nothing heavy for those who have neither.

Threads: `put` may be called by any thread and from signal handlers, and never waits. Each remote place has a thread
of its own (see `metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.routing import ALERTS, EXPORT
from metaexpert.logger.schema import LEVEL_NUMBERS

if TYPE_CHECKING:
    from metaexpert.logger.remote.alerts.alerts import Alerts
    from metaexpert.logger.remote.exports.exports import Exports
    from metaexpert.logger.remote.exports.metrics import Metrics

Report = Callable[[str, str], None]
Stamp = Callable[[str, str], dict[str, Any]]


class Outlets:
    """The alerts and exports of one logger.

    Args:
        config: Its configuration.
        directory: Its log directory, or None.
        report: Told of troubles: what repeats are recognised by, and a sentence.
        stamp: Makes an entry of a level and a message, for what is no log entry.
    """

    def __init__(self, config: LoggerConfig, directory: Path | None, report: Report, stamp: Stamp) -> None:
        self._alerts: Alerts | None = None
        self._exports: Exports | None = None
        if config.telegram_token or config.discord_webhook_url or config.webhook_url:
            from metaexpert.logger.remote.alerts.alerts import Alerts  # noqa: PLC0415 - httpx and SQLite are for those who alert

            self._alerts = Alerts(config, directory, report, stamp)
        if config.syslog_address or config.otlp_endpoint or config.metrics:
            from metaexpert.logger.remote.exports.exports import Exports  # noqa: PLC0415 - SQLite is for those who export

            self._exports = Exports(config, directory, report)
        self._parts = [part for part in (self._alerts, self._exports) if part is not None]
        #: Lowest level that is an alert; None without a channel.
        self.alert_level = LEVEL_NUMBERS[config.alert_level.lower()] if self._alerts else None

    @property
    def metrics(self) -> Metrics | None:
        """The metrics of this process, when the logger keeps some."""
        return None if self._exports is None else self._exports.metrics

    @property
    def exports(self) -> bool:
        """Whether there is a collector that wants what the files get."""
        return self._exports is not None

    def start(self) -> None:
        """Begin: send what an earlier process left."""
        for part in self._parts:
            part.start()

    def put(self, line: bytes, routes: int) -> None:
        """Send the entry *line* where *routes* say."""
        if routes & ALERTS and self._alerts is not None:
            self._alerts.put(line)
        if routes & EXPORT and self._exports is not None:
            self._exports.put(line)

    def export(self, line: bytes) -> None:
        """Send the entry *line* to the collectors."""
        if self._exports is not None:
            self._exports.put(line)

    def test(self, patience: float) -> dict[str, str]:
        """Send a test alert. Returns, by channel, what went wrong; empty for what arrived."""
        return {} if self._alerts is None else self._alerts.test(patience)

    def ensure(self) -> None:
        """Have the threads run again after a fork."""
        for part in self._parts:
            part.ensure()

    def dropped(self) -> dict[str, int]:
        """Return, by channel or collector, how many entries were dropped since this was last asked."""
        return {name: n for part in self._parts for name, n in part.dropped().items()}

    def stats(self) -> dict[str, Any]:
        """Return counts: ``alerts`` by channel, ``exports`` by collector."""
        found = {}
        if self._alerts is not None:
            found["alerts"] = self._alerts.stats()
        if self._exports is not None:
            found["exports"] = self._exports.stats()
        return found

    def close(self, timeout: float | None) -> None:
        """Send what can be sent in time, and keep the rest for the next process. Idempotent."""
        for part in self._parts:
            part.close(timeout)

    def after_fork(self) -> None:
        """Start anew in a child."""
        for part in self._parts:
            part.after_fork()
