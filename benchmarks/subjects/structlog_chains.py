"""structlog: the fast chain of its documentation, and the chain that goes through the standard library."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, override

from benchmarks.entry import BOUND, EXCHANGE, LOGGER, MESSAGE, PRICE, SIDE, SIZE, STRATEGY_ID, SYMBOL, Entry, Rotation
from benchmarks.subjects.base import Subject


class _Structlog(Subject):
    packages = ("structlog", "orjson")
    log: Any

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)


class StructlogNative(_Structlog):
    """The chain of structlog's page on performance: filtering bound logger, orjson, `BytesLogger`."""

    name = "structlog-native"
    title = "structlog native + orjson"
    imports = "import structlog, orjson"
    rotates = False
    note = "no rotation: structlog leaves files to others; the logger's name is a bound field"

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        self.log = self._chain(directory / "bench.log").bind(
            logger=LOGGER, symbol=SYMBOL, strategy_id=STRATEGY_ID, exchange=EXCHANGE
        )

    def _chain(self, path: Path) -> Any:
        structlog: Any = import_module("structlog")
        orjson: Any = import_module("orjson")
        self._files.append(path.open("wb"))
        structlog.configure(
            cache_logger_on_first_use=True,
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            logger_factory=structlog.BytesLoggerFactory(self._files[-1]),
        )
        return structlog.get_logger()

    @override
    def close(self) -> None:
        for file in self._files:
            file.close()

    @override
    def experts(self, directory: Path, count: int) -> Sequence[Entry]:
        return [self._expert(directory / f"expert-{number:02d}.log") for number in range(count)]

    def _expert(self, path: Path) -> Entry:
        log = self._chain(path).bind(logger=LOGGER, **BOUND)

        def entry(number: int, order_id: str) -> None:
            log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

        return entry


class StructlogStdlib(_Structlog):
    """structlog's bound logger → `logging` → `ProcessorFormatter` → `RotatingFileHandler`."""

    name = "structlog-stdlib"
    title = "structlog through stdlib + orjson"
    imports = "import logging.handlers, structlog, orjson"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        structlog: Any = import_module("structlog")
        structlog.configure(
            cache_logger_on_first_use=True,
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
        )
        self._handler = logging.handlers.RotatingFileHandler(
            directory / "bench.log", maxBytes=rotation.max_bytes, backupCount=rotation.backups
        )
        self._handler.setFormatter(self._formatter(structlog))
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(self._handler)
        self.log = structlog.get_logger(LOGGER).bind(symbol=SYMBOL, strategy_id=STRATEGY_ID, exchange=EXCHANGE)

    @staticmethod
    def _formatter(structlog: Any) -> logging.Formatter:
        orjson: Any = import_module("orjson")

        def render(value: object, **_: object) -> str:
            text: str = orjson.dumps(value).decode()
            return text

        remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        renderer = structlog.processors.JSONRenderer(serializer=render)
        formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(processors=[remove_meta, renderer])
        return formatter

    @override
    def close(self) -> None:
        self._handler.close()
