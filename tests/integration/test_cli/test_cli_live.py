"""`metaexpert logs live`, driven by keys: what stands on the screen over living and dead experts."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len

from metaexpert.__main__ import main
from metaexpert.cli import output
from metaexpert.logger import MetaLogger
from metaexpert.logger.system import native
from metaexpert.logs import Entry, open_logs
from metaexpert.logs.runs.present import RATE_SECONDS, Present

pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import Input, Static

from metaexpert.cli.live import app as app_module
from metaexpert.cli.live.app import Live
from metaexpert.cli.live.chips import command, given
from metaexpert.cli.live.details import Page
from metaexpert.cli.live.feed import Feed
from metaexpert.cli.live.records import MOST, Records

KILLED = """
import os, signal
from metaexpert.logger import MetaLogger
logger = MetaLogger(expert_name="Rsi", symbol="ETHUSDT", log_dir="logs", log_to_console=False)
logger.trade.info("Order submitted", order_id="rsi-1", side="BUY", size=2)
logger.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def logger(tmp_path: Path) -> Any:
    """A living expert that has logged 40 ticks, a trade, an error, and an open order."""
    with MetaLogger(expert_name="Ema", symbol="BTCUSDT", log_dir=tmp_path / "logs", log_to_console=False) as logger:
        for number in range(40):
            logger.info("Tick", number=number)
        order: dict[str, Any] = {"order_id": "ord-1", "side": "BUY", "size": Decimal("0.5")}
        logger.trade.info("Order submitted", **order, requested_price=70000)
        logger.trade.info("Order filled", **order, price=Decimal(70001), trade_id="t-1", fee=Decimal("1.5"))
        logger.trade.info("Position opened", order_id="ord-1", side="LONG", position_size=Decimal("0.5"))
        logger.error("Order rejected", order_id="ord-2", reason="no margin")
        logger.trade.info("Order submitted", order_id="ord-3", side="SELL", size=Decimal("0.1"))
        logger.trade.info("Position reduced", order_id="ord-0", position_size=Decimal("0.4"), pnl=Decimal("12.5"))
        for number in range(40, 60):
            logger.info("Tick", number=number)
        logger.flush()
        yield logger


def drive(
    directory: Path,
    test: Callable[[Live, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    **filters: Any,
) -> None:
    """Run *test* over the screen when the files are read."""

    async def run() -> None:
        app = Live(open_logs(directory), given(filters), zone=filters.get("tz", "UTC"))
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: "drops" in text_of(app, "#experts") and bool(shown(app)))
            await test(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait for *condition*."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


def shown(app: Live) -> list[str]:
    """The messages in the list."""
    return [record.text for record in app.query_one(Records).records]


def text_of(app: Live, name: str) -> str:
    """The text of a part of the screen."""
    return str(app.screen_stack[0].query_one(name, Static).content)


def lines_of(app: Live) -> list[str]:
    """The screen as text."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in app.screen._compositor.render_strips()]


def chosen(app: Live) -> Entry:
    """The entry at the cursor."""
    record = app.query_one(Records).current
    assert isinstance(record, Entry)
    return record


def test_the_screen_at_80_by_24(logger: Any, tmp_path: Path) -> None:
    """The experts, the chips and the last entries, each on one line that fits."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: " Ema " in lines_of(app)[1] and "number=59" in lines_of(app)[23])
        lines = lines_of(app)
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        assert lines[0].split() == ["expert", "state", "last", "/s", "drops", "errors", "today", "open"]
        assert lines[1].split()[:3] == ["Ema", "●", "alive"]
        assert "12.5 USDT  0.4 BTCUSDT, 1 " in lines[1]
        assert "following" in lines[2]
        assert "66 entries" in lines[2]
        assert "info    Tick  symbol=BTCUSDT number=59" in lines[23]
        assert "number=39" not in "".join(lines)

    drive(tmp_path / "logs", look)


def test_a_line_that_is_cut_shows_it(logger: Any, tmp_path: Path) -> None:
    """A number cut short looks like another number; wide characters are never halved."""
    logger.info("Tick", number=123456, text="x" * 80)
    logger.info("価格" * 40)
    logger.flush()

    async def look(app: Live, pilot: Pilot[None]) -> None:
        whole = f"00:00:00.000 info    Tick  symbol=BTCUSDT number=123456 text={'x' * 80}"
        records = app.query_one(Records)
        for columns in (55, 56):
            await pilot.resize_terminal(columns, 24)
            await until(pilot, lambda: shown(app)[-1] == "価格" * 40 and records.outer_size.width == columns)  # noqa: B023
            tick, wide = (line.rstrip("▁▂▃▄▅▆▇█ ") for line in lines_of(app)[-2:])  # the scroll bar's end
            width = records.scrollable_content_region.width
            assert columns - 3 < width < columns
            assert tick[13:] == whole[13 : width - 1] + "…"
            assert (wide[-1], cell_len(wide)) == ("…", width)

    drive(tmp_path / "logs", look)


def test_new_entries_come_and_a_pause_holds_them(logger: Any, tmp_path: Path) -> None:
    """What is logged appears; after Space it does not, until Space again."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        logger.info("Fresh")
        logger.flush()
        await until(pilot, lambda: shown(app)[-1] == "Fresh")
        await pilot.press("space")
        logger.warning("Later")
        logger.flush()
        await until(pilot, lambda: any(record.text == "Later" for record in app._latest))
        assert shown(app)[-1] == "Fresh"
        assert "paused" in text_of(app, "#chips")
        await pilot.press("space")
        assert shown(app)[-1] == "Later"

    drive(tmp_path / "logs", look)


def test_keys_go_to_errors_and_show_the_life_of_an_order(logger: Any, tmp_path: Path) -> None:
    """N goes to the error before, Enter shows all fields, and the steps of the order."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await pilot.press("N")
        assert chosen(app).text == "Order rejected"
        await pilot.press("N")
        await pilot.pause()
        assert chosen(app).text == "Order rejected"
        app.query_one(Records).go(next(n for n, text in enumerate(shown(app)) if text == "Order filled"))
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        page = app.screen
        assert "trade_id  t-1" in str(page.query_one("#first", Static).content)
        await until(pilot, lambda: "Order ord-1 BUY 0.5 BTCUSDT" in str(page.query_one("#more", Static).content))
        assert "filled 0.5 at 70001, fee 1.5" in str(page.query_one("#more", Static).content)
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    drive(tmp_path / "logs", look)


def test_filters_are_chips_and_lifting_them_stays_at_the_line(logger: Any, tmp_path: Path) -> None:
    """Level, order and text narrow the list; c lifts all, and the cursor stays on its entry."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await pilot.press("l", "l", "l")
        await until(pilot, lambda: shown(app) == ["Order rejected"])
        assert "level: error" in text_of(app, "#chips")
        app.query_one(Records).follows = False
        await pilot.press("c")
        await until(pilot, lambda: len(shown(app)) == 66)
        assert chosen(app).text == "Order rejected"
        assert app.chips == []
        app.query_one(Records).go(40)
        await pilot.press("o")
        await until(pilot, lambda: shown(app) == ["Order submitted", "Order filled", "Position opened"])
        await pilot.press("backspace", "slash", *"margin", "enter")
        await until(pilot, lambda: app.chips == [("grep", "margin")])
        await until(pilot, lambda: shown(app) == ["Order rejected"])

    drive(tmp_path / "logs", look)


def test_a_time_is_gone_to_and_left(logger: Any, tmp_path: Path) -> None:
    """t asks for a time; End comes back and follows. What is no time is said."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        there = open_logs(tmp_path / "logs").last(66)[5].time
        await pilot.press("t")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one("Input").value = there.isoformat()  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: chosen(app).time == there)
        assert "older" in text_of(app, "#chips")
        await pilot.press("end")
        assert app.query_one(Records).follows
        assert chosen(app).get("number") == 59
        await pilot.press("t", *"nowhen", "enter")
        await until(pilot, lambda: bool(app._notifications))

    drive(tmp_path / "logs", look)


def test_copies(logger: Any, tmp_path: Path) -> None:
    """y copies the line of the file, Y the command, which shows the same entries."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await pilot.press("up", "y")
        assert app.clipboard == chosen(app).line.decode()
        await pilot.press("Y")
        assert app.clipboard.startswith(f"metaexpert logs {tmp_path / 'logs'} --level info --until 2")
        assert app.clipboard.endswith(f"--limit {app.query_one(Records).size.height}")

    drive(tmp_path / "logs", look, level="info")
    logs = open_logs(tmp_path / "logs")
    words = command(logs, [("symbol", "A B"), ("trade_id", "x")], None, 5)
    assert words == f"metaexpert logs {tmp_path / 'logs'} --symbol 'A B' --trade-id x --limit 5"


def test_times_are_of_the_zone_that_was_asked_for(logger: Any, tmp_path: Path) -> None:
    """On the screen, in the life of an order, where a time is typed, in a filter, and in the command that is copied."""
    zone = ZoneInfo("Asia/Kathmandu")  # + 5:45
    entries = [entry for entry in open_logs(tmp_path / "logs") if isinstance(entry, Entry)]
    first, tenth = (f"{entries[at].time.astimezone(zone):%Y-%m-%d %H:%M:%S.%f}" for at in (0, 9))

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await pilot.press("up")
        clock = f"{chosen(app).time.astimezone(zone):%H:%M:%S}"
        await until(pilot, lambda: lines_of(app)[22].lstrip().startswith(clock))
        assert "66 entries" in text_of(app, "#chips")
        await pilot.press("Y")
        assert " --tz Asia/Kathmandu --until " in app.clipboard
        await pilot.press("t")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one(Input).value = tenth
        await pilot.press("enter")
        await until(pilot, lambda: chosen(app).time == entries[9].time)
        order = next(entry for entry in entries if entry.text == "Order filled")
        app.query_one(Records).show([order], order)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Page))
        more = app.screen.query_one("#more", Static)
        await until(pilot, lambda: "Order ord-1 BUY" in str(more.content))
        assert f"  {order.time.astimezone(zone):%Y-%m-%d %H:%M:%S}" in str(more.content)

    drive(tmp_path / "logs", look, tz="Asia/Kathmandu", since=first)


def test_a_killed_expert_at_200_by_50(logger: Any, tmp_path: Path) -> None:
    """A dead expert is marked, with what it held open; two experts are named on each line."""
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)

    async def look(app: Live, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: " Rsi " in "".join(lines_of(app)[1:4]) and "Ema Tick" in lines_of(app)[20])
        lines = lines_of(app)
        assert len(lines) == 50
        assert any(line.split()[:3] == ["Rsi", "✖", "killed"] and "1 order" in line for line in lines[:4])

    drive(tmp_path / "logs", look, (200, 50))


def test_the_state_counts_each_entry_once(logger: Any, tmp_path: Path) -> None:
    """Entries that were read and then come once more by following are not taken twice."""
    logs = open_logs(tmp_path / "logs")
    present = Present(logs)
    present.read()
    present.feed(logs.last(30), again=True)
    (state,) = present.experts()
    assert (state.errors, state.orders, state.positions) == (1, 1, [("BTCUSDT", Decimal("0.4"))])
    assert state.today.as_dict() == {"USDT": "12.5"}


def test_what_is_followed_counts_as_what_is_read(logger: Any, tmp_path: Path) -> None:
    """Fed in pieces, in the order of the looks at the files, the state is as if it had been read at once."""
    read = Present(open_logs(tmp_path / "logs"))
    read.read()
    fed = Present(open_logs(tmp_path / "logs"))
    records = open_logs(tmp_path / "logs").last(100)
    trades = [record for record in records if b'"msgid":"trade"' in record.line]
    fed.feed([*trades, *(record for record in records[:50] if record not in trades)])
    fed.feed([record for record in records[50:] if record not in trades])
    (one,), (other,) = read.experts(), fed.experts()
    assert replace(other, rate=0.0, last=one.last) == replace(one, rate=0.0)
    assert other.rate == len(records) / RATE_SECONDS


@pytest.mark.skipif(native.core is None, reason="the core tells without decoding which lines are ours")
def test_only_what_is_on_the_screen_is_decoded(logger: Any, tmp_path: Path) -> None:
    """Entries that come and go without having been shown cost next to nothing."""

    async def look(app: Live, pilot: Pilot[None]) -> None:
        for number in range(3000):
            logger.info("Quote", number=number)
        logger.flush()
        await until(pilot, lambda: "number=2999" in lines_of(app)[23])
        quotes = [record for record in app.query_one(Records).records if b'"Quote"' in record.line]
        assert len(quotes) == 3000
        assert sum(record._data is not None for record in quotes) < 500  # type: ignore[union-attr]

    drive(tmp_path / "logs", look)


def test_the_list_is_bounded() -> None:
    """The oldest records go."""
    records = Records(UTC)
    records._changed = lambda: None  # type: ignore[method-assign]
    for number in range(6):
        records.add([number] * (MOST // 4))  # type: ignore[list-item]
    assert len(records.records) == MOST
    assert records.records[-1] == 5  # type: ignore[comparison-overlap]


@pytest.mark.program
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "needs a terminal"),
        (("--port", "x", "--web"), "--port: 'x'"),
        (("--port", "9" * 5000, "--web"), "from 1 to 65535"),
    ],
)
def test_what_it_refuses(tmp_path: Path, logger: Any, words: tuple[str, ...], told: str) -> None:
    """A pipe and a wrong port are told in a line."""
    done = subprocess.run(
        [sys.executable, "-m", "metaexpert", "logs", "live", "logs", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert told in done.stderr


def test_without_the_extra(tmp_path: Path, logger: Any) -> None:
    """A message says how to install it; no other command imports Textual."""
    code = (
        "import sys\nsys.modules['textual'] = None\nimport importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.startswith('textual') else find(name, *a)\n"
        "from metaexpert.__main__ import main\n"
        "assert main(['logs', 'logs', '-n', '1']) == 0\nsys.exit(main(['logs', 'live', 'logs']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'metaexpert[live]'" in done.stderr


async def served(url: str) -> str:
    """Return what the screen behind *url* sends until the last entry is there."""
    import aiohttp

    text = ""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        while "number=59" not in text:
            data = (await socket.receive()).data
            assert isinstance(data, bytes | str), text  # otherwise it was closed
            text += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", data if isinstance(data, str) else data.decode())
    return text


@pytest.mark.program
def test_the_web_page_is_for_this_machine_only(tmp_path: Path, logger: Any) -> None:
    """Pages and sockets are served to its own address alone, and load nothing from elsewhere."""
    import socket

    import httpx

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "metaexpert", "logs", "live", "logs", "--web", "--port", str(port)],
        cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                page = httpx.get(url, trust_env=False)
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert page.status_code == 200
        assert "googleapis" not in page.text
        assert httpx.get(url, headers={"Host": "evil.example"}, trust_env=False).status_code == 403
        assert httpx.get(f"{url}/ws", headers={"Origin": "http://evil.example"}, trust_env=False).status_code == 403
        assert "number=59" in asyncio.run(served(f"{url}/ws?width=80&height=24"))
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_what_was_read_is_not_looked_through_for_cycles(logger: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The command looks for cycles rarely, and freezes what was read; the feed says when, once for each directory."""
    told: list[tuple[Any, int]] = []
    before = gc.get_threshold()[0]

    class Screen:
        def __init__(self, logs: Any, chips: Any, settled: Any, zone: str) -> None:
            self.settled = settled

        def run(self) -> None:
            told.append((self.settled, gc.get_threshold()[0]))

    monkeypatch.setattr(app_module, "Live", Screen)
    monkeypatch.setattr(output, "to_terminal", lambda: True)
    assert main(["logs", "live", str(tmp_path / "logs")]) == 0
    assert told[0][0] == gc.freeze
    assert told[0][1] > before * 10
    assert gc.get_threshold()[0] == before

    settled = threading.Event()
    feed = Feed(open_logs(tmp_path / "logs"), settled.set)
    feed.start()
    assert settled.wait(60)
    feed.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_no_color_leaves_the_terminal_its_colours(logger: Any, tmp_path: Path) -> None:
    """With NO_COLOR no colour is set, neither of the text nor of the ground, and the entries are there."""
    import pty

    reading, side = pty.openpty()
    command = [sys.executable, "-m", "metaexpert", "logs", "live", str(tmp_path / "logs")]
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, env=environment, stdin=side, stdout=side, stderr=side)
    os.close(side)
    shown = b""
    try:
        while b"number=59" not in shown.partition(b"? keys")[2]:  # Textual's, not the first look
            shown += os.read(reading, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    codes = {code for found in re.findall(rb"\x1b\[([\d;]*)m", shown) for code in found.split(b";")}
    assert codes <= {b"", b"0", b"1", b"2", b"7", b"39", b"49"}
