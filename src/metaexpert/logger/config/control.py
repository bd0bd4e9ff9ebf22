"""Requests to running processes, as files: how `metaexpert control` puts them, and how the writing thread takes them.

Each request is one JSON file in ``.metaexpert/control``, which all processes of the log directory read, each answering
with a file beside it. Only this user or root may have written it, nobody else may be able to, and it holds names and
numbers alone: nothing in it is run or opened. One that is wrong is reported once and ignored.

Bound: a request has at most 4 KiB, and a look reads the first hundred names. A look costs one `stat` while nothing is
asked.

Threads: `Inbox` is for the writing thread, or what stands in for it. `new_id`, `check` and `asked` are for the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger.schema import LEVEL_NUMBERS
from metaexpert.logger.system.calls import getpid, monotonic, names_in
from metaexpert.logger.system.descriptors import (
    Descriptor,
    give_to_owner_above,
    make_private_directory,
    open_private,
    trusted_users,
)
from metaexpert.logger.system.host import hostname
from metaexpert.logger.system.interrupts import let_pass

DIRECTORY: Final = "control"
LEVEL, RESET, FLUSH, DUMP, STATUS = "level", "reset", "flush", "dump", "status"
_ACTIONS: Final = (LEVEL, RESET, FLUSH, DUMP, STATUS)
#: Longest time for which a level may hold, in seconds.
LONGEST: Final = 7 * 24 * 3600
_MOST_BYTES: Final = 4096
_MOST_NAMES: Final = 100
_MOST_TEXT: Final = 200
#: Seconds between two looks; a thread at rest looks when it wakes, within a second.
_PAUSE: Final = 0.4
#: Seconds after which what a command has left behind is deleted by the next one.
_LEFT_BEHIND: Final = 60.0
_SUFFIX: Final = ".json"
_ANSWER: Final = ".answer"
#: Bits of a mode by which others than the owner may write.
_WRITABLE: Final = 0o022


class Request(NamedTuple):
    """A request to the loggers of a directory.

    Attributes:
        id: Tells it from others: 32 hexadecimal digits.
        action: `LEVEL`, `RESET`, `FLUSH`, `DUMP` or `STATUS`.
        by: The user who asks, as the command tells it.
        expert: The expert that is meant; None for all.
        level: The word of the new level, with `LEVEL`.
        logger: The logger that gets it with those below it, by its name; None for `log_level`.
        seconds: For how long, with `LEVEL`.
    """

    id: str
    action: str
    by: str
    expert: str | None = None
    level: str | None = None
    logger: str | None = None
    seconds: int | None = None


def parsed(data: bytes) -> Request:
    """Return the request that a file holds. Raises ValueError, with the reason, for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict) or not {"id", "action", "by"} <= found.keys() <= {*Request._fields}:
        raise ValueError("it has other fields than a request")
    request = Request(**found)
    check(request)
    return request


def check(request: Request) -> None:
    """Raise ValueError, with the reason, if *request* is none that is obeyed."""
    texts = (request.id, request.by, *(text for text in (request.expert, request.logger) if text is not None))
    if not all(isinstance(text, str) and 0 < len(text) <= _MOST_TEXT and text.isprintable() for text in texts):
        raise ValueError("a name in it is no printable text, or is too long")
    if request.action not in _ACTIONS:
        raise ValueError("its action is not known")
    if request.action != LEVEL and (request.level, request.logger, request.seconds) != (None, None, None):
        raise ValueError("only a level has fields of its own")
    if request.action == LEVEL and request.level not in (*LEVEL_NUMBERS,):
        raise ValueError("its level is not known")
    if request.action == LEVEL and not (type(request.seconds) is int and 0 < request.seconds <= LONGEST):
        raise ValueError("its time is no number of seconds up to a week")


class Inbox:
    """The requests to this process in one log directory.

    Args:
        private: The private directory.
        report: Called with a kind and a sentence about each request that is wrong.
        monotonic: Seconds; a test passes a clock of its own.
    """

    def __init__(
        self, private: Path, report: Callable[[str, str], None], monotonic: Callable[[], float] = monotonic
    ) -> None:
        self._path = private / DIRECTORY
        self._report = report
        self._monotonic = monotonic
        self._next = 0.0
        self._stamp: tuple[int, int] | None = None
        #: Requests that were met: those that stand there at first were for earlier processes.
        self._met: set[str] | None = None

    def serve(self, obey: Callable[[Request], list[dict[str, Any]]]) -> None:
        """Have *obey* do what is asked anew, and answer with what it returns for each expert. Raises no `Exception`."""
        if self._monotonic() < self._next:
            return
        self._next = self._monotonic() + _PAUSE
        try:
            for request in self._look():
                self._answer(request, obey(request))
        except Exception as error:  # the log goes on without
            let_pass(error)
            self._report("control", f"a request cannot be taken or answered: {error}")

    def _look(self) -> list[Request]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._met = self._met or set()
            return []
        stamp = found.st_ino, found.st_mtime_ns
        if stamp == self._stamp:
            return []
        self._stamp = stamp
        named = {name for name in names_in(self._path)[:_MOST_NAMES] if name.endswith(_SUFFIX)}
        met, self._met = named if self._met is None else self._met, named
        return [request for name in sorted(named - met) if (request := self._read(name)) is not None]

    def _read(self, name: str) -> Request | None:
        try:
            request = parsed(_contents(self._path / name))
            if name != request.id + _SUFFIX:
                raise ValueError("its name is another one than its id")  # noqa: TRY301 - told like the others
        except FileNotFoundError:  # taken back
            return None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._report(f"control {name[:_MOST_TEXT]}", f"the request {name!r} is ignored: {why}")
            return None
        return request

    def _answer(self, request: Request, experts: list[dict[str, Any]]) -> None:
        content = {"procid": str(getpid()), "hostname": hostname(), "experts": experts}
        path = self._path / f"{request.id}-{os.urandom(4).hex()}{_ANSWER}"
        with Descriptor.at(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, opener=open_private) as file:
            file.write_all(json.dumps(content).encode())


def _contents(path: Path) -> bytes:
    """Return what the request at *path* holds. Raises OSError if others than this user and root may have written it."""
    with Descriptor.at(path, os.O_RDONLY, opener=open_private) as file:
        found = os.fstat(file.fd)
        if sys.platform != "win32" and found.st_uid not in trusted_users():
            raise PermissionError(0, "it belongs to another user")
        if sys.platform != "win32" and found.st_mode & _WRITABLE:
            raise PermissionError(0, "other users may write to it")
        data = file.read_at(0, _MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError("it is too long")
    return data


# -- the command's side ---------------------------------------------------------------------------------------------


def new_id() -> str:
    """Return an id for a request."""
    return uuid.uuid4().hex


@contextlib.contextmanager
def asked(private: Path, request: Request) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Put *request* into the private directory of a log directory, and take it back at the end with its answers.

    Gives a function that returns the answers so far. Raises OSError when it cannot be written.
    """
    directory = private / DIRECTORY
    path = directory / (request.id + _SUFFIX)
    _prepare(directory)
    unfinished = path.with_suffix(".part")
    try:
        with open(unfinished, "xb", opener=open_private) as file:
            if sys.platform != "win32":
                os.fchmod(file.fileno(), 0o644)  # root asks, and the process of another user must read it
            given = {name: value for name, value in request._asdict().items() if value is not None}
            file.write(json.dumps(given).encode())
        unfinished.replace(path)
        yield lambda: _answers(directory, request)
    finally:
        for left in (unfinished, path, *directory.glob(f"{request.id}-*{_ANSWER}")):
            with contextlib.suppress(OSError):
                left.unlink()


def _prepare(directory: Path) -> None:
    make_private_directory(directory)
    give_to_owner_above(directory)  # root's would keep the process's answers out
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                path.unlink()


def _answers(directory: Path, request: Request) -> list[dict[str, Any]]:
    # The time of a directory may be too coarse to show that two files came: a later one shows them both.
    with contextlib.suppress(OSError):
        os.utime(directory)
    found = []
    for path in sorted(directory.glob(f"{request.id}-*{_ANSWER}")):
        with contextlib.suppress(OSError, ValueError), open(path, "rb", opener=open_private) as file:
            found.append(json.loads(file.read()))  # one that is not complete yet comes with the next look
    return found
