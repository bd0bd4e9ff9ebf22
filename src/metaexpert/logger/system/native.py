"""Loads the compiled core (`system/core`), which `hatch_build.py` makes where there is a compiler. It is optional."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
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


_CORE: Final = "metaexpert.logger.system._core"
#: The module, or None.
core: Final[Any] = load(_CORE)


def why_pure() -> str:
    """Return why there is no `core`, in one line."""
    if os.environ.get(PURE) == "1":
        return f"{PURE} is set to 1"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "this Python runs without the global lock that the compiled core needs"
    try:
        import_module(_CORE)
    except ModuleNotFoundError:
        others = sorted(path.name for path in Path(__file__).parent.glob("_core.*[do]"))
        built = f"it was compiled for another Python: {', '.join(others)}" if others else "nothing was compiled"
        return f"{built} when the package was installed"
    except ImportError as error:
        return f"the compiled core cannot be loaded: {error}"
    return "the compiled core could not be loaded when the program started"
