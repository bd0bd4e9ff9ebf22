"""Discord: payload and transport of a webhook's messages. Markdown with mentions off.

Sources: Discord's developer documentation: Execute Webhook (``wait``, 2000 characters of content, allowed_mentions,
flags), Rate Limits (``X-RateLimit-Remaining``, ``X-RateLimit-Reset-After``, ``Retry-After``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from metaexpert.logger.masking.rules import mask_text
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
from metaexpert.logger.remote.alerts._text import REPEAT_MARK, units
from metaexpert.logger.remote.http import Poster, Reply, seconds
from metaexpert.logger.remote.rate_limit import Limit, digest

LIMIT: Final = 2000 - units(REPEAT_MARK) - 16
#: SUPPRESS_EMBEDS: no previews of what a message happens to link.
_FLAGS: Final = 4
_FENCE: Final = len("```\n\n```")
#: Everything that Discord's Markdown, mentions, emoji and time stamps begin with.
_MARKUP: Final = re.compile(r"([\\`*_~|>#\[\]()<:@+-])")
_ZERO_WIDTH: Final = "\u200b"


class Discord(HttpChannel):
    """Sends alerts through a webhook.

    Args:
        url: The webhook's address, which is a secret. Never shown.
        poster: Posts.
    """

    name = "discord"

    def __init__(self, url: str, poster: Poster | None = None) -> None:
        # wait=true: the answer is the message that was made, not a bare 204.
        super().__init__(url + ("&" if "?" in url else "?") + "wait=true", poster)
        self.token = self.endpoint = digest("discord", url)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Five messages in two seconds, 30 a minute."""
        return (Limit("webhook", 5, 2.0), Limit("webhook", 30, 60.0))

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return one alert in full, or as many of several as one message can list."""
        if len(alerts) == 1:
            return Message(tuple(_full(alerts[0])), 1)
        lines = _text.listed(alerts, LIMIT - 20, lambda line: units(_safe(line)), 200)
        return Message((Part("**Alerts**\n" + "\n".join(map(_safe, lines)), ""),), len(lines))

    def send(self, part: Part, key: str, *, repeat: bool) -> Outcome:
        """Send one message."""
        content = (REPEAT_MARK if repeat else "") + part.text
        payload = {"content": content, "allowed_mentions": {"parse": []}, "flags": _FLAGS}
        reply = self._post(payload)
        return _judged(reply) if isinstance(reply, Reply) else reply


def _judged(reply: Reply) -> Outcome:
    answer = reply.fields()
    if reply.status in (200, 204):
        if reply.status == 200 and "id" not in answer:
            return unknown("the answer is not one of Discord's")
        used_up = reply.headers.get("x-ratelimit-remaining") == "0"
        return delivered(seconds(reply.headers.get("x-ratelimit-reset-after")) if used_up else None)
    if reply.status == 429:
        wait = answer.get("retry_after", reply.headers.get("retry-after"))
        return later("429 Too Many Requests", seconds(wait))
    if reply.status >= 500:
        return unknown(f"status {reply.status}")
    return refused(f"{reply.status} {_text.one_line(mask_text(str(answer.get('message', ''))), 200)}".strip())


def _safe(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


def _fenced(text: str) -> str:
    return text.replace("``", f"`{_ZERO_WIDTH}`")


def _full(alert: Alert) -> list[Part]:
    sheet = _text.sheet(alert)
    head = [f"**{_safe(sheet.title)}**", f"**{_safe(sheet.message)}**"]
    head += [f"{_safe(name)}: {_safe(value)}" for name, value in sheet.facts]
    head += [f"-# {_safe(f'{sheet.times} · {sheet.place}')}"]
    dropped = 0
    while units("\n".join(head)) > LIMIT and len(head) > 3:
        del head[-2]
        dropped += 1
    body = sheet.body
    if dropped:  # what does not fit above stands below
        rest = "\n".join(f"{name}: {value}" for name, value in sheet.facts[-dropped:])
        body = f"{rest}\n\n{body}".rstrip()
    text = "\n".join(head)
    if not body:
        return [Part(text, "")]
    size = _fenced_units
    room = LIMIT - units(text) - _FENCE - 1
    if room < 200:
        bodies = ["", *_text.pieces(body, LIMIT - _FENCE, LIMIT - _FENCE, size)]
    else:
        bodies = _text.pieces(body, room, LIMIT - _FENCE, size)
    parts = []
    for number, piece in enumerate(bodies, 1):
        opening = f"{text}\n" if number == 1 else f"({number}/{len(bodies)})\n"
        block = f"```\n{_fenced(piece)}\n```" if piece else ""
        parts.append(Part(f"{opening}{block}".rstrip("\n"), ""))
    return parts


def _fenced_units(text: str) -> int:
    return units(_fenced(text))
