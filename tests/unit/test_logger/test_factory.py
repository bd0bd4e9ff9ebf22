"""`MetaLogger`: a configuration, options over it, and context, or a clear error with nothing done."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import metaexpert.logger
from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger

Read = Callable[..., list[dict[str, Any]]]


def test_options_win_over_a_configuration(read_log: Read) -> None:
    """What is named beside a configuration replaces its value; domain fields are bound."""
    config = LoggerConfig(log_level="ERROR", log_to_console=False, async_logging=False)
    with MetaLogger(config, log_level="DEBUG", symbol="BTCUSDT", order_id="o") as logger:
        logger.debug("m")
    entry = read_log("logs/expert.log")[0]
    assert (entry["level"], entry["symbol"], entry["order_id"]) == ("debug", "BTCUSDT", "o")
    assert config.log_level == "ERROR"


def test_a_configuration_alone_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no say once a configuration was made."""
    config = LoggerConfig(log_to_console=False)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    assert MetaLogger(config).config.log_level == "INFO"


@pytest.mark.parametrize("options", [{"log_levl": "DEBUG"}, {"log_level": "LOUD"}, {"api_key": "s3cr3t"}])
def test_a_wrong_option_raises_and_creates_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is opened before the whole configuration is valid."""
    with pytest.raises(ConfigurationError) as caught:
        MetaLogger(**options)
    assert "s3cr3t" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("config", ["EmaBot", {"log_level": "DEBUG"}, LoggerConfig])
def test_what_is_no_configuration_raises_and_creates_nothing(config: Any, tmp_path: Path) -> None:
    """A name or a dictionary in the place of the configuration is told with what would be right."""
    with pytest.raises(TypeError, match="LoggerConfig, or keywords such as expert_name="):
        MetaLogger(config)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_by_keyword_is_told_its_place() -> None:
    """`config=` is no option: the configuration is the first argument."""
    with pytest.raises(TypeError, match=r"as the first argument: MetaLogger\(config, ...\)"):
        MetaLogger(config=LoggerConfig())


def test_only_public_names_are_shown() -> None:
    """`dir` shows what `__all__` has and the two public modules, not what the module itself needs."""
    shown = {name for name in dir(metaexpert.logger) if not name.startswith("__")}
    assert shown == {*metaexpert.logger.__all__, "schema", "testing"}
    assert all(hasattr(metaexpert.logger, name) for name in shown)


def test_when_even_the_plain_way_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The call returns all the same; the entry counts once, both failures are told."""
    logger = MetaLogger(log_to_console=False, async_logging=False)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    pipeline = logger._logger.pipeline
    monkeypatch.setattr(pipeline, "fallback", [broken])
    pipeline.processors[:] = [broken]
    logger.info("m")
    assert logger.stats()["failed"] == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_host_without_a_name(monkeypatch: pytest.MonkeyPatch, read_log: Read) -> None:
    """A host that does not tell its name is written as RFC 5424's nil value."""

    def nameless() -> str:
        raise OSError

    monkeypatch.setattr(socket, "gethostname", nameless)
    monkeypatch.setattr(os, "uname", nameless, raising=False)
    with MetaLogger(log_to_console=False) as logger:
        logger.info("m")
    assert read_log("logs/expert.log")[0]["hostname"] == "-"
