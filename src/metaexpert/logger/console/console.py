"""The console: entries for a person at a terminal (text) or for a collector behind a container (JSON).

Entries go to standard error, so that a program's standard output stays its own. A closed stream or a broken pipe
switches the console off until there is another stream; the files go on.

Bound: of a console that takes less than is logged, at most `MOST_WAITING` bytes of entries wait; then entries are
skipped and counted, and an entry on the console tells how many. It is printed by the writing thread, a slice at a
time and behind the files, and never waited for except at the end, for `LAST_PATIENCE` seconds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, TextIO

from metaexpert.logger.console import stderr
from metaexpert.logger.console.stderr import Outlet
from metaexpert.logger.entry.console_text import ConsoleText
from metaexpert.logger.journal.sink import Note, ignore

#: Bytes of entries that may wait for a slow console.
MOST_WAITING: Final = 8 * 1024 * 1024
#: Entries printed between two looks at the files: some milliseconds.
SLICE: Final = 100
#: Seconds that the end of a logger waits for a console that takes nothing.
LAST_PATIENCE: Final = 2.0

#: What Windows calls the two streams (GetStdHandle).
STANDARD_OUTPUT: Final = -11
STANDARD_ERROR: Final = -12


def enable_colors(stream: int) -> None:
    """Make a Windows console obey colour codes; an older one takes them for text until asked. Elsewhere do nothing.

    Args:
        stream: `STANDARD_OUTPUT` or `STANDARD_ERROR`; when it is no console, nothing happens.
    """
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        kernel = ctypes.windll.kernel32
        # 7: processed output, wrapping, virtual terminal processing.
        kernel.SetConsoleMode(kernel.GetStdHandle(stream), 7)


def wants_color(stream: TextIO | None) -> bool:
    """Return whether *stream* gets colours: NO_COLOR and FORCE_COLOR decide first, then whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, OSError, ValueError):  # no real stream, or a closed one
        return False


class ConsoleHandler:
    """The sink behind the console.

    Args:
        form: ``text`` or ``json``.
        stream: Returns where to print, asked again for each batch; standard error when left out.
        on_trouble: Called with the error that switched the console off.
    """

    def __init__(
        self,
        form: Literal["text", "json"],
        stream: Callable[[], TextIO | None] | None = None,
        on_trouble: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._form = form
        self._stream = stream or stderr.standard_error
        self._outlet = Outlet(stream) if stream else stderr.outlet
        self._on_trouble = on_trouble
        self._told: Exception | None = None
        self._colored = False
        self._renderers = {colors: ConsoleText(colors) for colors in (False, True)}

    @property
    def works(self) -> bool:
        """False while the stream is one that has failed."""
        return self._outlet.error is None

    @property
    def ready(self) -> bool:
        """Whether the stream took everything so far."""
        return self._outlet.clear

    @property
    def within(self) -> bool:
        """Whether this is called from inside the stream's own `write`."""
        return self._outlet.within

    def write(self, batch: memoryview, note: Note = ignore) -> int:
        """Print all lines of *batch*. Takes everything, also when nothing can be printed any more."""
        stream = self._stream()
        if len(batch) and stream is not None and self.works:
            colors = self._form == "text" and wants_color(stream)
            if colors and not self._colored:
                self._colored = True
                enable_colors(STANDARD_ERROR)
            self._outlet.print(self._text(bytes(batch), colors))
            self._watch()
        return len(batch)

    def push(self, patience: float = 0.0) -> bool:
        """Offer the stream what it did not take, for *patience* seconds. Returns whether it has everything now."""
        done = self._outlet.push(patience)
        self._watch()
        return done

    def flush(self) -> None:
        """Have the stream take everything, if it does so within `LAST_PATIENCE` seconds."""
        self.push(LAST_PATIENCE)

    def close(self) -> None:
        """Nothing is held: the stream is not ours."""

    def _watch(self) -> None:
        error = self._outlet.error
        if error is not None and error is not self._told:
            self._told = error
            self._on_trouble(error)

    def _text(self, batch: bytes, colors: bool) -> str:
        if self._form == "json":
            return batch.decode("utf-8", "replace")
        render = self._renderers[colors]
        return "".join(render(json.loads(line)) + "\n" for line in batch.splitlines() if line)


class Printer:
    """The entries of one logger on their way to its console.

    Args:
        console: Where they go.
        note: Makes the line that tells how many entries were skipped.
        on_wait: Called when a line begins to wait while no other does.
    """

    def __init__(
        self, console: ConsoleHandler, note: Callable[[int], bytes], on_wait: Callable[[], None] = lambda: None
    ) -> None:
        self._console = console
        self._note = note
        self._on_wait = on_wait
        self._lines: deque[bytes] = deque()
        self._came = self._went = 0
        self._printing = threading.Lock()
        self._counting = threading.RLock()
        self._untold = 0
        #: How many entries were skipped.
        self.skipped = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._lines and self._console.ready

    def put(self, line: bytes) -> None:
        """Queue *line*, or skip it when too much waits. Any thread may call it, also from a signal handler."""
        with self._counting:
            if self._came - self._went > MOST_WAITING:
                self._skip(1)
            elif not self._console.within:  # what a stream logs about what it is given would never end
                self._came += len(line)
                self._lines.append(line)
                if len(self._lines) == 1:
                    self._on_wait()

    def tick(self) -> bool:
        """Print some. Returns whether more could be printed at once."""
        # A thread that finds another one at it leaves the work to that one; so does a signal handler.
        if not self._printing.acquire(blocking=False):
            return False
        try:
            if not self._console.push():
                return False
            self._print_slice()
            return bool(self._lines) and self._console.ready
        finally:
            self._printing.release()

    def finish(self, patience: float = LAST_PATIENCE) -> None:
        """Print everything; skip what a console that takes nothing for *patience* seconds leaves."""
        if not self._printing.acquire(timeout=patience):
            self._skip(len(self._lines))
            return
        try:
            while self._console.push(patience) and self._lines:
                self._print_slice()
            self._skip(len(self._lines))
            self._lines.clear()
        finally:
            self._printing.release()

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's to print."""
        self._printing = threading.Lock()
        self._counting = threading.RLock()
        self._lines.clear()
        self._went = self._came

    def _print_slice(self) -> None:
        if self._untold and len(self._lines) < SLICE:
            untold, self._untold = self._untold, 0
            note = self._note(untold)
            self._went -= len(note)  # it did not come by `put`
            self._lines.append(note)
        lines = [self._lines.popleft() for _ in range(min(SLICE, len(self._lines)))]
        if lines:
            self._console.write(memoryview(b"".join(lines)))
            self._went += sum(map(len, lines))

    def _skip(self, count: int) -> None:
        self.skipped += count
        self._untold += count
