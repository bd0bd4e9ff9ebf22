"""A generic JSON webhook: payload and transport.

The payload has ``version``, ``text`` (which Slack, Mattermost and similar services show), ``kind``, ``id`` (the same in
a repeat, also as the header ``Idempotency-Key``), ``possible_repeat``, and ``alerts``: kind, id and possible_repeat of
each, count, first, last, and the entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from metaexpert.logger.remote.alerts import _text
from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._channel import Channel, Message, Outcome
from metaexpert.logger.remote.alerts._rate_limit import Limit
from metaexpert.logger.remote.http import Poster, Reply, seconds
from metaexpert.logger.remote.sender import digest

#: Alerts in one request.
MOST: Final = 50


class Webhook(Channel):
    """Posts alerts as JSON.

    Args:
        url: Address, which may hold a secret. Never shown.
        headers: Headers of each request, which may hold secrets. Never shown.
        poster: Sends the requests.
    """

    name = "webhook"
    address_setting = "webhook_url"
    hints: ClassVar = {
        400: "the receiver wants another payload; see the page about alerts",
        401: "set webhook_token to the token that the receiver expects",
        **dict.fromkeys((404, 405, 410), "nothing takes alerts at the address: check webhook_url"),
    }
    #: One request a second, 30 a minute: the limits of the strictest of the usual receivers (Slack).
    limits = (Limit("webhook", 1, 1.0), Limit("webhook", 30, 60.0))

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, poster: Poster | None = None) -> None:
        super().__init__(url, poster)
        self._headers = dict(headers or {})
        self.token = self.endpoint = digest("webhook", url)

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return the request for the first alerts, as JSON."""
        taken = alerts[:MOST]
        payload = {
            "version": 1,
            "kind": taken[0].kind,
            "text": "\n".join(_text.summary(alert, 500) for alert in taken),
            "alerts": [
                {"id": alert.key, "kind": alert.kind, "possible_repeat": alert.repeat, **alert.described()}
                for alert in taken
            ],
        }
        return Message((json.dumps(payload),), len(taken))

    def _request(self, part: str, key: str, *, repeat: bool) -> Reply:
        payload = {**json.loads(part), "id": key, "possible_repeat": repeat}
        return self._post(payload, {**self._headers, "Idempotency-Key": key})

    def _outcome(self, reply: Reply) -> Outcome:
        if 200 <= reply.status < 300:  # any status of success is believed: the receiver may be anything
            return Outcome("delivered")
        if reply.status == 503 and "retry-after" in reply.headers:
            return Outcome("later", "status 503", seconds(reply.headers["retry-after"]))
        return self._failure(reply, reply.headers.get("retry-after"), own=False)
