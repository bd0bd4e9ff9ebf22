"""What goes to the terminal, or into a pipe, and how it ends when nobody reads any more."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TextIO


class InputError(Exception):
    """What the user gave is wrong: exit code 2.

    Args:
        problems: What is wrong, one line each.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PipeClosed(Exception):  # noqa: N818 - not an error: the reader has seen enough
    """Whoever reads our standard output (``head``, a pager) has gone."""


class OutputError(Exception):
    """Standard output takes nothing (a full disk behind a redirection): exit code 1."""


def prepare_streams() -> None:
    """Make sure that no character stops us that the terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether *stream* is a terminal; a closed or missing one is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def write(text: str) -> None:
    """Write *text* to standard output at once.

    Raises:
        PipeClosed: When nobody reads it.
        OutputError: When it cannot be written for another reason.
    """
    _guarded(lambda stream: stream.write(text))


def write_exact(text: str) -> None:
    """Write data to standard output: UTF-8 whatever the locale, surrogates as the bytes that they stand for.

    Raises:
        PipeClosed: When nobody reads it.
        OutputError: When it cannot be written for another reason.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # replaced by something that takes text only
        write(text)
        return
    _guarded(lambda _: buffer.write(text.encode("utf-8", "surrogateescape")))


def _guarded(put: Callable[[TextIO], object]) -> None:
    stream = sys.stdout
    if stream is None:
        return
    try:
        put(stream)
        stream.flush()
    except OSError as error:
        # Windows reports a closed pipe as EINVAL.
        if error.errno in (errno.EPIPE, errno.ESHUTDOWN) or (os.name == "nt" and error.errno == errno.EINVAL):
            raise PipeClosed from None
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def abandon_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter complains about the closed pipe at its end."""
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, sys.stdout.fileno())
    except (OSError, ValueError):  # no real file behind it
        pass
    finally:
        os.close(sink)


def complain(kind: str, lines: Iterable[str]) -> None:
    """Print ``kind: line`` on standard error for each of *lines*, each kept on one line."""
    write_error("".join(f"{kind}: {' '.join(line.split())}\n" for line in lines))


def write_error(text: str) -> None:
    """Write *text* to standard error, if there is anybody to be told; the exit code tells it in any case."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
