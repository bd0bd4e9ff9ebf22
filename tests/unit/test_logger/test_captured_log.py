"""`CapturedLog`, the fixture `metaexpert` of users' tests, within one process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from metaexpert.logger import MetaLogger, get_logger
from metaexpert.logger.testing import CapturedLog, reset


@pytest.fixture
def log(tmp_path: Path, logging_as_before: None) -> Iterator[CapturedLog]:
    """A captured log."""
    made = CapturedLog(tmp_path / "captured", symbol="BTCUSDT")
    yield made
    made.close()


def test_it_has_the_entries_of_all_ways_in(log: CapturedLog) -> None:
    """In order, masked, with context; `clear` leaves out those before it."""
    get_logger("strategy").info("Order filled", api_key="abc12345")
    structlog.get_logger().debug("detail")
    logging.getLogger("exchange").error("refused")
    log.logger.trade.info("Position opened")
    assert log.messages == ["Order filled", "detail", "refused", "Position opened"]
    assert (log.entries[0]["api_key"], log.entries[-1]["symbol"]) == ("***", "BTCUSDT")
    assert [entry["message"] for entry in log.at("ERROR")] == ["refused"]
    assert [entry["message"] for entry in log.trades] == ["Position opened"]
    log.clear()
    assert log.entries == []
    log.logger.info("after")
    assert log.messages == ["after"]


#: What a developer's machine may set, as environment variables without their prefix.
OUTSIDE = {
    "WEBHOOK_URL": "http://127.0.0.1:9/hook",
    "ALERT_ROUTES": '[{"to": "webhook", "webhook_url": "http://127.0.0.1:9/hook"}]',
    "OTLP_ENDPOINT": "http://127.0.0.1:9",
    "SYSLOG_ADDRESS": "udp://127.0.0.1:9",
    "SEAL": "true",
    "SEAL_TIMESTAMP_URL": "http://127.0.0.1:9",
    "RECORDER": "1MB",
    "REPEAT_LIMIT": "1",
    "LEVELS": "feed=CRITICAL",
    "LAYOUT": "rfc5424",
    "LOG_LEVEL": "CRITICAL",
}


def test_no_setting_of_the_machine_gets_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's channels, level and layout are not those of the test; an option of the test counts."""
    names = [name.lower() for name in OUTSIDE]
    usual = CapturedLog(tmp_path / "captured").logger.config
    reset()
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(f"METAEXPERT_{name}", value)
    log = CapturedLog(tmp_path / "captured", console_level="ERROR")
    found = log.logger.config
    assert [getattr(found, name) for name in names] == [getattr(usual, name) for name in names]
    assert found.console_level == "ERROR"
    log.close()


def test_a_logger_of_the_program_is_closed_first(tmp_path: Path) -> None:
    """What it has installed does not take the entries away."""
    before = MetaLogger(log_dir=tmp_path / "before", log_to_console=False)
    log = CapturedLog(tmp_path / "captured")
    assert before.health == "closed"
    structlog.get_logger().info("mine")
    assert log.messages == ["mine"]
    log.close()


def test_close_puts_back_the_configuration_of_structlog(tmp_path: Path) -> None:
    """A program that configures structlog at import finds it as it was; without one the defaults return."""
    mine = [structlog.processors.KeyValueRenderer()]
    structlog.configure(processors=mine)
    chatter = logging.getLogger("asyncio").level
    CapturedLog(tmp_path / "captured").close()
    assert structlog.get_config()["processors"] == mine
    assert logging.getLogger("asyncio").level == chatter
    reset()
    assert not structlog.is_configured()
    CapturedLog(tmp_path / "captured").close()
    assert not structlog.is_configured()
