"""Secrets that only the whole of an entry gives away: arguments, lists of headers, objects of a name and its value."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger, register_secret
from metaexpert.logger.bound import BoundLogger
from metaexpert.logger.masking.names import NAMES, PLAIN
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import mask_tree

SECRET = "Zk81Lq0ppR7aa"


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    """Forget what a test registered."""
    registered.forget()
    yield
    registered.forget()


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[BoundLogger]:
    """Return a logger that writes files alone."""
    with MetaLogger(expert_name="Bot", log_dir=tmp_path, log_to_console=False) as logger:
        yield logger


def entries(logger: BoundLogger, directory: Path) -> list[dict[str, Any]]:
    """Return what was logged."""
    logger.flush()
    lines = [line for file in directory.glob("*.log") for line in file.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


class TestArguments:
    """Of a message with ``%``."""

    def test_arguments_that_do_not_fit(self, logger: BoundLogger, tmp_path: Path) -> None:
        """Those after a secret name are masked, the others stay to tell what was wrong."""
        logger.info("api_key=%s n=%d", SECRET, "x")
        record = logging.LogRecord("some.library", 30, "a.py", 1, "retry %d: token=%s", ("first", SECRET), None)
        for handler in logging.getLogger().handlers:  # pytest's own would raise
            if type(handler).__module__.startswith("metaexpert"):
                handler.handle(record)
        logger.info("user=%s password: %r, side %d", "bob", SECRET, "BUY")
        shown = [entry["positional_args"] for entry in entries(logger, tmp_path) if "positional_args" in entry]
        assert ["***", "x"] in shown
        assert ["first", "***"] in shown
        assert ["bob", "***", "BUY"] in shown

    def test_named_arguments(self, logger: BoundLogger, tmp_path: Path) -> None:
        """The value of a secret name is masked wherever the message puts it."""
        logger.info("login %(api_key)s, try %(n)d", {"api_key": SECRET, "n": 3})
        logging.getLogger("some.library").warning("login %(password)s at %(host)s", {"password": SECRET, "host": "h"})
        messages = {entry["message"] for entry in entries(logger, tmp_path)}
        assert {"login ***, try 3", "login *** at h"} <= messages

    def test_a_mapping_as_a_whole(self, logger: BoundLogger, tmp_path: Path) -> None:
        """It is shown as itself, with its secrets masked."""
        logger.info("settings: %r", {"api_key": SECRET, "n": 3})
        messages = {entry["message"] for entry in entries(logger, tmp_path)}
        assert "settings: {'api_key': '***', 'n': 3}" in messages

    def test_named_arguments_stay_without_masking(self, tmp_path: Path) -> None:
        """With `mask_secrets=False` names mean nothing."""
        with MetaLogger(log_dir=tmp_path, log_to_console=False, mask_secrets=False) as logger:
            logger.info("login %(api_key)s", {"api_key": SECRET})
            assert any(entry["message"] == f"login {SECRET}" for entry in entries(logger, tmp_path))


class TestFields:
    """Fields whose meaning another one tells."""

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ([["X-MBX-APIKEY", SECRET], ["Accept", "*/*"]], [["X-MBX-APIKEY", "***"], ["Accept", "*/*"]]),
            ([("Authorization", SECRET), ("Host", "h")], [["Authorization", "***"], ["Host", "h"]]),
            ([{"name": "API_KEY", "value": SECRET}], [{"name": "API_KEY", "value": "***"}]),
            ({"key": "Authorization", "value": SECRET}, {"key": "Authorization", "value": "***"}),
            ({"op": "auth", "args": [SECRET, 1, "s"]}, {"op": "auth", "args": "***"}),
            ({"method": "user.auth", "params": ["API", SECRET]}, {"method": "user.auth", "params": "***"}),
            ({"privkey": SECRET, "APCA-API-KEY-ID": SECRET}, {"privkey": "***", "APCA-API-KEY-ID": "***"}),
            ({"secretKey": [12, 34, 56], "BINANCE_KEY": SECRET}, {"secretKey": "***", "BINANCE_KEY": "***"}),
            ({"smtp_pass": SECRET, "secret_phrase": "a b"}, {"smtp_pass": "***", "secret_phrase": "***"}),
            ({"gas_token": SECRET}, {"gas_token": "***"}),
        ],
    )
    def test_masked(self, logger: BoundLogger, tmp_path: Path, value: Any, shown: Any) -> None:
        """By a call and by the chain alike."""
        logger.info("seen", request=value)
        assert mask_tree({"request": value})[0] == {"request": shown}
        assert next(entry["request"] for entry in entries(logger, tmp_path) if "request" in entry) == shown

    @pytest.mark.parametrize(
        "value",
        [
            [["token", "price"], ["WETH", 3100.5]],
            [["api_key", "created_at"]],
            [{"name": "symbol", "value": "BTCUSDT"}],
            {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]},
            {"op": "auth", "success": True},
            {"gas_token": "ETH", "base_token": "0xdAC17F958D2ee523a2206206994597C13D831ec7"},
            {"sign": "SELL", "pwd": "/home/bot", "pass": 3, "low_pass": "0.1"},
        ],
    )
    def test_not_masked(self, logger: BoundLogger, tmp_path: Path, value: Any) -> None:
        """Columns, subscriptions, tokens that are traded, sides, directories."""
        logger.info("seen", request=value)
        assert mask_tree({"request": value}) == ({"request": value}, 0)
        assert next(entry["request"] for entry in entries(logger, tmp_path) if "request" in entry) == value

    def test_a_large_container_is_masked_like_a_small_one(self) -> None:
        """Its texts are searched together, and a single secret among them is found."""
        names = {f"level_{number}": f"order number {number} of many" for number in range(1000)}
        assert mask_tree({"book": names}) == ({"book": names}, 0)
        register_secret("number 777 of")
        masked, count = mask_tree({"book": {**names, "api_key": SECRET, "note": f"token={SECRET}"}})
        assert count == 3
        assert masked["book"] == {**names, "level_777": "order *** many", "api_key": "***", "note": "token=***"}

    def test_pairs_in_a_large_list(self) -> None:
        """A header among many pairs is one."""
        pairs = [["price", "1.5"] for _ in range(500)]
        masked, count = mask_tree({"book": [*pairs, ["X-MBX-APIKEY", SECRET], {"api": {"key": SECRET}}]})
        assert count == 2
        assert masked["book"] == [*pairs, ["X-MBX-APIKEY", "***"], {"api": {"key": "***"}}]


class TestExceptions:
    """Names of classes and lines of source code."""

    def test_a_known_value_as_the_name_of_a_class(self, logger: BoundLogger, tmp_path: Path) -> None:
        """It is masked in the type, as in the text."""
        register_secret("Str4ng3Name")
        logger.error("failed", exc_info=type("Str4ng3Name", (Exception,), {})("x"))
        shown = next(entry["exception"] for entry in entries(logger, tmp_path) if "exception" in entry)
        assert shown["type"] == "***"
        assert "Str4ng3Name" not in json.dumps(shown)

    def test_source_lines_stay_and_their_literals_do_not(self, logger: BoundLogger, tmp_path: Path) -> None:
        """Code names where a secret is; a literal is one."""

        def login(user: str, password: str) -> None:
            raise ValueError(user)

        pw = SECRET
        for call in (lambda: login("bob", password=pw), lambda: login("bob", password="Zk81Lq0ppR7aa")):
            try:
                call()
            except ValueError:
                logger.exception("failed")
        shown = json.dumps([entry.get("exception") for entry in entries(logger, tmp_path)])
        assert "password=pw" in shown
        assert SECRET not in shown


def test_each_secret_name_has_a_stem() -> None:
    """A text without any of the stems cannot hold a secret name."""
    for phrase, kind in NAMES._kinds.items():
        assert kind == PLAIN or any(stem in word for stem in NAMES.stems for word in ("".join(phrase), *phrase)), phrase


def _frame(library: str, data: dict[str, Any]) -> Any:
    return pytest.importorskip(library, reason=f"{library} is not installed").DataFrame(data)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_a_table_have_names_too(library: str, read_log: Callable[..., list[dict[str, Any]]]) -> None:
    """What stands in a column of a secret name is masked, in a table of the program that stays as it was."""
    secret = "zQ8vKp3LmX7tRw2N"
    table = _frame(library, {"account": ["main", "sub"], "api_key": [secret, f"{secret}2"], "tokens": [5, 7]})
    with MetaLogger(install=False, log_to_console=False) as logger:
        logger.info("Keys", keys=table, nested=[{"table": table}])
    (entry,) = read_log("logs/expert.log")
    text = str(entry)
    assert secret not in text
    assert "main" in text
    assert "***" in text
    assert "7" in entry["keys"]
    assert entry["masked"] == 4
    assert list(table["api_key"]) == [secret, f"{secret}2"]
