"""What a bug report needs: how this machine looks to the logger. Writes nothing that stays, sends no alert."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from metaexpert.cli import output
from metaexpert.cli.settings import existing_above, settings, unwritable
from metaexpert.logger import LoggerConfig
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.system.calls import NETWORK_FILE_SYSTEMS, file_system_of, try_lock, unlock
from metaexpert.logger.system.native import core, why_pure
from metaexpert.logs.bundle import versions

_GIGABYTE: Final = 10**9


class Finding(NamedTuple):
    """One line of the report; *problem* says that something does not work as it should."""

    name: str
    text: str
    problem: bool = False


def findings() -> Iterator[Finding]:
    """Yield what is found, one after the other: an endpoint that does not answer takes seconds."""
    found = dict(versions())
    yield Finding("metaexpert", found.pop("metaexpert"))
    yield Finding("python", _python(found.pop("python")))
    yield Finding("system", found.pop("system"))
    yield Finding("libraries", ", ".join(f"{name} {version}" for name, version in found.items()))
    compiled = Path(core.__file__).name if core is not None else ""
    yield Finding("core", f"compiled: {compiled}" if compiled else f"pure Python: {why_pure()}")
    yield Finding("terminal", _terminal())
    try:
        config = settings()
    except output.InputError as error:
        for problem in error.problems:
            yield Finding("configuration", problem, problem=True)
        return
    yield Finding("configuration", "valid")
    if config.log_to_file:
        yield from _of_directory(config)
    yield from _of_endpoints(config)


def report(*, as_json: bool) -> bool:
    """Print the findings. Returns whether none of them is a problem."""
    shown = []
    for finding in findings():
        shown.append(finding)
        if not as_json:
            mark = "!" if finding.problem else " "
            output.write(f"{mark} {finding.name:13} {finding.text}\n")
    if as_json:
        texts = {f.name: "; ".join(g.text for g in shown if g.name == f.name) for f in shown}
        problems = [f"{f.name}: {f.text}" for f in shown if f.problem]
        output.write_json({"ok": not problems, **texts, "problems": problems}, ensure_ascii=True)
    return not any(finding.problem for finding in shown)


def _python(version: str) -> str:
    build = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with a global lock"
    return f"{version}, {sys.implementation.name}, {build}, {sys.maxsize.bit_length() + 1} bit"


def _terminal() -> str:
    def described(name: str) -> str:
        stream = getattr(sys, name)
        kind = "a terminal" if output.is_terminal(stream) else "no terminal"
        return f"{name} is {kind}, {getattr(stream, 'encoding', None)}"

    term = os.environ.get("TERM")
    width = f", {output.width()} columns" if output.width() else ""
    return f"{described('stdout')}; {described('stderr')}; TERM={term}{width}"


def _of_directory(config: LoggerConfig) -> Iterator[Finding]:
    problem, directory = unwritable(config), config.log_dir
    where = mask_text(f"{str(directory)!r} ({config.sources()['log_dir'].source})")
    yield Finding("log_dir", f"{where}, it can be written" if not problem else mask_text(problem), bool(problem))
    try:
        place = existing_above(directory)
        kind, free = file_system_of(place), shutil.disk_usage(place).free
    except OSError:  # the problem of the directory says why
        return
    network = kind in NETWORK_FILE_SYSTEMS
    over = ", over a network" if network else ""
    yield Finding("file_system", f"{kind or 'of unknown type'}{over}, {free / _GIGABYTE:.1f} GB free", free == 0)
    lock = _trouble(place, _lock)
    yield Finding("locks", f"do not work: {lock}; files are not rotated" if lock else "work", bool(lock))
    journal = "it is on a network file system" if network else _trouble(place, _map)
    in_memory = f"in memory only: {journal}; entries that wait are lost with the process"
    yield Finding("journal", in_memory if journal else "durable: entries that wait survive the process", bool(journal))


def _trouble(place: Path, use: Callable[[IO[bytes]], object]) -> str:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            use(file)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _lock(file: IO[bytes]) -> None:
    try_lock(file.fileno())
    unlock(file.fileno())


def _map(file: IO[bytes]) -> None:
    file.truncate(mmap.PAGESIZE)
    with mmap.mmap(file.fileno(), mmap.PAGESIZE):
        pass


def _of_endpoints(config: LoggerConfig) -> Iterator[Finding]:
    from metaexpert.logger.remote.reachable import endpoints  # noqa: PLC0415 - httpx and SQLite: only where it gets here

    found = False
    for name, trouble in endpoints(config):
        found = True
        yield Finding(name, f"cannot be reached: {trouble}" if trouble else "can be reached", bool(trouble))
    if not found:
        yield Finding("endpoints", "none is configured for alerts or export")
