"""The capture of `logging` holds: against those who configure it anew, and for loggers that never reach the root."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import pickle
import queue
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import rich.console
from rich.logging import RichHandler
from waiting import eventually

from metaexpert.logger import MetaLogger
from metaexpert.logger.capture.handlers import StdlibHandler, watch

Read = Callable[..., list[dict[str, Any]]]


pytestmark = pytest.mark.usefixtures("logging_as_before")


def make(**options: Any) -> Any:
    """Return a quiet logger."""
    return MetaLogger(**{"log_to_console": False, **options})


@pytest.fixture
def entries(read_log: Read) -> Callable[[Any], list[dict[str, Any]]]:
    """Return a function that flushes a logger and reads its expert.log."""

    def read(logger: Any) -> list[dict[str, Any]]:
        logger.flush(5)
        return read_log("logs/expert.log")

    return read


def ours() -> list[logging.Handler]:
    """Return our handlers on the root logger."""
    return [h for h in logging.getLogger().handlers if isinstance(h, StdlibHandler)]


def file_config(path: Path) -> None:
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=INFO\nhandlers=h\n[handler_h]\nclass=NullHandler\nargs=()\n"
    )
    logging.config.fileConfig(path, disable_existing_loggers=False)


RECONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "dictConfig": lambda: logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}}),
    "dictConfig with a handler": lambda: logging.config.dictConfig(
        {
            "version": 1,
            "handlers": {"n": {"class": "logging.NullHandler"}},
            "root": {"level": "INFO", "handlers": ["n"]},
        }
    ),
    "basicConfig": lambda: logging.basicConfig(force=True, stream=io.StringIO()),
    "fileConfig": lambda: file_config(Path("logging.ini")),
    "clear": lambda: logging.getLogger().handlers.clear(),
    "assignment": lambda: setattr(logging.getLogger(), "handlers", []),
    "removeHandler": lambda: logging.getLogger().removeHandler(ours()[0]),
}


class TestReconfiguration:
    @pytest.mark.parametrize("how", RECONFIGURATIONS)
    def test_records_arrive_at_once_and_once(self, how: str, messages: Any) -> None:
        """After anybody has configured logging anew, the next record is in the file, and our handler comes back."""
        logger = make()
        old = logging.getLogger("exchange.old")
        RECONFIGURATIONS[how]()
        new = logging.getLogger(f"exchange.{how}")
        new.error("at once")
        eventually(lambda: len(ours()) == 1 and not old.disabled)
        new.error("later")
        old.error("old logger")
        assert messages(logger) == ["at once", "later", "old logger"]
        assert logger.health == "ok"

    def test_again_and_again(self, messages: Any) -> None:
        """It holds not only once."""
        logger = make()
        for number in range(3):
            logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
            eventually(lambda: len(ours()) == 1 and not logging.getLogger("a").disabled)
            logging.getLogger("a").error("m%d", number)
        assert messages(logger) == ["m0", "m1", "m2"]

    def test_a_logger_that_the_program_disabled_itself_stays_so(self, messages: Any) -> None:
        """Only loggers that a configuration disabled by its default are enabled again."""
        logger = make()
        mine, other = logging.getLogger("mine"), logging.getLogger("other")
        mine.disabled = True
        logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
        eventually(lambda: not other.disabled)
        assert mine.disabled
        mine.error("silenced")
        assert messages(logger) == []

    def test_a_loop_until_no_handler_is_left_ends(self) -> None:
        """The idiom `while root.handlers: root.removeHandler(…)` comes to its end."""
        make()
        root = logging.getLogger()
        while root.handlers:
            root.removeHandler(root.handlers[0])
        assert root.handlers == []

    def test_a_configuration_under_way_is_not_disturbed(self) -> None:
        """While somebody holds the lock of logging, the writing thread does not wait for it."""
        logger = make()
        with logging._lock:  # type: ignore[attr-defined]
            logging.getLogger().handlers.clear()
            logger.info("m")
            assert logger.flush(5)
            assert ours() == []
        eventually(lambda: len(ours()) == 1)

    def test_a_configuration_that_disables_by_its_default(self, messages: Any) -> None:
        """A fileConfig that names some loggers disables the others; within a second they log again."""
        logger = make()
        old, named = logging.getLogger("exchange.old"), logging.getLogger("named")
        Path("logging.ini").write_text(
            "[loggers]\nkeys=root,named\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nlevel=INFO\n"
            "handlers=h\n[logger_named]\nqualname=named\nhandlers=\n[handler_h]\nclass=NullHandler\nargs=()\n"
        )
        logging.config.fileConfig("logging.ini")
        assert old.disabled
        named.error("at once")
        eventually(lambda: not old.disabled)
        old.error("later")
        assert messages(logger) == ["at once", "later"]

    def test_classes_of_loggers(self, messages: Any) -> None:
        """A class that the program sets for its loggers hides none of their records."""
        logger = make()

        class Calling(logging.Logger):
            def callHandlers(self, record: logging.LogRecord) -> None:
                super().callHandlers(record)

        class Handling(logging.Logger):
            def handle(self, record: logging.LogRecord) -> None:
                self.callHandlers(record)

        for kind in (Calling, Handling):
            logging.setLoggerClass(kind)
            logging.getLogger(f"of {kind.__name__}").error("m")
        logging.getLogger().handlers.clear()
        for kind in (Calling, Handling):
            logging.getLogger(f"of {kind.__name__}").error("n")
        assert messages(logger) == ["m", "m", "n", "n"]

    def test_a_filter_of_the_programs_stays(self, messages: Any) -> None:
        """A filter that somebody has put on our handler is on the one that is put back, too."""
        logger = make()
        ours()[0].addFilter(lambda record: "no" not in record.msg)
        logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
        eventually(lambda: len(ours()) == 1)
        logging.getLogger("a").error("no")
        logging.getLogger("a").error("yes")
        assert messages(logger) == ["yes"]

    def test_the_end_of_logging(self, messages: Any) -> None:
        """`logging.shutdown` in the middle of a program closes handlers, and ours takes records all the same."""
        logger = make()
        logging.shutdown()
        logging.getLogger("a").error("m")
        assert messages(logger) == ["m"]

    def test_warnings_after_a_block_that_began_before_us(self, messages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A logger made inside ``catch_warnings`` captures warnings after it, too; one that records is left alone."""
        with warnings.catch_warnings():
            logger = make()
        as_pytest_records = warnings.showwarning
        logger._logger.pipeline.on_serve()
        assert warnings.showwarning is as_pytest_records
        # As it is outside of pytest.
        monkeypatch.setattr(warnings, "_showwarnmsg_impl", lambda _: None)
        logger._logger.pipeline.on_serve()
        warnings.showwarning("careful", UserWarning, "f.py", 1)
        assert messages(logger) == ["careful"]
        with warnings.catch_warnings():
            logger.close()
        warnings.showwarning("by the logger that has closed", UserWarning, "f.py", 1)
        assert messages(logger) == ["careful"]
        assert logger.stats()["dropped"] == 0

    def test_a_closed_logger_holds_on_no_longer(self) -> None:
        """After close nothing of ours stays in logging."""
        before = logging.Logger.callHandlers
        logger = make()
        assert logging.Logger.callHandlers is not before
        logger.close()
        assert ours() == []
        assert logging.Logger.callHandlers is before
        assert watch.before is None

    def test_close_while_it_looks(self) -> None:
        """A look that is under way when the logger closes puts nothing back."""
        for _ in range(20):
            logger = make()
            logging.getLogger().handlers.clear()
            looking = threading.Thread(target=logger._logger.pipeline.on_serve)
            looking.start()
            logger.close()
            looking.join()
            assert ours() == []

    def test_somebody_who_stands_before_us(self, messages: Any) -> None:
        """Who replaces Logger.callHandlers after us, as sentry does, is left there; nothing is doubled or endless."""
        original = logging.Logger.callHandlers
        logger = make()
        below, seen = logging.Logger.callHandlers, []

        def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
            seen.append(record)
            below(self, record)

        logging.Logger.callHandlers = theirs  # type: ignore[method-assign]
        try:
            logging.getLogger("a").error("one")
            assert messages(logger) == ["one"]
            logger.close()
            assert logging.Logger.callHandlers is theirs
            logger = make()
            logging.getLogger("a").error("two")
            assert messages(logger) == ["one", "two"]
            logger.close()
            logging.getLogger("a").error("three")
            assert len(seen) == 3
        finally:
            logging.Logger.callHandlers = below  # type: ignore[method-assign]
            make().close()
            assert logging.Logger.callHandlers is original


class TestWhatTheProgramMeans:
    def test_disable_is_told_once(self, entries: Any) -> None:
        """After logging.disable one warning and the health say what is missing; afterwards all is well again."""
        logger = make()
        logging.disable(logging.CRITICAL)
        eventually(lambda: logger.health != "ok")
        assert "logging.disable" in logger.health
        time.sleep(1.2)  # another check
        told = [e for e in entries(logger) if e["level"] == "warning"]
        assert [(e["message"], e["logger"]) for e in told] == [("log.uncaptured", "metaexpert.logger")]
        assert "CRITICAL" in told[0]["missing"]
        logging.disable(logging.NOTSET)
        eventually(lambda: logger.health == "ok")
        assert entries(logger)[-1]["message"] == "log.captured"

    @pytest.mark.parametrize(
        "raised",
        [
            lambda: logging.getLogger().setLevel(logging.ERROR),
            lambda: logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}}),
            lambda: logging.basicConfig(level="ERROR", force=True, stream=io.StringIO()),
            lambda: logging.config.dictConfig({"version": 1, "incremental": True, "root": {"level": "ERROR"}}),
        ],
    )
    def test_a_raised_level_is_told(self, raised: Any, entries: Any) -> None:
        """A root level above ours stays, and is told."""
        logger = make()
        raised()
        eventually(lambda: "below ERROR" in logger.health)
        logging.getLogger("a").error("arrives")
        assert sorted(e["message"] for e in entries(logger)) == ["arrives", "log.uncaptured"]
        assert logging.getLogger().level == logging.ERROR

    def test_a_lower_level_is_nothing_to_tell(self, entries: Any) -> None:
        """A root level below ours, or a disabled level below it, takes nothing away."""
        logger = make()
        logging.getLogger().setLevel(logging.DEBUG)
        logging.disable(logging.DEBUG)
        time.sleep(1.2)
        assert logger.health == "ok"
        logging.getLogger("a").debug("m")
        assert entries(logger) == []


class TestLoggersThatKeepToThemselves:
    @pytest.mark.parametrize("name", ["uvicorn.error", "gunicorn.error", "mylib"])
    def test_a_logger_with_a_console_of_its_own(self, name: str, entries: Any) -> None:
        """A logger that does not propagate and prints, as those of servers, is captured, traceback and all."""
        parent = logging.getLogger(name.partition(".")[0])
        parent.addHandler(logging.StreamHandler(io.StringIO()))
        parent.propagate = False
        logger = make()
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger(name).exception("500")
        assert [(e["message"], e["exception"]["value"]) for e in entries(logger)] == [("500", "boom")]

    def test_set_up_after_us(self, messages: Any) -> None:
        """A server that configures its loggers after us is captured too, each record once."""
        logger = make()
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"h": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
                "loggers": {"uvicorn": {"handlers": ["h"], "level": "INFO", "propagate": False}},
            }
        )
        logging.getLogger("uvicorn.error").info("started")
        eventually(lambda: len(ours()) == 1)
        logging.getLogger("uvicorn.error").info("serving")
        assert messages(logger) == ["started", "serving"]

    def test_a_silenced_logger_stays_silent(self, messages: Any) -> None:
        """A logger without handlers, or with a NullHandler, that does not propagate was silenced on purpose."""
        for name in ("silent", "uvicorn.silent"):
            logging.getLogger(name).propagate = False
        logging.getLogger("null").addHandler(logging.NullHandler())
        logging.getLogger("null").propagate = False
        logger = make()
        for name in ("silent", "uvicorn.silent", "null"):
            logging.getLogger(name).error("m")
        assert messages(logger) == []

    def test_a_file_of_its_own_is_its_own(self, messages: Any, tmp_path: Path) -> None:
        """A logger that keeps its records in a file of its own keeps them, unless it is a server's."""
        handler = logging.FileHandler(tmp_path / "own.log")
        for name in ("audit", "gunicorn.access"):
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).propagate = False
        logger = make()
        logging.getLogger("audit").error("private")
        logging.getLogger("gunicorn.access").error("GET /")
        handler.close()
        assert messages(logger) == ["GET /"]

    def test_capture_off_is_off(self, messages: Any) -> None:
        """capture_stdlib=False brings none of this."""
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
        logging.getLogger("uvicorn").propagate = False
        logger = make(capture_stdlib=False)
        logging.getLogger("uvicorn").error("m")
        assert messages(logger) == []

    def test_levels_of_all_handlers(self, messages: Any) -> None:
        """A program that sets the level of every handler of the root logger does not mean ours: log_level counts."""
        logger = make()
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.CRITICAL)
        logging.getLogger("a").warning("m")
        assert messages(logger) == ["m"]

    def test_a_filter_is_asked_once(self, messages: Any) -> None:
        """A filter that somebody puts on our handler decides, and is asked once for each record."""
        logger, asked = make(), []

        def refuse(record: logging.LogRecord) -> bool:
            asked.append(record)
            return False

        ours()[0].addFilter(refuse)
        logging.getLogger("a").error("m")
        assert (messages(logger), len(asked)) == ([], 1)

    def test_a_handler_that_raises(self, messages: Any) -> None:
        """A handler of the program's that raises takes no record from us."""

        class Raising(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise RuntimeError(record.msg)

        logging.getLogger("proud").addHandler(Raising())
        logging.getLogger("proud").propagate = False
        logger = make()
        with pytest.raises(RuntimeError, match="m"):
            logging.getLogger("proud").error("m")
        assert messages(logger) == ["m"]

    def test_a_handler_that_logs(self, messages: Any) -> None:
        """A handler that logs a record of its own while it handles one doubles neither."""

        class Logging(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.name != "inner":
                    logging.getLogger("inner").error("inner")

        logger = make()
        logging.getLogger().addHandler(Logging())
        logging.getLogger("outer").error("outer")
        assert sorted(messages(logger)) == ["inner", "outer"]


class TestRecords:
    def test_its_own_time(self, entries: Any) -> None:
        """A record made an hour ago, or by another machine's clock, keeps its time."""
        logger = make()
        for age in (3600.0, -30.0, 0.5):
            ours()[0].handle(logging.makeLogRecord({"msg": "m", "levelno": 30, "created": 1_800_000_000.123457 - age}))
        assert [e["timestamp"] for e in entries(logger)] == [
            "2027-01-15T07:00:00.123457Z",
            "2027-01-15T08:00:30.123457Z",
            "2027-01-15T07:59:59.623457Z",
        ]

    def test_a_new_record_has_the_time_of_the_call(self, entries: Any) -> None:
        """The entry of a record made now has its time to a millisecond or two."""
        logger = make()
        before = time.time()
        logging.getLogger().error("m")
        after = time.time()
        moment = datetime.fromisoformat(entries(logger)[0]["timestamp"]).timestamp()
        assert before - 0.002 < moment < after + 0.002

    @pytest.mark.parametrize("created", [None, "yesterday", float("nan"), float("inf"), -1e18, 1e18])
    def test_a_hostile_time(self, created: Any, entries: Any) -> None:
        """A record whose time is none is written all the same."""
        logger = make()
        ours()[0].handle(logging.makeLogRecord({"msg": "m", "levelno": 30, "created": created}))
        assert [e["message"] for e in entries(logger)] == ["m"]

    def test_a_record_from_a_socket(self, entries: Any) -> None:
        """What SocketHandler sends arrives with traceback, process and thread."""
        logger = make()
        try:
            raise KeyError("left\nline")
        except KeyError:
            record = logging.LogRecord("worker", logging.ERROR, "f.py", 1, "failed %s", ("x",), sys.exc_info())
        record.process, record.processName, record.threadName = 1, "worker-7", "feed"
        record.created = 1_800_000_000.0
        sent = logging.handlers.SocketHandler("localhost", 1).makePickle(record)
        ours()[0].handle(logging.makeLogRecord(pickle.loads(sent[4:])))
        entry = entries(logger)[0]
        assert (entry["message"], entry["logger"]) == ("failed x", "worker")
        assert (entry["exception"]["type"], entry["exception"]["value"]) == ("KeyError", "'left\\nline'")
        assert "Traceback (most recent call last)" in entry["exception"]["text"]
        assert (entry["process"], entry["process_name"], entry["thread_name"]) == (1, "worker-7", "feed")
        assert entry["timestamp"] == "2027-01-15T08:00:00.000000Z"

    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [
            (
                'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: x',
                "ValueError",
                "x",
            ),
            ('Traceback (most recent call last):\n  File "a.py", line 1, in f\nlib.errors.Bad: a\nb', "Bad", "a\nb"),
            ('Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n    ^^^\nStop', "Stop", ""),
            ("Traceback (most recent call last):\nValueError: x", "ValueError", "x"),
            ("no traceback at all", "Exception", "no traceback at all"),
        ],
    )
    def test_a_traceback_as_text(self, text: str, kind: str, value: str, entries: Any) -> None:
        """exc_text becomes the exception, type and value included; with exc_info it is not needed."""
        logger = make()
        ours()[0].handle(logging.makeLogRecord({"msg": "m", "levelno": 40, "exc_text": text}))
        assert entries(logger)[0]["exception"] == {"type": kind, "value": value, "text": text}

    @pytest.mark.parametrize(
        "record",
        [
            {"exc_info": (None, None, None)},
            {"exc_info": None, "exc_text": "NoneType: None"},
            {"exc_info": (None, None, None), "exc_text": "NoneType: None"},
            {"exc_info": [None, None, None]},
            {"exc_text": "  "},
            {"exc_text": 5},
        ],
    )
    def test_no_exception(self, record: dict[str, Any], entries: Any) -> None:
        """What logging makes of ``exc_info=True`` outside of an ``except`` is none, here or by a socket."""
        logger = make()
        ours()[0].handle(logging.makeLogRecord({"msg": "m", "levelno": 40, **record}))
        assert "exception" not in entries(logger)[0]

    @pytest.mark.parametrize("info", [None, (None, None, None), "Traceback (most recent call last):\nValueError: x"])
    def test_a_traceback_of_a_record_that_was_json(self, info: Any, entries: Any) -> None:
        """A traceback as text counts wherever it stands, and a level that has kept its name alone."""
        logger = make()
        text = "Traceback (most recent call last):\nValueError: x"
        record = {"msg": "m", "levelname": "ERROR", "exc_info": info}
        ours()[0].handle(logging.makeLogRecord(record if isinstance(info, str) else {**record, "exc_text": text}))
        entry = entries(logger)[0]
        assert (entry["level"], entry["exception"]["type"], entry["exception"]["value"]) == ("error", "ValueError", "x")

    def test_secrets_in_a_traceback_as_text(self, entries: Any) -> None:
        """A traceback that came as text is masked like any other."""
        logger = make()
        text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: api_key=abcdef123456'
        ours()[0].handle(logging.makeLogRecord({"msg": "m", "levelno": 40, "exc_text": text}))
        assert "abcdef123456" not in json.dumps(entries(logger))

    def test_threads_of_ours_are_not_told(self, entries: Any) -> None:
        """A record made and taken on one thread needs no names; one of a QueueListener bears its maker's."""
        logger = make()
        waiting: queue.Queue[Any] = queue.Queue()
        listener = logging.handlers.QueueListener(waiting, ours()[0])
        listener.start()

        def work() -> None:
            logging.getLogger("a").error("direct")
            logging.handlers.QueueHandler(waiting).handle(logging.makeLogRecord({"msg": "queued", "levelno": 40}))

        thread = threading.Thread(target=work, name="feed")
        thread.start()
        thread.join()
        listener.stop()
        found = {e["message"]: e.get("thread_name") for e in entries(logger)}
        assert found == {"direct": None, "queued": "feed"}
        assert not any("process" in e or "process_name" in e for e in entries(logger))

    def test_uvicorns_color_message(self, entries: Any) -> None:
        """uvicorn's second message, for terminals, is not a field."""
        logger = make()
        extra = {"color_message": "Started server process [\x1b[36m%d\x1b[0m]"}
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 7, extra=extra)
        entry = entries(logger)[0]
        assert entry["message"] == "Started server process [7]"
        assert "color_message" not in entry

    def test_logurus_values(self, entries: Any) -> None:
        """What loguru has bound arrives as fields; a name that is taken stays inside `extra`."""
        logger = make()
        extra = {"extra": {"symbol": "BTCUSDT", "size": 1, "attempt": 2}, "attempt": 1}
        logging.getLogger("a").warning("m", extra=extra)
        entry = entries(logger)[0]
        assert (entry["symbol"], entry["size"], entry["attempt"], entry["extra"]) == ("BTCUSDT", 1, 1, {"attempt": 2})

    def test_fields_that_say_it_again(self, entries: Any) -> None:
        """A level, a name and a time that another library has put on the record are left out; a caller's own stay."""
        logger = make()
        now = time.time()
        logging.getLogger("a").warning("m", extra={"level": "warning", "logger": "a", "timestamp": now})
        logging.getLogger("a").warning("m", extra={"level": "high", "logger": "b", "timestamp": "2020-01-01T00:00:00"})
        first, second = entries(logger)
        assert not [name for name in first if name.startswith("field_")]
        assert (second["field_level"], second["field_logger"]) == ("high", "b")
        assert second["field_timestamp"] == "2020-01-01T00:00:00"

    def test_a_wrong_object_is_refused_at_once(self) -> None:
        """A handler cannot be made with something that is no logger."""
        with pytest.raises(TypeError, match="MetaLogger"):
            StdlibHandler("logs")  # type: ignore[arg-type]

    def test_ever_new_names_cost_no_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Names of loggers are not kept for ever."""
        monkeypatch.setattr("metaexpert.logger.capture.handlers._MOST_NAMES", 100)
        make()
        handler = ours()[0]
        record = logging.makeLogRecord({"msg": "m", "levelno": 30})

        def log(start: int, count: int) -> None:
            for number in range(start, start + count):
                record.name = f"order-{number}"
                handler.handle(record)

        log(0, 150)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            log(150, 600)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 300_000  # a kilobyte a name would be 600 kB


class TestConsole:
    @pytest.mark.parametrize("before", [True, False])
    def test_no_line_is_doubled(self, before: bool, capsys: pytest.CaptureFixture[str]) -> None:
        """With basicConfig before or after us, a record is printed once; what our console does not show, by theirs."""
        if before:
            logging.basicConfig(force=True, level="DEBUG")
        logger = MetaLogger()
        if not before:
            logging.basicConfig(force=True, level="DEBUG")
            handler = logging.getLogger().handlers[0]
            eventually(lambda: len(ours()) == 1 and bool(handler.filters))
        logging.getLogger().setLevel(logging.DEBUG)
        logging.getLogger("a").warning("once")
        logging.getLogger("a").debug("below")
        logger.close()
        logging.getLogger("a").warning("after")
        err = capsys.readouterr().err
        assert (err.count("once"), err.count("below"), err.count("after")) == (1, 1, 1)

    def test_standard_error_that_is_redirected_into_logging(
        self, messages: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As Celery does it: our own console lines come in no second time, and the program's handler prints again."""
        logging.basicConfig(force=True, level="INFO")
        logger = MetaLogger()

        class Proxy:
            def write(self, text: str) -> int:
                if text.strip():
                    logging.getLogger("redirected").warning(text.strip())
                return len(text)

            def flush(self) -> None:
                """Nothing waits."""

        logging.getLogger("a").warning("before")
        logger.flush(5)
        eventually(lambda: logger._logger.pipeline.outputs.console.empty)
        err = capsys.readouterr().err
        assert err.count("before") == 1
        monkeypatch.setattr(sys, "stderr", Proxy())
        logging.getLogger("a").warning("one")
        print("mine", file=sys.stderr)
        logger.flush(5)
        eventually(lambda: logger._logger.pipeline.outputs.console.empty)
        assert sorted(messages(logger)) == ["before", "mine", "one"]
        logger.close()
        monkeypatch.undo()
        assert "one" in capsys.readouterr().err

    def test_pythons_last_resort(self, capsys: pytest.CaptureFixture[str]) -> None:
        """While no handler is left, Python's own does not print what our console prints."""
        logger = MetaLogger()
        logging.getLogger().handlers.clear()
        logging.getLogger("a").error("once")
        logger.close()
        logging.getLogger("a").error("after")
        err = capsys.readouterr().err
        assert (err.count("once"), err.count("after")) == (1, 1)

    def test_another_thread_logs_what_is_being_printed(self, messages: Any) -> None:
        """A record is taken for an echo on the printing thread alone."""
        logger = make()
        logger._logger.pipeline.outputs.console.printing = (threading.get_ident() + 1, "one two")
        logging.getLogger("a").warning("one")
        logger._logger.pipeline.outputs.console.printing = None
        assert messages(logger) == ["one"]

    def test_rich_prints_no_second_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """rich's handler is quiet too, when it prints where we do."""
        logging.basicConfig(force=True, level="INFO", handlers=[RichHandler(console=rich.console.Console(stderr=True))])
        logger = MetaLogger()
        logging.getLogger("a").warning("once")
        logger.close()
        assert capsys.readouterr().err.count("once") == 1

    def test_freqtrades_handler(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A handler that prints by a console of rich that is its own affair is quiet too, after its dictConfig."""

        class Printing(logging.Handler):
            def __init__(self, console: rich.console.Console) -> None:
                super().__init__()
                self._console = console

            def emit(self, record: logging.LogRecord) -> None:
                self._console.print(record.getMessage())

        logger = MetaLogger()
        own = {"()": Printing, "console": rich.console.Console(stderr=True)}
        logging.config.dictConfig(
            {"version": 1, "handlers": {"console": own}, "root": {"level": "INFO", "handlers": ["console"]}}
        )
        eventually(lambda: len(ours()) == 1 and bool(logging.getLogger().handlers[0].filters))
        logging.getLogger("freqtrade.worker").warning("once")
        logger.close()
        assert capsys.readouterr().err.count("once") == 1

    def test_another_place_is_not_touched(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A handler that prints elsewhere goes on."""
        other = io.StringIO()
        logging.basicConfig(force=True, level="INFO", stream=other)
        logger = MetaLogger()
        logging.getLogger("a").warning("once")
        logger.close()
        assert other.getvalue().count("once") == 1

    def test_without_a_console_theirs_goes_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a console of ours, their handler prints as before."""
        logging.basicConfig(force=True, level="INFO")
        make()
        logging.getLogger("a").warning("once")
        assert capsys.readouterr().err.count("once") == 1

    def test_a_servers_own_console(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A server's logger that prints where we do is printed once, from the first line on."""
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler())
        logging.getLogger("uvicorn").propagate = False
        logger = MetaLogger()
        logging.getLogger("uvicorn.error").warning("first")
        logging.getLogger("uvicorn.error").warning("second")
        logger.close()
        err = capsys.readouterr().err
        assert (err.count("first"), err.count("second")) == (1, 1)


def test_a_check_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes well under a millisecond, however many loggers there are."""
    manager = logging.root.manager
    # A copy of their own: whoever sets a level goes through all there are.
    monkeypatch.setattr(manager, "loggerDict", {**manager.loggerDict})
    for number in range(2000):
        logging.getLogger(f"many.{number}")
    logger = make()
    check = logger._logger.pipeline.on_serve
    best = min(_spent(check) for _ in range(20))
    assert best < 0.001


def _spent(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start
