"""Trading frameworks, with the lines of the guide, in environments of their own; skipped where they do not install."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guide import blocks, run_with

from metaexpert.logs import Entry, open_logs
from metaexpert.logs.foreign.explain import explain

#: The first time they are downloaded.
pytestmark = [
    pytest.mark.program,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("METAEXPERT_NIGHTLY"), reason="takes minutes; METAEXPERT_NIGHTLY=1 runs it"),
]

Read = Callable[..., list[dict[str, Any]]]

FREQTRADE = '''
import json, pathlib
from freqtrade.exchange.exchange import Exchange

async def markets(self, reload=False):  # needs no network
    api = self._api_async
    market = {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "active": True, "spot": True}
    market |= {"type": "spot", "precision": {"amount": 1e-05, "price": 0.01}, "taker": 0.001, "maker": 0.001}
    market |= {"limits": {"amount": {"min": 1e-05}, "cost": {"min": 5}}}
    api.set_markets([api.safe_market_structure(market)])

Exchange._api_reload_markets = markets
data = pathlib.Path("user_data/data/binance")
data.mkdir(parents=True)
bars = [[(472222 + n) * 3600000, 100 + n % 7, 102 + n % 7, 99 + n % 7, 101 + n % 7, 10.0] for n in range(200)]
(data / "BTC_USDT-1h.json").write_text(json.dumps(bars))
strategies = pathlib.Path("user_data/strategies")
strategies.mkdir()
(strategies / "ema.py").write_text("""
import logging
from freqtrade.strategy import IStrategy

class Ema(IStrategy):
    timeframe = "1h"
    minimal_roi = {"0": 0.01}
    stoploss = -0.1

    def populate_indicators(self, dataframe, metadata):
        try:
            logging.getLogger(__name__).warning("indicators of %s", metadata["pair"])
            raise ValueError("no price for 'BTCUSDT'")
        except ValueError:
            logging.getLogger(__name__).exception("no indicators of %s", metadata["pair"])
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[:, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
""")
from freqtrade.main import main
command = "backtesting -c config.json --userdir user_data -s Ema --cache none --export none"
command += " --logfile user_data/logs/freqtrade.log"
try:
    main(command.split())
except SystemExit as end:
    assert not end.code, end.code
'''


def test_a_backtest_of_freqtrade(tmp_path: Path, read_log: Read) -> None:
    """With the guide's `log_config` all of a backtest is in our files, beside the console and the file of its own."""
    config = {
        **json.loads("{" + blocks("freqtrade")[0] + "}"),
        "dry_run": True,
        "stake_currency": "USDT",
        "stake_amount": 100,
        "max_open_trades": 1,
        "timeframe": "1h",
        "entry_pricing": {"price_side": "same"},
        "exit_pricing": {"price_side": "same"},
        "exchange": {"name": "binance", "pair_whitelist": ["BTC/USDT"]},
        "pairlists": [{"method": "StaticPairList"}],
        "dataformat_ohlcv": "json",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run_with("freqtrade", FREQTRADE, tmp_path)
    entries = read_log("user_data/logs/expert.log")
    loggers = {entry["logger"] for entry in entries}
    assert loggers >= {"freqtrade.optimize.backtesting", "freqtrade.configuration.config_validation", "ema"}
    assert len(entries) > 30
    said = ["indicators of BTC/USDT", "no indicators of BTC/USDT"]
    assert [e["message"] for e in entries if e["logger"] == "ema"] == said
    assert [e["exception"]["value"] for e in read_log("user_data/logs/errors.log")] == ["no price for 'BTCUSDT'"]
    assert "ema - WARNING - indicators of BTC/USDT" in done.stderr
    (own,) = (file for file in explain([tmp_path / "user_data/logs"]) if file.file.name == "freqtrade.log")
    assert (own.format, own.lines) == ("freqtrade text", "entries")
    theirs = [e.text for e in open_logs(tmp_path / "user_data/logs/freqtrade.log")]
    assert theirs == [e["message"] for e in entries]


NAUTILUS = """
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model import Money, Venue
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import TradeId
from nautilus_trader.test_kit.providers import TestInstrumentProvider
{guide}
def on_trade_tick(self, tick):
    if self.portfolio.is_flat(tick.instrument_id):
        self.submit_order(self.order_factory.market(tick.instrument_id, OrderSide.BUY, eth.make_qty(1)))

Buy.on_trade_tick = on_trade_tick
own = LoggingConfig("ERROR", "DEBUG", log_directory="logs", log_file_format={form!r})
engine = BacktestEngine(BacktestEngineConfig(logging=own))
engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.CASH, [Money(1_000_000, USDT)])
eth = TestInstrumentProvider.ethusdt_binance()
engine.add_instrument(eth)
engine.add_data([
    TradeTick(eth.id, eth.make_price(2000 + n), eth.make_qty(5), AggressorSide.BUYER, TradeId(str(n)), n, n)
    for n in range(1, 20)
])
engine.add_strategy(Buy())
engine.run()
engine.dispose()
"""


@pytest.mark.parametrize("form", [None, "json"])
def test_a_backtest_of_nautilus_trader(tmp_path: Path, read_log: Read, form: str | None) -> None:
    """Ids, prices and quantities are text, the fill is in trades.log, and the engine's own log is read beside it."""
    run_with("nautilus_trader", NAUTILUS.format(guide=blocks("nautilus_trader")[0], form=form), tmp_path)
    (fill,) = read_log("logs/trades.log")
    assert (fill["message"], fill["price"], fill["size"]) == ("Filled", "2001.00", "1.00000")
    assert fill["order_id"].startswith("O-")
    (own,) = (file for file in explain([tmp_path / "logs"]) if file.file.name.startswith("BACKTESTER-001_"))
    assert own.format == ("nautilus JSON" if form else "nautilus text")
    theirs = [e for e in open_logs(tmp_path / "logs") if isinstance(e, Entry) and e.foreign]
    assert len(theirs) == len((tmp_path / "logs" / own.file.name).read_text("utf-8").splitlines())
    assert {e.expert for e in theirs} == {"BACKTESTER-001"}
    assert {e.text for e in theirs if e.get("logger") == "Buy" and e.level == "info"} >= {"READY", "RUNNING"}
    assert not any("\x1b" in e.text for e in theirs)
