"""Loads the compiled forms of other rooms. They are optional: `hatch_build.py` makes them where there is a compiler."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

#: Set to 1, it keeps the package pure Python, as on a machine without a compiler.
PURE = "METAEXPERT_PURE_PYTHON"


def load(name: str) -> Any:
    """Return the compiled module *name*; None when there is none, or none is wanted, or nothing guards it.

    They rely on the interpreter lock, and would bring it back on an interpreter that runs without.
    """
    if os.environ.get(PURE) == "1" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    try:
        return import_module(name)
    except ImportError:
        return None
