"""Standard output and standard error: terminal, pipe or pager, and the end when nobody reads any more.

Names, values and errors come from files that others may have written. No control character of theirs reaches the
terminal: `write`, `write_json` and `complain` escape them, whatever the command.
"""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    import subprocess

#: Characters that act on a terminal (C0 but tab and line feed, DEL, C1) or turn text around (bidirectional controls).
_ACTS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
#: All of them, and all but those of a colour (ECMA-48, SGR).
_CONTROLS: Final = re.compile(f"[{_ACTS}]")
_OTHERS: Final = re.compile(rf"(?!\x1b\[[0-9;]*m)[{_ACTS}]")


class InputError(Exception):
    """Wrong input by the user: exit code 2.

    Args:
        problems: One line for each problem.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PipeClosed(Exception):  # noqa: N818 - not an error: the reader has seen enough
    """The reader of our standard output (``head``, a pager) has gone."""


class OutputError(Exception):
    """Standard output cannot be written (a full disk behind a redirection): exit code 1."""


def prepare_streams() -> None:
    """Let characters that the terminal cannot show be escaped instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether *stream* is a terminal; a closed or missing one is not."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def to_terminal() -> bool:
    """Return whether output appears on a terminal, directly or through a pager."""
    return _pager is not None or is_terminal(sys.stdout)


def width() -> int:
    """Return how many columns the terminal has on which output appears; 0 where there is none."""
    return shutil.get_terminal_size().columns if to_terminal() else 0


def wants_color() -> bool:
    """Return whether to colour text: NO_COLOR and FORCE_COLOR decide first, then whether a terminal shows it."""
    if os.environ.get("NO_COLOR"):
        return False
    wanted = bool(os.environ.get("FORCE_COLOR")) or (to_terminal() and os.environ.get("TERM") != "dumb")
    if wanted and sys.platform == "win32":
        from metaexpert.logger.console.console import STANDARD_OUTPUT, enable_colors  # noqa: PLC0415

        enable_colors(STANDARD_OUTPUT)
    return wanted


#: The pager that receives the output, while one runs.
_pager: subprocess.Popen[bytes] | None = None


@contextmanager
def paged(*, wanted: bool) -> Iterator[None]:
    """Send what is written through a pager, if *wanted* and standard output is a terminal.

    The pager is METAEXPERT_PAGER, PAGER, or less; an empty name means none. Returns when the user has closed it.
    """
    global _pager  # noqa: PLW0603 - there is one standard output
    chosen = os.environ.get("METAEXPERT_PAGER", os.environ.get("PAGER", "less"))
    if not wanted or not is_terminal(sys.stdout) or not chosen.strip():
        yield
        return
    # As git and systemd do: quit when it fits on the screen, let colours through, cut no line.
    environment = {"LESS": "FRX", "LESSCHARSET": "utf-8", **os.environ}
    import shlex  # noqa: PLC0415 - seldom needed, as is the next
    import subprocess  # noqa: PLC0415

    with suppress(OSError):
        _pager = subprocess.Popen(shlex.split(chosen), stdin=subprocess.PIPE, env=environment)  # noqa: S603 - the user's choice
    try:
        yield
    finally:
        pager, _pager = _pager, None
        if pager is not None:
            _wait_for(pager)


def _wait_for(pager: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if pager.stdin is not None:
            pager.stdin.close()
    while True:
        try:
            pager.wait()
        except KeyboardInterrupt:  # the pager's business: less stops searching
            continue
        return


def write(text: str) -> None:
    r"""Write *text* to standard output at once, with control characters as ``\x1b``; our colours are left.

    Raises:
        PipeClosed: When nobody reads it.
        OutputError: When it cannot be written for another reason.
    """
    write_escaped((_OTHERS if wants_color() else _CONTROLS).sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def write_escaped(text: str) -> None:
    """Write *text*, in which names and values are escaped, to standard output at once.

    Raises:
        PipeClosed: When nobody reads it.
        OutputError: When it cannot be written for another reason.
    """
    if _pager is not None:
        _put(_pager.stdin, text.encode("utf-8", "backslashreplace"))
    else:
        _put(sys.stdout, text)


def write_exact(text: str) -> None:
    """Write data to standard output: UTF-8 whatever the locale, surrogates as their original bytes.

    Raises:
        PipeClosed: When nobody reads it.
        OutputError: When it cannot be written for another reason.
    """
    stream = _pager.stdin if _pager is not None else getattr(sys.stdout, "buffer", None)
    if stream is None:  # standard output was replaced by something that takes text only
        write(text)
    else:
        _put(stream, text.encode("utf-8", "surrogateescape"))


def write_json(value: Any, *, ensure_ascii: bool = False, indent: int | None = 2, default: Any = None) -> None:
    """Write *value* as JSON to standard output; errors as `write`.

    JSON escapes C0 by itself; the other controls are written as JSON does it, for a terminal and for a pipe.
    """
    text = None if ensure_ascii or indent != 2 or default else _quick_json(value)
    if text is None:
        import json  # noqa: PLC0415 - not for the last entries

        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, default=default)
    write_escaped(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _quick_json(value: Any) -> str | None:
    """Return what `json.dumps` does in a twentieth of its time; None for what only that can write.

    Small numbers may have another form (1e-7 for 1e-07), and one that is none is null, which JSON has.
    """
    import orjson  # noqa: PLC0415 - as json

    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # integers beyond 64 bits, keys that are no texts, half a surrogate pair
        return None


def wait(seconds: float) -> None:
    """Wait, but end at once when nobody reads standard output any more: ``| head -1`` must not wait for another entry.

    Raises:
        PipeClosed: When nobody reads it.
    """
    if sys.platform == "win32" or sys.stdout is None or is_terminal(sys.stdout):
        time.sleep(seconds)
        return
    output = select.poll()
    try:
        output.register(sys.stdout, 0)  # errors are reported without being asked for
    except (OSError, ValueError):  # no real file behind it, or a closed one
        time.sleep(seconds)
        return
    if any(event & select.POLLERR for _, event in output.poll(seconds * 1000)):
        raise PipeClosed


def _put(stream: IO[Any] | None, data: str | bytes) -> None:
    if stream is None:
        return
    try:
        stream.write(data)
        stream.flush()
    except OSError as error:
        # Windows reports a closed pipe as EINVAL.
        if error.errno in (errno.EPIPE, errno.ESHUTDOWN) or (os.name == "nt" and error.errno == errno.EINVAL):
            raise PipeClosed from None
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def abandon_output() -> None:
    """Discard buffered output, or the interpreter complains about the closed pipe at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # no real file behind it
        os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def complain(kind: str, lines: Iterable[str]) -> None:
    """Print ``kind: line`` on standard error for each of *lines*, each kept on one line."""
    lines = list(lines)
    if not lines:
        return
    from metaexpert.logger.masking.rules import mask_text  # noqa: PLC0415 - slow to import, and mostly all is well

    text = "".join(f"{kind}: {mask_text(' '.join(line.split()))}\n" for line in lines)
    write_error(_CONTROLS.sub(_escaped, text))


def write_error(text: str) -> None:
    """Write *text* to standard error if it is open; the exit code reports the outcome in any case."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
