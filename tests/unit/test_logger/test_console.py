"""The console: text or JSON on standard error, never waited for, never an exception."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from metaexpert.logger.console import console, stderr
from metaexpert.logger.console.console import STANDARD_OUTPUT, Console, enable_colors, wants_color
from metaexpert.logger.console.stderr import MOST_WAITING, NonBlockingStream

LINE: dict[str, Any] = {
    "timestamp": "2026-11-22T10:31:00.123456Z",
    "level": "info",
    "severity": 6,
    "facility": 16,
    "version": 1,
    "hostname": "box",
    "appname": "bot",
    "procid": "1",
    "msgid": "log",
    "sequence_id": 1,
    "message": "Position opened",
}


def line(message: str = "Position opened", **fields: Any) -> bytes:
    """Return an entry as one line of JSON."""
    return json.dumps({**LINE, "message": message, **fields}, ensure_ascii=False).encode() + b"\n"


def skipped_note(skipped: int) -> bytes:
    """Return the entry that tells how many were skipped."""
    return line("log.skipped", skipped=skipped)


class Pipe:
    """A pipe that nobody reads until asked, with an ordinary text stream on its writing end."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream = open(writing, "w", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115

    def read(self) -> str:
        """Return what is there now."""
        data = b""
        while select.select([self.reading], [], [], 0)[0]:
            piece = os.read(self.reading, 1 << 20)
            if not piece:
                break
            data += piece
        return data.decode()

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reading)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    made = Pipe()
    yield made
    made.close()


class Stream(io.StringIO):
    """A stream of somebody's own making, with an encoding."""

    def __init__(self, encoding: str | None = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str | None:  # type: ignore[override]
        """The encoding that it claims."""
        return self._encoding


class TestHandler:
    """`Console`, a batch at a time."""

    def test_text(self) -> None:
        """One readable line for each entry."""
        stream = Stream()
        Console("text", skipped_note, lambda: stream).write(line(side="BUY") + line("Closed"))
        first, second = stream.getvalue().splitlines()
        assert first == "2026-11-22 10:31:00.123 [info ] Position opened  side=BUY"
        assert second.endswith("Closed")

    def test_a_windows_console_is_asked_for_colours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Windows the console's mode is set, once and before the first colour; elsewhere nothing is called."""
        calls: list[tuple[Any, ...]] = []
        kernel = SimpleNamespace(GetStdHandle=lambda n: ("handle", n), SetConsoleMode=lambda *a: calls.append(a))
        monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
        stream = Stream()
        monkeypatch.setenv("FORCE_COLOR", "1")
        Console("text", skipped_note, lambda: stream).write(line())
        enable_colors(STANDARD_OUTPUT)
        assert calls == []
        monkeypatch.setattr(sys, "platform", "win32")
        enable_colors(STANDARD_OUTPUT)
        handler = Console("text", skipped_note, lambda: stream)
        handler.write(line())
        handler.write(line())
        monkeypatch.setenv("NO_COLOR", "1")
        Console("text", skipped_note, lambda: stream).write(line())
        assert calls == [(("handle", -11), 7), (("handle", -12), 7)]

    def test_json(self) -> None:
        """The very line of the file."""
        stream = Stream()
        Console("json", skipped_note, lambda: stream).write(line(side="BUY"))
        assert stream.getvalue().encode() == line(side="BUY")

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "no-such-codec", None])
    def test_a_narrow_terminal_shows_escapes(self, encoding: str | None) -> None:
        """What the encoding cannot hold is escaped; the console never stops for it."""
        stream = Stream(encoding)
        handler = Console("text", skipped_note, lambda: stream)
        handler.write(line("Prix 5 € → 日本"))
        assert handler.works
        text = stream.getvalue()
        assert "Prix 5" in text
        if encoding not in ("no-such-codec", None):
            text.encode(encoding or "")

    @pytest.mark.parametrize("encoding", ["ascii", "utf-16-le"])
    def test_an_ordinary_stream_of_another_encoding(self, encoding: str) -> None:
        """Bytes leave in the stream's own encoding."""
        reading, writing = os.pipe()
        with open(writing, "w", encoding=encoding, buffering=1) as stream:  # noqa: PTH123
            Console("text", skipped_note, lambda: stream).write(line("5 €"))
        text = os.read(reading, 1000).decode(encoding)
        os.close(reading)
        assert ("5 €" if encoding == "utf-16-le" else "5 \\u20ac") in text

    def test_no_stream_at_all(self) -> None:
        """pythonw has none: entries are taken and nothing happens."""
        handler = Console("text", skipped_note, lambda: None)
        handler.write(line())
        assert handler.push()

    def test_a_closed_stream_switches_the_console_off_once(self) -> None:
        """One report; later entries are taken; another stream is used again."""
        streams, told = [Stream()], list[Exception]()
        handler = Console("text", skipped_note, lambda: streams[-1], told.append)
        streams[-1].close()
        for _ in range(3):
            handler.write(line())
        assert [type(error) for error in told] == [ValueError]
        assert not handler.works
        streams.append(Stream())
        handler.write(line())
        assert handler.works
        assert "Position opened" in streams[-1].getvalue()

    def test_a_broken_pipe_switches_the_console_off(self, pipe: Pipe) -> None:
        """Its reader has gone (`bot 2>&1 | head`): one report, no exception, no signal."""
        told: list[Exception] = []
        handler = Console("text", skipped_note, lambda: pipe.stream, told.append)
        os.close(pipe.reading)
        try:
            handler.write(line())
            handler.write(line())
        finally:
            pipe.reading = os.open(os.devnull, os.O_RDONLY)
        assert [error.errno for error in told if isinstance(error, OSError)] == [errno.EPIPE]
        assert not handler.works

    def test_a_stream_that_raises_anything(self) -> None:
        """A notebook's or an IDE's stream may fail as it likes; the writing thread must live on."""

        class Odd(Stream):
            def write(self, text: str) -> int:
                raise KeyError("surprise")

        stream = Odd()
        handler = Console("text", skipped_note, lambda: stream)
        handler.write(line())
        assert not handler.works

    def test_a_stream_that_can_only_write(self) -> None:
        """Something with nothing but `write` is good enough."""

        class Least:
            def __init__(self) -> None:
                self.texts: list[str] = []

            def write(self, text: str) -> None:
                self.texts.append(text)

        stream: Any = Least()
        handler = Console("text", skipped_note, lambda: stream)
        handler.write(line())
        assert handler.works
        assert "Position opened" in stream.texts[0]

    def test_numbers_are_shown_exactly(self) -> None:
        """An integer of any size, as the file has it."""
        stream = Stream()
        Console("text", skipped_note, lambda: stream).write(line(n=12345678901234567890123))
        assert "n=12345678901234567890123" in stream.getvalue()

    def test_a_full_disk_behind_the_stream_does_not_switch_it_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Standard error in a file on a full disk works again when there is space, and says what is missing."""

        class Full(Stream):
            full = True

            def write(self, text: str) -> int:
                if self.full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(text)

        stream = Full()
        handler = Console("text", skipped_note, lambda: stream)
        handler.write(line("lost"))
        stream.full = False
        handler.write(line("shown"))
        assert handler.works
        assert "shown" in stream.getvalue()
        assert "1 texts could not be printed" in stream.getvalue()

    def test_what_the_program_printed_before_comes_first(self) -> None:
        """A buffered stream keeps its order although our bytes go past its buffer."""
        reading, writing = os.pipe()
        with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write("mine\n")
            Console("text", skipped_note, lambda: stream).write(line("ours"))
            stream.write("mine again\n")
        text = os.read(reading, 10_000).decode()
        os.close(reading)
        assert text.index("mine") < text.index("ours") < text.index("mine again")


class TestColor:
    """`wants_color`."""

    class Terminal(Stream):
        """Says that it is a terminal."""

        def isatty(self) -> bool:
            """Claim it."""
            return True

    @pytest.mark.parametrize(
        ("environment", "terminal", "colors"),
        [
            ({}, True, True),
            ({}, False, False),
            ({"TERM": "dumb"}, True, False),
            ({"NO_COLOR": "1"}, True, False),
            ({"NO_COLOR": ""}, True, True),
            ({"FORCE_COLOR": "1"}, False, True),
            ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ],
    )
    def test_colours(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, colors: bool
    ) -> None:
        """A terminal has colours, a file has none, and the two well-known variables decide before that."""
        monkeypatch.setenv("TERM", "xterm")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        stream = self.Terminal() if terminal else Stream()
        assert wants_color(stream) is colors
        Console("text", skipped_note, lambda: stream).write(line())
        assert ("\x1b[" in stream.getvalue()) is colors

    def test_a_closed_or_missing_stream_has_none(self) -> None:
        """Asking does not raise."""
        stream = Stream()
        stream.close()
        assert not wants_color(stream)
        assert not wants_color(None)


@pytest.mark.skipif(os.name == "nt", reason="readiness of pipes is known on POSIX only")
class TestNobodyReads:
    """Streams that take nothing: printing never waits."""

    @pytest.fixture(params=["pipe", "socket", "terminal", "pipe, macOS", "terminal, macOS", "pipe, no poll"])
    def stuck(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
        """A stream that nobody reads, and the descriptor to read it by; also as on systems without our conveniences."""
        kind, _, system = request.param.partition(", ")
        if kind == "socket":
            reading, writing = (end.detach() for end in socket.socketpair())
        elif kind == "terminal":
            import pty

            reading, writing = pty.openpty()
        else:
            reading, writing = os.pipe()
        if system == "no poll":
            monkeypatch.delattr(select, "poll")
        if system == "macOS":
            monkeypatch.setattr(sys, "platform", "darwin")
        if system:
            really = os.open

            def without_proc(path: Any, *args: Any, **options: Any) -> int:
                if str(path).startswith("/proc/"):
                    raise FileNotFoundError(errno.ENOENT, "no /proc")
                return really(path, *args, **options)

            monkeypatch.setattr(os, "open", without_proc)
        stream = open(writing, "w", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115
        yield stream, reading
        os.close(reading)
        stream.close()

    def test_it_waits_for_nothing_and_loses_nothing_that_it_took(self, stuck: tuple[TextIO, int]) -> None:
        """Texts are kept when the stream is full, in order and whole, until somebody reads."""
        stream, reading = stuck
        stderr_stream = NonBlockingStream(lambda: stream)
        texts: list[str] = []
        began = time.monotonic()
        while stderr_stream.clear:
            texts.append(f"{len(texts):07d} " + "x" * 1000 + "\n")
            assert stderr_stream.print(texts[-1])
        texts += ["last but one\n", "last\n"]
        assert stderr_stream.print(texts[-2])
        assert stderr_stream.print(texts[-1])
        assert time.monotonic() - began < 30
        data = b""
        deadline = time.monotonic() + 20
        while len(data.replace(b"\r", b"")) < sum(map(len, texts)) and time.monotonic() < deadline:
            stderr_stream.push()
            while select.select([reading], [], [], 0)[0]:
                data += os.read(reading, 1 << 16)
        assert data.replace(b"\r", b"").decode() == "".join(texts)
        assert stderr_stream.clear

    def test_the_stream_of_others_stays_as_it_was(self, stuck: tuple[TextIO, int]) -> None:
        """Our not waiting must not make the program's own prints fail: its descriptor keeps blocking."""
        stream, _ = stuck
        NonBlockingStream(lambda: stream).print("text\n")
        assert os.get_blocking(stream.fileno())

    def test_no_descriptor_is_left(self, stuck: tuple[TextIO, int]) -> None:
        """What is opened to print is closed again."""
        stream, _ = stuck
        stderr_stream = NonBlockingStream(lambda: stream)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(100):
            stderr_stream.print("text\n")
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestNonBlockingStream:
    """`NonBlockingStream`."""

    def fill(self, stderr_stream: NonBlockingStream) -> None:
        """Print until the pipe is full."""
        while stderr_stream.clear:
            stderr_stream.print("x" * 4095 + "\n")

    def test_too_much_is_refused_counted_and_said(self, pipe: Pipe) -> None:
        """Beyond the bound nothing is kept; when there is room again a line tells how many are missing."""
        stderr_stream = NonBlockingStream(lambda: pipe.stream)
        self.fill(stderr_stream)
        results = [stderr_stream.print(f"text {number}\n") for number in range(MOST_WAITING + 9)]
        refused = results.count(False)
        assert refused >= 9
        assert results.index(False) >= MOST_WAITING - 1
        text = ""
        while not stderr_stream.push():
            text += pipe.read()
        text += pipe.read()
        assert f"{refused} texts could not be printed here\n" in text
        assert "text 0\ntext 1\n" in text

    def test_whoever_waits_waits_once_for_all(self, pipe: Pipe) -> None:
        """Fifty loggers that close over a dead console together wait as long as one."""
        stderr_stream = NonBlockingStream(lambda: pipe.stream)
        self.fill(stderr_stream)
        began = time.monotonic()
        results = [stderr_stream.push(0.1) for _ in range(50)]
        assert not any(results)
        assert time.monotonic() - began < 2
        pipe.read()
        assert stderr_stream.push(0.1)
        self.fill(stderr_stream)
        began = time.monotonic()
        stderr_stream.push(0.1)
        assert time.monotonic() - began >= 0.1

    def test_waiting_ends_as_soon_as_somebody_reads(self, pipe: Pipe) -> None:
        """A slow reader gets everything within the patience."""
        stderr_stream = NonBlockingStream(lambda: pipe.stream)
        self.fill(stderr_stream)
        reader = threading.Timer(0.05, pipe.read)
        reader.start()
        assert stderr_stream.push(10)
        reader.join()

    def test_printing_from_within_the_stream_does_not_recurse(self) -> None:
        """A stream that prints on itself, by way of our last resort, is refused."""

        class Echo(Stream):
            def write(self, text: str) -> int:
                stderr_stream.print("echo " + text)
                return super().write(text)

        stream = Echo()
        stderr_stream = NonBlockingStream(lambda: stream)
        stderr_stream.print("text\n")
        assert stream.getvalue().startswith("text\n")
        assert "echo" not in stream.getvalue()

    def test_threads_print_whole_texts(self, pipe: Pipe) -> None:
        """However many print at once, no text is inside another and none is missing."""
        stderr_stream = NonBlockingStream(lambda: pipe.stream)

        def run(name: int) -> None:
            for number in range(40):
                stderr_stream.print(f"{name}-{number}\n")

        threads = [threading.Thread(target=run, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stderr_stream.push(5)
        expected = sorted(f"{name}-{number}" for name in range(6) for number in range(40))
        assert sorted(pipe.read().splitlines()) == expected

    def test_a_child_prints_nothing_of_its_parents(self, pipe: Pipe) -> None:
        """What waits at a fork is printed once, by the parent."""
        stderr_stream = NonBlockingStream(lambda: pipe.stream)
        self.fill(stderr_stream)
        stderr_stream.after_fork()
        assert stderr_stream.clear


class TestQueue:
    """`Console`, from the queue."""

    def make(self, stream: TextIO) -> Console:
        """Return a console on *stream*, in JSON, so that what is printed can be read back."""
        return Console("json", skipped_note, lambda: stream)

    def test_a_burst_is_printed_wholly_and_in_order(self) -> None:
        """Nothing is skipped in a program that logs a lot and then ends, on a console that works."""
        stream = Stream()
        printer = self.make(stream)
        for number in range(5000):
            printer.put(line(str(number)))
        while printer.tick():
            pass
        printer.finish()
        assert [json.loads(text)["message"] for text in stream.getvalue().splitlines()] == [str(n) for n in range(5000)]
        assert printer.skipped == 0

    def test_a_tick_prints_a_slice_behind_which_files_have_their_turn(self) -> None:
        """And says that there is more."""
        stream = Stream()
        printer = self.make(stream)
        for _ in range(console.SLICE + 1):
            printer.put(line())
        assert printer.tick()
        assert stream.getvalue().count("\n") == console.SLICE
        assert not printer.tick()
        assert stream.getvalue().count("\n") == console.SLICE + 1

    @pytest.mark.skipif(os.name == "nt", reason="readiness of pipes is known on POSIX only")
    def test_a_console_that_takes_nothing_costs_a_bounded_memory_and_time(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beyond the bound entries are skipped and counted; the end waits as long as it may and skips the rest."""
        monkeypatch.setattr(console, "MOST_WAITING", 1_000_000)
        printer = self.make(pipe.stream)
        for number in range(10_000):
            printer.put(line(str(number)))
            if number % 100 == 0:
                printer.tick()
        assert 1_000_000 <= sum(map(len, printer._lines)) < 1_001_000
        assert printer.skipped > 1000
        began = time.monotonic()
        printer.finish(0.2)
        assert 0.2 <= time.monotonic() - began < 5
        printed = [json.loads(text) for text in pipe.read().splitlines()[:-1]]
        assert len(printed) + printer.skipped == pytest.approx(10_000, abs=console.SLICE)

    @pytest.mark.skipif(os.name == "nt", reason="readiness of pipes is known on POSIX only")
    def test_what_was_skipped_is_said_when_the_console_works_again(
        self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An entry on the console tells how many are missing; together with those printed they are all."""
        monkeypatch.setattr(console, "MOST_WAITING", 50_000)
        printer = self.make(pipe.stream)
        for number in range(2000):
            printer.put(line(str(number)))
            printer.tick()
        text = ""
        while printer.tick() or printer._lines or not printer.push():
            text += pipe.read()
        text += pipe.read()
        printed = [json.loads(piece) for piece in text.splitlines()]
        (note,) = [entry for entry in printed if entry["message"] == "log.skipped"]
        assert note["skipped"] == printer.skipped > 0
        assert len(printed) - 1 + printer.skipped == 2000

    def test_a_stream_that_logs_what_it_is_given_does_not_feed_itself(self) -> None:
        """`sys.stderr` replaced by something that logs: no endless loop."""

        class Logging(Stream):
            def write(self, text: str) -> int:
                printer.put(line("echo"))
                return super().write(text)

        stream = Logging()
        printer = self.make(stream)
        printer.put(line("once"))
        while printer.tick():
            pass
        assert stream.getvalue().count("\n") == 1

    def test_a_thread_that_hangs_in_the_stream_does_not_hold_the_end(self) -> None:
        """A stream of somebody's own may block for ever; close gives up."""
        inside, leave = threading.Event(), threading.Event()

        class Blocking(Stream):
            def write(self, text: str) -> int:
                inside.set()
                leave.wait(10)
                return len(text)

        printer = self.make(Blocking())
        printer.put(line())
        thread = threading.Thread(target=printer.tick)
        thread.start()
        inside.wait(10)
        printer.put(line())
        assert not printer.tick()
        began = time.monotonic()
        printer.finish(0.05)
        assert time.monotonic() - began < 5
        leave.set()
        thread.join()


def test_the_last_resort_never_raises(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever standard error is: a stream, none, a closed one."""
    stderr.print_line("hello €")
    assert capsys.readouterr().err == "hello €\n"
    stderr.print_entry(LINE)
    assert "Position opened" in capsys.readouterr().err
    closed = Stream()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        stderr.print_line("hello")


class TestLongLines:
    """Container runtimes cut lines of 16 KiB into pieces that no collector can read."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"body": "x" * 40_000},
            {"body": "é€😀" * 10_000},
            {"book": [[1.5, 2.5]] * 10_000},
            {"exception": {"type": "E", "value": "v", "text": "line\n" * 10_000}},
            {"structured_data": {"fields@32473": {"body": "y" * 40_000}, "context@32473": {"order_id": "o-1"}}},
        ],
        ids=["text", "unicode", "list", "exception", "layout"],
    )
    def test_a_line_of_json_stays_json(self, pipe: Pipe, fields: dict[str, Any]) -> None:
        """It is cut and marked, its other fields are there, and the lines around it are as they were."""
        printed = Console("json", skipped_note, lambda: pipe.stream)
        printed.write(line("before") + line("Position opened", order_id="o-1", **fields) + line("after"))
        first, second, third = pipe.read().encode().splitlines(keepends=True)
        assert (first, third) == (line("before"), line("after"))
        assert len(second) < 16 * 1024
        entry = json.loads(second)
        assert (entry["message"], entry["order_id"], "…[cut " in second.decode()) == ("Position opened", "o-1", True)
        assert json.dumps(entry).count("o-1") == 1 + ("structured_data" in fields)

    @pytest.mark.parametrize("colors", ["0", ""], ids=["plain", "colors"])
    def test_a_line_of_text_is_cut(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch, colors: str) -> None:
        """And so is a line of a traceback, but not the traceback."""
        monkeypatch.setenv("NO_COLOR" if colors else "FORCE_COLOR", "1")
        printed = Console("text", skipped_note, lambda: pipe.stream)
        text = "\n".join(["short"] * 3000 + ["€" * 20_000, "last"])
        error = {"type": "E", "value": "v", "text": text}
        printed.write(line("Position opened", body="x" * 40_000, exception=error))
        lines = pipe.read().encode().splitlines(keepends=True)
        assert max(map(len, lines)) < 16 * 1024
        assert len(lines) == 3003
        assert sum("…[cut ".encode() in printed for printed in lines) == 2
        assert lines[-1] == b"    last\n"

    def test_the_last_resort_is_cut_too(self, monkeypatch: pytest.MonkeyPatch, pipe: Pipe) -> None:
        """An entry that only standard error takes is printed in lines that a collector can read."""
        monkeypatch.setattr(sys, "stderr", pipe.stream)
        stderr.print_entry(json.loads(line(body="x" * 40_000)))
        assert len(pipe.read()) < 16 * 1024
