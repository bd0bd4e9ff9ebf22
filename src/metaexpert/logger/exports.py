"""The exports of one logger: every entry that the files get, to a syslog server or an OpenTelemetry collector.

Loggers of one process that log into the same directory and export to the same place share one connection.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config import LoggerConfig
from metaexpert.logger.handlers.addresses import parse_address
from metaexpert.logger.handlers.backlog import Backlog
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


class _Desk:
    """A forwarder with its thread, shared by the loggers that use it."""

    def __init__(self, key: tuple[str, str], forwarder: Forwarder) -> None:
        self.key = key
        self.forwarder = forwarder
        self.worker = Worker(f"metaexpert-{forwarder.transport.name}", forwarder, MOST_WAITING)
        self.users = 0
        self.told = 0

    @property
    def dropped(self) -> int:
        return self.worker.dropped.value + self.forwarder.counts.dropped

    def stats(self) -> dict[str, Any]:
        counts = {**self.forwarder.stats(), "dropped": self.dropped, "queued": self.worker.waiting}
        more = {name: getattr(self.forwarder.transport, name, 0) for name in ("truncated", "refused")}
        return counts | {name: count for name, count in more.items() if count}


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
        for desk in self._desks:
            if desk.worker.asleep:
                desk.worker.ensure()

    def dropped(self) -> dict[str, int]:
        """Return, by collector, how many entries were dropped since this was last asked."""
        news = {}
        for desk in self._desks:
            count, desk.told = desk.dropped - desk.told, desk.dropped
            if count:
                news[desk.forwarder.transport.name] = count
        return news

    def stats(self) -> dict[str, Any]:
        """Return counts by collector."""
        return {desk.forwarder.transport.name: desk.stats() for desk in self._desks}

    def close(self, timeout: float | None) -> None:
        """Send what can be sent in time, keep the rest for the next process. Idempotent."""
        patience = LAST_PATIENCE if timeout is None else min(timeout, LAST_PATIENCE)
        desks, self._desks = self._desks, []
        deadline = time.monotonic() + patience
        for desk in desks:
            _leave_desk(desk, max(deadline - time.monotonic(), _LEAST_PATIENCE))
        if self.metrics is not None:
            self._counter.finish(patience)


_desks: dict[tuple[str, str], _Desk] = {}
_guard = threading.RLock()


def _open_desk(place: Path | None, transport: Transport, report: Report) -> _Desk:
    key = (str(place), transport.endpoint)
    with _guard:
        desk = _desks.get(key)
        if desk is None:
            forwarder = Forwarder(transport, Backlog(place, transport.endpoint), report)
            desk = _desks[key] = _Desk(key, forwarder)
        desk.users += 1
        return desk


def _leave_desk(desk: _Desk, patience: float) -> None:
    with _guard:
        desk.users -= 1
        last = desk.users == 0
        if last and _desks.get(desk.key) is desk:
            del _desks[desk.key]
    if last:
        desk.worker.finish(patience)
    else:
        desk.worker.flush(patience)


def _after_fork() -> None:
    global _guard  # noqa: PLW0603
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
