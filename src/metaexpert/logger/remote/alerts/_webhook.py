"""A generic JSON webhook: payload and transport.

The payload has ``text`` (so that Slack, Mattermost and their like show it as it is), ``id`` (the same in a repeat,
also as the header ``Idempotency-Key``), ``possible_repeat``, and ``alerts``: count, first, last, and the entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from metaexpert.logger.remote.alerts import _text
from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._channel import (
    HttpChannel,
    Message,
    Outcome,
    Part,
    delivered,
    later,
    refused,
    unknown,
)
from metaexpert.logger.remote.http import Poster, Reply, seconds
from metaexpert.logger.remote.rate_limit import Limit, digest

#: Alerts in one request.
MOST: Final = 50


class Webhook(HttpChannel):
    """Posts alerts as JSON.

    Args:
        url: Address, which may hold a secret. Never shown.
        headers: Headers of each request, which may hold secrets. Never shown.
        poster: Posts.
    """

    name = "webhook"

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, poster: Poster | None = None) -> None:
        super().__init__(url, poster)
        self._headers = dict(headers or {})
        self.token = self.endpoint = digest("webhook", url)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """One request a second, 30 a minute: what the strictest of the usual receivers (Slack) take."""
        return (Limit("webhook", 1, 1.0), Limit("webhook", 30, 60.0))

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return the request for the first alerts."""
        taken = alerts[:MOST]
        payload = {
            "version": 1,
            "kind": taken[0].kind,
            "text": "\n".join(_text.summary(alert, 500) for alert in taken),
            "alerts": [_described(alert) for alert in taken],
        }
        return Message((Part(json.dumps(payload), ""),), len(taken))

    def send(self, part: Part, key: str, *, repeat: bool) -> Outcome:
        """Post one request. Any status of success is believed: nothing is known of the receiver."""
        payload = {**json.loads(part.text), "id": key, "possible_repeat": repeat}
        reply = self._post(payload, {**self._headers, "Idempotency-Key": key})
        if not isinstance(reply, Reply):
            return reply
        if 200 <= reply.status < 300:
            return delivered()
        if reply.status in (429, 503) and "retry-after" in reply.headers:
            return later(f"status {reply.status}", seconds(reply.headers["retry-after"]))
        if reply.status == 429:
            return later("status 429", None)
        return unknown(f"status {reply.status}") if reply.status >= 500 else refused(f"status {reply.status}")


def _described(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.key,
        "kind": alert.kind,
        "count": alert.count,
        "first": alert.first,
        "last": alert.last,
        "possible_repeat": alert.repeat,
        "entry": alert.entry,
    }
