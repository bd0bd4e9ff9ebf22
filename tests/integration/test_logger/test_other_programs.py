"""Real servers and libraries with the lines that `docs/guides/use-with.md` gives for them; skipped where missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guide import blocks, needs, run
from waiting import eventually

from metaexpert.logger.system.native import core

pytestmark = pytest.mark.program

Read = Callable[..., list[dict[str, Any]]]
SERVER = """
import threading, time, urllib.error, urllib.request
import uvicorn
from fastapi import FastAPI
{before}
app = FastAPI()

@app.get("/boom")
def boom():
    raise ValueError("kaputt")

server = uvicorn.Server(uvicorn.Config(app, port=0{config}))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
try:
    urllib.request.urlopen(f"http://127.0.0.1:{{port}}/boom")
except urllib.error.HTTPError as error:
    assert error.code == 500
server.should_exit = True
thread.join()
"""
META_LOGGER = "from metaexpert.logger import MetaLogger\nMetaLogger(expert_name='api', log_to_console={console})"


@needs("uvicorn", "fastapi")
class TestUvicorn:
    def check(self, read_log: Read) -> None:
        """Check that the request, its traceback and the start are in the files, each once."""
        entries = read_log("logs/expert.log")
        assert [e["exception"]["value"] for e in read_log("logs/errors.log")] == ["kaputt"]
        assert sum("GET /boom" in e["message"] for e in entries) == 1
        assert sum("Started server process" in e["message"] for e in entries) == 1
        assert not any("color_message" in e for e in entries)
        assert "\x1b" not in json.dumps(entries)

    def test_with_a_meta_logger(self, tmp_path: Path, read_log: Read) -> None:
        """A 500's traceback is in errors.log, whether or not uvicorn has configured logging."""
        run(SERVER.format(before=META_LOGGER.format(console=False), config=""), tmp_path)
        self.check(read_log)

    def test_lines_are_not_doubled(self, tmp_path: Path) -> None:
        """With a console of ours and uvicorn's own, each line is printed once."""
        done = run(SERVER.format(before=META_LOGGER.format(console=True), config=""), tmp_path)
        assert done.stderr.count("Started server process") == 1
        assert done.stderr.count("ValueError: kaputt") == 1

    def test_with_a_configuration_file(self, tmp_path: Path, read_log: Read) -> None:
        """The guide's logging.ini for --log-config does the same without a MetaLogger."""
        (tmp_path / "logging.ini").write_text(blocks("uvicorn and FastAPI")[0])
        run(SERVER.format(before="", config=", log_config='logging.ini'"), tmp_path)
        self.check(read_log)


WSGI = """
import logging, os
{before}
def app(environ, start_response):
    logging.getLogger("app").warning("request in %d", os.getpid())
    raise ValueError("kaputt")
"""


@needs("gunicorn")
@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(tmp_path: Path, read_log: Read, preload: bool) -> None:
    """Workers write the traceback of a failed request, and what the application logs, under their own process id."""
    (tmp_path / "gunicorn.conf.py").write_text("" if preload else blocks("gunicorn")[0])
    before = META_LOGGER.format(console=False) if preload else ""
    (tmp_path / "app.py").write_text(WSGI.format(before=before))
    options = ["--preload"] if preload else []
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", "unix:sock", "app:app", "--chdir", ".", *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: answer(tmp_path / "sock").startswith(b"HTTP/1.1 500"), 60)
        finally:
            process.terminate()
            process.communicate(timeout=60)
    errors = read_log("logs/errors.log")
    assert "kaputt" in {e.get("exception", {}).get("value") for e in errors}
    assert {e["logger"] for e in errors} == {"gunicorn.error"}
    requests = [e for e in read_log("logs/expert.log") if e.get("logger") == "app"]
    assert requests
    assert all(e["message"] == f"request in {e['procid']}" for e in requests)
    assert str(process.pid) not in {e["procid"] for e in requests}


def answer(path: Path) -> bytes:
    """Return what a server at the socket *path* answers; nothing while there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(1000)
    except OSError:
        time.sleep(0.1)
        return b""


WORKER = """
import logging
{guide}
app.conf.update(broker_url="memory://", result_backend="cache+memory://")

@app.task
def trade(number):
    logging.getLogger("strategy").warning("task %d", number)
    if number == 2:
        raise ValueError("kaputt")
    return number

from celery.contrib.testing.worker import start_worker
with start_worker(app, perform_ping_check=False, loglevel="INFO"):
    assert trade.delay(1).get(timeout=60) == 1
    try:
        trade.delay(2).get(timeout=60)
    except ValueError:
        pass
logger.close()
"""


@needs("celery")
def test_celery(tmp_path: Path, read_log: Read) -> None:
    """A worker takes over the root logger; records of tasks, and their failures, arrive all the same, each once."""
    run(WORKER.format(guide=blocks("Celery")[0]), tmp_path)
    messages = [e["message"] for e in read_log("logs/expert.log")]
    assert [m for m in messages if m.startswith("task ")] == ["task 1", "task 2"]
    assert "kaputt" in {e.get("exception", {}).get("value") for e in read_log("logs/errors.log")}


@needs("loguru")
def test_loguru(tmp_path: Path, read_log: Read) -> None:
    """loguru's messages arrive, with bound values as fields and exceptions as such."""
    code = blocks("loguru")[0] + "\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    loguru.exception('failed')\n"
    run(code, tmp_path)
    first, second = read_log("logs/expert.log")
    assert (first["message"], first["symbol"]) == ("Ready", "BTCUSDT")
    assert second["exception"]["type"] == "ZeroDivisionError"


def test_freqtrades_dictionary(tmp_path: Path, read_log: Read) -> None:
    """The guide's log_config for freqtrade is a dictionary that logging takes."""
    text = "{" + blocks("freqtrade")[0].replace("freqtrade.loggers.ft_rich_handler.FtRich", "logging.Stream") + "}"
    code = (
        "import json, logging, logging.config\n"
        f"logging.config.dictConfig(json.loads({text!r})['log_config'])\n"
        "logging.getLogger('freqtrade.worker').info('Starting worker')\n"
    )
    run(code, tmp_path)
    assert [e["message"] for e in read_log("user_data/logs/expert.log")] == ["Starting worker"]


@needs("joblib")
def test_joblib(tmp_path: Path, read_log: Read) -> None:
    """Workers of loky write into the directory of their parent."""
    (tmp_path / "pool.py").write_text(blocks("Pools of processes")[2])
    subprocess.run([sys.executable, "pool.py"], cwd=tmp_path, check=True, timeout=100)
    entries = [e for e in read_log("logs/expert.log") if e["message"] == "Finished"]
    assert sorted(e["period"] for e in entries) == [9, 21]


@needs("uvloop")
def test_uvloop(tmp_path: Path, read_log: Read) -> None:
    """Asynchronous calls, the context of a task, and its uncaught exception are as with asyncio."""
    extra = """
async def fails():
    raise ValueError("kaputt")

async def loses_a_task():
    import asyncio, gc
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()

uvloop.run(loses_a_task())
"""
    run(blocks("uvloop")[0] + extra, tmp_path)
    first, *others = read_log("logs/expert.log")
    assert (first["message"], first["symbol"]) == ("Ready", "BTCUSDT")
    assert "kaputt" in {e.get("exception", {}).get("value") for e in others}


GEVENT = """
import logging
{}
import gevent

def strategy(symbol):
    with log_context(symbol=symbol):
        for number in range(3):
            logger.info("tick", number=number, of=symbol)
            gevent.sleep(0.01)
        logging.getLogger("exchange").warning("done %s", symbol)

gevent.joinall([gevent.spawn(strategy, symbol) for symbol in ("BTC", "ETH")], raise_error=True)
assert logger.flush(30)
logger.close(30)
"""
PATCH = "from gevent import monkey; monkey.patch_all()"
LOGGER = "from metaexpert.logger import MetaLogger, log_context"
MAKE = "logger = MetaLogger(expert_name='e', log_to_console=False)"


@needs("gevent")
@pytest.mark.parametrize(
    "order", [(PATCH, LOGGER, MAKE), (LOGGER, PATCH, MAKE), (LOGGER, MAKE, "logger.info('before')", PATCH)]
)
def test_gevent(tmp_path: Path, read_log: Read, order: tuple[str, ...]) -> None:
    """Patched before our import, as gevent asks for, or later: each greenlet has its own context, all is written."""
    run(GEVENT.format("\n".join(order)), tmp_path)
    entries = read_log("logs/expert.log")
    ticks = [e for e in entries if e["message"] == "tick"]
    assert sorted((e["of"], e["number"]) for e in ticks) == [(s, n) for s in ("BTC", "ETH") for n in range(3)]
    assert all(e["symbol"] == e["of"] for e in ticks)
    assert sorted(e["message"] for e in entries if e.get("logger")) == ["done BTC", "done ETH"]


@needs("pytest", "xdist")
def test_the_plugin_of_pytest_with_xdist(tmp_path: Path) -> None:
    """The guide's test passes in several workers at once."""
    text = blocks("pytest")[0] + "\ndef test_again(metaexpert):\n    test_high_slippage_is_a_warning(metaexpert)\n"
    (tmp_path / "test_strategy.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-c", "/dev/null", "--rootdir", ".", "test_strategy.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "2 passed" in done.stdout, done.stdout


@needs("PyInstaller")
@pytest.mark.skipif(not os.environ.get("METAEXPERT_NIGHTLY"), reason="takes minutes; METAEXPERT_NIGHTLY=1 runs it")
@pytest.mark.timeout(400)
def test_pyinstaller(tmp_path: Path, read_log: Read) -> None:
    """One file holds the compiled core where there is one, and the modules that are imported by a name in a string."""
    (tmp_path / "bot.py").write_text(
        "from metaexpert.logger import MetaLogger, log_context, register_secret\n"
        "from metaexpert.logger.system.native import core\n"
        "logger = MetaLogger(expert_name='Bot', log_to_console=False)\n"
        "register_secret('s3cr3t-value')\n"
        "with log_context(symbol='BTCUSDT'):\n"
        "    logger.info('Started', compiled=core is not None, note='s3cr3t-value')\n"
        "logger.bind(attempt=1).warning('%s', 'Slow')\n"
    )
    command = [sys.executable, "-m", "PyInstaller", "-F", "--log-level", "ERROR", "bot.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    subprocess.run([tmp_path / "dist/bot"], cwd=tmp_path, check=True, timeout=100)
    started, slow = read_log("logs/expert.log")
    assert (started["compiled"], started["note"], started["symbol"]) == (core is not None, "***", "BTCUSDT")
    assert (slow["message"], slow["attempt"]) == ("Slow", 1)
