"""The pytest fixture `metaexpert`, in a project of its own: what a user's tests get."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

USERS_TESTS = """
import asyncio
import logging
import threading
import unittest

import pytest
import structlog
from metaexpert.logger import MetaLogger, get_logger, log_context

log = get_logger("strategy")
bound = structlog.get_logger().bind(a=1)


def fill():
    with log_context(order_id="o-1"):
        log.info("Order filled", api_key="abc12345", price=1.5)
    log.trade.info("Position opened")
    logging.getLogger("exchange").error("refused")
    bound.debug("detail")


def test_one(metaexpert):
    fill()
    assert metaexpert.messages == ["Order filled", "Position opened", "refused", "detail"]
    first = metaexpert.entries[0]
    assert (first["order_id"], first["price"], first["api_key"]) == ("o-1", 1.5, "***")
    assert [e["message"] for e in metaexpert.trades] == ["Position opened"]
    assert [e["message"] for e in metaexpert.at("error")] == ["refused"]
    metaexpert.clear()
    assert metaexpert.entries == []
    metaexpert.logger.info("after")
    assert metaexpert.messages == ["after"]


def test_two_starts_anew(metaexpert):
    assert metaexpert.entries == []
    log.info("mine")
    assert metaexpert.messages == ["mine"]


def test_without_it_nothing_is_installed():
    assert structlog.get_config()["logger_factory"] is structlog.PrintLoggerFactory or not structlog.is_configured()
    assert type(logging.Logger.callHandlers).__name__ == "function"
    assert not [h for h in logging.getLogger().handlers if type(h).__module__.startswith("metaexpert")]


def test_a_logger_left_open_does_not_disturb(metaexpert):
    MetaLogger(log_to_console=False, log_dir=metaexpert.logger.config.log_dir / "other")
    log.info("mine")
    assert metaexpert.messages == ["mine"]


def test_a_context_left_open(metaexpert):
    structlog.contextvars.bind_contextvars(theirs=1)
    log_context(ours=2).__enter__()
    log.info("mine")
    assert metaexpert.entries[0]["ours"] == 2


def test_a_context_left_open_is_not_there_afterwards(metaexpert):
    log.info("mine")
    assert not {"ours", "theirs"} & set(metaexpert.entries[0])


def test_an_event_loop_and_a_thread(metaexpert):
    asyncio.run(log.ainfo("one"))
    thread = threading.Thread(target=log.info, args=("two",))
    thread.start()
    thread.join()
    assert metaexpert.messages == ["one", "two"]


def test_levels_of_caplog(metaexpert, caplog):
    caplog.set_level(logging.ERROR)
    metaexpert.logger.flush()
    logging.getLogger("exchange").info("below")
    logging.getLogger("exchange").error("above")
    assert (metaexpert.messages, "above" in caplog.text) == (["above"], True)


def test_a_logger_that_the_test_closes(metaexpert):
    log.info("mine")
    metaexpert.logger.close()
    assert metaexpert.messages == ["mine"]


class TestCase(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def use(self, metaexpert):
        self.log = metaexpert

    def test_in_a_class(self):
        fill()
        self.assertEqual(len(self.log.entries), 4)
"""


def installed() -> bool:
    """Return whether this installation of the package knows of the plugin."""
    return any(point.value == "metaexpert._pytest" for point in entry_points(group="pytest11"))


@pytest.mark.skipif(not installed(), reason="an installation from before the plugin: run uv sync")
@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_users_tests(processes: str, tmp_path: Path) -> None:
    """Each test has a fresh log with its entries alone, and what stands in the project's settings sends nothing."""
    (tmp_path / "test_strategy.py").write_text(USERS_TESTS)
    settings = '[tool.metaexpert.logger]\nlog_level = "ERROR"\nlog_to_console = true\n'
    settings += 'webhook_url = "http://127.0.0.1:9/alerts"\nalert_level = "INFO"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    options = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:logxide", "-n"]
    command = [sys.executable, *options, processes]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "10 passed" in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.glob("pytest-of-*/pytest-0")), "it cleaned up after others, which can take a minute"


@pytest.mark.skipif(not installed(), reason="an installation from before the plugin: run uv sync")
def test_it_loads_no_logger(tmp_path: Path) -> None:
    """A run of pytest that does not ask for the fixture loads neither the logger nor structlog."""
    (tmp_path / "test_a.py").write_text(
        "import sys\n\n\ndef test_a():\n"
        "    assert not [m for m in sys.modules if m.startswith(('metaexpert.logger', 'structlog'))]\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
