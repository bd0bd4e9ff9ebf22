"""Standard error that never blocks: for the console, and as the last resort for entries that no file takes.

A pipe that is not read, a frozen terminal or a hanging connection does not hold up the thread that prints. Text that
the stream does not take now is kept and offered again later.

Bound: `MOST_WAITING` texts wait. More are refused and counted, and a line tells how many as soon as there is room.
This holds on POSIX for a stream with a descriptor. On Windows, and for a stream without one (in a test or a notebook),
the stream's own `write` is called, and may block.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TextIO

from metaexpert.logger.console.loops import printed_lines
from metaexpert.logger.entry.console_text import ConsoleText
from metaexpert.logger.entry.values import marked, no_surrogates
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.threads import Lock

#: Bytes of a line with its newline. Docker's log drivers and the CRI of Kubernetes cut lines of 16 KiB.
LONGEST_LINE: Final = 16 * 1024 - 1
#: Room for the mark of a cut, and for the end of a colour.
_MARK: Final = 48
#: Texts that may wait for a stream that takes nothing.
MOST_WAITING: Final = 256
#: After these errors the stream is gone for good. After any other, such as a full disk, the next text is tried.
_GONE: Final = {errno.EPIPE, errno.EBADF, errno.ENXIO, errno.EIO, errno.ECONNRESET}
#: Bytes that a pipe or socket takes without blocking when it is ready.
_SAFE_PIECE: Final = getattr(select, "PIPE_BUF", 512)


def standard_error() -> TextIO | None:
    """Return the standard error of this moment, which tests and shells replace. None under pythonw."""
    return sys.stderr


def standard_output() -> TextIO | None:
    """Return the standard output of this moment, likewise."""
    return sys.stdout


class NonBlockingStream:
    """Prints text on a stream without waiting for it. Any thread may call it, and a signal handler too.

    Args:
        stream: Returns the stream to print on; asked again each time.
    """

    def __init__(self, stream: Callable[[], TextIO | None] = standard_error) -> None:
        self._stream = stream
        self._texts: deque[str] = deque()
        self._rest = b""
        self._busy = Lock()
        self._writer = 0
        self._refused = 0
        self._stuck = False
        self._failure: tuple[TextIO, Exception] | None = None

    @property
    def error(self) -> Exception | None:
        """The error that ended the stream of this moment: it is closed, or its reader has gone. None while it works."""
        failure = self._failure
        return failure[1] if failure is not None and failure[0] is self._stream() else None

    @property
    def clear(self) -> bool:
        """Whether the stream has taken everything."""
        return not self._texts and not self._rest

    @property
    def within(self) -> bool:
        """Whether the stream's own `write` is calling, because it logs what it is given."""
        return self._writer == threading.get_ident()

    def print(self, text: str) -> bool:
        """Print *text*, or keep it until the stream takes it. Returns False if neither is possible."""
        if self.within or self.error is not None:
            return False
        if len(self._texts) >= MOST_WAITING:
            self._refused += 1
            return False
        self._texts.append(text)
        self.push()
        return True

    def push(self, patience: float = 0.0) -> bool:
        """Offer the stream what waits. Returns whether it took everything.

        Args:
            patience: Longest wait for the stream to take something, in seconds. Once a call has waited in vain, no
                call waits until the stream takes something, so that closing fifty loggers waits once.
        """
        patience = 0.0 if self._stuck else patience
        deadline = monotonic() + patience
        while not self.clear:
            # The thread that holds the lock also prints what others add, so none of them needs to wait for it.
            if not self._busy.acquire(timeout=patience):
                return False
            try:
                self._offer()
            finally:
                self._busy.release()
            if not self.clear and not self._await_room(deadline):
                self._stuck = self._stuck or patience > 0
                return False
        return True

    def after_fork(self) -> None:
        """Start anew in a child: what waits is for the parent to print."""
        self._busy = Lock()
        self._forget()
        self._writer = 0

    def _offer(self) -> None:
        stream = self._stream()
        try:
            fd = None if stream is None else _descriptor(stream)
            while self._texts or self._rest or self._note_refused():
                if stream is None:
                    self._forget()
                elif fd is None:
                    self._write_whole(stream)
                elif not self._write_some(stream, fd):
                    return
        except Exception as error:  # ValueError for a closed stream; a custom stream may raise anything
            self._rest = b""
            self._refused += 1
            if stream is not None and not (isinstance(error, OSError) and error.errno not in _GONE):
                self._forget()
                self._failure = (stream, error)

    def _forget(self) -> None:
        self._texts.clear()
        self._rest, self._refused = b"", 0

    def _write_whole(self, stream: TextIO) -> None:
        text = self._rest.decode("utf-8", "replace") + (self._texts.popleft() if self._texts else "")
        self._rest = b""
        self._writer = threading.get_ident()
        try:
            stream.write(_encodable(text, getattr(stream, "encoding", None)))
            getattr(stream, "flush", bool)()
        finally:
            self._writer = 0

    def _write_some(self, stream: TextIO, fd: int) -> bool:
        """Write a text, or the rest of one. Returns whether all of it was taken."""
        if not self._rest:
            text = self._texts.popleft()
            self._rest = _encodable(text, stream.encoding).encode(stream.encoding, "backslashreplace")
            if not stream.line_buffering:
                stream.flush()  # the program's own output comes first
        taken = _write_without_waiting(fd, self._rest)
        self._rest = self._rest[taken:]
        self._stuck = self._stuck and not taken
        return not self._rest

    def _note_refused(self) -> bool:
        refused, self._refused = self._refused, 0
        if refused:
            self._texts.append(f"metaexpert.logger: {refused} texts could not be printed here\n")
        return refused > 0

    def _await_room(self, deadline: float) -> bool:
        left = deadline - monotonic()
        stream = self._stream()
        if left <= 0 or stream is None:
            return False
        try:
            return _is_ready(stream.fileno(), left)
        except (OSError, ValueError):
            return False


def _descriptor(stream: TextIO) -> int | None:
    """Return the descriptor of an ordinary stream, or None if the stream's own `write` must be called."""
    if os.name == "nt" or type(stream) is not io.TextIOWrapper:
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return stream.fileno() if type(raw) is io.FileIO else None


def _write_without_waiting(fd: int, data: bytes) -> int:
    """Write as much as *fd* takes without blocking. Returns how many bytes that is. Raises OSError."""
    taken = 0
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return os.write(fd, data)
    with _never_waiting(fd, kind) as own:
        while taken < len(data):
            if own is None and not _is_ready(fd, 0.0):
                break
            piece = data[taken : taken + _SAFE_PIECE]
            try:
                # Whole lines of at most this size never mix with those of another process on the same pipe.
                taken += os.write(fd if own is None else own, piece[: piece.rfind(b"\n") + 1 or None])
            except BlockingIOError:
                break
    return taken


@contextlib.contextmanager
def _never_waiting(fd: int, kind: int) -> Iterator[int | None]:
    """Open the pipe or terminal behind *fd* once more, non-blocking. The program's own descriptor keeps blocking.

    Yields None where that is impossible (a socket, no ``/proc``). The caller then asks before each piece whether
    *fd* is ready, and this serves a single writer as well.
    """
    if sys.platform == "win32":  # where `_descriptor` finds none
        yield None
        return
    path = f"/proc/self/fd/{fd}"
    try:
        if stat.S_ISCHR(kind) and os.isatty(fd) and sys.platform != "linux":
            path = os.ttyname(fd)
        reopens = stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)
        own = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC) if reopens else None
    except OSError:  # no /proc, another user's terminal, or a pipe without a reader: the write will tell
        own = None
    try:
        yield own
    finally:
        if own is not None:
            os.close(own)


def _is_ready(fd: int, timeout: float) -> bool:
    """Return whether *fd* takes something, or reports an error, within *timeout* seconds."""
    # The poll of macOS does not support terminals.
    if sys.platform != "win32" and sys.platform != "darwin" and hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))
    return bool(select.select([], [fd], [], timeout)[1])


def _encodable(text: str, encoding: str | None) -> str:
    """Return *text* with escapes for characters that *encoding* lacks, so that it can always be printed."""
    if encoding is None or text.isascii() or encoding.lower().replace("-", "") == "utf8":
        return no_surrogates(text)
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode()


def cut_lines(text: str) -> str:
    """Return a printed entry; of its lines, those that are too long for a collector are cut and marked."""
    if 4 * len(text) < LONGEST_LINE:
        return text
    return "\n".join(map(_cut_line, text.split("\n")))


def _cut_line(line: str) -> str:
    data = line.encode("utf-8", "replace")
    if len(data) < LONGEST_LINE:
        return line
    kept = data[: LONGEST_LINE - _MARK].decode("utf-8", "ignore")
    return marked(kept, len(line) - len(kept)) + ("\x1b[0m" if "\x1b" in kept else "")


#: The standard error of this process. All consoles share it, so that lines do not mix.
stream: Final = NonBlockingStream()
#: The streams that all consoles share, by what returns them.
shared: Final[Mapping[Callable[[], TextIO | None], NonBlockingStream]] = {
    standard_error: stream,
    standard_output: NonBlockingStream(standard_output),
}
_render = ConsoleText(colors=False)


def print_line(text: str) -> None:
    """Print *text* and a newline on standard error. Never raises and never waits."""
    stream.print(text + "\n")


def print_entry(entry: Mapping[str, Any]) -> None:
    """Print a decoded entry as console text on standard error."""
    text = cut_lines(_render(entry))
    printed_lines.add(text)
    print_line(text)
