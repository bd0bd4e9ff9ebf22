"""Time stamps of seals, from a server as RFC 3161 describes it, on a thread that lives while one is wanted.

Only the latest seal that is wanted is stamped: its tree holds all lines before it. A server that does not answer is
tried again. The answer is kept as it came (`openssl ts -verify` reads it).

Threads: every method may be called by any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from metaexpert.logger.seal._store import Store
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.forks import ForkSafeThread

#: Longest wait for an answer, and until a try that failed is followed by another, in seconds.
_TIMEOUT: Final = 10.0
_PAUSE: Final = 60.0


class TimeStamps:
    """Has seals stamped.

    Args:
        store: Where the answers are kept.
        url: The server.
        on_trouble: Called with what does not work.
    """

    def __init__(self, store: Store, url: str, on_trouble: Callable[[str, Exception], object]) -> None:
        self._store = store
        self._url = url
        self._on_trouble = on_trouble
        self._wanted: tuple[int, str] | None = None
        self._next = 0.0
        self._thread = ForkSafeThread("metaexpert-stamps", self._run, more=self._is_due, patience=_TIMEOUT)

    def want(self, number: int, note: str) -> None:
        """Have the seal *number* stamped, by and by."""
        self._wanted, self._next = (number, note), 0.0
        self.serve()

    def serve(self) -> None:
        """Try again, when it is time. Returns at once."""
        if self._is_due():
            try:
                self._thread.start(wait=True)
            except RuntimeError as error:  # no thread to be had
                self._on_trouble("a seal could not be stamped", error)

    def wait(self, timeout: float) -> None:
        """Wait for the answer that is under way, *timeout* seconds at most."""
        self._thread.join(timeout)

    def _is_due(self) -> bool:
        return self._wanted is not None and monotonic() >= self._next

    def _run(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        try:
            answer = stamp(self._url, wanted[1].encode())
            self._store.write_stamp(wanted[0], answer)
        except Exception as error:  # of the server, the network or the disk: told, and tried again
            self._next = monotonic() + _PAUSE
            self._on_trouble("a seal could not be stamped, which is tried again", error)
        else:
            if self._wanted == wanted:
                self._wanted = None


def stamp(url: str, data: bytes) -> bytes:
    """Return the answer of a time stamping server about *data*.

    Raises:
        OSError: There is none, or it grants nothing, or is about something else.
    """
    import httpx  # noqa: PLC0415 - once a day
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response  # noqa: PLC0415

    request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        reply = httpx.post(
            url,
            content=request.as_bytes(),
            headers={"Content-Type": "application/timestamp-query"},  # RFC 3161, 3.4
            timeout=_TIMEOUT,
        )
        response = decode_timestamp_response(reply.raise_for_status().content)
        found = response.tst_info
    except (httpx.HTTPError, ValueError) as error:
        raise OSError(f"the time stamping server does not answer as it should: {type(error).__name__}") from error
    if found.nonce != request.nonce or found.message_imprint.message != sha256(data).digest():
        raise OSError("the time stamping server has stamped something else")
    return response.as_bytes()
