"""Import time above bare Python, the time from there until the first call has returned, and both together.

A library may put off work at its import that its first call needs, so only both together can be compared. They are
measured as processor time, threads included, which other programs of the machine lengthen less.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, ClassVar, Final, override

from benchmarks.host import CaseError, Order, environment, scratch
from benchmarks.measures.base import PATIENCE, Measure, Settings
from benchmarks.subjects.base import Subject

#: Runs in an interpreter that has loaded nothing of the benchmark when the library is imported.
_SCRIPT: Final = """
import sys, time
def clocks():
    return time.perf_counter(), time.process_time()
began = clocks()
exec(sys.argv[1])
imported = clocks()
import json, pathlib
from benchmarks.entry import ORDER_IDS, Rotation
from benchmarks.subjects import subject_class
subject = subject_class(sys.argv[2])()
prepared = clocks()
subject.setup(pathlib.Path(sys.argv[3]), Rotation())
subject.entry(0, ORDER_IDS[0])
ready = clocks()
subject.close()
report = {
    "import_ms": (imported[0] - began[0]) * 1000,
    "ready_ms": (ready[0] - prepared[0]) * 1000,
    "start_cpu_ms": (imported[1] - began[1] + ready[1] - prepared[1]) * 1000,
}
pathlib.Path(sys.argv[4]).write_text(json.dumps(report), "utf-8")
"""


class Imports(Measure):
    """A fresh interpreter. A first run, not measured, compiles the byte code and fills the system's cache."""

    name = "imports"
    about = "Import of the library in a fresh interpreter; then set-up until the first call has returned; then both."
    quick: ClassVar[Settings] = {"rounds": 2, "repeats": 1, "seconds": 1.0}
    full: ClassVar[Settings] = {"rounds": 5, "repeats": 4, "seconds": 1.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind != "floor"

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        """Return the least of some repeats: what disturbs an import only makes it longer."""
        _fresh(subject)
        runs = [_fresh(subject) for _ in range(int(settings["repeats"]))]
        return {name: min(run[name] for run in runs) for name in runs[0]}

    @override
    def inside(self, subject: Subject, order: Order) -> dict[str, Any]:
        raise NotImplementedError


def _fresh(subject: type[Subject]) -> dict[str, float]:
    with scratch() as place:
        logs, result = place / "logs", place / "result.json"
        logs.mkdir()
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and script
                [sys.executable, "-c", _SCRIPT, subject.imports, subject.name, str(logs), str(result)],
                cwd=place,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CaseError(f"not done after {PATIENCE:.0f} s") from None
        if done.returncode != 0:
            raise CaseError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1][:300])
        report: dict[str, float] = json.loads(result.read_text("utf-8"))
        return report
