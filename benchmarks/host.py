"""Child processes of the benchmark: started with a clean environment, bounded in time, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
#: Beginnings of variables that a child does not get. Without byte code on the disk, an import is mostly compilation.
_NOT_OURS: Final = ("METAEXPERT_", "LOG_", "COVERAGE_", "COV_CORE_", "PYTHONDONTWRITEBYTECODE")


class CaseError(Exception):
    """A child did not do what it was asked; the text is one line that says why."""


@dataclass(frozen=True)
class Order:
    """What a child is to do: play *role* of *measure* with *subject*, logging into *directory*.

    Its *environment* are variables that it gets besides the usual ones.
    """

    measure: str
    subject: str
    directory: str
    settings: Mapping[str, float]
    role: str = "main"
    extra: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class Running:
    """A child at work; a context manager, at whose end neither the child nor a process that it started is left."""

    def __init__(self, order: Order, *, timezone: str = "UTC") -> None:
        self._papers = Path(tempfile.mkdtemp(prefix="bench-order-"))
        self._result = self._papers / "result.json"
        order_path = self._papers / "order.json"
        order_path.write_text(json.dumps({**asdict(order), "result": str(self._result)}), "utf-8")
        self._errors = (self._papers / "errors.txt").open("w+b")
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", "benchmarks.child", str(order_path)],
            cwd=self._papers,  # a place without settings: no pyproject.toml, no .env
            env=environment(timezone, order.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._errors.close()
        shutil.rmtree(self._papers, ignore_errors=True)

    def kill(self) -> None:
        """Kill the child and what it started, and wait for its end."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def result(self, timeout: float) -> dict[str, Any]:
        """Return what the child reports. Raises CaseError when it fails or takes longer than *timeout* seconds."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CaseError(f"not done after {timeout:.0f} s") from None
        if code != 0 or not self._result.exists():
            raise CaseError(self.complaint() or f"exit code {code}")
        report: dict[str, Any] = json.loads(self._result.read_text("utf-8"))
        return report

    def complaint(self) -> str:
        """Return the last line that the child wrote to standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


def environment(timezone: str = "UTC", more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment of a child: a fixed time zone, the benchmark on the path, no settings of a logger.

    Args:
        timezone: The time zone.
        more: Variables to add.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_NOT_OURS)}
    return {**kept, "PYTHONPATH": str(ROOT), "TZ": timezone, **more}


def run(order: Order, timeout: float, *, timezone: str = "UTC") -> dict[str, Any]:
    """Let a child do *order* and return what it reports. Raises CaseError."""
    with Running(order, timezone=timezone) as child:
        return child.result(timeout)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty directory that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bench-logs-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
