"""Alerts of whole programs: the end of one, kills, heartbeats, and what no file and no output may hold."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN, Answer, BotApi
from waiting import eventually

from metaexpert.logger import MetaLogger


@pytest.fixture
def server() -> Iterator[BotApi]:
    """Return a Bot API on loopback."""
    with BotApi() as running:
        yield running


def test_the_end_of_a_program_waits_for_its_alert(server: BotApi, python: str) -> None:
    """A program whose last words are an alert ends after it was sent, without `close`."""
    code = f"from metaexpert.logger import MetaLogger\nMetaLogger(**{server.options()!r}).critical('last words')"
    subprocess.run([python, "-c", code], check=True, timeout=60)
    assert any("last words" in text for text in server.texts)


VICTIM = """
import sys, time
from metaexpert.logger import MetaLogger
logger = MetaLogger(**{options})
logger.critical("before the kill")
print("logged", flush=True)
time.sleep(60)
"""


def kill_after_first_try(python: str, given: dict[str, Any], tried: Callable[[], object]) -> None:
    """Run a program that logs an alert, and kill it when *tried* says so."""
    victim = subprocess.Popen([python, "-c", VICTIM.format(options=repr(given))], stdout=subprocess.PIPE)
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline()
        eventually(tried)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()


def test_an_alert_outlives_a_kill(python: str) -> None:
    """An alert that was under way when its process was killed is sent by the next one, as a possible repeat."""
    with BotApi([Answer(deed="hang", accepts=True)]) as server:
        given = server.options()
        kill_after_first_try(python, given, lambda: server.requests)
        with MetaLogger(**given):
            eventually(lambda: len(server.accepted) == 2)
        assert "possible repeat" in server.texts[1]
        assert "before the kill" in server.texts[1]


def test_heartbeats_tell_start_stop_and_sudden_death(server: BotApi, python: str) -> None:
    """With heartbeats the owner is told that an expert starts, stops, or died without stopping."""
    given = server.options(alert_heartbeat=True, telegram_chat_id=43)
    kill_after_first_try(python, given, lambda: len(server.accepted) >= 2)
    with MetaLogger(**given):
        eventually(lambda: any("died" in text for text in server.texts))
    text = "\n".join(server.texts)
    assert "EmaBot died without stopping" in text
    assert text.count("EmaBot started") == 2
    assert text.count("EmaBot stopped") == 1
    with MetaLogger(**given):
        eventually(lambda: sum("EmaBot started" in text for text in server.texts) == 3)
    assert sum("died" in text for text in server.texts) == 1


def test_nothing_of_a_token_is_in_any_file(tmp_path: Path, python: str) -> None:
    """With every kind of failure and all libraries at DEBUG, no file and no output holds the token."""
    code = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
for name in ("httpx", "httpcore", "metaexpert"):
    logging.getLogger(name).setLevel(logging.DEBUG)
from metaexpert.logger import MetaLogger
with MetaLogger(log_level="DEBUG", **{options}) as logger:
    for n in range(4):
        logger.critical("trouble " + "abcd"[n])
    logger.flush()
    print(logger.config, logger.config.sources(), logger, logger.stats())
"""
    script = [Answer(500, b"x"), Answer(404, {"ok": False, "description": "Not Found"}), Answer(200, b"lies")]
    with BotApi(script) as server:
        run = subprocess.run(
            [python, "-c", code.replace("{options}", repr(server.options(alert_heartbeat=True)))],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert server.requests
    everything = run.stdout + run.stderr + b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert TOKEN.encode() not in everything
    assert TOKEN.split(":")[1].encode() not in everything


def test_a_logger_without_alerts_imports_nothing_for_them(python: str) -> None:
    """Neither httpx nor SQLite is imported before somebody configures a channel."""
    code = (
        "import sys; from metaexpert.logger import MetaLogger; MetaLogger(log_to_console=False).critical('x');"
        "print([m for m in ('httpx', 'sqlite3', 'asyncio.events') if m in sys.modules])"
    )
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip().replace("'asyncio.events'", "").strip("[], ") == ""


def test_each_alert_arrives_whatever_the_server_does() -> None:
    """Through 429, bad markup, 5xx, resets and lies each alert arrives; repeats come after unknown outcomes, marked."""
    rejected = {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: unsupported tag"}
    pause = {"ok": False, "error_code": 429, "parameters": {"retry_after": 0.2}}
    script = [
        Answer(429, pause),
        Answer(400, rejected),
        Answer(500, b"oops"),
        Answer(deed="reset", accepts=True),
        Answer(200, b"lies", accepts=True),
    ]
    names = ["alpha", "beta", "gamma"]
    with BotApi(script) as server:
        with MetaLogger(**server.options()) as logger:
            for name in names:
                logger.critical(f"Trouble {name}")
            eventually(lambda: logger.stats()["alerts"]["telegram"]["delivered"] >= len(names))
            assert logger.stats()["alerts"]["telegram"]["undelivered"] == 0
        for name in names:
            told = [text for text in server.texts if f"Trouble {name}" in text]
            assert told, name
            assert all("possible repeat" in text for text in told[1:])


def test_a_storm_of_a_real_logger(tmp_path: Path) -> None:
    """10,000 errors of 60 kinds make no more messages than the limit allows, and each kind is told with its count."""
    kinds = [f"{chr(65 + n // 8)}{chr(65 + n % 8)} went wrong" for n in range(60)]
    with BotApi() as server:
        began = time.monotonic()
        logger = MetaLogger(**server.options(alert_level="ERROR"))
        for n in range(10_000):
            logger.error(kinds[n % 60])
        assert logger.close()
        took = time.monotonic() - began
        assert len(server.accepted) <= took + 1
        with MetaLogger(**server.options(alert_level="ERROR")) as logger:
            eventually(lambda: all(any(kind in text for text in server.texts) for kind in kinds))
    told = sum(int(count.replace(",", "")) for text in server.texts for count in re.findall(r"×([0-9,]+) in", text))
    assert told + len(server.texts) + 60 >= 10_000
