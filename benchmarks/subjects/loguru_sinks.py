"""loguru with ``serialize=True``, with and without its own queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, override

from benchmarks.entry import EXCHANGE, LOGGER, MESSAGE, PRICE, SIDE, SIZE, STRATEGY_ID, SYMBOL, Rotation
from benchmarks.subjects.base import Subject


class Loguru(Subject):
    """`logger.add(file, serialize=True, rotation=…)`; keywords of a call become ``extra``."""

    name = "loguru"
    title = "loguru, serialize"
    packages = ("loguru",)
    imports = "import loguru"
    note = "writes each record whole (about 1 kB); its logger name is the module's"
    enqueue: ClassVar[bool] = False

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        library: Any = import_module("loguru")
        self._logger = library.logger
        self._logger.remove()
        self._logger.add(
            directory / "bench.log",
            level="INFO",
            serialize=True,
            rotation=rotation.max_bytes,
            retention=rotation.backups,
            enqueue=self.enqueue,
        )
        self.log = self._logger.bind(symbol=SYMBOL, strategy_id=STRATEGY_ID, exchange=EXCHANGE)

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def close(self) -> None:
        self._logger.complete()
        self._logger.remove()

    @override
    def normalize(self, line: bytes) -> Mapping[str, Any]:
        record = json.loads(line)["record"]
        return {
            **record["extra"],
            "message": record["message"],
            "timestamp": record["time"]["timestamp"],
            "level": record["level"]["name"],
            "logger": LOGGER if record["name"] == __name__ else record["name"],
        }


class LoguruEnqueue(Loguru):
    """The same with ``enqueue=True``: a multiprocessing queue and a writing thread."""

    name = "loguru-enqueue"
    title = "loguru, serialize, enqueue"
    enqueue = True
