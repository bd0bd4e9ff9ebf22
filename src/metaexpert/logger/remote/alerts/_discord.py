"""Discord: payload and transport of a webhook's messages. Markdown with mentions off.

Sources: Discord's developer documentation: Execute Webhook (``wait``, 2000 characters of content, allowed_mentions,
flags), Rate Limits (``X-RateLimit-Remaining``, ``X-RateLimit-Reset-After``, ``Retry-After``), and the 30
messages a minute that webhooks may post to a channel.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from metaexpert.logger.remote.alerts._channel import Outcome, TextChannel
from metaexpert.logger.remote.alerts._rate_limit import Limit
from metaexpert.logger.remote.alerts._text import REPEAT_MARK, units
from metaexpert.logger.remote.http import Poster, Reply, seconds
from metaexpert.logger.remote.sender import digest

#: SUPPRESS_EMBEDS: no previews of links in the text.
_FLAGS: Final = 4
#: Everything that begins Discord's Markdown, mentions, emoji or time stamps.
_MARKUP: Final = re.compile(r"([\\`*_~|>#\[\]()<:@+-])")
_ZERO_WIDTH: Final = "\u200b"


class Discord(TextChannel):
    """Sends alerts through a webhook.

    Args:
        url: The webhook's address, a secret. Never shown.
        poster: Sends the requests.
        thread: Id of a thread of the webhook's channel.
    """

    name = "discord"
    address_setting = "discord_webhook_url"
    hints: ClassVar = dict.fromkeys(
        (401, 403, 404), "the webhook was deleted or its address is wrong: make a new one, and set discord_webhook_url"
    )
    #: Five messages in two seconds, 30 a minute.
    limits = (Limit("webhook", 5, 2.0), Limit("webhook", 30, 60.0))
    limit = 2000 - units(REPEAT_MARK) - 16
    line_limit = 200
    bold = "**{}**"
    small = "-# {}"

    def __init__(self, url: str, poster: Poster | None = None, *, thread: int | None = None) -> None:
        # wait=true: the answer is the message that was made, not a bare 204.
        query = "wait=true" if thread is None else f"wait=true&thread_id={thread}"
        super().__init__(url + ("&" if "?" in url else "?") + query, poster)
        self.token = digest("discord", url)
        self.endpoint = self.token if thread is None else digest("discord", url, str(thread))

    def _request(self, part: str, key: str, *, repeat: bool) -> Reply:
        content = (REPEAT_MARK if repeat else "") + part
        return self._post({"content": content, "allowed_mentions": {"parse": []}, "flags": _FLAGS})

    def _outcome(self, reply: Reply) -> Outcome:
        answer = reply.fields()
        if reply.status == 200 and "id" not in answer:
            return Outcome("unknown", "the answer is not one of Discord's")
        if reply.status in (200, 204):
            used_up = reply.headers.get("x-ratelimit-remaining") == "0"
            wait = seconds(reply.headers.get("x-ratelimit-reset-after")) if used_up else None
            return Outcome("delivered", wait=wait)
        wait = answer.get("retry_after", reply.headers.get("retry-after"))
        return self._failure(reply, wait, answer.get("message", ""), own="code" in answer)

    def _safe(self, text: str) -> str:
        return _MARKUP.sub(r"\\\1", text)

    def _field(self, name: str, value: str) -> str:
        return f"{self._safe(name)}: {self._safe(value)}"

    def _block(self, text: str) -> str:
        return "```\n" + text.replace("``", f"`{_ZERO_WIDTH}`") + "\n```"
