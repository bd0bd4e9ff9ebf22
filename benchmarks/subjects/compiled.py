"""Peers whose work is done by compiled code: picologging, nautilus_trader, spdlog and logxide.

None of them writes fields as JSON by itself. Where the caller has to write them into the message, he does so here in
the cheapest way: an f-string that is not escaped. That favours the peer.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, override

from benchmarks.entry import BOUND, EXCHANGE, LOGGER, MESSAGE, PRICE, SIDE, SIZE, STRATEGY_ID, SYMBOL, Rotation
from benchmarks.subjects.base import Subject


def _json_text(number: int, order_id: str) -> str:
    """Return message and fields as the inside of a JSON object that begins with the message's value."""
    return (
        f'"{MESSAGE}","symbol":"{SYMBOL}","strategy_id":{STRATEGY_ID},"exchange":"{EXCHANGE}","order_id":"{order_id}",'
        f'"side":"{SIDE}","size":{SIZE},"price":{PRICE},"n":{number}'
    )


class PicologgingQueue(Subject):
    """picologging → its `QueueHandler` and `QueueListener` → its `RotatingFileHandler`."""

    name = "picologging-queue"
    title = "picologging, QueueHandler"
    packages = ("picologging",)
    imports = "import picologging.handlers"
    structured = False
    note = "drops `extra`; the caller formats the fields; unbounded queue"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        picologging: Any = import_module("picologging")
        handlers: Any = import_module("picologging.handlers")
        self._handler = handlers.RotatingFileHandler(
            str(directory / "bench.log"), maxBytes=rotation.max_bytes, backupCount=rotation.backups
        )
        self._handler.setFormatter(
            picologging.Formatter(
                '{"timestamp":%(created)f,"level":"%(levelname)s","logger":"%(name)s","message":%(message)s}'
            )
        )
        records: queue.Queue[Any] = queue.Queue(-1)
        self._listener = handlers.QueueListener(records, self._handler)
        self._listener.start()
        self.log = picologging.getLogger(LOGGER)
        self.log.setLevel(picologging.INFO)
        self.log.addHandler(handlers.QueueHandler(records))

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(_json_text(number, order_id))

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(_json_text(number, order_id))

    @override
    def close(self) -> None:
        self._listener.stop()
        self._handler.flush()
        self._handler.close()


class Nautilus(Subject):
    """nautilus_trader's logging: a Rust thread that writes JSON lines into rotating files."""

    name = "nautilus"
    title = "nautilus_trader (Rust)"
    packages = ("nautilus_trader",)
    imports = "import nautilus_trader.common.component"
    note = "takes a text only: the caller formats the fields into the message; unbounded queue"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        component: Any = import_module("nautilus_trader.common.component")
        levels: Any = import_module("nautilus_trader.common.enums").LogLevel
        self._component = component
        self._guard = component.init_logging(
            level_stdout=levels.OFF,
            level_file=levels.INFO,
            directory=str(directory),
            file_name="bench",
            file_format="json",
            max_file_size=rotation.max_bytes,
            max_backup_count=rotation.backups,
        )
        self.log = component.Logger(LOGGER)

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(
            f"{MESSAGE} symbol={SYMBOL} strategy_id={STRATEGY_ID} exchange={EXCHANGE} order_id={order_id} side={SIDE} "
            f"size={SIZE} price={PRICE} n={number}"
        )

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(
            f"{MESSAGE} symbol={SYMBOL} strategy_id={STRATEGY_ID} exchange={EXCHANGE} order_id={order_id} side={SIDE} "
            f"size={SIZE} price={PRICE} n={number}"
        )

    @override
    def close(self) -> None:
        self._component.flush_logger()
        self._guard = None

    @override
    def normalize(self, line: bytes) -> Mapping[str, Any]:
        record = json.loads(line)
        message, *pairs = record["message"].replace(" symbol=", "\0symbol=").split("\0")
        fields = dict(pair.split("=", 1) for pair in " ".join(pairs).split(" "))
        typed = {name: float(fields[name]) for name in ("size", "price")}
        counts = {name: int(fields[name]) for name in ("strategy_id", "n")}
        return {**fields, **typed, **counts, **record, "message": message, "logger": record["component"]}


class Spdlog(Subject):
    """spdlog's Python binding: an asynchronous rotating logger and a pattern in the shape of JSON."""

    name = "spdlog"
    title = "spdlog (C++), asynchronous"
    packages = ("spdlog",)
    imports = "import spdlog"
    structured = False
    note = "the caller formats the fields; a pattern makes the rest; blocks when its queue of 65,536 is full"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        spdlog: Any = import_module("spdlog")
        self._spdlog = spdlog
        spdlog.set_async_mode(65536, 1, int(spdlog.AsyncOverflowPolicy.BLOCK))
        self.log = spdlog.RotatingLogger(
            LOGGER, str(directory / "bench.log"), True, rotation.max_bytes, rotation.backups, True
        )
        pattern = '{"timestamp":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","logger":"%n","message":%v}'
        self.log.set_pattern(pattern, spdlog.PatternTimeType.utc)
        self.log.set_level(spdlog.LogLevel.INFO)

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(_json_text(number, order_id))

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(_json_text(number, order_id))

    @override
    def close(self) -> None:
        self.log.flush()


class Logxide(Subject):
    """logxide's Rust rotating handler. Its formatter puts ``extra`` fields into a pattern in the shape of JSON."""

    name = "logxide"
    title = "logxide (Rust)"
    packages = ("logxide",)
    imports = "import logxide.handlers"
    note = "fields through `extra` into a pattern, not escaped; the clock is local and stops at milliseconds"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        logxide: Any = import_module("logxide")
        self._handler = logxide.RustRotatingFileHandler(
            str(directory / "bench.log"), rotation.max_bytes, rotation.backups
        )
        self._handler.setFormatterSpec(
            '{"timestamp":"%(asctime)s","level":"%(levelname)s","logger":"%(name)s","message":"%(message)s",'
            '"symbol":"%(symbol)s","strategy_id":%(strategy_id)s,"exchange":"%(exchange)s","order_id":"%(order_id)s",'
            '"side":"%(side)s","size":%(size)s,"price":%(price)s,"n":%(n)s}',
            "%Y-%m-%dT%H:%M:%S%.6fZ",
        )
        self._flush = logxide.flush
        self.log = logxide.logging.getLogger(LOGGER)
        self.log.setLevel(logxide.INFO)
        self.log.propagate = False
        self.log.addHandler(self._handler)

    @override
    def entry(self, number: int, order_id: str) -> None:
        extra = {**BOUND, "order_id": order_id, "side": SIDE, "size": SIZE, "price": PRICE, "n": number}
        self.log.info(MESSAGE, extra=extra)

    @override
    def disabled(self, number: int, order_id: str) -> None:
        extra = {**BOUND, "order_id": order_id, "side": SIDE, "size": SIZE, "price": PRICE, "n": number}
        self.log.debug(MESSAGE, extra=extra)

    @override
    def close(self) -> None:
        self._handler.flush()
        self._flush()
