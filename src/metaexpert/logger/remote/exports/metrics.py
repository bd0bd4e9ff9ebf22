"""Prometheus metrics of the loggers of this process and of their trades, as a registry that the program serves.

By expert they tell: entries written, dropped and failed (read from the logger at each scrape, so that they cost a log
call nothing); the time of log calls, of which one in `SAMPLE` is measured; and, by symbol and side, the number of
logged trades, their volume (size times price, in the quote currency) and their fees.

Threads: any thread may use the metrics; one thread at a time counts trades (see `metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

import itertools
import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from metaexpert.logger import schema
from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.worker import Job
from metaexpert.logger.system.threads import Lock

#: One log call in so many is timed.
SAMPLE: Final = 64
_BUCKETS: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 1e-1)
#: Number of symbols with counts of their own. More would fill the memory of the collector: the rest is one label.
_MOST_LABELS: Final = 500
_OTHER: Final = "other"


class Source(Protocol):
    """A source of counts: a pipeline."""

    def stats(self) -> dict[str, Any]:
        """Return the counts."""


class Metrics(Job):
    """The metrics of all loggers of a process that have the setting ``metrics``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._sources: weakref.WeakKeyDictionary[Source, str] = weakref.WeakKeyDictionary()
        self._final: list[tuple[str, dict[str, Any]]] = []
        self._lock = Lock()
        self._symbols: set[str] = set()
        labels = ("expert", "symbol", "side")
        registry = self.registry
        self._trades = Counter("metaexpert_trades", "Trade entries logged.", labels, registry=registry)
        self._volume = Counter("metaexpert_trade_volume", "Size times price of fills.", labels, registry=registry)
        self._fees = Counter("metaexpert_trade_fees", "Fees of trades.", labels, registry=registry)
        self._uncounted = Counter(
            "metaexpert_trade_batches_uncounted",
            "Batches of trade entries with one that could not be counted.",
            registry=registry,
        )
        self._calls = Histogram(
            "metaexpert_log_call_seconds",
            f"Time of one log call in {SAMPLE}.",
            ("expert",),
            buckets=_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def add(self, source: Source, expert: str) -> None:
        """Include the counts of *source*, as those of *expert*, from now on."""
        with self._lock:
            self._sources[source] = expert

    def retire(self, source: Source) -> None:
        """Keep the last counts of *source*, which closes: a counter never goes back."""
        counts = source.stats()
        with self._lock:
            expert = self._sources.pop(source, None)
            if expert is not None:
                self._final = list(_added([*self._final, (expert, counts)]).items())

    def timed[**P](self, method: Callable[P, None], expert: str) -> Callable[P, None]:
        """Return *method* with one call in `SAMPLE` timed."""
        observe, tick, clock = self._calls.labels(expert).observe, itertools.count(1).__next__, time.perf_counter

        def sampled(*args: P.args, **fields: P.kwargs) -> None:
            if tick() % SAMPLE:
                method(*args, **fields)
                return
            began = clock()
            method(*args, **fields)
            observe(clock() - began)

        return sampled

    # -- trades: the job of a worker ------------------------------------------------------------------------------

    def take(self, lines: list[bytes]) -> None:
        """Count trades."""
        for line in lines:
            self._count(decode_line(line))

    def failed(self, error: Exception) -> None:
        """Count a batch with an entry of an unexpected shape as left out."""
        self._uncounted.inc()

    def after_fork(self) -> None:
        """Go on in a child: its counts continue the parent's, as those of prometheus_client do."""
        self._lock = Lock()

    def _count(self, entry: dict[str, Any]) -> None:
        if entry.get("msgid") != schema.MSGID_TRADE:
            return
        labels = (str(entry.get("expert_name", "")), self._symbol(entry), str(entry.get("side", "")).lower()[:16])
        self._trades.labels(*labels).inc()
        size, price = _number(entry, schema.SIZE_NAMES), _number(entry, schema.PRICE_NAMES)
        if size and price and math.isfinite(volume := abs(size * price)):  # a counter never comes back from infinity
            self._volume.labels(*labels).inc(volume)
        if fee := _number(entry, schema.FEE_NAMES):
            self._fees.labels(*labels).inc(max(fee, 0.0))

    def _symbol(self, entry: dict[str, Any]) -> str:
        symbol = str(entry.get("symbol", ""))[:64]
        if symbol not in self._symbols:
            if len(self._symbols) >= _MOST_LABELS:
                return _OTHER
            self._symbols.add(symbol)
        return symbol

    # -- the loggers: read at each scrape --------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Yield the counts of all loggers (the interface of a collector of prometheus_client)."""
        with self._lock:
            sources, final = list(self._sources.items()), self._final
        labels = ["expert", "level"]
        written = CounterMetricFamily("metaexpert_log_entries", "Entries written to their files.", labels=labels)
        dropped = CounterMetricFamily("metaexpert_log_dropped", "Entries dropped.", labels=labels)
        failed = CounterMetricFamily("metaexpert_log_failed", "Entries that failed.", labels=["expert"])
        queue = GaugeMetricFamily("metaexpert_log_queue_bytes", "Bytes that wait to be written.", labels=["expert"])
        for expert, stats in _added([*final, *((name, source.stats()) for source, name in sources)]).items():
            for level, count in stats["written_by_level"].items():
                written.add_metric([expert, level], count)
            for level, count in stats["dropped_by_level"].items():
                dropped.add_metric([expert, level], count)
            failed.add_metric([expert], stats["failed"])
            queue.add_metric([expert], stats["queue_bytes"])
        yield from (written, dropped, failed, queue)


def _added(found: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the sums of counts by expert: several loggers may have one name."""
    sums: dict[str, dict[str, Any]] = {}
    for expert, stats in found:
        total = sums.setdefault(expert, {"written_by_level": {}, "dropped_by_level": {}, "failed": 0, "queue_bytes": 0})
        for kind in ("written_by_level", "dropped_by_level"):
            for level, count in stats[kind].items():
                total[kind][level] = total[kind].get(level, 0) + count
        total["failed"] += stats["failed"]
        total["queue_bytes"] = max(total["queue_bytes"], stats["queue_bytes"])
    return sums


def _number(entry: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = entry.get(name)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                number = float(value)  # a Decimal is logged as text
            except (ValueError, OverflowError):
                continue
            if math.isfinite(number):
                return number
    return None


#: The metrics of this process.
metrics: Final = Metrics()
