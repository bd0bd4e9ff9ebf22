"""One POST over HTTP, and what is known of it afterwards.

A request that was certainly not sent may be sent again; of one that broke off nobody knows whether it arrived.

Nothing here tells a URL: addresses of Telegram and Discord hold the token. Errors bear the kind of trouble alone, and
what httpx and httpcore would log about our requests, at any level, is dropped.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metaexpert import _version

if TYPE_CHECKING:
    import httpx

#: Seconds until a connection must stand, and between two signs of life of one that does.
CONNECT_TIMEOUT: Final = 5.0
TIMEOUT: Final = 10.0
#: Longest whole request, in seconds, and most bytes of an answer: a server may drip.
DEADLINE: Final = 30.0
MOST_ANSWER: Final = 64 * 1024
_TALKATIVE: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class NotSent(Exception):  # noqa: N818 - it says what is known
    """The request has certainly not been sent."""


class Unknown(Exception):  # noqa: N818 - it says what is known
    """Nobody knows whether the request has arrived."""


class Reply(NamedTuple):
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: At most `MOST_ANSWER` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def fields(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one if it is none."""
        answer = self.json()
        return answer if isinstance(answer, dict) else {}


def seconds(value: object) -> float | None:
    """Return the seconds that a server asks for; None for what is no number: a date is legal too, and rare."""
    try:
        return float(str(value))
    except ValueError:
        return None


class _Silence(logging.Filter):
    """Drops what a library logs about our requests: it quotes addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.local, "posting", False)


_silence: Final = _Silence()


@contextmanager
def silenced(names: Iterable[str]) -> Iterator[None]:
    """Drop what the loggers *names* say on this thread inside the block."""
    for name in names:
        logger = logging.getLogger(name)
        if _silence not in logger.filters:
            logger.addFilter(_silence)
    _silence.local.posting = True
    try:
        yield
    finally:
        _silence.local.posting = False


class Poster:
    """Posts JSON. Used by one thread at a time.

    Each request has a connection of its own: of one that is kept, the server's closing would look like a lost answer.

    Args:
        timeout: Seconds between two signs of life.
        deadline: Longest whole request, in seconds.
    """

    def __init__(self, timeout: float = TIMEOUT, deadline: float = DEADLINE) -> None:
        # On the caller's thread while a logger is made: an import later would hold the interpreter while it trades.
        import httpx  # noqa: PLC0415 - only those who send alerts pay for it

        self._httpx = httpx
        self._timeout = httpx.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout))
        self._deadline = deadline
        self._client: httpx.Client | None = None

    def post(self, url: str, payload: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Post *payload* as JSON and return the answer, whatever it says. Redirects are not followed.

        Raises:
            NotSent: It was not sent.
            Unknown: It may have been.
        """
        httpx = self._httpx
        try:
            with silenced(_TALKATIVE):
                return self._post(url, payload, headers or {})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NotSent(_reason(error)) from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError, ValueError) as error:
            raise NotSent(_reason(error)) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Unknown(_reason(error)) from None

    def _post(self, url: str, payload: object, headers: Mapping[str, str]) -> Reply:
        if self._client is None:
            limits = self._httpx.Limits(max_keepalive_connections=0)
            self._client = self._httpx.Client(timeout=self._timeout, limits=limits, follow_redirects=False)
        given = {"User-Agent": f"metaexpert/{_version.__version__}", "Content-Type": "application/json", **headers}
        content = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
        deadline, body = time.monotonic() + self._deadline, b""
        with self._client.stream("POST", url, content=content, headers=given) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_ANSWER:
                    break
                if time.monotonic() > deadline:
                    raise self._httpx.ReadTimeout("the answer does not end")
            named = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status_code, named, body[:MOST_ANSWER])

    def close(self) -> None:
        """Release what is held. A later `post` works again. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self) -> None:
        """Start anew in a child: no connection stands between two requests."""
        self._client = None


def _reason(error: BaseException) -> str:
    """Return the kind of *error*, with the system's word for it, and nothing of its own text."""
    name, cause = type(error).__name__, error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, UnicodeError):
            return f"{name}: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return name
