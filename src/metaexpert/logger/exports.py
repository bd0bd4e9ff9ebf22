"""The exports of one logger: every entry that the files get, to a syslog server or an OpenTelemetry collector.

Loggers of one process that log into the same directory and export to the same place share one connection.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config import LoggerConfig
from metaexpert.logger.handlers import desks
from metaexpert.logger.handlers.addresses import parse_address
from metaexpert.logger.handlers.backlog import Backlog
from metaexpert.logger.handlers.desks import Desk, Desks, Key
from metaexpert.logger.handlers.forward import Forwarder, Report, Transport
from metaexpert.logger.handlers.worker import Worker

if TYPE_CHECKING:
    import ssl

    from metaexpert.logger.handlers.metrics import Metrics

#: Bytes of entries that may wait for one collector's thread.
MOST_WAITING: Final = 64 * 1024 * 1024
#: Longest that the end of a logger waits for its exports when no timeout is given, in seconds.
LAST_PATIENCE: Final = 5.0
#: And the least for each collector.
_LEAST_PATIENCE: Final = 0.2
DIRECTORY: Final = "exports"
_TRADE: Final = b'"msgid":"trade"'


def transports(config: LoggerConfig) -> list[Transport]:
    """Return the ways to the collectors that *config* names."""
    found: list[Transport] = []
    if config.syslog_address is not None:
        from metaexpert.logger.handlers.syslog import Syslog, tls_context  # noqa: PLC0415 - for those who use it

        def tls() -> ssl.SSLContext:
            return tls_context(config.syslog_ca_file, config.syslog_cert_file, config.syslog_key_file)

        found.append(Syslog(parse_address(config.syslog_address), config.enterprise_id, tls))
    if config.otlp_endpoint is not None:
        from metaexpert.logger.handlers.otlp import Otlp  # noqa: PLC0415 - an extra

        found.append(Otlp(config.otlp_endpoint))
    return found


class ForwarderDesk(Desk):
    """A forwarder with its thread."""

    def __init__(self, key: Key, forwarder: Forwarder) -> None:
        name = forwarder.transport.name
        super().__init__(key, name, Worker(f"metaexpert-{name}", forwarder, MOST_WAITING))
        self.forwarder = forwarder

    @property
    def dropped(self) -> int:
        """Entries that never came to the collector, for want of room."""
        return super().dropped + self.forwarder.counts.dropped

    def stats(self) -> dict[str, Any]:
        """Return what was done, and what waits."""
        counts = {**self.forwarder.stats(), **super().stats()}
        more = {name: getattr(self.forwarder.transport, name, 0) for name in ("truncated", "refused")}
        return counts | {name: count for name, count in more.items() if count}


_desks: Final = Desks[ForwarderDesk]()


class Exports:
    """The exports of one logger.

    Args:
        config: Its configuration.
        directory: Its log directory; None for none, and then nothing is kept over a restart.
        report: Told of troubles: a kind, and a sentence.
    """

    def __init__(self, config: LoggerConfig, directory: Path | None, report: Report) -> None:
        place = None if directory is None else directory / schema.PRIVATE_DIRECTORY / DIRECTORY
        self._desks = [_open_desk(place, transport, report) for transport in transports(config)]
        self.metrics: Metrics | None = None
        if config.metrics:
            from metaexpert.logger.handlers.metrics import metrics  # noqa: PLC0415 - an extra

            self.metrics = metrics
            self._counter = Worker("metaexpert-metrics", metrics, MOST_WAITING)

    def start(self) -> None:
        """Send what an earlier process left."""
        for desk in self._desks:
            desk.worker.ensure()

    def put(self, line: bytes) -> None:
        """Send the entry *line* to all collectors. Never waits; by any thread and signal handler."""
        for desk in self._desks:
            desk.worker.put(line)
        if self.metrics is not None and _TRADE in line:
            self._counter.put(line)

    def ensure(self) -> None:
        """Have the threads run again after a fork."""
        desks.ensure(self._desks)

    def dropped(self) -> dict[str, int]:
        """Return, by collector, how many entries were dropped since this was last asked."""
        return desks.dropped(self._desks)

    def stats(self) -> dict[str, Any]:
        """Return counts by collector."""
        return {desk.name: desk.stats() for desk in self._desks}

    def close(self, timeout: float | None) -> None:
        """Send what can be sent in time, keep the rest for the next process. Idempotent."""
        patience = LAST_PATIENCE if timeout is None else min(timeout, LAST_PATIENCE)
        left, self._desks = self._desks, []
        deadline = time.monotonic() + patience
        for desk in left:
            _desks.leave(desk, max(deadline - time.monotonic(), _LEAST_PATIENCE))
        if self.metrics is not None:
            self._counter.finish(patience)


def _open_desk(place: Path | None, transport: Transport, report: Report) -> ForwarderDesk:
    key = (str(place), transport.endpoint)

    def make() -> ForwarderDesk:
        return ForwarderDesk(key, Forwarder(transport, Backlog(place, transport.endpoint), report))

    return _desks.open(key, make)
