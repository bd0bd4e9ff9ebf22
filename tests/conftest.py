"""What every test starts with: an empty working directory, no settings from outside, no logger left over."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema_rs
import pytest

from metaexpert.logger import BoundLogger, MetaLogger, schema
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.remote.spool import Spool
from metaexpert.logger.testing import reset

# What a terminal or a user's shell may have set.
for _name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
    os.environ.pop(_name, None)
os.umask(0o022)
# Hundreds of tests start processes, which take twice the time when each compiles all modules anew. In a place of its
# own the byte code leaves nothing beside the programs of tests.
sys.dont_write_bytecode, sys.pycache_prefix = False, str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# An example may take as long as it likes: the machine may be busy.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")
# A shell starts what it runs in the background with Ctrl-C ignored, and every child inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Have each worker begin elsewhere: pytest compiles tests anew, and what one has compiled the others load."""
    worker, args = getattr(session.config, "workerinput", None), session.config.args
    if worker is not None:
        folders = [sorted({str(path.parent) for path in Path(arg).rglob("test_*.py")}) or [arg] for arg in args]
        places = [place for found in folders for place in found]
        first = len(places) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        args[:] = [*places[first:], *places[:first]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all workers one order."""
    items.sort(key=lambda item: item.path)


def pytest_collection_finish() -> None:
    """Leave what the collection has made, all of which stays, out of each later search for garbage."""
    # At its first search Hypothesis asks who holds its generator of numbers, and warns when only frozen objects do.
    hypothesis.find(hypothesis.strategies.none(), lambda _: True, random=random.Random(0))
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run each test in a directory of its own and close every logger after it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(("METAEXPERT_", "LOG_")) or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".state"))
    # At its end a test's own run of pytest removes what earlier runs left there, which can take it a minute.
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
    spools: list[Spool] = []  # held, so that none is collected open before it is closed here
    really = Spool.open

    def open_spool(self: Spool) -> None:
        spools.append(self)
        really(self)

    monkeypatch.setattr(Spool, "open", open_spool)
    yield
    reset()
    # A request that hung over the end of its logger returns when its server is gone, and only then lets go of the
    # spool. To close a SQLite connection that another thread uses crashes the process.
    for thread in threading.enumerate():
        if thread.name.startswith("metaexpert-"):
            thread.join(30)
            assert not thread.is_alive(), f"{thread.name} outlived its test"
    for spool in spools:
        spool.close()
    registered.forget()


@pytest.fixture
def make() -> Iterator[Callable[..., BoundLogger]]:
    """A function that makes a quiet logger in `logs`."""
    made: list[BoundLogger] = []

    def logger(**options: Any) -> BoundLogger:
        made.append(MetaLogger(install=False, **{"log_to_console": False, **options}))
        return made[-1]

    yield logger
    for logger_ in made:
        logger_.close(0)


_validators = {
    layout: jsonschema_rs.Draft202012Validator(schema.json_schema(layout)) for layout in ("flat", "rfc5424", None)
}


@pytest.fixture(scope="session")
def read_log() -> Callable[..., list[dict[str, Any]]]:
    """Return a function that reads a log file, validates each line and returns the entries.

    An independent reader on purpose: the standard library's JSON, no code of ours.
    """

    def read(path: Path | str, layout: str | None = None) -> list[dict[str, Any]]:
        data = Path(path).read_bytes()
        assert data == b"" or data.endswith(b"\n"), "the last line is torn"
        entries = [json.loads(line) for line in data.split(b"\n")[:-1]]
        for entry in entries:
            _validators[layout].validate(entry)
        return entries

    return read


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Put `logging` back as a test has found it, pytest's own handlers included."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    known = set(root.manager.loggerDict)
    yield
    logging.disable(logging.NOTSET)
    logging.setLoggerClass(logging.Logger)
    root.handlers[:], root.filters[:] = handlers, []
    root.setLevel(level)
    for name, logger in root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
            if name not in known:
                logger.handlers[:], logger.propagate = [], True
                logger.setLevel(logging.NOTSET)


@pytest.fixture
def python() -> str:
    """Return the interpreter for child processes."""
    return sys.executable


@pytest.fixture
def messages(read_log: Callable[..., list[dict[str, Any]]]) -> Callable[[Any], list[str]]:
    """Return a function that flushes a logger and reads the messages of its expert.log."""

    def read(logger: Any) -> list[str]:
        logger.flush(5)
        return [entry["message"] for entry in read_log("logs/expert.log")]

    return read
