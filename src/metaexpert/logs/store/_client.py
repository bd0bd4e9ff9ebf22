"""HTTP to VictoriaLogs: one query, its answer line by line, and clear words for what goes wrong.

An answer counts only when it ends as it should: the store breaks a connection off when an error comes after the
first line. Source: VictoriaLogs, "Querying", HTTP API (``/select/logsql/query``).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from time import monotonic
from typing import Final

import httpx

from metaexpert._version import __version__
from metaexpert.logger.remote.reasons import reason

TOKEN: Final = "METAEXPERT_VLOGS_TOKEN"  # noqa: S105 - its name
TENANT: Final = "METAEXPERT_VLOGS_TENANT"
TIMEOUT: Final = "METAEXPERT_VLOGS_TIMEOUT"
#: Seconds: VictoriaLogs gives a query up after 30 itself (``-search.maxQueryDuration``).
_PATIENCE: Final = 30.0
#: The store is to give up a little earlier, so that its own words are heard, and a whole answer may take this much.
_SOONER: Final = 0.9
_WHOLE: Final = 10
_CONNECT: Final = 5.0
_PATH: Final = "/select/logsql/query"
#: Bytes of a line, at most; VictoriaLogs takes in 256 KiB (``-insert.maxLineSizeBytes``), escapes make it longer.
_LONGEST: Final = 16 << 20
#: Characters of the store's own words that are shown.
_SHOWN: Final = 300


class StoreError(ConnectionError):
    """A store cannot be reached, refuses, or breaks off. Its text is one line that says so."""


class Client:
    """Asks one store. Used by one thread at a time.

    Token, tenant and patience come from the environment: ``METAEXPERT_VLOGS_TOKEN``, ``METAEXPERT_VLOGS_TENANT``
    (``account:project``) and ``METAEXPERT_VLOGS_TIMEOUT`` (seconds).

    Args:
        name: How the store is named in messages.
        url: Where it is, without the path of the API.

    Raises:
        StoreError: A variable cannot be understood, or certificates cannot be loaded.
    """

    def __init__(self, name: str, url: str) -> None:
        self._name, self._url = name, url + _PATH
        self._patience = self._seconds(os.environ.get(TIMEOUT, ""))
        headers = {"User-Agent": f"metaexpert/{__version__}", **self._tenant(os.environ.get(TENANT, ""))}
        if token := os.environ.get(TOKEN, "").strip():
            headers["Authorization"] = f"Bearer {token}"
        try:
            timeout = httpx.Timeout(self._patience, connect=min(_CONNECT, self._patience))
            # Without TLS no authorities are needed, which take long to load.
            self._http = httpx.Client(headers=headers, timeout=timeout, verify=url.startswith("https:"))
        except Exception as error:  # proxies and authorities of the environment, a token that is no header
            raise self._wrong(f"cannot be asked: {reason(error, url, 'the address')}") from None

    def _seconds(self, text: str) -> float:
        try:
            seconds = float(text or _PATIENCE)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise StoreError(f"{TIMEOUT}: {text!r} should be a number of seconds")
        return seconds

    def _tenant(self, text: str) -> Mapping[str, str]:
        if not text:
            return {}
        account, colon, project = text.partition(":")
        if not (account.isdecimal() and (project.isdecimal() or not colon)):
            raise StoreError(f"{TENANT}: {text!r} should be account:project, two numbers")
        return {"AccountID": account, "ProjectID": project or "0"}

    def lines(self, query: str) -> Generator[bytes]:
        """Yield the lines of the answer to a LogsQL *query*. Close the iterator to read no further.

        Raises:
            StoreError: There is no answer, or not a whole one.
        """
        form = {"query": query, "timeout": f"{int(self._patience * _SOONER * 1000) or 1}ms"}
        try:
            with self._http.stream("POST", self._url, data=form) as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response)
                yield from self._whole(response)
        except httpx.TimeoutException:
            raise self._late() from None
        except httpx.RemoteProtocolError:
            raise self._wrong("broke off in the middle of an answer") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            if isinstance(error, StoreError):
                raise
            raise self._wrong(f"cannot be asked: {reason(error, self._url, 'the address')}") from None

    def _whole(self, response: httpx.Response) -> Iterator[bytes]:
        rest, deadline = bytearray(), monotonic() + _WHOLE * self._patience
        for chunk in response.iter_bytes():
            rest += chunk
            if b"\n" in chunk:
                *lines, rest = rest.split(b"\n")
                yield from map(self._entry, filter(None, lines))
            if monotonic() > deadline:
                raise self._late()
            if len(rest) > _LONGEST:
                raise self._wrong("does not answer as VictoriaLogs does: a line does not end")
        if rest:
            self._entry(rest)
            raise self._wrong("broke off in the middle of an entry")

    def _entry(self, line: bytearray) -> bytes:
        if line.startswith(b"{"):
            return bytes(line)
        if line.startswith(b"<"):
            raise self._wrong("does not answer as VictoriaLogs does: it sends a page of HTML")
        raise self._wrong(f"broke off: {_text(line)}")

    def _refusal(self, response: httpx.Response) -> StoreError:
        status = response.status_code
        body = next(response.iter_bytes(4096), b"")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            known = "Authorization" in self._http.headers
            hint = f"does not accept the token in {TOKEN}" if known else f"wants a token, in the variable {TOKEN}"
            return self._wrong(f"{hint} (status {status})")
        if status == httpx.codes.NOT_FOUND or 300 <= status < 400:
            return self._wrong(f"is no VictoriaLogs, or lies under another path (status {status} at {_PATH})")
        hint = "; is it older than VictoriaLogs 1.0?" if b"cannot parse" in body else ""
        return self._wrong(f"refuses the query (status {status}): {_text(body)}{hint}")

    def _late(self) -> StoreError:
        return self._wrong(
            f"gave no whole answer within {self._patience:g} s; ask for less time (--since), or set {TIMEOUT}"
        )

    def _wrong(self, what: str) -> StoreError:
        return StoreError(f"{self._name} {what}")

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()


def _text(raw: bytes | bytearray) -> str:
    return " ".join(raw.decode("utf-8", "replace").split())[:_SHOWN]
