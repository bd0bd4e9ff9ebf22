"""One logger's way into its files: room and overflow, flush and close, health, counts, without a real fault."""

from __future__ import annotations

import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sinks import BlockedSink, FailingSink, MemorySink
from waiting import eventually

from metaexpert.logger import BoundLogger, MetaLogger
from metaexpert.logger.counts import SHARES, TRADE_SHARE
from metaexpert.logger.encoding.route import deliver
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.writing_thread import writing_thread
from metaexpert.logger.journal.sink import Note, ignore
from metaexpert.logger.system.forks import ForkSafeThread

Make = Callable[..., BoundLogger]
ReadLog = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no thread for us."""
    really = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("metaexpert"):
            raise RuntimeError("can't start new thread")
        really(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def log_file(logger: BoundLogger, name: str = "expert.log") -> LogFile:
    """Return one of the logger's files."""
    return logger._logger.pipeline.directory.files[name]


def use(logger: BoundLogger, sink: MemorySink, *names: str) -> None:
    """Put *sink* behind the named files, or behind all three."""
    logger.flush()
    for name in names or ("expert.log", "trades.log", "errors.log"):
        log_file(logger, name).sink.close()
        log_file(logger, name).sink = sink


@pytest.fixture
def blocked(make: Make) -> Iterator[Callable[..., tuple[BoundLogger, BlockedSink]]]:
    """A function that makes a logger whose files hang until `sink.release` is set."""
    sinks: list[BlockedSink] = []

    def logger(**options: Any) -> tuple[BoundLogger, BlockedSink]:
        made, sink = make(**options), BlockedSink()
        sinks.append(sink)
        use(made, sink)
        return made, sink

    yield logger
    for sink in sinks:
        sink.release.set()


def waiting(logger: BoundLogger) -> int:
    """Return the bytes that wait."""
    return int(logger.stats()["queue_bytes"])


def entries(sink: MemorySink) -> list[dict[str, Any]]:
    """Return what a sink took."""
    return [orjson.loads(line) for line in bytes(sink.data).splitlines()]


class TestDropLow:
    """overflow="drop_low": a call never waits."""

    SIZE = 40_000

    @pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "trade"])
    def test_each_level_has_its_share(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], level: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The entry that finds its share filled is the first to be refused, not one earlier or later."""
        logger, sink = blocked(journal_size=self.SIZE, log_level="DEBUG")
        log = logger.trade.debug if level == "trade" else getattr(logger, level)
        share = TRADE_SHARE if level == "trade" else SHARES[level]
        before, dropped = 0, 0
        while not dropped:
            before = waiting(logger)
            log("x" * 100)
            dropped = logger.stats()["dropped"]
        assert share * self.SIZE <= before == waiting(logger)
        assert before - share * self.SIZE < 3 * 500, "the entry before it was accepted"
        sink.release.set()
        assert logger.flush()

    def test_higher_levels_go_on_where_lower_ones_stop(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With DEBUG refused INFO is taken, and so on up to trades and errors; each is counted by its level."""
        logger, sink = blocked(journal_size=self.SIZE, log_level="DEBUG")
        counts: dict[str, int] = {}
        for level in ("debug", "info", "warning", "error"):
            while not logger.stats()["dropped_by_level"].get(level):
                getattr(logger, level)("x" * 100)
                counts[level] = counts.get(level, 0) + 1
        logger.trade.info("one too many")
        stats = logger.stats()
        assert stats["dropped_by_level"] == {"debug": 1, "info": 2, "warning": 1, "error": 1}
        assert stats["dropped_by_route"] == {"expert": 5, "trades": 1, "errors": 1}
        assert waiting(logger) <= 2 * self.SIZE + 1500
        sink.release.set()
        logger.flush()
        assert logger.stats()["written"] == sum(counts.values()) - 4 + 1

    def test_what_is_refused_never_waits(self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]) -> None:
        """With the disk hanging and the buffer full, ten thousand calls take no time worth naming."""
        logger, _ = blocked(journal_size=4096)
        began = time.monotonic()
        for _ in range(10_000):
            logger.info("x" * 100)
        assert time.monotonic() - began < 20
        assert logger.stats()["dropped"] > 9_900

    def test_refused_trades_and_errors_go_to_standard_error(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """They are lost to the files and counted, but somebody sees them; a refused INFO is only counted."""
        logger, sink = blocked(journal_size=4096)
        while not logger.stats()["dropped_by_level"].get("error"):
            logger.error("E", filler="x" * 100)
        logger.trade.info("refused trade")
        logger.info("refused info")
        sink.release.set()
        shown = capsys.readouterr().err
        assert "refused trade" in shown
        assert "refused info" not in shown
        assert shown.count("[error] E") == logger.stats()["dropped_by_level"]["error"]

    def test_a_loss_is_announced_exactly_and_once(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """log.dropped has the number and the numbers by level; later losses are announced for themselves."""
        logger, sink = blocked(journal_size=4096, log_level="DEBUG")
        for _ in range(50):
            logger.info("i")
            logger.debug("d")
        expected = logger.stats()["dropped_by_level"]
        assert set(expected) == {"info", "debug"}
        sink.release.set()
        assert logger.flush()
        (news,) = [entry for entry in entries(sink) if entry["message"] == "log.dropped"]
        assert news["by_level"] == expected
        assert news["dropped"] == sum(expected.values())
        assert news["level"] == "warning"
        assert news["logger"] == "metaexpert.logger"
        sink.entered.clear()
        sink.release.clear()
        for _ in range(40):
            logger.debug("d")
        sink.release.set()
        assert logger.flush()
        news = [entry for entry in entries(sink) if entry["message"] == "log.dropped"][1]
        assert news["by_level"] == {"debug": logger.stats()["dropped_by_level"]["debug"] - expected["debug"]}

    def test_a_loss_leaves_no_gap_in_the_numbers(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A refused entry takes no number; neither does one for the console alone or one after close."""
        logger, sink = blocked(journal_size=4096, log_to_console=True, console_level="DEBUG")
        for number in range(200):
            logger.info("i", number=number)
            logger.debug("console only")
        sink.release.set()
        other = MetaLogger(install=False, log_to_console=False)
        assert logger.close()
        logger.error("after close")
        other.info("goes on")
        other.flush()
        numbers = [entry["sequence_id"] for entry in entries(sink)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) < 100

    def test_the_counts_add_up(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What was logged was written or refused; each entry counts once, however many files it goes to."""
        logger, sink = blocked(journal_size=8192)
        calls = 0
        for number in range(300):
            getattr(logger, ("info", "warning", "error")[number % 3])("m")
            logger.trade.warning("t")
            calls += 2
        sink.release.set()
        assert logger.flush()
        stats = logger.stats()
        announced = [entry for entry in entries(sink) if entry["message"] == "log.dropped"]
        assert stats["written"] + stats["dropped"] == calls + len(announced) // 1
        assert sum(stats["written_by_level"].values()) == stats["written"]
        assert sum(stats["dropped_by_level"].values()) == stats["dropped"]
        assert stats["queue_bytes"] == 0
        assert stats["failed"] == 0

    def test_threads_cannot_fill_the_buffer_beyond_their_number(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]
    ) -> None:
        """Eight threads at the limit: at most an entry each too many, and the counts stay exact."""
        logger, sink = blocked(journal_size=40_000)

        def run() -> None:
            for _ in range(200):
                logger.info("x" * 100)

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 30_000 <= waiting(logger) < 30_000 + 8 * 400
        dropped = logger.stats()["dropped"]
        sink.release.set()
        assert logger.flush()
        assert logger.stats()["written"] == 1600 - dropped + 1
        assert waiting(logger) == 0

    def test_a_logger_that_joins_sees_what_may_still_come_before_it_is_told(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rest of the open segment reaches the share of DEBUG: its first entries look at the room, too."""
        monkeypatch.setattr("metaexpert.logger.hub.pipeline._OPEN_PATIENCE", 0.01)
        logger, sink = blocked(journal_size=64_000)
        expert = log_file(logger).lane
        while waiting(logger) + expert.open_room < 0.5 * 64_000:
            logger.info("x" * 100)
        assert waiting(logger) < 0.5 * 64_000
        other = make(journal_size=64_000, log_level="DEBUG")
        assert ("debug", False) in other._logger.pipeline._tight
        sink.release.set()


class TestBlock:
    """overflow="block": a call waits for room."""

    def test_it_waits_and_loses_nothing(self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]) -> None:
        """A call that finds no room returns when there is some; every entry is written, in order."""
        logger, sink = blocked(journal_size=4096, overflow="block", overflow_timeout=30)
        returned = []

        def run() -> None:
            for number in range(100):
                logger.info("m", number=number)
                returned.append(number)

        thread = threading.Thread(target=run)
        thread.start()
        assert sink.entered.wait(10)
        eventually(lambda: waiting(logger) >= 0.75 * 4096)
        assert len(returned) < 50
        sink.release.set()
        thread.join(20)
        assert logger.flush()
        assert [entry["number"] for entry in entries(sink)] == list(range(100))
        assert logger.stats()["dropped"] == 0

    def test_it_waits_no_longer_than_it_may(self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]) -> None:
        """After overflow_timeout the entry is refused, counted and announced as with drop_low."""
        logger, sink = blocked(journal_size=4096, overflow="block", overflow_timeout=0.1)
        while not logger.stats()["dropped"]:
            began = time.monotonic()
            logger.info("m")
        assert 0.1 <= time.monotonic() - began < 5
        sink.release.set()
        assert logger.flush()
        assert [entry["dropped"] for entry in entries(sink) if entry["message"] == "log.dropped"] == [1]

    def test_it_writes_by_itself_when_there_is_no_thread(
        self, no_thread: None, make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nobody else would ever make room."""
        logger = make(journal_size=4096, overflow="block", overflow_timeout=30)
        for _ in range(50):
            logger.info("x" * 500)
        assert logger.stats()["written"] >= 50
        assert logger.stats()["dropped"] == 0

    def test_the_writing_thread_never_waits_for_itself(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A __del__ that logs on it with the buffer full is refused at once."""
        logger, sink = blocked(journal_size=4096, overflow="block", overflow_timeout=0.01)
        while not logger.stats()["dropped"]:
            logger.info("m")
        object.__setattr__(logger.config, "overflow_timeout", 60.0)
        with monkeypatch.context() as patch:
            patch.setattr(ForkSafeThread, "current", True)
            began = time.monotonic()
            logger.info("m")
            assert time.monotonic() - began < 10
        assert logger.stats()["dropped"] == 2
        sink.release.set()


class TestFlushAndClose:
    """flush and close."""

    def test_flush_means_everything_before_it(self, make: Make, read_log: ReadLog) -> None:
        """Whatever other threads log meanwhile."""
        logger, stop = make(), threading.Event()

        def run() -> None:
            while not stop.wait(0.0002):
                logger.info("other")

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                logger.info("mine", number=number)
                assert logger.flush()
                assert any(entry.get("number") == number for entry in read_whole("logs/expert.log"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_flush_gives_up_after_its_time(self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]) -> None:
        """A disk that hangs does not take the caller with it; the entry is written when it answers."""
        logger, sink = blocked()
        logger.info("m")
        began = time.monotonic()
        assert logger.flush(0.1) is False
        assert time.monotonic() - began < 5
        sink.release.set()
        assert logger.flush() is True
        assert [entry["message"] for entry in entries(sink)] == ["m"]

    def test_flush_keeps_trying_for_its_time(self, make: Make) -> None:
        """The disk is full and then has space again, within the timeout."""
        logger, sink = make(), FailingSink()
        use(logger, sink)
        logger.info("m")
        assert logger.flush() is False
        threading.Timer(0.1, lambda: setattr(sink, "broken", False)).start()
        assert logger.flush(20) is True

    def test_close_reports_what_no_file_took(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """False, the same again when asked again, the number in the counts and in words; then nothing is held."""
        logger, sink = make(), FailingSink()
        use(logger, sink)
        logger.info("1")
        logger.info("2")
        assert logger.close(0.1) is False
        assert logger.close() is False
        failed = logger.stats()["failed"]
        assert failed >= 2
        assert f"closed with {failed} entries that no file took" in capsys.readouterr().err

    def test_close_does_not_hang_with_the_disk(self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]) -> None:
        """With a timeout it returns in about that time although a write never does."""
        logger, sink = blocked()
        logger.info("m")
        assert sink.entered.wait(10)
        closing: list[bool] = []
        thread = threading.Thread(target=lambda: closing.append(logger.close(0.1)))
        thread.start()
        thread.join(10)
        assert closing == [False]
        sink.release.set()

    def test_threads_that_log_while_it_closes_lose_nothing(self, make: Make, read_log: ReadLog) -> None:
        """Every call either wrote its entry or was counted as after close; no number comes twice."""
        logger = make()
        calls, go = [0] * 4, threading.Event()

        def run(name: int) -> None:
            go.wait(10)
            while not logger.stats()["dropped_by_route"].get("closed"):
                logger.info("m", thread=name)
                calls[name] += 1

        threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        go.set()
        eventually(lambda: sum(calls) > 100)
        assert logger.close()
        for thread in threads:
            thread.join()
        written = read_log("logs/expert.log")
        assert len(written) + logger.stats()["dropped"] == sum(calls)
        assert len({entry["sequence_id"] for entry in written}) == len(written)

    def test_an_entry_that_was_on_its_way_when_it_closed_is_not_lost(
        self, make: Make, read_log: ReadLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is written where another logger keeps the files open; otherwise it is shown and counted as refused."""
        shared, alone = make(log_dir="shared"), make()
        other = make(log_dir="shared")
        for logger in (shared, alone):
            pipeline = logger._logger.pipeline
            line, route = pipeline.finish(logger._logger, "warning", {"event": "late"})
            logger.close()
            deliver(route, line)
        assert other.flush()
        assert [entry["message"] for entry in read_log("shared/expert.log")] == ["late"]
        assert read_log("logs/expert.log") == []
        assert alone.stats()["dropped_by_route"] == {"closed": 1}
        assert "late" in capsys.readouterr().err
        assert log_file(alone).sink._file is None  # type: ignore[attr-defined]

    @pytest.mark.parametrize("layout", ["flat", "rfc5424"])
    def test_such_an_entry_is_shown_with_its_fields_in_either_layout(
        self, layout: str, make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is laid out once, so that people read the fields and not the structure around them."""
        logger = make(layout=layout)
        line, route = logger._logger.pipeline.finish(logger._logger, "warning", {"event": "late", "price": 1})
        logger.close()
        deliver(route, line)
        assert capsys.readouterr().err.rstrip().endswith("late  price=1")

    def test_two_threads_that_close_both_return_when_it_is_done(
        self, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]
    ) -> None:
        """The second does not return while the first is still writing."""
        logger, sink = blocked()
        logger.info("m")
        results: list[bool] = []
        threads = [threading.Thread(target=lambda: results.append(logger.close())) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert sink.entered.wait(10)
        assert results == []
        sink.release.set()
        for thread in threads:
            thread.join()
        assert results == [True, True]

    def test_one_of_two_loggers_of_a_directory_closes(self, make: Make, read_log: ReadLog) -> None:
        """The other goes on; files and thread stay until the last one goes."""
        first, second = make(), make(expert_name="other")
        first.info("1")
        assert first.close()
        second.info("2")
        assert writing_thread.running
        assert second.close()
        assert [entry["sequence_id"] for entry in read_log("logs/expert.log")] == [1, 2]
        assert not writing_thread.running


class TestSynchronous:
    """async_logging=False."""

    def test_an_entry_is_in_its_files_when_the_call_returns(self, make: Make) -> None:
        """From any thread, without flush."""
        logger, failures = make(async_logging=False), []

        def run(name: int) -> None:
            for number in range(20):
                logger.error("m", who=f"{name}-{number}")
                for path in ("logs/expert.log", "logs/errors.log"):
                    if f'"{name}-{number}"' not in Path(path).read_text("utf-8"):
                        failures.append((path, name, number))

        threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    @pytest.mark.parametrize("where", ["logs", "elsewhere"])
    def test_whoever_holds_what_the_writing_thread_waits_for_does_not_wait_for_it(
        self, make: Make, read_log: ReadLog, where: str
    ) -> None:
        """As a __del__ that logs while the thread that compresses holds the lock of this directory, or of another."""
        logger, other = make(async_logging=False), make(async_logging=False, log_dir=where)
        began = time.monotonic()
        directory = other._logger.pipeline.directory
        assert directory is not None
        with directory.lock:
            logger.error("within")
            other.error("too")
            assert not logger.flush()
        assert time.monotonic() - began < 2
        assert logger.flush()
        assert other.flush()
        assert [entry["message"] for entry in read_log("logs/expert.log")].count("within") == 1

    def test_a_failing_file_does_not_make_it_raise_or_wait_for_the_next_try(self, make: Make) -> None:
        """The entry waits in the buffer; during the pause between two tries a call returns at once."""
        logger, sink = make(async_logging=False), FailingSink()
        use(logger, sink)
        began = time.monotonic()
        for _ in range(100):
            logger.info("m")
        assert time.monotonic() - began < 10
        assert sink.attempts < 100
        sink.broken = False
        assert logger.flush()
        assert [entry["message"] for entry in entries(sink)].count("m") == 100


class TestWithoutThread:
    """The writing thread died or could not start."""

    def test_a_dead_thread_is_told_and_each_call_writes_by_itself(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, read_log: ReadLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Health, log and stderr say so; every entry is there once."""
        logger = make()
        logger.info("before")
        with monkeypatch.context() as patch:
            patch.setattr(type(logger._logger.pipeline.directory), "serve", lambda self: 1 / 0)
            eventually(lambda: writing_thread.lost and logger.health != "ok")
        assert "no writing thread" in logger.health
        logger.info("after")

        def messages() -> list[str]:
            return [entry["message"] for entry in read_log("logs/expert.log")]

        eventually(lambda: "log.degraded" in messages())  # by the thread that ends
        assert [message for message in messages() if not message.startswith("log.")] == ["before", "after"]
        assert "the writing thread is lost" in capsys.readouterr().err
        MetaLogger(install=False, log_to_console=False, log_dir="elsewhere").close()
        eventually(lambda: logger.health == "ok")
        logger.flush()
        assert [entry["message"] for entry in read_log("logs/expert.log")].count("log.healed") == 1

    def test_no_thread_to_be_had(
        self, no_thread: None, make: Make, read_log: ReadLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The system gives no thread at all: the logger works, synchronously."""
        logger = make()
        logger.info("m")
        assert "m" in [entry["message"] for entry in read_log("logs/expert.log")]
        assert logger.close()

    def test_a_fault_while_writing_by_oneself_does_not_reach_the_caller_or_double_the_entry(
        self,
        no_thread: None,
        make: Make,
        monkeypatch: pytest.MonkeyPatch,
        read_log: ReadLog,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The entry was queued; writing failed in a way nobody foresaw; it is written by the next call."""
        logger = make()
        with monkeypatch.context() as patch:
            patch.setattr(type(logger._logger.pipeline.directory), "serve", lambda self: 1 / 0)
            logger.info("m")
        logger.info("n")
        assert [e["message"] for e in read_log("logs/expert.log") if e["message"] in "mn"] == ["m", "n"]
        assert logger.stats()["failed"] == 1


class TestHealth:
    """health, log.degraded, log.healed."""

    def test_a_fault_and_its_end_are_marked_in_the_log(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """With reason, since when, how long, how many were late and how many were dropped."""
        logger, sink = make(journal_size=8192), FailingSink(OSError(errno.ENOSPC, "No space left on device"))
        use(logger, sink)
        assert logger.health == "ok"
        for _ in range(5):
            logger.info("late")
        eventually(lambda: logger.health != "ok")
        state, reason = logger.health.split(": ")
        assert state == "degraded"
        assert reason.startswith("No space left on device since 20")
        for _ in range(60):
            logger.info("late or dropped")
        dropped = logger.stats()["dropped"]
        assert dropped
        sink.broken = False
        eventually(lambda: logger.health == "ok")
        logger.flush()
        found = {entry["message"]: entry for entry in entries(sink)}
        assert found["log.degraded"]["level"] == "error"
        assert found["log.degraded"]["reason"] == "No space left on device"
        healed = found["log.healed"]
        assert (healed["reason"], healed["dropped"]) == ("No space left on device", dropped)
        waited = 65 - dropped + 1  # log.degraded waited too, and log.dropped may have
        assert healed["delayed"] in (waited, waited + 1)
        assert healed["duration"] > 0
        assert logger.close()
        assert logger.health == "closed"

    def test_entries_that_come_before_the_end_is_told_were_late_too(self, make: Make) -> None:
        """Those that were not in the batch in which the fault ended are written a little later."""
        logger = make()

        class Ending(FailingSink):
            def write(self, batch: memoryview, note: Note = ignore) -> int:
                taken = super().write(batch, note)
                while (waits := 3 - next(calls)) > 0:
                    logger.info("late too", waits=waits)
                return taken

        calls, sink = itertools.count(), Ending()
        use(logger, sink, "expert.log")
        logger.info("late")
        eventually(lambda: logger.health != "ok")
        sink.broken = False
        eventually(lambda: logger.health == "ok")
        logger.flush()
        found = {entry["message"]: entry for entry in entries(sink)}
        assert found["log.healed"]["delayed"] == 5

    def test_errors_and_trades_are_on_standard_error_meanwhile(
        self, make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Those that waited when it began and those that come, each once; and nothing else."""
        logger, sink = make(), FailingSink()
        use(logger, sink)
        logger.error("early error")
        logger.trade.info("early trade")
        eventually(lambda: logger.health != "ok")
        logger.critical("late error")
        logger.trade.debug("late trade")
        logger.warning("a warning")
        shown = capsys.readouterr().err
        for text in ("early error", "early trade", "late error", "late trade"):
            assert shown.count(text) == 1, text
        assert "a warning" not in shown

    def test_with_the_console_on_each_is_shown_once(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """The console shows them already; what does not fit the buffer is still shown there."""
        logger, sink = make(log_to_console=True, journal_size=4096), FailingSink()
        use(logger, sink)
        for number in range(60):
            logger.info(f"info {number:03d}")
        eventually(lambda: logger.health != "ok")
        for number in range(60):
            logger.info(f"more {number:03d}")
        logger.error("an error")
        logger.flush()
        assert logger.stats()["dropped"] > 60
        shown = capsys.readouterr().err
        assert [f"more {number:03d}" in shown for number in range(60)] == [True] * 60
        assert shown.count("an error") == 1

    def test_a_file_that_cannot_be_made_shows_at_once(
        self, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing need be logged to learn that nothing could be."""
        (tmp_path / "logs").write_text("a file where the directory should be")
        logger = make()
        assert logger.health.startswith("degraded")
        (tmp_path / "logs").unlink()
        eventually(lambda: logger.health == "ok")
        assert logger.flush()
        assert (tmp_path / "logs" / "trades.log").exists()


class TestRecovery:
    """What an earlier process left in its journal."""

    def leave(self, make: Make, count: int, **options: Any) -> None:
        """Leave *count* entries in the journal: close while no file takes anything."""
        logger = make(**options)
        use(logger, FailingSink())
        for number in range(count):
            getattr(logger, ("info", "error")[number % 2])("left", number=number)
        assert logger.close(0) is False

    def test_it_is_brought_in_and_announced_once(
        self, make: Make, read_log: ReadLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each entry once in each of its files, told by an entry and by stats; and not again by the next one."""
        self.leave(make, 6)
        assert "the next start brings them in from the journal" in capsys.readouterr().err
        logger = make()
        assert logger.flush()
        recovered = logger.stats()["recovered"]
        assert logger.close()
        again = make()
        assert again.close()
        assert again.stats()["recovered"] == 0
        found = read_log("logs/expert.log")
        assert [entry["number"] for entry in found if entry["message"] == "left"] == list(range(6))
        assert [entry["number"] for entry in read_log("logs/errors.log") if entry["message"] == "left"] == [1, 3, 5]
        (news,) = [entry for entry in found if entry["message"] == "log.recovered"]
        assert news["recovered"] == recovered >= 6
        assert news["lines"]["errors.log"] >= 3
        assert logger.stats()["dropped"] == 0

    def test_damage_is_told_and_set_aside(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """The whole lines around it are brought in, start-up goes on."""
        self.leave(make, 6)
        found = {path: path.read_bytes() for path in Path("logs/.metaexpert").glob("*.segment")}
        (segment,) = [path for path, data in found.items() if data[26:36] == b"expert.log" and b"left" in data]
        data = segment.read_bytes()
        begin = data.index(b'{"timestamp"')
        segment.write_bytes(data[:begin] + b"#" + data[begin + 1 :])
        logger = make()
        assert logger.flush()
        entries_ = read_whole("logs/expert.log")
        assert [entry["number"] for entry in entries_ if entry["message"] == "left"] == list(range(1, 6))
        assert "are damaged and were set aside" in capsys.readouterr().err
        assert len(list(Path("logs/.metaexpert").glob("*.damaged"))) == 1

    def test_loggers_of_one_directory_count_their_own(
        self, make: Make, blocked: Callable[..., tuple[BoundLogger, BlockedSink]]
    ) -> None:
        """What waits of another name is not taken for mine."""
        first, sink = blocked(expert_name="first")
        second = make(expert_name="second")
        second.info("1")
        for _ in range(3):
            first.error("m")
        assert (first.stats()["written"], second.stats()["written"]) == (0, 0)
        sink.release.set()
        assert first.flush()
        assert second.flush()
        assert first.stats()["written_by_level"] == {"error": 3}
        assert second.stats()["written_by_level"] == {"info": 1}

    def test_the_thread_rests_while_files_fail(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Entries that wait for a full disk do not make it turn without end."""
        logger, turns = make(), list[float]()
        use(logger, FailingSink())
        for _ in range(100):
            logger.info("m")
        eventually(lambda: logger.health != "ok")
        really = writing_thread._serve

        def serve() -> bool | None:
            turns.append(time.monotonic())
            return really()

        monkeypatch.setattr(writing_thread, "_serve", serve)
        time.sleep(0.5)  # what is measured is that nothing happens
        assert len(turns) < 50


class TestFsync:
    """fsync."""

    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The files that were forced to the device."""
        import os

        names: list[str] = []
        really = os.fsync

        def fsync(fd: int) -> None:
            names.append(Path(f"/proc/self/fd/{fd}").readlink().name)
            really(fd)

        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        monkeypatch.setattr(os, "fsync", fsync)
        return names

    def test_never(self, make: Make, synced: list[str]) -> None:
        """Not even at close."""
        logger = make(fsync="never")
        logger.trade.error("m")
        logger.close()
        assert synced == []

    def test_trades_return_after_their_fsync(self, make: Make, synced: list[str], read_log: ReadLog) -> None:
        """When the call returns its files are on the device; other entries do not wait."""
        logger = make(fsync="trades")
        logger.info("m")
        logger.flush()
        assert synced == []
        logger.trade.info("t")
        assert sorted(synced) == ["expert.log", "trades.log"]
        assert read_log("logs/trades.log")[-1]["message"] == "t"

    def test_interval(self, make: Make, synced: list[str]) -> None:
        """Within about a second, without a call; and what is left at close."""
        logger = make(fsync="interval")
        logger.info("m")
        eventually(lambda: synced == ["expert.log"])
        logger.error("m")
        logger.close()
        assert sorted(synced) == ["errors.log", "expert.log", "expert.log"]

    def test_a_failing_fsync_never_raises(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is told; the trade goes on."""

        def fsync(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        monkeypatch.setattr("os.fsync", fsync)
        make(fsync="trades").trade.info("t")
        assert "forced to the device" in capsys.readouterr().err


class TestSharing:
    """Several loggers in one process."""

    def test_fifty_loggers_have_one_thread(self, make: Make) -> None:
        """In directories of their own or in one, files and numbers are right."""
        before = set(threading.enumerate())
        loggers = [make(expert_name=f"e{n}", log_dir=f"logs/{n % 10}") for n in range(50)]
        assert [thread.name for thread in threading.enumerate() if thread not in before] == ["metaexpert-log"]
        for number in range(10):
            for name, logger in enumerate(loggers):
                logger.info("m", number=number, who=name)
        for logger in loggers:
            assert logger.close()
        assert [thread for thread in threading.enumerate() if thread not in before] == []
        for place in range(10):
            found = read_whole(f"logs/{place}/expert.log")
            assert [entry["sequence_id"] for entry in found] == list(range(1, 51))
            assert {entry["expert_name"] for entry in found} == {f"e{n}" for n in range(place, 50, 10)}

    def test_other_files_in_the_same_directory(self, make: Make, read_log: ReadLog) -> None:
        """Each logger writes its own; the numbers run over both."""
        first, second = make(), make(log_file="b.log", log_error_file="b-errors.log", log_trade_file="b-trades.log")
        first.info("1")
        second.error("2")
        assert first.close()
        assert second.close()
        assert [entry["message"] for entry in read_log("logs/expert.log")] == ["1"]
        assert [entry["sequence_id"] for entry in read_log("logs/b-errors.log")] == [2]

    def test_a_failing_file_of_another_logger_is_not_mine(
        self, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """My flush succeeds when my files are written."""
        (tmp_path / "logs" / "b.log").mkdir(parents=True)
        first, second = make(), make(log_file="b.log", log_error_file="b-errors.log", log_trade_file="b-trades.log")
        first.info("1")
        second.info("2")
        assert first.flush() is True
        assert second.flush() is False

    def test_other_settings_in_the_same_directory_are_told(
        self, make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The first logger's rotation stays in force for the file that both write."""
        make(max_file_size="1MB")
        make(max_file_size="2MB")
        assert "stay in force" in capsys.readouterr().err


class TestConsoleOnly:
    """log_to_file=False."""

    def test_counts_and_flush(self, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What is printed counts as written; no directory is made; flush and close succeed."""
        logger = make(log_to_console=True, log_to_file=False)
        for _ in range(3):
            logger.info("m")
        assert logger.flush()
        assert logger.close()
        assert capsys.readouterr().err.count("[info ] m") == 3
        assert logger.stats()["written"] == 3
        assert list(tmp_path.iterdir()) == []

    def test_a_console_below_the_files_level_loses_nothing_at_close(
        self, make: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An entry for the console alone is not missed in the files."""
        logger = make(log_to_console=True, console_level="DEBUG")
        logger.debug("m")
        assert logger.close()
        assert logger.stats()["failed"] == 0


def read_whole(path: str) -> list[dict[str, Any]]:
    """Return the entries of the whole lines of a file that is being written."""
    return [orjson.loads(line) for line in Path(path).read_bytes().split(b"\n")[:-1]]
