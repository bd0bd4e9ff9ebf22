"""The logger's configuration for the command line: resolved, checked, its problems as input errors."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metaexpert.cli import output
from metaexpert.logger import ConfigurationError, LoggerConfig, schema
from metaexpert.logger.config.settings import ConfigurationWarning


def settings() -> LoggerConfig:
    """Return the configuration of this moment; call it inside `command_line` for options given there.

    Warnings about settings without effect are printed, once per process.

    Raises:
        InputError: The configuration is wrong.
    """
    with input_errors(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConfigurationWarning)
        config = LoggerConfig()
    output.complain("warning", dict.fromkeys(str(warning.message) for warning in caught))
    # An expert's own configuration reads the same sources again.
    warnings.simplefilter("ignore", ConfigurationWarning)
    return config


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn a `ConfigurationError` into an `InputError` of its problems."""
    try:
        yield
    except ConfigurationError as error:
        raise output.InputError(*(problem.message for problem in error.problems)) from None


def unwritable(config: LoggerConfig) -> str | None:
    """Return why the log files cannot be written, as one line; None when they can be. Leaves nothing behind.

    Existing files are opened for appending. In the directory, or in the nearest existing one above it, a file without a
    name is created (on Linux; elsewhere one that is removed at once), because permissions alone do not decide for root,
    on Windows and on network file systems.
    """
    if not config.log_to_file:
        return None
    where = f"log_dir {str(config.log_dir)!r} ({config.sources()['log_dir'].source})"
    try:
        _check_directory(config.log_dir)
        for name in (config.log_file, config.log_trade_file, config.log_error_file):
            _check_file(config.log_dir / name)
        _check_directory(config.log_dir / schema.PRIVATE_DIRECTORY)
    except OSError as error:
        return f"{where} is not writable: {error.strerror or error}: {error.filename}"
    return None


def existing_above(directory: Path) -> Path:
    """Return *directory*, or the nearest one above it that exists. Raises OSError if that cannot be told."""
    nearest = directory.absolute()
    while _status(nearest) is None and not nearest.is_symlink():
        nearest = nearest.parent
    return nearest


def _check_directory(directory: Path) -> None:
    """Raise OSError unless files can be created in *directory*, which may have to be created first."""
    nearest = existing_above(directory)
    if nearest.is_symlink() and _status(nearest) is None:
        raise OSError(errno.ENOENT, "it is a link to nowhere", str(nearest))
    if not nearest.is_dir():
        raise OSError(errno.ENOTDIR, "it is not a directory", str(nearest))
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(nearest)) from None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_file(path: Path) -> None:
    """Raise OSError if *path* exists and cannot be appended to."""
    status = _status(path)
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
