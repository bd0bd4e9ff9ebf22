"""Hears of the program's end, and of its being replaced by another one in its process: `os.execv` and its kin.

Of a replacement Python tells nobody: nothing of it runs then, no exit handler and no finalizer, and once the other
program has ended too, nobody can tell it from a kill. All of `os.exec…` end in `os.execv` or `os.execve`, which are
wrapped here. Python's audit event would also hear of calls by names taken before; but with an audit hook in Python,
each `sys._getframe`, with which a call of `logging` begins, costs half a microsecond more. A call that we do not hear
of is known for as long as the other program lives: the process exists, and the lock on its owner file is free.

Threads: participants are called on the thread that calls `os.exec…`, while the others run, or on the one that ends the
program.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from metaexpert.logger.system.forks import catch_up
from metaexpert.logger.system.imports import when_imported

#: Whose children leave by os._exit, past atexit, and run finalizers of these modules instead.
_ENDINGS: Final = ("multiprocessing.util", "billiard.util")


class EndAware(Protocol):
    """Is told when the program ends."""

    def close_at_exit(self) -> None:
        """Do it while the interpreter ends. From Python 3.12 on no thread can be started any more."""

    def close_all(self) -> None:
        """Do it at the end of a child that leaves the interpreter as it is."""


def on_end(participant: EndAware) -> None:
    """Tell *participant* of the end of this process, and of its children."""
    atexit.register(participant.close_at_exit)
    for name in _ENDINGS:
        if name in sys.modules:
            _close_with(name, participant)
        # It clears, before it runs a child, the finalizers that were registered until then.
        when_imported(name, functools.partial(_close_children_with, name, participant))


def _close_with(name: str, participant: EndAware) -> None:
    sys.modules[name].Finalize(None, participant.close_all, exitpriority=0)


def _close_children_with(name: str, participant: EndAware) -> None:
    sys.modules[name].register_after_fork(participant, functools.partial(_close_with, name))


class ExecAware(Protocol):
    """Is told before the program is replaced, and when it could not be."""

    def on_exec(self, *, failed: bool) -> None:
        """Note it. Raises nothing."""


_participants: Final[weakref.WeakValueDictionary[int, ExecAware]] = weakref.WeakValueDictionary()
_numbers: Final = itertools.count()


def on_exec(participant: ExecAware) -> None:
    """Tell *participant* from now on, for as long as somebody else holds it."""
    _wrap()
    _participants[next(_numbers)] = participant


@functools.cache
def _wrap() -> None:
    for name in ("execv", "execve"):
        setattr(os, name, _telling(getattr(os, name)))


def _telling(replace: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
    @functools.wraps(replace)
    def telling(*args: Any, **kwargs: Any) -> NoReturn:
        catch_up()  # what the parent holds is not this process's to note
        _tell(failed=False)
        try:
            replace(*args, **kwargs)
        finally:
            _tell(failed=True)

    if replace in os.supports_fd:
        os.supports_fd.add(telling)
    return telling


def _tell(*, failed: bool) -> None:
    for participant in list(_participants.values()):
        participant.on_exec(failed=failed)
