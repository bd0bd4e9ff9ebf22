"""`metaexpert logs seal`, `verify --seal`, `prove` and `check-proof` on the log of a logger with ``seal=true``."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import BoundLogger, ConfigurationError, LoggerConfig

Cli = Callable[..., Any]
Make = Callable[..., BoundLogger]


@pytest.fixture
def closed(make: Make) -> None:
    """An expert that has traded, and was closed."""
    logger = make(expert_name="EmaBot", seal=True)
    for number in range(20):
        logger.trade.info("Order filled", order_id=f"ord-{number % 5}", size=number)
    logger.info("not a trade", order_id="ord-1")
    logger.close()


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put *text* on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.usefixtures("closed")
class TestCommands:
    def test_a_log_is_sealed_verified_and_an_order_proven(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key leaves once, the log verifies, and a proof holds without it, until a byte of either is changed."""
        code, key, _ = cli("logs", "seal", "--key-out", "-")
        assert (code, key.count("\n")) == (0, 1)
        assert key.startswith("metaexpert/")
        code, _, err = cli("logs", "seal", "--key-out", "again")
        assert (code, Path("again").exists()) == (1, False)
        assert "was handed out on" in err
        Path("bot.key").write_text(key)
        code, out, _ = cli("logs", "verify", "--seal", "bot.key")
        assert code == 0
        assert out.endswith("all is well\n")
        assert "covers 20 lines" in out
        give(monkeypatch, key)
        assert cli("logs", "verify", "--seal", "-", "--json").code == 0
        code, out, _ = cli("logs", "prove", "ord-3", "-o", "ord-3.tlog-proof")
        assert (code, out) == (0, "ord-3.tlog-proof: 4 lines about order ord-3\n")
        text = Path("ord-3.tlog-proof").read_text("utf-8")
        assert text.count("c2sp.org/tlog-proof@v1\n") == 4
        Path("logs").rename("elsewhere")
        code, out, _ = cli("logs", "check-proof", "ord-3.tlog-proof", "--seal", "bot.key")
        assert (code, out.count('"order_id":"ord-3"')) == (0, 4)
        assert out.endswith("4 lines proven by the given key\n")
        code, out, _ = cli("logs", "check-proof", "ord-3.tlog-proof")
        assert code == 0
        assert "compare it" in out
        give(monkeypatch, text)
        code, out, _ = cli("logs", "check-proof", "-", "--json")
        assert (code, json.loads(out)["ok"], len(json.loads(out)["proofs"])) == (0, True, 4)
        Path("bad").write_text(text.replace("index 3\n", "index 2\n"))
        code, out, err = cli("logs", "check-proof", "bad", "--json")
        assert (code, json.loads(out)["ok"]) == (1, False)
        assert "the proof does not hold: the line is not at place 2" in err
        path = Path("elsewhere/trades.log")
        path.write_bytes(path.read_bytes().replace(b'"size":7', b'"size":8'))
        code, out, _ = cli("logs", "verify", "elsewhere", "--seal", "bot.key")
        assert code == 1
        assert "changed    trades.log:8: 1 line from here on is not as sealed (number 7 of the sealed log)" in out

    def test_the_key_of_another_log_proves_nothing(self, cli: Cli, make: Make) -> None:
        """Neither the log nor a proof."""
        make(log_dir="other", seal=True).close()
        assert cli("logs", "seal", "other", "--key-out", "other.key").code == 0
        assert cli("logs", "prove", "ord-1", "logs", "-o", "p").code == 0
        code, _, err = cli("logs", "check-proof", "p", "--seal", "other.key")
        assert (code, "vouched for" in err) == (1, True)
        code, out, _ = cli("logs", "verify", "logs", "--seal", "other.key")
        assert (code, "not vouched for by the verification key" in out) == (1, True)

    def test_an_anchor_is_a_file_with_checkpoints(self, cli: Cli) -> None:
        """The log itself holds them as entries."""
        cli("logs", "seal", "--key-out", "bot.key")
        code, out, _ = cli("logs", "verify", "--seal", "bot.key", "--anchor", "logs/expert.log")
        assert (code, "a witness has seen the first 20 lines" in out) == (0, True)
        Path("none").write_text("")
        assert cli("logs", "verify", "--seal", "bot.key", "--anchor", "none").code == 1

    def test_a_seal_is_told_as_json(self, cli: Cli) -> None:
        """With its checkpoint."""
        code, out, _ = cli("logs", "seal", "--json")
        facts = json.loads(out)
        assert (code, facts["lines"], facts["file"]) == (0, 20, "trades.log")
        assert facts["checkpoint"].split("\n")[1] == "20"
        assert cli("logs", "seal").out.startswith(f"logs: seal {facts['seal'] + 1} covers 20 lines of trades.log; ")

    def test_what_is_wrong_is_told(self, cli: Cli) -> None:
        """Orders that are not there or not sealed, keys that are none, a seal that is damaged, files in the way."""
        assert cli("logs", "prove", "ord-99").err == "error: nothing is logged about order ord-99\n"
        Path("logs/trades.log").write_bytes(Path("logs/trades.log").read_bytes() + b'{"order_id":"late"}\n')
        Path("k").write_text("x+y")
        for words, wanted in (
            (("verify", "--seal", "none"), "none cannot be read"),
            (("verify", "--seal", "k"), "it is no verification key"),
            (("verify", "--tsa-ca", "k"), "are for --seal KEY"),
            (("verify", "--seal", "k", "--tsa-ca", "none"), "it is no verification key"),
            (("seal", "--key-out", "k"), "k exists"),
            (("check-proof", "-", "--seal", "-"), "cannot be the proof and the key"),
            (("check-proof", "none"), "none cannot be read"),
            (("prove", "ord-1", "-o", "no/where"), "no/where cannot be written"),
        ):
            code, _, err = cli("logs", *words)
            assert (code, wanted in err) == (2, True), (words, err)
        assert cli("logs", "check-proof", "k").code == 1
        Path("logs/.metaexpert/seal/state").unlink()
        assert "state is gone" in cli("logs", "seal").err
        Path("logs/.metaexpert/seal/seals.jsonl").write_text("{}\n")
        assert "is damaged" in cli("logs", "prove", "ord-1").err

    def test_an_order_that_is_not_sealed_yet_is_told(self, cli: Cli, make: Make) -> None:
        """And how to seal it."""
        logger = make(seal=False)
        logger.trade.info("Order filled", order_id="late")
        logger.close()
        assert "metaexpert logs seal does it now" in cli("logs", "prove", "late").err
        assert cli("logs", "seal").code == 0
        assert cli("logs", "prove", "late").out.startswith("c2sp.org/tlog-proof@v1\n")


class TestLogger:
    def test_seals_are_entries_and_anchors_are_alerts(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each seal goes to the files and collectors as ``log.sealed``; the first of a day asks for an alert."""
        logger = make(expert_name="EmaBot", seal=True, seal_epoch=1)
        logger.trade.info("Order filled")
        path = Path("logs/expert.log")
        eventually(lambda: path.exists() and "log.sealed" in path.read_text("utf-8"))
        pipeline = logger._logger.pipeline
        pipeline.routing.alert_level = 50
        assert pipeline.routing.own_destinations(20, alert=True) & 16
        assert not pipeline.routing.own_destinations(20, alert=False) & 16
        logger.trade.info("Order filled")
        logger.close()
        sealed = [json.loads(line) for line in path.read_text("utf-8").splitlines() if "log.sealed" in line]
        assert (sealed[0]["seal"], sealed[0]["alert"], sealed[0]["level"]) == (0, True, "info")
        assert (sealed[-1]["lines"], "alert" in sealed[-1]) == (2, False)
        assert sealed[-1]["checkpoint"] == Path("logs/.metaexpert/seal/checkpoint").read_text("utf-8")

    def test_rotation_takes_the_lines_in_before_they_go(self, make: Make, cli: Cli) -> None:
        """Although retention deletes them a moment later; without a writing thread's pass in between."""
        logger = make(seal=True, max_file_size=2048, backup_count=1, async_logging=False)
        for number in range(100):
            logger.trade.info("Order filled", size=number)
        logger.close()
        cli("logs", "seal", "--key-out", "k")
        code, out, _ = cli("logs", "verify", "--seal", "k")
        assert "covers 100 lines" in out
        assert not [line for line in out.splitlines() if line.startswith(("changed", "removed", "cut off", "seal"))]
        assert code in (0, 1)  # other entries were rotated away, which may look like gaps

    def test_loggers_of_a_directory_share_the_seal(self, make: Make, cli: Cli) -> None:
        """It is made once, by the last that closes."""
        loggers = [make(expert_name=f"Bot{number}", seal=True) for number in range(3)]
        for logger in loggers:
            logger.trade.info("Order filled")
        for logger in loggers:
            logger.close()
        assert cli("logs", "seal", "--key-out", "k").code == 0
        assert "covers 3 lines" in cli("logs", "verify", "--seal", "k").out

    def test_trouble_is_told_and_trading_goes_on(self, make: Make) -> None:
        """A state that is damaged stops sealing, with one report."""
        make(seal=True).close()
        Path("logs/.metaexpert/seal/state").write_text("{")
        logger = make(seal=True)
        logger.trade.info("Order filled")
        logger.close()
        assert "Order filled" in Path("logs/trades.log").read_text("utf-8")
        assert Path("logs/logging_errors.log").read_text("utf-8").count("sealing has stopped") == 1

    @pytest.mark.parametrize(
        ("options", "wanted"),
        [
            ({"seal": True, "log_to_file": False}, "log_to_file"),
            ({"seal_timestamp_url": "https://tsa.example"}, "seal_timestamp_url is set, and needs seal too"),
            ({"seal": True, "seal_epoch": 0}, "seal_epoch"),
            ({"seal": True, "seal_anchor": "weekly"}, "seal_anchor"),
            ({"seal": True, "seal_timestamp_url": "ftp://x"}, "seal_timestamp_url"),
        ],
    )
    def test_settings_that_do_not_fit_are_refused(self, options: dict[str, Any], wanted: str) -> None:
        """By name."""
        with pytest.raises(ConfigurationError, match=wanted):
            LoggerConfig(**options)

    def test_without_the_extra_the_setting_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says what to install."""
        monkeypatch.setattr("metaexpert.logger.config._remote._is_installed", lambda module: module != "cryptography")
        with pytest.raises(ConfigurationError, match=r"metaexpert\[seal\]"):
            LoggerConfig(seal=True)
