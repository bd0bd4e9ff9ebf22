"""Records of `logging` and warnings: captured with all they bring, and put back afterwards."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_records import RaisingRecord

from metaexpert.logger import MetaLogger, log_context

Read = Callable[..., list[dict[str, Any]]]


def make(**options: Any) -> Any:
    """Return a quiet synchronous logger."""
    return MetaLogger(**{"log_to_console": False, "async_logging": False, **options})


def ours() -> logging.Handler:
    """Return the handler that the capture has put on the root logger."""
    return next(h for h in logging.getLogger().handlers if type(h).__module__.startswith("metaexpert"))


@pytest.fixture
def entries(read_log: Read) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that reads expert.log."""
    return lambda: read_log("logs/expert.log")


class TestLogging:
    def test_a_record_is_an_entry(self, entries: Any) -> None:
        """Name, level, message, arguments and extra fields arrive; context is added."""
        make(symbol="BTCUSDT")
        with log_context(order_id="o"):
            logging.getLogger("ccxt.ws").warning("retry %s of %d", "x", 3, extra={"attempt": 1, "level": "own"})
        entry = entries()[0]
        assert (entry["logger"], entry["level"], entry["message"]) == ("ccxt.ws", "warning", "retry x of 3")
        assert (entry["attempt"], entry["field_level"]) == (1, "own")
        assert (entry["symbol"], entry["order_id"]) == ("BTCUSDT", "o")

    def test_levels_between(self, entries: Any) -> None:
        """A record of level 25 is named info."""
        make()
        logging.getLogger("a").log(25, "m")
        assert entries()[0]["level"] == "info"

    def test_exceptions_and_stacks(self, entries: Any, read_log: Read) -> None:
        """exc_info and stack_info of a record arrive; ERROR goes to errors.log."""
        make()
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("a").exception("m", stack_info=True)
        entry = read_log("logs/errors.log")[0]
        assert entry["exception"]["value"] == "x"
        assert entry["stack"].startswith("Stack (most recent call last)")

    @pytest.mark.parametrize("arguments", [("%d", "x"), ("%s %s", "one"), ("%(a)s", {"b": 1})])
    def test_bad_arguments(self, entries: Any, arguments: tuple[Any, ...]) -> None:
        """A record whose arguments do not fit keeps its template and its arguments, and raises nothing."""
        make()
        # Handed to our handler alone: pytest's own raises for such a record.
        ours().handle(logging.LogRecord("a", logging.ERROR, "f", 1, arguments[0], arguments[1:], None))
        entry = entries()[0]
        assert entry["message"] == arguments[0]
        assert "positional_args" in entry
        assert "format_error" in entry

    def test_root_level_is_log_level_and_is_put_back(self, entries: Any) -> None:
        """Records from log_level up are taken, and root is as before once the logger is closed."""
        root = logging.getLogger()
        before = (root.level, list(root.handlers))
        logger = make(log_level="DEBUG")
        logging.getLogger("a").debug("m")
        assert [e["message"] for e in entries()] == ["m"]
        logger.close()
        assert (root.level, list(root.handlers)) == before

    def test_a_level_set_meanwhile_is_kept(self) -> None:
        """Closing does not undo what somebody else has set since."""
        root = logging.getLogger()
        before = root.level
        logger = make()
        root.setLevel(logging.ERROR)
        logger.close()
        assert root.level == logging.ERROR
        root.setLevel(before)

    def test_set_level_reaches_records_too(self, entries: Any) -> None:
        """set_level moves the capture with the logger."""
        logger = make()
        logger.set_level("DEBUG")
        logging.getLogger("a").debug("yes")
        logger.set_level("ERROR")
        logging.getLogger("a").warning("no")
        assert [e["message"] for e in entries()] == ["yes"]

    def test_talkative_libraries_start_at_warning(self, entries: Any) -> None:
        """httpx and friends are quiet below WARNING; the children of their loggers too; afterwards as before."""
        logger = make(log_level="DEBUG")
        logging.getLogger("httpx").info("GET https://host/?signature=abc")
        logging.getLogger("urllib3.connectionpool").debug("token")
        logging.getLogger("httpx").warning("m")
        assert [e["message"] for e in entries()] == ["m"]
        logger.close()
        assert logging.getLogger("httpx").level == logging.NOTSET

    def test_a_level_that_the_user_set_is_respected(self, entries: Any) -> None:
        """Who asks for httpx at DEBUG gets it."""
        httpx = logging.getLogger("httpx")
        httpx.setLevel(logging.DEBUG)
        try:
            make(log_level="DEBUG").close()
            assert httpx.level == logging.DEBUG
        finally:
            httpx.setLevel(logging.NOTSET)

    def test_can_be_switched_off(self, entries: Any) -> None:
        """capture_stdlib=False leaves logging alone."""
        root = logging.getLogger()
        before = (root.level, list(root.handlers))
        make(capture_stdlib=False)
        assert (root.level, list(root.handlers)) == before

    def test_the_installed_logger_captures_once(self, entries: Any, read_log: Read) -> None:
        """With two loggers a record is written once, by the installed one; install=True moves it."""
        make()
        make(log_dir="second")
        logging.getLogger("a").warning("one")
        make(log_dir="third", install=True)
        logging.getLogger("a").warning("two")
        assert [e["message"] for e in entries()] == ["one"]
        assert read_log("second/expert.log") == []
        assert [e["message"] for e in read_log("third/expert.log")] == ["two"]

    def test_a_handler_error_is_told_not_printed(self, entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """A record that cannot even be looked at costs one line of diagnosis."""
        logger = make()

        ours().handle(RaisingRecord("a", 30, "f", 1, "m", None, None))
        assert logger.stats()["failed"] == 1
        assert "Traceback" not in capsys.readouterr().err


class TestWarnings:
    def test_a_warning_is_an_entry(self, entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """Text, kind and place of a warning arrive, under the name that logging uses for them."""
        make()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", DeprecationWarning, stacklevel=1)
        entry = entries()[0]
        assert (entry["level"], entry["message"], entry["logger"]) == ("warning", "careful", "py.warnings")
        assert entry["warning_category"] == "DeprecationWarning"
        assert Path(entry["warning_file"]).name == "test_stdlib.py"
        assert entry["warning_line"] > 0
        assert capsys.readouterr().err == ""

    def test_is_put_back(self) -> None:
        """Closing restores showwarning, unless somebody replaced it since."""
        before = warnings.showwarning
        make().close()
        assert warnings.showwarning is before
        logger = make()

        def mine(*_: Any) -> None: ...

        warnings.showwarning = mine  # type: ignore[assignment]
        logger.close()
        assert warnings.showwarning is mine
        warnings.showwarning = before

    def test_can_be_switched_off(self) -> None:
        """capture_warnings=False leaves warnings alone."""
        before = warnings.showwarning
        make(capture_warnings=False)
        assert warnings.showwarning is before

    def test_works_without_the_capture_of_logging(self, entries: Any) -> None:
        """Warnings are captured on their own."""
        make(capture_stdlib=False)
        warnings.showwarning("careful", UserWarning, "file.py", 3)
        assert entries()[0]["message"] == "careful"

    def test_a_file_of_ones_own(self, entries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who names a file gets the warning there, from whoever showed warnings before."""
        shown = []
        monkeypatch.setattr(warnings, "showwarning", lambda *args: shown.append(args))
        logger = make()
        warnings.showwarning("careful", UserWarning, "file.py", 3, sys.stdout)
        assert [args[0] for args in shown] == ["careful"]
        assert entries() == []
        logger.close()


def test_sys_is_untouched() -> None:
    """Installing replaces neither standard streams nor, if that is not wanted, the exception hook."""
    before = (sys.stdout, sys.stderr, sys.excepthook)
    make(capture_uncaught=False)
    assert (sys.stdout, sys.stderr, sys.excepthook) == before
