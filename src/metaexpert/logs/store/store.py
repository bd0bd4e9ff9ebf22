"""`Store`: a source of entries beside log directories, the VictoriaLogs that many machines feed.

It is asked page by page: the first so many entries of a stretch of time, in order. A whole answer sorted by the store
would cost it memory for all of it, one that is not sorted would cost us that, and one query over everything runs into
the store's time limit (30 seconds). A page costs both sides a bounded amount. It also tells how dense the entries are,
and so how long the next stretch has to be; over time without entries stretches grow by the factor 16, so that years
of silence take a dozen questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from metaexpert.logs.entry import Entry, by_time, moment, time_key
from metaexpert.logs.reading.files import Counts
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.merge import Progress, ignore

if TYPE_CHECKING:
    from metaexpert.logs.store._client import Client

#: The beginnings of addresses, and what each means.
_SCHEMES: Final = {"vlogs": ("http", 9428), "vlogs+https": ("https", 443)}
_ADDRESS: Final = re.compile(r"(vlogs(?:\+https)?)://", re.IGNORECASE)
#: Entries of a page, and bytes of its answer, at most: one entry may have 256 KiB.
PAGE: Final = 10_000
MOST_BYTES: Final = 32 << 20
_GROWTH: Final = 16
#: How long the first stretch is. Everything at once would cost the store seconds for a million entries, whatever is
#: asked of them: it has to look at each time.
_FIRST: Final = timedelta(hours=1)
#: The unit of an entry's time. The store has nanoseconds, our entries have none.
_MICROSECOND: Final = timedelta(microseconds=1)
#: After every time, as the first part of a key.
_LAST: Final = b"~"
#: An entry's bytes, about, for the progress over a store.
BYTES_EACH: Final = 512
#: Seconds between two looks while following; how far each looks back, since entries come late and clocks differ; and
#: for how long a store may be away.
_LOOK: Final = 1.0
_BACK: Final = timedelta(seconds=10)
_AWAY: Final = 30.0


def is_store(name: object) -> bool:
    """Return whether *name* is the address of a store rather than a directory."""
    return isinstance(name, str) and _ADDRESS.match(name) is not None


class _Page(NamedTuple):
    """The entries of an answer in order of time, and whether there may be more of the same stretch."""

    entries: list[Entry]
    full: bool


@dataclass(frozen=True)
class Store:
    """A store. Opens no connection before it is asked; used by one thread at a time.

    Attributes:
        name: Its address, as it was given.
        url: The same over HTTP.
    """

    name: str
    url: str = field(repr=False)

    @classmethod
    def at(cls, address: str) -> Store:
        """Return the store at ``vlogs://HOST[:PORT][/PATH]`` or ``vlogs+https://…``.

        Raises:
            ValueError: It is no such address.
        """
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{address!r} is no address of a store: {error}") from None
        if "@" in parts.netloc:
            raise ValueError("an address of a store holds no password; give a token in METAEXPERT_VLOGS_TOKEN")
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{address!r} should be vlogs://HOST:9428 or vlogs+https://HOST")
        scheme, usual = _SCHEMES[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(address, f"{scheme}://{host}:{port or usual}{parts.path.rstrip('/')}")

    def __str__(self) -> str:
        """Return the address."""
        return self.name

    def _opened(self) -> closing[Client]:
        from metaexpert.logs.store._client import Client  # noqa: PLC0415 - httpx is slow to import

        return closing(Client(self.name, self.url))

    def records(
        self,
        criteria: Criteria,
        counts: Counts,
        progress: Progress = ignore,
        *,
        backward: bool = False,
        page: int | None = None,
    ) -> Iterator[Entry]:
        """Yield the entries that pass *criteria* in order of time, the last first when *backward*; some may repeat.

        Args:
            criteria: The filters.
            counts: Problems are noted there.
            progress: Called with the bytes done so far, as `size` counts them.
            backward: Newest first.
            page: How many entries to ask for at first; `PAGE` when left out.

        Raises:
            ConnectionError: The store cannot be asked, or its answer is not whole (a `StoreError`).
        """
        with self._opened() as client:
            yield from self._paged(client, criteria, counts, progress, backward=backward, page=page or PAGE)

    def _paged(
        self, client: Client, criteria: Criteria, counts: Counts, progress: Progress, *, backward: bool, page: int
    ) -> Iterator[Entry]:
        low, high = _bounds(criteria)
        if low is None and not backward:
            low = _earliest(client)
        width = _FIRST
        done = 0
        while low is None or high is None or low < high:
            page = min(page, PAGE)
            first, last = _stretch(low, high, width, backward=backward)
            found, full = self._page(client, criteria, first, last, page, counts, backward=backward)
            if not full:
                at_end = first == low if backward else last == high
                low, high = (low, first) if backward else (last, high)
                width *= _GROWTH if _GROWTH * len(found) < page else 2
            else:
                at_end, edge, beyond = False, found[-1].time, found[-1].key[0]
                width = max(abs(edge - found[0].time), _MICROSECOND)
                if beyond == found[0].key[0]:  # there may be more of one microsecond than a page holds
                    found = self._page(
                        client, criteria, edge, edge + _MICROSECOND, None, counts, backward=backward
                    ).entries
                    low, high = (low, edge) if backward else (edge + _MICROSECOND, high)
                else:
                    found = [entry for entry in found if entry.key[0] != beyond]
                    low, high = (low, edge + _MICROSECOND) if backward else (edge, high)
            yield from filter(criteria.accept, found)
            done += len(found)
            progress(done * BYTES_EACH)
            if at_end:
                return
            del found  # while the next page comes, this one would take as much memory again
            page *= 2

    def _page(
        self,
        client: Client,
        criteria: Criteria,
        low: datetime | None,
        high: datetime | None,
        limit: int | None,
        counts: Counts,
        *,
        backward: bool = False,
    ) -> _Page:
        from metaexpert.logs.store import _entries, _logsql  # noqa: PLC0415 - only for a store, as the client

        entries: list[Entry] = []
        size = lines_read = 0
        start, end = time_key(low) if low else b"", time_key(high) if high else _LAST
        with closing(client.lines(_logsql.query(criteria, low, high, limit, backward=backward))) as lines:
            for line in lines:
                lines_read, size = lines_read + 1, size + len(line)
                if (entry := _entries.entry_of(line, self.name)) is None:
                    counts.unreadable[self.name] = "some of its answers are no entries of MetaExpert"
                elif start <= entry.key[0] < end:
                    entries.append(entry)
                if limit is not None and size > MOST_BYTES:
                    break
        full = limit is not None and bool(entries) and (lines_read >= limit or size > MOST_BYTES)
        entries.sort(key=by_time, reverse=backward)
        return _Page(entries, full)

    def size(self, criteria: Criteria) -> int:
        """Return about how many bytes `records` will read; 0 if the store does not tell."""
        from metaexpert.logs.store import _logsql  # noqa: PLC0415 - as above

        with self._opened() as client:
            answer = b"".join(islice(client.lines(_logsql.count(criteria, *_bounds(criteria))), 1))
        found = re.search(rb'"entries":"([0-9]{1,15})"', answer)
        return int(found[1]) * BYTES_EACH if found else 0


class StoreFollower:
    """The entries that come into a store, look by look.

    Each look asks for the last seconds before the latest known entry again: entries come late, and clocks differ. So
    entries repeat. A store that is away for half a minute is waited for.

    Args:
        store: The store.
        criteria: The filters.
        counts: Problems are noted there.
    """

    def __init__(self, store: Store, criteria: Criteria, counts: Counts) -> None:
        self._store, self._criteria, self._counts = store, criteria, counts
        self._latest: datetime | None = None
        self._next = self._heard = 0.0

    def poll(self) -> list[Entry]:
        """Return the entries of a look, in order of time; none if the last look was a moment ago.

        Raises:
            ConnectionError: The store cannot be asked: at the first look, or for half a minute.
        """
        now = monotonic()
        if now < self._next:
            return []
        self._next = now + _LOOK
        if self._latest is None:
            ends = self._store.records(self._criteria, self._counts, backward=True, page=1)
            self._latest = next((entry.time for entry in ends), datetime(1970, 1, 2, tzinfo=UTC))
        since = time_key(max(min(self._latest, datetime.now(UTC)) - _BACK, moment(self._criteria.since)))
        try:
            found = list(self._store.records(replace(self._criteria, since=since), self._counts))
        except ConnectionError:
            if not self._heard or now - self._heard > _AWAY:
                raise
            return []
        self._heard = now
        self._latest = max([self._latest, *(entry.time for entry in found[-1:])])
        return found


def _bounds(criteria: Criteria) -> tuple[datetime | None, datetime | None]:
    low = moment(criteria.since) if criteria.since else None
    return low, moment(criteria.until) + _MICROSECOND if criteria.until else None


def _earliest(client: Client) -> datetime | None:
    """Return the time of the first entry in the store, of whatever program; None if the store does not tell."""
    from metaexpert.logs.store import _logsql  # noqa: PLC0415 - only for a store, as the client

    answer = b"".join(islice(client.lines(_logsql.EARLIEST), 1))
    found = re.search(rb'"first":"([0-9-]{10}T[0-9:]{8})[0-9.]*Z"', answer)
    return moment(found[1] + b".000000") if found else None


def _stretch(
    low: datetime | None, high: datetime | None, width: timedelta, *, backward: bool
) -> tuple[datetime | None, datetime | None]:
    """Return the stretch of that *width* at the beginning of what is left, at its end when *backward*.

    Without an end, that of time is now, and what lies in the future belongs to it.
    """
    if backward:
        start = _moved(high or datetime.now(UTC), -width)
        return (low if start is None or (low is not None and start < low) else start), high
    if low is not None:
        end = _moved(low, width)
        return low, (high if end is None or (high is not None and end > high) else end)
    return low, high


def _moved(time: datetime, by: timedelta) -> datetime | None:
    try:
        return time + by
    except OverflowError:
        return None
