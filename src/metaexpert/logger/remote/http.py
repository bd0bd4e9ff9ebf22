"""One POST over HTTP, and whether it has arrived.

A request that was certainly not sent may be sent again. After one that broke off it is unknown whether it arrived.

No error and no log record shows a URL: addresses of Telegram and Discord contain the token. Errors carry the words of
`metaexpert.logger.remote.reasons` alone. The records that httpx and httpcore would log about our requests, at any
level, are dropped.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import httpx

from metaexpert import _version
from metaexpert.logger.remote.reasons import reason
from metaexpert.logger.remote.sender import silenced
from metaexpert.logger.system.calls import monotonic

#: Longest wait for a connection, and between two pieces of an answer, in seconds.
CONNECT_TIMEOUT: Final = 5.0
TIMEOUT: Final = 10.0
#: Longest time of a whole request, in seconds, and most bytes of an answer: a server may send it in drips.
DEADLINE: Final = 30.0
MOST_ANSWER: Final = 64 * 1024
#: Loggers of the library that quote addresses.
_TALKATIVE: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_UNREACHABLE: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_INVALID: Final = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError, ValueError)
#: Errors of a request that was certainly not sent.
_NOT_SENT: Final = (*_UNREACHABLE, *_INVALID)


def unreachable(url: str, setting: str) -> str:
    """Ask the server of *url* for any answer, and return why there is none, in one line; ``""`` if there is one.

    Only its scheme, host and port are used, since all else may be a secret. Takes some seconds at most.

    Args:
        url: An address of the server.
        setting: The setting that holds it, for the words of an error.
    """
    try:
        origin = httpx.URL(url).copy_with(userinfo=b"", raw_path=b"/", fragment=None)
        with silenced(_TALKATIVE), httpx.Client(timeout=CONNECT_TIMEOUT) as client:
            client.head(origin)
    except Exception as error:  # proxies and authorities of the environment: any library may be missing
        return reason(error, url, setting)
    return ""


class NotSent(Exception):  # noqa: N818 - an outcome rather than an error
    """The request has certainly not been sent."""


class Unknown(Exception):  # noqa: N818 - an outcome rather than an error
    """The request may have arrived."""


class Reply(NamedTuple):
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Found by names in any case.
        body: At most `MOST_ANSWER` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one if it is none."""
        try:
            answer = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return answer if isinstance(answer, dict) else {}


def seconds(value: object) -> float | None:
    """Return the seconds that a server asks for; None for anything but a number (a date is legal, but rare)."""
    try:
        return float(str(value))
    except ValueError:
        return None


class Poster:
    """Posts JSON. Used by one thread at a time.

    Each request has a connection of its own: if one were kept, its closing by the server would look like a lost answer.

    Args:
        timeout: Longest wait between two pieces of an answer, in seconds.
        deadline: Longest time of a whole request, in seconds.
    """

    def __init__(self, timeout: float = TIMEOUT, deadline: float = DEADLINE) -> None:
        self._timeout = httpx.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout))
        self._deadline = deadline
        self._client: httpx.Client | None = None
        #: The setting that holds the address, for the words of an error.
        self.setting = "the address"

    def prepare(self) -> None:
        """Do now, where it can be done, what the first `post` would begin with: authorities take long to load."""
        with contextlib.suppress(Exception):  # `post` reports it
            self._opened()

    def post(self, url: str, payload: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Post *payload* as JSON and return the answer of any status. Redirects are not followed.

        Raises:
            NotSent: It was certainly not sent.
            Unknown: It may have arrived.
        """
        try:
            client = self._opened()
        except Exception as error:  # proxies and authorities of the environment: any library may be missing
            raise NotSent(reason(error, url, self.setting)) from None
        try:
            with silenced(_TALKATIVE):
                return self._post(client, url, payload, headers or {})
        except _NOT_SENT as error:
            raise NotSent(reason(error, url, self.setting)) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Unknown(reason(error, url, self.setting)) from None

    def _opened(self) -> httpx.Client:
        if self._client is None:
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.Client(timeout=self._timeout, limits=limits, follow_redirects=False)
        return self._client

    def _post(self, client: httpx.Client, url: str, payload: object, headers: Mapping[str, str]) -> Reply:
        given = {"User-Agent": f"metaexpert/{_version.__version__}", "Content-Type": "application/json", **headers}
        content = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
        deadline, body = monotonic() + self._deadline, b""
        with client.stream("POST", url, content=content, headers=given) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_ANSWER:
                    break
                if monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer does not end")
            return Reply(response.status_code, response.headers, body[:MOST_ANSWER])

    def close(self) -> None:
        """Release the client. A later `post` works again. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self) -> None:
        """Start anew in a child. No connection is open between two requests."""
        self._client = None
