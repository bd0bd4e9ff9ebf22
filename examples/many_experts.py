"""Four experts in one process at the same time: two in threads, two as tasks of one event loop.

    python examples/many_experts.py
    metaexpert logs logs/breakout-24
    metaexpert logs logs/together

The first two have a log directory each. The last two share one: every entry bears the name of its expert, and the
prefix of the ids tells their orders apart.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from metaexpert import MetaExpert
from metaexpert.trading import Bar, PaperConfig, load_bars

BARS = load_bars(Path(__file__).parent / "data" / "eurusd_1h.csv")
#: The same hours seen from the other side: what a dollar costs in euros.
INVERSE = [Bar(b.time, 1 / b.open, 1 / b.low, 1 / b.high, 1 / b.close, b.volume) for b in BARS]


def breakout(hours: int, symbol: str, directory: str) -> MetaExpert:
    """Make an expert that follows the price out of the range of its last hours."""
    expert = MetaExpert(
        "paper-exchange",
        expert_name=f"breakout-{hours}",
        symbol=symbol,
        id_prefix=f"b{hours}-",
        log_dir=Path("logs", directory),
        log_to_console=False,
        paper=PaperConfig(fee_bps=0.2, spread_bps=0.5),
    )
    closes: deque[float] = deque(maxlen=hours)

    @expert.on_bar
    def decide(bar: Bar) -> None:
        held = expert.position.size
        if len(closes) == hours and bar.close > max(closes) and held <= 0:
            expert.logger.info("Broke out", trend="up", close=bar.close)
            expert.buy(5_000 - held)
        elif len(closes) == hours and bar.close < min(closes) and held >= 0:
            expert.logger.info("Broke out", trend="down", close=bar.close)
            expert.sell(5_000 + held)
        closes.append(bar.close)

    return expert


async def together(experts: list[MetaExpert]) -> None:
    """Run experts as tasks: they take turns after each bar."""
    await asyncio.gather(*(expert.arun(INVERSE) for expert in experts))


def main() -> None:
    """Run all four and print what each has made."""
    alone = [breakout(24, "EURUSD", "breakout-24"), breakout(72, "EURUSD", "breakout-72")]
    shared = [breakout(48, "USDEUR", "together"), breakout(168, "USDEUR", "together")]
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(expert.run, BARS) for expert in alone]
        asyncio.run(together(shared))
        for run in runs:
            run.result()  # raises what went wrong in the thread
    for expert in alone + shared:
        print(f"{expert.name:13} {expert.symbol}  equity {expert.equity:10,.2f}")
        expert.close()


if __name__ == "__main__":
    main()
