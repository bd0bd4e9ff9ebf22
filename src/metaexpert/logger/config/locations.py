"""The places where settings may be, and a quick check for any that does not wait half a second to import pydantic."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

ENV_PREFIX: Final = "METAEXPERT_"
SHORT_PREFIX: Final = "LOG_"
DOTENV_FILE: Final = ".env"
PYPROJECT_FILE: Final = "pyproject.toml"
PYPROJECT_TABLE: Final = ("tool", "metaexpert", "logger")
#: The default of ``log_dir``.
DEFAULT_DIRECTORY: Final = "logs"
#: Bytes of a file with settings. A larger one is something else, and would take seconds to read.
_LONGEST: Final = 1024 * 1024
#: With these, opening a pipe or a terminal that has just taken a file's place neither waits nor takes it over.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def read_settings(path: Path) -> str | None:
    """Return the text of a file with settings; None when there is no such file.

    Raises:
        OSError: It cannot be read, or is no regular file of a sensible size.
        UnicodeDecodeError: It is not UTF-8 text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with os.fdopen(os.open(path, os.O_RDONLY | _AT_ONCE), "rb") as file:
            data = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    if len(data) > _LONGEST:
        raise OSError(errno.EFBIG, f"it is larger than {_LONGEST} bytes", str(path))
    return data.decode("utf-8-sig")


def nearest_pyproject() -> Path | None:
    """Return the nearest ``pyproject.toml``, from the working directory upwards, as a path relative to that one.

    It need not be readable: one in a directory that may not be searched is there, as far as can be told.
    """
    path = Path(PYPROJECT_FILE)
    with contextlib.suppress(OSError):  # the working directory was deleted: it holds nothing
        for _ in Path.cwd().parts:
            try:
                path.stat()
            except FileNotFoundError:
                path = Path(os.pardir, path)
            except OSError:
                return path
            else:
                return path
    return None


def may_be_configured() -> bool:
    """Return whether the environment, ``.env`` or ``pyproject.toml`` may hold a setting. False is certain."""
    prefixes = (ENV_PREFIX, SHORT_PREFIX)
    if any(name.upper().startswith(prefixes) for name in os.environ):
        return True
    try:
        path = nearest_pyproject()
        text = read_settings(path) if path is not None else None
        return read_settings(Path(DOTENV_FILE)) is not None or PYPROJECT_TABLE[1] in (text or "")
    except (OSError, UnicodeDecodeError):  # reading the settings reports it
        return True
