"""MetaExpert as the logger's host: settings, name, credentials, closing."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import metaexpert
from metaexpert import MetaExpert
from metaexpert.logger import ConfigurationError
from metaexpert.trading import Bar

MakeExpert = Callable[..., MetaExpert]
ReadLog = Callable[..., list[dict[str, Any]]]
SECRETS = {"api_key": "KEY-7f3a", "api_secret": "SECRET-91bc", "api_passphrase": "PHRASE-55de"}


def test_every_logging_argument_reaches_the_configuration(make: MakeExpert) -> None:
    """FR-010: what MetaExpert is given is what its logger is set to."""
    given: dict[str, Any] = {
        "log_level": "WARNING",
        "log_file": "a.log",
        "log_trade_file": "b.log",
        "log_error_file": "c.log",
        "log_to_file": True,
        "log_to_console": False,
        "json_logging": True,
        "async_logging": False,
        "expert_name": "ema",
        "backup_count": 2,
    }
    config = make(**given).logger.config
    assert {name: getattr(config, name) for name in given} == given
    assert {config.sources()[name].source for name in given} == {"argument in code"}


def test_the_aliases_of_the_file_names_are_accepted(make: MakeExpert) -> None:
    """trade_log_file and error_log_file mean log_trade_file and log_error_file."""
    config = make(trade_log_file="t.log", error_log_file="e.log").logger.config
    assert (config.log_trade_file, config.log_error_file) == ("t.log", "e.log")


def test_what_is_not_given_comes_from_the_environment(make: MakeExpert, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument that was left out does not hide the environment, and one that was given beats it."""
    monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("METAEXPERT_EXPERT_NAME", "from-environment")
    expert = make()
    assert (expert.logger.config.log_level, expert.name) == ("ERROR", "from-environment")
    assert make(log_level="DEBUG").logger.config.log_level == "DEBUG"


def test_the_name_is_that_of_the_strategys_file(make: MakeExpert, tmp_path: Path) -> None:
    """Without a name from any source, the file that makes the expert gives it."""
    path = tmp_path / "my_strategy.py"
    source = "from metaexpert import MetaExpert\nexpert = MetaExpert('x', log_to_console=False)\n"
    for name, file in (("my_strategy", path), ("bots", tmp_path / "bots" / "__main__.py")):
        namespace: dict[str, Any] = {"__name__": "strategy", "__file__": str(file)}
        exec(compile(source, str(file), "exec"), namespace)
        with namespace["expert"] as expert:
            assert expert.name == name


def test_a_shell_has_no_file_and_the_default_name_stays(make: MakeExpert) -> None:
    """In a notebook or a shell the name is the configuration's default."""
    namespace: dict[str, Any] = {"__name__": "__main__", "MetaExpert": MetaExpert}
    exec("expert = MetaExpert('x', log_to_console=False)", namespace)
    with namespace["expert"] as expert:
        assert expert.name == "metaexpert"


def test_the_name_survives_a_subclass(make: MakeExpert) -> None:
    """A subclass in a strategy's file is named by that file as well."""

    class Ema(MetaExpert):
        def __init__(self) -> None:
            super().__init__("x", log_to_console=False)

    with Ema() as expert:
        assert expert.name == Path(__file__).stem


def test_symbol_strategy_and_account_are_on_every_entry(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """The context given to the expert is bound on its logger."""
    expert = make(symbol="EURUSD", strategy_id=7, account_id="A-1", expert_name="ema")
    expert.run(bars)
    expert.close()
    for entry in log():
        assert (entry["symbol"], entry["strategy_id"], entry["expert_name"]) == ("EURUSD", 7, "ema")
        assert "account_id" in entry


def test_a_wrong_setting_is_named_and_nothing_is_made(make: MakeExpert, tmp_path: Path) -> None:
    """A bad level or an unknown option is a ConfigurationError, and no directory appears."""
    for wrong in ({"log_level": "LOUD"}, {"log_levle": "INFO"}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            make(**wrong)
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_in_no_repr_entry_or_error(
    make: MakeExpert, bars: list[Bar], log: ReadLog, tmp_path: Path
) -> None:
    """Whatever is printed, logged or raised, a credential's value is not in it."""
    expert = make(**SECRETS, log_level="DEBUG", symbol="EURUSD")
    expert.on_bar(lambda bar: expert.logger.info("state", expert=expert, fields=vars(expert)))
    expert.run(bars)
    expert.close()
    texts = [repr(expert), str(expert), str(vars(expert)), f"{expert!r}"]
    texts += [path.read_text("utf-8") for path in (tmp_path / "logs").iterdir() if path.is_file()]
    for call in (
        lambda: make(**SECRETS, log_level="LOUD"),
        lambda: make(**SECRETS, no_such_option=SECRETS["api_key"]),
        lambda: make(api_key=SECRETS["api_key"].encode()),
        lambda: expert.run(bars),
    ):
        with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
            call()
        texts.append("".join(traceback.format_exception_only(caught.value)))
    assert len(log(message="state")) == len(bars)
    for value in SECRETS.values():
        assert not any(value in text for text in texts)


def test_credentials_are_kept_as_secrets(make: MakeExpert) -> None:
    """They are SecretStr inside, whether given as text or as SecretStr; a number is a mistake."""
    expert = make(api_key="a", api_secret=SecretStr("b"))
    assert expert._credentials == {"api_key": SecretStr("a"), "api_secret": SecretStr("b")}
    with pytest.raises(TypeError, match="api_key must be a string, not int"):
        make(api_key=12345)


def test_repr_tells_name_exchange_and_symbol(make: MakeExpert) -> None:
    """A person sees which expert it is."""
    assert repr(make(expert_name="ema", symbol="EURUSD")) == "<MetaExpert 'ema' on 'paper-exchange' EURUSD>"


def test_close_can_be_called_twice_and_a_closed_expert_does_not_run(make: MakeExpert, bars: list[Bar]) -> None:
    """Closing is final and harmless to repeat; a context manager closes too."""
    with make() as expert:
        pass
    expert.close()
    with pytest.raises(RuntimeError, match="is closed"):
        expert.run(bars)


def test_everything_is_in_the_files_when_run_returns(make: MakeExpert, bars: list[Bar], log: ReadLog) -> None:
    """No close is needed to read the log of a run that is over, and more can be logged after it."""
    expert = make()
    expert.run(bars)
    assert log()[-1]["message"] == "Expert stopped"
    expert.logger.info("afterwards")
    expert.close()
    assert log()[-1]["message"] == "afterwards"


def test_importing_the_logger_does_not_import_the_trading_part() -> None:
    """A program that only logs does not pay for the paper broker."""
    code = (
        "import sys, metaexpert.logger\n"
        "assert not [m for m in sys.modules if m.startswith(('metaexpert.trading', 'metaexpert.expert'))]\n"
        "from metaexpert import MetaExpert\n"
        "assert 'metaexpert.expert' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_the_package_exports_its_host_and_version() -> None:
    """The two public names are there, listed, and any other name is an AttributeError."""
    assert metaexpert.MetaExpert is MetaExpert
    assert metaexpert.__version__.count(".") == 2
    assert {"MetaExpert", "__version__"} <= set(dir(metaexpert))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = metaexpert.nothing


def test_what_is_no_paper_account_is_refused_at_once(make: MakeExpert) -> None:
    """A dictionary or a number for the paper account is told where it is given, not in the middle of a run."""
    with pytest.raises(TypeError, match="paper must be a PaperConfig, not dict"):
        make(paper={"fee_bps": 1})


def test_what_is_no_data_is_refused_at_once(make: MakeExpert) -> None:
    """So are bars that nobody could go through."""
    with pytest.raises(TypeError, match="data must be a CSV file or bars, not int"):
        make(data=5)
    with pytest.raises(TypeError, match="data must be a CSV file or bars, not int"):
        make().run(5)  # type: ignore[arg-type]
