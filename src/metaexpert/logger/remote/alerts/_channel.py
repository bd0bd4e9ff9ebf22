"""The base of every channel of alerts: payload and transport, nothing else.

Threads: one thread at a time calls `render`, `send` and `close`. `send` takes as long as the time limits of
`metaexpert.logger.remote.http` allow. Nothing that a channel returns or raises contains a token or a URL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, NamedTuple

from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.remote.alerts import _text
from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._rate_limit import Limit
from metaexpert.logger.remote.alerts._text import units
from metaexpert.logger.remote.http import NotSent, Poster, Reply, Unknown, seconds, unreachable

_FIREWALL: Final = "a firewall or filter may stand before the service; ask who runs it, or use another network"
#: Refusals that may pass by themselves, with what they mean (RFC 9110, RFC 8470, RFC 4918).
_MAY_PASS: Final = {
    407: "the proxy wants a login: http://user:password@host:port in the variable of the proxy",
    408: "the request took too long to arrive",
    421: "the request came to the wrong server",
    423: "locked for the moment",
    425: "too early for the server",
}
#: A block of fewer units below the head of a message would say too little.
_LEAST_ROOM: Final = 200


class Message(NamedTuple):
    """A message about the first *alerts* of those that wait, in one part or several, each for one `Channel.send`."""

    parts: tuple[str, ...]
    alerts: int


class Outcome(NamedTuple):
    """The known result of an attempt.

    Attributes:
        kind: ``delivered``; ``refused``: it never will be; ``later``: the server asks for a pause; ``unsent``:
            it certainly did not arrive; ``unknown``: it may have arrived.
        reason: A few words, without secrets.
        wait: Seconds that the server asks for, if it does.
    """

    kind: Literal["delivered", "refused", "later", "unsent", "unknown"]
    reason: str = ""
    wait: float | None = None


class Channel(ABC):
    """Turns alerts into messages and sends them by POST.

    Args:
        url: Address of the service; it may hold a secret, and is never shown.
        poster: Sends the requests.
    """

    #: Its name for people.
    name: str
    #: The setting that holds its address.
    address_setting: ClassVar[str]
    #: Token or address that the rate limit belongs to, hashed.
    token: str
    #: Id of the chat or address, hashed.
    endpoint: str
    #: The limits of the service, all of which hold.
    limits: tuple[Limit, ...]
    #: By status of a refusal, what to do about it.
    hints: ClassVar[Mapping[int, str]]

    def __init__(self, url: str, poster: Poster | None) -> None:
        self._url = url
        self._poster = poster or Poster()
        self._poster.setting = self.address_setting

    @abstractmethod
    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return one alert in full, or one message that lists the first of several."""

    def send(self, part: str, key: str, *, repeat: bool) -> Outcome:
        """Send one message.

        Args:
            part: A part of a rendered message.
            key: Identifies it over repeats.
            repeat: Whether an earlier attempt may have arrived; the message says so.
        """
        try:
            return self._outcome(self._request(part, key, repeat=repeat))
        except NotSent as error:
            return Outcome("unsent", str(error))
        except Unknown as error:
            return Outcome("unknown", str(error))

    @abstractmethod
    def _request(self, part: str, key: str, *, repeat: bool) -> Reply:
        """Post *part*. Raises NotSent or Unknown."""

    @abstractmethod
    def _outcome(self, reply: Reply) -> Outcome:
        """Return what *reply* says about the message."""

    def _post(self, payload: object, headers: Mapping[str, str] | None = None) -> Reply:
        return self._poster.post(self._url, payload, headers)

    def _failure(self, reply: Reply, wait: object = None, words: object = "", *, own: bool) -> Outcome:
        """Return what is known after an answer that confirms nothing.

        Args:
            reply: The answer.
            wait: Seconds that it asks for, as it stands there; any other value asks for none.
            words: Its explanation. A proxy may quote the request in it, so it is masked.
            own: Whether the service itself has answered, and no firewall before it.
        """
        status = reply.status
        if status == 429:
            return Outcome("later", "429 Too Many Requests", seconds(wait))
        if status >= 500:
            return Outcome("unknown", f"status {status}")
        said = _text.one_line(mask_text(str(words)), 200)
        text = f"{status} {said}" if said else f"status {status}"
        if status in _MAY_PASS or (status == 403 and not own):
            return Outcome("unsent", f"{text}; {_MAY_PASS.get(status, _FIREWALL)}", seconds(wait))
        hint = self.hints.get(status) or (f"check {self.address_setting}, it redirects" if status < 400 else "")
        return Outcome("refused", f"{text}; {hint}" if hint else text)

    def unreachable(self) -> str:
        """Return why the service cannot be asked, in one line; ``""`` where it answers. Waits some seconds at most."""
        return unreachable(self._url, self.address_setting)

    def prepare(self) -> None:
        """Be ready for a `send`, which is faster then."""
        self._poster.prepare()

    def close(self) -> None:
        """Release the connection. A later `send` works again. Idempotent."""
        self._poster.close()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self._poster.after_fork()


class TextChannel(Channel):
    """A channel whose messages are text with markup, of limited length.

    An alert in full is a head, the fields that fit below it, and a block for everything long. A message that is too
    long becomes several, each with its number.
    """

    #: Longest message, in UTF-16 units, without the mark of a possible repeat and the number of a part.
    limit: int
    #: Longest text of one alert in a list, in characters.
    line_limit: int
    #: Markup of bold text, and of small or slanted text, with ``{}`` for the text.
    bold: str
    small: str

    @abstractmethod
    def _safe(self, text: str) -> str:
        """Return *text* with its markup, links and mentions made ineffective."""

    @abstractmethod
    def _field(self, name: str, value: str) -> str:
        """Return a field of an entry, made safe."""

    @abstractmethod
    def _block(self, text: str) -> str:
        """Return *text* as a block that is shown as it is, made safe."""

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return one alert in full, or as many of several as one message can list."""
        if len(alerts) == 1:
            return Message(tuple(self._full(alerts[0])), 1)
        title = self.bold.format("Alerts")
        room = self.limit - units(title) - 1
        lines = _text.listed(alerts, room, lambda line: units(self._safe(line)), self.line_limit)
        return Message(("\n".join([title, *map(self._safe, lines)]),), len(lines))

    def _full(self, alert: Alert) -> list[str]:
        head, body = self._head(_text.content(alert))
        pieces = self._pieces(body, self.limit - units(head) - 1) if body else [""]
        parts = []
        for number, piece in enumerate(pieces, 1):
            opening = f"({number}/{len(pieces)})" if number > 1 else head
            parts.append(f"{opening}\n{self._block(piece)}" if piece else opening)
        return parts

    def _head(self, content: _text.Content) -> tuple[str, str]:
        """Return the head of a message, and the text of its body with the fields that the head has no room for."""
        fields = [self._field(name, value) for name, value in content.fields]
        begin = [self.bold.format(self._safe(text)) for text in (content.title, content.message)]
        end = self.small.format(self._safe(content.origin))
        while fields and units("\n".join([*begin, *fields, end])) > self.limit:
            fields.pop()
        left_over = "\n".join(f"{name}: {value}" for name, value in content.fields[len(fields) :])
        return "\n".join([*begin, *fields, end]), "\n\n".join(filter(None, (left_over, content.body)))

    def _pieces(self, body: str, room: int) -> list[str]:
        """Cut *body* into pieces, the first of which fits *room* as a block, or is empty when there is too little."""

        def size(piece: str) -> int:
            return units(self._block(piece))

        if room - size("") < _LEAST_ROOM:
            return ["", *_text.pieces(body, self.limit, self.limit, size)]
        return _text.pieces(body, room, self.limit, size)
