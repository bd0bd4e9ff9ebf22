"""Prometheus metrics of loggers and trades, as the text that a scrape gets."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from waiting import eventually

from metaexpert.logger import MetaLogger, schema
from metaexpert.logger.remote.exports import metrics as module
from metaexpert.logs import open_logs
from metaexpert.logs.trades import Ledger


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no counts."""
    monkeypatch.setattr(module, "metrics", module.Metrics())


def scrape(registry: object) -> dict[tuple[str, ...], float]:
    """Return samples by name and labels, as a scrape gets them."""
    text = generate_latest(registry).decode()  # type: ignore[arg-type]
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_entries_and_trades() -> None:
    """Entries by level, and number, volume and fees of trades by symbol and side, are there when somebody scrapes."""
    logger = MetaLogger(expert_name="EmaBot", metrics=True, log_to_console=False)
    registry = logger.metrics
    for n in range(200):
        logger.info("Tick", n=n)
    logger.error("Rejected")
    trade = logger.trade
    trade.info("Filled", symbol="BTCUSDT", side="BUY", size=0.5, price=70000.0, fee=3.5)
    trade.info("Filled", symbol="BTCUSDT", side="BUY", quantity="0.1", price="60000", commission="1.5")
    trade.info("Filled", symbol="ETHUSDT", side="SELL", size=2, price=3000)
    trade.info("Odd", symbol="ETHUSDT", side="SELL", size="much", price=None, fee="NaN")
    assert logger.flush()
    buy = ("expert=EmaBot", "side=buy", "symbol=BTCUSDT")
    eventually(
        lambda: scrape(registry).get(("metaexpert_trades_total", "expert=EmaBot", "side=sell", "symbol=ETHUSDT")) == 2
    )
    found = scrape(registry)
    assert found["metaexpert_log_entries_total", "expert=EmaBot", "level=info"] == 204
    assert found["metaexpert_log_entries_total", "expert=EmaBot", "level=error"] == 1
    assert found["metaexpert_log_failed_total", "expert=EmaBot"] == 0
    assert ("metaexpert_log_queue_bytes", "expert=EmaBot") in found
    assert found[("metaexpert_trades_total", *buy)] == 2
    assert found[("metaexpert_trade_volume_total", *buy)] == pytest.approx(41000)
    assert found[("metaexpert_trade_fees_total", *buy)] == pytest.approx(5)
    assert found["metaexpert_log_call_seconds_count", "expert=EmaBot"] >= 200 // module.SAMPLE
    assert 0 < found["metaexpert_log_call_seconds_sum", "expert=EmaBot"] < 10
    logger.close()


def test_counters_never_go_back() -> None:
    """The counts of a logger that closes stay, and those of the next one of its name are added."""
    for expected in (1, 2):
        with MetaLogger(expert_name="EmaBot", metrics=True, log_to_console=False) as logger:
            registry = logger.metrics
            logger.info("one")
        assert scrape(registry)["metaexpert_log_entries_total", "expert=EmaBot", "level=info"] == expected


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound symbols are counted together: a collector's memory must not grow with them."""
    monkeypatch.setattr(module, "_MOST_LABELS", 2)
    with MetaLogger(metrics=True, log_to_console=False) as logger:
        registry = logger.metrics
        for n in range(5):
            logger.trade.info("Filled", symbol=f"S{n}")
    found = {key: value for key, value in scrape(registry).items() if key[0] == "metaexpert_trades_total"}
    assert sorted(found.values()) == [1, 1, 3]


def test_numbers_beyond_all_bounds_spoil_no_count() -> None:
    """A size or a price that is no sensible number is left out; the volume of other trades stays right."""
    with MetaLogger(expert_name="EmaBot", metrics=True, log_to_console=False) as logger:
        registry = logger.metrics
        for size, price in ((1e308, 1e308), (10**400, 1), (2, 3)):
            logger.trade.info("Filled", symbol="BTCUSDT", side="BUY", size=size, price=price)
    found = scrape(registry)
    buy = ("expert=EmaBot", "side=buy", "symbol=BTCUSDT")
    assert found[("metaexpert_trades_total", *buy)] == 3
    assert found[("metaexpert_trade_volume_total", *buy)] == 6


@pytest.mark.parametrize("size", schema.SIZE_NAMES)
@pytest.mark.parametrize("price", schema.PRICE_NAMES)
def test_it_counts_what_the_reader_counts(size: str, price: str) -> None:
    """Volume and fees of an execution are those of `metaexpert logs trades`, under whatever names it was logged."""
    with MetaLogger(expert_name="EmaBot", metrics=True, log_to_console=False) as logger:
        registry = logger.metrics
        logger.trade.info("Order filled", symbol="BTCUSDT", side="BUY", **{size: 2, price: 3, "commission": 0.5})
    found, ledger = scrape(registry), Ledger()
    (execution,) = ledger.read(open_logs("logs"))
    buy = ("expert=EmaBot", "side=buy", "symbol=BTCUSDT")
    assert found[("metaexpert_trade_volume_total", *buy)] == execution.size * execution.price == 6
    assert found[("metaexpert_trade_fees_total", *buy)] == float(ledger.totals["EmaBot", "BTCUSDT"].fees or 0) == 0.5


def test_a_batch_that_cannot_be_counted_is_counted_as_such() -> None:
    """Whoever scrapes sees that the counts of trades are too low."""
    name = ("metaexpert_trade_batches_uncounted_total",)
    assert scrape(module.metrics.registry)[name] == 0
    module.metrics.failed(TypeError("an entry of an unexpected shape"))
    assert scrape(module.metrics.registry)[name] == 1


def test_without_the_setting_there_are_none() -> None:
    """A logger that keeps no metrics says so when asked for them."""
    with MetaLogger(log_to_console=False) as logger, pytest.raises(AttributeError, match="metrics=True"):
        _ = logger.metrics
