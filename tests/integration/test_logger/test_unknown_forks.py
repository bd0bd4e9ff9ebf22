"""Forks that Python is not told of: by the C library, or by the system call itself."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its C library and system calls on Linux")

PROGRAM = """
import ctypes, os, sys
from metaexpert.logger import MetaLogger

libc = ctypes.PyDLL(None)
# Had a thread of the parent just asked for the interpreter, Python itself would wait for it in the child, for ever.
sys.setswitchinterval(1000)
fork = libc.fork if sys.argv[1] == "fork" else lambda: libc.syscall(57)
logger = MetaLogger(log_to_console=False, async_logging=sys.argv[2] == "async")


def end(pid):
    if pid == 0:
        logger.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def log(who):
    for number in range(50):
        logger.info(who, number=number)
        logger.error(who, number=number)


def child():
    if sys.argv[3] == "closes":
        logger.close()
    elif sys.argv[3] == "forks":
        log("child")
        for again in (fork, os.fork):
            pid = again()
            log("grandchild") if pid == 0 else None
            end(pid)
    else:
        log("child")


log("parent")
pid = fork()
if pid == 0:
    child()
    if sys.argv[3] != "leaves":
        logger.flush()
    os._exit(0)
log("parent")
assert os.waitpid(pid, 0)[1] == 0
logger.close()
MetaLogger(log_to_console=False).close()
"""


@pytest.mark.parametrize(
    ("kind", "mode", "case"),
    [
        ("fork", "async", "logs"),
        ("call", "async", "forks"),
        ("fork", "sync", "forks"),
        ("fork", "async", "closes"),
        ("fork", "async", "leaves"),
    ],
)
def test_such_a_child_has_a_journal_of_its_own(kind: str, mode: str, case: str, tmp_path: Path) -> None:
    """Each process's entries are there once, in order and whole; the parent's journal is the parent's."""
    if kind == "call" and platform.machine() != "x86_64":
        kind = "fork"
    done = subprocess.run([sys.executable, "-c", PROGRAM, kind, mode, case], cwd=tmp_path, timeout=100, check=False)
    assert done.returncode == 0
    found = by_process(tmp_path / "logs/expert.log")
    expected = {"logs": [100, 200], "closes": [200], "leaves": [100, 200], "forks": [100, 100, 100, 200]}
    assert sorted(len([each for each in entries if each["message"] in NAMES]) for entries in found) == expected[case]
    for entries in found:
        assert [entry["sequence_id"] for entry in entries] == list(range(1, len(entries) + 1))
        assert len({entry["message"] for entry in entries if entry["message"] in NAMES}) == 1


NAMES = {"parent", "child", "grandchild"}


def by_process(path: Path) -> list[list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        found[entry["procid"]].append(entry)
    assert str(os.getpid()) not in found
    return [[e for e in entries if not e["message"].startswith("log.")] for entries in found.values()]


PATCHED = """
import threading
from unittest import mock
from metaexpert.logger import MetaLogger

logger = MetaLogger(log_to_console=False, max_file_size="9GB")
stop = threading.Event()
feeds = [threading.Thread(target=lambda: [logger.info("Tick") for _ in iter(stop.is_set, True)]) for _ in range(2)]
for feed in feeds:
    feed.start()
for number in range(10):
    with mock.patch("os.getpid", return_value=4711):
        logger.info("Order sent", number=number)
        assert logger.flush(10)
stop.set()
for feed in feeds:
    feed.join()
logger.close()
"""


def test_a_replaced_getpid_makes_no_child(tmp_path: Path) -> None:
    """A test of a supervisor patches it; a call that took itself for a forked child gave up the maps of its threads."""
    command = [sys.executable, "-X", "faulthandler", "-c", PATCHED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    lines = map(json.loads, (tmp_path / "logs/expert.log").read_text("utf-8").splitlines())
    assert [entry["number"] for entry in lines if entry["message"] == "Order sent"] == list(range(10))
