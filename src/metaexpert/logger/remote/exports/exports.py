"""The exports of one logger: every entry of its files, sent to a syslog server or an OpenTelemetry collector.

Loggers of one process that log to the same directory and export to the same endpoint share one connection.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.config.syslog_address import parse_address
from metaexpert.logger.remote.endpoints import Endpoints, last_patience
from metaexpert.logger.remote.exports._backlog import Backlog
from metaexpert.logger.remote.exports._forwarder import Forwarder, Transport, TransportError
from metaexpert.logger.remote.sender import Report
from metaexpert.logger.remote.worker import Worker

if TYPE_CHECKING:
    from metaexpert.logger.remote.exports.metrics import Metrics

#: Bytes of entries that may wait for the thread of one collector.
MOST_WAITING: Final = 64 * 1024 * 1024
DIRECTORY: Final = "exports"
_TRADE: Final = b'"msgid":"trade"'


def transports(config: LoggerConfig) -> list[Transport]:
    """Return the transports to the collectors that *config* names."""
    found: list[Transport] = []
    if config.syslog_address is not None:
        from metaexpert.logger.remote.exports._syslog import Syslog, tls_context  # noqa: PLC0415 - imports ssl

        tls = partial(tls_context, config.syslog_ca_file, config.syslog_cert_file, config.syslog_key_file)
        found.append(Syslog(parse_address(config.syslog_address), config.enterprise_id, tls))
    if config.otlp_endpoint is not None:
        from metaexpert.logger.remote.exports._otlp import Otlp  # noqa: PLC0415 - an extra

        found.append(Otlp(config.otlp_endpoint))
    return found


def failure(transport: Transport) -> str:
    """Connect for a moment, and return why that fails; ``""`` if it does not."""
    try:
        transport.connect()
    except TransportError as error:
        return str(error)
    finally:
        transport.abort()
    return ""


class Exports(Endpoints[Forwarder]):
    """The exports of one logger.

    Threads: any thread and any signal handler may call `put`. One thread at a time calls the other methods.

    Args:
        config: The logger's configuration.
        directory: Its log directory; None keeps nothing over a restart.
        report: Called with each trouble.
    """

    def __init__(self, config: LoggerConfig, directory: Path | None, report: Report) -> None:
        super().__init__(MOST_WAITING)
        spool = None if directory is None else directory / schema.PRIVATE_DIRECTORY / DIRECTORY
        for transport in transports(config):
            backlog = Backlog(spool, transport.endpoint)
            self.open(spool, transport, partial(Forwarder, transport, backlog, report))
        #: The metrics of this process, if the logger keeps some.
        self.metrics: Metrics | None = None
        if config.metrics:
            from metaexpert.logger.remote.exports.metrics import metrics  # noqa: PLC0415 - an extra

            self.metrics = metrics
            self._trades = Worker("metaexpert-metrics", metrics, MOST_WAITING)

    def put(self, line: bytes) -> None:
        """Send the entry *line* to every collector. Any thread and any signal handler may call this; it never waits."""
        for endpoint in self._endpoints:  # not by super(), which costs a log call a tenth more
            endpoint.worker.put(line)
        if self.metrics is not None and _TRADE in line:
            self._trades.put(line)

    def close(self, timeout: float | None) -> None:
        """Send what can be sent within *timeout* seconds, and keep the rest for the next process. Idempotent."""
        super().close(timeout)
        if self.metrics is not None:
            self._trades.finish(last_patience(timeout))
