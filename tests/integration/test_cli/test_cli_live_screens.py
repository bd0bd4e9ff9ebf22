"""The whole screen of `metaexpert logs live` as text, over a living, a killed and a hanging expert.

The screens lie in `screens/`; `NEW_SCREENS=1` writes them anew, to be looked at in the diff.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logs import open_logs
from metaexpert.logs.runs import present

pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import Static

from metaexpert.cli.live import panel
from metaexpert.cli.live.app import Live
from metaexpert.cli.live.records import Records

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
SCREENS, NEW = Path(__file__).parent / "screens", bool(os.environ.get("NEW_SCREENS"))
PROGRAM = """
import os, signal, sys
from metaexpert.logger import MetaLogger
name, symbol, number = sys.argv[1:4]
logger = MetaLogger(expert_name=name, symbol=symbol, log_dir=name, log_to_console=False)
logger.trade.info("Order submitted", order_id=f"{name}-1", side="BUY", size=2, requested_price=140)
logger.error("Order book is stale", seconds=9) if name == "killed" else logger.info("Waiting for a quote")
logger.flush()
print("ready", flush=True)
os.kill(os.getpid(), int(number))
"""


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Directories of three experts: one lives, one was killed, one hangs. What depends on the clock stands still."""
    monkeypatch.setattr(panel, "_silence", lambda state: {"living": 2.0, "killed": 7300.0, "hanging": 95.0}[state.name])
    monkeypatch.setattr(present, "RATE_SECONDS", float("inf"))
    command = [sys.executable, "-c", PROGRAM]
    subprocess.run([*command, "killed", "ETHUSDT", str(int(signal.SIGKILL))], cwd=tmp_path, check=False)
    hanging = subprocess.Popen(
        [*command, "hanging", "SOLUSDT", str(int(signal.SIGSTOP))], cwd=tmp_path, stdout=subprocess.PIPE
    )
    try:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == b"ready\n"
        with MetaLogger(
            expert_name="living", symbol="BTCUSDT", log_dir=tmp_path / "living", log_to_console=False
        ) as one:
            one.trade.info("Order submitted", order_id="a", side="BUY", size=Decimal("0.5"), requested_price=70000)
            one.trade.info("Order filled", order_id="a", side="BUY", size=Decimal("0.5"), price=70001, trade_id="t-1")
            one.trade.info("Position opened", order_id="a", side="LONG", position_size=Decimal("0.5"), pnl="-1.25")
            for number in range(50):
                one.info("Quote", bid=70000 + number, ask=70001 + number, spread_bps=0.2, venue="binance")
            one.flush()
            yield [tmp_path / name for name in ("living", "killed", "hanging")]
    finally:
        hanging.kill()
        hanging.communicate()


def screens_of(directories: list[Path], size: tuple[int, int], steps: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the screen after the keys of each step, one step after the other; times of entries are zeros."""
    screens: dict[str, str] = {}

    async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            await pilot.pause(0.02)

    async def run() -> None:
        app = Live(open_logs(*directories), [])
        async with app.run_test(size=size) as pilot:
            told, entries = app.query_one("#experts", Static), app.query_one(Records)
            await until(pilot, lambda: app._feed.read and str(told.content).count("\n") == 3)
            await until(pilot, lambda: len(entries.records) == 57 and entries.size.height == size[1] - 5)
            for name, keys in steps.items():
                await pilot.press(*keys)
                await until(pilot, lambda: all(worker.is_finished for worker in app.workers))
                await until(pilot, lambda: 0 <= entries.cursor - entries.scroll_offset.y < entries.size.height)
                await pilot.pause()
                strips = app.screen._compositor.render_strips()
                screens[name] = "\n".join("".join(part.text for part in strip).rstrip() for strip in strips) + "\n"

    asyncio.run(run())
    times = re.compile(r"\d\d:\d\d:\d\d\.\d{3}|^\d\d(?=[│╰])", re.MULTILINE)
    return {name: times.sub(lambda time: re.sub(r"\d", "0", time[0]), screen) for name, screen in screens.items()}


@pytest.mark.parametrize(
    ("size", "steps"),
    [
        ((80, 24), {"": (), "-keys": ("question_mark",), "-error": ("escape", "N"), "-filtered": ("l", "l", "l")}),
        ((200, 50), {"": ()}),
    ],
)
def test_screens(directories: list[Path], size: tuple[int, int], steps: dict[str, tuple[str, ...]]) -> None:
    """The screen is as it was when it was last looked at."""
    for name, screen in screens_of(directories, size, steps).items():
        file = SCREENS / f"{size[0]}x{size[1]}{name}.txt"
        if NEW:
            file.write_text(screen, "utf-8")
        assert screen == file.read_text("utf-8")
        assert max(map(len, screen.splitlines())) <= size[0]
