"""Structured logging for trading experts: three files, a console, and nothing that costs a trade.

    from metaexpert.logger import MetaLogger

    logger = MetaLogger(expert_name="EmaBot", symbol="BTCUSDT")
    logger.info("Expert started", exchange="binance")
    logger.trade.info("Position opened", side="BUY", size=0.1, price=70000.0, order_id="ord-1")

Public are the names of ``__all__``, `metaexpert.logger.schema` and `metaexpert.logger.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from metaexpert.logger.bound import BoundLogger
    from metaexpert.logger.capture.handlers import MetaHandler
    from metaexpert.logger.config.settings import ConfigurationError, ConfigurationWarning, LoggerConfig
    from metaexpert.logger.context import log_context, trade_context
    from metaexpert.logger.factory import MetaLogger, get_logger
    from metaexpert.logger.masking.registered import register_secret

__all__ = [
    "BoundLogger",
    "ConfigurationError",
    "ConfigurationWarning",
    "LoggerConfig",
    "MetaHandler",
    "MetaLogger",
    "get_logger",
    "log_context",
    "register_secret",
    "trade_context",
]

#: The module of each public name. Loaded when first asked for, so that the reader, which needs the schema only,
#: neither waits for the writer's libraries nor breaks with them.
_HOMES: Final = {
    "BoundLogger": "bound",
    "ConfigurationError": "config.settings",
    "ConfigurationWarning": "config.settings",
    "LoggerConfig": "config.settings",
    "MetaHandler": "capture.handlers",
    "MetaLogger": "factory",
    "get_logger": "factory",
    "log_context": "context",
    "register_secret": "masking.registered",
    "trade_context": "context",
}
_PUBLIC_MODULES: Final = ("schema", "testing")


def __getattr__(name: str) -> Any:
    if name in _PUBLIC_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_PUBLIC_MODULES, *(name for name in globals() if name.startswith("__"))])
