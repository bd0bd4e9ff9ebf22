"""The subjects by name. Each module is imported only where its subject runs, or to ask what it is."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from benchmarks.subjects.base import Subject

_PLACES: Final = {
    "ours-async": "ours:OursAsync",
    "ours-sync": "ours:OursSync",
    "ours-plain": "ours:OursPlain",
    "stdlib-json": "stdlib:StdlibJson",
    "stdlib-json-queue": "stdlib:StdlibJsonQueue",
    "concurrent-log-handler": "stdlib:ConcurrentLogHandler",
    "structlog-native": "structlog_chains:StructlogNative",
    "structlog-stdlib": "structlog_chains:StructlogStdlib",
    "loguru": "loguru_sinks:Loguru",
    "loguru-enqueue": "loguru_sinks:LoguruEnqueue",
    "picologging-queue": "compiled:PicologgingQueue",
    "nautilus": "compiled:Nautilus",
    "spdlog": "compiled:Spdlog",
    "logxide": "compiled:Logxide",
    "floor-noop": "floors:NoOp",
    "floor-c": "floors:Extension",
    "floor-mmap": "floors:MappedFile",
    "floor-write": "floors:WriteCall",
}

#: Names of all subjects, in the order of the tables.
NAMES: Final = tuple(_PLACES)


def subject_class(name: str) -> type[Subject]:
    """Return the class of the subject called *name*. Raises KeyError for an unknown one."""
    module, _, attribute = _PLACES[name].partition(":")
    found: type[Subject] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def chosen(names: Iterable[str] | None) -> list[type[Subject]]:
    """Return the classes of *names* in the order of the tables; of all when it is None."""
    wanted = NAMES if names is None else [name for name in NAMES if name in set(names)]
    return [subject_class(name) for name in wanted]
