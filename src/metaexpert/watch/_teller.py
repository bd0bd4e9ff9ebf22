"""Tells of incidents through the configured channels, and keeps each claim until all of them have confirmed.

The channels keep nothing on disk: a claim that no channel has confirmed is told again by the next watcher.

Threads: the watcher's; the channels' threads note their confirmations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from metaexpert.logger import LoggerConfig
from metaexpert.logger.encoding.line import Clock, Header
from metaexpert.logger.remote.alerts.alerts import Alerts, channels
from metaexpert.watch._claims import Claim

#: Key of an entry that names its incident.
INCIDENT: Final = "incident"


class Teller:
    """Sends alerts about incidents.

    Args:
        config: The logger's configuration, for its channels.
        trouble: Called with what goes wrong, by any thread.
        done: Called with each incident that all channels have, by any thread.
    """

    def __init__(
        self, config: LoggerConfig, trouble: Callable[[str], None], done: Callable[[str], None] = lambda _: None
    ) -> None:
        self._trouble, self._done = trouble, done
        self._lock = threading.RLock()
        self._waiting: dict[str, tuple[Claim, set[str]]] = {}
        self.header = Header(config.expert_name, config.facility)
        clock = Clock()
        self._alerts: Alerts | None = None
        if channels(config):
            self._alerts = Alerts(
                config.replace(alert_heartbeat=False),
                None,
                lambda _, text: trouble(text),
                lambda level, text: self.header.stamp(clock(), level, "log", 0, text),
            )
            self._alerts.on_settled(self._settled)
            self._alerts.hasten()

    @property
    def has_channels(self) -> bool:
        """Whether there is a channel at all."""
        return self._alerts is not None

    @property
    def idle(self) -> bool:
        """Whether everything has been confirmed."""
        return not self._waiting

    def __contains__(self, name: str) -> bool:
        """Return whether an incident waits for its confirmation."""
        return name in self._waiting

    def tell(self, claim: Claim, entry: Mapping[str, Any]) -> None:
        """Send *entry* about the incident of *claim* to every channel that has not confirmed it. Raises OSError."""
        if self._alerts is None:
            claim.told()
            return
        claim.trying()
        with self._lock:
            endpoints = self._alerts.tell(entry, claim.sent)
            self._waiting[claim.name] = (claim, endpoints)
            if not endpoints:
                self._finish(claim)

    def _settled(self, endpoint: str, entry: Mapping[str, Any]) -> None:
        # On the channel's thread, and at once: if the watcher dies before this is noted, the alert is sent again.
        name = str(entry.get(INCIDENT))
        with self._lock:
            if name not in self._waiting:
                return
            claim, endpoints = self._waiting[name]
            endpoints.discard(endpoint)
            try:
                if endpoints:
                    claim.arrived(endpoint)
                else:
                    self._finish(claim)
            except OSError as error:
                self._trouble(f"it cannot be noted that an alert was sent: {error.strerror}")

    def _finish(self, claim: Claim) -> None:
        del self._waiting[claim.name]
        claim.told()
        self._done(claim.name)

    def close(self, timeout: float) -> None:
        """Send what can be sent within *timeout* seconds; leave the rest to the next watcher."""
        if self._alerts is not None:
            self._alerts.close(timeout)
        for claim, _ in self._waiting.values():
            claim.release()
        self._waiting.clear()
