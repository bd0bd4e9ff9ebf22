"""`get_logger` and `structlog.get_logger`: they find the installed logger whenever they look."""

from __future__ import annotations

import asyncio
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from metaexpert.logger import MetaLogger, get_logger

Read = Callable[..., list[dict[str, Any]]]


def make(**options: Any) -> Any:
    """Return a quiet synchronous logger."""
    return MetaLogger(**{"log_to_console": False, "async_logging": False, **options})


def plain(text: str) -> str:
    """Return *text* without colours, which structlog uses when it was imported under FORCE_COLOR."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_before_any_logger_it_prints_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a MetaLogger nothing is lost: entries go to stderr as structlog prints them."""
    get_logger("mod", a=1).bind(b=2).warning("early", c=3)
    err = plain(capsys.readouterr().err)
    for part in ("early", "a=", "b=", "c=", "mod"):
        assert part in err


def test_before_any_logger_no_call_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a MetaLogger the same calls are fine: levels between, fields of any name, bad arguments, twins."""
    log = get_logger("mod")
    log.log(25, "between %s", "levels")
    log.log("error", "by name")
    log.info("reserved", event="e", level="l", self="s", method_name="m")
    log.info("bad %d", "x")
    log.info()
    log.err("err")
    try:
        raise ValueError("kaputt")
    except ValueError:
        log.exception("failed")
        asyncio.run(log.aexception("failed later"))
    asyncio.run(log.alog(35, "async between"))
    asyncio.run(log.bind(a=1).awarn("async twin"))
    out, err = capsys.readouterr()
    assert out == ""
    err = plain(err)
    for part in ("[info", "between levels", "[error", "by name", "field_event", "bad %d", "format_error", "[warning"):
        assert part in err
    for part in ("async between", "async twin", "failed later", "ValueError: kaputt"):
        assert part in err


def test_before_any_logger_a_broken_chain_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """When structlog, as somebody has configured it, cannot print the entry, it still reaches stderr."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    structlog.configure(processors=[broken])
    get_logger().warning("early\x1b[31m", a=1)
    err = capsys.readouterr().err
    assert "[warning] early\\x1b[31m  a=1" in err
    assert "ZeroDivisionError" in err


def test_before_any_logger_nothing_waits(tmp_path: Path) -> None:
    """Without a MetaLogger flush and close have nothing to do; what only a MetaLogger has is told as missing."""
    log = get_logger()
    assert log.flush() is True
    assert log.close(timeout=1) is True
    with pytest.raises(AttributeError, match="no MetaLogger"):
        log.stats()
    assert not hasattr(log, "health")
    assert list(tmp_path.iterdir()) == []


def test_finds_a_logger_made_later(read_log: Read) -> None:
    """A module-level logger, bound and all, writes through the MetaLogger that is made afterwards."""
    log = get_logger("mod", a=1)
    bound = log.bind(b=2)
    trade = log.trade
    make()
    log.info("one")
    bound.info("two")
    trade.debug("three")
    log.unbind("a").info("four")
    log.new(z=1).info("five")
    entries = read_log("logs/expert.log")
    assert [(e["message"], e["logger"], e.get("a"), e.get("b")) for e in entries] == [
        ("one", "mod", 1, None),
        ("two", "mod", 1, 2),
        ("four", "mod", None, None),
        ("five", "mod", None, None),
    ]
    assert read_log("logs/trades.log")[0]["message"] == "three"


def test_unbind_of_a_missing_key() -> None:
    """unbind refuses what is not there, try_unbind does not."""
    with pytest.raises(KeyError):
        get_logger().unbind("a")
    assert get_logger(a=1).try_unbind("a", "b")._initial == {}


def test_follows_a_new_installation(read_log: Read) -> None:
    """When the installed logger is closed and another made, the same object writes there."""
    log = get_logger("mod")
    first = make(log_dir="first")
    log.info("one")
    first.close()
    make(log_dir="second")
    log.info("two")
    assert [e["message"] for e in read_log("first/expert.log")] == ["one"]
    assert [e["message"] for e in read_log("second/expert.log")] == ["two"]


def test_the_first_open_logger_is_installed(read_log: Read) -> None:
    """A second MetaLogger does not take over unless it says so; install=False never does."""
    make(log_dir="zero", install=False)
    make(log_dir="first")
    make(log_dir="second")
    get_logger().info("one")
    make(log_dir="third", install=True)
    get_logger().info("two")
    counts = {name: len(read_log(f"{name}/expert.log")) for name in ("zero", "first", "second", "third")}
    assert counts == {"zero": 0, "first": 1, "second": 0, "third": 1}


def test_structlog_get_logger(read_log: Read) -> None:
    """structlog.get_logger anywhere writes here, with its name, initial values and trade category."""
    early = structlog.get_logger("early", a=1)
    make(symbol="BTCUSDT")
    early.info("one")
    structlog.get_logger(category="trade").debug("two")
    structlog.get_logger().bind(b=2).info("three")
    assert [(e["message"], e.get("logger"), e.get("a"), e.get("b")) for e in read_log("logs/expert.log")] == [
        ("one", "early", 1, None),
        ("three", None, None, 2),
    ]
    assert [e["message"] for e in read_log("logs/trades.log")] == ["two"]


def test_pickles_and_shows() -> None:
    """A lazy logger crosses process borders; its repr shows no value."""
    log = get_logger("mod", token="s3cr3t")
    assert pickle.loads(pickle.dumps(log))._initial == {"token": "s3cr3t"}
    assert "s3cr3t" not in repr(log)
    with pytest.raises(AttributeError):
        _ = log.__wrapped__
