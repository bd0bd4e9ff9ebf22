"""Telegram: payload and transport of a bot's messages. HTML, and plain text when Telegram rejects that.

Sources: core.telegram.org/bots/api, sendMessage (4096 characters, HTML style, link_preview_options) and "Making
requests" (`ok`, `error_code`, `parameters`: `retry_after`, `migrate_to_chat_id`).
"""

from __future__ import annotations

import html
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
    unsent,
)
from metaexpert.logger.remote.alerts._text import REPEAT_MARK, units
from metaexpert.logger.remote.http import Poster, Reply, seconds
from metaexpert.logger.remote.rate_limit import Limit, digest

API: Final = "https://api.telegram.org"
#: Characters of one message, less what the mark of a possible repeat and the number of a part take.
LIMIT: Final = 4096 - units(REPEAT_MARK) - 16
_PRE: Final = len("<pre></pre>") + 1
#: Telegram makes a link, and a notification, of @name; and commands and tags of /name and #name.
_MENTION: Final = re.compile(r"([@/#])(?=\w)")
_WORD_JOINER: Final = "\u2060"


class Telegram(HttpChannel):
    """Sends alerts as a bot.

    Args:
        token: The bot's token. Never shown.
        chat: Id of the chat, or ``@channel``.
        base: Address of the Bot API: a local server, or a test.
        poster: Posts.
    """

    name = "telegram"

    def __init__(self, token: str, chat: str, base: str = API, poster: Poster | None = None) -> None:
        super().__init__(f"{base.rstrip('/')}/bot{token}/sendMessage", poster)
        self._chat = chat
        self.token = digest("telegram", token)
        self.endpoint = digest("telegram", token, chat)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """One message a second to a chat, 20 a minute to a group, 30 a second by a bot."""
        chat = digest(self._chat)[:8]
        group = () if self._chat.lstrip().isdigit() else (Limit(chat, 20, 60.0),)
        return (Limit(chat, 1, 1.0), *group, Limit("bot", 30, 1.0))

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return one alert in full, or as many of several as one message can list."""
        if len(alerts) == 1:
            return Message(tuple(_full(alerts[0])), 1)
        title = "Alerts"
        lines = _text.listed(alerts, LIMIT - 40, lambda line: units(_safe(line)))
        text = "\n".join(map(_safe, lines))
        plain = "\n".join(map(_unlinked, lines))
        return Message((Part(f"<b>{title}</b>\n{text}", f"{title}\n{plain}"),), len(lines))

    def send(self, part: Part, key: str, *, repeat: bool) -> Outcome:
        """Send one message; as plain text when its markup is rejected."""
        mark = REPEAT_MARK if repeat else ""
        reply = self._say({"text": mark + part.text, "parse_mode": "HTML"})
        if isinstance(reply, Reply) and reply.status == 400 and "parse entities" in _description(reply):
            reply = self._say({"text": mark + part.plain})
        return self._judged(reply) if isinstance(reply, Reply) else reply

    def _say(self, content: dict[str, str]) -> Reply | Outcome:
        return self._post({"chat_id": self._chat, "link_preview_options": {"is_disabled": True}, **content})

    def _judged(self, reply: Reply) -> Outcome:
        answer = reply.fields()
        parameters = answer.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        result = answer.get("result")
        if reply.status == 200 and answer.get("ok") is True and isinstance(result, dict) and "message_id" in result:
            return delivered()
        if reply.status == 429 or answer.get("error_code") == 429:
            wait = parameters.get("retry_after", reply.headers.get("retry-after"))
            return later("429 Too Many Requests", seconds(wait))
        moved = parameters.get("migrate_to_chat_id")
        if reply.status == 400 and isinstance(moved, int):
            self._chat = str(moved)
            return unsent("the group has become a supergroup; its new id is used")
        if 400 <= reply.status < 500:
            # Telegram's description names the trouble ("chat not found"), never the token.
            return refused(f"{reply.status} {_text.one_line(_description(reply), 200)}".strip())
        if reply.status == 200:
            return unknown("the answer is not one of Telegram's")
        return unknown(f"status {reply.status}") if reply.status >= 500 else refused(f"status {reply.status}")


def _description(reply: Reply) -> str:
    # Somebody else's text: a proxy may quote what it was asked.
    return mask_text(str(reply.fields().get("description", "")))


def _unlinked(text: str) -> str:
    return _MENTION.sub(rf"\1{_WORD_JOINER}", text)


def _safe(text: str) -> str:
    return html.escape(_unlinked(text), quote=False)


def _code(text: str) -> str:
    return html.escape(text, quote=False)


def _full(alert: Alert) -> list[Part]:
    sheet = _text.sheet(alert)
    head = [f"<b>{_safe(sheet.title)}</b>", f"<b>{_safe(sheet.message)}</b>"]
    head += [f"{_safe(name)}: <code>{_code(value)}</code>" for name, value in sheet.facts]
    head += [f"<i>{_safe(f'{sheet.times} · {sheet.place}')}</i>"]
    plain = [sheet.title, sheet.message, *(f"{name}: {value}" for name, value in sheet.facts)]
    plain += [f"{sheet.times} · {sheet.place}"]
    while units("\n".join(head)) > LIMIT:  # many fields of many characters that need escaping: the body has them
        del head[-2], plain[-2]
    text, bare = "\n".join(head), "\n".join(map(_unlinked, plain))
    if not sheet.body:
        return [Part(text, bare)]
    room = max(LIMIT - units(text) - _PRE, 1)
    if room < 200:
        room = 1
    bodies = _text.pieces(sheet.body, room, LIMIT - _PRE, lambda piece: units(_code(piece)))
    if room == 1 and bodies:  # nothing useful fits below the head
        bodies = ["", *_text.pieces(sheet.body, LIMIT - _PRE, LIMIT - _PRE, lambda piece: units(_code(piece)))]
    parts = []
    for number, body in enumerate(bodies, 1):
        mark = f"({number}/{len(bodies)})\n" if number > 1 else ""
        block = f"<pre>{_code(body)}</pre>" if body else ""
        opening, opening_plain = (f"{text}\n", f"{bare}\n") if number == 1 else (mark, mark)
        parts.append(Part(f"{opening}{block}".rstrip("\n"), f"{opening_plain}{body}".rstrip("\n")))
    return parts
