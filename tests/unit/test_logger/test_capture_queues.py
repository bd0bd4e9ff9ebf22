"""Records that reach us by a queue: once, although they may pass another handler of ours, and with their traceback."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import multiprocessing
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from metaexpert.logger import MetaHandler, MetaLogger
from metaexpert.logger.capture.handlers import StdlibHandler, watch

Read = Callable[..., list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("logging_as_before")


def make(**options: Any) -> Any:
    """Return a quiet logger."""
    return MetaLogger(**{"log_to_console": False, **options})


@contextmanager
def queued(name: str | None, *handlers: logging.Handler) -> Iterator[None]:
    """Let records of a logger go to *handlers* by a queue and another thread."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, *handlers)
    sender = logging.handlers.QueueHandler(waiting)
    logging.getLogger(name).addHandler(sender)
    listener.start()
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(sender)
        listener.stop()


class TestOnce:
    def test_all_handlers_moved_behind_a_queue(self, messages: Any) -> None:
        """A program moves the root logger's handlers to a listener; ours is put back, and no record comes twice."""
        logger = make()
        root = logging.getLogger()
        ours = [handler for handler in root.handlers if isinstance(handler, StdlibHandler)]
        root.handlers[:] = []
        with queued(None, *ours):
            logging.getLogger("a").error("before the look")
            logger._logger.pipeline.on_serve()
            logging.getLogger("a").error("after %s", "it")
        assert messages(logger) == ["before the look", "after it"]

    @pytest.mark.parametrize("late", [True, False])
    def test_a_meta_handler_of_the_same_directory(self, late: bool, messages: Any) -> None:
        """A record that comes to the logger directly and to a MetaHandler by a queue is written once."""
        logger, handler = make(), MetaHandler()
        gate = threading.Event()
        if not late:
            gate.set()
        handler.addFilter(lambda _: gate.wait(30))
        with queued("bot", handler):
            for number in range(20):
                logging.getLogger("bot").error("m%d", number)
            gate.set()
        handler.close()
        assert messages(logger) == [f"m{number}" for number in range(20)]

    def test_another_directory(self, messages: Any, read_log: Read) -> None:
        """A MetaHandler with other files has its own entry of each record."""
        logger, handler = make(), MetaHandler(log_dir="other")
        with queued("bot", handler):
            logging.getLogger("bot").error("m")
        handler.close()
        assert messages(logger) == ["m"]
        assert [e["message"] for e in read_log("other/expert.log")] == ["m"]

    def test_equal_times_lose_nothing(self, read_log: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        """Records that a coarse or stopped clock makes equal all arrive."""
        handler = MetaHandler(log_dir="other")
        factory = logging.getLogRecordFactory()

        def record(*args: Any, **options: Any) -> logging.LogRecord:
            made = factory(*args, **options)
            made.created = 1_800_000_000.0
            return made

        logging.setLogRecordFactory(record)
        try:
            with queued("bot", handler):
                for number in range(20):
                    logging.getLogger("bot").error("m%d", number)
        finally:
            logging.setLogRecordFactory(factory)
        handler.close()
        assert [e["message"] for e in read_log("other/expert.log")] == [f"m{number}" for number in range(20)]

    def test_what_is_kept_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The ways of records are kept only while there are queues, and no more than some."""
        logger = make()
        logging.getLogger("a").error("m")
        assert watch._passed == {}
        monkeypatch.setattr("metaexpert.logger.capture.handlers._MOST_PASSED", 10)
        with queued("bot", logging.NullHandler()):
            for number in range(50):
                logging.getLogger("bot").error("m%d", number)
            assert 10 <= len(watch._passed) + len(watch._passed_before) <= 20
        logger.close()
        assert watch._passed == watch._passed_before == {}


def fail(name: str, **options: Any) -> None:
    """Log an exception with a cause."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError:
        logging.getLogger(name).exception("failed %d", 3, extra={"order_id": "o-1"}, **options)


class TestTracebacks:
    @pytest.mark.parametrize("stack", [True, False])
    def test_a_queue_handler_puts_it_into_the_message(self, stack: bool, read_log: Read) -> None:
        """QueueHandler makes one text of message, traceback and stack; they are apart again in the entry."""
        handler = MetaHandler(log_dir="bot")
        with queued("bot", handler):
            fail("bot", stack_info=stack)
        handler.close()
        (entry,) = read_log("bot/errors.log")
        assert (entry["message"], entry["order_id"], entry["logger"]) == ("failed 3", "o-1", "bot")
        assert (entry["exception"]["type"], entry["exception"]["value"]) == ("ValueError", "outer")
        assert "KeyError: 'inner'" in entry["exception"]["text"]
        assert entry.get("stack", "Stack (most recent call last)").startswith("Stack (most recent call last)")
        assert ("stack" in entry) is stack

    def test_an_exception_group(self, read_log: Read) -> None:
        """The traceback of a group begins with a line of its own."""
        handler = MetaHandler(log_dir="bot")
        with queued("bot", handler):
            try:
                raise ExceptionGroup("several", [ValueError("x")])
            except ExceptionGroup:
                logging.getLogger("bot").exception("failed")
        handler.close()
        (entry,) = read_log("bot/errors.log")
        assert entry["message"] == "failed"
        assert (entry["exception"]["type"], entry["exception"]["value"]) == (
            "ExceptionGroup",
            "several (1 sub-exception)",
        )
        assert "ValueError: x" in entry["exception"]["text"]

    def test_by_a_queue_of_processes(self, read_log: Read) -> None:
        """A pickled record is told in the same way."""
        handler = MetaHandler(log_dir="bot")
        waiting: Any = multiprocessing.SimpleQueue()
        logging.getLogger("worker").addHandler(sender := logging.handlers.QueueHandler(waiting))
        sender.enqueue = waiting.put  # type: ignore[method-assign]
        fail("worker")
        handler.handle(waiting.get())
        handler.close()
        (entry,) = read_log("bot/errors.log")
        assert (entry["message"], entry["exception"]["value"]) == ("failed 3", "outer")

    def test_a_message_of_the_programs_own(self, messages: Any) -> None:
        """A traceback that the program itself has put into a message stays there."""
        logger = make()
        text = "failed\nTraceback (most recent call last):\nValueError: x"
        logging.getLogger("a").error(text)
        assert messages(logger) == [text]

    def test_secrets_in_it(self, read_log: Read) -> None:
        """What came in the message is masked as what came beside it."""
        handler = MetaHandler(log_dir="bot", secrets=["hushhush1234"])
        with queued("bot", handler):
            try:
                raise ValueError("login with hushhush1234")
            except ValueError:
                logging.getLogger("bot").exception("failed")
        handler.close()
        assert read_log("bot/errors.log")[0]["exception"]["value"] == "login with ***"


def test_a_dict_config_with_a_queue(read_log: Read) -> None:
    """A MetaHandler stands behind a QueueHandler as dictConfig makes it from Python 3.12 on."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "files": {"class": "metaexpert.logger.MetaHandler", "log_dir": "bot"},
                "queue": {"class": "logging.handlers.QueueHandler", "handlers": ["files"]},
            },
            "loggers": {"bot": {"handlers": ["queue"], "level": "INFO"}},
        }
    )
    sender: Any = logging.getHandlerByName("queue")
    sender.listener.start()
    logging.getLogger("bot.orders").info("placed", extra={"symbol": "BTCUSDT"})
    sender.listener.stop()
    logging.getHandlerByName("files").close()  # type: ignore[union-attr]
    entry = read_log("bot/expert.log")[0]
    assert (entry["message"], entry["logger"], entry["symbol"]) == ("placed", "bot.orders", "BTCUSDT")


def test_a_record_of_a_class_of_its_own(messages: Any) -> None:
    """Arguments by name are masked also where the program has a class of its own for records."""

    class Record(logging.LogRecord):
        """As a program may set it."""

    logger = make()
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Record)
    try:
        logging.getLogger("a").error("login %(api_key)s", {"api_key": "abcdefgh12345"})
    finally:
        logging.setLogRecordFactory(factory)
    assert messages(logger) == ["login ***"]
    assert pickle.loads(pickle.dumps(logger)) is not None
