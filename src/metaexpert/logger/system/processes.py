"""When a process of Windows began, by its id. The id is used again; together with that time it names one process.

Linux tells it in ``/proc``; macOS is not asked.
"""

from __future__ import annotations

from typing import Any, Final

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
