"""When a process of Windows began, as its kernel tells; a double tells it here, Windows' own under Wine."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes import wintypes
from typing import Any

import pytest

from metaexpert.logger.system.processes import birth


class Kernel:
    """A double of ``kernel32.dll`` that knows one process."""

    def __init__(self, *, error: int = 0, code: int = 259, answers: bool = True) -> None:
        self.open = 0
        self._error, self._code, self._answers = error, code, answers

        def open_process(_: Any, __: Any, procid: wintypes.DWORD) -> int:
            self.open += not error
            return 0 if error else procid.value

        self.OpenProcess: Any = open_process

    def GetLastError(self) -> int:
        return self._error

    def GetExitCodeProcess(self, _: Any, code: Any) -> bool:
        code._obj.value = self._code
        return self._answers

    def GetProcessTimes(self, _: Any, began: Any, *__: Any) -> bool:
        began._obj.dwHighDateTime, began._obj.dwLowDateTime = 1, 2
        return True

    def CloseHandle(self, _: Any) -> None:
        self.open -= 1


@pytest.mark.skipif(sys.platform == "win32", reason="the double is for other systems")
@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (Kernel(), f"windows {(1 << 32) + 2}"),
        (Kernel(code=1), ""),  # it has ended, and somebody holds it open
        (Kernel(error=87), ""),
        (Kernel(error=5), None),
        (Kernel(answers=False), None),
    ],
    ids=["lives", "ended", "none", "denied", "silent"],
)
def test_what_the_kernel_tells(kernel: Kernel, told: str | None) -> None:
    """A process that lives, none, and one of which nothing is told are three things; no handle is left open."""
    assert birth(4711, kernel) == told
    assert kernel.open == 0


@pytest.mark.skipif(sys.platform != "win32", reason="needs Windows")
def test_windows_itself() -> None:
    """This process lives and began once; one that was terminated does not, at once."""
    own = birth(os.getpid())
    assert own
    assert own == birth(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert birth(child.pid) not in ("", None, own)
        finally:
            child.kill()
        child.wait()
        assert birth(child.pid) == ""
