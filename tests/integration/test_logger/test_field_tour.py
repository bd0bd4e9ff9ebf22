"""What other people's programs do around a logger: each in a process of its own, with what has to be in the files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guide import run

pytestmark = [
    pytest.mark.program,
    pytest.mark.skipif(sys.platform == "win32", reason="processes, limits and masks of POSIX"),
]

Read = Callable[..., list[dict[str, Any]]]
LOGGER = """
import logging, logging.config, os, resource, signal, socket, sys, threading
from metaexpert.logger import MetaLogger, get_logger
logger = MetaLogger(expert_name="E", log_to_console=False)
"""
#: Programs by what they do; with the messages that have to be in expert.log, each so many times.
TOUR: dict[str, tuple[str, dict[str, int]]] = {
    "a QueueHandler that respects the levels of its handlers": (
        LOGGER
        + """
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True,
    "handlers": {"console": {"class": "logging.StreamHandler", "level": "ERROR"},
        "queue": {"class": "logging.handlers.QueueHandler", "handlers": ["console"], "respect_handler_level": True}},
    "root": {"handlers": ["queue"], "level": "INFO"}})
for _ in range(5):
    logging.getLogger("exchange").info("tick")
logging.getLogger("gateway").error("rejected")
logger.close()
""",
        {"tick": 5, "rejected": 1},
    ),
    "a class of loggers that changes records": (
        LOGGER
        + """
class Loud(logging.Logger):
    def handle(self, record):
        record.msg = f"[loud] {record.msg}"
        super().handle(record)
logging.setLoggerClass(Loud)
logging.getLogger("brand.new").warning("hi %s", "there")
logger.close()
""",
        {"[loud] hi there": 1},
    ),
    "rich takes the handlers over": (
        LOGGER
        + """
from rich.logging import RichHandler
logging.basicConfig(force=True, handlers=[RichHandler(rich_tracebacks=True)], level="INFO")
logging.getLogger("a").info("by rich")
logger.close()
""",
        {"by rich": 1},
    ),
    "two event loops one after the other": (
        LOGGER
        + """
import asyncio
async def bot():
    await logger.ainfo("started")
    await logger.trade.ainfo("filled")
asyncio.run(bot())
asyncio.run(bot())
logger.close()
""",
        {"started": 2, "filled": 2},
    ),
    "a wake-up descriptor, and a handler that logs": (
        LOGGER
        + """
ours, theirs = socket.socketpair()
ours.setblocking(False)
signal.signal(signal.SIGUSR1, lambda *_: logger.info("signal"))
signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
for _ in range(200):
    os.kill(os.getpid(), signal.SIGUSR1)
    logger.info("tick")
signal.set_wakeup_fd(-1)
logger.close()
""",
        {"signal": 200, "tick": 200},
    ),
    "a daemon: two forks, no descriptors, a mask that allows nothing": (
        LOGGER
        + """
logger.info("parent")
reading, writing = os.pipe()
if os.fork():
    os.close(writing)
    os.wait()
    os.read(reading, 1)  # its end: the daemon has gone
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.umask(0o777)
os.dup2(writing, 2)
os.closerange(3, 256)
for _ in range(100):
    logger.info("daemon")
logger.trade.info("trade")
logger.close()
""",
        {"parent": 1, "daemon": 100, "trade": 1},
    ),
    "a limit of no descriptors for a while": (
        LOGGER
        + """
logger.info("before")
logger.flush()
most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
for _ in range(100):
    logger.info("during")
logger.trade.info("trade")
resource.setrlimit(resource.RLIMIT_NOFILE, most)
assert logger.close(30)
""",
        {"before": 1, "during": 100, "trade": 1},
    ),
    "all descriptors closed, and their numbers taken": (
        LOGGER
        + """
logger.info("before")
logger.flush()
os.closerange(3, 4096)
files = [open(f"mine-{n}", "wb+", buffering=0) for n in range(8)]
for _ in range(200):
    logger.info("after")
assert logger.close(30)
assert all(os.fstat(file.fileno()).st_size == 0 for file in files)
""",
        {"before": 1, "after": 200},
    ),
    "threads that cannot start": (
        "import threading\nthreading.stack_size(64 << 30)\nimport resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        + LOGGER
        + """
logger.info("tick")
logger.trade.info("trade")
assert logger.health.startswith("degraded: no writing thread"), logger.health
assert logger.close(30)
""",
        {"tick": 1, "trade": 1},
    ),
    "a process that posix_spawn starts": (
        LOGGER
        + """
child = "from metaexpert.logger import MetaLogger; MetaLogger(expert_name='C', log_to_console=False).info('child')"
os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", child], os.environ), 0)
logger.info("parent")
logger.close()
""",
        {"child": 1, "parent": 1},
    ),
}


@pytest.mark.parametrize("name", TOUR)
def test_the_files_hold_what_was_logged(name: str, tmp_path: Path, read_log: Read) -> None:
    """Each entry once, whatever the program did to logging, to its descriptors or to itself."""
    code, wanted = TOUR[name]
    run(code, tmp_path)
    messages = Counter(entry["message"] for entry in read_log("logs/expert.log"))
    assert {message: messages[message] for message in wanted} == wanted


POOLS = """
import concurrent.futures, logging, multiprocessing
from metaexpert.logger import MetaLogger, get_logger

def begin():
    global log
    log = get_logger("worker").bind(begun=True)

def work(number):
    log.info("task", number=number)
    logging.getLogger("library").warning("record")

if __name__ == "__main__":
    logger = MetaLogger(expert_name="E", log_to_console=False)
    context = multiprocessing.get_context({method!r})
    if {executor}:
        with concurrent.futures.ProcessPoolExecutor(2, context, initializer=begin) as pool:
            list(pool.map(work, range(4)))
    else:
        with context.Pool(2, begin, maxtasksperchild=1) as pool:
            pool.map(work, range(4), chunksize=1)
            pool.close()
            pool.join()
    logger.close()
"""


@pytest.mark.parametrize("executor", [True, False], ids=["executor", "one task for a worker"])
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_pools_with_an_initializer(method: str, executor: bool, tmp_path: Path, read_log: Read) -> None:
    """A logger that the initializer of a worker binds writes by itself, and so do workers of a single task."""
    (tmp_path / "pool.py").write_text(POOLS.format(method=method, executor=executor))
    run("import runpy\nrunpy.run_path('pool.py', run_name='__main__')" if method == "fork" else
        "import os, sys\nos.execv(sys.executable, [sys.executable, 'pool.py'])", tmp_path)  # fmt: skip
    entries = read_log("logs/expert.log")
    tasks = [entry for entry in entries if entry["message"] == "task"]
    assert sorted(entry["number"] for entry in tasks) == [0, 1, 2, 3]
    assert all(entry["begun"] is True for entry in tasks)
    assert sum(entry["message"] == "record" for entry in entries) == 4


HOPELESS = {
    "a log directory that is a loop of links": "import os\nos.symlink('logs', 'logs')\n",
    "a working directory that takes no files, and no home": ("import os\nos.environ.clear()\nos.chdir('/proc')\n"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_where_no_file_can_be_made(name: str, tmp_path: Path) -> None:
    """It starts, says what is wrong, prints errors, and a close ends."""
    code = "from metaexpert.logger import MetaLogger\nlogger = MetaLogger(log_dir='logs')\nlogger.error('bad')\n"
    done = run(HOPELESS[name] + code + "print(logger.health, logger.close(1))", tmp_path)
    assert done.stdout.startswith("degraded: ")
    assert done.stdout.endswith("False\n")
    assert "[error] bad" in done.stderr


@pytest.mark.root
@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="needs root rights")
def test_a_program_that_changes_its_root(tmp_path: Path, read_log: Read) -> None:
    """The files go on under the same name inside of the new root."""
    code = (
        LOGGER
        + """
logger.info("before")
logger.flush()
os.mkdir("jail")
os.chroot("jail")
os.chdir("/")
for _ in range(50):
    logger.info("inside")
logger.error("bad")
assert logger.close(30)
"""
    )
    run(code, tmp_path)
    assert [entry["message"] for entry in read_log("logs/expert.log")] == ["before"]
    inside = read_log(f"jail{tmp_path}/logs/expert.log")
    assert [entry["message"] for entry in inside if entry["level"] != "warning"] == ["inside"] * 50 + ["bad"]
