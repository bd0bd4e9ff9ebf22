"""The console: entries as text for a person at a terminal, or as JSON for a collector behind a container.

Entries go to standard error, so that standard output stays the program's own, unless the setting ``stream`` says
otherwise. A closed stream or a broken pipe switches the console off until `sys.stderr` is another stream; the files go
on.

A printed line has at most `LONGEST_LINE` bytes, since container runtimes cut longer ones into pieces that are no JSON.
The files keep the whole entry.

Bound: at most `MOST_WAITING` bytes of entries wait for a slow console. Beyond that, entries are skipped and counted,
and an entry on the console tells how many. The writing thread prints them, a slice at a time and after the files. It
waits for the console only when the logger closes, for `LAST_PATIENCE` seconds.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, Literal, TextIO

from metaexpert.logger.console import stderr
from metaexpert.logger.console.loops import printed_lines
from metaexpert.logger.console.stderr import LONGEST_LINE, NonBlockingStream, cut_lines
from metaexpert.logger.entry.console_text import ConsoleText, TerminalText
from metaexpert.logger.entry.fitting import fitted
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.threads import Lock, RLock

#: Bytes of entries that may wait for a slow console.
MOST_WAITING: Final = 8 * 1024 * 1024
#: Entries printed between two rounds of the files. They take some milliseconds.
SLICE: Final = 100
#: Seconds that a logger waits at its end for a console that takes nothing.
LAST_PATIENCE: Final = 2.0
#: Seconds until the width of the terminal is asked for again.
RESIZED: Final = 0.5

#: The numbers of the two streams on Windows (GetStdHandle).
STANDARD_OUTPUT: Final = -11
STANDARD_ERROR: Final = -12


def enable_colors(stream: int) -> None:
    """Have a Windows console obey colour codes, which older ones print as text. Does nothing elsewhere.

    Args:
        stream: `STANDARD_OUTPUT` or `STANDARD_ERROR`; nothing happens unless it is a console.
    """
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        kernel = ctypes.windll.kernel32
        # 7: processed output, wrapping, virtual terminal processing.
        kernel.SetConsoleMode(kernel.GetStdHandle(stream), 7)


def wants_color(stream: TextIO | None) -> bool:
    """Return whether *stream* gets colours: by NO_COLOR, else by FORCE_COLOR, else whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, OSError, ValueError):  # no real stream, or a closed one
        return False


def width_of(stream: TextIO | None) -> int:
    """Return how many columns the terminal behind *stream* has: 80 where it does not tell, 0 where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80 if stream is not None else 0
    except (AttributeError, OSError, TypeError, ValueError) as error:  # no descriptor, or a closed one
        let_pass(error)
        return 0


def stream_for(setting: Any) -> Callable[[], TextIO | None]:
    """Return what returns the stream to print on, by the setting ``stream``: a word, or an object that writes."""
    if setting == "stderr":
        return stderr.standard_error
    if setting == "stdout":
        return stderr.standard_output
    writer = _writer(setting)
    return lambda: writer


def _writer(given: Any) -> Any:
    """Return *given*, or in its place an object whose `write` adds nothing to a text, as that of a stream does."""
    if isinstance(given, io.TextIOBase):
        return given
    write = getattr(given, "write", given)
    try:
        ends = "end" in inspect.signature(write).parameters  # `tqdm.write` adds a line end, as `print` does
    except (TypeError, ValueError):  # a builtin does not always tell
        ends = False
    if ends:
        return SimpleNamespace(write=partial(write, end=""))
    return given if write is not given else SimpleNamespace(write=write)


class Console:
    """The console of one logger. Any thread may call `put`; one at a time prints.

    Args:
        form: ``text`` or ``json``.
        note: Returns the line that tells how many entries were skipped.
        stream: Returns the stream to print on, asked again for each batch.
        on_trouble: Called with the error that switched the console off.
        on_wait: Called when a line begins to wait while no other does.
        on_loop: Called when printed lines have come back as entries.

    Attributes:
        skipped: How many entries were skipped.
    """

    def __init__(
        self,
        form: Literal["text", "json"],
        note: Callable[[int], bytes],
        stream: Callable[[], TextIO | None] = stderr.standard_error,
        on_trouble: Callable[[Exception], None] = lambda _: None,
        on_wait: Callable[[], None] = lambda: None,
        on_loop: Callable[[], None] = lambda: None,
    ) -> None:
        self._form = form
        self._note = note
        self._on_wait = on_wait
        self._current = stream
        self._stream = stderr.shared.get(stream) or NonBlockingStream(stream)
        self._on_trouble = on_trouble
        self._on_loop = on_loop
        self._loops = False
        self._told: Exception | None = None
        self._colored = False
        self._renderers = {colors: ConsoleText(colors) for colors in (False, True)}
        self._terminal: dict[bool, TerminalText] = {}
        #: The stream whose width is known, and until when that counts.
        self._measured: TextIO | None = None
        self._again = 0.0
        self._width = 0
        self._lines: deque[bytes] = deque()
        self._came = self._went = 0
        self._untold = 0
        self.skipped = 0
        #: The thread that prints, and its text, while it does.
        self.printing: tuple[int, str] | None = None
        self._printing = Lock()
        self._counting = RLock()

    @property
    def works(self) -> bool:
        """False while the stream is one that has failed."""
        return self._stream.error is None

    def echoes(self, message: str) -> bool:
        """Return whether the calling thread prints *message* just now: the stream is redirected into `logging`."""
        printing = self.printing
        echoes = printing is not None and printing[0] == threading.get_ident() and message.strip() in printing[1]
        self._loops = self._loops or echoes
        return echoes

    def prints_on(self, stream: object) -> bool:
        """Return whether it prints where *stream* does: on the same terminal, pipe or file."""
        current = self._current()
        if stream is current:
            return stream is not None
        try:
            return os.path.samestat(os.fstat(stream.fileno()), os.fstat(current.fileno()))  # type: ignore[attr-defined, union-attr]
        except (AttributeError, OSError, TypeError, ValueError) as error:  # no descriptor, or closed
            let_pass(error)
            return False

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be printed."""
        return not self._lines and self._stream.clear

    def put(self, line: bytes) -> None:
        """Queue *line*, or skip it when too much waits. A signal handler may call this too."""
        with self._counting:
            if self._came - self._went > MOST_WAITING:
                self._skip(1)
            elif self._stream.within:  # an entry that the stream itself logs while it prints one would never end
                self._loops = True
            else:
                self._came += len(line)
                self._lines.append(line)
                if len(self._lines) == 1:
                    self._on_wait()

    def tick(self) -> bool:
        """Print a slice. Returns whether more can be printed at once."""
        # If another thread prints, or the code that a signal has interrupted, the work is left to it.
        if not self._printing.acquire(blocking=False):
            return False
        try:
            if not self.push():
                return False
            self._print_slice()
            return bool(self._lines) and self._stream.clear
        finally:
            self._printing.release()

    def finish(self, patience: float = LAST_PATIENCE) -> None:
        """Print everything. What the console has not taken after *patience* seconds is skipped."""
        if not self._printing.acquire(timeout=patience):
            self._skip(len(self._lines))
            return
        try:
            while self.push(patience) and self._lines:
                self._print_slice()
            self._skip(len(self._lines))
            self._lines.clear()
        finally:
            self._printing.release()

    def after_fork(self) -> None:
        """Start anew in a child: what waits is for the parent to print."""
        self._printing = Lock()
        self._counting = RLock()
        self._lines.clear()
        self._went = self._came
        self._stream.after_fork()

    def write(self, batch: bytes) -> None:
        """Print the lines of *batch*, unless the stream has failed."""
        stream = self._current()
        if stream is not None and self.works:
            colors = self._form == "text" and wants_color(stream)
            if colors and not self._colored:
                self._colored = True
                enable_colors(STANDARD_OUTPUT if stream is sys.stdout else STANDARD_ERROR)
            text = self._text(batch, self._renderer(stream, colors))
            self.printing = threading.get_ident(), text
            try:
                if text:
                    self._stream.print(text)
            finally:
                self.printing = None
            self._report()

    def push(self, patience: float = 0.0) -> bool:
        """Offer the stream what it did not take, for *patience* seconds. Returns whether it has everything now."""
        done = self._stream.push(patience)
        self._report()
        return done

    def _report(self) -> None:
        error = self._stream.error
        if error is not None and error is not self._told:
            self._told = error
            self._on_trouble(error)
        if self._loops:
            self._loops = False
            self._on_loop()

    def _renderer(self, stream: TextIO, colors: bool) -> ConsoleText:
        if stream is not self._measured or monotonic() >= self._again:
            self._measured, self._again = stream, monotonic() + RESIZED
            self._width = width_of(stream) if self._form == "text" else 0
        if not self._width:
            return self._renderers[colors]
        terminal = self._terminal.setdefault(colors, TerminalText(colors, width=self._width))
        terminal.width = self._width
        return terminal

    def _text(self, batch: bytes, render: ConsoleText) -> str:
        entries = [line for line in batch.split(b"\n") if line]
        lines = [line for line in entries if not printed_lines.within(line)]
        self._loops = self._loops or len(lines) < len(entries)
        if self._form == "json":
            short = (line if len(line) < LONGEST_LINE else _cut(line) for line in lines)
            texts = [line.decode("utf-8", "replace") for line in short]
        else:
            texts = [cut_lines(render(json.loads(line))) for line in lines]
        for text in texts:
            printed_lines.add(text)
        return "".join(text + "\n" for text in texts)

    def _print_slice(self) -> None:
        if self._untold and len(self._lines) < SLICE:
            untold, self._untold = self._untold, 0
            note = self._note(untold)
            self._went -= len(note)  # it did not come by `put`
            self._lines.append(note)
        lines = [self._lines.popleft() for _ in range(min(SLICE, len(self._lines)))]
        if lines:
            self.write(b"".join(lines))
            self._went += sum(map(len, lines))

    def _skip(self, count: int) -> None:
        self.skipped += count
        self._untold += count


def _cut(line: bytes) -> bytes:
    """Return the *line* of an entry as one that the console may print: the largest values are cut."""
    return fitted(json.loads(line), dumps, LONGEST_LINE)
