"""SIGKILL at any moment: every entry whose call had returned is in its files afterwards, once.

Some fifty kills at random, five hundred with METAEXPERT_NIGHTLY=1, as many as METAEXPERT_KILLS says; besides those at
chosen steps.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from log_files import Logs

from metaexpert.logger import MetaLogger
from metaexpert.logger.system.native import core

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
KILLS = int(os.environ.get("METAEXPERT_KILLS", 500 if NIGHTLY else 50))
KINDS = ("burst", "paced", "compressed", "small", "chatty", "threads", "rotating threads", "chatty threads")
#: Two processes die in each.
ROUNDS = math.ceil(KILLS / 2 / len(KINDS))
COMMON: dict[str, Any] = {"log_to_console": False, "backup_count": 9999, "overflow": "block"}
OPTIONS: dict[str, dict[str, Any]] = {
    "burst": {"max_file_size": 2_000_000},
    "paced": {"max_file_size": 50_000},
    "compressed": {"max_file_size": 1_000_000, "compress_backups": True},
    "small": {"max_file_size": 500_000, "journal_size": 65_536},
    "chatty": {"max_file_size": 2_000_000, "async_logging": False},
    "threads": {"max_file_size": 1_000_000, "compress_backups": True, "journal_size": 1_000_000},
    "rotating threads": {"max_file_size": 20_000, "compress_backups": True},
    "chatty threads": {"max_file_size": 200_000, "compress_backups": True, "async_logging": False},
}
#: Seconds between two calls. Without them hundreds of backups, moved up every millisecond, would be all that is done.
PACES = {"paced": 0.0002, "rotating threads": 0.002}

#: Logs for ever; after each call the number of calls is in a file that outlives it, as is what it logged. Each thread
#: has a logger and a count of its own.
VICTIM = """
    import json, mmap, os, signal, struct, sys, threading, time
    options, pace, patch, *names = json.loads(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]
    exec(patch)
    from metaexpert.logger import MetaLogger
    def log(name):
        logger = MetaLogger(expert_name=name, install=False, **options)
        with open(name + ".count", "r+b") as file:
            count = mmap.mmap(file.fileno(), 8)
        calls, trade = 0, logger.trade
        methods = [logger.error, trade.info, trade.debug, logger.info, logger.warning, logger.info, logger.info]
        while True:
            methods[calls % 7]("m", number=calls, filler="x" * (calls % 50))
            calls += 1
            count[:8] = struct.pack("<Q", calls)
            if pace:
                time.sleep(pace)
    for other in names[1:]:
        threading.Thread(target=log, args=(other,)).start()
    log(names[0])
"""
#: Dies at the *turn*th call of a function, before or after it. The core does without those functions.
DIE = """
import importlib
from metaexpert.logger.system.native import core
for name in ("Appender", "rotate"):
    if hasattr(core, name):
        delattr(core, name)
module, _, path = {target!r}.partition(":")
owner = importlib.import_module(module)
*parents, attribute = path.split(".")
for parent in parents:
    owner = getattr(owner, parent)
really, turns = getattr(owner, attribute), [{turn}]
def dying(*args, **options):
    turns[0] -= 1
    if not turns[0] and {when!r} == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = really(*args, **options)
    if not turns[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, attribute, dying)
"""
STEPS = [
    "metaexpert.logger.journal.segment:Segment.intend",
    "metaexpert.logger.journal.segment:Segment.commit",
    "metaexpert.logger.journal.segment:Segment.open",
    "metaexpert.logger.journal.segment:Segment.seal",
    "metaexpert.logger.journal.segment:Segment.clear",
    "metaexpert.logger.journal.journal:JournalLane.recycle",
    "metaexpert.logger.files._rotating_file:RotatingFile._append",
    "metaexpert.logger.files._rotating_file:RotatingFile._rotate",
    "metaexpert.logger.files._rotating_file:_do",
]
#: Dies in the core's way of a batch, at the *AT*th write of entries: before it, in the middle of it, behind it, and
#: when the lock is given back; or in the middle of a rotation: between two renames, and before and after the new file.
PRELOAD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
static int writes;
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }
static int is(const char *when) { return writes == atoi(getenv("AT")) && !strcmp(getenv("WHEN"), when); }
ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t (*really)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (length < 13 || memcmp(bytes, "{\"timestamp\"", 12))
        return really(fd, bytes, length);
    writes++;
    if (is("before")) die();
    ssize_t done = really(fd, bytes, is("half") ? length / 2 : length);
    if (is("half") || is("behind")) die();
    return done;
}
int rename(const char *source, const char *target) {
    int (*really)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    static int renames;
    int ours = strstr(source, ".log") && ++renames == 8;
    if (ours && !strcmp(getenv("WHEN"), "rename")) die();
    return really(source, target);
}
int open64(const char *path, int flags, ...) {
    int (*really)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    static int made;
    const char *end = strrchr(path, '.');
    int ours = (flags & O_EXCL) && end && !strcmp(end, ".log") && ++made == 3;
    if (ours && !strcmp(getenv("WHEN"), "bare")) die();
    va_list rest;
    va_start(rest, flags);
    int fd = really(path, flags, va_arg(rest, int));
    va_end(rest);
    if (ours && !strcmp(getenv("WHEN"), "made")) die();
    return fd;
}
int flock(int fd, int operation) {
    int (*really)(int, int) = dlsym(RTLD_NEXT, "flock");
    if (operation == LOCK_UN && writes >= atoi(getenv("AT")) && !strcmp(getenv("WHEN"), "unlock")) die();
    return really(fd, operation);
}
"""
RECOVERY_STEPS = [
    "metaexpert.logger.journal.segment:Segment.attach",
    "metaexpert.logger.journal.segment:Segment.intend",
    "metaexpert.logger.files._rotating_file:RotatingFile._append",
    "metaexpert.logger.journal.segment:Segment.commit",
    "metaexpert.logger.journal.segment:Segment.release",
    "pathlib:Path.unlink",
]


class Victims:
    """Starts processes that log, and knows what they had logged when they died."""

    def __init__(self, directory: Path, python: str) -> None:
        self._program = directory / "victim.py"
        self._program.write_text(textwrap.dedent(VICTIM), "utf-8")
        self._python = python
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.names: list[str] = []

    def start(
        self,
        name: str,
        options: dict[str, Any],
        pace: float = 0.0,
        patch: str = "",
        environment: dict[str, str] | None = None,
        threads: int = 1,
    ) -> None:
        """Start one of that *name*, which pauses for *pace* seconds after each entry of its *threads*."""
        names = [name, *(f"{name} {number}" for number in range(2, threads + 1))]
        for each in names:
            Path(f"{each}.count").write_bytes(bytes(8))
        command = [self._python, str(self._program), json.dumps({**COMMON, **options}), str(pace), patch, *names]
        self.running[name] = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        self.names += names

    def returned(self, name: str) -> int:
        """Return how many of its calls had returned."""
        return int(struct.unpack("<Q", Path(f"{name}.count").read_bytes())[0])

    def wait_for_calls(self, name: str, count: int) -> None:
        """Wait until that many calls have returned; on a busy machine they take long, but they go on."""
        before, deadline = -1, 0.0
        while (returned := self.returned(name)) < count:
            assert self.running[name].poll() is None, self.running[name].communicate()[0]
            if returned > before:
                before, deadline = returned, time.monotonic() + 40
            assert time.monotonic() < deadline, returned
            time.sleep(0.005)

    def kill(self, name: str) -> None:
        """Kill it now."""
        self.running[name].kill()
        self.wait(name)

    def wait(self, name: str) -> None:
        """Wait until it has died of SIGKILL, and of nothing else."""
        process = self.running[name]
        output = process.communicate(timeout=40)[0]  # if it does not come, `kill_all` ends the process
        del self.running[name]
        assert process.returncode == -signal.SIGKILL, output

    def kill_all(self) -> None:
        """Leave none behind."""
        for process in self.running.values():
            process.kill()
            process.communicate()


@pytest.fixture
def victims(tmp_path: Path, python: str) -> Iterator[Victims]:
    """Processes that log into `logs`."""
    made = Victims(tmp_path, python)
    yield made
    made.kill_all()


entries = Logs().entries


def recover() -> list[int]:
    """Open and close a logger, and return what it said it had recovered."""
    logger = MetaLogger(expert_name="next", log_dir="logs", install=False, **COMMON)
    recovered = logger.stats()["recovered"]
    assert logger.close()
    assert logger.health == "closed"
    return [recovered] if recovered else []


def check(victims: Victims, *, doubled: bool = False) -> None:
    """Assert that all files have every entry whose call had returned, once, and at most one more."""
    files = {"expert.log": (0, 3, 4, 5, 6, 1), "trades.log": (1, 2), "errors.log": (0,)}
    for base, kinds in files.items():
        found = Counter((entry["expert_name"], entry["number"]) for entry in entries(base) if "number" in entry)
        for name in victims.names:
            calls = victims.returned(name)
            wanted = {(name, number) for number in range(calls) if number % 7 in kinds}
            ours = {key for key in found if key[0] == name}
            assert wanted - ours == set(), f"{base}: lost of {calls}"
            assert ours - wanted <= {(name, calls)}, f"{base}: more than the call that was under way"
        if not doubled:
            assert [key for key, times in found.items() if times > 1] == [], f"{base}: doubled"
    left = {path.name for path in Path("logs/.metaexpert").iterdir()}
    assert left - {"archive", "index"} == {"lock"}


@pytest.mark.storm
@pytest.mark.timeout(120 + 30 * ROUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_any_moment(victims: Victims, kind: str) -> None:
    """Two processes in one directory, files rotating: none of their entries is lost or doubled."""
    dice = random.Random(kind)
    for round_number in range(ROUNDS):
        shutil.rmtree("logs", ignore_errors=True)
        victims.names.clear()
        for name in ("a", "b"):
            pace, threads = PACES.get(kind, 0.0), 4 if "threads" in kind else 1
            victims.start(name, OPTIONS[kind], pace, threads=threads)
        for name in ("a", "b"):
            victims.wait_for_calls(name, 1 + dice.randrange(3000))
        for name in ("a", "b"):
            victims.kill(name)
        recover()
        assert recover() == [], f"round {round_number}: recovered twice"
        check(victims)


def test_the_next_logger_says_what_it_recovered(victims: Victims) -> None:
    """As an entry, in its counts, and only once."""
    victims.start("a", {}, patch=DIE.format(target=STEPS[0], turn=2, when="before"))
    victims.wait("a")
    (recovered,) = recover()
    (news,) = [entry for entry in entries("expert.log") if entry["message"] == "log.recovered"]
    assert news["recovered"] == recovered > 0
    assert news["level"] == "warning"
    assert set(news["lines"]) <= {"expert.log", "trades.log", "errors.log"}
    assert recover() == []
    check(victims)


@pytest.mark.storm
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_at_each_step_of_the_way(victims: Victims, step: str, when: str) -> None:
    """Before and after each step that moves entries towards their files."""
    options = {"max_file_size": 20_000, "journal_size": 65_536}
    victims.start("a", options, patch=DIE.format(target=step, turn=3, when=when))
    victims.wait("a")
    recover()
    check(victims)


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled `PRELOAD`."""
    compiler = shutil.which("cc")
    if compiler is None or not hasattr(core, "Appender"):
        pytest.skip("needs a C compiler, and the compiled core")
    folder = tmp_path_factory.mktemp("preload")
    (folder / "die.c").write_text(PRELOAD, "utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "die.so", folder / "die.c", "-ldl"], check=True)
    return folder / "die.so"


@pytest.mark.storm
@pytest.mark.parametrize("asynchronous", [True, False], ids=["asynchronous", "synchronous"])
@pytest.mark.parametrize("when", ["before", "half", "behind", "unlock", "rename", "bare", "made"])
def test_at_each_step_of_the_core(victims: Victims, preload: Path, when: str, asynchronous: bool) -> None:
    """Where no function of Python can be replaced, one of the C library is."""
    options = {"max_file_size": 20_000, "journal_size": 65_536, "async_logging": asynchronous}
    for at in (1, 2, 9):
        victims.start(f"at {at}", options, environment={"LD_PRELOAD": str(preload), "AT": str(at), "WHEN": when})
        victims.wait(f"at {at}")
    recover()
    check(victims)


@pytest.mark.storm
@pytest.mark.parametrize("step", RECOVERY_STEPS)
def test_while_it_recovers(victims: Victims, step: str) -> None:
    """The process that brings entries in dies too; the one after it finishes the work, once."""
    options = {"max_file_size": 20_000, "journal_size": 65_536}
    victims.start("a", options, patch=DIE.format(target=STEPS[0], turn=3, when="before"))
    victims.wait("a")
    victims.start("b", options, patch=DIE.format(target=step, turn=1, when="after"))
    victims.wait("b")
    recover()
    check(victims)


def rotated() -> None:
    """Move the file as a rotation does."""
    Path("logs/expert.log").rename("logs/expert.log.1")


def compressed() -> None:
    """Move the file, and replace it by its compressed form."""
    Path("logs/expert.log.1.gz").write_bytes(gzip.compress(Path("logs/expert.log").read_bytes()))
    Path("logs/expert.log").unlink()


def removed() -> None:
    """Delete the file: what was in it is gone, what waits must not be."""
    Path("logs/expert.log").unlink()


def truncated() -> None:
    """Empty the file."""
    Path("logs/expert.log").write_bytes(b"")


@pytest.mark.parametrize("change", [rotated, compressed])
def test_files_that_were_moved_before_the_recovery(victims: Victims, change: Callable[[], None]) -> None:
    """A batch that was written, but not noted, is found wherever its file has gone."""
    victims.start("a", {}, patch=DIE.format(target=STEPS[1], turn=1, when="before"))
    victims.wait("a")
    assert Path("logs/expert.log").stat().st_size
    change()
    recover()
    check(victims)


@pytest.mark.parametrize("change", [removed, truncated])
def test_files_that_were_destroyed_before_the_recovery(victims: Victims, change: Callable[[], None]) -> None:
    """The batch that was under way is written again: everything is there."""
    victims.start("a", {}, patch=DIE.format(target=STEPS[1], turn=1, when="before"))
    victims.wait("a")
    change()
    recover()
    check(victims)


def test_a_living_writer_is_left_alone(victims: Victims) -> None:
    """Another logger that opens the directory meanwhile recovers nothing of it, and disturbs nothing."""
    victims.start("a", {}, pace=0.0005)
    victims.wait_for_calls("a", 50)
    assert recover() == []
    victims.wait_for_calls("a", victims.returned("a") + 50)
    victims.kill("a")
    recover()
    check(victims)
