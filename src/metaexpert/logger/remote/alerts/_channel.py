"""The contract of every channel that alerts go to: payload and transport, nothing else.

Thread rules: `render`, `send` and `close` are called by one thread at a time. `send` may block as long as its
transport's own time limits allow. Nothing that a channel returns or raises tells a token or a URL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.http import NotSent, Poster, Reply, Unknown
from metaexpert.logger.remote.rate_limit import Limit
from metaexpert.logger.remote.sender import Remote


class Part(NamedTuple):
    """One message as the service will get it, and as plain text where the service may want that instead."""

    text: str
    plain: str


class Message(NamedTuple):
    """What the first *alerts* of those that wait become."""

    parts: tuple[Part, ...]
    alerts: int


class Outcome(NamedTuple):
    """What is known after a try.

    Attributes:
        kind: ``delivered``; ``refused``: it never will be; ``later``: the server asks for a pause; ``unsent``:
            it certainly did not arrive; ``unknown``: it may have.
        reason: A few words, without secrets.
        wait: Seconds that the server asks for, if it does.
    """

    kind: Literal["delivered", "refused", "later", "unsent", "unknown"]
    reason: str = ""
    wait: float | None = None


def delivered(wait: float | None = None) -> Outcome:
    """Return that it arrived, and that the next one should wait."""
    return Outcome("delivered", "", wait)


def refused(reason: str) -> Outcome:
    """Return that the service will never take it."""
    return Outcome("refused", reason)


def later(reason: str, wait: float | None) -> Outcome:
    """Return that the service did not take it and asks for a pause."""
    return Outcome("later", reason, wait)


def unsent(reason: str) -> Outcome:
    """Return that it certainly did not arrive."""
    return Outcome("unsent", reason)


def unknown(reason: str) -> Outcome:
    """Return that it may have arrived."""
    return Outcome("unknown", reason)


class Channel(Remote, Protocol):
    """Turns alerts into messages and sends one."""

    @property
    def token(self) -> str:
        """What the budget belongs to, hashed."""
        ...

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What the service allows."""
        ...

    def render(self, alerts: Sequence[Alert]) -> Message:
        """Return one alert in full, or one message that lists the first of several."""
        ...

    def send(self, part: Part, key: str, *, repeat: bool) -> Outcome:
        """Send one message.

        Args:
            part: The message.
            key: Identifies it over repeats.
            repeat: Whether an earlier try may have arrived; the message says so.
        """
        ...

    def close(self) -> None:
        """Release what is held. A later `send` works again. Idempotent."""
        ...


class HttpChannel:
    """What channels have in common that send a message by one POST.

    Args:
        url: Where to; it may hold a secret, and is never shown.
        poster: Posts.
    """

    def __init__(self, url: str, poster: Poster | None = None) -> None:
        self._url = url
        self._poster = poster or Poster()

    def _post(self, payload: object, headers: Mapping[str, str] | None = None) -> Reply | Outcome:
        """Return the answer, or what is known when there is none."""
        try:
            return self._poster.post(self._url, payload, headers)
        except NotSent as error:
            return unsent(str(error))
        except Unknown as error:
            return unknown(str(error))

    def close(self) -> None:
        """Release the connection."""
        self._poster.close()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self._poster.after_fork()
