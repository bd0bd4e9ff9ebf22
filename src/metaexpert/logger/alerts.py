"""The alerts of one logger: which channels it has, and what they are told of its start and end.

Loggers of one process that log into the same directory and alert to the same place share one courier and its thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config import LoggerConfig
from metaexpert.logger.handlers import desks, presence
from metaexpert.logger.handlers.alert import Kind
from metaexpert.logger.handlers.budget import Budget
from metaexpert.logger.handlers.channel import Channel
from metaexpert.logger.handlers.delivery import Courier, DeadLetters, Report
from metaexpert.logger.handlers.desks import Desk, Desks, Key
from metaexpert.logger.handlers.discord import Discord
from metaexpert.logger.handlers.locking import make_directory
from metaexpert.logger.handlers.outbox import Outbox
from metaexpert.logger.handlers.presence import Presence
from metaexpert.logger.handlers.telegram import Telegram
from metaexpert.logger.handlers.webhook import Webhook
from metaexpert.logger.handlers.worker import Worker

#: Bytes of entries that may wait for one channel's thread.
MOST_WAITING: Final = 16 * 1024 * 1024
#: Longest that the end of a logger waits for its alerts when no timeout is given, in seconds.
LAST_PATIENCE: Final = 5.0
#: And the least for each channel.
_LEAST_PATIENCE: Final = 0.2
DIRECTORY: Final = "alerts"

Stamp = Callable[[str, str], dict[str, Any]]


def channels(config: LoggerConfig) -> list[Channel]:
    """Return the channels that *config* names."""
    found: list[Channel] = []
    if config.telegram_token is not None and config.telegram_chat_id is not None:
        token = config.telegram_token.get_secret_value()
        found.append(Telegram(token, config.telegram_chat_id, config.telegram_api_url))
    if config.discord_webhook_url is not None:
        found.append(Discord(config.discord_webhook_url.get_secret_value()))
    if config.webhook_url is not None:
        headers = {}
        if config.webhook_token is not None:
            headers = {"Authorization": f"Bearer {config.webhook_token.get_secret_value()}"}
        found.append(Webhook(config.webhook_url.get_secret_value(), headers))
    return found


class CourierDesk(Desk):
    """A courier with its thread."""

    def __init__(self, key: Key, courier: Courier) -> None:
        name = courier.channel.name
        super().__init__(key, name, Worker(f"metaexpert-{name}", courier, MOST_WAITING))
        self.courier = courier

    @property
    def dropped(self) -> int:
        """Entries that never came to the channel, for want of room."""
        return super().dropped + self.courier.counts.dropped

    def stats(self) -> dict[str, Any]:
        """Return what was done, and what waits."""
        return {**self.courier.stats(), **super().stats()}


_desks: Final = Desks[CourierDesk]()


class Alerts:
    """The alerts of one logger.

    Args:
        config: Its configuration.
        directory: Its log directory; None for none, and then nothing is kept over a restart.
        report: Told of troubles: a kind, and a sentence.
        stamp: Makes an entry of a level and a message, for what is no log entry.
    """

    def __init__(self, config: LoggerConfig, directory: Path | None, report: Report, stamp: Stamp) -> None:
        self._expert = config.expert_name
        self._stamp = stamp
        self._report = report
        self._place = None if directory is None else directory / schema.PRIVATE_DIRECTORY / DIRECTORY
        self._desks = [_open_desk(self._place, channel, report) for channel in channels(config)]
        self._presence: Presence | None = None
        self._beats = config.alert_heartbeat and bool(self._desks)

    def __bool__(self) -> bool:
        return bool(self._desks)

    def start(self) -> None:
        """Send what an earlier process left; say, with heartbeats, that the expert starts and which ones died."""
        if self._beats:
            self._begin_heartbeat()
            self._notify("heartbeat", self._stamp("info", f"{self._expert} started"))
        for desk in self._desks:
            desk.worker.ensure()

    def _begin_heartbeat(self) -> None:
        if self._place is None:
            return
        try:
            make_directory(self._place)
            for content in presence.dead(self._place):
                self._tell_death(content)
            entry = self._stamp("info", "")
            kept = ("timestamp", "hostname", "procid")
            self._presence = Presence(self._place, {"expert": self._expert, **{key: entry[key] for key in kept}})
            self._presence.begin()
        except OSError as error:
            self._report("alerts heartbeat", f"the end of this process may go unnoticed: {error.strerror}")

    def _tell_death(self, content: Mapping[str, Any]) -> None:
        expert, process, since = content.get("expert"), content.get("procid"), content.get("timestamp")
        text = f"{expert} died without stopping (process {process}, started {since})"
        self._notify("heartbeat", self._stamp("critical", text))

    def _notify(self, kind: Kind, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry).encode()
        for desk in self._desks:
            desk.courier.notify(kind, line)
            desk.worker.ensure()
            desk.worker.wake()

    def put(self, line: bytes) -> None:
        """Send the entry *line* to all channels. Never waits; may be called by any thread and signal handler."""
        for desk in self._desks:
            desk.worker.put(line)

    def test(self, patience: float) -> dict[str, str]:
        """Send a test to every channel. Returns, by channel, what went wrong; empty for what arrived."""
        text = f"Test of the alerts of {self._expert}: this is what one looks like"
        self._notify("test", self._stamp("info", text))
        for desk in self._desks:
            desk.worker.flush(patience)
        return {desk.name: _verdict(desk) for desk in self._desks}

    def ensure(self) -> None:
        """Have the threads run again after a fork."""
        desks.ensure(self._desks)

    def dropped(self) -> dict[str, int]:
        """Return, by channel, how many entries were dropped since this was last asked."""
        return desks.dropped(self._desks)

    def stats(self) -> dict[str, Any]:
        """Return counts by channel."""
        return {desk.name: desk.stats() for desk in self._desks}

    def close(self, timeout: float | None) -> None:
        """Say that the expert stops, send what can be sent in time, keep the rest for the next process."""
        if self._beats:
            self._notify("heartbeat", self._stamp("info", f"{self._expert} stopped"))
        patience = LAST_PATIENCE if timeout is None else min(timeout, LAST_PATIENCE)
        left, self._desks = self._desks, []
        deadline = time.monotonic() + patience
        for desk in left:  # their threads work at the same time: one that hangs must not use up everybody's patience
            desk.worker.wake()
        for desk in left:
            _desks.leave(desk, max(deadline - time.monotonic(), _LEAST_PATIENCE))
        if self._presence is not None:
            self._presence.end()
            self._presence = None

    def after_fork(self) -> None:
        """Start anew in a child, which is not the expert that began."""
        if self._presence is not None:
            self._presence.after_fork()
            self._presence = None
        self._beats = False


def _verdict(desk: CourierDesk) -> str:
    if desk.courier.trouble:
        return desk.courier.trouble
    if desk.courier.counts.undelivered:
        return desk.courier.last_refusal
    return "" if desk.courier.idle else "no answer in time"


def _open_desk(place: Path | None, channel: Channel, report: Report) -> CourierDesk:
    key = (str(place), channel.endpoint)

    def make() -> CourierDesk:
        budget = Budget(channel.token, channel.limits)
        return CourierDesk(key, Courier(channel, Outbox(place, channel.endpoint), budget, DeadLetters(place), report))

    return _desks.open(key, make)
