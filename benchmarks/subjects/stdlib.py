"""The standard library's logging with python-json-logger: rotating, behind a queue, and for several processes."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, override

from benchmarks.entry import BOUND, LOGGER, MESSAGE, PRICE, SIDE, SIZE, Entry, Rotation
from benchmarks.subjects.base import Subject


def json_formatter() -> logging.Formatter:
    """Return python-json-logger's formatter with UTC microseconds, level and logger name."""
    library: Any = import_module("pythonjsonlogger.json")
    formatter: logging.Formatter = library.JsonFormatter(
        "{levelname}{name}{message}",
        style="{",
        timestamp=True,
        rename_fields={"levelname": "level", "name": "logger"},
    )
    return formatter


class StdlibJson(Subject):
    """`logging` → `RotatingFileHandler` → python-json-logger. Fields go through ``extra``."""

    name = "stdlib-json"
    title = "stdlib + python-json-logger"
    packages: ClassVar[tuple[str, ...]] = ("python-json-logger",)
    imports = "import logging.handlers, pythonjsonlogger.json"

    def __init__(self) -> None:
        self._handlers: list[logging.Handler] = []

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        self.log = self._logger(LOGGER, directory / "bench.log", rotation)

    def _logger(self, name: str, path: Path, rotation: Rotation) -> logging.Logger:
        handler = self._file_handler(path, rotation)
        handler.setFormatter(json_formatter())
        self._handlers.append(handler)
        log = logging.getLogger(name)
        log.setLevel(logging.INFO)
        log.addHandler(self._entrance(handler))
        return log

    def _file_handler(self, path: Path, rotation: Rotation) -> logging.Handler:
        return logging.handlers.RotatingFileHandler(path, maxBytes=rotation.max_bytes, backupCount=rotation.backups)

    def _entrance(self, handler: logging.Handler) -> logging.Handler:
        """Return what the logger hands its records to: the file's *handler*, or what stands before it."""
        return handler

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
        for handler in self._handlers:
            handler.close()

    @override
    def experts(self, directory: Path, count: int) -> Sequence[Entry]:
        return [self._expert(directory / f"expert-{number:02d}", number) for number in range(count)]

    def _expert(self, directory: Path, number: int) -> Entry:
        directory.mkdir()
        log = self._logger(f"expert{number:02d}", directory / "bench.log", Rotation())

        def entry(number: int, order_id: str) -> None:
            extra = {**BOUND, "order_id": order_id, "side": SIDE, "size": SIZE, "price": PRICE, "n": number}
            log.info(MESSAGE, extra=extra)

        return entry


class StdlibJsonQueue(StdlibJson):
    """The same behind `QueueHandler` and `QueueListener`, with an unbounded queue as in the documentation."""

    name = "stdlib-json-queue"
    title = "stdlib + python-json-logger, QueueHandler"
    note = "unbounded queue; what waits in it dies with the process"

    @override
    def _entrance(self, handler: logging.Handler) -> logging.Handler:
        records: queue.Queue[Any] = queue.Queue(-1)
        self._listener = logging.handlers.QueueListener(records, handler)
        self._listener.start()
        return logging.handlers.QueueHandler(records)

    @override
    def close(self) -> None:
        self._listener.stop()
        super().close()


class ConcurrentLogHandler(StdlibJson):
    """The same with concurrent-log-handler's file handler, which takes a file lock for each entry."""

    name = "concurrent-log-handler"
    title = "concurrent-log-handler + python-json-logger"
    packages = ("concurrent-log-handler", "python-json-logger")
    imports = "import logging.handlers, concurrent_log_handler, pythonjsonlogger.json"
    note = "made for several processes: locks a file for each entry"

    @override
    def _file_handler(self, path: Path, rotation: Rotation) -> logging.Handler:
        library: Any = import_module("concurrent_log_handler")
        handler: logging.Handler = library.ConcurrentRotatingFileHandler(
            str(path), "a", maxBytes=rotation.max_bytes, backupCount=rotation.backups
        )
        return handler

    @override
    def files(self, directory: Path) -> list[Path]:
        return [path for path in super().files(directory) if path.suffix != ".lock"]
