"""Real servers and libraries with the lines that `docs/guides/use-with.md` gives for them; skipped where missing."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

pytestmark = pytest.mark.program

Read = Callable[..., list[dict[str, Any]]]
GUIDE = Path(__file__).parents[3] / "docs/guides/use-with.md"


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test unless the libraries *names* are installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (group `programs`)")


def blocks(heading: str) -> list[str]:
    """Return the blocks of the guide's section *heading*."""
    section = GUIDE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)


def run(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in *directory*."""
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


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


@needs("gunicorn")
def test_gunicorn(tmp_path: Path, read_log: Read) -> None:
    """A worker of gunicorn writes the traceback of a failed request."""
    (tmp_path / "gunicorn.conf.py").write_text(blocks("gunicorn")[0])
    (tmp_path / "app.py").write_text("def app(environ, start_response):\n    raise ValueError('kaputt')\n")
    command = [sys.executable, "-m", "gunicorn", "-w", "1", "-b", "unix:sock", "app:app", "--chdir", "."]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: answer(tmp_path / "sock").startswith(b"HTTP/1.1 500"), 60)
        finally:
            process.terminate()
            process.communicate(timeout=60)
    errors = read_log("logs/errors.log")
    assert "kaputt" in {e.get("exception", {}).get("value") for e in errors}
    assert {e["logger"] for e in errors} == {"gunicorn.error"}


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
    text = "{" + blocks("freqtrade")[0] + "}"
    code = (
        "import json, logging, logging.config\n"
        f"logging.config.dictConfig(json.loads({text!r})['log_config'])\n"
        "logging.getLogger('freqtrade.worker').info('Starting worker')\n"
    )
    run(code, tmp_path)
    assert [e["message"] for e in read_log("user_data/logs/expert.log")] == ["Starting worker"]
