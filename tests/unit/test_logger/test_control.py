"""Levels that are changed from outside: taken, logged, and ended; requests that nobody may make are ignored."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import BoundLogger, MetaLogger, get_logger, trade_context
from metaexpert.logger.config import control
from metaexpert.logger.config.control import Inbox, Request
from metaexpert.logger.hub import _control

Make = Callable[..., BoundLogger]
Read = Callable[..., list[dict[str, Any]]]
PRIVATE = Path("logs/.metaexpert")
LEVELS = ("debug", "info", "warning", "error", "critical")


class Steps:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(_control, "monotonic", steps)
    return steps


def request(action: str = "level", **fields: Any) -> Request:
    own = {"level": "debug", "seconds": 60} if action == "level" else {}
    return Request(control.new_id(), action, "tester", **{**own, **fields})


def obey(target: BoundLogger, action: str = "level", /, **fields: Any) -> dict[str, Any] | None:
    """Ask a logger, as its directory does."""
    return target._logger.pipeline.obey(request(action, **fields))


def own_entries(logger: BoundLogger, read_log: Read) -> list[dict[str, Any]]:
    logger.flush()
    return [entry for entry in read_log("logs/expert.log") if entry["message"] == "log.control"]


def heard(logger: BoundLogger, read_log: Read, source: Any) -> list[str]:
    """Return which levels of *source* come into the file now."""
    logger.flush()
    before = len(read_log("logs/expert.log"))
    for level in LEVELS:
        getattr(source, level)(level)
    logger.flush()
    return [entry["level"] for entry in read_log("logs/expert.log")[before:]]


class TestLevels:
    def test_a_level_holds_for_its_time_and_the_log_tells(self, make: Make, read_log: Read, clock: Steps) -> None:
        """DEBUG comes in until the time is over; both changes are entries that say by whom and until when."""
        logger = make(log_level="WARNING")
        answer = obey(logger, seconds=600)
        assert answer is not None
        assert answer["now"]["level"] == "DEBUG"
        assert heard(logger, read_log, logger) == [*LEVELS]
        clock.now += 599
        logger._logger.pipeline.serve()
        assert heard(logger, read_log, logger) == [*LEVELS]
        clock.now += 1
        logger._logger.pipeline.serve()
        assert heard(logger, read_log, logger) == ["warning", "error", "critical"]
        begun, ended = own_entries(logger, read_log)
        assert (begun["action"], begun["new_level"], begun["by"]) == ("level", "DEBUG", "tester")
        assert begun["until"] == answer["until"] > begun["timestamp"]
        assert (ended["action"], ended["ended"], ended["new_level"]) == ("end", "DEBUG", "WARNING")
        assert ended["request"] == begun["request"]

    def test_the_last_of_several_counts_and_all_end(self, make: Make, read_log: Read, clock: Steps) -> None:
        """A second request replaces the first, and what comes back at the end is the level of the program."""
        logger = make()
        obey(logger, level="debug", seconds=10)
        obey(logger, level="error", seconds=100)
        clock.now += 50
        logger._logger.pipeline.serve()
        assert heard(logger, read_log, logger) == ["error", "critical"]
        clock.now += 50
        logger._logger.pipeline.serve()
        assert heard(logger, read_log, logger) == ["info", "warning", "error", "critical"]

    def test_a_level_that_the_program_sets_meanwhile_waits(self, make: Make, read_log: Read) -> None:
        """The operator's level holds; afterwards the program's last one does."""
        logger = make()
        obey(logger)
        logger.set_level("ERROR")
        assert logger.is_enabled_for(10)
        obey(logger, "reset")
        assert heard(logger, read_log, logger) == ["error", "critical"]

    @pytest.mark.parametrize("level", ["debug", "warning"])
    @pytest.mark.parametrize("name", ["strategy", "strategy.feed"])
    def test_a_single_logger_and_those_below_it(self, read_log: Read, level: str, name: str) -> None:
        """Only they change, whenever they were made, and they are as before afterwards."""
        logger = MetaLogger(log_to_console=False)
        old, other = get_logger("strategy.feed").bind(a=1), get_logger("strategyx").bind()
        obey(logger, level=level, logger=name)
        kept = [*LEVELS[LEVELS.index(level) :]]
        assert heard(logger, read_log, old) == kept
        assert heard(logger, read_log, get_logger("strategy.feed.ws")) == kept
        assert heard(logger, read_log, other) == heard(logger, read_log, logger) == ["info", *LEVELS[2:]]
        assert (old.is_enabled_for(10), other.is_enabled_for(10)) == (level == "debug", False)
        assert old.get_effective_level() == (10 if level == "debug" else 30)
        obey(logger, "reset")
        for source in (old, other, logger, get_logger("strategy.feed.ws")):
            assert heard(logger, read_log, source) == ["info", *LEVELS[2:]]
        assert not isinstance(vars(type(old))["_gate"], property)

    def test_it_comes_before_the_levels_of_the_configuration(self, read_log: Read) -> None:
        """A logger with a level of its own below the name follows too, and has it again afterwards."""
        logger = MetaLogger(log_to_console=False, levels={"feed": "ERROR", "feed.ws": "DEBUG"})
        feed, ws = get_logger("feed").bind(), get_logger("feed.ws").bind()
        obey(logger, level="warning", logger="feed")
        assert heard(logger, read_log, feed) == heard(logger, read_log, ws) == [*LEVELS[2:]]
        obey(logger, "reset")
        assert heard(logger, read_log, feed) == [*LEVELS[3:]]
        assert heard(logger, read_log, ws) == [*LEVELS]

    def test_trades_of_a_logger_with_another_level(self, read_log: Read) -> None:
        """They go to the trade file at every level, as ever, and to the others by the level of the moment."""
        logger = MetaLogger(log_to_console=False)
        trades = get_logger("exec").bind().trade
        with trade_context():
            obey(logger, level="error", logger="exec")
            assert heard(logger, read_log, trades) == ["error", "critical"]
        logger.flush()
        assert len(read_log("logs/trades.log")) == 5
        obey(logger, "reset")
        assert heard(logger, read_log, trades) == ["info", *LEVELS[2:]]

    def test_records_of_logging_follow(self, read_log: Read) -> None:
        """The root logger and single ones let through what is wanted, and get back the levels that they had."""
        logger = MetaLogger(log_to_console=False)
        library = logging.getLogger("lib.inner")
        pipeline = logger._logger.pipeline
        root = logging.getLogger().level
        obey(logger, logger="lib")
        pipeline.serve()
        assert heard(logger, read_log, library) == [*LEVELS]
        obey(logger, level="error")
        pipeline.serve()
        assert heard(logger, read_log, logging.getLogger("elsewhere")) == [*LEVELS[3:]]
        obey(logger, "reset")
        pipeline.serve()
        assert (logging.getLogger("lib").level, logging.getLogger().level) == (logging.NOTSET, root)
        obey(logger, logger="lib")
        pipeline.serve()
        logger.close()
        assert logging.getLogger("lib").level == logging.NOTSET

    def test_a_call_costs_nothing_more_without_it(self, make: Make) -> None:
        """Before and after, a class has the very methods that it has without any request."""
        logger = make()
        before = {name: type(logger).__dict__[name] for name in LEVELS[1:]}
        obey(logger, logger="some")
        assert all(type(logger).__dict__[name] is not method for name, method in before.items())
        obey(logger, "reset")
        assert all(type(logger).__dict__[name] is method for name, method in before.items())

    def test_another_expert_is_not_concerned(self, make: Make) -> None:
        """A request names an expert, or means all; a closed logger takes none."""
        logger = make(expert_name="EmaBot")
        assert obey(logger, expert="RsiBot") is None
        assert obey(logger, "status", expert="EmaBot") is not None
        logger.close()
        assert obey(logger) is None

    def test_flush_dump_and_status(self, make: Make, read_log: Read) -> None:
        """They are answered; the first two are logged."""
        logger = make(async_logging=False)
        assert obey(logger, "flush")["flushed"] is True  # type: ignore[index]
        assert obey(logger, "dump")["dumped"] is None  # type: ignore[index]
        assert obey(logger, "status")["now"] == {"level": "INFO", "until": None, "levels": {}}  # type: ignore[index]
        assert [entry["action"] for entry in own_entries(logger, read_log)] == ["flush", "dump"]

    def test_threads_log_while_levels_change(self, make: Make, read_log: Read) -> None:
        """No entry of a level that is always on is lost or doubled."""
        logger, each = make(), 200

        def log(which: int) -> None:
            for number in range(each):
                logger.warning("on", which=which, n=number)
                time.sleep(0)

        threads = [threading.Thread(target=log, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            obey(logger, level="debug")
            obey(logger, level="debug", logger="some")
            obey(logger, "reset")
            time.sleep(0.0005)  # else each turn of theirs waits five milliseconds for the interpreter
        logger.flush()
        entries = [entry for entry in read_log("logs/expert.log") if entry["message"] == "on"]
        for which in (0, 1):
            assert [entry["n"] for entry in entries if entry["which"] == which] == [*range(each)]


class TestFiles:
    @pytest.fixture
    def reports(self) -> list[str]:
        return []

    @pytest.fixture
    def inbox(self, reports: list[str]) -> Callable[[], list[Request]]:
        """Return a function that looks, and returns the requests that are obeyed."""
        times = iter(range(10**6))
        PRIVATE.mkdir(parents=True)
        box = Inbox(PRIVATE, lambda kind, text: reports.append(text), lambda: float(next(times)))

        def look() -> list[Request]:
            found: list[Request] = []
            box.serve(lambda asked: found.append(asked) or [{"expert": "EmaBot"}])  # type: ignore[func-returns-value]
            return found

        assert look() == []
        return look

    @contextmanager
    def put(self, data: bytes, name: str = "") -> Iterator[Path]:
        directory = PRIVATE / control.DIRECTORY
        directory.mkdir(exist_ok=True)
        path = directory / (name or "a" * 32 + ".json")
        path.write_bytes(data)
        path.chmod(0o644)
        yield path
        path.unlink()

    def test_each_request_is_taken_and_answered_once(self, inbox: Any) -> None:
        """Several in a row are several; the file of each, and its answers, are gone afterwards."""
        for _ in range(3):
            wanted = request()
            with control.asked(PRIVATE, wanted) as answers:
                assert (answers(), inbox(), inbox()) == ([], [wanted], [])
                (answer,) = answers()
                assert (answer["procid"], answer["experts"]) == (str(os.getpid()), [{"expert": "EmaBot"}])
        assert [*(PRIVATE / control.DIRECTORY).iterdir()] == []

    def test_one_that_stands_there_at_the_start_was_for_another_process(self, reports: list[str]) -> None:
        """A process that starts does not take what an earlier one was asked."""
        PRIVATE.mkdir(parents=True)
        with control.asked(PRIVATE, request()) as answers:
            Inbox(PRIVATE, lambda *_: None).serve(lambda _: [{}])
            assert answers() == []

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (b"[", "not JSON"),
            (b"\xff", "not JSON"),
            (b"[" * 3000, "not JSON"),
            (b"{}", "other fields"),
            ({"extra": 1}, "other fields"),
            ({"action": "exec"}, "action"),
            ({"action": ["level"]}, "action"),
            ({"level": "loud"}, "level"),
            ({"level": 10}, "level"),
            ({"level": None}, "level"),
            ({"seconds": 0}, "time"),
            ({"seconds": True}, "time"),
            ({"seconds": 1e9}, "time"),
            ({"seconds": 10**9}, "time"),
            ({"seconds": "60"}, "time"),
            ({"logger": "a\nb"}, "printable"),
            ({"logger": ["a"]}, "printable"),
            ({"expert": ""}, "printable"),
            ({"by": "x" * 300}, "too long"),
            ({"id": "b" * 32}, "its name"),
            ({"id": "../../x"}, "its name"),
            ({"action": "flush"}, "only a level"),
            (b" " * 5000, "too long"),
        ],
    )
    def test_a_wrong_one_is_reported_once_and_ignored(
        self, inbox: Any, reports: list[str], change: Any, why: str
    ) -> None:
        """Whatever it holds, nothing happens but one report, and the next good one is taken."""
        good = {"id": "a" * 32, "action": "level", "by": "x", "level": "debug", "seconds": 5}
        data = change if isinstance(change, bytes) else json.dumps({**good, **change}).encode()
        with self.put(data):
            assert (inbox(), inbox()) == ([], [])
            assert len(reports) == 1
            assert why in reports[0]
            wanted = request()
            with control.asked(PRIVATE, wanted):
                assert inbox() == [wanted]
        assert len(reports) == 1

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o777])
    def test_one_that_others_may_write_is_ignored(self, inbox: Any, reports: list[str], mode: int) -> None:
        """It says nothing about who wants it."""
        good = json.dumps({"id": "a" * 32, "action": "flush", "by": "x"}).encode()
        with self.put(good) as path:
            path.chmod(mode)
            assert inbox() == []
        assert "other users may write" in reports[0]

    @pytest.mark.root
    @pytest.mark.parametrize("owner", [65534, 1])
    def test_one_of_another_user_is_ignored(self, inbox: Any, reports: list[str], owner: int) -> None:
        """Only this user, or root, may ask."""
        good = json.dumps({"id": "a" * 32, "action": "flush", "by": "x"}).encode()
        with self.put(good) as path:
            os.chown(path, owner, owner)
            assert inbox() == []
        assert "another user" in reports[0]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such links for everybody")
    @pytest.mark.parametrize("plant", ["link", "second name", "fifo", "directory"])
    def test_what_is_no_plain_file_is_ignored(self, inbox: Any, reports: list[str], plant: str) -> None:
        """A link, a second name of somebody's file, a pipe: nothing of it is read, and nothing waits for it."""
        good = json.dumps({"id": "a" * 32, "action": "flush", "by": "x"}).encode()
        Path("elsewhere").write_bytes(good)
        directory = PRIVATE / control.DIRECTORY
        directory.mkdir()
        path = directory / ("a" * 32 + ".json")
        if plant == "link":
            path.symlink_to(Path("elsewhere").resolve())
        elif plant == "second name":
            path.hardlink_to("elsewhere")
        elif plant == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
        assert (inbox(), len(reports)) == ([], 1)

    def test_a_look_is_one_stat(self, inbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """While nothing is asked, no directory is read and no file opened."""
        with control.asked(PRIVATE, request()):
            assert len(inbox()) == 1
        inbox()
        monkeypatch.setattr(control, "names_in", lambda *_: pytest.fail("a directory was read"))
        for _ in range(5):
            assert inbox() == []

    def test_a_logger_that_fails_at_it_goes_on(self, reports: list[str]) -> None:
        """An error of what obeys is reported; the writing thread lives."""
        PRIVATE.mkdir(parents=True)
        times = iter(range(100))
        box = Inbox(PRIVATE, lambda kind, text: reports.append(text), lambda: float(next(times)))
        box.serve(lambda _: [])
        with control.asked(PRIVATE, request()):
            box.serve(lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
        assert "ZeroDivisionError" in reports[0] or "division" in reports[0]


def test_the_writing_thread_takes_a_request_of_several_loggers(make: Make) -> None:
    """One request, one answer of the process, with each expert that it means."""
    one, two = make(expert_name="one"), make(expert_name="two")
    one.info("begun")
    one.flush()
    with control.asked(PRIVATE, request(expert=None)) as answers:
        eventually(answers)
        assert [found["expert"] for found in answers()[0]["experts"]] == ["one", "two"]
    assert one.is_enabled_for(10)
    with control.asked(PRIVATE, request("reset", expert="two")) as answers:
        eventually(answers)
    assert (one.is_enabled_for(10), two.is_enabled_for(10)) == (True, False)
