"""Telegram: payload and transport of a bot's messages. HTML, and plain text if Telegram rejects the HTML.

Sources: core.telegram.org/bots/api, sendMessage (4096 characters, HTML style, link_preview_options) and "Making
requests" (`ok`, `error_code`, `parameters`: `retry_after`, `migrate_to_chat_id`); of the limits
core.telegram.org/bots/faq, "My bot is hitting limits, how do I avoid this?".
"""

from __future__ import annotations

import html
import re
from typing import ClassVar, Final

from metaexpert.logger.remote.alerts._channel import Outcome, TextChannel
from metaexpert.logger.remote.alerts._rate_limit import Limit
from metaexpert.logger.remote.alerts._text import REPEAT_MARK, units
from metaexpert.logger.remote.http import Poster, Reply
from metaexpert.logger.remote.sender import digest

API: Final = "https://api.telegram.org"
#: Telegram makes a link, and a notification, of @name; and commands and tags of /name and #name.
_MENTION: Final = re.compile(r"([@/#])(?=\w)")
_WORD_JOINER: Final = "\u2060"
_CODE: Final = re.compile(r"<code>(.*?)</code>")
_TAG: Final = re.compile(r"</?(?:b|i|pre)>")


class Telegram(TextChannel):
    """Sends alerts as a bot.

    Args:
        token: The bot's token. Never shown.
        chat: Id of the chat, or ``@channel``.
        base: Address of the Bot API: a local server, or a test.
        poster: Sends the requests.
        thread: Id of a topic of the chat.
    """

    name = "telegram"
    address_setting = "telegram_api_url"
    hints: ClassVar = {
        400: "check telegram_chat_id: a user must have written to the bot first, a group must have it as member",
        401: "the bot's token is wrong or was revoked: set telegram_token to the one that @BotFather shows",
        403: "the chat has blocked or removed the bot: let it in again, or change telegram_chat_id",
        404: "the bot's token is wrong: set telegram_token to the one that @BotFather shows",
    }
    limit = 4096 - units(REPEAT_MARK) - 16
    line_limit = 300
    bold = "<b>{}</b>"
    small = "<i>{}</i>"

    def __init__(
        self, token: str, chat: str, base: str = API, poster: Poster | None = None, *, thread: int | None = None
    ) -> None:
        super().__init__(f"{base.rstrip('/')}/bot{token}/sendMessage", poster)
        self._chat = chat
        self._thread = {} if thread is None else {"message_thread_id": thread}
        self.token = digest("telegram", token)
        self.endpoint = digest("telegram", token, chat, *map(str, self._thread.values()))
        # One message a second to a chat, 20 a minute to a group, 30 a second by a bot.
        scope = digest(chat)[:8]
        group = () if chat.lstrip().isdigit() else (Limit(scope, 20, 60.0),)
        self.limits = (Limit(scope, 1, 1.0), *group, Limit("bot", 30, 1.0))

    def _request(self, part: str, key: str, *, repeat: bool) -> Reply:
        mark = REPEAT_MARK if repeat else ""
        reply = self._send_message(text=mark + part, parse_mode="HTML")
        if reply.status == 400 and "parse entities" in str(reply.fields().get("description")):
            reply = self._send_message(text=mark + _plain(part))
        return reply

    def _send_message(self, **content: str) -> Reply:
        where = {"chat_id": self._chat, **self._thread}
        return self._post({**where, "link_preview_options": {"is_disabled": True}, **content})

    def _outcome(self, reply: Reply) -> Outcome:
        answer = reply.fields()
        parameters, result = answer.get("parameters"), answer.get("result")
        parameters = parameters if isinstance(parameters, dict) else {}
        if reply.status == 200 and answer.get("ok") is True and isinstance(result, dict) and "message_id" in result:
            return Outcome("delivered")
        if answer.get("error_code") == 429:
            reply = reply._replace(status=429)
        if reply.status == 200:
            return Outcome("unknown", "the answer is not one of Telegram's")
        moved = parameters.get("migrate_to_chat_id")
        if reply.status == 400 and isinstance(moved, int):
            self._chat = str(moved)
            return Outcome("unsent", "the group has become a supergroup; its new id is used")
        wait = parameters.get("retry_after", reply.headers.get("retry-after"))
        # The description names the trouble ("chat not found"), never the token.
        return self._failure(reply, wait, answer.get("description", ""), own="ok" in answer)

    def _safe(self, text: str) -> str:
        return _escaped(_unlinked(text))

    def _field(self, name: str, value: str) -> str:
        return f"{self._safe(name)}: <code>{_escaped(value)}</code>"

    def _block(self, text: str) -> str:
        return f"<pre>{_escaped(text)}</pre>"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _unlinked(text: str) -> str:
    return _MENTION.sub(rf"\1{_WORD_JOINER}", text)


def _plain(message: str) -> str:
    """Return a message of ours as plain text, without the links that tags have kept the values of fields from being."""
    return html.unescape(_TAG.sub("", _CODE.sub(lambda code: _unlinked(code[1]), message)))
