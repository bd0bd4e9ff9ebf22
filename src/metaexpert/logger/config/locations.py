"""The places where settings may be, and a quick check for any that does not wait half a second to import pydantic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ENV_PREFIX: Final = "METAEXPERT_"
SHORT_PREFIX: Final = "LOG_"
DOTENV_FILE: Final = ".env"
PYPROJECT_FILE: Final = "pyproject.toml"
PYPROJECT_TABLE: Final = ("tool", "metaexpert", "logger")
#: The default of ``log_dir``.
DEFAULT_DIRECTORY: Final = "logs"


def nearest_pyproject() -> Path | None:
    """Return the nearest ``pyproject.toml``, from the working directory upwards."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # deleted meanwhile: it holds nothing
        return None
    return next((p for d in (here, *here.parents) if (p := d / PYPROJECT_FILE).is_file()), None)


def may_be_configured() -> bool:
    """Return whether the environment, ``.env`` or ``pyproject.toml`` may hold a setting. False is certain."""
    prefixes = (ENV_PREFIX, SHORT_PREFIX)
    if any(name.upper().startswith(prefixes) for name in os.environ) or Path(DOTENV_FILE).is_file():
        return True
    path = nearest_pyproject()
    try:
        return path is not None and PYPROJECT_TABLE[1].encode() in path.read_bytes()
    except OSError:  # reading the settings reports it
        return True
