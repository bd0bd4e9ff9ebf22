"""What the system tells of a process by its id, above all when it began.

The id is used again; together with that time it names one process. macOS is not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

#: Flag of a process that ends (PF_EXITING of Linux's sched.h).
_EXITING: Final = 0x4
#: Right to ask for what is asked here, for processes of other users too (PROCESS_QUERY_LIMITED_INFORMATION).
_QUERY: Final = 0x1000
#: Exit code of a process that has none yet.
_STILL_ACTIVE: Final = 259
#: Last error of `OpenProcess` for an id that no process has (ERROR_INVALID_PARAMETER).
_NO_PROCESS: Final = 87


def birth(procid: int, kernel: Any = None) -> str | None:
    """Return when the process *procid* began; empty if there is none, or it has ended; None if that is not told.

    Args:
        procid: Its id.
        kernel: ``kernel32.dll``; a test passes a double.
    """
    import ctypes  # noqa: PLC0415 - on Windows alone
    from ctypes import wintypes  # noqa: PLC0415

    if kernel is None:
        kernel = vars(ctypes)["WinDLL"]("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(wintypes.DWORD(_QUERY), wintypes.BOOL(False), wintypes.DWORD(procid))
    if not handle:
        return "" if vars(ctypes).get("get_last_error", kernel.GetLastError)() == _NO_PROCESS else None
    handle = wintypes.HANDLE(handle)
    try:
        code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
        if not kernel.GetExitCodeProcess(handle, ctypes.byref(code)):
            return None
        if code.value != _STILL_ACTIVE:
            return ""
        if not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return None
        return f"windows {times[0].dwHighDateTime << 32 | times[0].dwLowDateTime}"
    finally:
        kernel.CloseHandle(handle)


def status_of(procid: str | None = None) -> list[bytes]:
    """Return what Linux tells of a process behind its name: proc_pid_stat(5), from the field ``state`` on.

    Args:
        procid: Its id; this process if left out.

    Raises:
        OSError: There is no such process.
    """
    if procid is not None and not procid.isdecimal():
        raise FileNotFoundError(2, "is no id of a process", procid)
    return Path(f"/proc/{procid or 'self'}/stat").read_bytes().rpartition(b")")[2].split()


def is_ending(status: list[bytes]) -> bool:
    """Return whether a process of this `status_of` is about to end, or has ended."""
    return status[0] in b"ZX" or bool(int(status[6]) & _EXITING)


def birth_in(status: list[bytes]) -> str:
    """Return when a process of this `status_of` began, in ticks of the system's clock since its start."""
    return status[19].decode()
