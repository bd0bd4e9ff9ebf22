"""The report: figures that add up, and one inert page in bounded size."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metaexpert.logs import open_logs
from metaexpert.logs.report._series import Equity, Trades
from metaexpert.logs.report.figures import collect_report
from metaexpert.logs.report.page import page_of
from metaexpert.logs.trades import Execution

Line = Callable[..., bytes]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m"


def fill(line: Line, number: int, order: str, **fields: Any) -> bytes:
    """Return the line of a whole order that was filled."""
    defaults: dict[str, Any] = {
        "category": "trade", "order_id": order, "trade_id": f"t{number}", "side": "BUY", "size": 1, "price": 100,
        "fee": "0.1", "symbol": "BTCUSDT", "status": "filled", "order_size": 1,
    }  # fmt: skip
    return line(number, "Order filled", **(defaults | fields))


def store(directory: Path, *lines: bytes) -> None:
    """Write *lines*, and the private directory."""
    (directory / ".metaexpert").mkdir()
    (directory / "expert.log").write_bytes(b"".join(lines))


def test_figures_add_up(tmp_path: Path, line: Line) -> None:
    """By currency, day and symbol; slippage, time to the fill, rejections, errors, and how the runs ended."""
    order = {"category": "trade", "symbol": "BTCUSDT", "side": "BUY"}
    store(
        tmp_path,
        line(1, "Order submitted", order_id="a", size=1, requested_price=99, status="submitted", **order),
        fill(line, 2, "a", at=5, pnl="-3.5", requested_price=99),
        fill(line, 3, "b", at=86400 * 2, side="SELL", pnl="10.25", fee="0.002", fee_currency="BNB"),
        line(4, "Order rejected", order_id="c", status="rejected", reason="no funds", **order),
        line(5, "no answer in 5 s", level="error"),
        line(6, "no answer in 9 s", level="error"),
        line(7, "Order submitted", order_id="d", size=1, status="submitted", **order),
    )
    found = collect_report(open_logs(tmp_path), "metaexpert logs report")
    usdt, bnb = found["money"]["USDT"], found["money"]["BNB"]
    assert (usdt["result"], usdt["fees"], usdt["net"], usdt["drawdown"]) == ("6.75", "0.1", "6.65", "3.6")
    assert (bnb["result"], bnb["fees"], bnb["has_result"]) == ("0", "0.002", False)
    assert [(day["day"], day["currency"], day["result"], day["fees"]) for day in found["days"]] == [
        ("2026-11-22", "USDT", "-3.5", "0.1"),
        ("2026-11-24", "BNB", "0", "0.002"),
        ("2026-11-24", "USDT", "10.25", "0"),
    ]
    (symbol,) = found["symbols"]
    assert (symbol["trades"], symbol["pnl"], symbol["fees_by_currency"]) == (2, "6.75", {"USDT": "0.1", "BNB": "0.002"})
    orders = found["orders"]
    assert orders["by_status"] == {"filled": 2, "rejected": 1, "open": 1}
    assert orders["rejections"] == [{"reason": "no funds", "count": 1}]
    assert (orders["fill_seconds"]["count"], orders["fill_seconds"]["max"]) == (1, 4.0)
    assert orders["slippage_bps"]["max"] == pytest.approx(101.0101, rel=1e-6)
    assert [(one["error"], one["count"]) for one in found["errors"]] == [("no answer in # s", 2)]
    assert found["ends"] == {"closed": 1}
    assert found["verdict"] == (
        "EmaBot earned +6.65 USDT after fees and paid 0.002 BNB of fees in 2 trades and 1 run, of which none ended "
        "badly, with 2 errors."
    )


def test_a_backtest_is_told_in_the_time_of_its_bars(tmp_path: Path, line: Line) -> None:
    """`bar_time` is when a trade happened; what is no time there does not count."""
    store(
        tmp_path,
        fill(line, 1, "a", pnl=1, bar_time="2020-01-02T03:00:00+01:00"),
        fill(line, 2, "b", pnl=1, bar_time="soon"),
    )
    found = collect_report(open_logs(tmp_path))
    assert [day["day"] for day in found["days"]] == ["2020-01-02", "2026-11-22"]
    assert found["money"]["USDT"]["equity"][0][0] == "2020-01-02T02:00:00.000000Z"


def test_days_and_times_are_those_of_the_time_zone(tmp_path: Path, line: Line) -> None:
    """A trade late in the evening belongs to the next day further east; the page names its zone, figures are UTC."""
    zone = ZoneInfo("Asia/Tokyo")
    store(
        tmp_path,
        fill(line, 1, "a", pnl=1, bar_time="2026-11-20T14:59:59Z"),
        fill(line, 2, "b", pnl=1, bar_time="2026-11-20T15:00:00Z"),
        line(3, "boom", level="error", at=3),
    )
    found = collect_report(open_logs(tmp_path), tz=zone)
    assert [(day["day"], day["result"]) for day in found["days"]] == [("2026-11-20", "1"), ("2026-11-21", "1")]
    assert found["time_zone"] == "Asia/Tokyo"
    assert found["from"] == "2026-11-22T10:31:01.000000Z"
    text = page_of(found, zone)
    assert "2026-11-22 19:31:01 to 2026-11-22 19:31:03 Asia/Tokyo" in text
    assert "<span>2026-11-20 23:59:59</span><span>2026-11-21 00:00:00</span>" in text
    assert "<span>2026-11-20</span><span>2026-11-21</span>" in text
    assert '<td class="t">2026-11-22 19:31:03' in text
    assert "2026-11-22 19:31:01 BUY 1 BTCUSDT filled" in text
    assert "19:31:01.000 filled 1 at 100" in text
    assert "UTC" not in re.sub("Asia/|BTCUSDT|USDT", "", text)
    assert "10:31:0" not in text


def test_the_price_is_that_of_bars_and_fills(tmp_path: Path, line: Line) -> None:
    """A ``close`` with the time or the extremes of its bar is a price; alone, or not a number, it is not."""
    store(
        tmp_path,
        line(1, "Bar", symbol="BTCUSDT", close=98.5, high=99, low=97, level="debug"),
        line(2, "Averages", symbol="BTCUSDT", close="101.25", bar_time="2026-11-22T10:31:01Z"),
        line(3, "Closing", symbol="BTCUSDT", close=0.5),
        line(4, "Bar", symbol="BTCUSDT", close="NaN", high=99, low=97),
        line(5, "Bar", symbol="BTCUSDT", close=-1, high=99, low=97),
        line(6, "Bar", symbol="BTCUSDT", close="1e400", high=99, low=97),
        line(7, "Bar", symbol="ETHUSDT", close=9, high=9, low=9),
        fill(line, 8, "a"),
    )
    found = collect_report(open_logs(tmp_path))
    assert list(found["prices"]) == ["BTCUSDT"]
    prices = found["prices"]["BTCUSDT"]
    assert (prices["count"], [price for _, price in prices["bars"]]) == (1, ["98.5", "101.25"])
    assert found["entries"] == 8
    text = page_of(found)
    assert "<span>101.25</span>" in text
    assert "<span>98.5</span>" in text


def test_the_verdict_says_lost_of_a_loss(tmp_path: Path, line: Line) -> None:
    """Gains and losses are told apart, rounded for people, with thousands apart."""
    store(
        tmp_path,
        fill(line, 1, "a", pnl="-22629.23441", fee=0),
        fill(line, 2, "b", pnl=3, fee=0, symbol="EURUSD"),
        fill(line, 3, "c", pnl=0, fee="1234.5678", fee_currency="BNB"),
    )
    assert collect_report(open_logs(tmp_path))["verdict"].startswith(
        "EmaBot earned +3 USD, lost 22,629.23 USDT after fees and paid 1,234.57 BNB of fees in 3 trades"
    )


class Page(HTMLParser):
    """Notes the tags of a page, and attributes that ask for something or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.asking: list[tuple[str, str]] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asking += [(tag, name) for name, _ in attrs if name in ("src", "href", "style") or name.startswith("on")]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = str(dict(attrs)["content"])


def test_hostile_texts_are_inert(tmp_path: Path, line: Line) -> None:
    """Names, messages, reasons, symbols and the command are text; no control character stays; the policy is strict."""
    store(
        tmp_path,
        fill(line, 1, HOSTILE, symbol=HOSTILE, expert_name=HOSTILE, pnl=1, fee_currency=HOSTILE),
        line(2, HOSTILE, level="error", exception={"type": HOSTILE, "value": HOSTILE}),
        line(3, "Order rejected", category="trade", order_id="x", status="rejected", reason=HOSTILE, symbol=HOSTILE),
    )
    text = page_of(collect_report(open_logs(tmp_path), HOSTILE))
    page = Page(text)
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "link", "form"})
    assert page.asking == []
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'", page.policy
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.storm
def test_the_page_of_a_month_is_below_a_megabyte(tmp_path: Path, line: Line) -> None:
    """5,000 orders with long names: the latest are listed, and the page says so."""
    lines = [
        fill(line, number, f"order-{number:040}", at=number * 500, pnl=number % 7 - 3, symbol=f"S{number % 60}USDT")
        for number in range(1, 5001)
    ]
    store(tmp_path, *lines)
    text = page_of(collect_report(open_logs(tmp_path)))
    assert len(text.encode()) < 1_000_000
    assert f"order-{5000:040}" in text
    assert "of 5,000 orders" in text


def test_no_runs(tmp_path: Path) -> None:
    """An empty directory makes a page, too."""
    found = collect_report(open_logs(tmp_path))
    assert found["verdict"] == "There are no runs."
    assert "There are no runs." in page_of(found)


def test_curves_keep_their_ends_and_the_exact_drawdown() -> None:
    """However many points there are, a bounded number is kept, the first and the last among them."""
    equity = Equity()
    for number in range(100_000):
        equity.add(f"{number:06}", Decimal(-7 if number == 50_001 else 1 if number % 2 else -1), Decimal())
    assert len(equity.points) <= 1200
    assert equity.points[-1] == ("099999", Decimal(-8))
    assert equity.drawdown == 9
    trades, execution = Trades(), Execution(None, 1, Decimal(1), Decimal(2), None, "", "", "", None)  # type: ignore[arg-type]
    for number in range(10_000):
        trades.add(str(number), execution)
    assert len(trades.points) <= 1200
    assert trades.points[0][0] == "0"
