"""The rights of root, given up for a while: root may read and search everything."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)).
_OVERRIDE = 0b110
#: _LINUX_CAPABILITY_VERSION_3 (capget(2)).
_VERSION = 0x20080522


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """Have permissions count inside the block, on this thread and those that it starts; skip where that cannot be."""
    if os.name == "nt":
        pytest.skip("Windows has no permission bits")
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root may do everything here")
    before = _effective()
    _effective(before & ~_OVERRIDE)
    try:
        yield
    finally:
        _effective(before)


def _effective(new: int | None = None) -> int:
    """Return the low half of this thread's effective capabilities, after setting it to *new*."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    if new is not None:
        data[0] = new
        if libc.capset(header, data) != 0:
            raise OSError(ctypes.get_errno(), "capset")
    return int(data[0])
