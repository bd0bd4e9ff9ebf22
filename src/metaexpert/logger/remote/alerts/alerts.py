"""The alerts of one logger: its channels, and the heartbeats that they get.

Loggers of one process that log to the same directory and alert to the same endpoint share its thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.alerts._alert import Alert, Kind
from metaexpert.logger.remote.alerts._channel import Channel
from metaexpert.logger.remote.alerts._delivery import Delivery
from metaexpert.logger.remote.alerts._heartbeat import Heartbeat, dead
from metaexpert.logger.remote.alerts._outbox import Outbox
from metaexpert.logger.remote.alerts._rate_limit import RateLimit
from metaexpert.logger.remote.alerts._routes import Routes
from metaexpert.logger.remote.endpoints import Endpoint, Endpoints
from metaexpert.logger.remote.sender import Report
from metaexpert.logger.system.descriptors import make_private_directory

#: Bytes of entries that may wait for the thread of one channel.
MOST_WAITING: Final = 16 * 1024 * 1024
DIRECTORY: Final = "alerts"

Stamp = Callable[[str, str], dict[str, Any]]


def channels(config: LoggerConfig) -> list[Channel]:
    """Return the channels that *config* names, those of its routes among them."""
    return Routes(config).channels


class Alerts(Endpoints[Delivery]):
    """The alerts of one logger.

    Threads: any thread and any signal handler may call `put`. One thread at a time calls the other methods.

    Args:
        config: The logger's configuration.
        directory: Its log directory; None keeps nothing over a restart.
        report: Called with each trouble.
        stamp: Makes an entry of a level and a message, for a message that is no log entry.
    """

    def __init__(self, config: LoggerConfig, directory: Path | None, report: Report, stamp: Stamp) -> None:
        super().__init__(MOST_WAITING)
        self._expert = config.expert_name
        self._stamp = stamp
        self._report = report
        self._directory = None if directory is None else directory / schema.PRIVATE_DIRECTORY / DIRECTORY
        self._routes = Routes(config)
        for channel in self._routes.channels:
            outbox, rate_limit = Outbox(self._directory, channel.endpoint), RateLimit(channel.token, channel.limits)
            make = partial(Delivery, channel, outbox, rate_limit, self._directory, report)
            self.open(self._directory, channel, make)
        self._heartbeat: Heartbeat | None = None
        self._beats = config.alert_heartbeat and bool(self._endpoints)

    def start(self) -> None:
        """Send what an earlier process left. With heartbeats, report that the expert starts and which ones died."""
        if self._beats:
            self._begin_heartbeat()
            self._notify("heartbeat", self._stamp("info", f"{self._expert} started"))
        super().start()

    def put(self, line: bytes) -> None:
        """Send the entry *line* where it belongs. Any thread and any signal handler may call this; it never waits."""
        if not self._routes.choose:
            super().put(line)
            return
        for endpoint in self._chosen(decode_line(line)):
            endpoint.worker.put(line)

    def _chosen(self, entry: Mapping[str, Any], *, insist: bool = False) -> list[Endpoint[Delivery]]:
        places = self._routes.places(entry, insist=insist)
        return [endpoint for place, endpoint in enumerate(self._endpoints) if place in places]

    def _begin_heartbeat(self) -> None:
        if self._directory is None:
            return
        try:
            make_private_directory(self._directory)
            for content in dead(self._directory):
                self._report_death(content)
            entry = self._stamp("info", "")
            kept = {key: entry[key] for key in ("timestamp", "hostname", "procid")}
            self._heartbeat = Heartbeat(self._directory, {"expert": self._expert, **kept})
        except OSError as error:
            self._report("alerts heartbeat", f"the end of this process may go unnoticed: {error.strerror}")

    def _report_death(self, content: Mapping[str, Any]) -> None:
        expert, process, since = content.get("expert"), content.get("procid"), content.get("timestamp")
        text = f"{expert} died without stopping (process {process}, started {since})"
        self._notify("heartbeat", self._stamp("critical", text))

    def tell(self, entry: Mapping[str, Any], without: Collection[str] = ()) -> set[str]:
        """Send *entry*, which no log has: at once, and not collapsed with others.

        Args:
            entry: An entry, flat.
            without: Ids of endpoints that do not get it.

        Returns:
            Ids of the endpoints that get it.
        """
        return self._notify("alert", entry, without)

    def hasten(self) -> None:
        """Have alerts arrive as soon as can be, in lists where several come together. Before the first of them."""
        for endpoint in self._endpoints:
            endpoint.sender.hasten()

    def on_settled(self, call: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Have *call* told of each alert that has arrived or was given up: the id of the endpoint, and the entry.

        The endpoint's thread calls it.
        """
        for endpoint in self._endpoints:
            endpoint.sender.on_settled = partial(_hand_on, call, endpoint.key[1])

    def _notify(self, kind: Kind, entry: Mapping[str, Any], without: Collection[str] = ()) -> set[str]:
        line = json.dumps(entry).encode()
        wanted = self._endpoints if kind == "test" else self._chosen(entry, insist=True)
        chosen = [endpoint for endpoint in wanted if endpoint.key[1] not in without]
        for endpoint in chosen:
            endpoint.sender.notify(kind, line)
            endpoint.worker.ensure()
            endpoint.worker.wake()
        return {endpoint.key[1] for endpoint in chosen}

    def test(self, patience: float) -> dict[str, str]:
        """Send a test to every channel, and wait *patience* seconds at most for each.

        Returns:
            By channel, why it did not arrive; an empty text if it did.
        """
        text = f"Test of the alerts of {self._expert}: this is what one looks like"
        self._notify("test", self._stamp("info", text))
        for endpoint in self._endpoints:
            endpoint.worker.flush(patience)
        return {endpoint.name: _trouble(endpoint) for endpoint in self._endpoints}

    def close(self, timeout: float | None) -> None:
        """Report that the expert stops, send what can be sent in time, and keep the rest for the next process."""
        if self._beats:
            self._notify("heartbeat", self._stamp("info", f"{self._expert} stopped"))
        super().close(timeout)
        if self._heartbeat is not None:
            self._heartbeat.end()
            self._heartbeat = None

    def after_fork(self) -> None:
        """Start anew in a child: it is not the expert that began."""
        super().after_fork()
        if self._heartbeat is not None:
            self._heartbeat.after_fork()
            self._heartbeat = None
        self._beats = False


def _hand_on(call: Callable[[str, Mapping[str, Any]], None], endpoint: str, alert: Alert) -> None:
    call(endpoint, alert.entry)


def _trouble(endpoint: Endpoint[Delivery]) -> str:
    if endpoint.sender.trouble:
        return endpoint.sender.trouble
    if endpoint.sender.counts.undelivered:
        return endpoint.sender.last_refusal
    return "" if endpoint.sender.idle else "no answer in time"
