"""The owner file of a journal: whose it is, and how that process ended.

The lock on the file says that its process lives, its time of modification when it last did. It gets its content with
the first segment, so that a forked child that logs nothing leaves nothing to report. A process that closes its journal
deletes the file, unless an exception ended it. The next start finds it unlocked otherwise: the process was killed, has
crashed (Python's `faulthandler` writes beside it), or was replaced by another program.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.system.calls import getpid
from metaexpert.logger.system.descriptors import read_file
from metaexpert.logger.system.host import hostname
from metaexpert.logger.system.processes import birth, birth_in, is_ending, status_of

#: Suffix of the file that `faulthandler` writes into.
CRASH_SUFFIX: Final = ".crash"
KILLED, CRASHED, UNCAUGHT, REPLACED = "killed or power lost", "crashed", "uncaught", "replaced by another program"
#: Of a description: that the process goes on as another program, by what it said itself or by what was seen.
REPLACED_KEY: Final = "replaced"
#: Of a description: that it is a worker of a pool, whose parent kills it when there is no more work.
WORKER_KEY: Final = "worker"
_MOST_BYTES: Final = 64 * 1024
_MOST_FRAMES: Final = 8
#: Tells this program from another one in the same process, before or after an exec.
_PROGRAM: Final = uuid.uuid4().hex
_FATAL: Final = re.compile(r"^(?:Fatal Python error|Windows fatal exception): (.+)$", re.MULTILINE)
_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+|\?\?\?) in (.+)$', re.MULTILINE)


class End(NamedTuple):
    """How a process ended that did not close its journal.

    Attributes:
        reason: `KILLED`, `CRASHED`, `UNCAUGHT` or `REPLACED`.
        last_alive: When it last showed that it lived, in seconds since the epoch.
        facts: What else is known: ``died_procid``, ``died_hostname``; of a crash ``signal`` and ``frames``; of an
            uncaught exception ``error``.
    """

    reason: str
    last_alive: float
    facts: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """Return the fields of the entry ``log.died``."""
        alive = schema.timestamp(datetime.fromtimestamp(self.last_alive, UTC))
        return {"reason": self.reason, "last_alive": alive, **self.facts}


def description(*, forked: bool, **facts: Any) -> bytes:
    """Return the content of the owner file of this process.

    Args:
        forked: Whether it is a forked child, which may end by `os._exit` as it should.
        **facts: What is known of its end already.
    """
    own = {"procid": str(getpid()), "hostname": hostname(), "began": _birth(), "program": _PROGRAM}
    worker = {WORKER_KEY: True} if _is_worker() else {}
    return json.dumps({**own, "forked": forked, **worker, **facts}).encode()


def _is_worker() -> bool:
    """Return whether this is a process of a `multiprocessing.Pool`, which the end of a ``with`` kills: SIGTERM."""
    module = sys.modules.get("multiprocessing.process")
    process = module.current_process() if module is not None else None
    return process is not None and process.daemon and "PoolWorker" in process.name


def end_of(owner: Path, *, left: bool) -> End | None:
    """Return how the process of an unlocked owner file ended; None when there is nothing to tell.

    Args:
        owner: The file.
        left: Whether it left entries that no file had: a forked child that left none has ended as it should.
    """
    try:
        found = json.loads(read_file(owner, _MOST_BYTES))
        last_alive = owner.stat().st_mtime
        facts = {"died_procid": str(found["procid"]), "died_hostname": str(found["hostname"])}
        forked, began, error, program = bool(found["forked"]), found["began"], found.get("error"), found["program"]
    except (OSError, ValueError, TypeError, KeyError):  # it has logged nothing, or is of an earlier version
        return None
    if program == _PROGRAM and facts["died_procid"] == str(getpid()):  # it is us, and we gave the journal up
        return None
    crash = _crash(owner.with_suffix(CRASH_SUFFIX))
    if crash:
        return End(CRASHED, last_alive, {**facts, **crash})
    if error is not None:
        return End(UNCAUGHT, last_alive, {**facts, "error": str(error)})
    # It goes on, without its journal; or it was seen to.
    if found.get(REPLACED_KEY) or (began is not None and began == _birth(facts["died_procid"])):
        return End(REPLACED, last_alive, facts)
    ended = found.get(WORKER_KEY) is True or (forked and not left)  # as it should
    return None if ended else End(KILLED, last_alive, facts)


def lives(owner: Path) -> bool:
    """Return whether the process of an owner file exists, as far as that is told: only of one on this machine."""
    try:
        found = json.loads(read_file(owner, _MOST_BYTES))
        return found["began"] is not None and found["began"] == _birth(str(found["procid"]))
    except (OSError, ValueError, TypeError, KeyError):  # it has logged nothing, or just gone
        return False


def _crash(path: Path) -> dict[str, Any]:
    """Return what `faulthandler` wrote at *path*, if it did."""
    with contextlib.suppress(OSError):
        text = read_file(path, _MOST_BYTES).decode("utf-8", "replace")
        if fatal := _FATAL.search(text):
            crashed = text.partition("Current thread")[2] or text  # the others follow it, or come before
            frames = [f"{name}:{line} {function}" for name, line, function in _FRAME.findall(crashed)[:_MOST_FRAMES]]
            return {"signal": fatal[1], "frames": frames}
    return {}


def _birth(procid: str | None = None) -> str | None:
    """Return when a process began, as the system counts (Linux): with its id it is the same only over an exec.

    This process if none is named. None where that is not known, and for one that is about to end; Windows, where no
    program takes another's place in a process, is asked for this process only.
    """
    if sys.platform == "win32":
        return (birth(getpid()) or None) if procid is None else None
    with contextlib.suppress(OSError, IndexError):  # UTF-8 needs no codec that a process without rights cannot load
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        status = status_of(procid)
        if procid and is_ending(status):
            return None
        return f"{boot.decode()} {birth_in(status)}"
    return None
