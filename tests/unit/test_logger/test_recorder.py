"""The flight recorder: what is below log_level is kept in a ring, and written when an error comes."""

from __future__ import annotations

import errno
import gc
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sinks import FailingSink, FakeClock

from metaexpert.logger import BoundLogger, ConfigurationError, LoggerConfig, MetaLogger, log_context, register_secret
from metaexpert.logger.files import recorder as module
from metaexpert.logger.files._dead_journal import MOST_FILES, MOST_RINGS, delete_oldest, dump_name
from metaexpert.logger.files.recorder import Recorder
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.ring import Ring, count_lines, last_time
from metaexpert.logger.schema import is_recorder_file
from metaexpert.logger.system.native import core

Read = Callable[..., list[dict[str, Any]]]
Make = Callable[..., BoundLogger]


def recorder_of(logger: BoundLogger) -> Recorder:
    """Return the recorder of a logger that has one."""
    recorder = logger._logger.pipeline.recorder
    assert recorder is not None
    return recorder


def dumps(directory: str = "logs") -> list[Path]:
    """Return the files of the recorder, the oldest first."""
    return sorted(Path(directory).glob("recorder-*.log"))


@pytest.fixture
def dumped(read_log: Read) -> Callable[[], list[list[int]]]:
    """Return a function that returns the field ``i`` of the entries of each dump."""
    return lambda: [[entry["i"] for entry in read_log(path)] for path in dumps()]


@pytest.fixture
def recording(make: Make) -> Callable[..., tuple[BoundLogger, FakeClock]]:
    """Return a function that makes a logger with a recorder, for whose pauses a clock that is moved counts."""

    def logger(**options: Any) -> tuple[BoundLogger, FakeClock]:
        made, clock = make(**{"recorder": "1MB", **options}), FakeClock(1000)
        recorder_of(made)._monotonic = clock
        return made, clock

    return logger


def ring_bytes() -> bytes:
    """Return all that the rings in `logs` hold."""
    return b"".join(path.read_bytes()[512:] for path in Path("logs/.metaexpert").glob("*.ring"))


class TestWhatIsDumped:
    def test_an_error_brings_exactly_what_was_recorded_before_it(self, make: Make, read_log: Read, dumped: Any) -> None:
        """The entries below log_level before the error, in order, are in a file of their own, and in no other."""
        logger = make(recorder="1MB")
        for i in range(500):
            logger.debug("tick", i=i, price=1.5)
        logger.info("start")
        logger.error("boom")
        for i in range(500, 600):
            logger.debug("tick", i=i)
        assert logger.flush()
        assert dumped() == [list(range(500))]
        assert [entry["message"] for entry in read_log("logs/expert.log")][:2] == ["start", "boom"]
        assert [entry["level"] for entry in read_log(dumps()[0])] == ["debug"] * 500

    def test_nothing_is_dumped_twice(self, recording: Any, dumped: Any) -> None:
        """The next error brings what came since the last one."""
        logger, clock = recording()
        for i in range(30):
            logger.debug("tick", i=i)
            if i % 10 == 9:
                logger.error("boom")
                logger.flush()
                clock.advance(3600)
        logger.error("another, with nothing before it")
        logger.flush()
        assert dumped() == [list(range(10)), list(range(10, 20)), list(range(20, 30))]

    def test_the_files_have_no_gap_and_tell_of_the_dump(self, make: Make, read_log: Read) -> None:
        """Recorded entries burn no number of the files; log.recorder names the file and the number of its entries."""
        logger = make(recorder="1MB")
        for i in range(10):
            logger.debug("tick", i=i)
            logger.warning("w")
        logger.error("boom")
        logger.close()
        entries = read_log("logs/expert.log")
        assert [entry["sequence_id"] for entry in entries] == list(range(1, 13))
        told = entries[-1]
        assert (told["message"], told["file"], told["dumped"]) == ("log.recorder", dumps()[0].name, 10)

    def test_every_kind_of_entry_is_recorded_as_it_would_be_logged(self, make: Make, read_log: Read) -> None:
        """Context, values that only the plain chain knows, tracebacks, and positional arguments."""
        logger = make(recorder="1MB", log_level="ERROR")
        with log_context(strategy_id=7):
            logger.info("a %s", "b", odd=Path("x"))
            try:
                raise ValueError("lost")
            except ValueError:
                logger.warning("w", exc_info=True)
        logger.bind(symbol="BTCUSDT").debug("d")
        logger.critical("end")
        logger.flush()
        info, warning, debug = read_log(dumps()[0])
        assert (info["message"], info["strategy_id"], info["odd"]) == ("a b", 7, "x")
        assert warning["exception"]["value"] == "lost"
        assert (debug["symbol"], debug["sequence_id"]) == ("BTCUSDT", 3)

    def test_secrets_are_masked_in_the_ring_already(self, make: Make) -> None:
        """By value, by key and by shape, before anything is in the journal."""
        register_secret("hunter2-hunter2")
        logger = make(recorder="1MB")
        logger.debug("uses hunter2-hunter2", api_key="abcdef", note="Authorization: Bearer abc.def-ghi-jkl-mno")
        logger.debug("plain", token="abcdef")
        held = ring_bytes()
        assert held.count(b"***") == 4
        logger.error("boom")
        logger.flush()
        for text in (held, dumps()[0].read_bytes()):
            assert not any(secret in text for secret in (b"hunter2-hunter2", b"abcdef", b"abc.def-ghi"))

    def test_records_of_logging_that_come_in_are_recorded(self, read_log: Read) -> None:
        """The program's own level for a logger of logging counts; the root logger stays at log_level."""
        logger = MetaLogger(log_to_console=False, recorder="1MB")
        logging.getLogger("open").setLevel("DEBUG")
        try:
            logging.getLogger("open").debug("kept")
            logging.getLogger("shut").debug("not wanted")
            logging.getLogger("open").error("boom")
            logger.flush()
        finally:
            logging.getLogger("open").setLevel("NOTSET")
        assert [(entry["logger"], entry["message"]) for entry in read_log(dumps()[0])] == [("open", "kept")]

    def test_trades_go_to_their_file_whatever_their_level(self, make: Make, read_log: Read) -> None:
        """What a bound category lifts over log_level is logged, not recorded."""
        logger = make(recorder="1MB")
        logger.trade.debug("fill")
        logger.debug("tick")
        logger.error("boom")
        logger.flush()
        assert [entry["message"] for entry in read_log("logs/trades.log")] == ["fill"]
        assert [entry["message"] for entry in read_log(dumps()[0])] == ["tick"]

    def test_an_error_below_log_level_is_recorded_and_wants_a_dump_too(self, make: Make, read_log: Read) -> None:
        """With log_level CRITICAL an ERROR is in the dump that it wants, or in the next one."""
        logger = make(recorder="1MB", log_level="CRITICAL")
        logger.debug("tick")
        logger.error("boom")
        logger.flush()
        assert [entry["message"] for entry in read_log(dumps()[0])] == ["tick", "boom"]

    @pytest.mark.parametrize("options", [{"async_logging": False}, {"layout": "rfc5424"}, {"overflow": "block"}])
    def test_other_ways_of_writing(self, make: Make, read_log: Read, options: dict[str, Any]) -> None:
        """The synchronous mode, the other layout, and calls that may wait."""
        logger = make(recorder="1MB", **options)
        for i in range(5):
            logger.debug("tick", i=i)
        logger.error("boom")
        logger.flush()
        assert [entry["message"] for entry in read_log(dumps()[0], options.get("layout"))] == ["tick"] * 5

    def test_a_full_journal_keeps_nothing_from_being_recorded(self, make: Make) -> None:
        """The ring is no part of what may wait."""
        logger = make(recorder="1MB", journal_size="4KB")
        for i in range(2000):
            logger.debug("tick", i=i)
        assert logger.stats()["dropped"] == 0
        assert logger.stats()["recorder"]["recorded"] == 2000

    def test_a_limit_of_repeats_is_for_what_is_written(self, make: Make, dumped: Any) -> None:
        """Everything is recorded, however often it comes."""
        logger = make(recorder="1MB", repeat_limit=2)
        for i in range(10):
            logger.debug("tick", i=i)
        logger.error("boom")
        logger.flush()
        assert dumped() == [list(range(10))]

    def test_threads(self, recording: Any, read_log: Read) -> None:
        """Of all threads each entry is recorded once, and the numbers of a dump follow each other."""
        logger, clock = recording(recorder="16MB")

        def work(name: int) -> None:
            for i in range(1000):
                logger.debug("tick", name=name, i=i)
                if i % 300 == 299:
                    logger.error("boom")
                    clock.advance(3600)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.flush()  # else a dump under way ends after the advance, and begins the pause before the next one there
        clock.advance(3600)
        logger.error("last")
        logger.flush()
        entries = [entry for path in dumps() for entry in read_log(path)]
        assert [entry["sequence_id"] for entry in entries] == list(range(1, 4001))
        for name in range(4):
            assert [entry["i"] for entry in entries if entry["name"] == name] == list(range(1000))


class TestLevels:
    def test_levels_of_loggers_and_of_run_time(self, make: Make, read_log: Read) -> None:
        """What a level lets through is logged; only what is below it is recorded, also after set_level."""
        logger = make(recorder="1MB", log_level="WARNING")
        logger.info("recorded")
        logger.set_level("INFO")
        logger.info("logged")
        logger.debug("recorded too")
        logger.set_level("DEBUG")
        logger.debug("logged too")
        logger.error("boom")
        logger.flush()
        assert [entry["message"] for entry in read_log(dumps()[0])] == ["recorded", "recorded too"]
        assert [entry["message"] for entry in read_log("logs/expert.log")][:3] == ["logged", "logged too", "boom"]

    def test_single_loggers(self, read_log: Read) -> None:
        """A logger with a level of its own records what is below that."""
        logger = MetaLogger(log_to_console=False, recorder="1MB", levels={"feed": "ERROR", "strategy": "DEBUG"})
        from metaexpert.logger import get_logger

        get_logger("feed").warning("quiet")
        get_logger("strategy").debug("logged")
        logger.error("boom")
        logger.flush()
        assert [entry["message"] for entry in read_log(dumps()[0])] == ["quiet"]
        assert next(entry["message"] for entry in read_log("logs/expert.log")) == "logged"

    def test_every_level_is_enabled(self, make: Make) -> None:
        """A program that asks before it makes an expensive entry makes it for the recorder too."""
        logger = make(recorder="1MB", log_level="ERROR")
        assert (logger.is_enabled_for(10), logger.get_effective_level()) == (True, 10)
        assert (make(log_dir="other").is_enabled_for(10), logger.is_enabled_for(9)) == (False, False)

    def test_the_console_shows_them_as_without_a_recorder(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """An entry for console and recorder bears, on the console, the number of the last entry of the files."""
        logger = make(log_to_console=True, console_level="DEBUG", json_logging=True, recorder="1MB")
        logger.info("one")
        for _ in range(3):
            logger.debug("two")
        logger.close()
        shown = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [(entry["message"], entry["sequence_id"]) for entry in shown] == [("one", 1), *[("two", 1)] * 3]


class TestBounds:
    def test_the_last_entries_stay(self, make: Make, dumped: Any) -> None:
        """The ring takes no more than its size; what was overwritten is counted."""
        logger = make(recorder="64KB")
        for i in range(5000):
            logger.debug("tick", i=i)
        assert sum(path.stat().st_size for path in Path("logs/.metaexpert").glob("*.ring")) <= 64 * 1024 * 1.1
        logger.error("boom")
        logger.flush()
        (kept,) = dumped()
        stats = logger.stats()["recorder"]
        assert kept == list(range(5000 - len(kept), 5000))
        assert 64 * 1024 * 0.7 < dumps()[0].stat().st_size < 64 * 1024
        assert (stats["recorded"], stats["overwritten"], stats["dumped"]) == (5000, 5000 - len(kept), len(kept))

    def test_an_entry_that_is_larger_than_a_segment(self, make: Make, read_log: Read) -> None:
        """It takes the room of several; one that is larger than the ring is counted as refused."""
        logger = make(recorder="64KB")
        for i in range(300):
            logger.debug("tick", i=i)
        logger.debug("large", text="x" * 30_000)
        logger.debug("too large", text=["y" * 50_000] * 2)
        logger.debug("after")
        logger.error("boom")
        logger.flush()
        messages = [entry["message"] for entry in read_log(dumps()[0])]
        assert messages[-2:] == ["large", "after"]
        assert logger.stats()["recorder"]["refused"] == 1

    def test_nothing_is_overwritten_while_a_dump_is_written(self, tmp_path: Path) -> None:
        """Meanwhile the ring grows to twice its size; then lines are refused, and it shrinks again."""
        journal = Journal(tmp_path / "private", 1 << 20)
        ring = Ring(journal, 64 * 1024)
        line = b'{"timestamp":"2026-11-28T20:44:21.123456Z","sequence_id":%d}'
        held = [line % number + b"x" * 900 + b"\n" for number in range(1, 200)]
        for text in held[:40]:
            assert ring.append(text)
        assert ring.hold()
        assert [ring.append(text) for text in held[40:]][-1] is False
        assert 64 * 1024 < ring.size <= 128 * 1024
        segment, start, end = ring.pieces(41)[0]
        assert bytes(segment.map[start:end]).startswith(held[0][:60])
        assert sum(count_lines(*piece) for piece in ring.pieces(41)) == 40
        assert last_time(segment, end) == "2026-11-28T20:44:21.123456Z"
        ring.release()
        assert ring.append(held[0])
        while ring.write(held[0]) is None and ring.size > 64 * 1024:
            ring.append(held[0])
        ring.close()
        journal.close()
        assert list((tmp_path / "private").iterdir()) == []

    def test_a_storm_of_errors_writes_few_files(self, recording: Any, dumped: Any) -> None:
        """The pauses between two dumps double; no entry is lost by them, and quiet brings the first pause back."""
        logger, clock = recording()
        seen = []
        for i in range(600):
            logger.debug("tick", i=i)
            logger.error("boom")
            logger.flush()
            seen.append(len(dumps()))
            clock.advance(0.1)
        assert seen[0] == 1
        assert len(dumps()) == 6
        clock.advance(3600)
        logger.flush()
        assert [i for one in dumped() for i in one] == list(range(600))
        clock.advance(3600)
        for i in range(2):
            logger.debug("tick", i=i)
            logger.error("boom")
            logger.flush()
            clock.advance(1)
        assert len(dumps()) == 9

    def test_old_files_are_deleted(self, tmp_path: Path) -> None:
        """A number of files and of bytes stays; only the recorder's own are deleted, and never the newest."""
        for day in range(1, 32):
            tmp_path.joinpath(dump_name(f"2026-10-{day:02}T00:00:00.000000Z")).write_bytes(b"x" * 100)
        others = [tmp_path / name for name in ("recorder-own.log", "expert.log", "recorder-20260101T000000.000000Z.gz")]
        for path in others:
            path.write_bytes(b"x" * 10_000)
        assert delete_oldest(tmp_path, 1000) == 31 - MOST_FILES
        assert sorted(path.name for path in dumps(str(tmp_path)))[0].startswith("recorder-20261012")
        assert delete_oldest(tmp_path, 1000 // MOST_RINGS) == MOST_FILES - 10
        assert delete_oldest(tmp_path, 0) == 9
        assert dumps(str(tmp_path))[0].name == "recorder-20261031T000000.000000Z.log"
        assert all(path.exists() for path in others)

    def test_a_call_that_only_records_costs_no_more_than_one_that_logs(self, make: Make) -> None:
        """At most 1.3 times the processor time of the calling thread."""
        records, logs = make(recorder="4MB", backup_count=2), make(log_dir="other", log_level="DEBUG", backup_count=2)

        def cost(logger: BoundLogger) -> float:
            logger.flush()
            debug, begin = logger.debug, time.thread_time()
            for i in range(400 if core is None else 4000):
                debug("Order filled", order_id="ord-1", price=70000.5, size=i)
            return time.thread_time() - begin

        gc.disable()
        try:
            # In pairs: the processor's speed changes from one second to the next.
            ratios: list[float] = []
            while len(ratios) < 8 or (lower_quartile(ratios) > 1.3 and len(ratios) < 40):
                ratios.append(cost(records) / cost(logs))
        finally:
            gc.enable()
        assert lower_quartile(ratios) <= 1.3


def lower_quartile(figures: list[float]) -> float:
    """Return what a quarter of the *figures* do not exceed: other load slows down either side of a comparison."""
    return sorted(figures)[len(figures) // 4]


class TestLife:
    def test_a_good_end_leaves_nothing(self, make: Make) -> None:
        """Neither a dump nor the ring's files; later calls below log_level are neither recorded nor counted."""
        logger = make(recorder="1MB")
        logger.debug("tick")
        assert list(Path("logs/.metaexpert").glob("*.ring"))
        logger.close()
        logger.debug("late")
        assert (dumps(), list(Path("logs/.metaexpert").glob("*.ring"))) == ([], [])
        assert logger.stats()["dropped"] == 0

    def test_what_a_pause_has_put_off_is_dumped_at_the_end(self, recording: Any, dumped: Any) -> None:
        """An error just before the end is no good end."""
        logger, _ = recording()
        for i in range(4):
            logger.debug("tick", i=i)
            if i < 3:
                logger.error("boom")
            logger.flush()
        assert dumped() == [[0]]
        logger.close()
        assert dumped() == [[0], [1, 2]]

    def test_a_dump_on_demand(self, make: Make, dumped: Any) -> None:
        """It returns how many entries it wrote; None without a recorder."""
        logger = make(recorder="1MB")
        assert logger._logger.pipeline.dump() == 0
        for i in range(7):
            logger.debug("tick", i=i)
        assert (logger._logger.pipeline.dump(), logger._logger.pipeline.dump()) == (7, 0)
        assert dumped() == [list(range(7))]
        assert make(log_dir="other")._logger.pipeline.dump() is None

    def test_loggers_of_one_directory_share_the_recorder(self, make: Make, read_log: Read) -> None:
        """An error of any of them brings the entries of all; the larger size counts."""
        one, two = make(expert_name="one", recorder="64KB"), make(expert_name="two", recorder="128KB")
        without = make(expert_name="three")
        assert recorder_of(one) is recorder_of(two)
        assert recorder_of(one).ring.limit == 128 * 1024
        one.debug("a")
        two.debug("b")
        without.debug("c")
        one.close()
        two.error("boom")
        two.flush()
        assert [entry["message"] for entry in read_log(dumps()[0])] == ["a", "b"]

    def test_a_disk_that_takes_no_dump_is_tried_again(
        self, recording: Any, monkeypatch: pytest.MonkeyPatch, dumped: Any
    ) -> None:
        """Nothing is lost: the entries stay in the ring until a file takes them; health tells meanwhile."""
        logger, clock = recording()
        for i in range(3):
            logger.debug("tick", i=i)
        with monkeypatch.context() as context:
            context.setattr(module, "dump_file", lambda *_: FailingSink(OSError(errno.ENOSPC, "No space left")))
            logger.error("boom")
            logger.flush()
            assert logger.health.startswith("degraded: No space left")
            assert logger._logger.pipeline.dump() == 0
        clock.advance(60)
        logger.flush()
        assert (dumped(), logger.health) == ([[0, 1, 2]], "ok")

    def test_a_deleted_private_directory(self, make: Make, dumped: Any) -> None:
        """What is recorded afterwards is dumped as ever."""
        import shutil

        logger = make(recorder="64KB")
        logger.debug("tick", i=0)
        shutil.rmtree("logs/.metaexpert")
        logger._logger.pipeline.directory.journal.check()
        for i in range(1, 5000):
            logger.debug("tick", i=i)
        logger.error("boom")
        logger.flush()
        (kept,) = dumped()
        assert kept == list(range(kept[0], 5000))

    def test_without_files_there_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It has no directory to write to."""
        logger = MetaLogger(log_to_file=False, recorder="1MB", install=False)
        logger.debug("tick")
        logger.error("boom")
        logger.close()
        assert (logger._logger.pipeline.recorder, Path("logs").exists()) == (None, False)
        assert "tick" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1KB", "much", -1])
def test_a_bad_size_is_refused(value: object) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match="recorder"):
        LoggerConfig(recorder=value)


@pytest.mark.parametrize("name", ["recorder-.log", "recorder-20261128T204421.12345Z.log", "recorder-own.log", "Z.log"])
def test_names_that_are_no_dumps(name: str) -> None:
    """A user's file may be called nearly so."""
    assert not is_recorder_file(name)
    assert is_recorder_file(dump_name("../../etc/passwd"))
