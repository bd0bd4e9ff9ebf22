"""Memory of the process: above its imports, when many entries were logged."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, override

from benchmarks.entry import warm_up
from benchmarks.host import CaseError, Order
from benchmarks.measures.base import Measure, Settings, ready
from benchmarks.measures.throughput import log_entries
from benchmarks.subjects.base import Subject

_MIB: Final = 1024 * 1024
_STATM: Final = Path("/proc/self/statm")


class Memory(Measure):
    """Resident memory, which counts mapped files too; where the system tells no more, its highest value so far."""

    name = "memory"
    about = "Resident memory above that after import, when the last call of a burst has returned, and after close."
    quick: ClassVar[Settings] = {"rounds": 1, "calls": 40_000, "seconds": 0.5}
    full: ClassVar[Settings] = {"rounds": 3, "calls": 100_000, "seconds": 30}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        exec(subject.imports, {})  # noqa: S102 - a constant of the subject's class
        gc.collect()
        imported = resident_bytes()
        ready(subject, order)
        warm_up(subject.entry)
        calls = log_entries(subject, int(order.settings["calls"]), order.settings["seconds"])
        logged = resident_bytes()
        subject.close()
        gc.collect()
        closed = resident_bytes()
        return {
            "import_mib": imported / _MIB,
            "logged_mib": (logged - imported) / _MIB,
            "closed_mib": (closed - imported) / _MIB,
            "logged_entries": calls,
        }


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes, or its highest value so far. Raises CaseError."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        resource: Any = import_module("resource")
    except ModuleNotFoundError:
        raise CaseError("this system does not tell the memory of a process in a way that is known here") from None
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
