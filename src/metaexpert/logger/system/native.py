"""Loads the compiled core (`system/core`), which `hatch_build.py` makes where there is a compiler. It is optional."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final

#: Set to 1, it keeps the package pure Python, as on a machine without a compiler.
PURE: Final = "METAEXPERT_PURE_PYTHON"


def load(name: str) -> Any:
    """Return the compiled module *name*; None where it is missing, not wanted, or not safe.

    It relies on the interpreter lock, and would bring the lock back on an interpreter that runs without.
    """
    if os.environ.get(PURE) == "1" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    try:
        return import_module(name)
    except ImportError:
        return None


#: The module, or None.
core: Final[Any] = load("metaexpert.logger.system._core")
