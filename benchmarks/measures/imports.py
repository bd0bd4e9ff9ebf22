"""Import time above bare Python, and the time from there until the first call has returned."""

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
began = time.perf_counter()
exec(sys.argv[1])
imported = time.perf_counter()
import json, pathlib
from benchmarks.entry import ORDER_IDS, Rotation
from benchmarks.subjects import subject_class
subject = subject_class(sys.argv[2])()
prepared = time.perf_counter()
subject.setup(pathlib.Path(sys.argv[3]), Rotation())
subject.entry(0, ORDER_IDS[0])
ready = time.perf_counter()
subject.close()
report = {"import_ms": (imported - began) * 1000, "ready_ms": (ready - prepared) * 1000}
pathlib.Path(sys.argv[4]).write_text(json.dumps(report), "utf-8")
"""


class Imports(Measure):
    """A fresh interpreter; the files of the library are in the system's cache after the first round."""

    name = "imports"
    about = "Import of the library in a fresh interpreter; then set-up until the first call has returned."
    quick: ClassVar[Settings] = {"rounds": 2, "repeats": 1, "seconds": 1.0}
    full: ClassVar[Settings] = {"rounds": 5, "repeats": 4, "seconds": 1.0}

    @override
    def applies(self, subject: type[Subject]) -> bool:
        return subject.kind != "floor"

    @override
    def outside(self, subject: type[Subject], settings: Settings) -> dict[str, float]:
        """Return the least of some repeats: what disturbs an import only makes it longer."""
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
