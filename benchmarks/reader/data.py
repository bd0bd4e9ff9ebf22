"""A directory of logs like those that bots leave, the same for the same size and seed.

Four experts, each a process of its own, write into one directory: ``expert.log`` with nine backups, the two oldest of
them compressed, and ``trades.log`` and ``errors.log`` with the copies that belong there. No line is there twice within
a file. A gigabyte holds a day, 20,000 orders, some 400 different fields, nested values, tracebacks, a few texts that
are not ASCII, and a few lines that are no entries.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger.schema import SEVERITIES

START: Final = datetime(2026, 11, 20, tzinfo=UTC)
#: Files of ``expert.log``, the current one included, and how many of them are compressed.
FILES: Final = 10
COMPRESSED: Final = 2
#: Orders of a gigabyte, and the seconds that it spans.
ORDERS: Final = 20_000
SPAN: Final = 86_400
#: Share of all bytes that ``expert.log`` has, and bytes of an entry on average, as the generator makes them.
_SHARE: Final = 0.94
_LINE: Final = 429
#: A text that one line of all has.
RARE: Final = "liquidation engine unreachable"
_FOREIGN: Final = 20
_FRAMES: Final = ("decide", "submit", "request", "send", "wait_for")


class Bot(NamedTuple):
    """An expert and what it trades."""

    name: str
    pid: int
    symbol: str
    price: float
    exchange: str


BOTS: Final = (
    Bot("EmaBot", 4711, "BTCUSDT", 64_000, "binance"),
    Bot("GridBot", 4712, "ETH/USDT", 3_100, "okx"),
    Bot("MeanReversion", 4713, "SOL-PERP", 142, "hyperliquid"),
    Bot("Carry", 4714, "EURUSD", 1.08, "mt5"),
)
_PERIODS: Final = (5, 7, 9, 12, 14, 20, 21, 26, 34, 50, 55, 89, 100, 144, 200, 233)
_KINDS: Final = "ema sma rsi atr macd adx cci roc vwap obv stoch boll_up boll_low kelt_up kelt_low slope zscore"
FIELDS: Final = tuple(f"{kind}_{period}" for kind in _KINDS.split() for period in _PERIODS) + tuple(
    f"feature_{number:03d}" for number in range(120)
)


class Made(NamedTuple):
    """An entry: its level, whether it is a trade, its message in JSON, and its fields in JSON."""

    level: str
    trade: bool
    message: str
    fields: str


def make(directory: Path, size: int, seed: int = 20261122) -> dict[str, Any]:
    """Write about *size* bytes of logs into *directory* (as they are when inflated) and return what to ask for."""
    directory.mkdir(parents=True)
    writer = _Writer(random.Random(seed), size)  # noqa: S311 - the same data each time
    chain = [directory / f"part-{number}" for number in range(FILES)]
    total = 0
    with (directory / "trades.log").open("wb") as trades, (directory / "errors.log").open("wb") as errors:
        for path in chain:
            with path.open("wb") as file:
                written = 0
                while written < size * _SHARE / FILES:
                    line, entry = writer.line()
                    written += file.write(line)
                    total += trades.write(line) if entry.trade else 0
                    total += errors.write(line) if entry.level in ("error", "critical") else 0
            total += written
    _name(directory, chain)
    middle = writer.orders[len(writer.orders) // 2]
    begun = START + timedelta(seconds=writer.seconds / 2)
    return {
        "entries": writer.count,
        "bytes": total,
        "orders": len(writer.orders),
        "order": middle,
        "since": f"{begun:%Y-%m-%dT%H:%M:%S}.000000Z",
        "until": f"{begun + timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}.000000Z",
        "rare": RARE,
    }


def _name(directory: Path, chain: list[Path]) -> None:
    """Give the parts the names of a log and its backups; the oldest are compressed."""
    for number, path in enumerate(reversed(chain)):
        name = directory / ("expert.log" if number == 0 else f"expert.log.{number}")
        if number >= FILES - COMPRESSED:
            with gzip.open(f"{name}.gz", "wb", compresslevel=6) as packed:
                packed.write(path.read_bytes())
            path.unlink()
        else:
            path.rename(name)


class _Writer:
    """Makes one line after another."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.rng = rng
        self.count = 0
        self.seconds = 0.0
        self.orders: list[str] = []
        entries = size * _SHARE / _LINE
        self._step = 2 * SPAN * (size / 1e9) / entries
        self._order_every = entries / (ORDERS * size / 1e9)
        self._rare_at = int(entries * 0.6)
        self._foreign_every = int(entries / _FOREIGN)
        self._due: list[tuple[Bot, Iterator[Made]]] = []
        self._numbers = dict.fromkeys(BOTS, 0)
        self._kinds: list[Callable[[Bot], Made]] = [
            *[self._tick] * 30, *[self._indicators] * 22, *[self._book] * 8, *[self._signal] * 8, *[self._stream] * 6,
            *[self._risk] * 6, *[self._http] * 6, *[self._cycle] * 11, *[self._warning] * 2, self._rarely,
        ]  # fmt: skip

    def line(self) -> tuple[bytes, Made]:
        """Return the next line and its entry; now and then a line of another program."""
        self.count += 1
        self.seconds += self.rng.random() * self._step
        if self.count % self._foreign_every == 0:
            text = f"[{self.count}] ccxt: rate limit, waiting {self.rng.random():.6f} s\n"
            return text.encode(), Made("", trade=False, message="", fields="")
        bot, made = self._next()
        self._numbers[bot] += 1
        moment = START + timedelta(seconds=self.seconds)
        return (
            f'{{"timestamp":"{moment:%Y-%m-%dT%H:%M:%S.%f}Z","level":"{made.level}","severity":{SEVERITIES[made.level]},'
            f'"facility":16,"version":1,"hostname":"trader-1","appname":"{bot.name}","procid":"{bot.pid}",'
            f'"msgid":"{"trade" if made.trade else "log"}","sequence_id":{self._numbers[bot]},"message":{made.message},'
            f'"logger":"bots.{bot.name.lower()}","expert_name":"{bot.name}","symbol":"{bot.symbol}",'
            f'"strategy_id":{bot.pid - 3710}{made.fields}}}\n'
        ).encode(), made

    def _next(self) -> tuple[Bot, Made]:
        rng = self.rng
        if self.count >= self._order_every * (len(self.orders) + 1):
            bot = rng.choice(BOTS)
            self._due.append((bot, self._order(bot)))
        if self._due and rng.random() < 0.3:
            at = rng.randrange(len(self._due))
            bot, steps = self._due[at]
            if (made := next(steps, None)) is not None:
                return bot, made
            del self._due[at]
        bot = rng.choice(BOTS)
        return bot, rng.choice(self._kinds)(bot)

    def _price(self, bot: Bot) -> str:
        return f"{bot.price * (1 + (self.rng.random() - 0.5) / 20):.5g}{self.rng.randrange(1, 1000)}"

    def _tick(self, bot: Bot) -> Made:
        rng = self.rng
        fields = (
            f',"bid":{self._price(bot)},"ask":{self._price(bot)},"last_size":{rng.random():.5f},'
            f'"latency_ms":{rng.random() * 40:.3f},"bar":{{"open":{self._price(bot)},"close":{self._price(bot)},'
            f'"volume":{rng.randrange(10**6)}}}'
        )
        return Made("info", trade=False, message='"Tick"', fields=fields)

    def _indicators(self, bot: Bot) -> Made:
        rng = self.rng
        names = rng.sample(FIELDS, rng.randrange(4, 9))
        fields = "".join(f',"{name}":{rng.random() * 100:.6f}' for name in names)
        return Made("debug" if rng.random() < 0.1 else "info", trade=False, message='"Indicators"', fields=fields)

    def _book(self, bot: Bot) -> Made:
        rng = self.rng
        sides = [",".join(f"[{self._price(bot)},{rng.random() * 9:.3f}]" for _ in range(4)) for _ in range(2)]
        fields = f',"book":{{"bids":[{sides[0]}],"asks":[{sides[1]}],"level":{rng.randrange(9)}}}'
        return Made("info", trade=False, message='"Order book"', fields=fields)

    def _signal(self, bot: Bot) -> Made:
        rng = self.rng
        side, price, score = rng.choice(("long", "short", "flat")), self._price(bot), f"{rng.random():.4f}"
        reason = rng.choice(("crossover", "Ausbruch über Widerstand", "mean reversion", "支撑位", "breakout"))
        fields = f',"side":"{side}","price":{price},"score":{score}'
        fields += f',"why":{{"rule":"{reason}","weight":{rng.random():.5f}}}'
        return Made("info", trade=False, message=f'"Signal {side} at {price} (score {score})"', fields=fields)

    def _stream(self, bot: Bot) -> Made:
        rng = self.rng
        took = f"{rng.random() * 90:.2f}"
        message = f'"Message {rng.randrange(10**7)} of stream {bot.symbol.lower()}@trade took {took} ms"'
        return Made("info", trade=False, message=message, fields=f',"took_ms":{took},"queue":{rng.randrange(40)}')

    def _risk(self, bot: Bot) -> Made:
        rng = self.rng
        fields = (
            f',"exposure":{{"net":{rng.random() * 1e5:.2f},"gross":{rng.random() * 1e6:.2f},'
            f'"by_symbol":{{"{bot.symbol}":{rng.random() * 1e5:.2f}}}}},"limits":{{"daily_loss":{rng.randrange(9000)},'
            f'"open_orders":{rng.randrange(50)}}},"ok":{rng.choice(("true", "false"))}'
        )
        return Made("info", trade=False, message='"Risk checked"', fields=fields)

    def _http(self, bot: Bot) -> Made:
        rng = self.rng
        took = rng.randrange(8, 900)
        message = f'"GET /api/v3/klines?symbol={bot.symbol}&limit={rng.randrange(1000)} 200 in {took} ms"'
        fields = f',"status_code":200,"took_ms":{took},"weight":{rng.randrange(1200)}'
        fields += f',"request_id":"{rng.getrandbits(128):032x}"'
        return Made("info", trade=False, message=message, fields=fields)

    def _cycle(self, bot: Bot) -> Made:
        rng = self.rng
        parts = ",".join(f'"{name}":{rng.random():.6f}' for name in ("read", "think", "act"))
        fields = f',"cycle":{rng.randrange(10**7)},"seconds":{{{parts}}},"memory_mb":{rng.random() * 900:.1f}'
        return Made("info", trade=False, message='"Cycle done"', fields=fields)

    def _warning(self, bot: Bot) -> Made:
        rng = self.rng
        behind = rng.randrange(100, 9000)
        message = f'"Stream is {behind} ms behind, queue \\"{bot.exchange}\\" holds {rng.randrange(900)}"'
        return Made("warning", trade=False, message=message, fields=f',"behind_ms":{behind}')

    def _rarely(self, bot: Bot) -> Made:
        rng = self.rng
        if rng.random() < 0.5:
            return self._warning(bot)
        level = "critical" if rng.random() < 0.01 else "error"
        what = f"no answer from {bot.exchange} within {rng.randrange(1000, 9999)} ms"
        if self.count >= self._rare_at:
            self._rare_at, what = 1 << 60, RARE
        frames = [(f"/srv/bots/{bot.name.lower()}.py", rng.randrange(900), function) for function in _FRAMES]
        text = "Traceback (most recent call last):\n" + "".join(
            f'  File "{file}", line {number}, in {function}\n    return await self.{function}(order, "{bot.symbol}")\n'
            for file, number, function in frames
        )
        exception = {
            "type": "TimeoutError",
            "value": what,
            "text": f"{text}TimeoutError: {what}\n",
            "frames": [{"file": file, "line": number, "function": name} for file, number, name in frames],
        }
        fields = f',"attempt":{rng.randrange(9)},"exception":{json.dumps(exception, separators=(",", ":"))}'
        return Made(level, trade=False, message='"Request failed"', fields=fields)

    def _order(self, bot: Bot) -> Iterator[Made]:
        rng = self.rng
        number = rng.getrandbits(62) | 1 << 62 if bot.exchange == "hyperliquid" else rng.randrange(10**10, 10**11)
        client, price = f"x-{bot.pid}-{rng.getrandbits(64):016x}", self._price(bot)
        self.orders.append(str(number))
        side, size = rng.choice(("BUY", "SELL")), f"{rng.random():.4f}1"
        asked = f',"side":"{side}","order_type":"LIMIT","size":{size},"price":{price},"client_order_id":"{client}"'
        yield Made("info", trade=False, message='"Order submitted"', fields=asked)
        known = f',"category":"trade","order_id":"{number}","client_order_id":"{client}","side":"{side}"'
        raw = f',"info":{{"orderId":{number},"status":"NEW","fills":[],"updateTime":{rng.randrange(10**12)}}}'
        yield Made("info", trade=True, message='"Order accepted"', fields=f'{known},"status":"accepted"{raw}')
        if rng.random() < 0.1:
            yield Made("info", trade=True, message='"Order cancelled"', fields=f'{known},"status":"cancelled"')
            return
        part = rng.random()
        for share, status in ((part, "partially filled"), (1 - part, "filled")):
            fields = (
                f'{known},"status":"{status}","size":{float(size) * share:.6f},"price":{price},'
                f'"fee":{rng.random() / 10:.6f},"trade_id":"{rng.randrange(10**9)}","pnl":{rng.random() * 20 - 10:.4f}'
            )
            yield Made("info", trade=True, message=f'"Order {status}"', fields=fields)
        position = f',"category":"trade","position_size":{rng.random():.5f},"entry_price":{price}'
        yield Made("info", trade=True, message='"Position changed"', fields=position)
