"""Record what other loggers write, with the real libraries, for the tests of `metaexpert.logs.foreign`.

    python -m uv run --group bench python tools/record_foreign_logs.py tests/unit/test_logs/foreign

Each library logs in a process of its own. pino and bunyan need node, and a directory with both installed
(``npm install pino bunyan winston``) as the second argument; without it their files stay as they are. Hummingbot's has
the format of its configuration (``%(asctime)s - %(process)d - %(name)s - %(levelname)s - %(message)s``), written by
`logging`. ``freqtrade.log`` and ``nautilus-backtest.*`` are lines of the backtests of `test_bots.py`, taken by hand.
Values are made up.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

#: Every program runs with this time zone, so that the times without one are known.
ZONE: Final = "Europe/Berlin"


def fail() -> None:
    """Raise the error whose traceback is logged."""
    raise ValueError("no price for 'BTCUSDT'")


def with_logging(path: Path, formatter: logging.Formatter, name: str) -> None:
    """Log by the standard library."""
    handler = logging.FileHandler(path)
    handler.setFormatter(formatter)
    log = logging.getLogger(name)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.debug("tick")
    log.info("Changing state to: RUNNING")
    log.warning("Took %s s to analyze %d pairs", 12.5, 12)
    try:
        fail()
    except ValueError:
        log.exception("Unable to create trade for BTC/USDT")
    log.critical("two\nlines")


def json_logger(path: Path) -> None:
    """python-json-logger."""
    formatter: Any = import_module("pythonjsonlogger.json").JsonFormatter
    with_logging(path, formatter("%(asctime)s %(levelname)s %(name)s %(message)s"), "bot.orders")
    logging.getLogger("bot.orders").info("Order placed", extra={"order_id": "ord-1", "qty": 0.1})


def structlog_(path: Path, *, as_json: bool) -> None:
    """structlog, as JSON and as its console prints."""
    structlog: Any = import_module("structlog")
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    steps = structlog.processors
    stamp = steps.TimeStamper(fmt="iso") if as_json else steps.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    chain = [steps.format_exc_info, steps.JSONRenderer()] if as_json else [console]
    with path.open("w", encoding="utf-8") as file:
        factory = structlog.WriteLoggerFactory(file)
        structlog.configure(processors=[steps.add_log_level, stamp, *chain], logger_factory=factory)
        log = structlog.get_logger()
        log.info("Order placed", order_id="ord-1", price=70000.5, side="BUY", note="two words")
        log.warning("slow", delay_ms=12)
        try:
            fail()
        except ValueError:
            log.exception("Order failed", symbol="BTCUSDT")


def loguru(path: Path, *, serialize: bool) -> None:
    """loguru, as text and serialized."""
    logger: Any = import_module("loguru").logger
    logger.remove()
    logger.add(path, serialize=serialize, level="TRACE")
    logger.trace("tick")
    logger.success("Filled {}", 3)
    logger.bind(order_id="ord-1", price=1.5).warning("partial")
    try:
        fail()
    except ValueError:
        logger.exception("Order failed")


def nautilus(path: Path, *, as_json: bool) -> None:
    """nautilus_trader."""
    component: Any = import_module("nautilus_trader.common.component")
    level: Any = import_module("nautilus_trader.common.enums").LogLevel
    guard = component.init_logging(
        trader_id=import_module("nautilus_trader.model.identifiers").TraderId("TRADER-001"),
        machine_id="box",
        instance_id=import_module("nautilus_trader.core.uuid").UUID4(),
        level_stdout=level.OFF,
        level_file=level.DEBUG,
        directory=str(path.parent),
        file_name=path.stem,
        file_format="json" if as_json else None,
    )
    log = component.Logger("EmaCross")
    log.info("Starting")
    log.debug("tick")
    log.warning("Slippage")
    log.error("Rejected: INSUFFICIENT_MARGIN")
    component.flush_logger()
    del guard


def text(name: str, form: str) -> Callable[[Path], None]:
    """Return what logs by the standard library with a *form*."""
    return lambda path: with_logging(path, logging.Formatter(form), name)


RECORDERS: Final[dict[str, Callable[[Path], None]]] = {
    "python-json-logger.log": json_logger,
    "structlog-json.log": lambda path: structlog_(path, as_json=True),
    "structlog-console.log": lambda path: structlog_(path, as_json=False),
    "loguru-serialize.log": lambda path: loguru(path, serialize=True),
    "loguru.log": lambda path: loguru(path, serialize=False),
    "nautilus.jsonl": lambda path: nautilus(path, as_json=True),
    "nautilus.log": lambda path: nautilus(path, as_json=False),
    "hummingbot.log": text("hummingbot.core", "%(asctime)s - %(process)d - %(name)s - %(levelname)s - %(message)s"),
    "logging.log": text("bot", "%(asctime)s [%(levelname)s] %(name)s: %(message)s"),
}
_NODE: Final = """
import pino from 'pino'; import bunyan from 'bunyan'; import winston from 'winston'
const p = pino(pino.destination({dest: 'pino.log', sync: true}))
p.info({order_id: 'ord-1', price: 70000.5}, 'Order placed'); p.warn('slow'); p.error(new Error('no price'))
p.fatal({symbol: 'BTCUSDT'}, 'stop'); p.info({only: 1})
const b = bunyan.createLogger({name: 'bot', streams: [{path: 'bunyan.log', level: 'trace'}]})
b.trace('tick'); b.info({order_id: 'ord-1'}, 'Order placed'); b.warn('slow'); b.error(new Error('no price'), 'failed')
const {combine, timestamp, json} = winston.format
const w = winston.createLogger({level: 'silly', format: combine(timestamp(), json()),
  transports: [new winston.transports.File({filename: 'winston.log'})]})
w.info('Order placed', {order_id: 'ord-1'}); w.error('failed'); w.silly('tick')
"""


def main(directory: Path, node: Path | None) -> None:
    """Record all files in *directory*."""
    directory.mkdir(exist_ok=True)
    environment = {**os.environ, "TZ": ZONE}
    for name in RECORDERS:
        (directory / name).unlink(missing_ok=True)
        subprocess.run([sys.executable, __file__, "--one", directory / name], check=True, env=environment)
    if node is not None:
        (node / "record.mjs").write_text(_NODE, "utf-8")
        subprocess.run([shutil.which("node") or "node", "record.mjs"], check=True, cwd=node, env=environment)
        for name in ("pino.log", "bunyan.log", "winston.log"):
            (node / name).replace(directory / name)
    here = {str(directory): "/app", str(Path(__file__).parent): "/app", str(node): "/app", os.uname().nodename: "box"}
    for path in directory.iterdir():
        recorded = path.read_text("utf-8")
        for private, public in here.items():
            recorded = recorded.replace(private, public)
        # loguru shows the values in its tracebacks, and cuts them.
        recorded = re.sub(r"PosixPath\('[^')]*'?\)?", "PosixPath('/app/bot.log')", recorded)
        recorded = re.sub(r"'--one', '[^']*'?", "'--one', '/app/bot.log'", recorded)
        path.write_text(recorded, "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        RECORDERS[Path(sys.argv[2]).name](Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute() if len(sys.argv) > 2 else None)
