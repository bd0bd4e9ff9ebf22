"""Programs that start, or go on, without descriptors, threads, or memory left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("resource")

#: Uses up all descriptors but the number of `spare`; `give_back` frees them again.
NO_DESCRIPTORS = """
import os, resource
from metaexpert.logger import MetaLogger
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, limit[1]))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
def give_back():
    while held:
        os.close(held.pop())
"""
NO_MEMORY = """
import resource
from pathlib import Path
from metaexpert.logger import MetaLogger
pages = int(Path("/proc/self/statm").read_text().split()[0])
left = 1_000_000  # not enough for a library, a thread, or a segment
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + left, resource.RLIM_INFINITY))
def give_back():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
#: Nothing can be mapped, neither a file nor memory; `give_back` allows it again.
NO_MAPS = """
import mmap
from metaexpert.logger import MetaLogger
real = mmap.mmap
def refuse(*_, **__):
    raise OSError(12, "Cannot allocate memory")
mmap.mmap = refuse
def give_back():
    mmap.mmap = real
"""
WEBHOOK = 'dict(webhook_url="http://127.0.0.1:9/hook", alert_level="ERROR")'
TELEGRAM = 'dict(telegram_token="123:" + "A" * 35, telegram_chat_id=1, telegram_api_url="http://127.0.0.1:9")'
SYSLOG = 'dict(syslog_address="tcp://127.0.0.1:9")'
OTLP = 'dict(otlp_endpoint="http://127.0.0.1:9")'


@pytest.mark.parametrize(
    ("lack", "channel", "missing"),
    [
        (NO_DESCRIPTORS, WEBHOOK, "no alerts: Too many open files"),
        (NO_DESCRIPTORS, OTLP, "no exports: Too many open files"),
        (NO_MEMORY, TELEGRAM, "no alerts: "),
        (NO_MEMORY, SYSLOG, "no exports: "),
    ],
)
def test_what_is_lacking_at_the_start(
    program: Any, logs: Callable[..., Any], lack: str, channel: str, missing: str
) -> None:
    """It starts, says what is missing, writes what was logged, and has its alerts or exports when that is possible."""
    program(
        f"""
{lack}
import time
options = {channel}
logger = MetaLogger(log_to_console=False, **options)
for number in range(3):
    logger.error("m", number=number)
assert {missing!r} in str(logger.health), logger.health
give_back()
logger.info("m", number=3)
deadline = time.monotonic() + 60
sent = "exports" if "export" in {missing!r} else "alerts"
while not logger.stats()[sent] and time.monotonic() < deadline:
    logger.flush()  # when the writing thread is lost, calls do its work
    time.sleep(0.05)
logger.info("m", number=4)
assert logger.flush(30)
assert {missing!r} not in str(logger.health), logger.health
waits = next(iter(logger.stats()[sent].values()))
assert waits["dropped"] == 0, waits
assert logger.close(30)
assert logger.stats()["dropped"] == 0
"""
    )
    assert logs().numbers() == list(range(5))
    assert logs().gaps() == []


def test_nothing_can_be_mapped(program: Any, logs: Callable[..., Any]) -> None:
    """Without any memory for a journal, calls write by themselves: no entry is lost, and health says so."""
    program(
        f"""
{NO_MAPS}
logger = MetaLogger(log_to_console=False)
for number in range(200):
    logger.info("m", number=number)
logger.error("m", number=200)
logger.trade.info("m", number=201)
assert logger.flush()
assert "degraded: no memory for the journal" in str(logger.health), logger.health
give_back()
logger.info("m", number=202)
import time
deadline = time.monotonic() + 60
while str(logger.health) != "ok" and time.monotonic() < deadline:
    logger.debug("below the level")
    logger.info("m", number=203)
    time.sleep(0.1)
assert str(logger.health) == "ok", logger.health
assert logger.close()
assert logger.stats()["dropped"] == 0, logger.stats()
"""
    )
    assert [n for n in logs().numbers() if n < 203] == list(range(203))
    assert logs().gaps() == []


def test_neither_maps_nor_files(program: Any) -> None:
    """With no place for entries at all they are counted as dropped, errors are shown, and `close` says so."""
    err = program(
        f"""
{NO_MAPS}
open("logs", "w").close()  # where the directory would be
logger = MetaLogger(log_to_console=False)
for number in range(100):
    logger.info("m", number=number)
logger.error("the only one")
logger.flush()
assert str(logger.health).startswith("degraded: "), logger.health
assert not logger.close(1)
assert logger.stats()["dropped"] >= 101, logger.stats()
"""
    )
    assert "the only one" in err


def test_a_forked_child_that_logs_nothing_makes_no_file(program: Any) -> None:
    """Its owner's file comes with its first entry."""
    program(
        """
        import os
        from pathlib import Path
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_console=False)
        logger.info("m")
        logger.flush()
        before = sorted(Path("logs/.metaexpert").iterdir())
        child = os.fork()
        if not child:
            found = sorted(Path("logs/.metaexpert").iterdir())
            logger.bind(a=1)
            logger.debug("below the level")
            os._exit(0 if found == before == sorted(Path("logs/.metaexpert").iterdir()) else 1)
        assert os.waitpid(child, 0)[1] == 0
        child = os.fork()
        if not child:
            logger.info("of the child")
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        logger.close()
        MetaLogger(log_to_console=False).close()
        assert Path("logs/expert.log").read_text().count("of the child") == 1
        """
    )
