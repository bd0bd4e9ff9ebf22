"""The measures by name, in the order of the tables."""

from __future__ import annotations

from typing import Final

from benchmarks.measures.base import Measure
from benchmarks.measures.burst import Burst
from benchmarks.measures.busy import Forks, Locks
from benchmarks.measures.check import Check
from benchmarks.measures.crash import Crash
from benchmarks.measures.crowd import Crowd
from benchmarks.measures.disabled import Disabled
from benchmarks.measures.experts import Experts
from benchmarks.measures.holds import Holds
from benchmarks.measures.imports import Imports
from benchmarks.measures.kill import KillBurst, KillPaced
from benchmarks.measures.loop_lag import LoopLag
from benchmarks.measures.memory import Memory
from benchmarks.measures.paced import Idle, Paced
from benchmarks.measures.processes import Processes
from benchmarks.measures.seal import Seal
from benchmarks.measures.throughput import Throughput

MEASURES: Final[tuple[Measure, ...]] = (
    Burst(),
    Paced(),
    Idle(),
    Throughput(),
    KillBurst(),
    KillPaced(),
    Disabled(),
    LoopLag(),
    Holds(),
    Locks(),
    Forks(),
    Experts(),
    Crowd(),
    Seal(),
    Processes(),
    Imports(),
    Memory(),
    Crash(),
)
CHECK: Final = Check()


def measure_named(name: str) -> Measure:
    """Return the measure called *name*. Raises KeyError for an unknown one."""
    return {measure.name: measure for measure in (*MEASURES, CHECK)}[name]
