"""This library, asynchronous and synchronous."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, override

from benchmarks.entry import BOUND, EXCHANGE, LOGGER, MESSAGE, PRICE, SIDE, SIZE, STRATEGY_ID, SYMBOL, Entry, Rotation
from benchmarks.subjects.base import Subject

#: The console is off, as with every other subject; so is the capture of other libraries' records.
_ALONE = {"log_to_console": False, "capture_stdlib": False, "capture_warnings": False}


class _Ours(Subject):
    kind = "ours"
    packages = ("metaexpert", "structlog", "orjson")
    # The package loads its modules when they are asked for: what a user needs is what counts.
    imports = "from metaexpert.logger import MetaLogger, get_logger"
    recovers = True
    options: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        self._open: list[Any] = []

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        from metaexpert.logger import get_logger  # noqa: PLC0415

        self._meta_logger(directory, rotation, install=True)
        self.log = get_logger(LOGGER).bind(symbol=SYMBOL, strategy_id=STRATEGY_ID, exchange=EXCHANGE)

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def close(self) -> None:
        for logger in self._open:
            logger.close()

    @override
    def files(self, directory: Path) -> list[Path]:
        return sorted(directory.rglob("expert.log*"))

    @override
    def experts(self, directory: Path, count: int) -> Sequence[Entry]:
        return [self.expert(directory / f"expert-{number:02d}", number) for number in range(count)]

    @override
    def expert(self, directory: Path, number: int) -> Entry:
        return _entry(self._meta_logger(directory, Rotation(), install=False, expert_name=f"Expert{number:02d}"))

    @override
    def sealed(self, directory: Path, *, seal: bool, trade: bool) -> Entry:
        logger = self._meta_logger(directory, Rotation(), install=False, seal=seal)
        return _entry(logger.trade if trade else logger)

    def _meta_logger(self, directory: Path, rotation: Rotation, **options: Any) -> Any:
        from metaexpert.logger import MetaLogger  # noqa: PLC0415

        sizes: dict[str, Any] = {"max_file_size": rotation.max_bytes, "backup_count": rotation.backups}
        sizes["compress_backups"] = rotation.compress
        logger = MetaLogger(log_dir=str(directory), **_ALONE, **sizes, **self.options, **options)
        self._open.append(logger)
        return logger


def _entry(logger: Any) -> Entry:
    log = logger.bind(**BOUND)

    def entry(number: int, order_id: str) -> None:
        log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    return entry


class OursAsync(_Ours):
    """`MetaLogger` as most use it, but waiting when its buffer is full, as every peer does or should."""

    name = "ours-async"
    title = "**metaexpert**"
    options: ClassVar[dict[str, Any]] = {"async_logging": True, "overflow": "block"}
    note = "overflow=block, so that every entry has to arrive"


class OursSync(_Ours):
    """`MetaLogger` with the entry in the file when the call returns."""

    name = "ours-sync"
    title = "**metaexpert**, synchronous"
    options: ClassVar[dict[str, Any]] = {"async_logging": False}


class OursPlain(OursAsync):
    """`MetaLogger` without its compiled core, as on a machine that has no wheel and no compiler."""

    name = "ours-plain"
    title = "**metaexpert**, nothing compiled"
    environment: ClassVar[dict[str, str]] = {"METAEXPERT_PURE_PYTHON": "1"}
    only = ("burst",)
    note = "METAEXPERT_PURE_PYTHON=1"
