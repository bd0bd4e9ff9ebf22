"""The setting `stream`: the console prints on standard error, on standard output, or on an object of the program."""

from __future__ import annotations

import io
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger


class Written:
    """An object with nothing but `write`."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        """Take a text."""
        self.texts.append(text)


class Bar:
    """A progress bar whose class prints above it, as `tqdm.write` does: a line end of its own unless told otherwise."""

    texts: list[str]

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        """Print above the bar."""
        cls.texts.append(s + end)


@pytest.mark.parametrize(("stream", "at"), [("stdout", 0), ("stderr", 1), ("STDOUT", 0), (" stderr ", 1)])
def test_a_standard_stream(stream: Any, at: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Entries stand on that one alone."""
    with MetaLogger(install=False, stream=stream) as logger:
        logger.info("Position opened")
    printed = capfd.readouterr()
    assert "Position opened" in printed[at]
    assert not printed[1 - at]


def test_an_object(capfd: pytest.CaptureFixture[str]) -> None:
    """It gets whole lines without colours, each entry once, while the program runs; nothing goes elsewhere."""
    written = Written()
    with MetaLogger(install=False, stream=written) as logger:
        for number in range(3):
            logger.info("Tick", number=number)
        eventually(lambda: "number=2" in "".join(written.texts))
    lines = "".join(written.texts).splitlines()
    assert [line.partition("Tick")[2].strip() for line in lines] == ["number=0", "number=1", "number=2"]
    assert "\x1b" not in lines[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stream", [Bar, Bar.write], ids=["class", "method"])
def test_a_progress_bar(stream: Any) -> None:
    """No blank lines between entries, whether its class or the method is given."""
    Bar.texts = []
    with MetaLogger(install=False, stream=stream) as logger:
        logger.info("One")
        logger.info("Two")
    assert "".join(Bar.texts).count("\n") == 2


def test_an_object_that_fails_switches_the_console_off(capfd: pytest.CaptureFixture[str]) -> None:
    """The files go on, and a line tells why nothing is printed any more."""

    class Broken(Written):
        def write(self, text: str) -> None:
            super().write(text)
            raise RuntimeError("no bar any more")

    broken = Broken()
    with MetaLogger(install=False, stream=broken) as logger:
        logger.info("One")
        logger.flush()
        eventually(lambda: broken.texts)
        logger.info("Two")
    assert Path("logs/expert.log").read_bytes().count(b"\n") >= 2
    assert "no bar any more" in Path("logs/logging_errors.log").read_text("utf-8")
    assert len(broken.texts) == 1


def test_a_handler_of_the_program_on_the_same_stream_is_not_doubled(capfd: pytest.CaptureFixture[str]) -> None:
    """A record that its own handler prints on standard output is not printed there once more."""
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger("exchange").addHandler(handler)
    try:
        with MetaLogger(stream="stdout"):
            logging.getLogger("exchange").warning("Slow answer")
    finally:
        logging.getLogger("exchange").removeHandler(handler)
    assert capfd.readouterr().out.count("Slow answer") == 1


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a word; `config show` says where it comes from, and an object is shown by its type."""
    monkeypatch.setenv("METAEXPERT_STREAM", "stdout")
    assert LoggerConfig().sources()["stream"] == ("stdout", "environment METAEXPERT_STREAM")
    assert LoggerConfig(stream=Written()).sources()["stream"].value == "Written"


@pytest.mark.parametrize("value", ["", "file", 3, object(), None])
def test_anything_else_is_an_error(value: Any) -> None:
    """It names the field, and what would be right."""
    with pytest.raises(ConfigurationError, match=r"stream: .*should be stderr, stdout, or an object with"):
        LoggerConfig(stream=value)


def test_children_and_pickles_do_without_the_object() -> None:
    """An object of this process is no other's: there the console prints on standard error."""
    with MetaLogger(stream=io.TextIOWrapper(io.BytesIO())) as logger:
        assert pickle.loads(pickle.dumps(logger)) is not None
