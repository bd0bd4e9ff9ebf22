"""A directory of logs, the same for the same size: what an expert leaves that logs a lot.

``expert.log`` with plain backups and two compressed ones, ``trades.log`` and ``errors.log`` with the copies that belong
there, and the index that the logger keeps of its backups. One entry in twenty is a trade, one in two hundred an error
with a traceback, some are critical.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from metaexpert.logger.files._archive import Archivist
from metaexpert.logger.schema import PRIVATE_DIRECTORY, SEVERITIES
from metaexpert.logger.system.locks import DirectoryLock

#: Bytes of one file of the chain.
FILE_SIZE: Final = 96 * 1000 * 1000
START: Final = datetime(2026, 11, 20, tzinfo=UTC)
#: Entries per order, one after another within some milliseconds.
ORDER_EVERY: Final = 20
CRITICAL_EVERY: Final = 50_000
_FRAME: Final = (
    '  File "/srv/experts/ema.py", line 120, in decide\n    self.exchange.create_order(symbol, side, size)\n'
)


def make(directory: Path, size: int) -> dict[str, Any]:
    """Write about *size* bytes of logs into *directory* (as they are when inflated) and return what to ask for."""
    directory.mkdir(parents=True)
    rng = random.Random(20261122)  # noqa: S311 - the same data each time
    chain: list[Path] = []
    total = count = 0
    trades = (directory / "trades.log").open("wb")
    errors = (directory / "errors.log").open("wb")
    lines = _entries(rng)
    with trades, errors:
        while total < size:
            path = directory / f"part-{len(chain)}"
            chain.append(path)
            with path.open("wb") as file:
                written = 0
                while written < FILE_SIZE and total + written < size:
                    line, level, is_trade = next(lines)
                    count += 1
                    written += file.write(line)
                    written += trades.write(line) if is_trade else 0
                    written += errors.write(line) if level != "info" else 0
            total += written
    _name(directory, chain)
    _index(directory)
    middle = count // 2
    moment = START + timedelta(milliseconds=2 * middle)
    return {
        "entries": count,
        "bytes": total,
        "order": f"ord-{middle // ORDER_EVERY}",
        "since": f"{moment:%Y-%m-%dT%H:%M:%S}.000000Z",
        "until": f"{moment + timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}.000000Z",
    }


def _name(directory: Path, chain: list[Path]) -> None:
    """Give the parts the names of a log and its backups; the two oldest are compressed."""
    for number, path in enumerate(reversed(chain)):
        name = directory / ("expert.log" if number == 0 else f"expert.log.{number}")
        if number and number >= len(chain) - 2:
            with gzip.open(f"{name}.gz", "wb", compresslevel=6) as packed:
                packed.write(path.read_bytes())
            path.unlink()
        else:
            path.rename(name)


def _index(directory: Path) -> None:
    """Let the logger's own code look at the backups, as it does after each rotation."""

    def fail(what: str, error: OSError) -> None:
        raise RuntimeError(what) from error

    lock = DirectoryLock(directory / PRIVATE_DIRECTORY / "lock")
    archivist = Archivist(directory, directory / PRIVATE_DIRECTORY, lock, fail)
    archivist.bases |= {"expert.log", "trades.log", "errors.log"}
    archivist.work()
    lock.close()


def _entries(rng: random.Random) -> Iterator[tuple[bytes, str, bool]]:
    number = 0
    while True:
        number += 1
        is_trade, level = number % ORDER_EVERY == 0, "info" if number % 200 else "error"
        level = level if number % CRITICAL_EVERY else "critical"
        moment = START + timedelta(milliseconds=2 * number, microseconds=rng.randrange(2000))
        severity = SEVERITIES[level]
        head = (
            f'{{"timestamp":"{moment:%Y-%m-%dT%H:%M:%S.%f}Z","level":"{level}","severity":{severity},'
            f'"facility":16,"version":1,"hostname":"desk","appname":"EmaBot","procid":"4711",'
            f'"msgid":"{"trade" if is_trade else "log"}","sequence_id":{number},'
        )
        if is_trade:
            body = (
                f'"message":"Order filled","expert_name":"EmaBot","symbol":"BTCUSDT","category":"trade","side":"BUY",'
                f'"size":{rng.randrange(1, 100) / 100},"price":{rng.randrange(600000, 800000) / 10},'
                f'"order_id":"ord-{number // ORDER_EVERY}","trade_id":"trd-{number}","fee":{rng.random():.6f}'
            )
        else:
            body = (
                f'"message":"Tick {rng.choice(("taken", "skipped", "late"))}","expert_name":"EmaBot",'
                f'"symbol":"BTCUSDT",'
                f'"bid":{rng.randrange(600000, 800000) / 10},"ask":{rng.randrange(600000, 800000) / 10},'
                f'"latency_ms":{rng.random() * 40:.3f}'
            )
        if level != "info":
            text = json.dumps("Traceback (most recent call last):\n" + _FRAME * 4 + "TimeoutError: no answer\n")
            body += f',"exception":{{"type":"TimeoutError","value":"no answer","text":{text}}}'
        yield (head + body + "}\n").encode(), level, is_trade
